"""The judged-answer family: a language model judges whether a free-text answer means the same as a known one.

A judge is itself a model, and its figure is only as good as its agreement with people. A task's name therefore contains
its judge and prompt, so that figures of different judges are never in one table. If human labels are given, the
agreement with them (accuracy, Cohen's kappa) is reported with the figure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from tasks.answer_text import final_answer
from tasks.digests import text_sha256
from tasks.errors import ModelError
from tasks.family import UNPARSED, Family, ItemText
from tasks.free_answers import FreeItem
from tasks.model import TextGenerator, TextRequest, require
from tasks.prompt import Prompt, load_prompt
from tasks.statistics import fraction_metric, kappa_metric
from tasks.task import Clip, JsonValue, Metric, Prediction, Score, Summary, TaskInfo

NAME = "judged-answer"
JUDGED, AGREEMENT, KAPPA = "judged_accuracy", "judge_agreement", "judge_kappa"
PROMPT, MOST_TOKENS = "judge-answer.v1", 32
YES, NO = "yes", "no"
NO_REPLY = "no reply to judge"
VERDICT = re.compile(
    r"""\W*(?:boxed\W*)?(?:(?:(?:the|my|final)\s)*(?:verdict|answer|judge?ment)(?:\sis)?\b\W*)?(yes|no)\b
        (?=\W*$ | [*_"'`)\]}]*\s*(?:[.,;:!(\u2013\u2014]|-(?!\w)) | [*_"'`)\]}]+\s | \s*\n
           | \s(?:because|since|as|the|it|this|that|they|these|both)\b)
        (?![*_"')\]\s]*\?)""",
    re.IGNORECASE | re.VERBOSE,
)
"""A verdict at the reply's beginning, with a sign behind it: "No difference", "No longer" and "Yes?" are none."""
UNDECIDED = re.compile(
    r"""[\s\W]*(?:(?:or|and|/|\|)\s*)?(?:yes|no)\b | [\s\W]*(?:but|wait|actually|sorry|hmm)\b
        | [\s\W]*i\s(?:can't|cannot|can\snot|don't)\b
        | .*\b(?:correction|on\ssecond\sthoughts?|scratch\sthat|i\smean|let\sme\sre\w*|edit:|update:)""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
"""What takes a verdict back, or gives the other one as well."""
RESERVED = re.compile(
    r"""[\s\W]*(?:however|although|though|if|unless|except|partially|partly|in\spart|almost|nearly|not|somewhat
        | i(?:'m|'ll|\sam|\scan|\swill|\sunderstand|\ssee))\b""",
    re.IGNORECASE | re.VERBOSE,
)
"""What leaves little of a "Yes": "partly", or "I can help"."""
NO_LABELS: Mapping[str, bool] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class JudgedItem:
    """A question with its known answers and a system's reply, which is None if it contained no answer."""

    id: str
    cluster: str
    clip: Clip
    question: str
    answers: tuple[str, ...]
    reply: str | None
    labels: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Judge:
    """A judge: the language model's name, the digest of its weights if known, and its prompt."""

    name: str
    weights_sha256: str | None
    prompt: Prompt

    @property
    def slug(self) -> str:
        """The judge's part of a task's name."""
        return f"{re.sub(r'[^A-Za-z0-9.-]+', '-', self.name).strip('-')}.{self.prompt.name}"

    @property
    def facts(self) -> dict[str, str]:
        """The judge's entries in a run's protocol."""
        weights = {"judge_weights_sha256": self.weights_sha256} if self.weights_sha256 else {}
        return {
            "judge": self.name,
            "judge_prompt": self.prompt.name,
            "judge_prompt_sha256": self.prompt.sha256,
            **weights,
        }


def judged_info(info: TaskInfo, judge: Judge, count: int) -> TaskInfo:
    """Return the info of a task of judged answers: its name contains the judge, its digest covers the judge too."""
    digest = text_sha256(info.items_sha256, judge.name, judge.weights_sha256 or "", judge.prompt.sha256)
    return replace(
        info,
        name=f"{info.name}+judged-{judge.slug}",
        family=NAME,
        item_count=count,
        items_sha256=digest,
        primary_metric=JUDGED,
        chance=0.0,
    )


def judged_items(asked: Sequence[FreeItem], replies: Mapping[str, str | None]) -> list[JudgedItem]:
    """Return the questions that have known answers, with the replies to them."""
    return [
        JudgedItem(item.id, item.cluster, item.clip, item.question, item.answers, replies[item.id], item.labels)
        for item in asked
        if item.answers
    ]


class JudgedTask:
    """Implements the Task API, with the judge as the model. `right` holds human verdicts by item id."""

    def __init__(
        self, info: TaskInfo, items: Sequence[JudgedItem], judge: Judge, right: Mapping[str, bool] = NO_LABELS
    ) -> None:
        self.info = info
        self.judge = judge
        self.right = right
        self._items = tuple(items)

    def items(self) -> Sequence[JudgedItem]:
        return self._items

    def check(self, model: object) -> None:
        require(model, TextGenerator, self.info.name, "to judge in words")

    def protocol(self, model: object) -> Mapping[str, str]:  # noqa: ARG002 - one route for all judges
        return self.judge.facts

    def predict(self, model: object, batch: Sequence[JudgedItem]) -> list[Prediction]:
        if not isinstance(model, TextGenerator):
            raise ModelError(f"{self.info.name} needs a judge that writes text")
        asked = [
            TextRequest(item.id, item.clip, self.asked_of(item), MOST_TOKENS, item.question, (YES, NO))
            for item in batch
            if item.reply is not None
        ]
        replies = dict(zip((r.item_id for r in asked), model.generate(asked) if asked else (), strict=True))
        return [
            self.reread(item, Prediction(item.id, None, replies[item.id].text, trace=replies[item.id].trace))
            if item.id in replies
            else Prediction(item.id, NO, rule=NO_REPLY)
            for item in batch
        ]

    def asked_of(self, item: JudgedItem) -> str:
        """Return the prompt that asks the judge about an item."""
        return self.judge.prompt.fill(
            "user", question=item.question, references=" / or: ".join(item.answers), reply=item.reply or ""
        )

    def reread(self, item: JudgedItem, prediction: Prediction) -> Prediction:
        if item.reply is None:
            return replace(prediction, answer=NO, rule=NO_REPLY)
        verdict = verdict_of(final_answer(prediction.raw))
        return replace(prediction, answer=verdict, rule="first word" if verdict else "unread")

    def score(self, item: JudgedItem, prediction: Prediction) -> Score:
        verdict = prediction.answer
        values = {
            JUDGED: None if verdict is None else float(verdict == YES),
            UNPARSED: float(verdict is None),
        }
        return Score(item.id, item.cluster, verdict, values)

    def summarise(self, scores: Sequence[Score], rng: np.random.Generator) -> Summary:  # noqa: ARG002 - nothing is drawn
        known = [(score, value) for score in scores if (value := score.values[JUDGED]) is not None]
        primary = fraction_metric(JUDGED, [value for _, value in known], [s.cluster for s, _ in known], primary=True)
        unread = fraction_metric(
            "unparsed_rate",
            [score.values[UNPARSED] or 0.0 for score in scores],
            [score.cluster for score in scores],
            higher_is_better=False,
        )
        agreement = self.agreement(known)
        warnings = [*verdict_warnings(primary, len(scores)), *agreement_warnings(agreement, self.judge)]
        details: dict[str, JsonValue] = {"labelled": len(self.right)}
        return Summary((primary, *agreement, unread), details, tuple(warnings))

    def agreement(self, known: Sequence[tuple[Score, float]]) -> tuple[Metric, ...]:
        """Return the judge's agreement with people on the labelled items; empty if there are none."""
        both = [(score, value, self.right[score.item_id]) for score, value in known if score.item_id in self.right]
        if not both:
            return ()
        clusters = [score.cluster for score, *_ in both]
        same = [float(value == right) for _, value, right in both]
        pairs = [(value == 1, right) for _, value, right in both]
        return fraction_metric(AGREEMENT, same, clusters), kappa_metric(KAPPA, pairs, clusters)


def verdict_of(said: str) -> str | None:
    """Return the verdict that a judge's reply begins with and keeps to, None if there is none."""
    found = VERDICT.match(said)
    if found is None or UNDECIDED.match(said, found.end()):
        return None
    verdict = found[1].lower()
    return None if verdict == YES and RESERVED.match(said, found.end()) else verdict


def verdict_warnings(primary: Metric, asked: int) -> list[str]:
    """Warn of verdicts that could not be read and are left out, with the bounds of the figure that includes them."""
    unread = asked - primary.n
    if not unread:
        return []
    right = (primary.value or 0.0) * primary.n
    told = (
        f"{unread} of {asked} verdicts could not be read and count neither way: with them the figure would be between "
        f"{right / asked:.1%} and {(right + unread) / asked:.1%}"
    )
    return [told]


def agreement_warnings(agreement: Sequence[Metric], judge: Judge) -> list[str]:
    """Warn if the judge's agreement with people is unknown or not shown to be better than chance."""
    if not agreement:
        told = (
            f"how far {judge.name} ({judge.prompt.name}) agrees with people on these answers is not known: "
            f"label some and judge again with --labels"
        )
        return [told]
    kappa = agreement[-1]
    if kappa.value is None or kappa.interval is None or kappa.interval[0] <= 0:
        return [f"{judge.name} is not shown to agree with the labels more than by chance: do not believe its figure"]
    return []


def words(item: JudgedItem) -> ItemText:
    """Describe a question, the reply and the known answers in words."""
    said = "nothing" if item.reply is None else f"“{item.reply}”"
    return ItemText(title=f"{item.question} Reply: {said}", references=item.answers)


FAMILY = Family(
    name=NAME,
    terms=(
        (
            "judged accuracy",
            "the share of answers that a language model, the judge, finds to mean the same as a known answer.",
        ),
        (
            "judge agreement, kappa",
            "how often the judge's verdict equals people's, and Cohen's kappa: 1 is full agreement, 0 that of chance.",
        ),
    ),
    beside={JUDGED: (AGREEMENT, KAPPA)},
    item_score=JUDGED,
    right_or_wrong=True,
    needs_blind=True,
    show=words,
)


def load_judge_prompt() -> Prompt:
    """Load the current version of the judge's prompt."""
    return load_prompt("tasks", PROMPT)
