"""`longvid pretrain`: train one stage of the recipe from a config file; and `longvid train-aggregator`.

Also `python -m torch.distributed.run --nproc-per-node N -m evals.pretrain …` for several processes.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evals import console

if TYPE_CHECKING:
    from baselines.aggregator_training import AggregatorSettings
    from encoders.pretrain.checkpoint import Row
    from encoders.pretrain.settings import StageSettings
    from encoders.pretrain.stages import Prepared
    from encoders.pretrain.world import World

EXAMPLE = "Example: longvid pretrain --stage image --config kitchen-tiny --out runs/tiny"


def pretrain(
    stage: Annotated[
        str, typer.Option(help="A stage of the file, such as image, short or long. Train them in the file's order.")
    ],
    config: Annotated[
        Path,
        typer.Option("--config", "-c", help="A TOML file of stages, or a shipped one's name."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of all stages; default: runs/pretrain/<config>.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, data and masks; default: the file's.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting: training.steps=100; repeatable."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume from the last checkpoint, if there is one.")] = False,
) -> None:
    """Train one stage; its weights, record and checkpoints go to OUT/STAGE.

    A stage starts from the weights that `model.init` names: `scratch`, an earlier stage in the same OUT, a file, or an
    open_clip model. With --resume, an interrupted stage ends with exactly the same weights.

    On several GPUs: python -m torch.distributed.run --nproc-per-node 8 -m evals.pretrain …
    """
    from encoders.pretrain.settings import read_settings
    from encoders.pretrain.world import join_world
    from encoders.shipped import CONFIGS
    from evals.training import check_resume
    from tasks.resources import file_or_shipped

    config = file_or_shipped(config, CONFIGS, "training configuration")
    settings = read_settings(config, stage, seed=seed, changes=changes or ())
    root = out or Path("runs") / "pretrain" / config.stem
    check_resume(root / stage, resume=resume)
    with join_world(settings.device) as world:
        run_stage(settings, config, root, stage, world)


def run_stage(settings: StageSettings, config: Path, root: Path, stage: str, world: World) -> None:
    """Prepare and train a stage, and write its weights."""
    from encoders.pretrain.settings import weights_name
    from encoders.pretrain.stages import prepare

    def weights_of(other: str) -> Path:
        return root / other / weights_name(config, other)

    if world.first and settings.stage == "captions" and settings.v2t.draws:
        console.say(f"{settings.name}: decoding every video once before the first step")
    prepared = prepare(settings, weights_of, world, f"{config}: {stage}")
    train_prepared(prepared, settings, config, root / stage / weights_name(config, stage), settings.data.batch, world)


def train_prepared(
    prepared: Prepared,
    settings: StageSettings | AggregatorSettings,
    config: Path,
    target: Path,
    batch: int,
    world: World,
) -> None:
    """Train into the folder of `target` and write the weights there; only the first process reports."""
    from encoders.pretrain.checkpoint import checkpoints
    from encoders.pretrain.engine import train
    from evals.training import claim

    folder = target.parent
    if world.first:
        warning = claim(folder, config, settings, prepared, sys.argv)
        if warning:
            console.warn(warning)
        describe(settings, prepared, batch, world)
    done = int(checkpoints(folder)[-1].name) if checkpoints(folder) else 0
    if world.first and done:
        console.say(f"resuming {folder} after step {done} of {settings.training.end}")
    try:
        with progress_bar(settings.name, settings.training.end, done, world) as tick:
            progress = train(
                prepared.job, settings.training, folder, seed=settings.seed, world=world, watch=watch(tick, world)
            )
    except KeyboardInterrupt:
        console.fail(f"interrupted; the last checkpoint is in {folder}, and --resume continues from it")
        raise typer.Exit(130) from None
    if not world.first:
        return
    digest = prepared.save(target)
    if progress.bad:
        console.warn(f"{progress.bad} of {progress.samples} samples could not be read: {folder / 'bad-samples.jsonl'}")
    written = target if target.exists() else target.with_suffix("")  # a language model is a folder
    console.say(f"weights: {written} (sha256 {digest[:12]})")


def progress_bar(label: str, steps: int, done: int, world: World) -> AbstractContextManager[console.Ticker]:
    """Show progress in the first process only."""
    return console.progress(label, steps, done) if world.first else nullcontext(lambda note: None)  # noqa: ARG005


def describe(settings: StageSettings | AggregatorSettings, prepared: Prepared, batch: int, world: World) -> None:
    """Print what is about to be trained."""
    facts = prepared.facts
    console.say(
        f"{settings.name} from {facts['init']}, {facts['trainable']} of {facts['parameters']} parameters "
        f"train, {settings.training.end} steps of {batch} samples, {world.size} x {world.device}"
    )


def watch(tick: console.Ticker, world: World) -> Any:  # noqa: ANN401 - the engine's Watch, which needs torch
    """Return the engine's callbacks: steps move the progress bar, evaluations are printed."""
    from encoders.pretrain.engine import Watch
    from evals.runner import peak_memory_bytes

    latest = {"rate": ""}

    def on_row(row: Row) -> None:
        if row["kind"] == "evaluation":
            figures = [f"{k} {v:.3f}" for k, v in row.items() if isinstance(v, float) and k != "seconds"]
            console.note(f"step {row['step']}: {', '.join(figures)}")
        else:
            latest["rate"] = f", {row['samples_per_second']:.1f} samples/s"

    def on_step(_step: int, loss: float) -> None:
        tick(f"loss {loss:.3f}{latest['rate']}")

    return Watch(row=on_row, step=on_step, memory=peak_memory_bytes) if world.first else Watch()


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command(epilog=EXAMPLE)(pretrain)


AGGREGATOR = Path("kitchen-aggregator")


def train_aggregator(
    captions: Annotated[Path, typer.Option(help="Captions of kitchen's training videos: see above.")],
    held_out: Annotated[Path, typer.Option(help="Captions of held-out (val) videos, to measure accuracy on.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the adapter, its record and checkpoints.")],
    config: Annotated[Path, typer.Option("--config", "-c", help="A TOML file, or a shipped one's name.")] = AGGREGATOR,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of the adapter's weights and of the order of questions; default: the file's."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting: training.steps=100; repeatable."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume from the last checkpoint, if there is one.")] = False,
) -> None:
    """Train a LoRA adapter for the aggregator's language model, on the prompts of the route options-loglik.

    Accuracy on the held-out videos is reported by kind of question, before and after.

    Captions come from the annotations (longvid kitchen-annotations) or from a captioner (longvid kitchen-videos,
    then longvid caption).

    To use it: --model aggregator -M captions=FILE -M llm=smollm2 -M lora=OUT/NAME.safetensors
    """
    from baselines.aggregator_training import prepare_aggregator, read_aggregator_settings
    from encoders.pretrain.world import join_world
    from evals.training import check_resume
    from tasks.resources import file_or_shipped, resource

    config = file_or_shipped(config, resource("baselines", "configs"), "training configuration")
    settings = read_aggregator_settings(config, seed=seed, changes=changes or ())
    check_resume(out, resume=resume)
    with join_world(settings.device) as world:
        prepared = prepare_aggregator(settings, captions, held_out, world)
        train_prepared(prepared, settings, config, out / f"{settings.name}.safetensors", settings.batch, world)


def main() -> None:
    """Run the command as a module, for torchrun."""
    from evals.cli import run_app

    run_app(app)


if __name__ == "__main__":
    main()
