r"""Strict reading of files that others wrote: errors name the file, the line and the field.

JSON is UTF-8 with or without a byte-order mark, keys are unique within an object, numbers are finite. JSON lines end
with `\n` or `\r\n` only: U+2028 and U+0085 may be part of a text. Lone surrogates, which JSON can escape and UTF-8
can't encode, are read as U+FFFD. Values keep their types: `true` is not 1, 1.9 is not an index, null is not a text.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast, get_args, get_origin

from annotated_types import Ge, Le
from typing_extensions import get_type_hints, is_typeddict

from tasks.errors import DataError, ModelError
from tasks.registry import nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydantic import TypeAdapter, ValidationError

LINES_SUFFIXES = (".jsonl", ".ndjson")
MOST_BYTES = 1 << 30
MOST_CHARACTERS = 1_000_000
"""Longest text: a longer caption or question is a file pasted into a field."""
DEEPEST = 100
LONGEST_NUMBER = 30
MOST_TIMES, ALWAYS_BYTES = 100, 64 << 20
TOO_DEEP = "is nested too deeply"
NESTS = (dict, list, tuple)
SHOWN = 40
EXPECTED: Mapping[str, str] = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "none_required": "null",
}
# Kinds of files that are often given in place of a text file, by their first bytes.
FOREIGN: Mapping[bytes, str] = {
    b"\x1f\x8b": "is a gzip archive: unpack it",
    b"PK\x03\x04": "is a zip archive: unpack it",
    b"BZh": "is a bzip2 archive: unpack it",
    b"\xfd7zXZ": "is an xz archive: unpack it",
    b"(\xb5/\xfd": "is a Zstandard archive: unpack it",
    b"\xff\xfe": "is UTF-16: save it as UTF-8",
    b"\xfe\xff": "is UTF-16: save it as UTF-8",
    b"\x93NUMPY": "is a NumPy array, where text is needed",
}
T = TypeVar("T")
Seconds = Annotated[float, Ge(0), Le(10_000_000)]
"""Largest time in a video: no video lasts for months, and cutting one into segments would never end."""

_HALF_PAIR = re.compile("[\ud800-\udfff]")
_ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def is_json_lines(path: Path) -> bool:
    """Whether a file's name says that it holds JSON lines, in upper or lower case."""
    return path.suffix.lower() in LINES_SUFFIXES


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can encode a text, which is not certain for file names."""
    return _HALF_PAIR.search(text) is None


def unicode_only(text: str) -> str:
    """Replace every character that UTF-8 can't encode by U+FFFD."""
    return _HALF_PAIR.sub("\ufffd", text)


def is_file(path: Path) -> bool:
    """Whether a path names an existing file; invalid paths, such as overlong names, don't."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_bytes(path: Path, what: str) -> bytes:
    """Read the bytes of a regular file, called `what` in errors. Raises DataError naming it."""
    where = f"{what} {path}".strip()
    try:
        if path.is_dir():
            raise DataError(f"{where} is a folder, where a file is needed")
        # Reading a named pipe would block for ever.
        if path.exists() and not path.is_file():
            raise DataError(f"{where} is not a regular file")
        if (size := path.stat().st_size) > MOST_BYTES:
            raise DataError(f"{where} is too large ({size / 1e9:.1f} GB; at most {MOST_BYTES / 1e9:.1f} GB are read)")
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{where} does not exist") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"{where} can't be read ({reason})") from error


def decoded(data: bytes, where: str) -> str:
    """Decode UTF-8, without a byte-order mark. Raises DataError naming the line that is not UTF-8."""
    refuse_foreign(data, where)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{where}, line {line} {not_utf8(error)}") from error


def refuse_foreign(data: bytes, where: str) -> None:
    """Raise DataError for an archive or another encoding, recognised by its first bytes."""
    for start, fault in FOREIGN.items():
        if data.startswith(start):
            raise DataError(f"{where} {fault}")


def not_utf8(error: UnicodeDecodeError) -> str:
    """Say what is wrong with bytes that are not UTF-8, and what to do."""
    return f"is not UTF-8 (byte 0x{error.object[error.start]:02x}): save the file as UTF-8"


def read_text(path: Path, what: str) -> str:
    """Read a text file, without a byte-order mark. Raises DataError naming it."""
    return decoded(read_bytes(path, what), f"{what} {path}".strip())


def text_lines(text: str) -> list[str]:
    r"""Split a text into lines at `\n` and `\r\n` only."""
    return [line.removesuffix("\r") for line in text.split("\n")]


def read_json(path: Path, what: str) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """Read a JSON file. Raises DataError naming it."""
    return parse_json(read_text(path, what), f"{what} {path}".strip())


def parse_json(text: str, where: str, pairs: Callable[[Sequence[tuple[str, Any]]], Any] | None = None) -> Any:  # noqa: ANN401 - as above
    """Parse JSON by this module's rules; `pairs` makes objects from keys and values, by default dictionaries.

    Raises DataError that begins with `where`.
    """
    try:
        return _loads(text, pairs)
    except ValueError as error:
        raise DataError(f"{where} {_fault(error)}") from error


def unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object. Raises ValueError naming a repeated key: `json` itself silently keeps the last."""
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        repeated = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]  # adds
        raise ValueError(f"has the key '{unicode_only(repeated)}' twice in one object")
    return content


