"""The multiple-choice family: a question with k options, one of them right. A result names its route."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from copy import copy
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import isfinite
from statistics import fmean, stdev
from string import ascii_uppercase
from types import MappingProxyType
from typing import TYPE_CHECKING, Self, TypeVar

from tasks.digests import rows_sha256, text_sha256
from tasks.errors import DataError, ModelError
from tasks.family import Answers, Common, Family, ItemText, Means, Predictions, PredictionsFile, means
from tasks.model import (
    ChoiceScorer,
    Chooser,
    OptionRequest,
    QueryVideoEncoder,
    TextGenerator,
    TextRequest,
    VideoTextEncoder,
    require,
)
from tasks.prompt import Prompt, load_prompt
from tasks.routes import MAX_OPTIONS, Route
from tasks.task import (
    Clip,
    FramesSeen,
    JsonValue,
    Metric,
    Prediction,
    Score,
    Summary,
    TaskInfo,
    Trace,
    seconds_together,
)

if TYPE_CHECKING:
    import numpy as np

REPLY_TOKENS = 64
LETTER_ROUTES = frozenset({Route.LETTER_LOGPROB, Route.GENERATE})
TOO_MANY_FOR_LETTERS = f"letters name at most {MAX_OPTIONS}; use -M route=options-loglik"
COLLAPSE_SHARE = 0.5
COLLAPSE_MIN_ANSWERS = 20
ROTATED_ROUTES = LETTER_ROUTES | {Route.GIVEN}
SAMPLED_ROUTES = frozenset({Route.GENERATE, Route.GIVEN})
ROTATION = "+r"
"""Separates a question's id from the number of positions that its options are rotated by."""
REPEAT = "+n"
"""Separates the id of a question, or of one of its rotations, from the index of its repeat, from 0."""
RIGHT_PLACE = "place of the right option"
REPEATED = "repeat"
MAJORITY, SAME_ANSWER, DEVIATION = "majority_accuracy", "same_answer", "deviation_between_repeats"
RIGHT_IN_ALL = "right_in_all_rotations"
EVIDENCE = "evidence_seen"
"""The share of an item's evidence segments in which frames were seen."""
NO_GROUPS: Mapping[str, str] = MappingProxyType({})
RequestT = TypeVar("RequestT", TextRequest, OptionRequest)


CAPABILITY_OF_ROUTE: Mapping[Route, type] = {
    Route.SIMILARITY: VideoTextEncoder,
    Route.OPTIONS_LOGLIK: ChoiceScorer,
    Route.LETTER_LOGPROB: ChoiceScorer,
    Route.GENERATE: TextGenerator,
    Route.GIVEN: Chooser,
}


@dataclass(frozen=True, slots=True)
class ChoiceItem:
    """A question about a clip; `answer` is an index into `options`, None if it is not public.

    An index that no option has (-1) means that none of them is right: every choice is wrong. `evidence` holds the
    segments of the video, in seconds, that the answer depends on, if the benchmark gives them. Like labels they are
    part of no question and no digest. `draw` is the index of the repeat, from 0.
    """

    id: str
    cluster: str
    clip: Clip
    question: str
    options: tuple[str, ...]
    answer: int | None
    labels: Mapping[str, str] = field(default_factory=dict, compare=False)
    evidence: tuple[tuple[float, float], ...] = field(default=(), compare=False)
    draw: int = field(default=0, compare=False)

    @property
    def right_option(self) -> int | None:
        """Index of the right option; None if the answer is not public or no option is right."""
        return self.answer if self.answer is not None and 0 <= self.answer < len(self.options) else None


@dataclass(frozen=True, slots=True)
class ChoicePrompts:
    """The benchmark's prompts, one per route that needs words: names of files in tasks/prompts, or prompts."""

    similarity: str | Prompt
    loglik: str | Prompt
    letter: str | Prompt
    generate: str | Prompt

    def of(self, route: Route) -> Prompt | None:
        """The prompt of a route, None for `given`."""
        prompts = {
            Route.SIMILARITY: self.similarity,
            Route.OPTIONS_LOGLIK: self.loglik,
            Route.LETTER_LOGPROB: self.letter,
            Route.GENERATE: self.generate,
        }
        found = prompts.get(route)
        return load_prompt("tasks", found) if isinstance(found, str) else found


