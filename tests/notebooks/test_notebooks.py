"""The notebooks run from start to end on what is in the repository, say what they lack, and stay small."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from matplotlib.text import Text
from nbclient import NotebookClient

from evals.load import plot_cost
from tasks.task import Clip
from tests.evals.compare.runs import Right, run_as
from tests.evals.conftest import toy_task
from tests.evals.html_report.test_run_page import retrieval_run

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LARGEST = 200_000
SAME_EACH_TIME = ("anatomy_of_a_benchmark", "compare_encoders_and_aggregator", "memory_against_accuracy")
"""Notebooks that show no clock."""


def executed(path: Path, monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """What the notebook's cells return, as text."""
    return "\n".join(map(str, values_of(path, monkeypatch, **environment)))


def values_of(path: Path, monkeypatch: pytest.MonkeyPatch, **environment: str) -> list[object]:
    """What the notebook's cells return, run in this process at the repository's root: a kernel takes its time."""
    monkeypatch.delenv("LONGVID_RUNS", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ROOT)
    shown: list[object] = []
    names: dict[str, object] = {"__name__": path.stem}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            *body, last = ast.parse(code_of(cell)).body
            exec(compile(ast.Module(body, []), path.name, "exec"), names)
            if isinstance(last, ast.Expr):
                shown.append(eval(compile(ast.Expression(last.value), path.name, "eval"), names))
            else:
                exec(compile(ast.Module([last], []), path.name, "exec"), names)
    return shown


def code_of(cell: nbformat.NotebookNode) -> str:
    """A cell's Python, without what speaks to the notebook."""
    return "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_in_a_kernel(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}})
    kept = {name: value for name, value in os.environ.items() if name != "LONGVID_RUNS"}
    client.execute(env=kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)})


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_with_the_plots_it_made(path: Path) -> None:
    outputs = [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


def shown_as(value: object) -> tuple[str, str]:
    """A value as a notebook keeps it: a frame as HTML, whose width no terminal decides, all else as text."""
    html = getattr(value, "_repr_html_", lambda: None)()
    return ("text/html", html) if html else ("text/plain", repr(value))


@pytest.mark.parametrize(
    "path", [path for path in NOTEBOOKS if path.stem in SAME_EACH_TIME], ids=lambda path: path.stem
)
def test_what_a_notebook_keeps_is_what_it_shows_today(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    shown = [shown_as(value) for value in values_of(path, monkeypatch)]
    kept = [
        output["data"]
        for cell in nbformat.read(path, as_version=4).cells
        for output in cell.get("outputs", ())
        if output.output_type == "execute_result"
    ]
    assert len(shown) == len(kept)
    for (form, text), data in zip(shown, kept, strict=True):
        # A notebook breaks long lists into lines.
        assert " ".join(data[form].split()) == " ".join(text.split()), "run the notebook again, and keep its outputs"


def test_there_are_five() -> None:
    assert len(NOTEBOOKS) == 5


@pytest.fixture(autouse=True)
def no_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that `make demo` left here are none of a test's."""
    monkeypatch.setattr("evals.example_runs.DEMO", ())


def test_encoders_and_aggregator_are_compared_from_records(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = executed(ROOT / "notebooks" / "compare_encoders_and_aggregator.ipynb", monkeypatch)
    for word in ("encoder", "aggregator", "constant (choice=", "question type", "points"):
        assert word in shown


def test_runs_of_any_mix_of_tasks_are_compared_by_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = toy_task(30)
    for name, share in (("one", 0.4), ("two", 0.7)):
        run_as(task, Right(task, share), tmp_path / name, options={"of": name})
    retrieval_run(tmp_path / "retrieval", [Clip(f"v{n}", 0, 9) for n in range(8)])
    run_as(toy_task(12, name="partial"), Right(toy_task(12), 0.5), tmp_path / "partial", limit=3)
    runs = {"LONGVID_RUNS": str(tmp_path)}
    shown = executed(ROOT / "notebooks" / "compare_encoders_and_aggregator.ipynb", monkeypatch, **runs)
    assert "'toy@30': 2" in shown
    assert "two does better than one" in shown or "do not tell two and one apart" in shown


def test_names_in_a_plot_do_not_cover_each_other() -> None:
    frame = pd.DataFrame(
        {"run": f"a run of a long name {n}", "system": "encoder", "metric": "accuracy", "value": 0.5 + n / 900,
         "low": 0.4, "high": 0.6, "parameters": 10**6 + n}
        for n in range(8)
    )  # fmt: skip
    figure = plot_cost(frame, "parameters")
    figure.draw_without_rendering()
    # An annotation's own extent holds its line as well.
    boxes = [Text.get_window_extent(text) for text in figure.axes[0].texts]
    assert len(boxes) == 8
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_the_anatomy_says_how_many_questions_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = executed(ROOT / "notebooks" / "anatomy_of_a_benchmark.ipynb", monkeypatch)
    assert "4231" in shown  # 57 against 60 % on two sets of independent questions
    assert "2609" in shown  # on the same ones, of which 30 % tell them apart


def test_a_model_of_ones_own_is_asked_and_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = executed(ROOT / "notebooks" / "bring_your_own_model.ipynb", monkeypatch)
    for word in ("accuracy", "The answer is (A).", "items"):
        assert word in shown


@pytest.mark.slow
def test_answers_are_looked_at_with_their_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    shown = executed(ROOT / "notebooks" / "look_at_answers.ipynb", monkeypatch)
    for word in ("question", "is_right", "question type"):
        assert word in shown


OWN_MODEL = "bring_your_own_model"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_defines_nothing(path: Path) -> None:
    assert path.stat().st_size < LARGEST
    assert "site-packages" not in path.read_text(encoding="utf-8")  # no machine's paths in the kept outputs
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            kinds = {type(node) for node in ast.walk(ast.parse(code_of(cell)))}
            # A model is a class: there is nothing to import that would show how one is written.
            defined = {ast.While} if path.stem == OWN_MODEL else {ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.While}
            assert not kinds & defined
