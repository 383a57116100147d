"""`longvid metrics`: JSON from files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from evals.metrics import app
from tasks.errors import DataError
from tasks.retrieval_files import score_similarity_file


def printed(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    content: dict[str, Any] = json.loads(result.stdout)
    return content


def saved(folder: Path, matrix: np.ndarray) -> Path:
    path = folder / "similarities.npy"
    np.save(path, matrix)
    return path


@pytest.mark.slow
def test_the_coco_fixture_scores_what_coco_caption_says(shared_data: Path) -> None:
    folder = shared_data / "metric_fixtures"
    figures = printed("captions", folder / "res.json", folder / "gts.json", "--tokenizer", "none")
    assert figures["bleu_4"] == pytest.approx(0.1908290437674253, abs=1e-9)
    assert figures["rouge_l"] == pytest.approx(0.39625269357570847, abs=1e-9)
    assert figures["cider_d"] == pytest.approx(0.5997905185184199, abs=1e-9)
    assert ("meteor_not_run" in figures) == (figures["meteor"] is None)


def test_a_matrix_is_ranked_in_both_directions(tmp_path: Path) -> None:
    figures = printed("retrieval", saved(tmp_path, np.array([[0.9, 0.1], [0.8, 0.7]])))
    assert figures["pool"] == 2
    assert figures["text_to_video_recall_at_1"] == 0.5
    assert figures["video_to_text_recall_at_1"] == 1.0


def test_dual_softmax_is_in_every_name_and_warned_of(tmp_path: Path) -> None:
    figures = score_similarity_file(saved(tmp_path, np.eye(3)), temperature=0.1)
    assert "not comparable" in str(figures["warning"])
    assert all(name.endswith("_dual_softmax") for name in figures if "_to_" in name)


@pytest.mark.parametrize("matrix", [np.ones((2, 3)), np.ones(3), np.ones((2, 2), dtype=int), np.ones((0, 0))])
def test_what_is_no_square_matrix_of_floats_is_refused(tmp_path: Path, matrix: np.ndarray) -> None:
    with pytest.raises(DataError, match="square matrix"):
        score_similarity_file(saved(tmp_path, matrix))


def test_numbers_that_are_none_are_refused_by_file_and_row(tmp_path: Path) -> None:
    matrix = np.eye(3)
    matrix[1, 0] = np.nan
    with pytest.raises(DataError, match=r"similarities\.npy: similarities hold NaN or infinity in rows 1"):
        score_similarity_file(saved(tmp_path, matrix))


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, np.inf])
def test_a_temperature_that_is_none_is_refused_as_that(tmp_path: Path, temperature: float) -> None:
    with pytest.raises(DataError, match=f"temperature above 0, not {temperature}"):
        score_similarity_file(saved(tmp_path, np.eye(2)), temperature)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("scale", "temperature"), [(1.0, 1e-320), (1e308, 0.01)])
def test_dual_softmax_stays_finite_for_any_numbers(tmp_path: Path, scale: float, temperature: float) -> None:
    figures = score_similarity_file(saved(tmp_path, np.eye(3) * scale), temperature)
    assert figures["text_to_video_recall_at_1_dual_softmax"] == 1.0


def test_pickled_objects_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "similarities.npy"
    np.save(path, np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match=r"similarities\.npy"):
        score_similarity_file(path)


def test_a_matrix_of_distances_is_warned_of(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(20, 4))
    distances = np.linalg.norm(points[:, None] - points + 0.01, axis=2)
    assert "score their negatives" in str(score_similarity_file(saved(tmp_path, distances))["warning"])


@pytest.mark.parametrize("matrix", [np.eye(20), np.zeros((20, 20)), np.random.default_rng(0).normal(size=(20, 20))])
def test_similarities_are_not_taken_for_distances(tmp_path: Path, matrix: np.ndarray) -> None:
    assert "warning" not in score_similarity_file(saved(tmp_path, matrix))