def item_set_digest(items: Sequence[ChoiceItem]) -> str:
    """Digest everything that defines the items, in order: questions, answers and clips."""
    return rows_sha256(
        [i.id, i.cluster, i.clip.video_id, i.clip.start, i.clip.end, i.question, list(i.options), i.answer]
        for i in items
    )


def question_set_digest(items: Sequence[ChoiceItem]) -> str:
    """Digest the items without the clips, for published benchmarks, where a question's id determines its clip."""
    return rows_sha256([i.id, i.cluster, i.question, list(i.options), i.answer] for i in items)


def route_of(model: object) -> Route:
    """Return the route of a model's `route` attribute, else the one that its capability implies."""
    wanted = getattr(model, "route", None)
    if wanted is not None:
        try:
            return Route(str(wanted))
        except ValueError:
            msg = f"unknown route '{wanted}'; routes are {', '.join(Route)}"
            raise ModelError(msg) from None
    for route, capability in CAPABILITY_OF_ROUTE.items():
        if isinstance(model, capability):
            return route
    return Route.GENERATE


def by_length(options: Sequence[Sized], pick: Callable[[Iterable[int]], int]) -> int:
    """Return the index of the longest option (texts in characters), or with `pick=min` the shortest; ties: first."""
    lengths = [len(option) for option in options]
    return lengths.index(pick(lengths))


def letters_for(count: int) -> str:
    """Return the letters that name `count` options, from A. Raises DataError beyond Z."""
    if count > MAX_OPTIONS:
        msg = f"{count} options: {TOO_MANY_FOR_LETTERS}"
        raise DataError(msg)
    return ascii_uppercase[:count]


def option_names(count: int) -> tuple[str, ...]:
    """Return the names of `count` options in reports: letters, or numbers from 1 if there are too few letters."""
    return tuple(ascii_uppercase[:count]) if count <= MAX_OPTIONS else tuple(map(str, range(1, count + 1)))


def lettered(options: Sequence[str]) -> str:
    """List the options, one line each: `A. first`. Raises DataError if there are too few letters."""
    return "\n".join(f"{letter}. {text}" for letter, text in zip(letters_for(len(options)), options, strict=True))