def read_rows(path: Path, kind: type[T], what: str) -> Iterator[tuple[int, T]]:
    """Yield the rows of a JSON-lines file with their line numbers. See `json_rows`."""
    return json_rows(read_bytes(path, what), kind, f"{what} {path}".strip())


def json_rows(data: bytes, kind: type[T], where: str) -> Iterator[tuple[int, T]]:
    """Yield rows of type `kind` from JSON lines, with their line numbers; blank lines are skipped.

    Raises DataError naming the line and the field at fault, or that there is no row at all.
    """
    from jsonlines import InvalidLineError, Reader
    from pydantic import ValidationError

    refuse_foreign(data, where)
    adapter = _adapter(kind)
    number = rows = 0

    def counted() -> Iterator[bytes]:
        nonlocal number
        # Binary files split lines at \n only, text files at three ends, and str.splitlines at eleven.
        for line in io.BytesIO(data.removeprefix(codecs.BOM_UTF8)):
            number += 1
            yield line

    reader = Reader(counted(), loads=_line)
    try:
        for row in reader.iter(allow_none=True, skip_empty=True):
            try:
                yield number, adapter.validate_python(row, strict=True)
            except ValidationError as error:
                raise DataError(f"{where}, line {number}{_problem(error, row, kind)}") from error
            rows += 1
    except InvalidLineError as error:
        cause = error.__cause__
        fault = not_utf8(cause) if isinstance(cause, UnicodeDecodeError) else _fault(cause or error)
        raise DataError(f"{where}, line {error.lineno} {fault}") from error
    if not rows:
        raise DataError(f"{where} is empty")


def typed(kind: type[T], content: object, where: str) -> T:
    """Validate content as a `kind` without coercion. Raises DataError that begins with `where` and names the field."""
    from pydantic import ValidationError

    try:
        return _adapter(kind).validate_python(content, strict=True)
    except ValidationError as error:
        raise DataError(f"{where}{_problem(error, content, kind)}") from error


