"""One reader for files that others wrote: every value keeps its type, every fault has its place."""

from __future__ import annotations

import gzip
import io
import json
import os
from pathlib import Path
from typing import Any, NotRequired

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import TypedDict

from tasks.errors import DataError, LongvidError
from tasks.files import (
    csv_rows,
    is_json_lines,
    json_rows,
    parse_json,
    parse_toml,
    read_array,
    read_arrays,
    read_json,
    read_rows,
    typed,
    unicode_only,
)


class Row(TypedDict):
    """A row of every type that rows have."""

    text: str
    index: NotRequired[int | None]
    seconds: NotRequired[float]
    options: NotRequired[list[str]]
    key: NotRequired[str | int]


def rows(data: bytes | str) -> list[Row]:
    return [row for _, row in json_rows(data if isinstance(data, bytes) else data.encode(), Row, "file x.jsonl")]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"text": None}, "field 'text' must be a text, not null"),
        ({"text": ["a"]}, "field 'text' must be a text, not \\[\"a\"\\]"),
        ({"text": 1}, "field 'text' must be a text, not 1"),
        ({}, "field 'text' is missing"),
        ({"text": "a", "index": True}, "field 'index' must be a whole number, not true"),
        ({"text": "a", "index": 1.9}, "field 'index' must be a whole number, not 1.9"),
        ({"text": "a", "index": "1"}, "field 'index' must be a whole number, not \"1\""),
        ({"text": "a", "seconds": "1"}, "field 'seconds' must be a number, not \"1\""),
        ({"text": "a", "seconds": False}, "field 'seconds' must be a number, not false"),
        ({"text": "a", "options": {"A": "b"}}, 'field \'options\' must be a list, not {"A": "b"}'),
        ({"text": "a", "options": ["b", None]}, "field 'options, entry 2' must be a text, not null"),
        ({"text": "a", "key": 1.0}, "field 'key' must be a text or a whole number, not 1.0"),
        (["text"], 'must be an object, not \\["text"\\]'),
        (None, "must be an object, not null"),
    ],
)
def test_a_value_of_another_type_is_refused_by_line_and_field(row: object, fault: str) -> None:
    with pytest.raises(DataError, match=rf"file x\.jsonl, line 3:? {fault}"):
        rows('{"text": "fine"}\n\n' + json.dumps(row))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"text": "a", "text": "b"}', "has the key 'text' twice"),
        ('{"text": "a", "seconds": NaN}', "holds the number NaN, which is not finite"),
        ('{"text": "a", "seconds": -Infinity}', "-Infinity, which is not finite"),
        ('{"text": "a", "seconds": 1e999}', "1e999, which is not finite"),
        ('{"text": "a", "index": ' + "9" * 5000 + "}", "a number of 5000 digits"),
        ('{"text": ' + "[" * 100_000, "is nested too deeply"),
        ('{"text": ' + "[" * 500 + "]" * 500 + "}", "is nested too deeply"),
        ('{"text": "' + "a" * 1_000_001 + '"}', "a text of 1,000,001 characters"),
        ('{"text": "a"', r"is not valid JSON \(.* at column 13\)"),
        ("{'text': 'a'}", "is not valid JSON"),
    ],
    ids=range(10),
)
def test_json_that_means_nothing_or_two_things_is_refused_by_line(line: str, fault: str) -> None:
    with pytest.raises(DataError, match=f"line 2 {fault}|line 2 holds .*{fault}"):
        rows('{"text": "fine"}\n' + line)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_byte_order_mark_and_both_line_ends_are_read(mark: bytes, end: bytes) -> None:
    assert rows(mark + b'{"text": "a"}' + end + end + b'{"text": "b"}' + end) == [{"text": "a"}, {"text": "b"}]


SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"


@given(st.lists(st.text(st.sampled_from(SEPARATORS + 'ab\r\n"\\é😀'), max_size=8), min_size=1, max_size=5))
def test_any_text_comes_back_whole_escaped_or_not(texts: list[str]) -> None:
    for escaped in (True, False):
        lines = "\n".join(json.dumps({"text": text}, ensure_ascii=escaped) for text in texts)
        assert [row["text"] for row in rows(lines)] == texts