class MultipleChoiceTask:
    """Implements the Task API for one benchmark's items, prompts and info.

    The primary figure is the accuracy over items, or with `mean_over` the mean of the accuracies of that label's
    groups, which weighs groups equally; every item must have the label, and the figure's name is
    `mean_name(mean_over)`. A task `with_subtitles` accepts only models that say they read a clip's subtitles
    (`reads_subtitles`). `interleaved`: by the benchmark's protocol, subtitles are placed among the frames, in order of
    time.
    """

    def __init__(
        self,
        info: TaskInfo,
        items: Sequence[ChoiceItem],
        prompts: ChoicePrompts,
        mean_over: str | None = None,
        *,
        with_subtitles: bool = False,
        interleaved: bool = False,
    ) -> None:
        self.with_subtitles = with_subtitles
        self.interleaved = interleaved
        self.info = info
        self.prompts = prompts
        self.mean_over = mean_over
        self.rotations = self.repeats = 0
        self._take(items)

    def _take(self, items: Sequence[ChoiceItem]) -> None:
        self._items = tuple(items)
        label = self.mean_over
        self.groups = {} if label is None else {item.id: item.labels[label] for item in self._items}

    def items(self) -> Sequence[ChoiceItem]:
        return self._items

    def rotated(self, count: int | None = None) -> Self:
        """Return the task that asks each question `count` times (ours), with options rotated by 0, 1, … positions.

        Every rotation is an item in its question's cluster, so that intervals keep a question's answers together.
        Without a count each option is in each position once; all questions then need the same number of options.

        Raises DataError for a count below 2 or above the fewest options of a question, or if a count is required.
        """
        sizes = sorted({len(item.options) for item in self._items})
        if count is None and sizes[0] < sizes[-1]:
            msg = f"its questions have {sizes[0]} to {sizes[-1]} options; say how many rotations, at most {sizes[0]}"
            raise DataError(f"{self.info.name}: {msg}")
        if count is not None and not 2 <= count <= sizes[0]:
            msg = f"rotations must be from 2 to {sizes[0]}, the fewest options of a question, not {count}"
            raise DataError(f"{self.info.name}: {msg}")
        times = count or sizes[0]
        name = f"{self.info.name}+rotations{'' if count is None else f'-{count}'}"
        other = copy(self)
        other.rotations = times
        other._take([moved_on(item, shift) for item in self._items for shift in range(times)])  # noqa: SLF001 - its own
        digest = text_sha256(self.info.items_sha256, str(times))
        other.info = replace(self.info, name=name, item_count=times * self.info.item_count, items_sha256=digest)
        return other

    def repeated(self, times: int) -> Self:
        """Return the task that asks each question several times, for models that sample their answers.

        Every repeat is an item in its question's cluster, so that intervals keep a question's answers together.
        """
        other = copy(self)
        other.repeats = times
        other._take([asked_again(item, draw) for item in self._items for draw in range(times)])  # noqa: SLF001 - its own
        other.info = replace(
            self.info,
            name=f"{self.info.name}+repeats-{times}",
            item_count=times * self.info.item_count,
            items_sha256=text_sha256(self.info.items_sha256, "repeats", str(times)),
        )
        return other

    def check_route(self, route: str | None) -> None:
        """Raise DataError if `route` names options by letters and an item has too many.

        It needs no model, so that an impossible run is refused before weights are loaded.
        """
        if route not in LETTER_ROUTES:
            return
        for item in self._items:
            if len(item.options) > MAX_OPTIONS:
                msg = (
                    f"{self.info.source}, question '{item.id}': {len(item.options)} options, but {TOO_MANY_FOR_LETTERS}"
                )
                raise DataError(msg)

    def check(self, model: object) -> None:
        route = route_of(model)
        self.check_route(route)
        if self.rotations and route not in ROTATED_ROUTES:
            msg = (
                f"{self.info.name} rotates the options, and the route {route} does not list them: use "
                f"{' or '.join(f'-M route={letters}' for letters in sorted(LETTER_ROUTES))}"
            )
            raise ModelError(msg)
        if self.repeats and (route not in SAMPLED_ROUTES or not getattr(model, "is_sampled", False)):
            name = getattr(getattr(model, "info", None), "name", type(model).__name__)
            msg = (
                f"{self.info.name} asks each question {self.repeats} times, and '{name}' answers the same every time: "
                f"--repeats is for models that sample their answers: use -M route={Route.GENERATE} and -M temperature= "
                f"above 0 (a class of your own declares it with is_sampled = True)"
            )
            raise ModelError(msg)
        by_query = route is Route.SIMILARITY and isinstance(model, QueryVideoEncoder)
        capability = QueryVideoEncoder if by_query else CAPABILITY_OF_ROUTE[route]
        require(model, capability, self.info.name, f"for the route {route}")
        if self.with_subtitles and not getattr(model, "reads_subtitles", False):
            msg = (
                f"{self.info.name} is with subtitles, and the model does not read them (it has no attribute "
                f"'reads_subtitles'): use the pool without subtitles"
            )
            raise ModelError(msg)

    def protocol(self, model: object) -> Mapping[str, str]:
        route = route_of(model)
        prompt = self.prompts.of(route)
        named = {"route": str(route)}
        if prompt is not None:
            named |= {"prompt": prompt.name, "prompt_sha256": prompt.sha256}
        if route is Route.GENERATE:
            from tasks.answer_parser import PARSER_VERSION

            named["parser"] = PARSER_VERSION
        if self.rotations:
            named["rotations"] = str(self.rotations)
        if self.repeats:
            named["repeats"] = str(self.repeats)
        return named

    def predict(self, model: object, batch: Sequence[ChoiceItem]) -> list[Prediction]:
        route = route_of(model)
        prompt = self.prompts.of(route)
        # The route is checked first: checking for a protocol's methods takes longer than a cheap model's answer.
        if route is Route.SIMILARITY and prompt and isinstance(model, VideoTextEncoder | QueryVideoEncoder):
            return by_similarity(model, batch, prompt)
        if route is Route.OPTIONS_LOGLIK and prompt and isinstance(model, ChoiceScorer):
            return by_likelihood(model, [self._placed(loglik_request(item, prompt)) for item in batch])
        if route is Route.LETTER_LOGPROB and prompt and isinstance(model, ChoiceScorer):
            return by_likelihood(model, [self._placed(letter_request(item, prompt)) for item in batch])
        if route is Route.GENERATE and prompt and isinstance(model, TextGenerator):
            return by_generation(model, batch, [self._placed(text_request(item, prompt)) for item in batch])
        if route is Route.GIVEN and isinstance(model, Chooser):
            chosen = model.choose([bare_request(item) for item in batch])
            return [
                Prediction(item.id, index, raw=str(index), rule="given")
                for item, index in zip(batch, chosen, strict=True)
            ]
        self.check(model)
        msg = f"{self.info.name} can't ask this model by the route {route}"
        raise ModelError(msg)

    def _placed(self, request: RequestT) -> RequestT:
        """Add the placement of subtitles to a request."""
        return replace(request, interleaved=True) if self.interleaved else request

    def reread(self, item: ChoiceItem, prediction: Prediction) -> Prediction:
        if prediction.rule == "given":
            return prediction
        if prediction.option_scores:
            answer, rule = best_option(item.id, prediction.option_scores)
            return replace(prediction, answer=answer, rule=rule)
        from tasks.answer_parser import parse_choice

        # Replies in imported records, and in records from before `finished` was kept, are assumed to be complete.
        finished = prediction.trace.notes.get("finished") is not False
        parsed = parse_choice(prediction.raw, item.options, finished=finished)
        return replace(prediction, answer=parsed.answer, rule=parsed.rule)

    def score(self, item: ChoiceItem, prediction: Prediction) -> Score:
        values = {
            "accuracy": None if item.answer is None else correctness(item, prediction.answer),
            "unparsed": float(prediction.answer is None),
        }
        if self.mean_over is not None:
            values[self.info.primary_metric] = values["accuracy"]
        if (share := evidence_share(item, prediction.trace.frames)) is not None:
            values[EVIDENCE] = share
        return Score(item.id, item.cluster, prediction.answer, values)

    def summarise(self, scores: Sequence[Score], rng: np.random.Generator) -> Summary:  # noqa: ARG002 - nothing is drawn
        summary = summarise_choices(scores, self._items, self.info, self.groups)
        if self.repeats:
            summary = with_repeats(summary, scores, {item.id: item for item in self._items}, self.repeats)
        return with_right_in_all(summary, scores, self.rotations * max(1, self.repeats)) if self.rotations else summary


