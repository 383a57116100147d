"""Find data files: at the given path, then in every data root; the first that has the file wins."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from tasks.errors import DataError

DATA_VARIABLE = "LONGVID_DATA"
DEFAULT_ROOTS = (Path("data"), Path("../shared/data"))
_given: ContextVar[Path | None] = ContextVar("data root", default=None)


@contextmanager
def looking_in(data: Path | None) -> Iterator[None]:
    """Within this context, `data` is the only data root; None leaves the roots unchanged."""
    if data is None:
        yield
        return
    token = _given.set(data)
    try:
        yield
    finally:
        _given.reset(token)


def data_roots(data: Path | None = None) -> tuple[Path, ...]:
    """Return `data` alone if it is given (--data), else $LONGVID_DATA, ./data, ../shared/data."""
    chosen = data or _given.get()
    if chosen:
        return (chosen,)
    variable = os.environ.get(DATA_VARIABLE)
    return (*([Path(variable)] if variable else []), *DEFAULT_ROOTS)


def data_file(path: Path) -> Path:
    """Find a file at its path, else the first of that name in a data root or in a folder of one.

    A missing file's path is returned unchanged: its reader reports it. Raises DataError if a root has several.
    """
    if path.is_absolute() or path.exists():
        return path
    for root in data_roots():
        if (root / path).is_file():
            return root / path
        found = sorted(place for place in root.glob(f"*/{path}") if place.is_file()) if path.parts else []
        if len(found) > 1:
            raise DataError(
                f"{path} is not here, and there are several in {root}: name one, {' or '.join(map(str, found))}"
            )
        if found:
            return found[0]
    return path


def other_places(folder: Path) -> Iterator[Path]:
    """Yield the folders of the same name in the other data roots, for files that a benchmark's folder lacks."""
    roots = data_roots()
    here = next((root for root in roots if folder.is_relative_to(root)), None)
    if here is not None:
        yield from (root / folder.relative_to(here) for root in roots if root != here)
