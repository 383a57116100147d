"""Cost of caption metrics: ours against pycocoevalcap on the same captions, alternately, comparing their figures."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from lab.bench.result import Facts, Measured, NotMeasuredError, Result, Way, clocked, in_turn
from tasks.caption_metrics.conventions import CaptionedItem, CaptionScores, figure_bounds, score_captions
from tasks.caption_metrics.meteor import NotRun
from tasks.captioning import CaptioningTask
from tasks.machine import machine_facts
from tasks.statistics import bounded_interval, jackknife_errors
from tasks.tokenizers import tokenizer

OURS, PEER = "ours", "pycocoevalcap"
NO_METEOR = NotRun("left out of the comparison: both would start the same jar")
Figures = Mapping[str, float]


def shifted(task: CaptioningTask) -> list[CaptionedItem]:
    """Pair every clip with the sentence of the clip before it: real words, partly correct."""
    items = task.items()
    return [
        CaptionedItem(item.id, item.cluster, items[i - 1].references[0], item.references)
        for i, item in enumerate(items)
    ]


def peer_scorer() -> Callable[[Sequence[CaptionedItem]], Figures]:
    """Return pycocoevalcap's scorer. Raises NotMeasuredError if it, or the Java that it needs, is not installed."""
    try:
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.rouge.rouge import Rouge
        from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
    except ImportError as error:
        msg = f"pycocoevalcap is not installed ({error}): pip install 'longvid[peers]'"
        raise NotMeasuredError(msg) from error
    if shutil.which("java") is None:
        raise NotMeasuredError("no java on the PATH: pycocoevalcap's tokeniser runs on it")

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
    """Compute the figures as in results."""
    return score_captions(items, "micro", tokenizer("ptb"), NO_METEOR)


def intervals(scores: CaptionScores) -> dict[str, tuple[float, float]]:
    """Compute intervals of every figure over videos, as in results."""
    errors, freedom = jackknife_errors(scores.sums.figures, scores.sums.counted)
    return {
        name: bounded_interval(scores.values[name] or 0.0, error, freedom, len(scores.clusters), figure_bounds(name))[0]
        for name, error in errors.items()
    }


def bench_metrics(items: Sequence[CaptionedItem], rounds: int, done: Callable[[str], None]) -> Result:
    """Tokenise and score `items` (BLEU-1..4, ROUGE-L, CIDEr-D) with ours and with pycocoevalcap in each round.

    `largest_difference` is between the figures of the two; intervals, which only ours has, are a separate comparison. A
    peer that is not installed is named in its row.
    """
    scores, theirs = score_ours(items), peer_figures(items)
    ways = {OURS: clocked(lambda: score_ours(items)), PEER: peer_way(items)}
    work = f"BLEU, ROUGE-L and CIDEr-D of {len(items)} captions"
    own = {name: value for name in theirs if (value := scores.values[name]) is not None}
    apart = max((abs(own[name] - value) for name, value in theirs.items()), default=None)
    facts: Facts = {"captions": len(items), "videos": len(scores.clusters), "largest_difference": apart}
    scored = in_turn(work, ways, rounds, done, facts=facts, warm_up=False)
    drawn = {OURS: clocked(lambda: intervals(scores))}
    spread = in_turn("intervals of all of them", drawn, rounds, done, warm_up=False)
    return Result("metrics", machine_facts(), {"repeats": rounds}, (scored, spread), {"figures": own})


def peer_figures(items: Sequence[CaptionedItem]) -> Figures:
    """Return the peer's figures; empty if it is not installed."""
    try:
        return peer_scorer()(items)
    except NotMeasuredError:
        return {}


def peer_way(items: Sequence[CaptionedItem]) -> Way:
    """Return the peer's scoring, or the reason why there is none."""

    def measured() -> Measured:
        return clocked(partial(peer_scorer(), items))()

    return measured
