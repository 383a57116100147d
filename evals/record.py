"""The content of a run directory: `run.json`, `samples.jsonl`, `results.json`. Schemas: evals/schemas.

Fields marked `x-wall-clock` in the schema say when and how fast a run happened; all others are the same for the
same run, however often it was interrupted.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from tasks.errors import DataError, RecordError
from tasks.files import decoded, parse_json
from tasks.task import FramesSeen, Metric, TaskInfo, TokenUsage

WALL_CLOCK = {"x-wall-clock": True}

Status = Literal["complete", "partial", "failed"]
Seconds = Annotated[float | None, Field(ge=0, json_schema_extra=WALL_CLOCK)]
_NOT_KEPT: set[str] = set()


class Row(BaseModel):
    """Base of everything stored: unknown fields are refused, and instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, ser_json_inf_nan="null")

    def model_post_init(self, _: object) -> None:
        # pydantic's sets of given fields take more than half of the memory of a large record's rows.
        object.__setattr__(self, "__pydantic_fields_set__", _NOT_KEPT)


class ModelRow(Row):
    """The model with its options and the facts it reports about itself.

    `options` are those given, `effective` all that can change an answer, defaults included: two runs with the same
    effective options are the same run. `system` (tasks.registry.System) is the kind of system. Both are null in records
    from before they were kept.
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
    """Where a user's own benchmark lay when it was last used: its folder or file, and its video folder if given."""

    path: str
    videos: str | None = None


