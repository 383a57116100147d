"""`longvid ask`: own questions about the real cooking and egocentric clips, on the command line."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

import pytest

from encoders.video_file import VideoInfo, probe
from evals.store import read_results, read_samples
from tasks.errors import RecordError
from tasks.model import OptionRequest
from tests.encoders.coca.small import write_coca
from tests.evals.conftest import ROOT, ToyModel, assert_one_line, longvid
from tests.needs import needs_smollm2

QUESTIONS = ROOT / "tests" / "data" / "natural_questions.jsonl"
NATURAL = Path("videos") / "natural"


def lavila_lines(shared_data: Path, out: Path) -> Path:
    """LaViLa's captions of the egocentric clip, of 30 frames each, as JSON lines; the clip has 15 frames a second."""
    windows = json.loads((shared_data / NATURAL / "ego_kitchen_41s.lavila_captions.json").read_text())
    with out.open("w") as file:
        for window, text in windows.items():
            first, last = map(int, window.split("_"))
            row = {"video": "ego_kitchen_41s.mp4", "start": first / 15, "end": last / 15, "text": text}
            file.write(json.dumps(row) + "\n")
    return out


def test_questions_are_answered_and_scored(shared_data: Path, tmp_path: Path) -> None:
    done = longvid(
        *("ask", QUESTIONS, "--videos", shared_data / NATURAL, "-m", "constant", "-M", "choice=0"),
        *("--out", tmp_path / "run"),
    )
    assert done.returncode == 0, done.stderr
    results = read_results(tmp_path / "run")
    assert (results.counts.answered, results.metrics[0].value) == (6, pytest.approx(4 / 6))
    assert results.task.cluster == "video"
    elsewhere = longvid("egoschema", "score", tmp_path / "run", "--data", shared_data)
    assert "use 'longvid ask …'" in elsewhere.stderr


def test_a_result_changed_by_hand_is_written_anew_by_the_same_command(shared_data: Path, tmp_path: Path) -> None:
    command = ("ask", QUESTIONS, "--videos", shared_data / NATURAL, "-m", "constant", "--out", tmp_path / "run")
    assert longvid(*command).returncode == 0
    path = tmp_path / "run" / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "partial"}))
    with pytest.raises(RecordError, match="the same 'longvid ask …' rewrites it"):
        read_results(tmp_path / "run")
    assert longvid(*command).returncode == 0
    assert read_results(tmp_path / "run").status == "complete"


@pytest.mark.parametrize("route", ["letter-logprob", "generate+parse"])
def test_more_options_than_letters_are_refused_before_the_model_is_loaded(tmp_path: Path, route: str) -> None:
    row = {
        "video": "a.mp4",
        "end": 9,
        "question": "Which?",
        "options": [f"number {i}" for i in range(30)],
        "answer": 29,
    }
    (tmp_path / "many.jsonl").write_text(json.dumps(row))
    done = longvid(
        *("ask", tmp_path / "many.jsonl", "-m", "blind", "-M", "llm=transformers:/no/such/model"),
        *("-M", f"route={route}", "--out", tmp_path / "run"),
    )
    assert done.returncode == 2
    assert "line 1: 30 options, but letters name at most 26; use -M route=options-loglik" in " ".join(
        done.stderr.split()
    )
    assert not (tmp_path / "run").exists()


