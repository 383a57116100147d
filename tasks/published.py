"""Published benchmarks of questions: read strictly, and checked against what was published.

A benchmark's own file says which fields there are and how a row becomes an item; this module has what they share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from math import inf
from pathlib import Path
from string import ascii_uppercase
from typing import TypeVar, cast

from tasks.data_roots import other_places
from tasks.errors import DataError, LongvidError
from tasks.files import csv_rows, is_file, is_json_lines, read_json, read_rows, read_text, shown, typed
from tasks.multiple_choice import (
    ChoiceItem,
    ChoicePrompts,
    MultipleChoiceTask,
    chance_of,
    mean_name,
    question_set_digest,
)
from tasks.task import Clip, TaskInfo
from tasks.video_files import VIDEOS, files_below, is_video_name

NONE_OF_THEM = -1
"""The answer index of a question whose published answer is none of its options: every choice is wrong."""
SAMPLE = 500
# Our choice: published lengths are exact to about a second; a larger difference means another video.
LENGTH_OFF, LENGTH_OFF_SHARE = 2.0, 0.01
PROMPTS = ChoicePrompts(
    similarity="own-similarity.v1", loglik="own-loglik.v1", letter="own-letter.v1", generate="own-generate.v1"
)
SecondsOf = Callable[[Path], float]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Published:
    """The facts that a benchmark's pools share.

    `item_sets` holds the count and digest that a pool's items must have; for other pools, whose files are not public, a
    run's record keeps both as they were found. With `mean_over` the primary figure is the mean over that label's
    groups.
    """

    name: str
    source: str
    licence: str
    citation: str
    cluster: str = "video"
    version: str = "1"
    prompts: ChoicePrompts = PROMPTS
    item_sets: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    mean_over: str | None = None

    def info(self, pool: str, family: str, primary: str, chance: float, count: int, digest: str) -> TaskInfo:
        """Describe a pool. Raises DataError if the items are not the published ones."""
        info = TaskInfo(
            name=f"{self.name}@{pool}",
            family=family,
            version=self.version,
            item_count=count,
            items_sha256=digest,
            primary_metric=primary,
            chance=chance,
            cluster=self.cluster,
            source=self.source,
            licence=self.licence,
            citation=self.citation,
        )
        require_items(self.name, info.name, (count, digest), self.item_sets.get(pool))
        return info

    def task(self, pool: str, items: Sequence[ChoiceItem]) -> MultipleChoiceTask:
        """Make a pool's task. Raises DataError if the items are not the published ones."""
        label = self.mean_over
        primary, chance = "accuracy" if label is None else mean_name(label), chance_of(items, label)
        info = self.info(pool, "multiple-choice", primary, chance, len(items), question_set_digest(items))
        return MultipleChoiceTask(info, items, self.prompts, label)


def require_items(
    benchmark: str, task_name: str, found: tuple[int, str], published: tuple[int, str] | None, what: str = "a text"
) -> None:
    """Raise DataError if count and digest of the items are not those of the published ones."""
    if published is not None and found != published:
        msg = (
            f"these are not the items of {task_name} (found {found[0]}, expected {published[0]}, or {what} or answer "
            f"differs); fetch the official files with 'longvid {benchmark} prepare'"
        )
        raise DataError(msg)


def official_file(folder: Path, benchmark: str, *names: str) -> Path:
    """Find the first of the files that exists. Raises DataError that says how to get it."""
    found = next((path for name in names if is_file(path := folder / name)), None)
    if found is None:
        msg = (
            f"{folder / names[0]} is missing: run 'longvid {benchmark} prepare', which says where to get it, or point "
        )
        raise DataError(f"{msg}--data at a folder that has it")
    return found


def official_json(path: Path, benchmark: str) -> object:
    """Read an official file. Raises DataError that names it and says how to get it."""
    try:
        return cast("object", read_json(path, ""))
    except DataError as error:
        raise DataError(f"{error}; delete it and run 'longvid {benchmark} prepare'") from error


def entries(path: Path, kind: type[T], benchmark: str) -> list[tuple[str, T]]:
    """Read the rows of an official file, each with its location for errors; nothing is coerced.

    JSON (a list of objects), JSON lines, CSV (all texts) and Parquet are distinguished by the file's suffix. Raises
    DataError naming the file, the row and the field at fault.
    """
    if is_json_lines(path):
        return [(f"{path}, line {number}", row) for number, row in read_rows(path, kind, "")]
    if path.suffix == ".csv":
        rows: list[tuple[str, object]] = [(f"line {n}", row) for n, row in csv_rows(read_text(path, ""), str(path))]
    else:
        content = parquet_rows(path) if path.suffix == ".parquet" else official_json(path, benchmark)
        if not isinstance(content, list):
            raise DataError(f"{path} must hold a list of questions; delete it and run 'longvid {benchmark} prepare'")
        rows = [(f"entry {number}", row) for number, row in enumerate(content, start=1)]
    return [(where := f"{path}, {place}", typed(kind, row, where)) for place, row in rows]