class Run(Row):
    """`run.json`: everything known before the first item; written first.

    `place` says where the files of a user's own benchmark lie, null for benchmarks known by name. It decides nothing:
    the digest of the item set says whether the items are the same.
    `provenance` is that of the start. Each time the run was resumed by other code, on another machine or by another
    command, its provenance is added to `resumed`; a sample's `stretch` counts these parts.
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
        """Digest of what decides the answers: a run resumes only if it is the same."""
        model = set(ModelRow.model_fields) - {"system", "effective" if self.model.effective is None else "options"}
        text = self.model_dump_json(
            include={"task": True, "model": model, "protocol": True, "seed": True, "imported": True}
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def as_given(self) -> Run:
        """Return the run identified by the given options alone, as in records from before defaults were kept."""
        return self.model_copy(update={"model": self.model.model_copy(update={"effective": None})})


class ClipRow(Row):
    """What an item was about when it was answered: the segment of a video in seconds, and the video's file.

    `content` is a digest prefixed with its method: `sha256` of the whole file if frames of it were looked at, else
    `sha256-of-samples`. `stamp` (the file's times and inode) shows without reading the file that it is unchanged. All
    three are null if there was no file; `end` is null for the end of a video of unknown length. `subtitles` is the
    digest of the subtitle file, null if the benchmark names none or it was missing.
    """

    video: str
    start: float
    end: float | None
    bytes: int | None = None
    content: str | None = None
    stamp: str | None = None
    subtitles: str | None = None


class ErrorRow(Row):
    """Why an item has no answer."""

    kind: str
    message: str
    where: str = ""


class Sample(Row):
    """One line of `samples.jsonl`: an answered item, or a failed one with the reason. The last line of an id counts.

    `vector_row` is the item's row in `vectors.npy` if the answer is a pair of vectors, and `vectors_crc32` the CRC-32
    of its bytes. `labels` maps kinds of label to the item's, for breakdowns. `clip` is what was asked about; `stretch`
    says which part of a resumed run answered: 0 before the first change of provenance (see `Run`). Records from before
    there were labels, clips or checksums have none.
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
    """The score of a model that never looks, on the same items: the primary figure, and others to show beside it."""

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
    """The cost of the answers. Seconds are summed over items, by stage.

    `wait` is the time that the model waited for frames, `frames_wait_share` its part of `seconds`; `decode` was spent
    decoding frames, mostly while the model was busy. Null if no frames were read, and in records from before it was
    measured.
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
    """The part of a run that was made after a change of provenance, with the number of items it answered."""

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
        """The figure that the task is ranked by."""
        return next(metric for metric in self.metrics if metric.primary)


FIELD = "sha256"


def seal_of(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the content without its seal, as JSON with sorted keys."""
    rest = {key: value for key, value in content.items() if key != FIELD}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def changed_by_hand(content: object) -> str | None:
    """Say why the content can't be what was written; None if its seal is intact."""
    if not isinstance(content, Mapping):
        return None
    sealed = content.get(FIELD)
    if sealed is None:
        return None if content.get("schema_version", 1) == 1 else f"it has no {FIELD}"
    return None if sealed == seal_of(content) else f"its {FIELD} does not match its content"


Content = Mapping[str, Any]
Step = Callable[[Content], Content]


def unsealed(content: Content) -> Content:
    """Migrate to version 2 of `results.json`, which added the digest of its own content."""
    return {**content, "schema_version": 2, "sha256": content.get("sha256")}


def without_waiting(content: Content) -> Content:
    """Migrate to version 3, which added the share of time that the model waited for frames."""
    cost = content.get("cost")
    known = {**cost, "frames_wait_share": None} if isinstance(cost, Mapping) else cost
    return {**content, "schema_version": 3, "cost": known}


STEPS: Mapping[type[Row], Mapping[int, Step]] = MappingProxyType({Results: {1: unsealed, 2: without_waiting}})


def migrated(content: Content, kind: type[Row]) -> Content:
    """Migrate content to the current version of `kind`. Raises RecordError for an unknown version."""
    field = kind.model_fields.get("schema_version")
    if field is None:
        return content
    version = content.get("schema_version", 1)
    steps = STEPS.get(kind, {})
    while version != field.default:
        if type(version) is not int or version not in steps:
            msg = f"has schema version {version}, this version of longvid reads {field.default}"
            raise RecordError(msg)
        content = steps[version](content)
        version += 1
    return content


MOST_BYTES = 64 << 20
RowT = TypeVar("RowT", bound=Row)


def read_content(path: Path) -> object:
    """Read JSON. Raises RecordError if the file is missing, not a regular file, too large, or not JSON."""
    try:
        # Reading a named pipe would block for ever.
        if path.exists() and not path.is_file():
            raise RecordError(f"{path} is not a regular file")
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise RecordError(f"{path} is too large for a record ({size / 1e6:.0f} MB)")
        return parse_json(decoded(path.read_bytes(), ""), "")
    except FileNotFoundError:
        msg = f"{path} does not exist: {path.parent} is not a finished run directory"
        raise RecordError(msg) from None
    except OSError as error:
        raise RecordError(f"{path} can't be read ({error.strerror})") from error
    except DataError as error:
        raise RecordError(f"{path} is damaged ({str(error).strip(' ,')})") from error


def validated(path: Path, content: object, kind: type[RowT]) -> RowT:
    """Validate content as a row of the current version. Raises RecordError naming the file and the field at fault."""
    try:
        today = migrated(content, kind) if isinstance(content, Mapping) else content
        return kind.model_validate(today, strict=False)
    except ValidationError as error:
        raise RecordError(f"{path} is not a longvid record ({first_problem(error)})") from error
    except RecordError as error:
        raise RecordError(f"{path} {error}") from None


def first_problem(error: ValidationError) -> str:
    """Describe the first fault that pydantic found, in a few words."""
    problem: Mapping[str, Any] = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"


def status_of(counts: Counts) -> Status:
    """Return the status: complete only if every item of the task has an answer; failed if none has."""
    if counts.answered == 0:
        return "failed"
    return "complete" if counts.answered == counts.task_items else "partial"


def contradictions(results: Results) -> Iterator[str]:
    """Yield contradictions in a record, in a few words each."""
    counts = results.counts
    if min(counts.model_dump().values()) < 0:
        yield "a count is negative"
    if counts.answered + counts.failed + counts.not_reached != counts.asked or counts.asked > counts.task_items:
        yield f"the counts don't add up ({counts.answered} answered of {counts.asked} asked of {counts.task_items})"
    if counts.task_items != results.task.item_count:
        yield f"{counts.task_items} items are counted, but {results.task.name} has {results.task.item_count}"
    if results.status != status_of(counts):
        yield f"the status is {results.status}, the counts say {status_of(counts)}"
    primary = [metric.name for metric in results.metrics if metric.primary]
    if primary != [results.task.primary_metric]:
        yield f"the primary figure is {', '.join(primary) or 'missing'}, the task's is {results.task.primary_metric}"
    twice = [name for name, times in Counter(metric.name for metric in results.metrics).items() if times > 1]
    if twice:
        yield f"{twice[0]} is listed twice"
    turned = [metric.name for metric in results.metrics if metric.interval and metric.interval[0] > metric.interval[1]]
    if turned:
        yield f"the interval of {turned[0]} ends before it begins"
