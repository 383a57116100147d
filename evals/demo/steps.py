"""From a plan to steps: command lines of longvid, what each makes, and what has to be there before."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from string import Template

from evals.demo.plan import DemoPlan, Make, System
from tasks.errors import DataError
from tasks.registry import benchmarks

RUNS = "runs"


@dataclass(frozen=True, slots=True)
class Places:
    """The demo's folder and the data root."""

    out: Path
    data: Path

    def fill(self, text: str) -> str:
        """`$out` and `$root` in place. Raises DataError for any other."""
        try:
            return Template(text).substitute(out=self.out, root=self.data)
        except (KeyError, ValueError) as error:
            raise DataError(f"demo plan: '{text}' may name $out and $root, nothing else after a $") from error


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
        """What to type to do the same."""
        return shlex.join(("longvid", *self.arguments))


def prepare_arguments(plan: DemoPlan, places: Places) -> list[str]:
    """The command that makes the videos, empty where the plan names none."""
    benchmark, _, pool = plan.prepare.partition("@")
    return [benchmark, "prepare", "--pool", pool, "--data", str(places.data)] if plan.prepare else []


def steps_of(plan: DemoPlan, places: Places) -> list[Step]:
    """All steps in the plan's order: files first."""
    files = {make.file: places.out / make.file for make in plan.make}
    steps = [make_step(make, places, files) for make in plan.make]
    for system in plan.system:
        steps += [run_step(system, task, plan.limit, places, files) for task in system.tasks]
    return steps


def make_step(make: Make, places: Places, files: dict[str, Path]) -> Step:
    """The step that makes a file."""
    first, *rest = (places.fill(word) for word in shlex.split(make.command))
    target = files[make.file]
    return Step(make.file, (first, *rest, "--out", str(target)), target, needed(make.command, files, target))


def run_step(system: System, task: str, limit: int | None, places: Places, files: dict[str, Path]) -> Step:
    """The step that runs a system on a task."""
    benchmark, _, pool = task.partition("@")
    options = {key: places.fill(value) for key, value in system.options.items()}
    target = places.out / RUNS / benchmarks().entries[benchmark].names()[pool] / system.name.replace(" ", "-")
    arguments = [benchmark, "run", "--pool", pool, "--model", system.model]
    for key, value in options.items():
        arguments += ["-M", f"{key}={value}"]
    arguments += ["--data", str(places.data), "--out", str(target), "--name", system.name]
    arguments += ["--limit", str(limit)] if limit else []
    items = int(benchmarks().entries[benchmark].names()[pool].rpartition("@")[2])
    needs = needed(" ".join(system.options.values()), files)
    return Step(f"{system.name} on {task}", tuple(arguments), target, needs, min(items, limit or items))


def needed(text: str, files: dict[str, Path], target: Path | None = None) -> tuple[Path, ...]:
    """The plan's files that a text names."""
    return tuple(path for name, path in files.items() if f"$out/{name}" in text and path != target)
