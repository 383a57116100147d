"""The paper's findings as contrasts of methods, judged by the data: what holds, what doesn't, what stays open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import log

from evals.study_rows import Verdict

Weights = dict[str, float]
POINTS = 0.02
"""A loss of "about one point" is one of less than two (ours)."""
LADDER = ("jst-mask88", "jst-mask75", "jst-mask50", "jst-mask25", "jst-mask0")
"""Joint space-time attention by memory, the least first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """It holds where the weighted sum of the methods' accuracies is above `least`."""

    text: str
    weights: Weights
    least: float = 0.0


@dataclass(frozen=True, slots=True)
class MemoryFinding:
    """It holds where `large` takes at least `times` the activation memory of `small`; known without error."""

    text: str
    large: str
    small: str
    times: float


def _over(better: str, worse: str) -> Weights:
    return {better: 1.0, worse: -1.0}


def _loses_less(one: tuple[str, str], other: tuple[str, str]) -> Weights:
    """How much less the first of (masked, dense) loses by masking than the second."""
    return {one[0]: 1.0, one[1]: -1.0, other[0]: -1.0, other[1]: 1.0}


MASKED, DENSE = JST = ("jst-mask75", "jst-mask0")
FIXED = (
    Finding("75 % masking costs joint attention less than two points", _over(*JST), -POINTS),
    Finding("joint attention beats the frame-level encoder", _over("jst-mask0", "frame-level")),
    Finding("joint attention beats the factorised one, both 75 % masked", _over("jst-mask75", "fst-mask75")),
    Finding(
        "masking costs the frame-level encoder more than joint attention",
        _loses_less(JST, ("frame-level-mask75", "frame-level")),
    ),
    Finding("masking costs factorised attention more than joint attention", _loses_less(JST, ("fst-mask75", "fst"))),
    Finding("adapters beat LoRA", _over("adapters", "lora")),
    Finding("adapters stay below full fine-tuning (image to video)", _over("jst-mask0", "adapters")),
    Finding("LoRA stays below full fine-tuning (image to video)", _over("jst-mask0", "lora")),
    Finding(
        "the last third of the layers costs less than two points (the paper: short to long)",
        _over("last-third", "jst-mask0"),
        -POINTS,
    ),
)
COARSE = ("coarse-time", "coarse-space", "coarse-both", "tubevit")
MEMORY = (
    MemoryFinding("75 % masking takes at least 2 times less activation memory", DENSE, MASKED, 2.0),
    MemoryFinding(
        "the last third of the layers takes at least 2 times less activation memory", "jst-mask0", "last-third", 2.0
    ),
)


def findings(memory: Mapping[str, int]) -> tuple[Finding, ...]:
    """All findings on accuracy; coarse methods are compared with masking at their activation memory (bytes).

    Activations only (ours): in an encoder this small the weights of a large patch's projection would outweigh them.
    """
    coarse = tuple(
        Finding(f"{name} loses more than masking at equal memory", {name: -1.0, **at_memory(memory[name], memory)})
        for name in COARSE
        if name in memory and all(step in memory for step in LADDER)
    )
    return (*FIXED, *coarse)


def at_memory(wanted: int, memory: Mapping[str, int]) -> Weights:
    """Joint attention masked so that it takes `wanted` bytes: its two nearest masks, mixed by log memory.

    Beyond the ladder's ends, the end itself.
    """
    if wanted <= memory[LADDER[0]]:
        return {LADDER[0]: 1.0}
    for low, high in pairwise(LADDER):
        if wanted <= memory[high]:
            share = log(wanted / memory[low]) / log(memory[high] / memory[low])
            return {name: weight for name, weight in ((low, 1 - share), (high, share)) if weight}
    return {LADDER[-1]: 1.0}


def judge(value: float, interval: tuple[float, float] | None, least: float) -> Verdict:
    """Reproduced where the whole interval is above `least`, not reproduced where all of it is below."""
    low, high = interval if interval else (value, value)
    if interval and low > least:
        return "reproduced"
    if interval and high < least:
        return "not reproduced"
    return "undecided"
