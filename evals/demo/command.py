"""`longvid demo`: make the embedded benchmark, run encoders and aggregators on it, show the leaderboard."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evals import console

if TYPE_CHECKING:
    from evals.demo.run import Done, Step

PLAN = Path("demo")
JOBS = min(2, os.cpu_count() or 1)


def demo(
    plan: Annotated[Path, typer.Option(help="What to run: a TOML file, or a shipped one's name: demo, seeds.")] = PLAN,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of runs, leaderboard and logs.")] = Path("runs/demo"),
    data: Annotated[Path, typer.Option("--data", help="Data root; the videos are made there.")] = Path("data"),
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = JOBS,
) -> None:
    """Make the embedded benchmark's videos, run the plan's systems on it, end with the leaderboard and a report.

    Each run is an ordinary command, which is shown; what is finished is not done again.
    """
    carry_out_plan(plan, out, data, jobs)


def suite(
    plan: Annotated[Path, typer.Argument(help="A TOML file, or a shipped plan's name: demo, seeds.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of runs, leaderboard and logs.")] = Path(
        "runs/suite"
    ),
    data: Annotated[Path, typer.Option("--data", help="Data root of the plan's benchmarks.")] = Path("data"),
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time; on one GPU 1.")] = 1,
) -> None:
    """Run the systems of a plan side by side on its benchmarks, end with the leaderboard and a report.

    Each run is an ordinary command, which is shown; what is finished is not done again.
    """
    carry_out_plan(plan, out, data, jobs)


def carry_out_plan(plan: Path, out: Path, data: Path, jobs: int) -> None:
    """What a plan says, and the leaderboard of it. Raises typer.Exit with 1 where some of it was left out."""
    from evals.demo.run import Places, prepare_arguments, read_plan, steps_of
    from tasks.resources import file_or_shipped, resource

    wanted = read_plan(file_or_shipped(plan, resource("evals", "plans"), "plan"))
    places = Places(out, data)
    arguments = prepare_arguments(wanted, places)
    if arguments:
        code = subprocess.run([sys.executable, "-m", "evals.cli", *arguments], check=False).returncode
        if code:
            raise typer.Exit(code)
    steps = [step for step in steps_of(wanted, places) if step.items or not step.target.exists()]
    done = run_steps(steps, out / "logs", jobs)
    show_leaderboard(out)
    faults = [one for one in done if one.fault]
    for one in faults:
        console.warn(f"left out: {one.step.name}: {one.fault}")
    if faults:
        raise typer.Exit(1)


def run_steps(steps: list[Step], logs: Path, jobs: int) -> list[Done]:
    """All steps behind one progress bar that counts answers."""
    from evals.demo.run import Watch, answered, carry_out

    seen = sum(map(answered, steps))
    try:
        with console.progress("answers", sum(step.items for step in steps), seen) as tick:

            def on_end(done: Done) -> None:
                console.note(f"{done.step.name}: {done.fault or f'done in {done.seconds:.0f} s'}")

            def on_items(now: int) -> None:
                nonlocal seen
                for _ in range(now - seen):
                    tick("")
                seen = max(seen, now)

            return carry_out(steps, logs, jobs, Watch(lambda step: console.note(f"$ {step.line}"), on_end, on_items))
    except KeyboardInterrupt:
        console.fail("interrupted; what is finished is kept, and the same command goes on there")
        raise typer.Exit(130) from None


def show_leaderboard(out: Path) -> None:
    """The leaderboard on the screen, as JSON and as pages."""
    from evals.demo.run import RUNS
    from evals.leaderboard.build import collect_leaderboard
    from evals.leaderboard.command import show_compact
    from evals.leaderboard.formats import FORMATS
    from evals.store import write_atomic

    if not (out / RUNS).is_dir():
        raise typer.Exit(1)
    board = collect_leaderboard([out / RUNS])
    show_compact(board)
    for suffix in ("json", "html"):
        path = out / f"leaderboard.{suffix}"
        write_atomic(path, FORMATS[suffix](board))
        console.say(f"{'report' if suffix == 'html' else 'figures'}: {path}")
