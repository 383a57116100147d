"""Kitchen on the command line: made, not fetched, and then like any other benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evals.store import read_results
from tasks.kitchen.benchmark import load_retrieval
from tests.evals.conftest import assert_one_line, longvid

KITCHEN = ("kitchen-qa", "kitchen-retrieval", "kitchen-captioning", "kitchen-summary")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the annotations and one video."""
    from tasks.kitchen.files import generate

    root = tmp_path_factory.mktemp("data")
    next(generate(root / "kitchen" / "test", range(1)))
    return root


@pytest.mark.parametrize("name", KITCHEN)
def test_every_verb_is_there_with_an_example(name: str) -> None:
    listed = longvid(name, "--help").stdout
    for verb in ("prepare", "plan", "run", "score", "import", "report"):
        assert verb in listed
        assert f"Example: longvid {name}" in longvid(name, verb, "--help").stdout


def test_without_videos_the_reader_is_told_to_prepare(tmp_path: Path) -> None:
    done = longvid("kitchen-qa", "run", "--model", "chance", "--data", tmp_path)
    assert_one_line(done, "no kitchen-qa files", "longvid prepare kitchen-qa")


def test_an_unknown_pool_is_one_line(tmp_path: Path) -> None:
    done = longvid("kitchen-qa", "prepare", "--data", tmp_path, "--pool", "501")
    assert_one_line(done, "no pool '501'", "500, 100")
    assert not (tmp_path / "kitchen").exists()


@pytest.mark.parametrize(
    ("name", "pool", "model"),
    [
        ("kitchen-qa", "100", "chance"),
        ("kitchen-retrieval", "video-20", "random-vectors"),
        pytest.param("kitchen-captioning", "91", "word-salad", marks=pytest.mark.slow),  # METEOR's jar takes seconds
        pytest.param("kitchen-summary", "10", "word-salad", marks=pytest.mark.slow),
    ],
)
def test_a_run_ends_with_a_complete_record(name: str, pool: str, model: str, data: Path, tmp_path: Path) -> None:
    done = longvid(name, "run", "--pool", pool, "--model", model, "--data", data, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    results = read_results(tmp_path / "run")
    assert results.status == "complete"
    assert results.floors


def test_a_file_of_the_large_pools_answers_serves_the_small_one(data: Path, tmp_path: Path) -> None:
    answers = data / "kitchen" / "test" / "subset_answers.json"
    done = longvid(
        "kitchen-qa", "import", answers, "--name", "truth", "--pool", "100", "--data", data, "--out", tmp_path / "run"
    )
    assert done.returncode == 0, done.stderr
    assert "400 predictions are outside kitchen-qa@100" in done.stdout
    accuracy = next(metric for metric in read_results(tmp_path / "run").metrics if metric.primary)
    assert accuracy.value == 1.0


@pytest.mark.parametrize(("accepted", "code", "level"), [((), 1, "error"), (("--allow-missing",), 0, "warning")])
def test_an_import_with_gaps_says_so_and_ends_well_only_where_they_are_accepted(
    data: Path, tmp_path: Path, accepted: tuple[str, ...], code: int, level: str
) -> None:
    names = [item.id for item in load_retrieval(data, "video-20").items()][:17]
    vectors = np.eye(len(names), dtype=np.float32)
    np.savez(tmp_path / "vectors.npz", ids=np.array(names), video=vectors, text=vectors)
    where = ("--pool", "video-20", "--data", data, "--out", tmp_path / "run")
    done = longvid("kitchen-retrieval", "import", tmp_path / "vectors.npz", "--name", "x", *where, *accepted)
    assert done.returncode == code, done.stderr
    assert f"{level}: 3 of 20 items have no prediction in {tmp_path / 'vectors.npz'}" in done.stderr
    assert ("--allow-missing accepts that" in done.stderr) == (code == 1)
    assert read_results(tmp_path / "run").status == "partial"


def test_missing_choices_have_a_flag_of_their_own(data: Path, tmp_path: Path) -> None:
    answers = data / "kitchen" / "test" / "subset_answers.json"
    where = ("--name", "x", "--data", data, "--out", tmp_path / "run", "--allow-missing")
    done = longvid("kitchen-qa", "import", answers, *where)
    assert_one_line(done, "--allow-missing is for texts and vectors", "--count-invalid-as-wrong")


@pytest.mark.slow
def test_prepare_makes_the_videos_of_a_pool_once(tmp_path: Path) -> None:
    first = longvid("kitchen-qa", "prepare", "--data", tmp_path, "--pool", "100")
    assert "20 videos made, 0 already there" in first.stdout
    again = longvid("kitchen-retrieval", "prepare", "--data", tmp_path, "--pool", "video-20")
    assert "16 videos made, 4 already there" in again.stdout
