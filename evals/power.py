"""How many questions it takes to tell two systems apart, given their disagreement and the clustering by video."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
import pandas as pd

from tasks.statistics import cluster_codes, items_needed, minimum_detectable_effect

TWO_SAMPLES = "two sets of questions"
ONE_SAMPLE = "the same questions"


def independent_error(first: float, other: float, items: int, design: float = 1.0) -> float:
    """Standard error of the difference of two accuracies on different questions, `items` each."""
    return sqrt(design * (first * (1 - first) + other * (1 - other)) / items)


def paired_error(first: float, other: float, disagreement: float, items: int, design: float = 1.0) -> float:
    """Standard error on the same questions: only those that exactly one system gets right count.

    `disagreement` is their share. Raises ValueError if it is less than the difference, which is impossible.
    """
    effect = abs(other - first)
    if not effect <= disagreement <= 1:
        msg = f"systems at {first:.0%} and {other:.0%} disagree on at least {effect:.0%}, not {disagreement:.0%}"
        raise ValueError(msg)
    return sqrt(design * (disagreement - effect**2) / items)


def design_effect(values: Sequence[float], clusters: Sequence[str]) -> float:
    """Design effect: how much the variance of a mean grows because items of one source video are correlated.

    The ratio of the cluster-robust variance to that of independent items; 1 if nothing varies.
    """
    scores = np.asarray(values, dtype=np.float64)
    apart = scores - scores.mean()
    codes, count = cluster_codes(clusters)
    alone = float((apart**2).sum())
    return float((np.bincount(codes, weights=apart, minlength=count) ** 2).sum()) / alone if alone else 1.0


def disagreement(first: pd.Series[float], other: pd.Series[float]) -> float:
    """The share of items that exactly one system gets right; both by item id, 0 or 1, common items only."""
    both = pd.concat([first, other], axis=1, join="inner").dropna()
    return float((both.iloc[:, 0] != both.iloc[:, 1]).mean())


def questions_to_tell(
    first: float, other: float, disagreements: Sequence[float], designs: Sequence[float] = (1.0,)
) -> pd.DataFrame:
    """Questions needed to find the difference in four of five cases at the 95 % level, one row per way to compare."""
    effect = abs(other - first)
    rows = []
    for design in designs:
        error = independent_error(first, other, 1, design)
        rows.append({"compared on": TWO_SAMPLES, "disagreement": None, "design": design, "error": error})
        for share in disagreements:
            error = paired_error(first, other, share, 1, design)
            rows.append({"compared on": ONE_SAMPLE, "disagreement": share, "design": design, "error": error})
    frame = pd.DataFrame(rows)
    frame["questions"] = [items_needed(effect, error, 1) for error in frame.pop("error")]
    return frame


def smallest_difference(
    accuracy: float, disagreement: float, items: Sequence[int], design: float = 1.0
) -> pd.DataFrame:
    """The smallest difference that `items` questions find in four of five cases, unpaired and paired."""
    rows = [
        {
            "questions": count,
            TWO_SAMPLES: minimum_detectable_effect(independent_error(accuracy, accuracy, count, design)),
            ONE_SAMPLE: minimum_detectable_effect(paired_error(accuracy, accuracy, disagreement, count, design)),
        }
        for count in items
    ]
    return pd.DataFrame(rows)
