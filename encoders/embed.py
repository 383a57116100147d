"""Embed many videos into one file, in this process or on Ray's workers, each with its own model and decoders.

A folder of parts is written as the work proceeds, so that the same command resumes an interrupted one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from encoders.decode_ahead import DecodedClip, Decoders
from encoders.ray_pool import Pool, Work, ask, joined, spread
from encoders.task_model import EncoderModel
from encoders.video_errors import VideoError
from encoders.video_file import probe
from tasks.digests import file_state_sha256, text_sha256
from tasks.durable import whole_file, write_atomic
from tasks.errors import DataError, ModelError
from tasks.files import is_unicode, read_json, unicode_only
from tasks.model import ModelInfo
from tasks.task import Clip, JsonValue
from tasks.video_files import VIDEO_SUFFIXES, files_below, is_video_name

RUN = "run.json"
FORMATS = (".parquet", ".safetensors")
PART_SIZE = 16
MADE_FROM = "made_from"
"""The column of a part that identifies the model and the file's state that a vector was made from."""
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class EmbeddedFolder:
    """The outcome: vectors written, and for each video without one the reason, by id."""

    out: Path
    written: int
    failed: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one video: its row, or the error."""

    id: str
    row: Row | None = None
    error: str | None = None


class FolderEmbedder(Protocol):
    """Makes vectors of video files, here or elsewhere."""

    @property
    def info(self) -> ModelInfo: ...

    def embed(self, videos: Mapping[str, Path]) -> Iterator[Outcome]:
        """Yield an outcome for each video, in any order, as they come."""
        ...


@dataclass(frozen=True, slots=True)
class HereEmbedder:
    """Embeds in this process; the decoders serve successive calls."""

    model: EncoderModel
    decoders: Decoders

    @property
    def info(self) -> ModelInfo:
        return self.model.info

    def embed(self, videos: Mapping[str, Path]) -> Iterator[Outcome]:
        failed: list[Outcome] = []
        for batch in batched(decoded(self.decoders, self.model, videos, failed), self.model.runtime.batch):
            for row in embed_batch(self.model, batch):
                yield Outcome(str(row["id"]), row)
            yield from failed
            failed.clear()
        yield from failed


def decoders_for(model: EncoderModel) -> Decoders:
    """Return as many decoders as the model's options say; the caller must end them."""
    return Decoders(model.runtime.reading.ahead)


def find_videos(folder: Path) -> dict[str, Path]:
    """Find videos below a folder, following links, by id: their path within it. Raises DataError if there are none."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder")
    found = {path.relative_to(folder).as_posix(): path for path in files_below(folder) if is_video_name(path)}
    if not found:
        raise DataError(f"{folder} holds no videos ({' '.join(VIDEO_SUFFIXES)})")
    return found


def embed_folder(
    embedder: FolderEmbedder, videos: Mapping[str, Path], out: Path, on_video: Callable[[str, str | None], None]
) -> EmbeddedFolder:
    """Embed every video whose current state is not in `OUT.parts`; `on_video` is called with each id and its error.

    Raises DataError if `out` exists, has another suffix, or its parts were made by another model or policy.
    """
    check_target(out)
    parts = parts_folder(out)
    facts = {"model": asdict(embedder.info)}
    claim_parts(parts, facts)
    keys = row_keys(parts, videos)
    done = read_parts(parts, keys)
    failed = unusable_names(videos)
    for key, reason in failed.items():
        on_video(key, reason)
    rows: list[Row] = []
    try:
        todo = {key: path for key, path in videos.items() if key not in done and key not in failed}
        for outcome in embedder.embed(todo):
            if outcome.row is not None:
                rows.append({**outcome.row, MADE_FROM: keys.get(outcome.id)})
            else:
                failed[outcome.id] = str(outcome.error)
            on_video(outcome.id, outcome.error)
            if len(rows) >= PART_SIZE:
                write_part(parts, rows)
                rows = []
    finally:
        if rows:
            write_part(parts, rows)
    done = read_parts(parts, keys)
    ordered = [done[key] for key in videos if key in done]
    if not ordered:
        key, reason = next(iter(failed.items()))
        raise DataError(f"none of the {len(videos)} videos gave a vector; the first: {key}: {reason}")
    told = {unicode_only(key): unicode_only(reason) for key, reason in failed.items()}
    write_out(out, ordered, {**facts, "failed": told}, parts)
    shutil.rmtree(parts)
    return EmbeddedFolder(out, len(ordered), failed)


def unusable_names(videos: Iterable[str]) -> dict[str, str]:
    """Return, by id, why some videos can't be named in a results file: their names are not UTF-8."""
    reason = "its file name is not UTF-8, so no results file can hold it: rename the file"
    return {key: reason for key in videos if not is_unicode(key)}