def test_without_its_videos_a_question_is_refused_by_its_line(tmp_path: Path) -> None:
    done = longvid("ask", QUESTIONS, "-m", "constant", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "natural_questions.jsonl, line 1: there is no video" in done.stderr


def test_each_video_is_measured_and_decoded_once_whatever_the_order_of_the_questions(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGVID_CACHE", str(tmp_path / "cache"))
    videos = tmp_path / "videos"
    videos.mkdir()
    names = ["long.mp4", *(f"{number}.mp4" for number in range(9))]
    for name in names:
        shutil.copy(shared_data / NATURAL / "ego_frying_2s.mp4", videos / name)
    rows = [{"video": name, "question": f"What {q}?", "options": ["a", "b"]} for q in range(2) for name in names]
    rows += [{**rows[0], "question": f"Where {q}?"} for q in range(3)]
    questions = tmp_path / "questions.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    measured: list[str] = []

    def counted(path: Path) -> VideoInfo:
        measured.append(path.name)
        return probe(path)

    monkeypatch.setattr("encoders.video_file.probe", counted)
    options = ("weights=random", "dtype=float32", "frames=2", "batch=1")
    command = ("ask", questions, "--videos", videos, "-m", "imagevit-tiny", *(f"-M{option}" for option in options))
    done = longvid(*command, "--out", tmp_path / "run", "--limit", "22")
    assert done.returncode == 0, done.stderr
    samples = read_samples(tmp_path / "run")
    assert (len(samples), sum("decode" in sample.seconds for sample in samples.values())) == (22, len(names))
    assert sorted(measured) == sorted(names)

    measured.clear()
    shutil.copy(shared_data / NATURAL / "nasa_13s.mp4", videos / "8.mp4")
    longvid("ask", questions, "--videos", videos, "-m", "constant", "--out", tmp_path / "other")
    # The one that is another file now.
    assert measured == ["8.mp4"]


def test_each_question_more_takes_a_few_kilobytes(tmp_path: Path) -> None:
    peaks = []
    for count in (400, 1_200):
        row = {"video": "v.mp4", "options": ["They open the drawer", "They leave the room"], "answer": 0, "start": 0}
        rows = [{**row, "question": f"What happens after object {i}?", "end": i + 9} for i in range(count)]
        questions = tmp_path / f"{count}.jsonl"
        questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
        command = ("ask", questions, "-m", "constant", "--out", tmp_path / f"run-{count}")
        assert longvid(*command).returncode == 0
        gc.collect()
        tracemalloc.start()
        try:
            assert "are done" in longvid(*command).stdout
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 800 < 5_000  # bytes: 200,000 questions within 1 GB


@pytest.mark.slow
@needs_smollm2
def test_real_captions_of_a_real_clip_become_answers_and_stand_in_the_record(shared_data: Path, tmp_path: Path) -> None:
    captions = lavila_lines(shared_data, tmp_path / "lavila.jsonl")
    done = longvid(
        *("ask", QUESTIONS, "--videos", shared_data / NATURAL, "-m", "aggregator", "-M", f"captions={captions}"),
        *("--out", tmp_path / "run"),
    )
    assert done.returncode == 1, done.stderr
    samples = read_samples(tmp_path / "run")
    assert {key for key, sample in samples.items() if sample.error} == {"eggs-dish", "eggs-before", "eggs-plate"}
    read = str(samples["ego-fridge"].notes["captions_text"])
    assert "opens a refrigerator" in read
    assert read.index("[0:00-0:16]") < read.index("[0:16-0:32]")


@pytest.mark.slow
@needs_smollm2
def test_frames_become_captions_and_captions_answers(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGVID_CACHE", str(tmp_path / "cache"))
    coca = write_coca(tmp_path / "coca", seed=5)
    done = longvid(
        *("ask", QUESTIONS, "--videos", shared_data / NATURAL, "-m", "aggregator"),
        *("-M", f"captioner=coca:name={coca},dtype=float32,max_length=8", "--out", tmp_path / "run"),
    )
    assert done.returncode == 0, done.stderr
    samples = read_samples(tmp_path / "run")
    assert len(samples) == 6
    for sample in samples.values():
        assert sample.answer is not None
        assert str(sample.notes["captions_text"]).startswith("[0:00-0:16] ")
        assert sample.seconds["caption"] > 0


def question_file(folder: Path, **changed: object) -> Path:
    """Two questions about one video."""
    row = {"video": "v.mp4", "question": "What?", "options": ["a", "b"], "answer": 0, "start": 0, "end": 2}
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps({**row, "id": key, **changed}) + "\n" for key in ("q1", "q2")))
    return path


def test_a_run_with_a_failed_item_does_not_end_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.registry.build_model", lambda *_: ToyModel(bad=frozenset({"q2"})))
    done = longvid("ask", question_file(tmp_path), "-m", "chance", "--out", tmp_path / "run")
    assert done.returncode == 1
    assert "error: 1 of 2 items failed; the reasons are in" in done.stderr
    assert read_results(tmp_path / "run").status == "partial"


def end_of(run: Path) -> list[str]:
    """How an answer on the terminal ends."""
    return [f"record: {run}", f"page: longvid report {quote(str(run))} --format html"]


@pytest.mark.parametrize("changed", [{"start": 1}, {"end": 9}, {"video": "other.mp4", "cluster": "v.mp4"}])
def test_a_question_about_another_clip_is_another_run(tmp_path: Path, changed: dict[str, object]) -> None:
    command = ("-m", "constant", "--out", tmp_path / "run")
    assert longvid("ask", question_file(tmp_path), *command).returncode == 0
    done = longvid("ask", question_file(tmp_path, **changed), *command)
    assert_one_line(done, "holds another run", "task.items_sha256", "a video, a start or an end")


def test_a_replaced_video_is_asked_about_again_and_told(tmp_path: Path) -> None:
    command = ("ask", question_file(tmp_path), "-m", "constant", "--out", tmp_path / "run")
    (tmp_path / "v.mp4").write_bytes(b"one")
    assert longvid(*command).returncode == 0
    (tmp_path / "v.mp4").write_bytes(b"two")
    done = longvid(*command)
    assert done.returncode == 0
    assert "warning: 2 items are asked again; the first, q1:" in done.stderr
    assert len((tmp_path / "run" / "samples.jsonl").read_text().splitlines()) == 6


def test_a_folder_deleted_during_a_run_is_not_said_to_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Deleting(ToyModel):
        def choose(self, requests: Sequence[OptionRequest]) -> list[int]:
            shutil.rmtree(tmp_path / "run")
            return super().choose(requests)

    monkeypatch.setattr("tasks.registry.build_model", lambda *_: Deleting())
    done = longvid("ask", question_file(tmp_path), "-m", "chance", "--out", tmp_path / "run")
    assert_one_line(done, str(tmp_path / "run"), "lost")
    assert "kept" not in done.stderr


PANCAKE = NATURAL / "flipping_a_pancake_10s.mkv"
TALKER = '''
class Talker:
    """Says how long a clip is."""

    def generate(self, requests):
        return [f"{r.question} It takes {r.clip.duration:.1f} s." for r in requests]
'''


def lines_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.rstrip() for line in done.stdout.splitlines()]


