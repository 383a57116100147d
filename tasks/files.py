r"""Files that others wrote, read one way: strictly, and with the file, the line and the field named where one is wrong.

JSON is UTF-8 with or without a byte-order mark, its keys stand once in an object, its numbers are finite. Lines of JSON
end with `\n` or `\r\n` and with nothing else: U+2028 and U+0085 may stand inside a text. Half of a surrogate pair,
which JSON can escape and UTF-8 can't hold, is read as U+FFFD. Values keep their types: `true` is no 1, 1.9 is no index,
null is no text.
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
"""Of one text: a caption or a question longer than this is a file pasted into a field."""
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
# What is often given in place of a text file, by its first bytes.
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
"""A time in a video: no video lasts for months, and what cuts one into pieces would never end."""

_HALF_PAIR = re.compile("[\ud800-\udfff]")
_ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def is_json_lines(path: Path) -> bool:
    """Whether a file's name says that it holds JSON lines, in letters of either case."""
    return path.suffix.lower() in LINES_SUFFIXES


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold a text: the name of a file need not be one."""
    return _HALF_PAIR.search(text) is None


def unicode_only(text: str) -> str:
    """The text with U+FFFD for every character that UTF-8 can't hold."""
    return _HALF_PAIR.sub("\ufffd", text)


def is_file(path: Path) -> bool:
    """Whether there is a file, whatever stands in a path that was read from one: a name too long names none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_bytes(path: Path, what: str) -> bytes:
    """The bytes of a regular file, called `what` in errors. Raises DataError naming it."""
    where = f"{what} {path}".strip()
    try:
        if path.is_dir():
            raise DataError(f"{where} is a folder, where a file is needed")
        # A named pipe would be waited for without end.
        if path.exists() and not path.is_file():
            raise DataError(f"{where} is no regular file")
        if (size := path.stat().st_size) > MOST_BYTES:
            raise DataError(f"{where} is too large ({size / 1e9:.1f} GB; at most {MOST_BYTES / 1e9:.1f} GB are read)")
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{where} does not exist") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"{where} can't be read ({reason})") from error


def decoded(data: bytes, where: str) -> str:
    """UTF-8 text, without a byte-order mark. Raises DataError naming the line that isn't."""
    refuse_foreign(data, where)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{where}, line {line} {not_utf8(error)}") from error


def refuse_foreign(data: bytes, where: str) -> None:
    """Raise DataError for an archive or another encoding, told by its first bytes."""
    for start, fault in FOREIGN.items():
        if data.startswith(start):
            raise DataError(f"{where} {fault}")


def not_utf8(error: UnicodeDecodeError) -> str:
    """What is wrong with bytes that are no UTF-8, and what to do."""
    return f"is not UTF-8 (byte 0x{error.object[error.start]:02x}): save the file as UTF-8"


def read_text(path: Path, what: str) -> str:
    """A text file, without a byte-order mark. Raises DataError naming it."""
    return decoded(read_bytes(path, what), f"{what} {path}".strip())


def text_lines(text: str) -> list[str]:
    r"""The lines of a text, which end with `\n` or `\r\n` alone, without those."""
    return [line.removesuffix("\r") for line in text.split("\n")]


def read_json(path: Path, what: str) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """The content of a JSON file. Raises DataError naming it."""
    return parse_json(read_text(path, what), f"{what} {path}".strip())


def parse_json(text: str, where: str, pairs: Callable[[Sequence[tuple[str, Any]]], Any] | None = None) -> Any:  # noqa: ANN401 - as above
    """JSON text, read by this module's rules; `pairs` makes an object of its keys and values, by default a dictionary.

    Raises DataError that begins with `where`.
    """
    try:
        return _loads(text, pairs)
    except ValueError as error:
        raise DataError(f"{where} {_fault(error)}") from error


def unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises ValueError naming a key that is repeated: `json` itself keeps the last and says nothing."""
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        repeated = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]  # adds
        raise ValueError(f"has the key '{unicode_only(repeated)}' twice in one object")
    return content


def read_rows(path: Path, kind: type[T], what: str) -> Iterator[tuple[int, T]]:
    """The rows of a file of JSON lines as they come, with the numbers of their lines. See `json_rows`."""
    return json_rows(read_bytes(path, what), kind, f"{what} {path}".strip())


def json_rows(data: bytes, kind: type[T], where: str) -> Iterator[tuple[int, T]]:
    """Rows of type `kind` from JSON lines, with the numbers of their lines; blank lines are passed over.

    Raises DataError naming the line and the field at fault, or that there is no row at all.
    """
    from jsonlines import InvalidLineError, Reader
    from pydantic import ValidationError

    refuse_foreign(data, where)
    adapter = _adapter(kind)
    number = rows = 0

    def counted() -> Iterator[bytes]:
        nonlocal number
        # Bytes end their lines with \n alone, where text files know three ends and str.splitlines eleven.
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
    """The content as a `kind`, nothing coerced. Raises DataError that begins with `where` and names the field."""
    from pydantic import ValidationError

    try:
        return _adapter(kind).validate_python(content, strict=True)
    except ValidationError as error:
        raise DataError(f"{where}{_problem(error, content, kind)}") from error


def csv_rows(text: str, where: str) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV text by the names in its header, with their line numbers; blank lines are passed over.

    Raises DataError for a header that names a column twice, a row with more or fewer cells, or an open quotation mark.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        header = next(reader, [])
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
    """Read a JSON object whose keys stand there once. Raises DataError naming the file."""
    content = read_json(path, "")
    if not isinstance(content, dict) or not content:
        msg = f"{path} must hold a JSON object of id to text or list of texts, with at least one id"
        raise DataError(msg)
    return content


def unpacks_too_far(size: int, packed: int) -> bool:
    """Whether a member of an archive claims a size that only serves to fill a disk or the memory."""
    return size > max(ALWAYS_BYTES, MOST_TIMES * packed)


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The tables of a TOML file. Raises DataError for a file that can't be read, ModelError for what is no TOML."""
    return parse_toml(read_text(path, what), f"{what} {path}".strip())


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises ModelError that begins with `where`."""
    import tomllib

    try:
        return tomllib.loads(text, parse_float=_finite)
    except RecursionError:
        raise ModelError(f"{where} is nested too deeply") from None
    except ValueError as error:
        raise ModelError(f"{where} is not TOML, where a text stands in quotes: {error}") from error


def read_arrays(path: Path, names: Sequence[str], what: str) -> list[NDArray[Any]]:
    """The named arrays of an .npz file. Raises DataError naming the file."""
    import numpy as np

    def read() -> list[NDArray[Any]]:
        with path.open("rb") as data, np.load(data, allow_pickle=False) as file:
            return [file[name] for name in names]

    return _arrays(path, f"{what} {path}".strip(), f"an .npz file of {', '.join(names)}", read)


def read_array(path: Path, what: str) -> NDArray[Any]:
    """The array of an .npy file, its values left on disk. Raises DataError naming the file."""
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
    """A fault in words, the innermost of those found: which field, what it must be, what it is."""
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
    """As much of a fault's place as the content has, and what lies there: the rest are names of alternatives."""
    path: list[str | int] = []
    for part in place:
        known = isinstance(content, dict) and part in content
        if known or (isinstance(content, list) and isinstance(part, int) and part < len(content)):
            content = content[part]  # type: ignore[index]  # one of the two
            path.append(part)
    return tuple(path), content


def _fields(kind: object, path: Sequence[str | int]) -> list[str]:
    """The fields that an object at a place within a content of type `kind` may have."""
    for part in path:
        if is_typeddict(kind):
            kind = get_type_hints(kind).get(str(part))
        elif get_origin(kind) in (dict, list):
            kind = get_args(kind)[-1]
    return list(get_type_hints(kind)) if is_typeddict(kind) else []


def _named(path: Sequence[str | int]) -> str:
    """A place in a JSON content as one reads it: `options`, `segments, entry 2, start`."""
    return ", ".join(f"entry {part + 1}" if isinstance(part, int) else part for part in path)


def _quoted(path: Sequence[str | int]) -> str:
    return f"'{_named(path)}'"


def shown(value: object) -> str:
    """A JSON value in an error, as the file has it but for its length."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _line(line: str | bytes) -> Any:  # noqa: ANN401 - as above
    """The content of a line of JSON, as `jsonlines` hands it on. Raises ValueError."""
    return _loads(line if isinstance(line, str) else line.decode())


def _loads(text: str, pairs: Callable[[Sequence[tuple[str, Any]]], Any] | None = None) -> Any:  # noqa: ANN401 - as above
    """The content of a JSON text. Raises ValueError that says what is wrong with it."""
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
    """The content with texts that UTF-8 can hold. Raises ValueError for a text of a file's length."""
    if isinstance(content, str):
        if len(content) > MOST_CHARACTERS:
            raise ValueError(f"holds a text of {len(content):,} characters; at most {MOST_CHARACTERS:,} are read")
        return unicode_only(content)
    if isinstance(content, dict):
        return unique_keys([(unicode_only(key), _cleaned(value)) for key, value in content.items()])
    if isinstance(content, list | tuple):
        # A list of another type, such as one of an object's pairs, stays one.
        return type(content)(_cleaned(part) for part in content)
    return content


def _fault(error: BaseException) -> str:
    """What is wrong with a JSON text, in words that go behind the name of its place."""
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    line = f"line {error.lineno}, " if error.lineno > 1 else ""
    return f"is not valid JSON ({error.msg} at {line}column {error.colno}): is it cut off?"


_DECODER = _decoder(unique_keys)