def moved_on(item: ChoiceItem, shift: int) -> ChoiceItem:
    """Return a question with its options rotated by `shift` positions."""
    count = len(item.options)
    options = tuple(item.options[(place - shift) % count] for place in range(count))
    answer, labels = item.answer, dict(item.labels)
    if item.right_option is not None:
        answer = (item.right_option + shift) % count
        labels[RIGHT_PLACE] = option_names(count)[answer]
    return replace(item, id=f"{item.id}{ROTATION}{shift}", options=options, answer=answer, labels=labels)


def asked_again(item: ChoiceItem, draw: int) -> ChoiceItem:
    """Return a question as the item of its repeat `draw`, from 0."""
    labels = {**item.labels, REPEATED: str(draw + 1)}
    return replace(item, id=f"{item.id}{REPEAT}{draw}", labels=labels, draw=draw)


def asked_once(item_id: str) -> str:
    """Return the id without the repeat: of the question, or of its rotation."""
    asked, mark, draw = item_id.rpartition(REPEAT)
    return asked if mark and draw.isdigit() else item_id


def question_id(item_id: str) -> str:
    """Return the question's id, without the rotation and the repeat."""
    item_id = asked_once(item_id)
    question, mark, shift = item_id.rpartition(ROTATION)
    return question if mark and shift.isdigit() else item_id


