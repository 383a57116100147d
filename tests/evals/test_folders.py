"""Folders and files of one's own go wherever a benchmark's name goes, on the command line and from Python."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import longvid as door
from evals.record import Place
from evals.store import read_results, read_run, read_samples
from tests.evals.conftest import ROOT, assert_one_line, longvid

MODELS = '''
"""Models of one method that never look."""

class Says:
    def caption(self, requests):
        return [f"a man cooks {request.clip.video_id}" for request in requests]

class Vectors:
    def embed_video(self, clips):
        return [[1.0, float(len(clip.video_id))] for clip in clips]

    def embed_text(self, texts):
        return [[1.0, float(len(text))] for text in texts]

class Scores:
    def score_options(self, requests):
        return [list(range(len(request.options))) for request in requests]

class Weighs(Scores):
    def __init__(self, route: str):
        self.route = route

class Chooses:
    def choose(self, requests):
        return [len(request.options) - 1 for request in requests]

class Letter:
    def __init__(self, letter: str = "B") -> None:
        self.letter = letter

    def generate(self, requests):
        return [self.letter for _ in requests]
'''
OPTIONS = ["red", "green", "blue", "yellow", "black"]


def questions(folder: Path, *, toml: str = 'name = "mine"\n', **changed: Any) -> Path:
    """Twelve questions of two to five options about four videos, the answer in every form."""
    folder.mkdir(exist_ok=True)
    rows: list[Mapping[str, Any]] = []
    for n in range(12):
        options = OPTIONS[: 2 + n % 4]
        place = n % len(options)
        form = (place, "ABCDE"[place], options[place])[n % 3]
        kind = "even" if n % 2 == 0 else "odd"
        row = {"video": f"v{n // 3}.mp4", "question": f"Which {n}?", "options": options, "answer": form, "end": 9}
        rows.append({"id": f"q{n:02d}", **row, "labels": {"kind": kind}, **changed})
    write_rows(folder / "questions.jsonl", rows)
    if toml:
        (folder / "benchmark.toml").write_text(toml)
    return folder


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    path = tmp_path / "models.py"
    path.write_text(MODELS)
    return path


def ok(*arguments: object) -> str:
    done = longvid(*arguments)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout


def test_every_verb_takes_a_folder_and_every_report_its_runs(tmp_path: Path, models: Path) -> None:
    folder, run, other = questions(tmp_path / "set"), tmp_path / "run", tmp_path / "other"
    ok("run", folder, "-m", f"{models}:Letter", "--out", run)
    before = (run / "results.json").read_bytes()
    results = read_results(run)
    assert (results.task.name, results.counts.answered, results.status) == ("mine@all", 12, "complete")
    assert {floor.model for floor in results.floors} == {
        "chance",
        "constant (choice=0)",
        "longest option",
        "shortest option",
    }
    ok("score", run)
    assert (run / "results.json").read_bytes() == before
    right = {f"q{n:02d}": n % (2 + n % 4) for n in range(12)}
    (tmp_path / "choices.json").write_text(json.dumps(right))
    ok("import", folder, tmp_path / "choices.json", "--name", "all right", "--out", other)
    assert read_results(other).primary.value == 1.0
    assert "mine@all: accuracy" in ok("report", run, other)
    ok("report", run, "--format", "html")
    assert "Which 7?" in (run / "report.html").read_text(encoding="utf-8")
    assert "on 12 items from 4 clusters" in ok("compare", run, other, "--allow-mismatch")
    assert "mine@all" in ok("leaderboard", tmp_path, "--format", "markdown")
    assert "12 in 4 clusters" in ok("plan", folder, "-m", f"{models}:Letter")
    assert "mine@all: 12 items, 0 with their video" in ok("prepare", folder)


@pytest.mark.parametrize(
    ("model", "options", "route"),
    [
        ("Letter", (), "generate+parse"),
        ("Weighs", ("-M", "route=options-loglik"), "options-loglik"),
        ("Weighs", ("-M", "route=letter-logprob"), "letter-logprob"),
        ("Chooses", (), "given"),
        ("Vectors", (), "embedding-similarity"),
    ],
)
def test_every_route_takes_questions_of_any_number_of_options(
    tmp_path: Path, models: Path, model: str, options: Sequence[str], route: str
) -> None:
    folder = questions(tmp_path / "set")
    ok("run", folder, "-m", f"{models}:{model}", *options, "--out", tmp_path / "run")
    results, samples = read_results(tmp_path / "run"), read_samples(tmp_path / "run")
    assert (results.protocol["route"], results.counts.answered) == (route, 12)
    if model in ("Weighs", "Chooses"):
        assert [sample.answer for sample in samples.values()] == [1 + n % 4 for n in range(12)]
    assert results.task.chance == pytest.approx((1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 4)


def test_a_pool_stands_behind_an_at(tmp_path: Path) -> None:
    toml = 'name = "mine"\n[pools.odd]\nlabels = {kind = "odd"}\n'
    folder = questions(tmp_path / "a@b", toml=toml)
    ok("run", f"{folder}@odd", "-m", "chance", "--out", tmp_path / "run")
    assert (read_results(tmp_path / "run").task.name, read_results(tmp_path / "run").counts.answered) == ("mine@odd", 6)
    ok("score", tmp_path / "run")
    ok("run", folder, "--pool", "odd", "-m", "chance", "--out", tmp_path / "run")
    assert_one_line(longvid("run", f"{folder}@od", "-m", "chance"), "has no pool 'od'", "all, odd")


def test_predictions_of_a_pool_may_be_those_of_all_rows(tmp_path: Path) -> None:
    folder = questions(tmp_path / "set", toml='name = "mine"\n[pools.odd]\nlabels = {kind = "odd"}\n')
    (tmp_path / "choices.json").write_text(json.dumps({f"q{n:02d}": 0 for n in range(12)}))
    said = ok("import", f"{folder}@odd", tmp_path / "choices.json", "--name", "zero", "--out", tmp_path / "run")
    assert "6 predictions are outside mine@odd" in said


def test_videos_lie_where_is_said_and_the_record_keeps_where(shared_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    row = {"video": "flipping_a_pancake_10s", "question": "What?", "options": ["a", "b"], "answer": 0}
    write_rows(folder / "questions.jsonl", [row])
    (folder / "benchmark.toml").write_text('name = "mine"\n')
    assert_one_line(longvid("run", folder, "-m", "chance", "--out", tmp_path / "no"), "line 1: there is no video")
    natural = shared_data / "videos" / "natural"
    ok("run", folder, "-m", "chance", "--videos", natural, "--out", tmp_path / "run")
    place = read_run(tmp_path / "run").place
    assert place is not None
    assert (place.path, place.videos) == (str(folder), str(natural))
    (sample,) = read_samples(tmp_path / "run").values()
    assert sample.clip is not None
    assert 10 < sample.clip.end < 11
    ok("score", tmp_path / "run")
    assert_one_line(longvid("run", folder, "-m", "chance", "--videos", tmp_path / "none"), "--videos", "not a folder")
    assert_one_line(longvid("run", "egoschema", "-m", "chance", "--videos", natural), "--videos is for a folder")
    assert_one_line(longvid("audit", "egoschema", "--videos", natural), "--videos is for a folder")


@pytest.mark.parametrize("named", [True, False])
def test_a_folder_that_has_moved_is_asked_for_and_then_found(tmp_path: Path, named: bool) -> None:
    toml = 'name = "mine"\n' if named else ""
    folder, run = questions(tmp_path / "set", toml=toml), tmp_path / "run"
    ok("run", folder, "-m", "chance", "--out", run)
    before = (run / "results.json").read_bytes()
    moved = folder.rename(tmp_path / "moved")
    assert_one_line(longvid("score", run), str(folder), "name its folder or its questions file with --data")
    assert "chance" in ok("report", run)
    for data in (moved, *([] if named else [moved / "questions.jsonl"])):
        ok("score", run, "--data", data)
        assert (run / "results.json").read_bytes() == before
    ok("report", run, "--format", "html", "--data", moved)
    assert "Which 7?" in (run / "report.html").read_text(encoding="utf-8")
    ok("run", moved, "-m", "chance", "--out", run)
    assert read_run(run).place == Place(path=str(moved))
    ok("score", run)


@pytest.mark.parametrize(("target", "folder"), [("mine", "mine"), ("no/mine@order", "no/mine")])
def test_a_folder_that_is_not_here_is_told_as_that(
    target: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = longvid("run", target, "-m", "chance")
    assert_one_line(done, f"unknown benchmark '{folder}'", f"there is no folder '{folder}' either")
    assert "did you mean" not in done.stderr


def test_a_folder_whose_rows_have_changed_is_not_the_runs(tmp_path: Path) -> None:
    folder, run = questions(tmp_path / "set"), tmp_path / "run"
    ok("run", folder, "-m", "chance", "--out", run)
    questions(folder, question="Another?")
    assert_one_line(longvid("score", run), "does not hold the items of mine@all in the record")
    assert_one_line(longvid("run", folder, "-m", "chance", "--out", run), "holds another run", "items_sha256")


def test_a_report_needs_no_folder_that_can_be_read(tmp_path: Path) -> None:
    folder, run = questions(tmp_path / "set"), tmp_path / "run"
    ok("run", folder, "-m", "chance", "--out", run)
    (folder / "benchmark.toml").write_text("name = 3\n")
    assert "chance" in ok("report", run)
    ok("report", run, "--format", "html")
    assert_one_line(longvid("score", run), "benchmark.toml: field 'name' must be a text, not 3")


def test_a_file_of_questions_is_a_benchmark_too(tmp_path: Path, models: Path) -> None:
    folder, run, other = questions(tmp_path / "set", toml=""), tmp_path / "run", tmp_path / "other"
    file = folder.rename(tmp_path / "moved") / "questions.jsonl"
    ok("ask", file, "-m", f"{models}:Letter", "--out", run)
    before = (run / "results.json").read_bytes()
    ok("score", run)
    assert (run / "results.json").read_bytes() == before
    ok("run", file, "-m", f"{models}:Letter", "--out", run)
    (tmp_path / "choices.json").write_text(json.dumps({f"q{n:02d}": 0 for n in range(12)}))
    ok("import", file, tmp_path / "choices.json", "--name", "zero", "--out", other)
    assert read_results(run).task == read_results(other).task
    assert "on 12 items" in ok("compare", run, other, "--allow-mismatch")
    assert read_results(run).task.name in ok("report", run, other)
    ok("report", run, "--format", "html")
    assert "Which 7?" in (run / "report.html").read_text(encoding="utf-8")


def test_a_record_that_does_not_tell_where_its_questions_are_resumes_and_is_scored_with_them(tmp_path: Path) -> None:
    file, run = questions(tmp_path / "set", toml="") / "questions.jsonl", tmp_path / "run"
    ok("ask", file, "-m", "chance", "--out", run)
    rows = (run / "samples.jsonl").read_bytes()
    forget_place(run)
    assert_one_line(longvid("score", run), "the record doesn't say where its questions are", "--data")
    ok("score", run, "--data", file)
    ok("ask", file, "-m", "chance", "--out", run)
    assert (run / "samples.jsonl").read_bytes() == rows
    ok("score", run)


def forget_place(run: Path) -> None:
    """The record as earlier versions wrote it."""
    old = {key: value for key, value in json.loads((run / "run.json").read_text()).items() if key != "place"}
    (run / "run.json").write_text(json.dumps(old))


def test_a_run_of_an_earlier_version_is_found_by_its_digests(shared_data: Path, tmp_path: Path) -> None:
    file, natural = ROOT / "tests" / "data" / "natural_questions.jsonl", shared_data / "videos" / "natural"
    command = ("ask", file, "--videos", natural, "-m", "constant", "--out", tmp_path / "run")
    ok(*command, "--limit", 3)
    task = read_run(tmp_path / "run").task
    # As recorded by the version before questions could have different numbers of options.
    assert (task.name, task.chance, task.source) == ("own-0db71343@6", 1 / 5, "natural_questions.jsonl")
    forget_place(tmp_path / "run")
    assert_one_line(longvid("score", tmp_path / "run", "--data", file), "there is no video", "--videos")
    ok("score", tmp_path / "run", "--data", file, "--videos", natural)
    rows = (tmp_path / "run" / "samples.jsonl").read_bytes()
    ok(*command)
    assert (tmp_path / "run" / "samples.jsonl").read_bytes().startswith(rows)
    assert read_results(tmp_path / "run").status == "complete"
    ok("score", tmp_path / "run")


@pytest.mark.parametrize("target", ["no/such/folder", "."])
def test_what_is_no_benchmark_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    monkeypatch.chdir(tmp_path)
    done = longvid("run", target, "-m", "chance")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "benchmark" in done.stderr


def test_a_known_name_is_never_a_folder(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    questions(tmp_path / "egoschema")
    ok("run", "egoschema", "-m", "chance", "--limit", 2, "--data", shared_data, "--out", "known")
    ok("run", "./egoschema", "-m", "chance", "--limit", 2, "--out", "own")
    assert [read_results(Path(name)).task.name for name in ("known", "own")] == ["egoschema@500", "mine@all"]


def test_missing_videos_are_fetched_from_a_mirror(shared_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "benchmark.toml").write_text('name = "mine"\nvideos = "Ask {me}."\n')
    names = ("ego_frying_2s.mp4", "nasa_13s", "nowhere.mp4")
    write_rows(
        folder / "questions.jsonl", [{"video": n, "question": "?", "options": ["a", "b"], "end": 2} for n in names]
    )
    said = ok("prepare", folder, "--mirror", shared_data / "videos" / "natural")
    assert sorted(path.name for path in (folder / "videos").iterdir()) == ["ego_frying_2s.mp4", "nasa_13s.mp4"]
    assert "mine@all: 3 items, 2 with their video" in said
    assert said.splitlines()[-2:] == ["Ask {me}.", "1 videos are missing: nowhere.mp4"]


def test_predictions_are_imported_and_shown_without_videos_and_their_lengths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_meteor(monkeypatch)
    folder = tmp_path / "set"
    folder.mkdir()
    write_rows(folder / "captions.jsonl", [{"id": n, "video": f"v{n}", "references": [f"text {n}"]} for n in range(3)])
    (folder / "benchmark.toml").write_text('name = "mine"\n')
    (tmp_path / "texts.json").write_text(json.dumps({str(n): f"text {n}" for n in range(3)}))
    ok("import", folder, tmp_path / "texts.json", "--name", "x", "--out", tmp_path / "run")
    results = read_results(tmp_path / "run")
    assert (results.details["mean_clip_seconds"], results.status) == (None, "complete")
    assert next(metric.value for metric in results.metrics if metric.name == "micro_rouge_l") == 1.0
    ok("report", tmp_path / "run", "--format", "html")
    assert "0–end" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert_one_line(longvid("run", folder, "-m", "word-salad"), "line 1: there is no video", "the row's end")


# --- Other families -----------------------------------------------------------------------------------


def without_meteor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The jar takes half a minute."""
    monkeypatch.setattr("tasks.caption_metrics.meteor.shutil.which", lambda name: None)


