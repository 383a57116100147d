"""SHA-256 of files and texts, which identify data, weights and prompts in a record."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

ROWS_AT_ONCE = 64
_as_json = json.JSONEncoder(ensure_ascii=False).encode


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_sha256(*parts: str) -> str:
    """Digest a text in parts, separated so that moving words between parts changes the digest."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


def rows_sha256(rows: Iterable[Sequence[object]]) -> str:
    """Digest of a list of rows as JSON, which is not put together: of many items it takes as much room as they."""
    digest = hashlib.sha256(b"[")
    left, separator = iter(rows), ""
    while some := list(islice(left, ROWS_AT_ONCE)):
        digest.update((separator + _as_json(some)[1:-1]).encode())
        separator = ", "
    digest.update(b"]")
    return digest.hexdigest()


def file_state_sha256(path: Path) -> str:
    """Digest a file's location, size and time of change, without reading it. Raises OSError.

    A different file of the same name has a different digest, even with the same size and modification time.
    """
    state = path.stat()
    digest = hashlib.sha256(os.fsencode(path.resolve()))
    digest.update(f"\0{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}".encode())
    return digest.hexdigest()