def with_repeats(summary: Summary, scores: Sequence[Score], items: Mapping[str, ChoiceItem], repeats: int) -> Summary:
    """Add to a summary the accuracy of the majority answer, the answers' agreement, and the spread between repeats.

    Only questions that were answered in every repeat count.
    """
    from tasks.statistics import fraction_metric

    asked: dict[str, list[Score]] = {}
    for score in scores:
        asked.setdefault(asked_once(score.item_id), []).append(score)
    whole = [times for times in asked.values() if len(times) == repeats]
    known = [times for times in whole if all(score.values["accuracy"] is not None for score in times)]
    majority = [majority_share([score.answer for score in times], items[times[0].item_id]) for times in known]
    same = [pairs_alike([score.answer for score in times]) for times in whole]
    metrics = (
        fraction_metric(MAJORITY, majority, [times[0].cluster for times in known]),
        fraction_metric(SAME_ANSWER, same, [times[0].cluster for times in whole]),
    )
    by_draw: dict[int, list[float]] = {}
    for score in (score for times in known for score in times):
        by_draw.setdefault(items[score.item_id].draw, []).append(score.values["accuracy"] or 0.0)
    means = [fmean(by_draw[draw]) for draw in sorted(by_draw)]
    details: dict[str, JsonValue] = {**summary.details, "accuracy_by_repeat": list(means)}
    if len(means) > 1:
        details[DEVIATION] = stdev(means)
    return replace(summary, metrics=(*summary.metrics, *metrics), details=details)


def majority_share(answers: Sequence[int | str | None], item: ChoiceItem) -> float:
    """Return the share of right ones among the most frequent answers: 1 or 0, or a fraction if several are tied."""
    counts = Counter(answers)
    most = [answer for answer, count in counts.items() if count == max(counts.values())]
    return float(item.right_option is not None and item.right_option in most) / len(most)


def pairs_alike(answers: Sequence[int | str | None]) -> float:
    """Return the share of pairs of answers that are the same; replies that could not be read match nothing."""
    total = len(answers) * (len(answers) - 1)
    alike = sum(count * (count - 1) for answer, count in Counter(answers).items() if answer is not None)
    return alike / total


def with_right_in_all(summary: Summary, scores: Sequence[Score], rotations: int) -> Summary:
    """Add the share of questions that are answered correctly in every rotation to a summary.

    Only questions whose rotations were all answered count.
    """
    from tasks.statistics import fraction_metric

    questions: dict[str, list[Score]] = {}
    for score in scores:
        questions.setdefault(question_id(score.item_id), []).append(score)
    whole = [asked for asked in questions.values() if len(asked) == rotations]
    known = [asked for asked in whole if all(score.values["accuracy"] is not None for score in asked)]
    values = [float(all(score.values["accuracy"] for score in asked)) for asked in known]
    metric = fraction_metric(RIGHT_IN_ALL, values, [asked[0].cluster for asked in known])
    return replace(summary, metrics=(*summary.metrics, metric))


def loglik_request(item: ChoiceItem, prompt: Prompt) -> OptionRequest:
    """Score the options' own words; they are not listed in the prompt."""
    return OptionRequest(
        item_id=item.id,
        clip=item.clip,
        prompt=prompt.fill("user", question=item.question),
        reply_start=prompt.fill("reply"),
        options=tuple(f" {text.strip()}" for text in item.options),
        question=item.question,
    )


