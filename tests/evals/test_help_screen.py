"""Every command's help as it is read: whole words, values in capitals, examples that can be pasted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from evals.cli import app
from evals.help_screen import example_lines, wrapped
from tasks.registry import BENCHMARK_GROUP, entry_names
from tests.evals.conftest import assert_one_line, longvid


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command and group, by its words; of the benchmarks' groups, which are alike, two."""
    yield " ".join(path) or "longvid", command
    for name, one in (getattr(command, "commands", None) or {}).items():
        if path or name not in entry_names(BENCHMARK_GROUP) or name in ("egoschema", "kitchen-qa"):
            yield from commands(one, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))


def help_at(columns: int, name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A command's help in a terminal of so many columns."""
    monkeypatch.setenv("COLUMNS", str(columns))
    command = COMMANDS[name]
    return command.get_help(command.make_context(name, [], resilient_parsing=True))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_its_terminal_and_breaks_no_word(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in (60, 80, 200):
        lines = help_at(columns, name, monkeypatch).splitlines()
        assert max(map(len, lines)) <= columns
        assert not [line for line in lines if re.search(r"\w-$", line)]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_values_in_capitals_not_as_python_types(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = help_at(80, name, monkeypatch)
    assert not re.findall(r"<(?:str|int|float|path|list|bool)\b", shown)
    assert "{" not in shown.splitlines()[0]


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.epilog])
def test_an_example_can_be_pasted_from_the_screen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in (60, 80):
        shown = help_at(columns, name, monkeypatch).partition("Example: ")[2]
        typed = shlex.split(shown.replace("\\\n", ""))
        assert typed == shlex.split(COMMANDS[name].epilog.removeprefix("Example: "))


@pytest.mark.parametrize("group", [(), ("bench",), ("egoschema",), ("metrics",)], ids=" ".join)
def test_without_a_command_a_group_shows_its_help(group: tuple[str, ...]) -> None:
    done = longvid(*group)
    assert done.returncode == 2
    assert done.stdout.startswith(f"Usage: {' '.join(('longvid', *group))} [OPTIONS] COMMAND")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("rnu", ["no such command 'rnu'", "'run'", "(longvid --help)"]),
        ("run", ["missing argument 'BENCHMARK[@POOL]'", "(longvid run --help)"]),
        ("run egoschema -m chance --limt 3", ["no such option: --limt", "--limit"]),
        ("run egoschema -m chance --limit x", ["invalid value for '--limit'", "valid integer"]),
        ("export runs/x --to foo -o y", ["'foo' is not one of 'every-eval-ever'", "(longvid export --help)"]),
        ("bench aggregate x --dtype foo", ["invalid value for --dtype", "bfloat16"]),
        ("report", ["missing argument 'RUN'", "(longvid report --help)"]),
    ],
)
def test_what_was_typed_wrongly_is_one_line_that_names_the_help(typed: str, words: list[str]) -> None:
    assert_one_line(longvid(*typed.split()), "error: ", *words)


def test_an_example_is_continued_before_an_option() -> None:
    assert list(example_lines("Example: longvid run mine --name word --limit 20", 40)) == [
        "Example: longvid run mine --name word \\",
        "    --limit 20",
    ]


def test_a_word_longer_than_the_line_stays_whole() -> None:
    assert wrapped("see https://example.org/a-long-address for more", 12) == [
        "see",
        "https://example.org/a-long-address",
        "for more",
    ]
