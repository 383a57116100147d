"""A judge of free answers: its agreement is measured, its figure carries its name, and its replies are kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from baselines.judge import build_judge
from evals.find_runs import read_runs
from evals.judge import judge_run, read_labels
from evals.leaderboard.build import board_of
from evals.store import read_samples
from longvid import compare, evaluate
from tasks.errors import DataError, ModelError, RecordError
from tasks.judged_answers import AGREEMENT, JUDGED, KAPPA, JudgedItem, JudgedTask
from tasks.model import ModelInfo, TextReply, TextRequest
from tasks.task import Clip, Prediction
from tests.evals.conftest import assert_one_line, longvid

SAYS = {f"q{n}": text for n, text in enumerate(["a dog", "the dog", "cat", "hound", "", "fish"] * 4)}


@dataclass
class Speaker:
    route: str = "generate"

    def generate(self, requests: Sequence[TextRequest]) -> list[str]:
        return [SAYS[request.item_id] for request in requests]


@dataclass
class Judge:
    """A judge that says yes to replies that contain one of `takes`, after reasoning, and records what it is asked."""

    takes: tuple[str, ...] = ("dog", "hound")
    name: str = "judge-7b"
    asked: list[str] = field(default_factory=list)

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(self.name)

    def generate(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        self.asked += [request.item_id for request in requests]
        return [TextReply(self.verdict(SAYS[request.item_id]), finished=True) for request in requests]

    def verdict(self, reply: str) -> str:
        if reply == "fish" and "fish?" in self.takes:
            return "Hard to tell."
        return f"<think>it says {reply}</think>{'Yes.' if any(word in reply for word in self.takes) else 'No'}"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    own = tmp_path / "own"
    own.mkdir()
    (own / "benchmark.toml").write_text('name = "own"\n')
    rows = [
        {"id": key, "video": f"v{key}", "start": 0, "end": 9, "question": "Who barks?", "answers": ["the dog"]}
        for key in SAYS
    ]
    (own / "answers.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return evaluate(Speaker(), own, out=tmp_path / "runs" / "speaker").folder


def labels(path: Path, right: dict[str, bool]) -> Path:
    path.write_text("".join(json.dumps({"id": key, "right": value}) + "\n" for key, value in right.items()))
    return path


def test_the_figure_is_the_share_of_yes_and_an_empty_reply_is_wrong_without_asking(run: Path) -> None:
    model = Judge()
    _, results = judge_run(run, model)
    assert results.primary.name == JUDGED
    assert results.primary.value == pytest.approx(3 / 6)
    assert not {key for key, text in SAYS.items() if not text} & set(model.asked)
    assert results.status == "complete"


def test_its_words_and_name_are_in_the_record_and_the_system_is_the_one_that_answered(run: Path) -> None:
    folder, results = judge_run(run, Judge())
    assert read_samples(folder)["q3"].raw == "<think>it says hound</think>Yes."
    assert results.task.name == "own@all+judged-judge-7b.judge-answer.v1"
    assert (results.protocol["judge"], results.protocol["judge_prompt"]) == ("judge-7b", "judge-answer.v1")
    assert results.model.name == "Speaker"


def test_agreement_with_labels_is_reported_with_kappa(run: Path, tmp_path: Path) -> None:
    people = {key: text in ("a dog", "the dog") for key, text in SAYS.items()}
    _, results = judge_run(run, Judge(), labels=labels(tmp_path / "labels.jsonl", people))
    figures = {metric.name: metric for metric in results.metrics}
    assert figures[AGREEMENT].value == pytest.approx(5 / 6)
    # By chance both say yes of 1/2 · 1/3 and no of 1/2 · 2/3.
    assert figures[KAPPA].value == pytest.approx((5 / 6 - 1 / 2) / (1 - 1 / 2))
    low, high = figures[KAPPA].interval or (0.0, 0.0)
    assert 0 < low < figures[KAPPA].value < high <= 1
    assert not [warning for warning in results.warnings if "judge" in warning]


def test_a_judge_that_agrees_by_chance_alone_is_not_to_be_believed(run: Path, tmp_path: Path) -> None:
    people = {key: n // 6 % 2 == 0 for n, key in enumerate(SAYS)}
    _, results = judge_run(run, Judge(), labels=labels(tmp_path / "labels.jsonl", people))
    assert any("do not believe its figure" in warning for warning in results.warnings)


def test_without_labels_the_record_says_that_nobody_knows(run: Path) -> None:
    _, results = judge_run(run, Judge())
    assert any("is not known: label some" in warning for warning in results.warnings)


def test_a_judge_that_was_asked_is_not_asked_again_and_other_labels_only_count_anew(run: Path, tmp_path: Path) -> None:
    folder, _ = judge_run(run, Judge())
    again = Judge()
    people = dict.fromkeys(list(SAYS)[:12], True)
    _, results = judge_run(run, again, out=folder, labels=labels(tmp_path / "labels.jsonl", people))
    assert again.asked == []
    assert {metric.name for metric in results.metrics} >= {AGREEMENT, KAPPA}


def test_two_judges_figures_stand_in_no_table_together_and_are_not_compared(run: Path) -> None:
    first, second = judge_run(run, Judge())[0], judge_run(run, Judge(name="judge-70b"))[0]
    board = board_of(*read_runs([run.parent]))
    assert sorted(len([row for row in table.rows if row.kind == "run"]) for table in board.tables) == [1, 1, 1]
    with pytest.raises(RecordError):
        compare(first, second)


def test_unread_verdicts_count_neither_way_and_the_bounds_are_told(run: Path) -> None:
    _, results = judge_run(run, Judge(takes=("dog", "hound", "fish?")))
    assert (results.primary.value, results.primary.n) == (pytest.approx(12 / 20), 20)
    assert any("between 50.0% and 66.7%" in warning for warning in results.warnings)


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        *(("Yes", "yes"), ("**No.** The colour differs.", "no"), ("Verdict: yes", "yes"), ("The answer is no.", "no")),
        *(("No, the reply says yes where it asks for a dog.", "no"), ("<think>No.</think>Yes", "yes")),
        *(("Yes or no?", None), ("yes/no", None), ("No idea.", None), ("Yes and no", None), ("Yes. Wait, no.", None)),
        *(("no doubt it is the same", None), ("Yes, but", None), ("Noted.", None), ("Yes, no", None)),
        *(("No difference in meaning.", None), ("No longer the same", None), ("No mismatch: they agree", None)),
        *(("No matter the words, they agree.", None), ("Yes-ish", None), ("Yes?", None), ("Yes, partially", None)),
        *(("Yes, although not exactly", None), ("Yes unless", None), ("No\n\nCorrection: yes", None)),
        *(("Yes, on second thought no", None), ("Yes, I can help with that.", None), ("No, I cannot say.", None)),
        *(("The answer is no longer right", None), ("No, although both are animals.", "no"), ("No (a cat)", "no")),
        *(("Yes—both say so", "yes"), ("**Yes** Both say so", "yes"), ("yes because both do", "yes")),
        *(("Yes, I think so.", "yes"), ("\\boxed{yes}", "yes"), ('{"verdict": "no"}', "no"), ("No - a cat", "no")),
    ],
)
def test_a_verdict_is_read_where_the_judge_commits_to_one(reply: str, verdict: str | None) -> None:
    task = JudgedTask(None, (), None)  # type: ignore[arg-type]  # neither is asked here
    item = JudgedItem("q", "v", Clip("v", 0.0, 1.0), "Which animal?", ("a dog",), "hound")
    assert task.reread(item, Prediction("q", None, reply)).answer == verdict


def test_a_page_of_judged_answers_can_be_made(run: Path, tmp_path: Path) -> None:
    folder, _ = judge_run(run, Judge())
    page = tmp_path / "page.html"
    done = longvid("report", folder, "--format", "html", "-o", page)
    assert done.returncode == 0, done.stderr
    assert "judged accuracy" in page.read_text()


def test_what_can_not_be_judged_is_refused_in_a_line(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no option 'x'"):
        build_judge({"llm": "smollm2", "x": "1"})
    assert_one_line(longvid("judge", run, "--judge", "base_url=http://x"), "--judge needs a language model")
    file = labels(tmp_path / "l.jsonl", {"other": True})
    with pytest.raises(DataError, match="line 1: no judged question has the id 'other'"):
        read_labels(file, set(SAYS))
    file.write_text('{"id": "q1", "right": true}\n{"id": "q1", "right": true}\n')
    with pytest.raises(DataError, match="line 2: the id 'q1' is used twice"):
        read_labels(file, set(SAYS))
    file.write_text('{"id": "q1", "right": "yes"}\n')
    with pytest.raises(DataError, match="line 1"):
        read_labels(file, set(SAYS))


@pytest.mark.parametrize("case", ["partial", "no free answers", "faulty labels"])
def test_the_run_and_its_labels_are_checked_before_the_judge_is_loaded(run: Path, tmp_path: Path, case: str) -> None:
    own, more = tmp_path / "own", []
    if case == "partial":
        folder, told = evaluate(Speaker(), own, out=tmp_path / "part", limit=3).folder, "is partial: finish the run"
    elif case == "no free answers":
        shutil.copytree(own, tmp_path / "choices")
        (tmp_path / "choices" / "answers.jsonl").unlink()
        question = {"video": "v", "start": 0, "end": 9, "question": "Who?", "options": ["a", "b"], "answer": 0}
        (tmp_path / "choices" / "questions.jsonl").write_text(json.dumps(question))
        folder = evaluate("longest-option", tmp_path / "choices", out=tmp_path / "longest").folder
        told = "only free-text answers can be judged"
    else:
        folder, told = run, "no judged question has the id 'other'"
        more = ["--labels", labels(tmp_path / "labels.jsonl", {"other": True})]
    # Loading this judge would fail with an error of its own.
    assert_one_line(longvid("judge", folder, "--judge", f"llm=transformers:{tmp_path / 'no model'}", *more), told)
