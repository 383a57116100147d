"""What a run directory holds: `run.json`, `samples.jsonl`, `results.json`. The schemas are published in evals/schemas.

Fields marked `x-wall-clock` in the schema tell when and how fast a run happened; all others are the same for the
same run, however often it was interrupted.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from tasks.task import FramesSeen, Metric, TaskInfo, TokenUsage

WALL_CLOCK = {"x-wall-clock": True}

Status = Literal["complete", "partial", "failed"]
Seconds = Annotated[float | None, Field(ge=0, json_schema_extra=WALL_CLOCK)]
_NOT_KEPT: set[str] = set()


class Row(BaseModel):
    """Base of everything stored: unknown fields are refused, values don't change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, ser_json_inf_nan="null")

    def model_post_init(self, _: object) -> None:
        # The sets of the fields that were given take more than half of the memory of a large record's rows.
        object.__setattr__(self, "__pydantic_fields_set__", _NOT_KEPT)


class ModelRow(Row):
    """The model with the options it was given and the facts it tells about itself.

    `options` are those that were given, `effective` all that can change an answer, defaults included: two runs with
    the same are one run. `system` (tasks.registry.System) is which side of the comparison it stands on. Both are null
    in records from before they were kept.
    """

    name: str
    options: dict[str, str]
    effective: dict[str, str] | None = None
    system: str | None = None
    parameters: int | None = None
    weights_sha256: str | None = None
    device: str = "cpu"
    dtype: str | None = None
    prompts: dict[str, str] = Field(default_factory=dict)
    details: dict[str, JsonValue] = Field(default_factory=dict)


class Provenance(Row):
    """Where a run came from. `argv` has its secrets removed."""

    argv: tuple[str, ...]
    commit: str | None
    uncommitted_changes: bool | None
    versions: dict[str, str]
    platform: str
    threads: int | None = None
    created: Annotated[str, Field(json_schema_extra=WALL_CLOCK)]


class Place(Row):
    """Where a benchmark of one's own lay when it was last used: its folder or file, and that of its videos if said."""

    path: str
    videos: str | None = None


