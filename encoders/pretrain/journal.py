"""The training record: one JSON line for each group of steps and each evaluation, and one per bad sample."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path

from jsonlines import Reader, Writer

from encoders.pretrain.step import BadSample

METRICS = "metrics.jsonl"
BAD = "bad-samples.jsonl"
Row = dict[str, float | int | str]
WALL_CLOCK = ("seconds", "samples_per_second", "memory_bytes")
"""Fields of a row that differ from run to run; all others are the same for the same seed and machine."""


class Journal:
    """Appends to the record of a run; what came after `step`, the last checkpoint, is cut off first.

    With `folder` None nothing is written, as in all processes but the first.
    """

    def __init__(self, folder: Path | None, step: int) -> None:
        self._folder = folder
        if folder is not None:
            for name in (METRICS, BAD):
                _cut(folder / name, step)

    def write(self, row: Row) -> None:
        """Add a row of metrics."""
        self._append(METRICS, [row])

    def bad(self, step: int, samples: Iterable[BadSample]) -> None:
        """Name samples that could not be read at a step."""
        self._append(BAD, ({"step": step, "key": sample.key, "error": sample.error} for sample in samples))

    def _append(self, name: str, rows: Iterable[Mapping[str, object]]) -> None:
        found = list(rows)
        if self._folder is not None and found:
            with (self._folder / name).open("a", encoding="utf-8") as file:
                Writer(file).write_all(found)


def read_rows(path: Path) -> list[Row]:
    """The rows of a record; a last line that was cut short is left out."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    return list(Reader(StringIO(text[: text.rfind("\n") + 1]), loads=json.loads))


def _cut(path: Path, step: int) -> None:
    rows = [row for row in read_rows(path) if int(row["step"]) <= step]
    if path.is_file():
        temporary = path.with_name(f".{path.name}")
        with temporary.open("w", encoding="utf-8") as file:
            Writer(file).write_all(rows)
        temporary.replace(path)