def csv_rows(text: str, where: str) -> list[tuple[int, dict[str, str]]]:
    """Read the rows of a CSV text by the names in its header, with their line numbers; blank lines are skipped.

    Cells end with a comma, or, if the header has none, with a tab or a semicolon, as spreadsheets write them.

    Raises DataError for a header that names a column twice, a row with more or fewer cells, or an open quotation mark.
    """
    first = re.split("[\r\n]", text, maxsplit=1)[0]
    delimiter = "," if "," in first else next((mark for mark in "\t;" if mark in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        for name in header:
            if header.count(name) > 1:
                raise DataError(f"{where}, line 1 names the column '{name}' twice")
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise DataError(f"{where}, line {reader.line_num} has {len(cells)} cells, the header {len(header)}")
            rows.append((reader.line_num, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise DataError(f"{where}, line {reader.line_num} is not valid CSV ({error})") from error
    return rows


def read_object(path: Path) -> dict[str, object]:
    """Read a JSON object with unique keys. Raises DataError naming the file."""
    content = read_json(path, "")
    if not isinstance(content, dict) or not content:
        msg = f"{path} must hold a JSON object of id to text or list of texts, with at least one id"
        raise DataError(msg)
    return content


def unpacks_too_far(size: int, packed: int) -> bool:
    """Whether an archive's member unpacks to a size that suggests a decompression bomb."""
    return size > max(ALWAYS_BYTES, MOST_TIMES * packed)


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Read a TOML file. Raises DataError if the file can't be read, ModelError if it is not TOML."""
    return parse_toml(read_text(path, what), f"{what} {path}".strip())


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Parse a TOML text. Raises ModelError that begins with `where`."""
    import tomllib

    try:
        return tomllib.loads(text, parse_float=_finite)
    except RecursionError:
        raise ModelError(f"{where} is nested too deeply") from None
    except ValueError as error:
        raise ModelError(f"{where} is not TOML (texts need quotes): {error}") from error


def read_arrays(path: Path, names: Sequence[str], what: str) -> list[NDArray[Any]]:
    """Read the named arrays of an .npz file. Raises DataError naming the file."""
    import zipfile

    import numpy as np

    def read() -> list[NDArray[Any]]:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is not a zip archive, as numpy.savez writes")
        with path.open("rb") as data, np.load(data, allow_pickle=False) as file:
            return [file[name] for name in names]

    return _arrays(path, f"{what} {path}".strip(), f"an .npz file of {', '.join(names)}", read)


def read_array(path: Path, what: str) -> NDArray[Any]:
    """Read the array of an .npy file, memory-mapped. Raises DataError naming the file."""
    import numpy as np

    def read() -> NDArray[Any]:
        return np.lib.format.open_memmap(path, mode="r")

    return _arrays(path, f"{what} {path}".strip(), "an .npy file of numbers", read)


def _arrays(path: Path, where: str, wanted: str, read: Callable[[], T]) -> T:
    import zipfile
    import zlib

    if not path.is_file():
        raise DataError(f"{where} is a folder, where a file is needed" if path.is_dir() else f"{where} does not exist")
    if path.stat().st_size == 0:
        raise DataError(f"{where} is empty, where {wanted} is needed")
    faults = (OSError, EOFError, ValueError, TypeError, KeyError, AttributeError, SyntaxError, RuntimeError)
    try:
        return read()
    except (*faults, RecursionError, MemoryError, OverflowError, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if "object" in reason.lower():  # NumPy's own words advise how to run the code in such a file
            reason = "it holds Python objects, which are never read: save arrays of numbers and of texts"
        raise DataError(f"{where} is not {wanted} ({reason[:200]})") from error


def _adapter(kind: type[T]) -> TypeAdapter[T]:
    return cast("TypeAdapter[T]", _cached_adapter(cast("Any", kind)))


@cache
def _cached_adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - types of any kind
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


_VALIDATORS_OWN = re.compile(r"must be (?:Input|List|String|Dictionary|Tuple|Set|Value|Number) should")
"""How a fault begins that has no words here (EXPECTED): in the validator's own."""


def _problem(error: ValidationError, content: object, kind: object) -> str:
    """Describe the innermost fault: which field, what it must be, what it is."""
    faults = [(*_walked(content, fault["loc"]), fault) for fault in error.errors(include_url=False)]
    path, value, first = max(faults, key=lambda fault: len(fault[0]))
    if first["type"] == "extra_forbidden":
        return f": unknown field {_quoted(path)}{nearest(str(path[-1]), _fields(kind, path[:-1]))}"
    if first["type"] == "missing":
        return f": field {_quoted((*path, first['loc'][-1]))} is missing"
    same = [fault for other, _, fault in faults if other == path]
    wanted = " or ".join(dict.fromkeys(EXPECTED.get(fault["type"], fault["msg"]) for fault in same))
    must = _VALIDATORS_OWN.sub("should", f"must be {wanted}").replace(" after validation", "")
    field = f": field {_quoted(path)}" if path else ""
    return f"{field} {must}, not {shown(value)}"


def _walked(content: object, place: Sequence[str | int]) -> tuple[tuple[str | int, ...], object]:
    """Return the part of a fault's location that is in the content, and its value; the rest names alternatives."""
    path: list[str | int] = []
    for part in place:
        known = isinstance(content, dict) and part in content
        if known or (isinstance(content, list) and isinstance(part, int) and part < len(content)):
            content = content[part]  # type: ignore[index]  # one of the two
            path.append(part)
    return tuple(path), content


def _fields(kind: object, path: Sequence[str | int]) -> list[str]:
    """Return the fields of an object at a path within content of type `kind`."""
    for part in path:
        if is_typeddict(kind):
            kind = get_type_hints(kind).get(str(part))
        elif get_origin(kind) in (dict, list):
            kind = get_args(kind)[-1]
    return list(get_type_hints(kind)) if is_typeddict(kind) else []


def _named(path: Sequence[str | int]) -> str:
    """Format a location in JSON content: `options`, `segments, entry 2, start`."""
    return ", ".join(f"entry {part + 1}" if isinstance(part, int) else part for part in path)


def _quoted(path: Sequence[str | int]) -> str:
    return f"'{_named(path)}'"


def shown(value: object) -> str:
    """Format a JSON value for an error, as in the file but shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _line(line: str | bytes) -> Any:  # noqa: ANN401 - as above
    """Parse a line of JSON, as passed on by `jsonlines`. Raises ValueError."""
    return _loads(line if isinstance(line, str) else line.decode())


def _loads(text: str, pairs: Callable[[Sequence[tuple[str, Any]]], Any] | None = None) -> Any:  # noqa: ANN401 - as above
    """Parse a JSON text. Raises ValueError that says what is wrong with it."""
    decoder = _DECODER if pairs is None else _decoder(pairs)
    try:
        content = decoder.decode(text)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    if text.count("[") + text.count("{") > DEEPEST and _is_deep(content):
        raise ValueError(TOO_DEEP)
    if len(text) > MOST_CHARACTERS or _ESCAPED_HALF.search(text):
        return _cleaned(content)
    return content


def _decoder(pairs: Callable[[Sequence[tuple[str, Any]]], Any]) -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=pairs, parse_constant=_finite, parse_float=_finite, parse_int=_whole)


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"holds the number {text[:SHOWN]}, which is not finite")
    return number


def _whole(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"holds a number of {len(text)} digits")
    return int(text)


def _is_deep(content: object) -> bool:
    level = [content]
    for _ in range(DEEPEST):
        nodes = [node.values() if isinstance(node, dict) else node for node in level]
        level = [child for node in nodes if isinstance(node, Iterable) for child in node if isinstance(child, NESTS)]
        if not level:
            return False
    return True


def _cleaned(content: Any) -> Any:  # noqa: ANN401 - as above
    """Make texts encodable as UTF-8. Raises ValueError for a text that is too long."""
    if isinstance(content, str):
        if len(content) > MOST_CHARACTERS:
            raise ValueError(f"holds a text of {len(content):,} characters; at most {MOST_CHARACTERS:,} are read")
        return unicode_only(content)
    if isinstance(content, dict):
        return unique_keys([(unicode_only(key), _cleaned(value)) for key, value in content.items()])
    if isinstance(content, list | tuple):
        # A list subclass, such as one of an object's pairs, keeps its type.
        return type(content)(_cleaned(part) for part in content)
    return content


def _fault(error: BaseException) -> str:
    """Say what is wrong with a JSON text, in words that follow the name of its location."""
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    line = f"line {error.lineno}, " if error.lineno > 1 else ""
    return f"is not valid JSON ({error.msg} at {line}column {error.colno}): is it cut off?"


_DECODER = _decoder(unique_keys)
