"""The multiple-choice family, with toy models whose right answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from tasks.errors import DataError, ModelError
from tasks.model import Embeddings, OptionRequest, OptionScores, TextReply, TextRequest
from tasks.multiple_choice import (
    ChoiceItem,
    ChoicePrompts,
    MultipleChoiceTask,
    item_set_digest,
    lettered,
    option_names,
)
from tasks.routes import Route
from tasks.task import Clip, Prediction, TaskInfo, TokenUsage, Trace

OPTIONS = ("C Cooks.", "C sews", "a man reads", "C sleeps", "nobody moves")
PROMPTS = ChoicePrompts(
    "egoschema-similarity.v1", "egoschema-loglik.v1", "egoschema-letter.v1", "egoschema-generate.v1"
)


def make_task(answers: Sequence[int | None]) -> MultipleChoiceTask:
    items = [
        ChoiceItem(f"q{i}", f"video{i // 2}", Clip(f"q{i}", 0, 180), f"What happens {i}?", OPTIONS, answer)
        for i, answer in enumerate(answers)
    ]
    info = TaskInfo(
        "toy@n", "multiple-choice", "1", len(items), item_set_digest(items), "accuracy", 0.2, "video", "-", "-", "-"
    )
    return MultipleChoiceTask(info, items, PROMPTS)


@dataclass
class Scorer:
    """Prefers the option that holds `word`."""

    word: str
    route: Route

    def score_options(self, requests: Sequence[OptionRequest]) -> list[OptionScores]:
        self.seen = list(requests)
        trace = Trace(usage=TokenUsage(prompt=7))
        return [OptionScores(tuple(float(self.word in o) for o in r.options), trace) for r in requests]


@dataclass
class Writer:
    """Says the same thing every time."""

    text: str
    route = Route.GENERATE
    finished: bool = True

    def generate(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        self.seen = list(requests)
        return [TextReply(self.text, finished=self.finished) for _ in requests]


@dataclass
class Encoder:
    """One axis per option word; each clip lies on the axis of option `target`."""

    target: int

    def embed_video(self, clips: Sequence[Clip]) -> Embeddings:
        return Embeddings(np.eye(5, dtype=np.float32)[[self.target] * len(clips)], tuple(Trace() for _ in clips))

    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        self.texts = list(texts)
        return Embeddings(np.eye(5, dtype=np.float32), tuple(Trace() for _ in texts))


def test_the_likelihood_route_weighs_the_options_own_words_without_listing_them() -> None:
    task, model = make_task([1]), Scorer("sews", Route.OPTIONS_LOGLIK)
    (prediction,) = task.predict(model, task.items())
    assert prediction.answer == 1
    assert model.seen[0].options[1] == " C sews"
    assert "sews" not in model.seen[0].prompt
    assert prediction.trace.usage.prompt == 7


def test_the_letter_route_lists_the_options_and_weighs_letters() -> None:
    task, model = make_task([3]), Scorer("D", Route.LETTER_LOGPROB)
    (prediction,) = task.predict(model, task.items())
    assert prediction.answer == 3
    assert model.seen[0].options == (" A", " B", " C", " D", " E")
    assert "B. C sews\nC. a man reads" in model.seen[0].prompt


def test_the_similarity_route_asks_the_benchmarks_own_texts() -> None:
    task, model = make_task([2]), Encoder(target=2)
    (prediction,) = task.predict(model, task.items())
    assert prediction.answer == 2
    assert model.texts[0] == "What happens 0? Is it 'c cooks.'"


def test_the_generation_route_parses_the_reply_and_keeps_it() -> None:
    task = make_task([4])
    (prediction,) = task.predict(Writer("C is moving, so the answer is E."), task.items())
    assert (prediction.answer, prediction.raw) == (4, "C is moving, so the answer is E.")
    assert prediction.rule not in ("", "unparsed")


def test_the_generation_route_names_the_letters_that_would_do() -> None:
    writer = Writer("B")
    make_task([4]).predict(writer, make_task([4]).items())
    assert writer.seen[0].choices == ("A", "B", "C", "D", "E")


def test_an_unreadable_reply_is_wrong_and_counted_never_guessed() -> None:
    task = make_task([0, 1])
    predictions = task.predict(Writer("I cannot determine the answer."), task.items())
    scores = [task.score(item, p) for item, p in zip(task.items(), predictions, strict=True)]
    summary = task.summarise(scores, np.random.default_rng(0))
    values = {metric.name: metric.value for metric in summary.metrics}
    assert [p.answer for p in predictions] == [None, None]
    assert values == {"accuracy": 0.0, "unparsed_rate": 1.0}
    assert any("could not be read" in warning for warning in summary.warnings)


def test_a_tie_goes_to_the_first_and_says_so() -> None:
    task = make_task([0])
    (prediction,) = task.predict(Scorer("no such word", Route.OPTIONS_LOGLIK), task.items())
    assert (prediction.answer, prediction.rule) == (0, "argmax (tie: first)")


def test_a_score_that_is_not_a_number_is_an_error_not_an_answer() -> None:
    task = make_task([0])
    with pytest.raises(DataError, match="q0"):
        task.reread(task.items()[0], Prediction("q0", 0, option_scores=(0.1, float("nan"), 0.2)))


def test_a_model_without_the_capability_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"toy@n needs TextGenerator \(generate\)"):
        make_task([0]).check(object())


def test_a_route_that_the_model_cannot_take_is_refused() -> None:
    with pytest.raises(ModelError, match="VideoTextEncoder"):
        make_task([0]).check(Scorer("x", Route.SIMILARITY))


def test_an_unknown_route_names_the_known_ones() -> None:
    model = Writer("A")
    model.route = "telepathy"  # type: ignore[misc, assignment]
    with pytest.raises(ModelError, match=r"telepathy.*options-loglik"):
        make_task([0]).check(model)


@pytest.mark.parametrize("route", [Route.OPTIONS_LOGLIK, Route.LETTER_LOGPROB])
def test_the_protocol_names_route_and_prompt(route: Route) -> None:
    protocol = make_task([0]).protocol(Scorer("x", route))
    assert protocol["route"] == route
    assert protocol["prompt"].startswith("egoschema-")
    assert len(protocol["prompt_sha256"]) == 64


def test_the_generation_protocol_names_its_parser() -> None:
    assert "parser" in make_task([0]).protocol(Writer("A"))


def test_rereading_a_record_gives_what_was_predicted() -> None:
    task = make_task([4, 1])
    for model in (Writer("Answer: E"), Scorer("sews", Route.OPTIONS_LOGLIK)):
        for item, prediction in zip(task.items(), task.predict(model, task.items()), strict=True):
            forgotten = replace(prediction, answer=None, rule="")
            assert task.reread(item, forgotten) == prediction


def test_a_reply_cut_at_the_token_limit_is_read_only_before_the_cut_and_so_when_it_is_read_again() -> None:
    task = make_task([0])
    for text, answer in (("Option A: C Cooks.\nThe captions say", None), ("The answer is B. The captions", 1)):
        (prediction,) = task.predict(Writer(text, finished=False), task.items())
        assert prediction.answer == answer
        assert task.reread(task.items()[0], replace(prediction, answer=None, rule="")) == prediction


def test_an_old_record_that_does_not_say_whether_a_reply_was_cut_is_read_as_a_whole() -> None:
    task = make_task([4])
    assert task.reread(task.items()[0], Prediction("q0", None, raw="The answer is E")).answer == 4
    cut = Prediction("q0", None, raw="The answer is E", trace=Trace(notes={"finished": False}))
    assert task.reread(task.items()[0], cut).answer is None


def with_options(count: int) -> MultipleChoiceTask:
    (item,) = make_task([0]).items()
    many = replace(item, options=tuple(f"number {i}" for i in range(count)))
    return MultipleChoiceTask(make_task([0]).info, [many], PROMPTS)


@pytest.mark.parametrize("model", [Writer("A"), Scorer("x", Route.LETTER_LOGPROB)])
def test_more_options_than_letters_are_refused_where_letters_name_them(model: object) -> None:
    with_options(26).check(model)
    with pytest.raises(DataError, match=r"'q0': 27 options, but letters name at most 26; use .*options-loglik"):
        with_options(27).check(model)


def test_the_last_of_many_options_can_win_without_letters() -> None:
    task = with_options(30)
    model = Scorer("29", Route.OPTIONS_LOGLIK)
    task.check(model)
    assert task.predict(model, task.items())[0].answer == 29


def test_no_list_of_options_is_cut_off_at_the_alphabets_end() -> None:
    assert lettered(["x"] * 26).endswith("Z. x")
    with pytest.raises(DataError, match="27 options"):
        lettered(["x"] * 27)
    assert option_names(26)[-1] == "Z"
    assert option_names(30) == tuple(map(str, range(1, 31)))


def test_hidden_answers_leave_accuracy_null_and_the_public_part_under_its_own_name() -> None:
    task = make_task([4, None, 1, None])
    predictions = task.predict(Writer("E"), task.items())
    scores = [task.score(item, p) for item, p in zip(task.items(), predictions, strict=True)]
    metrics = {m.name: m for m in task.summarise(scores, np.random.default_rng(0)).metrics}
    assert (metrics["accuracy"].value, metrics["accuracy"].primary) == (None, True)
    assert (metrics["accuracy_public"].value, metrics["accuracy_public"].n) == (0.5, 2)


def test_choices_are_counted_and_a_collapse_is_a_warning() -> None:
    task = make_task([i % 5 for i in range(40)])
    predictions = [Prediction(item.id, 0 if i < 30 else i % 5, rule="given") for i, item in enumerate(task.items())]
    scores = [task.score(item, p) for item, p in zip(task.items(), predictions, strict=True)]
    summary = task.summarise(scores, np.random.default_rng(0))
    assert summary.details["chosen_counts"] == [32, 2, 2, 2, 2]
    assert summary.details["answer_counts"] == [8, 8, 8, 8, 8]
    assert any("collapse: 32 of 40" in warning for warning in summary.warnings)


def test_answers_spread_over_the_options_are_no_collapse() -> None:
    task = make_task([i % 5 for i in range(40)])
    scores = [task.score(item, Prediction(item.id, i % 5)) for i, item in enumerate(task.items())]
    assert task.summarise(scores, np.random.default_rng(0)).warnings == ()


def test_the_item_set_digest_changes_with_any_text_answer_or_order() -> None:
    items = list(make_task([0, 1]).items())
    digest = item_set_digest(items)
    assert digest != item_set_digest(items[::-1])
    assert digest != item_set_digest([replace(items[0], answer=1), items[1]])
    assert digest != item_set_digest([replace(items[0], question="What?"), items[1]])
