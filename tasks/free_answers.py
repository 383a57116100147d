"""The free-answer family: a question about a clip, answered in the model's own words, scored against known answers.

Exact match and token F1 are SQuAD's (Rajpurkar et al. 2016): case, punctuation and the articles a, an, the don't count,
and the best of several known answers counts. Both miss paraphrases: a low figure may be a right answer in other words.
A question without known answers is asked and recorded, but not scored.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tasks.answer_text import final_answer
from tasks.digests import text_sha256
from tasks.errors import ModelError
from tasks.family import UNPARSED, UNPARSED_RATE, Family, Floor, ItemText
from tasks.model import TextGenerator, TextRequest, require
from tasks.prompt import Prompt, load_prompt
from tasks.registry import models
from tasks.statistics import LEVEL, fraction_metric
from tasks.task import Clip, JsonValue, Metric, Prediction, Score, Summary, TaskInfo
from tasks.tokenizers import is_unsplit

NAME = "free-answer"
F1, EXACT, UNSCORED = "token_f1", "exact_match", "unscored"
PROMPT, MOST_TOKENS = "own-answer.v1", 256
SHORT_PROMPT = "own-short-answer.v1"
CANDIDATES = 50
"""Our choice: the best constant answer is chosen among this many of the most frequent ones."""
ARTICLES = re.compile(r"\b(?:a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True)
class FreeItem:
    """A question about a clip, with the answers known to be right, if any."""

    id: str
    cluster: str
    clip: Clip
    question: str
    answers: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict, compare=False)


def words_of(text: str) -> list[str]:
    """Split an answer into words as SQuAD does, with all of Unicode's punctuation and one spelling of each character.

    An answer of nothing but articles or signs ("A", "+") is a word itself, which SQuAD counts as equal to any other.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    bare = "".join(letter for letter in plain.translate(PUNCTUATION) if unicodedata.category(letter)[0] != "P")
    return ARTICLES.sub(" ", bare).split() or bare.split() or plain.split()


def is_wordless(text: str) -> bool:
    """Whether a reply has neither letter nor digit, nor any other sign that could be an answer."""
    return all(unicodedata.category(letter)[0] in "PZC" for letter in text)


def exact_match(said: str, known: Sequence[str]) -> float:
    """Return 1 if the words are those of a known answer, else 0."""
    words = words_of(said)
    return float(any(words == words_of(answer) for answer in known))


def token_f1(said: str, known: Sequence[str]) -> float:
    """Return the token F1 with the best-matching known answer."""
    return max((overlap(words_of(said), words_of(answer)) for answer in known), default=0.0)


def overlap(said: Sequence[str], known: Sequence[str]) -> float:
    """Return the F1 of two lists of words; 1 for two empty ones, as in SQuAD."""
    if not said or not known:
        return float(not said and not known)
    common = (Counter(said) & Counter(known)).total()
    return 2 * common / (len(said) + len(known))