def letter_request(item: ChoiceItem, prompt: Prompt) -> OptionRequest:
    """Score the letters; the options are listed in the prompt."""
    return OptionRequest(
        item_id=item.id,
        clip=item.clip,
        prompt=prompt.fill("user", question=item.question, options=lettered(item.options)),
        reply_start=prompt.fill("reply"),
        options=tuple(f" {letter}" for letter in letters_for(len(item.options))),
        question=item.question,
    )


def bare_request(item: ChoiceItem) -> OptionRequest:
    """Return the bare question, for models that don't read prompts."""
    return OptionRequest(item.id, item.clip, item.question, "", item.options, item.question)


def best_option(item_id: str, scores: Sequence[float]) -> tuple[int, str]:
    """Return the index of the highest score, with a rule that notes ties, won by the first.

    Raises DataError for NaN and infinity: options that all have a likelihood of zero would tie.
    """
    if not all(map(isfinite, scores)):
        msg = f"item {item_id}: an option's score is not a finite number: {', '.join(f'{score:g}' for score in scores)}"
        raise DataError(msg)
    best = max(range(len(scores)), key=scores.__getitem__)
    tied = sum(score == scores[best] for score in scores) > 1
    return best, "argmax (tie: first)" if tied else "argmax"


def by_similarity(
    model: VideoTextEncoder | QueryVideoEncoder, batch: Sequence[ChoiceItem], prompt: Prompt
) -> list[Prediction]:
    """Answer by EgoSchema's dual-encoder route: a text per option; the one most similar to the video wins.

    A model that embeds a video given a query gets the bare question (our choice): with an option in it, each option
    would choose the frames.
    """
    clips = [item.clip for item in batch]
    if isinstance(model, QueryVideoEncoder):
        videos = model.embed_video_for(clips, [item.question for item in batch])
    else:
        videos = model.embed_video(clips)
    predictions = []
    for item, vector, trace in zip(batch, videos.vectors, videos.traces, strict=True):
        texts = [prompt.fill("text", question=item.question, option=text.lower()) for text in item.options]
        embedded = model.embed_text(texts)
        if embedded.vectors.shape[1:] != vector.shape:
            lengths = f"{vector.shape[-1]} dimensions, that of a text {embedded.vectors.shape[-1]}"
            raise ModelError(f"item {item.id}: the video's vector has {lengths}: they can't be compared")
        scores = tuple(float(s) for s in embedded.vectors @ vector)
        answer, rule = best_option(item.id, scores)
        notes = {**embedded.traces[0].notes, **trace.notes}
        seconds = {**trace.seconds, **seconds_together(embedded.traces)}
        seen = replace(trace, prompt_sha256=text_sha256(*texts), notes=notes, seconds=seconds)
        predictions.append(Prediction(item.id, answer, rule=rule, option_scores=scores, trace=seen))
    return predictions


def by_likelihood(model: ChoiceScorer, requests: Sequence[OptionRequest]) -> list[Prediction]:
    """Choose the continuation with the highest mean log-likelihood per token."""
    predictions = []
    for request, weighed in zip(requests, model.score_options(requests), strict=True):
        answer, rule = best_option(request.item_id, weighed.scores)
        predictions.append(
            Prediction(request.item_id, answer, rule=rule, option_scores=weighed.scores, trace=weighed.trace)
        )
    return predictions


def text_request(item: ChoiceItem, prompt: Prompt) -> TextRequest:
    """Ask for a letter; the options are listed in the prompt."""
    return TextRequest(
        item_id=item.id,
        clip=item.clip,
        prompt=prompt.fill("user", question=item.question, options=lettered(item.options)),
        max_tokens=REPLY_TOKENS,
        question=item.question,
        choices=tuple(letters_for(len(item.options))),
        draw=item.draw,
    )


