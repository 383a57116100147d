"""Read the demo's plan and carry it out: each step is a separate process, a few at a time."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from string import Template
from time import monotonic, sleep

from pydantic import BaseModel, ConfigDict, ValidationError

from evals.store import SAMPLES
from tasks.errors import DataError, ModelError
from tasks.files import read_toml
from tasks.machine import usable_cores
from tasks.registry import benchmarks


class Row(BaseModel):
    """A table of the file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


OWN_FILES = ("questions.jsonl", "captions.jsonl", "pairs.jsonl")


class Make(Row):
    """A file that `longvid COMMAND --out FILE` makes; names are relative to the demo's folder."""

    file: str
    command: str


class System(Row):
    """A model with its options, run on tasks `BENCHMARK@POOL`.

    In options, `$out` is the demo's folder and `$root` the data root.
    """

    name: str
    model: str
    options: dict[str, str] = {}
    tasks: list[str]


class DemoPlan(Row):
    """`prepare`: the benchmark and pool whose videos are made first.

    With `limit` each run stops after that many items.
    """

    prepare: str = ""
    limit: int | None = None
    make: list[Make] = []
    system: list[System]


def read_plan(path: Path) -> DemoPlan:
    """Read the plan from a file. Raises DataError naming the file and the key or task at fault."""
    try:
        content = read_toml(path, "plan")
    except ModelError as error:
        raise DataError(str(error)) from error
    try:
        plan = DemoPlan.model_validate(content)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        told = "is missing" if problem["type"] == "missing" else problem["msg"].lower()
        raise DataError(f"{path}: {where}: {told}") from error
    for task in (*([plan.prepare] if plan.prepare else []), *(task for system in plan.system for task in system.tasks)):
        name, _, pool = task.partition("@")
        known = name in benchmarks().entries and pool in benchmarks().entries[name].pools
        if not known and own_questions(task) is None:
            raise DataError(
                f"{path}: no task '{task}': write BENCHMARK@POOL, as 'longvid BENCHMARK run --pool POOL', or the "
                f"folder of a benchmark of your own"
            )
    return plan


SLOW_TO_IMPORT = (
    "baselines.aggregator",
    "encoders.build",
    "encoders.v2t.task_model",
    "evals.run_verb",
    "transformers.models.llama.modeling_llama",
)
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def start_command(arguments: Sequence[str], log: Path, threads: int) -> ForkServerProcess:
    """Start `longvid ARGUMENTS`, with its output going to `log`. All commands get as many threads as the first."""
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(list(SLOW_TO_IMPORT))
    log.write_text(f"$ {shlex.join(('longvid', *arguments))}\n", encoding="utf-8")
    process = forks.Process(target=_carry_out, args=(tuple(arguments), log))
    with process_environment(threads):
        process.start()
    return process


def _carry_out(arguments: Sequence[str], log: Path) -> None:
    with log.open("ab") as file, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["longvid", *arguments]
    from evals.cli import main

    main()


@contextmanager
def process_environment(threads: int) -> Generator[None, None, None]:
    """Processes started inside this context get this many threads; the user's own settings take precedence.

    They write to log files, so that they are told of a terminal without colours.
    """
    ours = {name: str(threads) for name in THREADS if name not in os.environ} | {"TERM": "dumb"}
    before = {name: os.environ[name] for name in ours if name in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]
        os.environ.update(before)


RUNS = "runs"


@dataclass(frozen=True, slots=True)
class Places:
    """The demo's folder and the data root."""

    out: Path
    data: Path

    def fill(self, text: str) -> str:
        """Substitute `$out` and `$root`. Raises DataError for any other variable."""
        try:
            return Template(text).substitute(out=self.out, root=self.data)
        except (KeyError, ValueError) as error:
            raise DataError(f"plan: '{text}' may name $out and $root, nothing else after a $") from error


@dataclass(frozen=True, slots=True)
class Step:
    """A command of longvid. It makes `target`: a file, or a run directory of `items` items."""

    name: str
    arguments: tuple[str, ...]
    target: Path
    needs: tuple[Path, ...] = ()
    items: int = 0

    @property
    def line(self) -> str:
        """The command line that does the same."""
        return shlex.join(("longvid", *self.arguments))