def parquet_rows(path: Path) -> list[object]:
    """Read the rows of a Parquet file. Raises DataError if it is damaged, or pyarrow is not installed."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import read_table
    except ImportError as error:
        msg = f"{path}: Parquet files are read with pyarrow: pip install 'longvid[video]', or export the rows as JSON"
        raise DataError(msg) from error
    try:
        return list(read_table(path).to_pylist())
    except (ArrowException, OSError) as error:
        raise DataError(f"{path} is not a Parquet file ({' '.join(str(error).split())[:200]})") from error


def by_letter(letter: str, count: int, where: str, field: str) -> int:
    """Return the index of an answer given by its letter. Raises DataError that begins with `where`."""
    place = ascii_uppercase.find(letter) if len(letter) == 1 else -1
    if not 0 <= place < count:
        raise DataError(
            f"{where}: field '{field}' must be a letter A to {ascii_uppercase[count - 1]}, not {shown(letter)}"
        )
    return place


def by_index(index: int, count: int, where: str, field: str) -> int:
    """Check the index of an answer given by its index. Raises DataError that begins with `where`."""
    if not 0 <= index < count:
        raise DataError(f"{where}: field '{field}' must be an option's index, 0 to {count - 1}, not {index}")
    return index


class Videos:
    """A benchmark's videos in its folder's `videos/` or another data root's, listed once.

    `seconds_of` returns the length of a file.
    """

    def __init__(self, folder: Path, seconds_of: SecondsOf | None) -> None:
        self._paths: dict[str, Path] = {}
        for place in (folder / VIDEOS, *(other / VIDEOS for other in other_places(folder))):
            for path in filter(is_video_name, files_below(place) if place.is_dir() else []):
                self._paths.setdefault(path.relative_to(place).with_suffix("").as_posix(), path)
        self._seconds_of = None if seconds_of is None else cache(seconds_of)

    def clip(
        self,
        video_id: str,
        *names: str,
        told: float = inf,
        subtitles: Path | None = None,
        subtitles_start: float = 0.0,
    ) -> Clip:
        """Return a whole video as a clip, with the first of its possible files that exists, by default named by its id.

        `told` is its length by the benchmark's annotations; the file's own takes precedence if it differs.
        """
        path = next((self._paths[name] for name in names or (video_id,) if name in self._paths), None)
        end = told
        if path is not None and self._seconds_of is not None:
            # An unreadable video is reported when it is asked about, so that the run continues with others.
            with suppress(LongvidError):
                own = self._seconds_of(path)
                end = told if abs(told - own) <= max(LENGTH_OFF, LENGTH_OFF_SHARE * own) else own
        return Clip(video_id, 0.0, end, path, subtitles, subtitles_start)


def without_letters(options: Sequence[str], where: str) -> tuple[str, ...]:
    """Strip the letters from options such as `A. Apples.`: a prompt adds its own.

    Raises DataError that begins with `where` for options that are not in alphabetical order of letters.
    """
    texts = []
    for letter, option in zip(ascii_uppercase, options, strict=False):
        if not option.startswith((f"{letter}. ", f"{letter}.")):
            raise DataError(
                f"{where}: field 'options' must have one that begins with '{letter}. ', not {shown(option)}"
            )
        texts.append(option.removeprefix(f"{letter}.").strip())
    return tuple(texts)


def unique(items: Sequence[ChoiceItem], path: Path) -> list[ChoiceItem]:
    """Return the items. Raises DataError if two have the same id."""
    seen: set[str] = set()
    for number, item in enumerate(items, start=1):
        if item.id in seen:
            raise DataError(f"{path}, question {number}: the id '{item.id}' is used twice")
        seen.add(item.id)
    return list(items)


def sample_of(items: Sequence[ChoiceItem], count: int = SAMPLE) -> list[ChoiceItem]:
    """Return a fixed sample of the items: those whose ids' digests come first, in the order of the file."""
    ids = sorted((item.id for item in items), key=lambda key: hashlib.sha256(key.encode()).digest())
    chosen = set(ids[:count])
    return [item for item in items if item.id in chosen]
