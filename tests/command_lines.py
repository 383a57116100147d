"""Whether a command line makes sense: its program, options, models and benchmarks exist. Nothing is run."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection
from importlib.util import find_spec
from itertools import dropwhile, pairwise
from pathlib import Path
from typing import Any

import typer

from evals.cli import app
from tasks.registry import benchmarks, find_benchmark, find_model, models, parse_options, spelled_out, typed_options

ROOT = Path(__file__).resolve().parent.parent
PLACEHOLDER = re.compile(r"…|\b[A-Z]{2,}\b|\|")
"""What stands for something of the reader's: NAME, FILE, `…`, one of several."""


def parsed(words: list[str]) -> dict[str, Any]:
    """What the command that a line names would be called with."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("longvid", words)
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
    found: dict[str, Any] = context.params
    return found


def assert_parses(words: list[str]) -> None:
    """A line of longvid's parses, and its model, its options and its pool are known."""
    params = parsed(words)
    if (model := params.get("model")) in models().entries:
        given = parse_options(params.get("model_option") or [])
        assert spelled_out(model, given) is not None
        if given:
            assert typed_options(model, given)
    elif model and not PLACEHOLDER.search(str(model)):
        assert find_model(model)
    name = words[1] if words[0] in ("run", "plan", "prepare", "import") else words[0]
    if (known := name.partition("@")[0]) in benchmarks().entries and params.get("pool"):
        assert params["pool"] in find_benchmark(known).pools


def assert_command_exists(words: list[str]) -> None:
    """The command of a sketched line (`longvid caption … -m vlm`) is there."""
    command: Any = typer.main.get_command(app)
    for word in words:
        if word.startswith("-") or PLACEHOLDER.search(word) or not hasattr(command, "resolve_command"):
            return
        group = command
        command = group.commands.get(word) if hasattr(group, "commands") else None
        assert command is not None, f"longvid has no command '{word}' ({' '.join(words)})"


def assert_makes_sense(words: list[str], others: Collection[str], *, is_sketch: bool = False) -> None:
    """What a line names is there. `others` are programs that it may call; a sketch may leave things out."""
    program, *rest = dropwhile(re.compile(r"[A-Z][A-Z0-9_]*=").match, words)  # variables come first
    if program == "longvid":
        if is_sketch:
            assert_command_exists(rest)
        elif rest != ["--version"] and "--help" not in rest:
            assert_parses(rest)
    elif program == "make":
        targets = {line.partition(":")[0] for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()}
        named = [word.replace(".venv-vllm", "$(VLLM)") for word in rest if "=" not in word]
        assert set(named) <= targets, f"the Makefile lacks {sorted(set(named) - targets)}"
    elif program == "pip":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        extras = {extra for group in re.findall(r"\[([\w,]+)\]", " ".join(rest)) for extra in group.split(",")}
        assert extras <= set(project["optional-dependencies"])
    elif program == "pytest":
        assert [word for word in rest if "/" in word and not (ROOT / word).exists()] == []
    elif program == "python" and rest[0].endswith(".py"):
        assert (ROOT / rest[0]).is_file()
    elif program == "python" and "-m" in rest:
        modules = [after for word, after in pairwise(rest) if word == "-m"]
        assert [module for module in modules if find_spec(module) is None] == []
    else:
        assert program in others, f"{program} is no program that these pages may call here"
