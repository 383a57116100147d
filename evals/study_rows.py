"""What a trade-off study leaves on disk: `run.json`, `rows.jsonl`, `costs.json` and `study.json`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue, ValidationError

from evals.read_json import first_problem
from evals.record import Provenance, Row, Seconds
from tasks.errors import RecordError

RUN, ROWS, COSTS, STUDY = "run.json", "rows.jsonl", "costs.json", "study.json"
Verdict = Literal["reproduced", "not reproduced", "undecided", "not run"]


class StudyRun(Row):
    """What the study was asked, written first. `videos` and `families` name the items of every row, in order."""

    schema_version: Literal[1] = 1
    settings: dict[str, JsonValue]
    smoke: bool
    videos: tuple[str, ...]
    families: tuple[str, ...]
    torch_threads: int
    provenance: Provenance


class Trained(Row):
    """One method trained from one seed, with what it got right of each video (shares of 1).

    `statements` are shares by kind; None where a video has no statement of the kind.
    """

    method: str
    seed: int
    steps: int
    samples: int
    loss: float
    initial_weights_sha256: str
    weights_sha256: str
    text_to_video: tuple[float, ...]
    video_to_text: tuple[float, ...]
    statements: dict[str, tuple[float | None, ...]]
    chances: dict[str, float]
    seconds: Seconds


class MethodCost(Row):
    """What a method's vision tower costs. Bytes are counted in bf16 with fused attention, `step_seconds` measured.

    `activation_bytes` are of one video, `training_bytes` of the batch with weights, gradients and optimiser.
    `measured_bytes` is how much a training step of the batch raised the resident memory of a process of its own.
    """

    method: str
    mask: float
    tokens: int
    parameters: int
    trainable: int
    activation_bytes: int
    training_bytes: int
    train_flops: int
    step_seconds: Seconds = None
    measured_bytes: int | None = Field(default=None, json_schema_extra={"x-wall-clock": True})


class StudyCosts(Row):
    """The costs of all methods, for the shape and machine they were measured with."""

    schema_version: Literal[1] = 1
    batch: int
    frames: int
    size: int
    threads: int
    methods: tuple[MethodCost, ...]


class Figure(Row):
    """A mean over seeds and items; `method` says how its interval came, `per_seed` has the mean of each seed."""

    name: str
    value: float
    interval: tuple[float, float] | None
    level: float
    method: str
    per_seed: dict[str, float]
    seeds: int
    n: int
    clusters: int


class MethodResult(Row):
    """A method with its cost and its figures."""

    method: str
    cost: MethodCost
    figures: tuple[Figure, ...]


class FindingResult(Row):
    """One of the paper's findings, asked of one metric. It holds where `value` is above `least`, in direction."""

    finding: str
    metric: str
    value: float | None
    interval: tuple[float, float] | None
    least: float
    compared: dict[str, float]
    verdict: Verdict


class Study(Row):
    """`study.json`: a pure function of the other files."""

    schema_version: Literal[1] = 1
    run: StudyRun
    costs: StudyCosts
    seeds: tuple[int, ...]
    chances: dict[str, float]
    methods: tuple[MethodResult, ...]
    findings: tuple[FindingResult, ...]


def read_trained(path: Path) -> list[Trained]:
    """The finished rows. A torn last line is passed over; any other damage is refused with RecordError."""
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            rows.append(Trained.model_validate_json(line))
        except ValidationError as error:
            msg = f"{path}, line {number} is damaged ({first_problem(error)}); remove the line to train it again"
            raise RecordError(msg) from error
    return rows


def append_trained(path: Path, row: Trained) -> None:
    """Add a row, on disk when this returns; what is left of a torn line is cut off first."""
    with path.open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(row.model_dump_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
