"""Steps as processes of their own, a few at a time: each one's memory and time are its own, and one's fault too."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from time import monotonic, sleep

from evals.demo.process import start_command
from evals.demo.steps import Step
from evals.store import SAMPLES

POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Done:
    """A step that ended: its seconds, and what it said last where it failed."""

    step: Step
    seconds: float
    fault: str = ""


@dataclass(slots=True)
class Running:
    """A step under way and the file that it writes its words to."""

    step: Step
    process: ForkServerProcess
    log: Path
    since: float


@dataclass(frozen=True, slots=True)
class Watch:
    """Who hears of progress: steps that start and end, and, again and again, how many items are answered."""

    start: Callable[[Step], None]
    end: Callable[[Done], None]
    items: Callable[[int], None]


def carry_out(steps: Sequence[Step], logs: Path, jobs: int, watch: Watch) -> list[Done]:
    """Carry out all steps, `jobs` at a time, each as soon as what it needs is there; those left over without it fail.

    An interrupt ends all that runs.
    """
    logs.mkdir(parents=True, exist_ok=True)
    waiting, running, done = list(steps), list[Running](), list[Done]()
    try:
        while waiting or running:
            unfinished = {one.step.target for one in running}
            ready = [s for s in waiting if all(path.exists() and path not in unfinished for path in s.needs)]
            if not ready and not running:
                for step in waiting:
                    done.append(Done(step, 0.0, f"{missing(step)} could not be made"))
                    watch.end(done[-1])
                break
            for step in ready[: jobs - len(running)]:
                waiting.remove(step)
                watch.start(step)
                running.append(start(step, logs, jobs))
            sleep(POLL_SECONDS)
            for one in [one for one in running if one.process.exitcode is not None]:
                running.remove(one)
                done.append(Done(one.step, monotonic() - one.since, fault_of(one)))
                watch.end(done[-1])
            watch.items(sum(answered(step) for step in steps if step not in waiting))
    finally:
        for one in running:
            one.process.terminate()
        for one in running:
            one.process.join()
    return done


def start(step: Step, logs: Path, jobs: int) -> Running:
    """Start a step with its share of the processors."""
    log = logs / f"{step.name.replace('/', '-').replace(' ', '-')}.log"
    step.target.parent.mkdir(parents=True, exist_ok=True)
    process = start_command(step.arguments, log, max(1, (os.cpu_count() or 1) // jobs))
    return Running(step, process, log, monotonic())


def fault_of(one: Running) -> str:
    """What a failed step said last, empty for one that ended well."""
    if one.process.exitcode == 0:
        return ""
    said = [line for line in one.log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return f"{said[-1].strip() if said else f'exit code {one.process.exitcode}'} ({one.log})"


def missing(step: Step) -> str:
    """The first file that a step waits for in vain."""
    return next(path.name for path in step.needs if not path.exists())


def answered(step: Step) -> int:
    """How many items of a run have a row."""
    path = step.target / SAMPLES
    # An item that failed and was asked again has two rows.
    return min(step.items, path.read_bytes().count(b"\n")) if step.items and path.is_file() else 0
