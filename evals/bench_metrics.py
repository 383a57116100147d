"""What caption metrics cost: ours beside pycocoevalcap on the same captions, in turn, with their figures compared."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import numpy as np

from tasks.caption_metrics.conventions import CaptionedItem, CaptionScores, score_captions
from tasks.caption_metrics.meteor import NotRun
from tasks.captioning import CaptioningTask
from tasks.errors import LongvidError
from tasks.intervals import bootstrap_weights, percentile_interval
from tasks.tokenizers import tokenizer

RESAMPLES = 1_000
NO_METEOR = NotRun("left out of the comparison: both would start the same jar")
Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of each round by the clock, and of processor time including child processes."""

    seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class MetricsBench:
    """Tokenising, BLEU-1..4, ROUGE-L and CIDEr-D of all captions; ratios are theirs over ours, of medians."""

    captions: int
    videos: int
    ours: Timing
    theirs: Timing
    ratio: float
    cpu_ratio: float
    largest_difference: float
    figures: Figures
    resamples: int
    interval_seconds: float


def shifted(task: CaptioningTask) -> list[CaptionedItem]:
    """Every clip with the sentence of the clip before it: real words, some of them right."""
    items = task.items()
    return [
        CaptionedItem(item.id, item.cluster, items[i - 1].references[0], item.references)
        for i, item in enumerate(items)
    ]


def peer_scorer() -> Callable[[Sequence[CaptionedItem]], Figures]:
    """The way of pycocoevalcap. Raises LongvidError where it, or the Java its tokeniser needs, is not installed."""
    try:
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.rouge.rouge import Rouge
        from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
    except ImportError as error:
        msg = f"the comparison needs pycocoevalcap ({error}): pip install 'longvid[peers]'"
        raise LongvidError(msg) from error
    if shutil.which("java") is None:
        msg = "the comparison needs java on the PATH: pycocoevalcap's tokeniser runs on it"
        raise LongvidError(msg)

    def score(items: Sequence[CaptionedItem]) -> Figures:
        texts = {item.id: [{"caption": text} for text in item.references] for item in items}
        references = PTBTokenizer().tokenize(texts)
        captions = PTBTokenizer().tokenize({item.id: [{"caption": item.hypothesis}] for item in items})
        bleu = Bleu(4).compute_score(references, captions, verbose=0)[0]
        return {
            **{f"bleu_{order}": float(value) for order, value in enumerate(bleu, start=1)},
            "rouge_l": float(Rouge().compute_score(references, captions)[0]),
            "cider_d": float(Cider().compute_score(references, captions)[0]),
        }

    return score


def score_ours(items: Sequence[CaptionedItem]) -> CaptionScores:
    """The figures as results have them."""
    return score_captions(items, "micro", tokenizer("ptb"), NO_METEOR)


def intervals(scores: CaptionScores, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Cluster-bootstrap intervals of every figure, from statistics by video."""
    spread = scores.resampled(bootstrap_weights(len(scores.clusters), RESAMPLES, rng))
    return {name: percentile_interval(values) for name, values in spread.items()}


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of processor time of this process and its children."""
    begin, before = perf_counter(), sum(os.times()[:4])
    work()
    return perf_counter() - begin, sum(os.times()[:4]) - before


def bench_metrics(items: Sequence[CaptionedItem], rounds: int, done: Callable[[str], None]) -> MetricsBench:
    """Score `items` both ways in each round. Raises LongvidError without the peer."""
    peer = peer_scorer()
    scores, theirs = score_ours(items), peer(items)
    ours_times, their_times, interval_times = [], [], []
    for number in range(rounds):
        ours_times.append(timed(lambda: score_ours(items)))
        their_times.append(timed(lambda: peer(items)))
        interval_times.append(timed(lambda: intervals(scores, np.random.default_rng(0)))[0])
        done(f"round {number + 1}")
    ours, peers = timing(ours_times), timing(their_times)
    figures = {name: value for name in theirs if (value := scores.values[name]) is not None}
    return MetricsBench(
        captions=len(items),
        videos=len(scores.clusters),
        ours=ours,
        theirs=peers,
        ratio=median(peers.seconds) / median(ours.seconds),
        cpu_ratio=median(peers.cpu_seconds) / median(ours.cpu_seconds),
        largest_difference=max(abs(figures[name] - value) for name, value in theirs.items()),
        figures=figures,
        resamples=RESAMPLES,
        interval_seconds=median(interval_times),
    )


def timing(rounds: Sequence[tuple[float, float]]) -> Timing:
    """Rounds of (clock, processor) as a timing."""
    clock, processor = zip(*rounds, strict=True)
    return Timing(clock, processor)