def test_each_question_is_printed_with_its_answer(tmp_path: Path) -> None:
    rows = [
        {"question": "Right?", "answer": 1},
        {"question": "Wrong?", "answer": 0},
        {"question": f"Open, and {'long ' * 40}?"},
    ]
    common = {"video": "v.mp4", "options": ["a", "b " * 60], "end": 2}
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps({**common, **row, "id": f"n{n}"}) + "\n" for n, row in enumerate(rows)))
    done = longvid("ask", path, "-m", "constant", "-M", "choice=1", "--out", tmp_path / "run")
    lines = lines_of(done)
    told = lines[lines.index("n0: Right?") :]
    assert told[1].startswith("  B. b b")
    assert told[2].endswith("(right)")
    assert "n1: Wrong?" in told
    assert told[told.index("n1: Wrong?") + 2].endswith("(wrong)")
    assert told[told.index("n1: Wrong?") + 3] == "  correct: A. a"
    assert all(len(line) <= 80 for line in told)


def test_of_many_questions_the_first_are_printed_and_where_the_others_are(tmp_path: Path) -> None:
    row = {"video": "v.mp4", "question": "What?", "options": ["a", "b"], "end": 2}
    path = tmp_path / "questions.jsonl"
    path.write_text(f"{json.dumps(row)}\n" * 30)
    lines = lines_of(longvid("ask", path, "-m", "constant", "--out", tmp_path / "run"))
    assert sum(line == "  A. a" for line in lines) == 20
    assert lines[-2] == f"… and 10 more in {tmp_path}/run/samples.jsonl"
    assert lines[-1] == f"all of them on a page: longvid report {tmp_path}/run --format html"


