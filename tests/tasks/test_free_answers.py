"""Questions answered in free words: SQuAD's figures, reasoning left aside, and a folder from run to page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longvid import compare, evaluate
from tasks.answer_text import final_answer
from tasks.errors import DataError, ModelError
from tasks.free_answers import F1, FreeAnswerTask, FreeItem, exact_match, free_question, overlap, token_f1
from tasks.task import Clip, Prediction
from tests.evals.conftest import assert_one_line, longvid

WORDS = st.lists(st.sampled_from(["red", "blue", "ball", "dog", "he"]), max_size=6)


@pytest.mark.parametrize(
    ("said", "known", "exact", "f1"),
    [
        ("The cat sat.", ["cat sat"], 1, 1),
        ("a red ball", ["the ball"], 0, 2 / 3),
        ("red red ball", ["red ball ball"], 0, 2 / 3),
        ("he throws the ball away", ["throws ball", "throws the ball away quickly"], 0, 3 / 4),
        ("nothing alike", ["cat sat"], 0, 0),
        ("don't", ["dont"], 1, 1),
        ("theatre", ["atre"], 0, 0),
    ],
)
def test_the_figures_are_squads(said: str, known: list[str], exact: float, f1: float) -> None:
    assert exact_match(said, known) == exact
    assert token_f1(said, known) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("said", "known", "exact"),
    [
        ("A", "a", 1),
        ("The.", "the", 1),
        ("+", "+", 1),
        ("the", "a", 0),
        ("-", "+", 0),
        ("\u201cRed\u201d", "red", 1),
        ("\u7ea2\u8272\u3002", "\u7ea2\u8272", 1),
        ("cafe\u0301", "caf\u00e9", 1),
        ("\uff13", "3", 1),
        ("stra\u00dfe", "STRASSE", 1),
    ],
)
def test_signs_articles_and_spellings_of_a_character_decide_no_answer(said: str, known: str, exact: float) -> None:
    assert exact_match(said, [known]) == exact
    assert token_f1(said, [known]) == exact


@pytest.mark.parametrize(("said", "unread"), [("A", 0), ("+", 0), ("the", 0), ("...", 1), (" ", 1), ("\u3002", 1)])
def test_only_a_reply_without_any_word_or_sign_is_unread(said: str, unread: float) -> None:
    item = FreeItem("q", "v", Clip("v", 0.0, 9.0), "What is thrown?", ("a ball",))
    assert free_question(item).score(item, Prediction("q", said)).values["unparsed"] == unread


@given(WORDS, WORDS)
def test_f1_is_the_same_both_ways_and_1_for_the_same_words_alone(one: list[str], other: list[str]) -> None:
    assert overlap(one, other) == overlap(other, one)
    assert 0 <= overlap(one, other) <= 1
    assert (overlap(one, other) == 1) == (sorted(one) == sorted(other))


@given(WORDS, st.lists(WORDS, min_size=1, max_size=4))
def test_one_more_known_answer_never_lowers_a_figure(said: list[str], known: list[list[str]]) -> None:
    texts = [" ".join(words) for words in known]
    assert token_f1(" ".join(said), texts) >= max(token_f1(" ".join(said), [text]) for text in texts)


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("A red ball.", "A red ball."),
        ("<think>it may be blue</think>\nA red ball.", "A red ball."),
        ("<think>it may be blue", ""),
        ("I looked. <answer>a red ball</answer> Thanks.", "a red ball"),
        ("a red ball<|im_end|>\n<|im_start|>user\nAnd then?", "a red ball"),
        ("  \n", ""),
    ],
)
def test_what_is_read_is_the_answer_and_not_its_reasoning(reply: str, answer: str) -> None:
    assert final_answer(reply) == answer


class Talker:
    """Gives the replies it is told to, in order of the questions' ids."""

    def __init__(self, replies: Mapping[str, str]) -> None:
        self.replies = replies

    def generate(self, requests: list) -> list[str]:  # type: ignore[type-arg]
        return [self.replies[request.item_id] for request in requests]


