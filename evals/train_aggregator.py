"""`longvid train-aggregator`: LoRA for an aggregator's language model, on captions and questions of training videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CONFIG = Path("kitchen-aggregator")


def train_aggregator(
    captions: Annotated[Path, typer.Option(help="Of kitchen's training videos: see below.")],
    held_out: Annotated[Path, typer.Option(help="Captions of val videos, to measure on.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the adapter, its record and checkpoints.")],
    config: Annotated[Path, typer.Option("--config", "-c", help="A TOML file, or a shipped one's name.")] = CONFIG,
    seed: Annotated[int | None, typer.Option(help="Seed of adapter and order; default: the file's.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting: training.steps=100; repeatable."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint, if there is one.")] = False,
) -> None:
    """Train a LoRA adapter on the prompts that options-loglik asks; accuracy by kind of question before and after.

    Captions are those of the annotations (longvid kitchen-annotations) or a captioner's own (longvid kitchen-videos,
    then longvid caption).

    An aggregator with it: --model aggregator -M captions=FILE -M llm=smollm2 -M lora=OUT/NAME.safetensors
    """
    from baselines.aggregator_training.settings import read_aggregator_settings
    from baselines.aggregator_training.stage import prepare_aggregator
    from encoders.pretrain.world import join_world
    from evals.pretrain import train_prepared
    from evals.training_run import check_resume
    from tasks.resources import file_or_shipped, resource

    config = file_or_shipped(config, resource("baselines", "configs"), "training configuration")
    settings = read_aggregator_settings(config, seed=seed, changes=changes or ())
    check_resume(out, resume=resume)
    with join_world(settings.device) as world:
        prepared = prepare_aggregator(settings, captions, held_out, world)
        train_prepared(prepared, settings, config, out / f"{settings.name}.safetensors", settings.batch, world)