class Run(Row):
    """`run.json`: everything known before the first item; written first.

    `place` is where the files of a benchmark of one's own lie, null for those that are known by name. It decides
    nothing: the item set's digest tells whether they are the same.
    `provenance` is that of whoever began. Each time the run was resumed by other code, on another machine or by
    another command, that one's stands in `resumed`; a sample's `stretch` counts through both.
    """

    schema_version: Literal[1] = 1
    name: str
    task: TaskInfo
    model: ModelRow
    protocol: dict[str, str]
    seed: int
    limit: int | None = None
    imported: bool = False
    place: Place | None = None
    provenance: Provenance
    resumed: tuple[Provenance, ...] = ()

    def fingerprint(self) -> str:
        """Digest of what decides the answers: a run resumes only where it is the same."""
        model = set(ModelRow.model_fields) - {"system", "effective" if self.model.effective is None else "options"}
        text = self.model_dump_json(
            include={"task": True, "model": model, "protocol": True, "seed": True, "imported": True}
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def as_given(self) -> Run:
        """The run told by the options that were given alone, as in records from before their defaults were kept."""
        return self.model_copy(update={"model": self.model.model_copy(update={"effective": None})})


class ClipRow(Row):
    """What an item was about when it was answered: the stretch of a video in seconds, and the video's file.

    `content` is a digest after the name of its method: `sha256` of the whole file where frames of it were looked at,
    else `sha256-of-samples`. `stamp` (the file's times and number) shows without reading it that it is untouched.
    All three are null where there was no file; `end` is null where it is the end of a video of unknown length.
    """

    video: str
    start: float
    end: float | None
    bytes: int | None = None
    content: str | None = None
    stamp: str | None = None


class ErrorRow(Row):
    """Why an item has no answer."""

    kind: str
    message: str
    where: str = ""


class Sample(Row):
    """One line of `samples.jsonl`: a finished item, or one that failed and why. The last line of an id counts.

    `vector_row` is the item's row in `vectors.npy`, where the answer is a pair of vectors, and `vectors_crc32` the
    CRC-32 of its bytes. `labels` (kind of label to the item's) are what breakdowns group by. `clip` is what was asked
    about, `stretch` which part of an interrupted run answered: 0 before it was first resumed by others (see `Run`).
    Records from before there were labels, clips or checksums have none.
    """

    id: str
    cluster: str
    answer: int | str | None = None
    raw: str = ""
    rule: str = ""
    option_scores: tuple[float, ...] = ()
    vector_row: int | None = None
    vectors_crc32: int | None = None
    clip: ClipRow | None = None
    stretch: Annotated[int, Field(ge=0)] = 0
    scores: dict[str, float | None] = Field(default_factory=dict)
    prompt_sha256: str | None = None
    frames: FramesSeen | None = None
    tokens: TokenUsage = TokenUsage()
    seconds: Annotated[dict[str, float], Field(json_schema_extra=WALL_CLOCK)] = Field(default_factory=dict)
    peak_memory_bytes: Annotated[int | None, Field(json_schema_extra=WALL_CLOCK)] = None
    notes: dict[str, JsonValue] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    error: ErrorRow | None = None


class FloorRow(Row):
    """What a model that never looks gets on the same items: the primary figure, and others to show beside it."""

    model: str
    metric: Metric
    others: tuple[Metric, ...] = ()


class Counts(Row):
    """Items the task has, asked for, answered, failed and not reached. They add up."""

    task_items: int
    asked: int
    answered: int
    failed: int
    not_reached: int


class Cost(Row):
    """What the answers took. Seconds are summed over items, by stage.

    `wait` is the time that the model stood still for frames, `frames_wait_share` its part of `seconds`; `decode` was
    spent wherever frames were decoded, mostly while the model was busy. Null where no frames were read, and in
    records from before it was measured.
    """

    prompt_tokens: int
    cached_tokens: Annotated[int, Field(json_schema_extra=WALL_CLOCK)]
    completion_tokens: int
    prompt_tokens_per_item: float | None
    completion_tokens_per_item: float | None
    frames_per_item: float | None
    seconds: Seconds
    seconds_per_item: Seconds
    seconds_by_stage: Annotated[dict[str, float], Field(json_schema_extra=WALL_CLOCK)]
    frames_wait_share: Seconds
    peak_memory_bytes: Annotated[int | None, Field(json_schema_extra=WALL_CLOCK)]


class OfficialScore(Row):
    """A score that the benchmark's own server gave for this run's submission."""

    metric: str
    value: float
    source: str


class Stretch(Row):
    """The part of a run that was made after it was resumed by others, with the items that it answered."""

    provenance: Provenance
    answered: int


class Results(Row):
    """`results.json`: a pure function of `run.json`, `samples.jsonl` and the task.

    `sha256` is the digest of the file's other content, which shows changes by hand; null in files of version 1.
    """

    schema_version: Literal[3] = 3
    name: str
    fingerprint: str
    status: Status
    task: TaskInfo
    model: ModelRow
    protocol: dict[str, str]
    seed: int
    limit: int | None
    imported: bool
    counts: Counts
    failed_ids: tuple[str, ...]
    metrics: tuple[Metric, ...]
    floors: tuple[FloorRow, ...]
    details: dict[str, JsonValue]
    cost: Cost
    official: OfficialScore | None
    provenance: Provenance
    resumed: tuple[Stretch, ...] = ()
    warnings: tuple[str, ...]
    sha256: Annotated[str | None, Field(json_schema_extra=WALL_CLOCK)] = None

    @property
    def primary(self) -> Metric:
        """The figure the task is ranked by."""
        return next(metric for metric in self.metrics if metric.primary)