def prepare_arguments(plan: DemoPlan, places: Places) -> list[str]:
    """Return the command that makes the videos, empty if the plan names none."""
    benchmark, _, pool = plan.prepare.partition("@")
    return [benchmark, "prepare", "--pool", pool, "--data", str(places.data)] if plan.prepare else []


def steps_of(plan: DemoPlan, places: Places) -> list[Step]:
    """Return all steps in the plan's order, files first."""
    files = {make.file: places.out / make.file for make in plan.make}
    steps = [make_step(make, places, files) for make in plan.make]
    for system in plan.system:
        steps += [run_step(system, task, plan.limit, places, files) for task in system.tasks]
    return steps


def own_questions(task: str) -> Path | None:
    """Return the questions file if a task is the folder of a user's own benchmark."""
    folder = Path(task.partition("@")[0]).expanduser()
    return next((folder / name for name in OWN_FILES if (folder / name).is_file()), None)


def make_step(make: Make, places: Places, files: dict[str, Path]) -> Step:
    """Return the step that makes a file."""
    first, *rest = (places.fill(word) for word in shlex.split(make.command))
    target = files[make.file]
    return Step(make.file, (first, *rest, "--out", str(target)), target, needed(make.command, files, target))


def run_step(system: System, task: str, limit: int | None, places: Places, files: dict[str, Path]) -> Step:
    """Return the step that runs a system on a task."""
    benchmark, _, pool = task.partition("@")
    options = {key: places.fill(value) for key, value in system.options.items()}
    own = own_questions(task) if benchmark not in benchmarks().entries else None
    if own is not None:
        name, asked = Path(benchmark).resolve().name + (f"@{pool}" if pool else ""), ["run", task]
        items = sum(1 for line in own.read_text(encoding="utf-8").splitlines() if line.strip())
    else:
        name, asked = benchmarks().entries[benchmark].names()[pool], [benchmark, "run", "--pool", pool]
        items = int(name.rpartition("@")[2])
    target = places.out / RUNS / name / system.name.replace(" ", "-")
    arguments = [*asked, "--model", system.model]
    for key, value in options.items():
        arguments += ["-M", f"{key}={value}"]
    arguments += ["--data", str(places.data), "--out", str(target), "--name", system.name]
    arguments += ["--limit", str(limit)] if limit else []
    needs = needed(" ".join(system.options.values()), files)
    return Step(f"{system.name} on {task}", tuple(arguments), target, needs, min(items, limit or items))


def needed(text: str, files: dict[str, Path], target: Path | None = None) -> tuple[Path, ...]:
    """Return the plan's files that a text names."""
    return tuple(path for name, path in files.items() if f"$out/{name}" in text and path != target)


POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Done:
    """A step that ended: its seconds, and the last line of its output if it failed."""

    step: Step
    seconds: float
    fault: str = ""


@dataclass(slots=True)
class Running:
    """A running step and the file that its output goes to."""

    step: Step
    process: ForkServerProcess
    log: Path
    since: float


@dataclass(frozen=True, slots=True)
class Watch:
    """Callbacks for progress: steps that start and end, and repeatedly the number of items answered."""

    start: Callable[[Step], None]
    end: Callable[[Done], None]
    items: Callable[[int], None]


def carry_out(steps: Sequence[Step], logs: Path, jobs: int, watch: Watch) -> list[Done]:
    """Carry out all steps, `jobs` at a time, each once the files it needs exist; steps whose files are never made fail.

    An interrupt ends all running steps.
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
    process = start_command(step.arguments, log, max(1, usable_cores() // jobs))
    return Running(step, process, log, monotonic())


def fault_of(one: Running) -> str:
    """Return the last line of a failed step's output, empty for a step that succeeded."""
    if one.process.exitcode == 0:
        return ""
    _, *said = (line for line in one.log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip())
    last = said[-1].strip().removeprefix("error: ") if said else f"exit code {one.process.exitcode}"
    return f"{last} ({one.log})"


def missing(step: Step) -> str:
    """Return the first missing file that a step needs."""
    return next(path.name for path in step.needs if not path.exists())


def answered(step: Step) -> int:
    """Count the items of a run that have a row."""
    path = step.target / SAMPLES
    # An item that was retried after a failure has two rows.
    return min(step.items, path.read_bytes().count(b"\n")) if step.items and path.is_file() else 0
