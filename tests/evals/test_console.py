"""Whatever a record holds, the terminal shows it as text: no markup, no control code, no forged row."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from evals import console

HOSTILE = (
    "\x1b[2J\x1b]0;title\x07",
    "[red]markup[/red] [link=file:///etc/passwd]x[/link]",
    "a\rb\nc\td\x00",
    "\u202egnp.exe",
    ":smile: \\[bold]\\",
    "\ud800",
    "x" * 100_000,
)


def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the console layer prints from now on."""
    target = io.StringIO()
    monkeypatch.setattr(console, "out", Console(file=target, highlight=False, emoji=False, width=200))
    return target


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_table_shows_hostile_text_as_text(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    target = printed(monkeypatch)
    console.show_table(text, (text, "b"), [(text, "2")])
    assert not console.UNSAFE.search(target.getvalue())
    assert "\t" not in target.getvalue()
    assert len(target.getvalue()) < 5_000


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_line_shows_hostile_text_as_text(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    target = printed(monkeypatch)
    console.say(text)
    assert not console.UNSAFE.search(target.getvalue())
    assert len(target.getvalue()) < 2 * console.LONGEST_TEXT


@given(st.text(max_size=40))
def test_no_text_is_read_as_markup(text: str) -> None:
    target = io.StringIO()
    Console(file=target, highlight=False, emoji=False, width=400, soft_wrap=True).print(f"[dim]{console.safe(text)}[/]")
    assert target.getvalue() == "".join(c if c.isprintable() or c == "\n" else "�" for c in text) + "\n"


def test_a_cell_is_one_line_and_of_bounded_length() -> None:
    assert console.cell_text("a\n\n b \t c") == "a b c"
    assert len(console.cell_text("x" * 10**6)) == console.LONGEST_CELL


def test_machine_readable_output_keeps_everything_but_terminal_codes(capsys: pytest.CaptureFixture[str]) -> None:
    console.emit("a,b\n[x],\x1b[31m é 日本\n")
    assert capsys.readouterr().out == "a,b\n[x],�[31m é 日本\n"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_progress_bar_cuts_its_note_and_never_a_number(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=written, force_terminal=True, width=width, color_system=None))
    with console.progress("videos in data/kitchen/test", 1000, 123) as tick:
        tick("made kitchen-test-0006-b-with-a-name-that-does-not-end.mp4")
    last = written.getvalue().replace("\r", "\n").splitlines()[-2]
    assert " 124/1000 " in last
    assert "0:00:0" in last


LONG_NAMES = [("egoschema@500/mine.py:Letter-generate+parse-448b763c", "20.0 %", "egoschema@500", "complete")]


@pytest.mark.parametrize(
    ("rows", "is_table"),
    [(LONG_NAMES, True), ([(name.replace("/", "-"), *others) for name, *others in LONG_NAMES], False)],
    ids=["with a slash", "without one"],
)
def test_a_path_too_long_for_a_table_is_broken_after_a_slash_and_a_name_never(
    monkeypatch: pytest.MonkeyPatch, rows: list[tuple[str, ...]], is_table: bool
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    target = printed(monkeypatch)
    console.show_table("", ("run", "value", "task", "status"), rows, numeric=("value",), most=80)
    lines = target.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].startswith("run  ") == is_table
    assert "mine.py:Letter-generate+parse-448b763c" in target.getvalue()
    if not is_table:
        assert lines[0] == rows[0][0]


def test_a_column_that_may_go_and_says_nothing_goes_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = printed(monkeypatch)
    rows = [("a", "–", "1"), ("b", "", "2")]
    console.show_table("", ("run", "frames", "s"), rows, least=("frames", "s"))
    assert target.getvalue().splitlines()[0].split() == ["run", "s"]
    assert "not shown" not in capsys.readouterr().err
    console.show_table("", ("run", "frames", "s"), rows, least=("frames", "s"), wide=True)
    assert "frames" in target.getvalue()


@pytest.mark.parametrize(("count", "words"), [(0, "0 videos"), (1, "1 video"), (1200, "1,200 videos")])
def test_one_is_no_plural(count: int, words: str) -> None:
    assert console.number_of(count, "video") == words
