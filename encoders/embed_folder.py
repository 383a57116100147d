"""Vectors of many videos, written as they come: parts on disk, then one Parquet or safetensors file.

`OUT.parts/` holds the finished parts and `run.json`, which says what made them; it goes when `OUT` is whole.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from encoders.decode_ahead import DecodedClip, Decoders
from encoders.task_model import EncoderModel
from encoders.video_errors import VideoError
from encoders.video_file import probe
from tasks.errors import DataError
from tasks.files import is_unicode, read_text, unicode_only
from tasks.model import ModelInfo
from tasks.task import Clip, JsonValue
from tasks.video_files import VIDEO_SUFFIXES, files_below, is_video_name

FORMATS = (".parquet", ".safetensors")
PART_SIZE = 16
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class EmbeddedFolder:
    """What came of it: vectors written, and the reason by id for each video that gave none."""

    out: Path
    written: int
    failed: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one video gave: its row, or the error."""

    id: str
    row: Row | None = None
    error: str | None = None


class FolderEmbedder(Protocol):
    """Something that makes vectors of video files, here or elsewhere."""

    @property
    def info(self) -> ModelInfo: ...

    def embed(self, videos: Mapping[str, Path]) -> Iterator[Outcome]:
        """An outcome for each video, in any order, as they come."""
        ...


@dataclass(frozen=True, slots=True)
class HereEmbedder:
    """Makes them in this process; the decoders serve one call after the other."""

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
    """As many decoders as the model's options say, to be ended by whoever asked for them."""
    return Decoders(model.runtime.reading.ahead)


def find_videos(folder: Path) -> dict[str, Path]:
    """Videos below a folder, behind links too, by id: their path within it. Raises DataError when there are none."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder")
    found = {path.relative_to(folder).as_posix(): path for path in files_below(folder) if is_video_name(path)}
    if not found:
        raise DataError(f"{folder} holds no videos ({' '.join(VIDEO_SUFFIXES)})")
    return found


def embed_folder(
    embedder: FolderEmbedder, videos: Mapping[str, Path], out: Path, on_video: Callable[[str, str | None], None]
) -> EmbeddedFolder:
    """Embed every video not yet in `OUT.parts`; `on_video` hears of each id, with the error if it gave one.

    Raises DataError when `out` exists, has another suffix, or its parts were made by another model or policy.
    """
    check_target(out)
    parts = parts_folder(out)
    facts = {"model": asdict(embedder.info)}
    claim_parts(parts, facts)
    done = read_parts(parts)
    failed = unusable_names(videos)
    for key, reason in failed.items():
        on_video(key, reason)
    rows: list[Row] = []
    try:
        todo = {key: path for key, path in videos.items() if key not in done and key not in failed}
        for outcome in embedder.embed(todo):
            if outcome.row is not None:
                rows.append(outcome.row)
            else:
                failed[outcome.id] = str(outcome.error)
            on_video(outcome.id, outcome.error)
            if len(rows) >= PART_SIZE:
                write_part(parts, rows)
                rows = []
    finally:
        if rows:
            write_part(parts, rows)
    done = read_parts(parts)
    ordered = [done[key] for key in videos if key in done]
    if not ordered:
        key, reason = next(iter(failed.items()))
        raise DataError(f"none of the {len(videos)} videos gave a vector; the first: {key}: {reason}")
    write_out(out, ordered, {**facts, "failed": {unicode_only(key): reason for key, reason in failed.items()}})
    shutil.rmtree(parts)
    return EmbeddedFolder(out, len(ordered), failed)


def unusable_names(videos: Iterable[str]) -> dict[str, str]:
    """Why some videos can't be named in a file of results, by id: their names are no UTF-8."""
    reason = "its file name is not UTF-8, so that no file of results can hold it: rename the file"
    return {key: reason for key in videos if not is_unicode(key)}


def already_embedded(out: Path) -> int:
    """Vectors that an interrupted run has left for `out`."""
    return len(read_parts(parts_folder(out)))


def parts_folder(out: Path) -> Path:
    """Where an unfinished run keeps its vectors."""
    return out.with_name(f"{out.name}.parts")


def check_target(out: Path) -> None:
    """Raise DataError unless `out` is a new file of a known format."""
    if out.suffix not in FORMATS:
        raise DataError(f"{out}: write to a name that ends in {' or '.join(FORMATS)}")
    if out.exists():
        raise DataError(f"{out} exists already; delete it or choose another name")


def claim_parts(parts: Path, facts: Mapping[str, Any]) -> None:
    """Start the parts folder, or make sure that the one there was made by the same model and policy."""
    parts.mkdir(parents=True, exist_ok=True)
    path = parts / "run.json"
    text = json.dumps(facts, indent=2, sort_keys=True)
    if not path.exists():
        path.write_text(text, encoding="utf-8")
    elif read_text(path, "") != text:
        raise DataError(f"{parts} was made by another model or frame policy; delete it or choose another name")


def embed_batch(model: EncoderModel, batch: Sequence[DecodedClip]) -> Iterator[Row]:
    """A row for each decoded clip."""
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
    """What reading a clip took."""
    return {"decode": clip.decode_seconds, "wait": clip.wait_seconds}


def decoded(
    decoders: Decoders, model: EncoderModel, videos: Mapping[str, Path], failed: list[Outcome]
) -> Iterator[DecodedClip]:
    """Frames of each video that can be read, decoded ahead while earlier ones are encoded; the others fail."""

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
    """One more part, whole or not at all."""
    number = 1 + max((int(path.stem) for path in parts.glob("*.parquet")), default=0)
    atomically(parts / f"{number:06d}.parquet", lambda path: pq.write_table(as_table(rows), path))


def read_parts(parts: Path) -> dict[str, Row]:
    """The rows of all finished parts by id."""
    rows = [row for path in sorted(parts.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    return {row["id"]: row for row in rows}


def write_out(out: Path, rows: Sequence[Row], facts: Mapping[str, Any]) -> None:
    """The whole result: columns and facts in Parquet; or `vectors` [N, D] with ids and facts as metadata."""
    text = json.dumps(facts)
    if out.suffix == ".parquet":
        table = as_table(rows).replace_schema_metadata({"longvid": text})
        atomically(out, lambda path: pq.write_table(table, path))
        return
    vectors = np.asarray([row["vector"] for row in rows], dtype=np.float32)
    ids = json.dumps([row["id"] for row in rows])
    atomically(out, lambda path: save_file({"vectors": vectors}, path, {"ids": ids, "longvid": text}))


def as_table(rows: Sequence[Row]) -> pa.Table:
    """Rows as columns, vectors as fixed-size lists of float32."""
    dimensions = len(rows[0]["vector"])
    flat = pa.array(np.concatenate([np.asarray(row["vector"], dtype=np.float32) for row in rows]))
    columns: dict[str, Any] = {name: [row.get(name) for row in rows] for name in rows[0] if name != "vector"}
    return pa.table({**columns, "vector": pa.FixedSizeListArray.from_arrays(flat, dimensions)})


def atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a neighbour, then put it in place."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def batched(clips: Iterator[DecodedClip], size: int) -> Iterator[list[DecodedClip]]:
    """Consecutive lists of at most `size`."""
    while batch := list(islice(clips, size)):
        yield batch


def facts_of(out: Path) -> JsonValue:
    """The facts stored beside the vectors of a finished Parquet file."""
    metadata = pq.read_schema(out).metadata or {}
    facts: JsonValue = json.loads(metadata.get(b"longvid", b"null"))
    return facts