def by_generation(
    model: TextGenerator, batch: Sequence[ChoiceItem], requests: Sequence[TextRequest]
) -> list[Prediction]:
    """Answer by free text, parsed by the parser's named rules."""
    from tasks.answer_parser import parse_choice

    predictions = []
    for item, reply in zip(batch, model.generate(requests), strict=True):
        parsed = parse_choice(reply.text, item.options, finished=reply.finished)
        trace: Trace = replace(reply.trace, notes={**reply.trace.notes, "finished": reply.finished})
        predictions.append(Prediction(item.id, parsed.answer, reply.text, parsed.rule, trace=trace))
    return predictions


def mean_name(label: str) -> str:
    """Return the name of the mean of accuracies over a label's groups."""
    return f"accuracy_by_{'_'.join(label.split())}"


def chance_of(items: Sequence[ChoiceItem], label: str | None = None) -> float:
    """Return the expected score of a uniformly random answer: over items, or the mean over a label's groups."""
    groups: dict[str, Counter[int]] = {}
    for item in items:
        groups.setdefault(item.labels[label] if label else "", Counter())[len(item.options)] += 1
    # Computed exactly: with five options everywhere it is 0.2 to the last bit, as in earlier records.
    means = (sum(Fraction(count, size) for size, count in sizes.items()) / sizes.total() for sizes in groups.values())
    return float(sum(means) / len(groups))


def correctness(item: ChoiceItem, answer: int | str | None) -> float:
    """Return 1 if the answer is the item's right option, else 0; the item's answer must be public."""
    right = item.right_option
    return float(right is not None and answer == right)


def primary_accuracy(
    items: Sequence[Score] | Sequence[ChoiceItem], values: Sequence[float], info: TaskInfo, groups: Sequence[str]
) -> Metric:
    """Return the primary figure of items by their values; `groups` holds the items' groups if it averages over them."""
    from tasks.statistics import fraction_metric, grouped_metric

    clusters = [item.cluster for item in items]
    if not groups:
        return fraction_metric("accuracy", values, clusters, primary=True)
    return grouped_metric(info.primary_metric, values, clusters, groups, primary=True)


def summarise_choices(
    scores: Sequence[Score], items: Sequence[ChoiceItem], info: TaskInfo, groups: Mapping[str, str] = NO_GROUPS
) -> Summary:
    """Summarise accuracy, unparsed rate and how often each option was chosen, with a warning if one dominates."""
    from tasks.answer_parser import PARSER_VERSION
    from tasks.statistics import fraction_metric

    known = [(s, v) for s in scores if (v := s.values["accuracy"]) is not None]
    values = [value for _, value in known]
    its_groups = [groups[score.item_id] for score, _ in known] if groups else []
    public = primary_accuracy([score for score, _ in known], values, info, its_groups)
    beside = [fraction_metric("accuracy", values, [score.cluster for score, _ in known])] if groups else []
    unparsed = fraction_metric(
        "unparsed_rate",
        [float(s.values["unparsed"] or 0.0) for s in scores],
        [s.cluster for s in scores],
        higher_is_better=False,
    )
    beside += evidence_metrics(known)
    metrics = [public, *beside, unparsed]
    warnings = []
    if len(known) < len(scores):
        hidden = replace(public, value=None, interval=None, method="none (answers not public)", n=len(scores))
        name = f"{public.name}_public"
        beside = [replace(metric, name=f"{metric.name}_public") for metric in beside]
        metrics = [hidden, replace(public, name=name, primary=False), *beside, unparsed]
        warnings.append(
            f"answers are public for {len(known)} of {len(scores)} items: {public.name} stays null until an "
            f"official score is set; {name} is on the public ones only"
        )
    chosen = Counter(s.answer for s in scores if s.answer is not None)
    warnings += collapse_warning(chosen)
    if unparsed.value:
        warnings.append(f"{unparsed.value:.1%} of replies could not be read; they count as wrong")
    scored = {s.item_id for s, _ in known}
    options = max((len(item.options) for item in items), default=0)
    truth = Counter(item.answer for item in items if item.id in scored)
    details: dict[str, JsonValue] = {
        "chosen_counts": [chosen.get(i, 0) for i in range(options)],
        "answer_counts": [truth.get(i, 0) for i in range(options)],
        "unparsed": sum(s.answer is None for s in scores),
        "chance": info.chance,
        "parser": PARSER_VERSION,  # the one that read the replies for these figures, whenever they were recorded
    }
    return Summary(tuple(metrics), details, tuple(warnings))


