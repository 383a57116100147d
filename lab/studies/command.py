"""`longvid study …`: study the paper's trade-offs on kitchen."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evals import console

if TYPE_CHECKING:
    from lab.studies.run import Plan
    from lab.studies.summary import StudyRun


CONFIG = Path("kitchen-study")
OUT = Path("studies/masking")
app = typer.Typer(
    help="Train the paper's methods side by side and compare them.", no_args_is_help=True, add_completion=False
)


@app.command(epilog="Example: longvid study masking --seeds 0,1,2 --methods jst-mask0,jst-mask75,frame-level")
def masking(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="A TOML file with the stages image and short.")
    ] = CONFIG,
    seeds: Annotated[
        str, typer.Option(help="Seeds; each trains one image encoder, and every method from it.")
    ] = "0,1,2",
    steps: Annotated[int | None, typer.Option(min=2, help="Steps of each method; default: the config's.")] = None,
    methods: Annotated[str, typer.Option(help="Names of methods, separated by commas; default: all.")] = "",
    rates: Annotated[
        str, typer.Option(help="Learning rates to try for each method, on other videos; a single one is used for all.")
    ] = "2.5e-4,5e-4,1e-3,2e-3",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the study.")] = OUT,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Only check that everything runs: two steps of a micro encoder.")
    ] = False,
) -> None:
    """Compare the accuracy and training memory of the paper's methods.

    They are masking, factorised and frame-level attention, adapters, LoRA, tuning the last layers, coarser input and
    TubeViT's tubes.

    For each seed one image encoder is trained, and every method continues from it with the same videos in the same
    order, at the learning rate that is best for it on other videos. It can be interrupted at any time: the same command
    resumes, and seeds or methods can be added later.
    """
    from encoders.shipped import CONFIGS
    from evals.store import locked
    from lab.studies.run import Plan, claim
    from tasks.resources import file_or_shipped

    settings = file_or_shipped(config, CONFIGS, "training configuration")
    chosen = tuple(filter(None, methods.split(",")))
    plan = Plan(settings, out, _seeds(seeds), chosen, steps, smoke, _rates(rates))
    plan.chosen()
    record = claim(plan, sys.argv)
    try:
        with locked(out):
            _measure(plan)
            _train(plan, record)
    except KeyboardInterrupt:
        console.fail(f"interrupted; the same command resumes from {out}")
        raise typer.Exit(130) from None
    report(out)


@app.command(epilog="Example: longvid study report studies/masking")
def report(folder: Annotated[Path, typer.Argument(help="A study's folder.")] = OUT) -> None:
    """Rewrite the table, the plot and the verdicts from what has been trained so far."""
    from lab.studies.report import FINDING_COLUMNS, finding_cells, method_cells, method_columns, write_report
    from lab.studies.summary import summarise

    study = summarise(folder)
    columns = method_columns(study)
    console.show_table(
        "accuracy (%) against training memory", columns, [method_cells(m, study) for m in study.methods], columns[3:]
    )
    console.show_table(
        "the paper's findings, in direction",
        FINDING_COLUMNS,
        [finding_cells(found) for found in study.findings],
    )
    for path in write_report(study, folder):
        console.say(f"written: {path}")


def _seeds(text: str) -> tuple[int, ...]:
    from tasks.errors import ModelError

    try:
        found = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise ModelError(f"--seeds '{text}': give whole numbers with commas between, like 0,1,2") from None
    return found


def _rates(text: str) -> tuple[float, ...]:
    from tasks.errors import ModelError

    try:
        found = tuple(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError:
        found = ()
    if not found or not all(0 < rate < 1 for rate in found):
        raise ModelError(f"--rates '{text}': give numbers between 0 and 1 with commas between, like 1e-3,2e-3")
    return found


def _measure(plan: Plan) -> None:
    """Count and time the methods, unless already done."""
    from evals.store import read_row, write_row
    from lab.studies.run import SHORT, measure_costs, ticks
    from lab.studies.summary import COSTS, StudyCosts

    path, methods = plan.out / COSTS, plan.chosen()
    known = {cost.method for cost in read_row(path, StudyCosts).methods} if path.exists() else set()
    if known >= {method.name for method in methods}:
        return
    with console.progress("cost of a step", ticks(methods), 0) as tick:
        write_row(path, measure_costs(methods, plan.vision(), plan.stage(SHORT, 0).data.batch, tick))


def _train(plan: Plan, record: StudyRun) -> None:
    """Train what is left, with a progress bar over all steps."""
    from lab.studies.run import left, run

    todo = left(plan)
    total = len(plan.seeds) * len(plan.chosen())
    if todo.rates:
        console.say(f"{plan.out}: {len(todo.rates)} learning rates of methods are still to be tried")
    console.say(f"{plan.out}: {total - len(todo.rows)} of {total} trainings are done, {todo.steps} steps are left")
    with console.progress("training", todo.steps, 0) as tick:
        run(plan, record, tick)
