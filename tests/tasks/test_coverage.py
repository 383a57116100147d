"""How often the truth is inside the intervals of rotations, repeats, flags, needles' cells and kappa: 95 ± 1.5 %.

Videos and questions differ in difficulty, and answers to a question go together; the truth is had from many draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from evals.figures import ItemFigures, cell, group
from evals.record import Sample
from tasks.multiple_choice import (
    MAJORITY,
    RIGHT_IN_ALL,
    SAME_ANSWER,
    ChoiceItem,
    asked_again,
    majority_share,
    with_repeats,
    with_right_in_all,
)
from tasks.statistics import fraction_metric, kappa_metric
from tasks.task import Clip, Score, Summary

Draw = Callable[[np.random.Generator], tuple[tuple[float, float] | None, float]]
VIDEOS, MOST_QUESTIONS, TIMES = 40, 5, 5
PLACES = np.array([0.9, 0.2, 0.0, -0.3, -0.6])
"""How much a place is liked, in log-odds of being right there."""
WRONG = np.array([0.55, 0.25, 0.15, 0.05])
"""How often each wrong option is taken, of wrong answers."""


def right_chances(rng: np.random.Generator, videos: int) -> tuple[NDArray[np.float64], list[str]]:
    """Log-odds of each question, of one to five to a video, and the questions' videos."""
    sizes = rng.integers(1, MOST_QUESTIONS + 1, size=videos)
    of = np.repeat(np.arange(videos), sizes)
    return rng.normal(0, 0.6, videos)[of] + rng.normal(0, 0.8, len(of)) - 0.2, [f"v{video}" for video in of]


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


LARGE, _ = right_chances(np.random.default_rng(1), 100_000)
ITEM = ChoiceItem("q", "v", Clip("v", 0.0, 9.0), "?", tuple("abcde"), 0)


def rotated(rng: np.random.Generator) -> tuple[Summary, dict[str, float]]:
    odds, videos = right_chances(rng, VIDEOS)
    right = rng.random((len(odds), TIMES)) < sigmoid(odds[:, None] + PLACES)
    scores = [
        Score(f"q{n}+r{shift}", videos[n], 0, {"accuracy": float(value)})
        for n, row in enumerate(right)
        for shift, value in enumerate(row)
    ]
    mean = fraction_metric(
        "accuracy", [score.values["accuracy"] or 0.0 for score in scores], [s.cluster for s in scores]
    )
    return with_right_in_all(Summary((mean,)), scores, TIMES), ROTATED


def truth_of_rotations() -> dict[str, float]:
    chances = sigmoid(LARGE[:, None] + PLACES)
    return {"accuracy": float(chances.mean()), RIGHT_IN_ALL: float(chances.prod(axis=1).mean())}


def answers(rng: np.random.Generator, odds: NDArray[np.float64]) -> NDArray[np.intp]:
    """Five answers to each question, 0 the right one."""
    shape = (len(odds), TIMES)
    wrong = 1 + rng.choice(4, p=WRONG, size=shape)
    return np.where(rng.random(shape) < sigmoid(odds)[:, None], 0, wrong)


def repeated(rng: np.random.Generator) -> tuple[Summary, dict[str, float]]:
    odds, videos = right_chances(rng, VIDEOS)
    given = answers(rng, odds)
    scores = [
        Score(f"q{n}+n{draw}", videos[n], int(answer), {"accuracy": float(answer == 0)})
        for n, row in enumerate(given)
        for draw, answer in enumerate(row)
    ]
    mean = fraction_metric(
        "accuracy", [score.values["accuracy"] or 0.0 for score in scores], [s.cluster for s in scores]
    )
    items = {score.item_id: asked_again(ITEM, int(score.item_id[-1])) for score in scores}
    return with_repeats(Summary((mean,)), scores, items, TIMES), REPEATED


def truth_of_repeats() -> dict[str, float]:
    chances = sigmoid(LARGE)
    few = answers(np.random.default_rng(2), LARGE[:60_000])
    return {
        "accuracy": float(chances.mean()),
        MAJORITY: float(np.mean([majority_share(row.tolist(), ITEM) for row in few])),
        SAME_ANSWER: float((chances**2 + (1 - chances) ** 2 * (WRONG**2).sum()).mean()),
    }


ROTATED, REPEATED = truth_of_rotations(), truth_of_repeats()