def evidence_share(item: ChoiceItem, frames: FramesSeen | None) -> float | None:
    """Return the share of an item's evidence segments in which a frame was seen; None if either is unknown."""
    if not item.evidence or frames is None or not frames.seconds:
        return None
    return sum(any(a <= second <= b for second in frames.seconds) for a, b in item.evidence) / len(item.evidence)


def evidence_metrics(known: Sequence[tuple[Score, float]]) -> list[Metric]:
    """Return the share of evidence seen, and the accuracy with some of it seen and with none."""
    from tasks.statistics import fraction_metric

    told = [(score, value, share) for score, value in known if (share := score.values.get(EVIDENCE)) is not None]
    if not told:
        return []
    metrics = [fraction_metric(EVIDENCE, [share for *_, share in told], [score.cluster for score, *_ in told])]
    for name, is_seen in (("accuracy_evidence_seen", True), ("accuracy_evidence_unseen", False)):
        part = [(score.cluster, value) for score, value, share in told if (share > 0) is is_seen]
        metrics.append(fraction_metric(name, [value for _, value in part], [cluster for cluster, _ in part]))
    return metrics


def collapse_warning(chosen: Counter[int | str]) -> list[str]:
    """Warn of answer collapse (our choice): more than half of the answers are one option."""
    total = chosen.total()
    if total < COLLAPSE_MIN_ANSWERS:
        return []
    option, count = chosen.most_common(1)[0]
    if count <= COLLAPSE_SHARE * total:
        return []
    return [f"collapse: {count} of {total} answers ({count / total:.0%}) are option {option}"]


def read_predictions(file: PredictionsFile, task: MultipleChoiceTask, everything: MultipleChoiceTask) -> Predictions:
    """Read choices made elsewhere (see tasks.choice_files). Raises DataError naming the file and the ids at fault."""
    from tasks.choice_files import read_choices

    return read_choices(file, task, everything)


def choice_means(answers: Answers, common: Common, task: MultipleChoiceTask | None) -> Means:
    """Measure accuracy over items, or over a label's groups, and the unparsed replies."""
    return means(answers, common, task, groups={} if task is None else task.groups)


def item_text(item: ChoiceItem) -> ItemText:
    """Describe a question in words."""
    return ItemText(title=item.question, options=item.options, answer=item.right_option)


FAMILY = Family(
    name="multiple-choice",
    terms=(
        (
            "rotations",
            (
                "each question is asked several times, its options rotated by one position each time; accuracy is over "
                "all of these answers, right in all rotations the share of questions with no wrong answer."
            ),
        ),
        (
            "repeats",
            (
                "each question is asked several times of a model that samples its answers; accuracy is over all of "
                "them, majority accuracy that of the most frequent answer, same answer the share of pairs of answers "
                "to a question that agree."
            ),
        ),
        ("accuracy", "the share of questions about a video for which the right option was chosen."),
        (
            "evidence seen",
            (
                "of the stretches of a video that an answer turns on, the share that a frame was seen of; accuracy is "
                "given where some of them were seen and where none was."
            ),
        ),
        (
            "route",
            (
                "how the choice was got. options-loglik: how likely a language model finds each option's words; "
                "letter-logprob: how likely the letter; generate+parse: free text, read by rules; "
                "embedding-similarity: how close each option's text lies to the video; given: named outright."
            ),
        ),
    ),
    item_score="accuracy",
    right_or_wrong=True,
    needs_blind=True,
    show=item_text,
    read_predictions=read_predictions,
    floors="baselines.floors:choice_floors",
    measure=choice_means,
)
