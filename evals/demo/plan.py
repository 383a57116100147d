"""A demo as data: files to make first, systems to run on tasks. Read from TOML; see evals/plans/demo.toml."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.errors import DataError, ModelError
from tasks.files import read_toml
from tasks.registry import benchmarks


class Row(BaseModel):
    """A table of the file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Make(Row):
    """A file that `longvid COMMAND --out FILE` makes; names are relative to the demo's folder."""

    file: str
    command: str


class System(Row):
    """A model with its options, run on tasks `BENCHMARK@POOL`. In options, `$out` and `$root` stand for folders."""

    name: str
    model: str
    options: dict[str, str] = {}
    tasks: list[str]


class DemoPlan(Row):
    """`prepare`: the benchmark and pool whose videos are made first. With `limit` each run stops after that many."""

    prepare: str = ""
    limit: int | None = None
    make: list[Make] = []
    system: list[System]


def read_plan(path: Path) -> DemoPlan:
    """The plan of a file. Raises DataError naming the file and the key or task at fault."""
    try:
        content = read_toml(path, "demo plan")
    except ModelError as error:
        raise DataError(str(error)) from error
    try:
        plan = DemoPlan.model_validate(content)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise DataError(f"{path}: {where}: {problem['msg'].lower()}") from error
    for task in (*([plan.prepare] if plan.prepare else []), *(task for system in plan.system for task in system.tasks)):
        name, _, pool = task.partition("@")
        if name not in benchmarks().entries or pool not in benchmarks().entries[name].pools:
            raise DataError(f"{path}: no task '{task}': write BENCHMARK@POOL, as 'longvid BENCHMARK run --pool POOL'")
    return plan
