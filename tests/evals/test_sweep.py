"""A sweep: one option's curve, with the steps that are more than noise and no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.sweep import PAGE, SWEEP, Sweep, parse_values, places_of
from tasks.errors import ModelError
from tests.evals.conftest import assert_one_line, longvid

# With 8 frames it knows a quarter of the questions, with 16 half of them, and with more no others.
STAIRS = """
from dataclasses import dataclass

@dataclass
class Stairs:
    frames: int = 8
    name: str = "x"
    route = "given"

    def choose(self, requests):
        known = {8: 1, 16: 2}.get(self.frames, 2)
        return [r.options.index("yes") if int(r.item_id[1:]) % 4 < known else r.options.index("no") for r in requests]
"""
COUNT = 200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    own = tmp_path / "own"
    own.mkdir()
    (own / "benchmark.toml").write_text('name = "own"\n')
    rows = [
        {
            "id": f"q{number}",
            "video": f"v{number}",
            "start": 0,
            "end": 9,
            "question": "?",
            "options": ["no", "yes"] if number % 2 else ["yes", "no"],
            "answer": number % 2,
        }
        for number in range(COUNT)
    ]
    (own / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "stairs.py").write_text(STAIRS)
    return tmp_path


def swept(folder: Path, *more: str) -> tuple[str, Sweep]:
    out = folder / "out"
    done = longvid("sweep", folder / "own", "-m", f"{folder / 'stairs.py'}:Stairs", *more, "-o", out)
    assert done.returncode == 0, done.stderr
    return done.stdout, Sweep.model_validate_json((out / SWEEP).read_text())


def test_the_steps_that_matter_are_named_and_the_plateau_is_not(folder: Path) -> None:
    said, made = swept(folder, "--over", "frames=8,16,32,64")
    assert [point.metric.value for point in made.points] == [0.25, 0.5, 0.5, 0.5]
    assert [step.supported for step in made.steps] == [True, False, False]
    assert made.whole.difference == pytest.approx(0.25)
    assert "Significant steps: from 8 to 16 +25.0 points" in made.finding
    assert made.finding.endswith("Past 16 no step is significant.")
    assert made.finding in said.replace("\n", " ")
    page = (folder / "out" / PAGE).read_text()
    assert made.finding in page
    assert "data:image/svg+xml;base64," in page


def test_a_flat_curve_is_called_noise(folder: Path) -> None:
    _, made = swept(folder, "--over", "frames=32,64,128")
    assert not any(step.supported for step in made.steps)
    assert "within noise. No single step is significant." in made.finding


def test_values_without_an_order_of_size_are_drawn_as_given(folder: Path) -> None:
    _, made = swept(folder, "--over", "name=<b>one</b>,two")
    assert [point.value for point in made.points] == ["<b>one</b>", "two"]
    assert "<b>one</b>" not in (folder / "out" / PAGE).read_text()


def test_a_sweep_goes_on_where_it_stopped(folder: Path) -> None:
    swept(folder, "--over", "frames=8,16")
    first = folder / "out" / "frames=8" / "samples.jsonl"
    before = first.read_bytes()
    said, made = swept(folder, "--over", "frames=8,16,32")
    assert first.read_bytes() == before
    assert f"{COUNT} of {COUNT} items are done" in said
    assert len(made.points) == 3


@pytest.mark.parametrize(
    ("over", "told"),
    [
        ("frames", "key=value,value"),
        ("frames=8", "at least two values"),
        ("frames=8,,16", "at least two values"),
        ("frames=8,8", "names a value twice"),
        ("=8,16", "key=value,value"),
    ],
)
def test_what_is_no_option_with_values_is_refused(over: str, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        parse_values(over)


def test_an_option_given_both_ways_is_refused_before_any_run(folder: Path) -> None:
    done = longvid(
        "sweep", folder / "own", "-m", "constant", "-M", "choice=0", "--over", "choice=0,1", "-o", folder / "out"
    )
    assert done.returncode == 2
    assert_one_line(done, "choice is given by --over and by -M")
    assert not (folder / "out").exists()


def test_numbers_stand_by_their_size_and_words_side_by_side() -> None:
    assert places_of(["8", "0.5"]) == ([8.0, 0.5], True)
    assert places_of(["0", "0.5"]) == ([0.0, 1.0], False)
    assert places_of(["keep", "crop"]) == ([0.0, 1.0], False)