def test_what_failed_and_what_could_not_be_read_is_printed_as_that(tmp_path: Path) -> None:
    models = tmp_path / "models.py"
    models.write_text(
        "class Mumbles:\n"
        "    def generate(self, requests):\n"
        "        if any(r.item_id == 'q2' for r in requests):\n"
        "            raise OSError('no frames')\n"
        "        return ['I can not tell.' for _ in requests]\n"
    )
    done = longvid("ask", question_file(tmp_path), "-m", f"{models}:Mumbles", "--out", tmp_path / "run")
    assert done.returncode == 1
    assert "  no option could be read from: I can not tell. (wrong)" in lines_of(done)
    assert "  failed: no frames" in lines_of(done)


def test_a_question_on_the_command_line_is_asked_kept_and_scored(shared_data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = (
        "ask",
        shared_data / PANCAKE,
        "What is flipped?",
        "an egg",
        "a pancake",
        "-m",
        "constant",
        "-M",
        "choice=1",
    )
    done = longvid(*command, "--out", run)
    assert done.returncode == 0, done.stderr
    assert lines_of(done) == ["q1: What is flipped?", "  B. a pancake", *end_of(run)]
    (sample,) = read_samples(run).values()
    assert sample.clip is not None
    assert sample.clip.video == PANCAKE.name
    rows = (run / "samples.jsonl").read_bytes()
    assert longvid(*command, "--out", run).returncode == 0
    assert (run / "samples.jsonl").read_bytes() == rows
    assert longvid("score", run).returncode == 0
    assert longvid("report", run, "--format", "html").returncode == 0
    assert "What is flipped?" in (run / "report.html").read_text(encoding="utf-8")


def test_without_options_a_model_answers_in_words(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "talker.py").write_text(TALKER)
    done = longvid(
        "ask", shared_data / PANCAKE, "What now?", "-m", f"{tmp_path}/talker.py:Talker", "-o", tmp_path / "run"
    )
    assert done.returncode == 0, done.stderr
    assert "  What now? It takes 10.3 s." in lines_of(done)
    results = read_results(tmp_path / "run")
    assert (results.task.family, results.primary.value, results.status) == ("free-answer", None, "complete")
    assert results.protocol["prompt"] == "own-answer.v1"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("What?",),
            "TextGenerator (generate) to answer in words; model 'constant' does not offer it; models that do: ",
        ),
        (("What?", "only one"), "give two options or more, not 'only one' alone"),
        ((), "a video and a question: longvid ask"),
    ],
)
def test_what_can_t_be_asked_about_a_video_is_one_line(
    shared_data: Path, tmp_path: Path, words: Sequence[str], told: str
) -> None:
    assert_one_line(longvid("ask", shared_data / PANCAKE, *words, "-m", "constant", "-o", tmp_path / "run"), told)


@pytest.mark.parametrize(
    ("what", "words", "told"),
    [
        ("none.jsonl", (), "questions file none.jsonl does not exist"),
        ("none.mp4", ("What?", "a", "b"), "there is no video none.mp4"),
        ("none.mp4", (), "there is no file none.mp4; ask takes a file of questions that ends in .jsonl"),
        ("none.jsonl", ("What?",), "none.jsonl already holds questions"),
    ],
)
def test_what_is_not_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, words: Sequence[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_one_line(longvid("ask", what, *words, "-m", "constant"), told)


def test_ask_takes_a_folder_too(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    question_file(tmp_path / "set")
    (tmp_path / "set" / "benchmark.toml").write_text('name = "mine"\n')
    done = longvid("ask", tmp_path / "set", "-m", "constant", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert read_results(tmp_path / "run").task.name == "mine@all"


@pytest.mark.parametrize(("content", "words"), [(b"hello", "not a readable media file"), (b"", "the file is empty")])
def test_a_video_that_is_none_is_named_without_the_file_that_held_the_question(
    tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "text.mp4").write_bytes(content)
    done = longvid("ask", tmp_path / "text.mp4", "What?", "a", "b", "-m", "chance", "--out", tmp_path / "run")
    assert_one_line(done, "text.mp4: ", words)
    assert "questions" not in done.stderr
