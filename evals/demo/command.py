"""`longvid demo`: make the built-in benchmark, run encoders and aggregators on it, show the leaderboard."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from evals import console
from evals.benchmark_app import WIDE

if TYPE_CHECKING:
    from evals.demo.run import Done, Step

PLAN = Path("demo")
JOBS = min(2, os.cpu_count() or 1)


def demo(
    plan: Annotated[Path, typer.Option(help="What to run: a TOML file, or a shipped one's name: demo, seeds.")] = PLAN,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of runs, leaderboard and logs.")] = Path("runs/demo"),
    data: Annotated[Path, typer.Option("--data", help="Data root; the videos are made there.")] = Path("data"),
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = JOBS,
    wide: WIDE = False,
) -> None:
    """Make the built-in benchmark's videos, run the plan's systems, and end with the leaderboard and what it shows.

    Each step is an ordinary command, shown at the top of its log. Finished steps are not repeated.
    """
    chosen = "" if plan == PLAN else f" --plan {quote(str(plan))}"
    carry_out_plan(plan, out, data, jobs, f"longvid demo{chosen} --out {quote(str(out))}", wide=wide)


def suite(
    plan: Annotated[Path, typer.Argument(help="A TOML file, or a shipped plan's name: demo, seeds.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of runs, leaderboard and logs.")] = Path(
        "runs/suite"
    ),
    data: Annotated[Path, typer.Option("--data", help="Data root of the plan's benchmarks.")] = Path("data"),
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time; use 1 on one GPU.")] = 1,
    wide: WIDE = False,
) -> None:
    """Run the systems of a plan side by side on its benchmarks, and end with the leaderboard and what it shows.

    Each step is an ordinary command, shown at the top of its log. Finished steps are not repeated.
    """
    command = f"longvid suite {quote(str(plan))} --out {quote(str(out))}"
    carry_out_plan(plan, out, data, jobs, command, wide=wide)


def carry_out_plan(plan: Path, out: Path, data: Path, jobs: int, command: str, *, wide: bool = False) -> None:
    """Carry out a plan and show its leaderboard; the pages name `command` as what made them.

    Raises typer.Exit with 1 if a step failed.
    """
    from evals.demo.run import Places, prepare_arguments, read_plan, steps_of
    from tasks.resources import file_or_shipped, resource

    wanted = read_plan(file_or_shipped(plan, resource("evals", "plans"), "plan"))
    places = Places(out, data)
    arguments = prepare_arguments(wanted, places)
    if arguments:
        console.note(f"making the videos of {wanted.prepare} in {data}")
        code = subprocess.run([sys.executable, "-m", "evals.cli", *arguments], check=False).returncode
        if code:
            raise typer.Exit(code)
    steps = [step for step in steps_of(wanted, places) if step.items or not step.target.exists()]
    console.note(f"{len(steps)} steps, {jobs} at a time; their output goes to {out / 'logs'}")
    done = run_steps(steps, out / "logs", jobs)
    show_leaderboard(out, command, data, wide=wide)
    faults = [one for one in done if one.fault]
    for one in faults:
        console.warn(f"left out: {one.step.name}: {one.fault}")
    if faults:
        raise typer.Exit(1)


def run_steps(steps: list[Step], logs: Path, jobs: int) -> list[Done]:
    """Run all steps behind one progress bar that counts answers."""
    from evals.demo.run import Watch, answered, carry_out

    seen = sum(map(answered, steps))
    try:
        with console.progress("answers", sum(step.items for step in steps), seen) as tick:

            def on_start(step: Step) -> None:
                console.note(f"{step.name}: started")

            def on_end(done: Done) -> None:
                console.note(f"{done.step.name}: {done.fault or f'done in {console.duration(done.seconds)}'}")

            def on_items(now: int) -> None:
                nonlocal seen
                for _ in range(now - seen):
                    tick("")
                seen = max(seen, now)

            return carry_out(steps, logs, jobs, Watch(on_start, on_end, on_items))
    except KeyboardInterrupt:
        console.fail("interrupted; finished work is kept, and the same command resumes")
        raise typer.Exit(130) from None


def show_leaderboard(out: Path, command: str, data: Path | None = None, *, wide: bool = False) -> None:
    """Show the leaderboard, write it as JSON and as pages, and end with its findings and the next command."""
    from evals.demo.run import RUNS
    from evals.findings import board_findings
    from evals.html_report.index_page import write_index
    from evals.leaderboard.command import show_compact

    if not (out / RUNS).is_dir():
        raise typer.Exit(1)
    board, index = write_index([out / RUNS], out, data, command)
    show_compact(board, wide=wide)
    console.say("")
    for finding in board_findings(board):
        console.say(finding)
    console.say(f"page: {index}")
    console.say(f"next: longvid runs {quote(str(out / RUNS))} lists the runs, for 'longvid compare A B'")
