"""The rooms know only those before them, and the first stays light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("tasks", "encoders", "baselines", "evals", "longvid", "lab")
"""The last two import whatever they like; nothing imports the laboratory."""


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_before_it(room: str) -> None:
    later = ROOMS[ROOMS.index(room) + 1 :]
    offences = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / room).rglob("*.py"))
        for name in imports_of(path)
        if name.split(".")[0] in later
    ]
    assert not offences


@pytest.mark.parametrize("module", ["tasks.egoschema", "tasks.kitchen.benchmark", "evals.cli", "tasks.registry", "lab"])
def test_light_modules_load_without_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("module", ["tasks.egoschema", "tasks.kitchen.benchmark"])
def test_a_benchmark_of_questions_is_named_without_numpy(module: str) -> None:
    """So that its reports start in a quarter of a second."""
    code = f"import sys, {module}; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_listing_the_baselines_options_loads_no_numpy() -> None:
    code = "import sys, baselines.models, encoders.models; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_an_aggregator_on_given_captions_loads_no_decoder() -> None:
    code = "import sys, baselines.aggregator; sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_map_names_files_that_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\w+)/\n(.+?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
    missing = [
        f"{folder}/{name}"
        for folder, section in sections.items()
        for row in re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
        for name in re.findall(r"`([\w./]+)`", row)
        if not (ROOT / folder / name).exists()
    ]
    assert set(sections) == {"tasks", "encoders", "baselines", "evals"}
    assert not missing


@pytest.mark.parametrize("room", ["tasks", "encoders", "baselines", "evals"])
def test_the_map_names_every_large_file_and_every_folder_of_a_room(room: str) -> None:
    section = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition(f"\n## {room}/\n")[2]
    named = section.partition("\n## ")[0]
    large = [path.name for path in (ROOT / room).glob("*.py") if len(path.read_text("utf-8").splitlines()) >= 300]
    folders = [f"{path.name}/" for path in (ROOT / room).iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert [name for name in large + folders if f"`{name}`" not in named] == []


@pytest.mark.parametrize("room", ROOMS)
def test_the_map_says_what_question_a_room_answers(room: str) -> None:
    assert f"| `{room}/` |" in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
