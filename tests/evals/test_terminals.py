"""Terminals that know few characters, and installations that lack an extra: a readable line, never a traceback."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from evals import cli, console
from evals.cli import EXTRAS, run_app
from tests.conftest import ROOT

NAME = "één — 日本 …"


def narrow(monkeypatch: pytest.MonkeyPatch, encoding: str) -> io.BytesIO:
    """From now on standard output and error have that encoding, as the interpreter opens them."""
    written = io.BytesIO()
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, io.TextIOWrapper(written, encoding=encoding, errors="strict"))
    return written


def run(*commands: object) -> int | str | None:
    app = typer.Typer()
    for command in commands:
        app.command()(command)  # type: ignore[arg-type]
    try:
        run_app(app)
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        return end.code
    return None


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_whatever_is_said_reaches_a_terminal_of_few_characters(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = narrow(monkeypatch, encoding)
    monkeypatch.setattr(sys, "argv", ["longvid"])

    def speak() -> None:
        console.say(NAME)
        console.note(NAME)
        console.warn(NAME)
        console.emit(json.dumps({"name": NAME}, ensure_ascii=False))
        console.show_table(NAME, (NAME, "b"), [(NAME, "1")])
        with console.progress(NAME, 1, 0) as tick:
            tick(NAME)
        console.fail(NAME)

    assert run(speak) == 0
    shown = written.getvalue().decode(encoding)
    assert shown.count(NAME.encode(encoding, "replace").decode(encoding).split()[0]) == 10


COMMANDS = (
    ("models",),
    ("models", "aggregator"),
    ("--help",),
    ("egoschema", "--help"),
    ("runs", "{empty}"),
    ("nonsense",),
)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_commands_end_as_they_do_on_any_terminal(
    encoding: str, arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = narrow(monkeypatch, encoding)
    monkeypatch.setattr(sys, "argv", ["longvid", *(part.format(empty=tmp_path) for part in arguments)])
    with pytest.raises(SystemExit):
        cli.main()
    sys.stdout.flush()
    sys.stderr.flush()
    assert written.getvalue()
    assert b"Traceback" not in written.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("setting", [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C"}])
@pytest.mark.parametrize(
    "arguments", [("models",), ("runs", "."), ("doctor", "--no-network"), ("--help",)], ids=" ".join
)
def test_commands_run_as_processes_on_any_terminal(setting: dict[str, str], arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "evals.cli", *arguments],
        capture_output=True,
        cwd=ROOT,
        check=False,
        env={**os.environ, **setting},
    )
    assert b"Traceback" not in done.stderr
    assert b"Aborted" not in done.stderr


def third_party(path: Path) -> set[str]:
    """Top-level packages that a file imports, at its head or within."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


BASE = {
    "_typeshed", "annotated_types", "bm25s", "jinja2", "jsonlines", "markupsafe", "numpy", "pandas", "platformdirs",
    "pooch", "pydantic", "pydantic_core", "requests", "rich", "scipy", "sklearn", "typer",
    "typing_extensions", "click",
}  # fmt: skip
OWN = {"tasks", "encoders", "baselines", "evals"}
ELSEWHERE = {"vllm", "cv2", "decord"}
"""Looked for before they are imported."""


def test_every_optional_package_has_its_extra_in_the_message() -> None:
    used = {name for layer in OWN for path in (ROOT / layer).rglob("*.py") for name in third_party(path)}
    assert used - set(sys.stdlib_module_names) - BASE - OWN - ELSEWHERE <= set(EXTRAS)


def test_every_extra_named_is_one_that_can_be_installed() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(EXTRAS.values()) <= set(project["optional-dependencies"])


@pytest.mark.parametrize("package", sorted(EXTRAS))
def test_a_missing_package_is_one_line_that_says_what_to_install(
    package: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["longvid"])

    def command() -> None:
        raise ModuleNotFoundError(f"No module named '{package}'", name=f"{package}.inner")

    assert run(command) == 2
    assert f"this needs {package}: pip install 'longvid[{EXTRAS[package]}]'" in capfd.readouterr().err


def test_a_missing_module_of_our_own_is_no_users_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["longvid"])

    def command() -> None:
        raise ModuleNotFoundError("No module named 'evals.nothing'", name="evals.nothing")

    with pytest.raises(ModuleNotFoundError):
        run(command)


WITHOUT = """
import sys
from importlib.machinery import PathFinder
blocked, sys.argv = set(sys.argv[1].split(",")), ["longvid", *sys.argv[2:]]
found = PathFinder.find_spec
def find(name, path=None, target=None):
    return None if name.partition(".")[0] in blocked else found(name, path, target)
PathFinder.find_spec = find
from evals.cli import main
main()
"""
EVERYTHING = ",".join(sorted(EXTRAS))
STEPS = [
    ("av", ("ask", "{questions}", "-m", "chance", "-o", "{out}"), "longvid[video]"),
    (EVERYTHING, ("ask", "{questions}", "-m", "chance", "-o", "{out}"), "longvid[video]"),
    ("torch", ("embed", "{folder}", "-m", "shortvivit-tiny", "-o", "{out}.parquet"), "longvid[video]"),
    (
        "tokenizers",
        ("embed", "{folder}", "-m", "shortvivit-tiny", "-M", "weights=kitchen", "-o", "{out}.parquet"),
        "longvid[video]",
    ),
    ("open_clip", ("caption", "{folder}", "-m", "coca", "-M", "name=x", "-o", "{out}.jsonl"), "longvid[openclip]"),
    ("ray", ("embed", "{folder}", "-m", "shortvivit-tiny", "-o", "{out}.parquet", "--engine", "ray"), "longvid[ray]"),
    (EVERYTHING, ("kitchen-videos", "--split", "train", "--videos", "1", "-o", "{out}"), "longvid[video]"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("blocked", "arguments", "wanted"), STEPS)
def test_commands_without_an_extra_say_what_to_install(
    blocked: str, arguments: tuple[str, ...], wanted: str, tmp_path: Path
) -> None:
    questions = tmp_path / "questions.jsonl"
    row = {"video": "a.mp4", "question": "?", "options": ["a", "b"], "answer": 0}
    questions.write_text(json.dumps(row), encoding="utf-8")
    (tmp_path / "a.mp4").write_bytes(b"0")
    places = {"questions": questions, "folder": tmp_path, "out": tmp_path / "out"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, blocked, *(part.format(**places) for part in arguments)],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert wanted in done.stderr
    assert "Traceback" not in done.stderr