def summaries(make: Callable[[np.random.Generator], tuple[Summary, dict[str, float]]], trials: int) -> dict[str, float]:
    """By figure how often its interval holds the truth."""
    rng, held = np.random.default_rng(20262), dict.fromkeys(make(np.random.default_rng(0))[1], 0)
    for _ in range(trials):
        summary, truth = make(rng)
        for metric in summary.metrics:
            low, high = metric.interval or (1, 0)
            held[metric.name] += low <= truth[metric.name] <= high
    return {name: count / trials for name, count in held.items()}


def draws(draw: Draw, trials: int) -> float:
    """How often an interval holds the truth."""
    rng, held = np.random.default_rng(20263), 0
    for _ in range(trials):
        interval, truth = draw(rng)
        low, high = interval or (1, 0)
        held += low <= truth <= high
    return held / trials


def flagged_part(rng: np.random.Generator) -> tuple[tuple[float, float] | None, float]:
    """The figure on the questions that blind runs do not answer, which are easier ones more often than hard ones."""
    odds, videos = right_chances(rng, VIDEOS)
    kept = np.flatnonzero(rng.random(len(odds)) >= 0.5 * sigmoid(odds))
    right = rng.random(len(odds)) < sigmoid(odds)
    samples = {str(n): Sample(id=str(n), cluster=videos[n]) for n in kept}
    figures = ItemFigures("accuracy", {str(n): float(right[n]) for n in kept}, True)
    return group("needs the video", list(samples), figures, samples).interval, NEEDS_VIDEO


NEEDS_VIDEO = float(np.average(sigmoid(LARGE), weights=1 - 0.5 * sigmoid(LARGE)))


def needle_cell(rng: np.random.Generator) -> tuple[tuple[float, float] | None, float]:
    """A cell of 20 questions about 20 dishes, whose true figure is anywhere."""
    truth = rng.uniform(0.1, 0.9)
    values = (rng.random(20) < rng.beta(4 * truth, 4 * (1 - truth), 20)).astype(float)
    samples = {str(n): Sample(id=str(n), cluster=str(n)) for n in range(20)}
    figures = ItemFigures("accuracy", dict(zip(samples, values.tolist(), strict=True)), True)
    return cell("cell", list(samples), figures, samples).interval, truth


def judged(rng: np.random.Generator, videos: int) -> tuple[list[tuple[bool, bool]], list[str]]:
    """Verdicts of a judge and of people: the judge errs, more on some videos than on others."""
    odds, of = right_chances(rng, videos)
    errs = {video: rng.beta(2, 10) for video in dict.fromkeys(of)}
    people = rng.random(len(odds)) < sigmoid(odds)
    wrong = rng.random(len(odds)) < [errs[video] for video in of]
    return [(bool(one != other), bool(one)) for one, other in zip(people, wrong, strict=True)], of


def cohen(rng: np.random.Generator) -> tuple[tuple[float, float] | None, float]:
    return kappa_metric("kappa", *judged(rng, VIDEOS)).interval, KAPPA


def true_kappa() -> float:
    pairs, _ = judged(np.random.default_rng(4), 100_000)
    both = np.array(pairs)
    seen, (first, second) = (both[:, 0] == both[:, 1]).mean(), both.mean(axis=0)
    chance = first * second + (1 - first) * (1 - second)
    return float((seen - chance) / (1 - chance))


KAPPA = true_kappa()
PARTS: dict[str, Draw] = {"needs the video": flagged_part, "a needle's cell": needle_cell, "kappa": cohen}


def figures(trials: int) -> Iterator[tuple[str, float]]:
    """Every interval with how often it holds the truth, for the docs."""
    for name, make in (("rotations", rotated), ("repeats", repeated)):
        yield from ((f"{name}: {figure}", share) for figure, share in summaries(make, trials).items())
    yield from ((name, draws(draw, 2 * trials)) for name, draw in PARTS.items())


@pytest.mark.slow
@pytest.mark.parametrize("make", [rotated, repeated])
def test_intervals_over_several_answers_to_a_question_hold_their_level(
    make: Callable[[np.random.Generator], tuple[Summary, dict[str, float]]],
) -> None:
    for name, share in summaries(make, 3_000).items():
        assert share == pytest.approx(0.95, abs=0.015), name


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_intervals_of_parts_of_a_benchmark_and_of_kappa_hold_their_level(part: str) -> None:
    assert draws(PARTS[part], 6_000) == pytest.approx(0.95, abs=0.015)
