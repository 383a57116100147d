"""A record file's JSON, whatever lies there: read whole as what it should be, or refused by name with the fault."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from evals.migrations import migrated
from evals.record import Row
from tasks.errors import DataError, RecordError
from tasks.files import decoded, parse_json

MOST_BYTES = 64 << 20
RowT = TypeVar("RowT", bound=Row)


def read_content(path: Path) -> object:
    """The parsed JSON. Raises RecordError for what is missing, no regular file, too large, or no JSON."""
    try:
        # A named pipe would be waited for without end.
        if path.exists() and not path.is_file():
            raise RecordError(f"{path} is no regular file")
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
    """The content as a row of today's version. Raises RecordError naming the file and the field at fault."""
    try:
        today = migrated(content, kind) if isinstance(content, Mapping) else content
        return kind.model_validate(today, strict=False)
    except ValidationError as error:
        raise RecordError(f"{path} is not a longvid record ({first_problem(error)})") from error
    except RecordError as error:
        raise RecordError(f"{path} {error}") from None


def first_problem(error: ValidationError) -> str:
    """The first fault that pydantic found, in a few words."""
    problem: Mapping[str, Any] = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