def already_embedded(out: Path, videos: Mapping[str, Path] | None = None) -> int:
    """Count vectors that an interrupted run left for `out`; with `videos`, only those of these files' current state."""
    parts = parts_folder(out)
    keys = row_keys(parts, videos) if videos is not None else None
    return len(read_parts(parts, keys, ["id", MADE_FROM]))


def parts_folder(out: Path) -> Path:
    """Return the folder where an unfinished run keeps its vectors."""
    return out.with_name(f"{out.name}.parts")


def check_target(out: Path) -> None:
    """Raise DataError unless `out` is a new file of a known format."""
    if out.suffix not in FORMATS:
        raise DataError(f"{out}: write to a name that ends in {' or '.join(FORMATS)}")
    if out.exists():
        raise DataError(f"{out} exists already; delete it or choose another name")


def claim_parts(parts: Path, facts: Mapping[str, Any]) -> None:
    """Start the parts folder, or check that an existing one was made by the same model and policy."""
    parts.mkdir(parents=True, exist_ok=True)
    text = json.dumps(facts, indent=2, sort_keys=True)
    earlier = claimed(parts)
    if earlier is None:
        write_atomic(parts / RUN, text)
    elif earlier != json.loads(text):
        raise DataError(f"{parts} was made by another model or frame policy; delete it or choose another name")


def claimed(parts: Path) -> JsonValue:
    """Read the facts of the run that began the parts; None if there is none, or it was killed while writing them.

    No vector depends on them: each row has its own key.
    """
    path = parts / RUN
    try:
        facts: JsonValue = read_json(path, "") if path.exists() else None
    except DataError:
        return None
    return facts


def row_keys(parts: Path, videos: Mapping[str, Path]) -> dict[str, str]:
    """Return, by id, the key of model and file state that a row must have; missing files have none."""
    facts = json.dumps(claimed(parts), sort_keys=True)
    keys: dict[str, str] = {}
    for key, path in videos.items():
        with suppress(OSError):
            keys[key] = text_sha256(facts, file_state_sha256(path))
    return keys


def embed_batch(model: EncoderModel, batch: Sequence[DecodedClip]) -> Iterator[Row]:
    """Yield a row for each decoded clip."""
    pairs = [(clip, clip.frames) for clip in batch if clip.frames is not None]
    embedded = model.embed_frames([frames for _, frames in pairs], [spent(clip) for clip, _ in pairs])
    for (clip, frames), vector, trace in zip(pairs, embedded.vectors, embedded.traces, strict=True):
        yield {
            "id": clip.clip.video_id,
            "vector": vector,
            "frames": len(frames.seconds),
            "share_of_clip": frames.share_of_clip,
            "seconds_decode": trace.seconds["decode"],
            "seconds_encode": trace.seconds["encode"],
            "seconds_wait": trace.seconds["wait"],
        }


def spent(clip: DecodedClip) -> dict[str, float]:
    """Return the seconds that reading a clip took, by stage."""
    return {"decode": clip.decode_seconds, "wait": clip.wait_seconds}


def decoded(
    decoders: Decoders, model: EncoderModel, videos: Mapping[str, Path], failed: list[Outcome]
) -> Iterator[DecodedClip]:
    """Yield the frames of each readable video, decoded ahead while earlier ones are encoded; others go to `failed`."""

    def clips() -> Iterator[Clip]:
        for key, path in videos.items():
            try:
                yield Clip(key, 0.0, probe(path).duration, path)
            except VideoError as error:
                failed.append(Outcome(key, error=str(error)))

    for clip in decoders.decode(clips(), model.policy):
        if clip.frames is None:
            failed.append(Outcome(clip.clip.video_id, error=str(clip.error)))
        else:
            yield clip


def write_part(parts: Path, rows: Sequence[Row]) -> None:
    """Write one more part atomically."""
    numbers = [int(path.stem) for path in parts.glob("*.parquet") if path.stem.isdecimal()]
    table = as_table(rows)
    with whole_file(parts / f"{1 + max(numbers, default=0):06d}.parquet") as path:
        write_table(table, path)