def test_captions_go_from_run_to_comparison(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_meteor(monkeypatch)
    folder = tmp_path / "set"
    folder.mkdir()
    texts = ["a man cooks rice", "a dog runs after the ball", "two people paint a wall", "a girl sings a song"]
    rows = [{"id": f"c{n}", "video": f"v{n}", "end": 9, "references": [text]} for n, text in enumerate(texts)]
    write_rows(folder / "captions.jsonl", rows)
    ok("run", folder, "-m", f"{models}:Says", "--out", tmp_path / "run")
    (tmp_path / "texts.json").write_text(json.dumps({f"c{n}": text for n, text in enumerate(texts)}))
    ok("import", folder, tmp_path / "texts.json", "--name", "people", "--out", tmp_path / "people")
    ours, people = read_results(tmp_path / "run"), read_results(tmp_path / "people")
    assert people.primary.value == pytest.approx(10.0)
    assert ours.primary.value is not None
    assert ours.primary.value < 2
    ok("score", tmp_path / "run")
    assert "micro_cider_d" in ok("report", tmp_path / "run", tmp_path / "people")
    assert "on 4 items" in ok("compare", tmp_path / "run", tmp_path / "people", "--allow-mismatch")
    ok("report", tmp_path / "run", "--format", "html")
    assert "two people paint a wall" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_pairs_go_from_run_to_comparison(tmp_path: Path, models: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    rows = [{"id": f"p{n}", "video": "v" * (n + 1), "end": 9, "text": "t" * (9 - n)} for n in range(6)]
    write_rows(folder / "pairs.jsonl", rows)
    (folder / "benchmark.toml").write_text('name = "pairs"\n')
    ok("run", folder, "-m", f"{models}:Vectors", "--out", tmp_path / "run")
    vectors = np.eye(6, dtype=np.float32)
    np.savez(tmp_path / "v.npz", ids=np.array([f"p{n}" for n in range(6)]), video=vectors, text=vectors)
    ok("import", folder, tmp_path / "v.npz", "--name", "perfect", "--out", tmp_path / "perfect")
    assert read_results(tmp_path / "perfect").primary.value == 1.0
    ok("score", tmp_path / "run")
    assert "pairs@all: text_to_video_recall_at_1" in ok("report", tmp_path / "run", tmp_path / "perfect")
    assert "on 6 items" in ok("compare", tmp_path / "run", tmp_path / "perfect", "--allow-mismatch")


def test_an_encoder_looks_at_the_videos_of_a_folder_of_pairs(shared_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "videos").mkdir(parents=True)
    names = ["ego_frying_2s.mp4", "nasa_13s.mp4"]
    for name in names:
        shutil.copy(shared_data / "videos" / "natural" / name, folder / "videos" / name)
    write_rows(folder / "pairs.jsonl", [{"video": name, "text": f"about {name}"} for name in names])
    options = (f"-M{option}" for option in ("weights=random", "dtype=float32", "frames=2", "batch=1"))
    ok("run", folder, "-m", "imagevit-tiny", *options, "--out", tmp_path / "run")
    seen = [sample.frames.count for sample in read_samples(tmp_path / "run").values() if sample.frames]
    assert seen == [2, 2]
    ok("score", tmp_path / "run")


# --- The mean over a label's groups -------------------------------------------------------------------


def test_the_mean_over_a_labels_groups_is_ranked_floored_and_compared_by(tmp_path: Path, models: Path) -> None:
    rows = [
        {
            "id": f"q{n:02d}",
            "video": f"v{n // 4}",
            "end": 9,
            "question": "Which?",
            "options": OPTIONS[:2] if n % 4 else OPTIONS[:4],
            "answer": "B" if n % 4 else n // 4 % 2,
            "labels": {"kind": "common" if n % 4 else "rare"},
        }
        for n in range(48)
    ]
    folder = questions(tmp_path / "set", toml='name = "mine"\nprimary = "mean over kind"\n')
    write_rows(folder / "questions.jsonl", rows)
    ok("run", folder, "-m", f"{models}:Letter", "--out", tmp_path / "b")
    ok("run", folder, "-m", f"{models}:Letter", "-M", "letter=A", "--out", tmp_path / "a")
    results = read_results(tmp_path / "b")
    assert (results.primary.name, results.primary.value) == ("accuracy_by_kind", 0.75)
    assert results.primary.interval is not None
    assert next(metric.value for metric in results.metrics if metric.name == "accuracy") == pytest.approx(42 / 48)
    chance = next(floor.metric for floor in results.floors if floor.model == "chance")
    assert chance.value == pytest.approx((1 / 2 + 1 / 4) / 2) == pytest.approx(results.task.chance)
    assert chance.interval is not None
    assert chance.interval[0] < 0.375 < chance.interval[1]
    comparison = door.compare(tmp_path / "b", tmp_path / "a", allow_mismatch=True)
    (pair,) = comparison.pairs
    primary = next(row for row in pair.differences if row.primary)
    assert (primary.name, primary.first, primary.other) == ("accuracy_by_kind", 0.75, 0.25)
    assert primary.interval is not None
    assert pair.test.method.startswith("approximate randomisation")
    assert "accuracy_by_kind" in ok("report", tmp_path / "b")


# --- The same figures as a benchmark known by name ----------------------------------------------------


@pytest.fixture(scope="module")
def egoschema_folder(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EgoSchema's 500 questions with public answers, as a folder."""
    folder = tmp_path_factory.mktemp("ego")
    read = {name: json.loads((shared_data / "egoschema" / f"{name}.json").read_text()) for name in NAMES}
    rows = []
    for row in read["questions"]:
        uid = row["q_uid"]
        if uid not in read["subset_answers"]:
            continue
        source = read["uid_to_ego4d"][uid]
        options = [row[f"option {n}"] for n in range(5)]
        end = source["ending_sec"] - source["starting_sec"]
        place = {"id": uid, "video": uid, "end": end, "cluster": source["video_uid"]}
        rows.append({**place, "question": row["question"], "options": options, "answer": read["subset_answers"][uid]})
    write_rows(folder / "questions.jsonl", rows)
    (folder / "benchmark.toml").write_text('name = "ego"\ncluster = "Ego4D source video"\n')
    return folder


NAMES = ("questions", "subset_answers", "uid_to_ego4d")


@pytest.mark.parametrize("file", ["egoschema_akeys_gpt4o.json", "egoschema_vamos_gpt4o_submission.csv"])
def test_imported_predictions_score_as_on_the_benchmark_itself(
    shared_data: Path, egoschema_folder: Path, tmp_path: Path, file: str
) -> None:
    predictions = shared_data / "predictions" / file
    if file.endswith(".csv"):
        answers = json.loads((shared_data / "egoschema" / "subset_answers.json").read_text())
        lines = predictions.read_text().splitlines()
        kept = [lines[0], *(line for line in lines[1:] if line.split(",")[0] in answers)]
        predictions = tmp_path / file
        predictions.write_text("\n".join(kept) + "\n")
    ok("import", egoschema_folder, predictions, "--name", "x", "--out", tmp_path / "own")
    ok("import", "egoschema", predictions, "--name", "x", "--out", tmp_path / "known", "--data", shared_data)
    own, known = read_results(tmp_path / "own"), read_results(tmp_path / "known")
    assert own.metrics == known.metrics
    assert own.floors == known.floors
    assert own.cost == known.cost


# --- From Python --------------------------------------------------------------------------------------


class Mine:
    """Says B."""

    def generate(self, requests: Sequence[door.TextRequest]) -> list[str]:
        return ["B" for _ in requests]


def test_evaluate_takes_a_folder(tmp_path: Path) -> None:
    folder = questions(tmp_path / "set", toml='name = "mine"\n[pools.odd]\nlabels = {kind = "odd"}\n')
    run = door.evaluate(Mine(), folder, out=tmp_path / "run")
    assert (run.results.task.name, len(run.samples)) == ("mine@all", 12)
    odd = door.evaluate(Mine(), f"{folder}@odd", out=tmp_path / "odd")
    assert odd.results.counts.answered == 6
    page = run.to_html(tmp_path / "page.html")
    assert "Which 7?" in page.read_text(encoding="utf-8")
    assert door.task_of(str(folder)).info == door.task_of(f"{folder}@all").info
    other = door.evaluate("constant", folder, options={"choice": 1}, out=tmp_path / "b")
    assert door.compare(run, other, allow_mismatch=True).items == 12


def test_evaluate_finds_the_videos_where_is_said(shared_data: Path, tmp_path: Path) -> None:
    row = {"video": "flipping_a_pancake_10s.mkv", "question": "What?", "options": ["a", "b"], "answer": 1}
    write_rows(tmp_path / "questions.jsonl", [row])
    natural = shared_data / "videos" / "natural"
    run = door.evaluate(Mine(), tmp_path / "questions.jsonl", out=tmp_path / "run", videos=natural)
    assert run.value == 1.0
