"""Subtitles in three formats, by the video's clock, and never read as silence where they are missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.errors import DataError
from tasks.subtitles import Line, count_words, lines_at, lines_of, read_subtitles
from tasks.task import Clip

SRT = "1\n00:00:01,000 --> 00:00:02,500\nHello <i>there</i>,\nyou\n\n2\n01:00:03,000 --> 01:00:04,000\nBye\n"
VTT = "WEBVTT\n\n00:01.000 --> 00:02.500 align:start\n<v Ann>Hello there, you\n\n01:00:03.000 --> 01:00:04.000\nBye\n"
WRITTEN = [
    {"start": "00:00:01.000", "end": "00:00:02.500", "line": "Hello there, you"},
    {"start": "01:00:03.000", "end": "01:00:04.000", "line": "Bye"},
]
STAMPED = [
    {"timestamp": [1.0, 2.5], "text": "Hello there, you"},
    {"timestamp": [3603, 3604.0], "text": " Bye "},
]
LINES = (Line(1.0, 2.5, "Hello there, you"), Line(3603.0, 3604.0, "Bye"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.srt", SRT),
        ("a.SRT", "\ufeff" + SRT.replace("\n", "\r\n")),
        ("a.vtt", VTT),
        ("a.json", json.dumps(WRITTEN)),
        ("a.json", json.dumps(STAMPED)),
    ],
)
def test_all_formats_give_the_same_lines(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode())
    assert read_subtitles(tmp_path / name) == LINES


def test_the_video_may_begin_within_the_subtitles_clock(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text(SRT)
    clip = Clip("v", 0.0, 60.0, None, tmp_path / "a.srt", 3600.0)
    assert lines_of(clip) == (Line(3.0, 4.0, "Bye"),)


def test_lines_seen_are_those_said_at_the_frames_shown() -> None:
    lines = (Line(0, 2, "one"), Line(2.5, 4, "two words"), Line(10, 11, "three"))
    assert lines_at(lines, (2.2, 4.0)) == (lines[1],)
    assert count_words(lines_at(lines, (1, 3))) == 3


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("a.srt", None, r"subtitles .*a\.srt are missing"),
        ("a.srt", "", r"a\.srt hold no words"),
        ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\n<i> </i>\n", r"a\.srt hold no words"),
        ("a.srt", SRT + "\n3\n00:00:05 --> 00:00:07\nmore\n", r'line 11: "00:00:05 --> 00:00:07" are not times'),
        ("a.srt", SRT + "\n3\n0:05,000 --> 0:07,000\nmore\n", r'line 11: "0:05,000 --> 0:07,000" are not times'),
        ("a.srt", "1\n00:00:05 --> 00:00:07\nmore\n\n" + SRT, r'line 2: "00:00:05 --> 00:00:07" are not times such as'),
        ("a.srt", "1\n-00:00:05,000 --> 00:00:07,000\nmore\n", r'line 2: "-00:00:05,000 --> .*" are not times such as'),
        ("a.srt", "1\n00:00:05,000 --> 00:00:04,000\nmore\n", r'line 2: "00:00:05,000 --> .*" ends before it starts'),
        ("a.srt", VTT, r'line 1: "WEBVTT" stands before the first times'),
        ("a.vtt", VTT + "\n123:05.000 --> 123:07.000\nmore\n", r'line 9: "123:05.000 --> .*" are not times such as'),
        ("a.txt", SRT, r"a\.txt must be a file \.srt, \.vtt or \.json"),
        ("a.json", "[]", r"a\.json hold no words"),
        ("a.json", '[{"start": "soon", "end": "00:00:02", "line": "x"}]', r"entry 1: field 'start' must be a time"),
        ("a.json", '[{"timestamp": [null, 2], "text": "x"}]', r"entry 1: field 'timestamp' must begin with a number"),
        ("a.json", '[{"timestamp": [1, 2]}]', r"entry 1: field 'text' is missing"),
    ],
)
def test_what_is_missing_empty_or_damaged_is_an_error_and_no_silence(
    tmp_path: Path, name: str, text: str | None, fault: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=fault):
        lines_of(Clip("v", 0.0, 60.0, None, tmp_path / name))


def test_a_clip_without_words_and_one_without_a_file_are_errors(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text(SRT)
    with pytest.raises(DataError, match="nothing is said from 10 to 20 s"):
        lines_of(Clip("v", 10.0, 20.0, None, tmp_path / "a.srt"))
    with pytest.raises(DataError, match="'v' has no subtitles"):
        lines_of(Clip("v", 10.0, 20.0))


def first_line(folder: Path, name: str, text: str) -> Line:
    (folder / name).write_bytes(text.encode())
    return read_subtitles(folder / name)[0]


@pytest.mark.parametrize("arrow", ["-->", " --> ", " -> ", " → "])
def test_hours_may_have_any_number_of_digits(tmp_path: Path, arrow: str) -> None:
    text = f"1\n100:00:01,000{arrow}1000:00:02,5\nhello\n"
    assert first_line(tmp_path, "a.srt", text) == Line(360_001.0, 3_600_002.5, "hello")


def test_notes_styles_and_names_of_cues_are_no_words(tmp_path: Path) -> None:
    text = "WEBVTT - a film\nKind: captions\n\nSTYLE\n::cue {}\n\ncue one\n00:01.000 --> 00:02.000\nhello\n"
    text += "\nNOTE nobody says this\nnor this\n\nsecond\n00:03.000 --> 00:04.000\nbye\n"
    (tmp_path / "a.vtt").write_text(text)
    assert read_subtitles(tmp_path / "a.vtt") == (Line(1.0, 2.0, "hello"), Line(3.0, 4.0, "bye"))


@pytest.mark.parametrize("name", ["a.srt", "a.vtt"])
def test_marks_within_the_words_are_left_out_and_names_of_signs_are_read(tmp_path: Path, name: str) -> None:
    head, mark = ("WEBVTT\n\n", ".") if name.endswith("vtt") else ("1\n", ",")
    said = "{\\an8}<c.yellow>I</c> <00:00:01.500><c> am</c> <3 &amp; <font color='red'>at 12:30:00,000</font>\n \n- ok"
    found = first_line(tmp_path, name, f"{head}00:00:01{mark}000 --> 00:00:02{mark}000\n{said}\n")
    assert found == Line(1.0, 2.0, "I am <3 & at 12:30:00,000 - ok")


@pytest.mark.parametrize("ends", ["\r", "\r\n", "\n\n"])
def test_numbers_and_empty_lines_in_the_words_are_kept_and_those_of_cues_are_not(tmp_path: Path, ends: str) -> None:
    rows = ["1", "00:00:01,000 --> 00:00:02,000", "in", "1984", "2", "00:00:03,000 --> 00:00:04,000", "it", "", "was"]
    (tmp_path / "a.srt").write_bytes(ends.join(rows).encode())
    assert read_subtitles(tmp_path / "a.srt") == (Line(1.0, 2.0, "in 1984"), Line(3.0, 4.0, "it was"))