class FreeAnswerTask:
    """Implements the Task API for one benchmark's questions; `prompt` names a file in tasks/prompts, or is a prompt."""

    def __init__(
        self, info: TaskInfo, items: Sequence[FreeItem], prompt: str | Prompt = PROMPT, max_tokens: int = MOST_TOKENS
    ) -> None:
        self.info = info
        self.prompt = prompt if isinstance(prompt, Prompt) else load_prompt("tasks", prompt)
        self.max_tokens = max_tokens
        self._items = tuple(items)

    def items(self) -> Sequence[FreeItem]:
        return self._items

    def check(self, model: object) -> None:
        try:
            require(model, TextGenerator, self.info.name, "to answer in words")
        except ModelError as error:
            able = [entry.name for entry in models().entries.values() if NAME in entry.families]
            raise ModelError(f"{error}; models that do: {', '.join(able)}") from None

    def protocol(self, model: object) -> Mapping[str, str]:  # noqa: ARG002 - one route for all models
        return {"route": "generate", "prompt": self.prompt.name, "prompt_sha256": self.prompt.sha256}

    def predict(self, model: object, batch: Sequence[FreeItem]) -> list[Prediction]:
        if not isinstance(model, TextGenerator):
            raise ModelError(f"{self.info.name} needs a model that writes text")
        asked = [
            TextRequest(
                item.id,
                item.clip,
                self.prompt.fill("user", question=item.question),
                self.max_tokens,
                question=item.question,
            )
            for item in batch
        ]
        return [
            self.reread(item, Prediction(item.id, None, reply.text, trace=reply.trace))
            for item, reply in zip(batch, model.generate(asked), strict=True)
        ]

    def reread(self, item: FreeItem, prediction: Prediction) -> Prediction:  # noqa: ARG002 - the reply says it all
        return replace(prediction, answer=final_answer(prediction.raw) or None, rule="reply without its reasoning")

    def score(self, item: FreeItem, prediction: Prediction) -> Score:
        if not item.answers:
            return Score(item.id, item.cluster, prediction.answer, {UNSCORED: None})
        said = "" if prediction.answer is None else str(prediction.answer)
        exact = exact_match(said, item.answers)
        unread = is_wordless(said) and not exact
        values = {
            F1: 0.0 if unread else token_f1(said, item.answers),
            EXACT: exact,
            UNPARSED: float(unread),
        }
        return Score(item.id, item.cluster, prediction.answer, values)

    def summarise(self, scores: Sequence[Score], rng: np.random.Generator) -> Summary:  # noqa: ARG002 - nothing is drawn
        scored = [score for score in scores if F1 in score.values]
        if self.info.primary_metric == UNSCORED:
            count = len(scores)
            none = Metric(UNSCORED, None, None, LEVEL, "none (free words)", count, count, True, True)
            return Summary((none,))
        clusters = [score.cluster for score in scored]

        def mean(name: str, score: str, *, primary: bool = False, higher: bool = True) -> Metric:
            values = [score_.values[score] or 0.0 for score_ in scored]
            return fraction_metric(name, values, clusters, primary=primary, higher_is_better=higher)

        metrics = (mean(F1, F1, primary=True), mean(EXACT, EXACT), mean(UNPARSED_RATE, UNPARSED, higher=False))
        details: dict[str, JsonValue] = {"questions without a known answer": len(scores) - len(scored)}
        known = {item.id: item.answers for item in self._items}
        unsplit = sum(any(is_unsplit(words_of(answer)) for answer in known[score.item_id]) for score in scored)
        told = f"{unsplit} of {len(scored)} questions have known answers in a script without spaces"
        warnings = (f"{told}: each run of it counts as one word, so that {F1} says little",) if unsplit else ()
        return Summary(metrics, details, warnings)


def free_question(item: FreeItem) -> FreeAnswerTask:
    """Make the task of a single question from the command line, without a known answer."""
    digest = text_sha256(item.clip.video_id, f"{item.clip.end!r}", item.question)
    info = TaskInfo(
        name=f"own-{digest[:8]}@1",
        family=NAME,
        version="1",
        item_count=1,
        items_sha256=digest,
        primary_metric=UNSCORED,
        chance=0.0,
        cluster="video",
        source="the command line",
        licence="the question's owner's",
        citation="none",
    )
    return FreeAnswerTask(info, [item])


def constant_answer(task: FreeAnswerTask, items: Sequence[FreeItem], seed: int) -> Iterator[Floor]:  # noqa: ARG001
    """Yield the floor of the best constant answer, chosen in hindsight among the frequent ones."""
    known = [item for item in items if item.answers]
    frequent = Counter(answer for item in known for answer in set(item.answers)).most_common(CANDIDATES)
    if not frequent:
        return

    def mean(answer: str) -> float:
        return sum(token_f1(answer, item.answers) for item in known) / len(known)

    best = max((answer for answer, _ in frequent), key=mean)
    scores = [task.score(item, Prediction(item.id, best)) for item in known]
    metrics = task.summarise(scores, np.random.default_rng(0)).metrics
    yield Floor(f"constant ('{best}')", metrics[0], metrics[1:2])


def words(item: FreeItem) -> ItemText:
    """Describe a question and its known answers."""
    return ItemText(title=item.question, references=item.answers)


FAMILY = Family(
    name=NAME,
    terms=(
        ("token F1", "how many words an answer shares with a known one, of which the best fitting counts (SQuAD's)."),
        (
            "exact match",
            "the share of answers with the words of a known one; case, punctuation and articles do not count.",
        ),
    ),
    beside={F1: (EXACT,)},
    item_score=F1,
    needs_blind=True,
    show=words,
    floors=constant_answer,
)
