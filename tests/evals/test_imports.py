"""Captions and vectors made elsewhere: the same figures as our own, gaps named, strangers refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from evals.imports import import_run
from evals.new_run import describe_import
from evals.runner import rescore
from evals.store import read_samples
from tasks.caption_files import BY_ORDER, BY_TIME
from tasks.caption_metrics.meteor import NotRun
from tasks.captioning import CaptioningTask, CaptionItem, captioning_digest, read_texts
from tasks.errors import DataError
from tasks.family import PredictionsFile
from tasks.retrieval import RetrievalItem, RetrievalTask, read_vector_pairs, retrieval_digest
from tasks.task import Clip, Prediction, TaskInfo
from tasks.youcook2 import CLIP_CAPTIONS, SUMMARIES, load_clip_captioning, load_summary

TEXTS = {"a": "cut the onion", "b": "boil the water", "c": "serve the soup hot"}


def info_of(family: str, primary: str, digest: str) -> TaskInfo:
    return TaskInfo("toy@3", family, "1", 3, digest, primary, 0.0, "video", "none", "none", "none")


def captioning() -> CaptioningTask:
    items = [CaptionItem(name, name, Clip(name, 0, 9), (text,)) for name, text in TEXTS.items()]
    info = info_of("captioning", "summary_rouge_l", captioning_digest(items))
    return CaptioningTask(info, items, SUMMARIES, meteor=lambda: NotRun("not in this test"))


def retrieval() -> RetrievalTask:
    items = [RetrievalItem(name, name, Clip(name, 0, 9), text) for name, text in TEXTS.items()]
    return RetrievalTask(info_of("retrieval", "text_to_video_recall_at_1", retrieval_digest(items)), items)


def segments() -> CaptioningTask:
    """Video `v` with two segments, `w` with one."""
    places = {"v:0": ("v", 0, 9), "v:1": ("v", 9, 15), "w:0": ("w", 3, 9)}
    items = [
        CaptionItem(name, clip[0], Clip(*clip), (text,))
        for (name, clip), text in zip(places.items(), TEXTS.values(), strict=True)
    ]
    info = info_of("captioning", "micro_rouge_l", captioning_digest(items))
    return CaptioningTask(info, items, CLIP_CAPTIONS, meteor=lambda: NotRun("not in this test"))


def texts_of(task: CaptioningTask, path: Path) -> dict[str, Prediction | str]:
    return dict(read_texts(PredictionsFile(path), task, task).answers)


def vectors_of(task: RetrievalTask, path: Path) -> dict[str, Prediction | str]:
    return dict(read_vector_pairs(PredictionsFile(path), task, task).answers)


def json_file(folder: Path, content: object) -> Path:
    path = folder / "predictions.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def vector_file(folder: Path, ids: list[str]) -> Path:
    path = folder / "vectors.npz"
    rows = np.eye(len(ids), dtype=np.float32)
    np.savez(path, ids=np.array(ids), video=rows, text=rows)
    return path


def test_imported_texts_are_scored_and_floors_stand_beside_them(tmp_path: Path) -> None:
    task = captioning()
    run = describe_import(task, "theirs", {}, "digest", [])
    results = import_run(task, run, tmp_path / "run", texts_of(task, json_file(tmp_path, TEXTS)))
    assert (results.status, results.imported, results.primary.value) == ("complete", True, pytest.approx(1.0))
    assert [floor.model for floor in results.floors] == ["word-salad"]


def test_a_gap_makes_the_record_partial_and_is_named(tmp_path: Path) -> None:
    task = captioning()
    run = describe_import(task, "theirs", {}, "digest", [])
    predictions = texts_of(task, json_file(tmp_path, {"a": TEXTS["a"], "c": TEXTS["c"]}))
    results = import_run(task, run, tmp_path / "run", predictions)
    assert (results.status, results.failed_ids) == ("partial", ("b",))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [({"z": "x"}, "unknown ids and no known one: z"), ({**TEXTS, "a": ["x", "y"]}, r"several texts \(a\)")],
)
def test_a_file_of_other_ids_or_several_texts_is_refused(tmp_path: Path, content: object, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        texts_of(captioning(), json_file(tmp_path, content))


def test_a_dense_file_is_placed_by_time_and_its_gaps_are_named(tmp_path: Path) -> None:
    task = segments()
    rows = {"v": [{"sentence": "boil the water", "timestamp": [9, 15]}], "w": [{"sentence": "serve"}]}
    predictions = texts_of(task, json_file(tmp_path, {"results": rows}))
    results = import_run(task, describe_import(task, "theirs", {}, "digest", []), tmp_path / "run", predictions)
    assert (results.status, results.failed_ids) == ("partial", ("v:0",))
    samples = read_samples(tmp_path / "run")
    assert (samples["v:1"].raw, samples["v:1"].rule) == ("boil the water", BY_TIME)
    assert (samples["w:0"].raw, samples["w:0"].rule) == ("serve", BY_ORDER)


def test_a_video_whose_sentences_have_no_place_is_missing_with_the_reason(tmp_path: Path) -> None:
    rows = {"v": [{"sentence": "serve"}], "w": [{"sentence": "serve"}]}
    found = texts_of(segments(), json_file(tmp_path, {"results": rows}))
    assert [type(found[key]) for key in ("v:0", "v:1", "w:0")] == [str, str, Prediction]
    assert "v: 1 sentences without time stamps for 2 segments" in str(found["v:0"])


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ({"z": [{"sentence": "x"}]}, "1 unknown videos and no known one: z"),
        ({"v": [{"sentence": "x", "timestamp": [1, 2]}]}, "no video's sentences match its segments .*1–2 s"),
    ],
)
def test_a_dense_file_of_other_videos_or_events_is_refused(tmp_path: Path, rows: object, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        texts_of(segments(), json_file(tmp_path, {"results": rows}))


def test_a_dense_file_gives_summaries_by_joining_its_sentences(tmp_path: Path) -> None:
    rows = [{"sentence": "boil it", "timestamp": [5, 9]}, {"sentence": "cut it", "timestamp": [0, 4]}]
    found = texts_of(captioning(), json_file(tmp_path, {"results": {"a": rows}}))
    assert {key: getattr(value, "answer", None) for key, value in found.items()} == {"a": "cut it boil it"}


def test_svpc_predictions_find_2493_of_3492_segments_and_329_of_457_videos(shared_data: Path) -> None:
    path = shared_data / "predictions" / "youcook2_svpc_full.json"
    clips = texts_of(load_clip_captioning(shared_data / "youcook2"), path)
    assert {getattr(row, "rule", None) for row in clips.values()} == {BY_TIME}
    assert len(clips) == 2493
    assert len(texts_of(load_summary(shared_data / "youcook2"), path)) == 329


def test_imported_vectors_are_kept_so_that_score_needs_no_model(tmp_path: Path) -> None:
    task = retrieval()
    run = describe_import(task, "theirs", {}, "digest", [])
    folder = tmp_path / "run"
    results = import_run(task, run, folder, vectors_of(task, vector_file(tmp_path, ["a", "b", "c"])))
    assert results.primary.value == 1.0
    assert np.load(folder / "vectors.npy").shape == (3, 2, 3)
    assert rescore(task, folder) == results


@pytest.mark.parametrize(
    ("ids", "complaint"), [(["y", "z"], "unknown ids and no known one: y, z"), (["a", "a"], "repeated ids: a")]
)
def test_vectors_of_strangers_and_repeats_are_refused(tmp_path: Path, ids: list[str], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        vectors_of(retrieval(), vector_file(tmp_path, ids))


def test_strangers_among_texts_and_vectors_stop_nothing(tmp_path: Path) -> None:
    texts = texts_of(captioning(), json_file(tmp_path, {**TEXTS, "z": None}))
    vectors = vectors_of(retrieval(), vector_file(tmp_path, ["a", "z", "z"]))
    assert {key for key, found in texts.items() if isinstance(found, Prediction)} == set(TEXTS)
    assert {key for key, found in vectors.items() if isinstance(found, Prediction)} == {"a"}


def test_a_file_that_holds_no_vectors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npz"
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"is not an \.npz file"):
        vectors_of(retrieval(), path)


def test_an_npz_of_a_few_bytes_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    np.savez_compressed(path, ids=np.array(["a"]), video=np.zeros((1, 20 << 20), np.float32), text=np.zeros((1, 1)))
    with pytest.raises(DataError, match=r"of video\.npy would unpack to 83886208"):
        vectors_of(retrieval(), path)


@pytest.mark.parametrize("ids", [["A", "b", "c"], ["a ", "b", "c"], [" A", "B", "\tc"]])
def test_ids_in_other_case_or_with_spaces_are_refused_and_not_left_out(tmp_path: Path, ids: list[str]) -> None:
    with pytest.raises(DataError, match=r"is refused: \d ids that differ .* in upper and lower case or in spaces:"):
        vectors_of(retrieval(), vector_file(tmp_path, ids))
    with pytest.raises(DataError, match="ids that differ from the benchmark's"):
        texts_of(captioning(), json_file(tmp_path, dict.fromkeys(ids, "a text")))


def test_a_stranger_that_resembles_a_known_id_beside_it_is_a_stranger(tmp_path: Path) -> None:
    assert set(vectors_of(retrieval(), vector_file(tmp_path, ["a", "A", "b", "c"]))) == {"a", "b", "c"}


def test_ids_in_bytes_are_read_as_texts(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npz"
    np.savez(path, ids=np.array([b"a", b"b", b"c"]), video=np.eye(3), text=np.eye(3))
    assert set(vectors_of(retrieval(), path)) == {"a", "b", "c"}


@pytest.mark.parametrize(("scale", "told"), [([1, 1, 1], 0), ([1, 2, 3], 1), ([1, 1.001, 1], 0), ([0, 1, 1], 1)])
def test_vectors_of_unequal_lengths_are_said_to_be_compared_as_they_are(
    tmp_path: Path, scale: list[float], told: int
) -> None:
    path = tmp_path / "vectors.npz"
    np.savez(path, ids=np.array(["a", "b", "c"]), video=np.eye(3) * scale, text=np.eye(3))
    notes = read_vector_pairs(PredictionsFile(path), retrieval(), retrieval()).notes
    assert len(notes) == told
    assert all("lengths of the video vectors are from" in note and "dot product" in note for note in notes)


def test_no_error_advises_to_run_what_is_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npz"
    for content in (np.array([{"a": 1}] * 3), np.array(["a", "b", "c"])):
        np.savez(path, ids=content, video=content.astype(object), text=np.eye(3))
        with pytest.raises(DataError, match="Python objects, which are never read") as caught:
            vectors_of(retrieval(), path)
        assert "pickle" not in str(caught.value)
    path.write_bytes(pickle.dumps([1, 2, 3]))
    with pytest.raises(DataError, match="it is not a zip archive"):
        vectors_of(retrieval(), path)


def test_vectors_of_any_magnitude_are_ranked_alike(tmp_path: Path) -> None:
    task = retrieval()
    run = describe_import(task, "theirs", {}, "digest", [])
    path = tmp_path / "vectors.npz"
    for scale in (1e-30, 1e30):
        np.savez(path, ids=np.array(["a", "b", "c"]), video=np.eye(3) * scale, text=np.eye(3) * scale)
        results = import_run(task, run, tmp_path / f"run{scale}", vectors_of(task, path))
        assert (results.status, results.primary.value) == ("complete", 1.0)