ROWS = [
    {"id": "q1", "video": "v1", "start": 0, "end": 9, "question": "What is thrown?", "answers": ["a ball", "the ball"]},
    {"id": "q2", "video": "v2", "start": 0, "end": 9, "question": "Who throws it?", "answers": ["a boy"]},
    {"id": "q3", "video": "v3", "start": 0, "end": 9, "question": "Where is he?", "answers": ["in a park"]},
]
REPLIES = {"q1": "Ball.", "q2": "a tall boy", "q3": "<think>hmm"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    own = tmp_path / "own"
    own.mkdir()
    (own / "benchmark.toml").write_text('name = "own"\n')
    (own / "answers.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    return own


def test_a_folder_of_answers_goes_from_run_to_page(folder: Path, tmp_path: Path) -> None:
    run = evaluate(Talker(REPLIES), folder, out=tmp_path / "run")
    values = {metric.name: metric.value for metric in run.results.metrics}
    assert values == {
        "token_f1": pytest.approx((1 + 2 / 3 + 0) / 3),
        "exact_match": pytest.approx(1 / 3),
        "unparsed_rate": pytest.approx(1 / 3),
    }
    assert run.results.task.family == "free-answer"
    (floor,) = run.results.floors
    assert floor.metric.value == pytest.approx(1 / 3)
    shown = longvid("report", tmp_path / "run", "--wide").stdout
    assert "exact match" in shown
    page = run.to_html(tmp_path / "page.html").read_text()
    assert "What is thrown?" in page
    assert "a tall boy" in page


def test_predictions_made_elsewhere_score_the_same_and_compare(folder: Path, tmp_path: Path) -> None:
    run = evaluate(Talker(REPLIES), folder, out=tmp_path / "run")
    (tmp_path / "texts.json").write_text(json.dumps(REPLIES))
    done = longvid("import", folder, tmp_path / "texts.json", "--name", "elsewhere", "-o", tmp_path / "imported")
    assert done.returncode == 0, done.stderr
    pair = compare(run, tmp_path / "imported", allow_mismatch=True).pairs[0]
    assert pair.primary.difference == 0
    scored = longvid("score", tmp_path / "imported")
    assert scored.returncode == 0, scored.stderr


def test_without_known_answers_the_replies_are_kept_and_nothing_is_scored(folder: Path, tmp_path: Path) -> None:
    rows = [{key: value for key, value in row.items() if key != "answers"} for row in ROWS]
    (folder / "answers.jsonl").write_text("\n".join(map(json.dumps, rows)))
    run = evaluate(Talker(REPLIES), folder, out=tmp_path / "run")
    assert (run.value, run.results.status, run.results.primary.name) == (None, "complete", "unscored")


def test_a_prompt_of_ones_own_must_hold_the_question(folder: Path, tmp_path: Path) -> None:
    (folder / "benchmark.toml").write_text('name = "own"\n[prompts]\nanswer = "In one word: $question"\n')
    run = evaluate(Talker(REPLIES), folder, out=tmp_path / "run")
    assert run.results.protocol["prompt"] == "own-answer"
    (folder / "benchmark.toml").write_text('name = "own"\n[prompts]\nanswer = "In one word."\n')
    with pytest.raises(DataError, match=r"'prompts, answer'.*must hold \$question"):
        evaluate(Talker(REPLIES), folder, out=tmp_path / "other")


def test_a_model_that_writes_nothing_is_refused_with_those_that_do(folder: Path, tmp_path: Path) -> None:
    class Chooser:
        def choose(self, requests: object) -> object:
            raise AssertionError

    with pytest.raises(ModelError, match="models that do: aggregator, blind, vlm"):
        evaluate(Chooser(), folder, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({**ROWS[0], "answers": [""]}, "line 1: field 'answers, entry 1'"),
        ({**ROWS[0], "answer": "ball"}, "line 1: unknown field 'answer', did you mean 'answers'?"),
        ({**ROWS[0], "question": ""}, "line 1: field 'question'"),
    ],
)
def test_a_faulty_row_is_named_by_line_and_field(folder: Path, row: Mapping[str, object], told: str) -> None:
    (folder / "answers.jsonl").write_text(json.dumps(row))
    done = longvid("audit", folder)
    assert done.returncode == 2
    assert_one_line(done, told)


@pytest.mark.parametrize(
    ("answer", "told"), [("\u4ed6\u5728\u5207\u6d0b\u8471", True), ("\u4ed6 \u5728 \u5207", False), ("He cuts", False)]
)
def test_answers_in_a_script_without_spaces_are_said_to_be_one_word(answer: str, told: bool) -> None:
    item = FreeItem("q", "v", Clip("v", 0, 1), "What?", (answer,))
    info = replace(free_question(item).info, primary_metric=F1)
    task = FreeAnswerTask(info, [item])
    summary = task.summarise([task.score(item, Prediction("q", answer))], np.random.default_rng(0))
    assert any("script without spaces" in warning for warning in summary.warnings) == told