def read_parts(
    parts: Path, keys: Mapping[str, str] | None = None, columns: Sequence[str] | None = None
) -> dict[str, Row]:
    """Read the rows of all finished parts by id; with `keys`, only those whose key matches.

    A part damaged by a power cut or a full disk is skipped, and its videos are embedded again.
    """
    rows: dict[str, Row] = {}
    for path in sorted(parts.glob("*.parquet")):
        with suppress(pa.ArrowException, OSError):
            for row in read_table(path, columns).to_pylist():
                if keys is None or (MADE_FROM in row and row[MADE_FROM] == keys.get(row["id"])):
                    rows[row["id"]] = row
    return rows


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file; of `columns`, those that it has."""
    # Opened here, because PyArrow takes no path that is not UTF-8.
    with path.open("rb") as file:
        parquet = pq.ParquetFile(file)
        return parquet.read(None if columns is None else [name for name in columns if name in parquet.schema.names])


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table as a Parquet file."""
    with path.open("wb") as file:
        pq.write_table(table, file)


def write_out(out: Path, rows: Sequence[Row], facts: Mapping[str, Any], parts: Path) -> None:
    """Write the whole result: columns and facts in Parquet; or `vectors` [N, D] with ids and facts as metadata."""
    text = json.dumps(facts)
    if out.suffix == ".parquet":
        rows = [{name: value for name, value in row.items() if name != MADE_FROM} for row in rows]
        table = as_table(rows).replace_schema_metadata({"longvid": text})
        with whole_file(out, parts) as path:
            write_table(table, path)
        return
    vectors = np.asarray([row["vector"] for row in rows], dtype=np.float32)
    ids = json.dumps([row["id"] for row in rows])
    with whole_file(out, parts) as path:
        save_file({"vectors": vectors}, path, {"ids": ids, "longvid": text})


def as_table(rows: Sequence[Row]) -> pa.Table:
    """Convert rows to columns, vectors to fixed-size lists of float32."""
    dimensions = len(rows[0]["vector"])
    flat = pa.array(np.concatenate([np.asarray(row["vector"], dtype=np.float32) for row in rows]))
    columns: dict[str, Any] = {name: [row.get(name) for row in rows] for name in rows[0] if name != "vector"}
    return pa.table({**columns, "vector": pa.FixedSizeListArray.from_arrays(flat, dimensions)})


def batched(clips: Iterator[DecodedClip], size: int) -> Iterator[list[DecodedClip]]:
    """Yield consecutive lists of at most `size` clips."""
    while batch := list(islice(clips, size)):
        yield batch


def facts_of(out: Path) -> JsonValue:
    """Read the facts stored in a finished Parquet file."""
    with out.open("rb") as file:
        metadata = pq.read_schema(file).metadata or {}
    facts: JsonValue = json.loads(metadata.get(b"longvid", b"null"))
    return facts


BuildEncoder = Callable[[], EncoderModel]
Video = tuple[str, Path]


@contextmanager
def embedder_of(build: BuildEncoder, pool: Pool | None) -> Iterator[FolderEmbedder]:
    """Yield an embedder in this process, or on the workers of a pool. Raises what `build` raises, wherever it runs."""
    if pool is None:
        model = build()
        with decoders_for(model) as decoders:
            yield HereEmbedder(model, decoders)
        return
    with joined(pool):
        yield RayEmbedder(pool, build, ask(pool, partial(_info, build)))


@dataclass(frozen=True, slots=True)
class RayEmbedder:
    """Hands out `at_once` videos at a time; the rows come back here. Videos have the same path on every machine."""

    pool: Pool
    build: BuildEncoder
    info: ModelInfo
    at_once: int = PART_SIZE

    def embed(self, videos: Mapping[str, Path]) -> Iterator[Outcome]:
        items = [(key, path.absolute()) for key, path in videos.items()]
        if items:
            yield from spread(self.pool, partial(embedding_work, self.build, self.info), items, self.at_once)


def embedding_work(build: BuildEncoder, expected: ModelInfo) -> Work[Video, Outcome]:
    """Return a worker's function for some videos. It raises ModelError if the worker built a different model."""
    model = build()
    embedder = HereEmbedder(model, decoders_for(model))

    def work(videos: Sequence[Video]) -> Iterator[Outcome]:
        check_same(model.info, expected)
        return embedder.embed(dict(videos))

    return work


def check_same(info: ModelInfo, expected: ModelInfo) -> None:
    """Raise ModelError if a worker's model differs in more than its device."""
    ours, theirs = asdict(info), asdict(expected)
    differing = [name for name in ours if name != "device" and ours[name] != theirs[name]]
    if differing:
        name = differing[0]
        raise ModelError(
            f"the workers' models differ: {name} is {ours[name]!r} on {info.device}, {theirs[name]!r} on "
            f"{expected.device}; give the model's dtype and the same files on every machine"
        )


def _info(build: BuildEncoder) -> ModelInfo:
    return build().info