@given(st.text(st.characters() | st.sampled_from("\ud83d\udcff"), max_size=8))
def test_half_of_a_surrogate_pair_is_replaced_and_nothing_else(text: str) -> None:
    whole = json.loads(json.dumps(text))  # two halves that meet are one character
    (row,) = rows(json.dumps({"text": text}))
    assert row["text"] == unicode_only(whole) == whole.encode("utf-8", "replace").decode().replace("?", "\ufffd") or (
        "?" in whole
    )
    row["text"].encode()


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b'{"text": "caf\xe9"}', r"line 1 is not UTF-8 \(byte 0xe9\): save the file as UTF-8"),
        ('{"text": "a"}'.encode("utf-16"), "is UTF-16: save it as UTF-8"),
        (gzip.compress(b"{}", mtime=0), "is a gzip archive: unpack it"),
        (b"PK\x03\x04abc", "is a zip archive: unpack it"),
        (bytes(range(1, 256)), "line 1 is not"),
    ],
    ids=["empty", "blank", "latin-1", "utf-16", "gzip", "zip", "binary"],
)
def test_what_is_no_text_is_called_what_it_is(tmp_path: Path, data: bytes, fault: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"x\.jsonl.*{fault}"):
        list(read_rows(path, Row, "file"))
    with pytest.raises(DataError, match=r"x\.jsonl"):
        read_json(path, "file")


def test_what_is_no_file_is_called_what_it_is(tmp_path: Path) -> None:
    loop, pipe = tmp_path / "loop", tmp_path / "pipe"
    loop.symlink_to(loop)
    os.mkfifo(pipe)
    places = {
        tmp_path: "is a folder, where a file is needed",
        tmp_path / "none": "does not exist",
        loop: "symbolic links",
        pipe: "is not a regular file",
        tmp_path / ("n" * 300): "too long",
        tmp_path / "\udce9": "does not exist",
    }
    for path, fault in places.items():
        with pytest.raises(DataError, match=fault):
            read_json(path, "captions file")


def test_endings_are_read_in_either_case() -> None:
    assert [is_json_lines(Path(name)) for name in ("a.jsonl", "a.JSONL", "a.ndjson", "a.json")] == [
        *(True, True, True),
        False,
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a,a\n1,2\n", "line 1 names the column 'a' twice"),
        ("a,b\n1\n", "line 2 has 1 cells, the header 2"),
        ("a,b\n1,2,3\n", "line 2 has 3 cells, the header 2"),
        ('a,b\n1,"2\n3,4\n', "is not valid CSV"),
    ],
)
def test_a_csv_row_is_never_dropped_or_cut(text: str, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        csv_rows(text, "x.csv")


@pytest.mark.parametrize("text", ["x = nan", "x = inf", "x =", "x = 1\nx = 2", "a = " + "[" * 5000, "[a]\nb"])
def test_toml_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(LongvidError, match=r"c\.toml"):
        parse_toml(text, "c.toml")


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("data", [b"", bytes(20), b"\x93NUMPY", b"hello", npy(np.eye(3))[:-4], npy(np.eye(3))[:40]])
def test_an_array_file_without_an_array_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"x\.npy is (empty|not an \.npy)"):
        read_array(path, "")
    with pytest.raises(DataError, match=r"x\.npy is (empty|not an \.npz)"):
        read_arrays(path, ["ids"], "")


def test_an_array_file_cut_anywhere_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, ids=np.arange(3), video=np.eye(3))
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 37):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"x\.npz is"):
            read_arrays(path, ["ids", "video"], "")


def test_keys_that_become_one_by_replacement_are_refused() -> None:
    with pytest.raises(DataError, match="twice"):
        parse_json(r'{"\ud83d": 1, "\ud83e": 2}', "x.json")


def test_a_mapping_names_the_id_at_fault() -> None:
    with pytest.raises(DataError, match=r"x\.json: field 'v, entry 2' must be a text, not 3"):
        typed(dict[str, list[str]], {"v": ["a", 3]}, "x.json")
