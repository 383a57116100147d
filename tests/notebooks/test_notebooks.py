"""The notebooks run from start to end on what is in the repository, say what they lack, and stay small."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LARGEST = 200_000


def executed(path: Path, **environment: str) -> nbformat.NotebookNode:
    """The notebook with the outputs of a fresh run at the repository's root."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}})
    client.execute(env={**environment_of_tests(), **environment})
    return notebook


def environment_of_tests() -> dict[str, str]:
    """This process's environment, without records of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if name != "LONGVID_RUNS"}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def texts(notebook: nbformat.NotebookNode) -> str:
    """Everything that the notebook's cells printed or returned."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "\n".join(output.get("text", "") or str(output.get("data", {}).get("text/plain", "")) for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_with_the_plots_it_made(path: Path) -> None:
    outputs = [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


def test_there_are_three() -> None:
    assert len(NOTEBOOKS) == 3


def test_encoders_and_aggregator_are_compared_from_records() -> None:
    shown = texts(executed(ROOT / "notebooks" / "compare_encoders_and_aggregator.ipynb"))
    for word in ("encoder", "aggregator", "constant (choice=", "question type", "points"):
        assert word in shown


def test_the_anatomy_says_how_many_questions_it_takes() -> None:
    shown = texts(executed(ROOT / "notebooks" / "anatomy_of_a_benchmark.ipynb"))
    assert "4231" in shown  # 57 against 60 % on two sets of independent questions
    assert "2609" in shown  # on the same ones, of which 30 % tell them apart


def test_memory_against_accuracy_shows_the_methods_that_were_tried() -> None:
    pytest.importorskip("torch")
    shown = texts(executed(ROOT / "notebooks" / "memory_against_accuracy.ipynb"))
    assert "jst-mask75" in shown
    assert "text_to_video_r1" in shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_defines_nothing(path: Path) -> None:
    assert path.stat().st_size < LARGEST
    assert "site-packages" not in path.read_text(encoding="utf-8")  # no machine's paths in the kept outputs
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            code = "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))
            kinds = {type(node) for node in ast.walk(ast.parse(code))}
            assert not kinds & {ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.While}
