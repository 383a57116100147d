"""A study's files, and its figures and verdicts computed from rows and costs: no model, no training.

Intervals are for a mean over a few seeds and many items, both of which are samples (our choice). Rows of a matrix
[seeds, videos] are one training each, columns are the same videos every time. The variance of the mean is the sum of
two: between families of videos, of the mean over seeds, as for a cluster-robust mean; and between seeds. The noise of a
family under a seed is in both, so intervals err on the wide side. Student's t with Welch and Satterthwaite's degrees of
freedom makes them valid for as few as two seeds, for which a bootstrap over seeds would be far too narrow.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import log
from pathlib import Path
from typing import Literal

import numpy as np
from jsonlines import InvalidLineError, Reader, Writer
from numpy.typing import NDArray
from pydantic import Field, JsonValue, ValidationError

from evals.record import Provenance, Row, Seconds, first_problem
from evals.store import read_row, write_row
from tasks.errors import RecordError
from tasks.statistics import LEVEL, cluster_codes, wilson_interval

RUN, ROWS, COSTS, STUDY = "run.json", "rows.jsonl", "costs.json", "study.json"
TUNING = "rates.jsonl"
Verdict = Literal["reproduced", "not reproduced", "undecided", "not run"]


class StudyRun(Row):
    """The study's settings, written first. `videos` and `families` name the items of every row, in order.

    `rates` are the learning rates that were tried for each method.
    """

    schema_version: Literal[1] = 1
    settings: dict[str, JsonValue]
    smoke: bool
    rates: tuple[float, ...] = ()
    videos: tuple[str, ...]
    families: tuple[str, ...]
    torch_threads: int
    provenance: Provenance


class Trained(Row):
    """One method trained from one seed, with its accuracy on each video (fractions of 1).

    `statements` are shares by kind; None if a video has no statement of the kind. `rate` is the learning rate, `start`
    text → video R@1 before the first step; earlier versions wrote neither.
    """

    method: str
    seed: int
    steps: int
    samples: int
    rate: float | None = None
    start: float | None = None
    loss: float
    initial_weights_sha256: str
    weights_sha256: str
    text_to_video: tuple[float, ...]
    video_to_text: tuple[float, ...]
    statements: dict[str, tuple[float | None, ...]]
    chances: dict[str, float]
    seconds: Seconds


class MethodCost(Row):
    """The cost of a method's vision tower. Bytes are counted in bf16 with fused attention, `step_seconds` measured.

    `activation_bytes` is for one video, `training_bytes` for the batch with weights, gradients and optimiser.
    `measured_bytes` is how much a training step of the batch raised the resident memory of a separate process.
    """

    method: str
    mask: float
    tokens: int
    parameters: int
    trainable: int
    activation_bytes: int
    training_bytes: int
    train_flops: int
    step_seconds: Seconds = None
    measured_bytes: int | None = Field(default=None, json_schema_extra={"x-wall-clock": True})


class StudyCosts(Row):
    """The costs of all methods, for the shape and machine they were measured with."""

    schema_version: Literal[1] = 1
    batch: int
    frames: int
    size: int
    threads: int
    methods: tuple[MethodCost, ...]


class Figure(Row):
    """A mean over seeds and items; `method` names its interval's method, `per_seed` has the mean of each seed."""

    name: str
    value: float
    interval: tuple[float, float] | None
    level: float
    method: str
    per_seed: dict[str, float]
    seeds: int
    n: int
    clusters: int


class MethodResult(Row):
    """A method with its cost and its figures; `rate` and `start` (a mean over seeds) as in its rows."""

    method: str
    cost: MethodCost
    rate: float | None = None
    start: float | None = None
    figures: tuple[Figure, ...]


class FindingResult(Row):
    """One of the paper's findings, tested on one metric. It holds, in direction, if `value` is above `least`.

    `level` is that of the interval, corrected for the number of findings. `seeds_needed` says from how many seeds a
    true difference of two points from `least` would be told in four of five studies; None if more videos are needed.
    """

    finding: str
    metric: str
    value: float | None
    interval: tuple[float, float] | None
    level: float = LEVEL
    seeds_needed: int | None = None
    least: float
    compared: dict[str, float]
    verdict: Verdict


class Study(Row):
    """`study.json`: a pure function of the other files."""

    schema_version: Literal[1] = 1
    run: StudyRun
    costs: StudyCosts
    seeds: tuple[int, ...]
    chances: dict[str, float]
    methods: tuple[MethodResult, ...]
    findings: tuple[FindingResult, ...]


def read_trained(path: Path) -> list[Trained]:
    """Read the finished rows. A torn last line is skipped; any other damage raises RecordError."""
    if not path.is_file():
        return []
    try:
        return list(Reader(path.read_bytes().split(b"\n")[:-1], loads=Trained.model_validate_json))
    except InvalidLineError as error:
        cause = error.__cause__
        fault = first_problem(cause) if isinstance(cause, ValidationError) else cause
        msg = f"{path}, line {error.lineno} is damaged ({fault}); remove the line to train it again"
        raise RecordError(msg) from error


def append_trained(path: Path, row: Trained) -> None:
    """Add a row, on disk when this returns; a torn last line is removed first."""
    with path.open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        Writer(file, compact=True).write(row.model_dump(mode="json"))
        file.flush()
        os.fsync(file.fileno())


Scores = NDArray[np.float64]
CROSSED = "t over seeds and families, both random"
ONE_SEED = "t over families, one seed: what another training would give is left out"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval, None if nothing varies."""

    value: float
    interval: tuple[float, float] | None
    method: str
    per_seed: tuple[float, ...]


def estimate(scores: Scores, families: tuple[str, ...], *, share: bool = True, level: float = LEVEL) -> Estimate:
    """Estimate the mean of `scores` [seeds, videos]. A `share` is within 0 and 1, a difference need not be.

    If all items of a share are 0, or all are 1, Wilson's interval on the number of families is used.
    """
    codes, count = cluster_codes(families)
    per_seed = tuple(float(value) for value in scores.mean(axis=1))
    value = float(scores.mean())
    if share and value in (0.0, 1.0):
        return Estimate(value, wilson_interval(value * count, count), "wilson on families (all equal)", per_seed)
    parts = [part for part in (_between_families(scores, codes, count), _between_seeds(scores)) if part]
    if not parts:
        return Estimate(value, None, "none (one family, one seed)", per_seed)
    half = _half_width(parts, level)
    if half == 0:
        return Estimate(value, None, "none (no family and no seed differs)", per_seed)
    low, high = value - half, value + half
    interval = (max(0.0, low), min(1.0, high)) if share else (low, high)
    return Estimate(value, interval, CROSSED if len(scores) > 1 else ONE_SEED, per_seed)


def _between_families(scores: Scores, codes: NDArray[np.intp], count: int) -> tuple[float, int] | None:
    """Return the variance of the mean due to families, and its degrees of freedom."""
    if count < 2:
        return None
    residuals = scores.mean(axis=0) - scores.mean()
    sums = np.bincount(codes, weights=residuals, minlength=count)
    return float(count / (count - 1) * (sums**2).sum() / scores.shape[1] ** 2), count - 1


def _between_seeds(scores: Scores) -> tuple[float, int] | None:
    """Return the variance of the mean due to seeds, and its degrees of freedom."""
    seeds = len(scores)
    if seeds < 2:
        return None
    return float(scores.mean(axis=1).var(ddof=1) / seeds), seeds - 1


def _half_width(parts: list[tuple[float, int]], level: float, power: float | None = None) -> float:
    """Return the half width of an interval, or the difference from it that is told with this `power`."""
    from scipy.stats import t

    total = sum(variance for variance, _ in parts)
    if total == 0:
        return 0.0
    freedom = total**2 / sum(variance**2 / degrees for variance, degrees in parts)
    quantiles = t.ppf((1 + level) / 2, freedom) + (0.0 if power is None else t.ppf(power, freedom))
    return float(quantiles * total**0.5)


POWER, MOST_SEEDS = 0.8, 100


def seeds_needed(scores: Scores, families: tuple[str, ...], difference: float, level: float) -> int | None:
    """Return from how many seeds a true `difference` would be told in four of five studies (power 0.8, our choice).

    Computed from the variances between families and between seeds of `scores` [seeds, videos]. None for one seed, and
    if no 100 seeds are enough: then the families are too few.
    """
    between_seeds = _between_seeds(scores)
    between_families = _between_families(scores, *cluster_codes(families))
    if between_seeds is None:
        return None
    of_one = between_seeds[0] * len(scores)
    for seeds in range(2, MOST_SEEDS + 1):
        parts = [part for part in (between_families, (of_one / seeds, seeds - 1)) if part]
        if _half_width(parts, level, POWER) <= difference:
            return seeds
    return None


Weights = dict[str, float]
POINTS = 0.02
"""A loss of "about one point" means less than two (our choice)."""
LADDER = ("jst-mask88", "jst-mask75", "jst-mask50", "jst-mask25", "jst-mask0")
"""Joint space-time attention by memory, the least first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding that holds if the weighted sum of the methods' accuracies is above `least`."""

    text: str
    weights: Weights
    least: float = 0.0


@dataclass(frozen=True, slots=True)
class MemoryFinding:
    """A finding that holds if `large` takes at least `times` the activation memory of `small`; known without error."""

    text: str
    large: str
    small: str
    times: float


def _over(better: str, worse: str) -> Weights:
    return {better: 1.0, worse: -1.0}


def _loses_less(one: tuple[str, str], other: tuple[str, str]) -> Weights:
    """Return weights for how much less the first pair (masked, dense) loses by masking than the second."""
    return {one[0]: 1.0, one[1]: -1.0, other[0]: -1.0, other[1]: 1.0}


MASKED, DENSE = JST = ("jst-mask75", "jst-mask0")
FIXED = (
    Finding("75 % masking costs joint attention less than two points", _over(*JST), -POINTS),
    Finding("joint attention beats the frame-level encoder", _over("jst-mask0", "frame-level")),
    Finding("joint attention beats the factorised one, both 75 % masked", _over("jst-mask75", "fst-mask75")),
    Finding("joint attention beats the frame-level one, both 75 % masked", _over("jst-mask75", "frame-level-mask75")),
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
    """Return all findings on accuracy; coarse methods are compared with masking at equal activation memory (bytes).

    Activations only (our choice): in an encoder this small the weights of a large patch's projection would outweigh
    them.
    """
    coarse = tuple(
        Finding(f"{name} loses more than masking at equal memory", {name: -1.0, **at_memory(memory[name], memory)})
        for name in COARSE
        if name in memory and MASKED in memory
    )
    return (*FIXED, *coarse)


def at_memory(wanted: int, memory: Mapping[str, int]) -> Weights:
    """Return weights of joint attention masked to take `wanted` bytes: the two nearest masks, mixed by log memory.

    Only masks in `memory` count. Beyond their range, the last mask.
    """
    ladder = [name for name in LADDER if name in memory]
    if wanted <= memory[ladder[0]]:
        return {ladder[0]: 1.0}
    for low, high in pairwise(ladder):
        if wanted <= memory[high]:
            share = log(wanted / memory[low]) / log(memory[high] / memory[low])
            return {name: weight for name, weight in ((low, 1 - share), (high, share)) if weight}
    return {ladder[-1]: 1.0}


def judge(value: float, interval: tuple[float, float] | None, least: float) -> Verdict:
    """Judge: reproduced if the whole interval is above `least`, not reproduced if all of it is below."""
    low, high = interval if interval else (value, value)
    if interval and low > least:
        return "reproduced"
    if interval and high < least:
        return "not reproduced"
    return "undecided"


RETRIEVAL, STATEMENTS = "text_to_video_r1", "statements"
JUDGED = (RETRIEVAL, STATEMENTS)
"""The metrics of findings: text → video R@1, and statements, weighing a video's kinds equally."""
MEMORY_METRIC = "activation_bytes"
BySeed = Mapping[int, Trained]


def summarise(folder: Path) -> Study:
    """Read a study's folder, write its `study.json`. Raises RecordError if there is nothing to summarise."""
    run, costs = read_row(folder / RUN, StudyRun), read_row(folder / COSTS, StudyCosts)
    trained = read_trained(folder / ROWS)
    if not trained:
        raise RecordError(f"{folder / ROWS} holds no trained method yet")
    priced = {cost.method: cost for cost in costs.methods}
    by_method: dict[str, dict[int, Trained]] = {}
    for row in trained:
        by_method.setdefault(row.method, {})[row.seed] = row
    names = [name for name in priced if name in by_method]
    study = Study(
        run=run,
        costs=costs,
        seeds=tuple(sorted({row.seed for row in trained})),
        chances=chances(trained[0]),
        methods=tuple(
            MethodResult(
                method=name,
                cost=priced[name],
                rate=next(iter(by_method[name].values())).rate,
                start=_mean_start(by_method[name]),
                figures=figures(by_method[name], run.families),
            )
            for name in names
        ),
        findings=(*accuracy_findings(by_method, priced, run.families), *memory_findings(priced)),
    )
    write_row(folder / STUDY, study)
    return study


def _mean_start(rows: BySeed) -> float | None:
    starts = [row.start for row in rows.values() if row.start is not None]
    return sum(starts) / len(starts) if starts else None


def best_rates(tuned: Sequence[Trained]) -> dict[str, float]:
    """Return, by method, the learning rate with the best text → video R@1; of equals, the lowest."""
    best: dict[str, tuple[float, float]] = {}
    for row in tuned:
        if row.rate is not None:
            best[row.method] = max(best.get(row.method, (-1.0, 0.0)), (float(np.mean(row.text_to_video)), -row.rate))
    return {method: -rate for method, (_, rate) in best.items()}


def chances(row: Trained) -> dict[str, float]:
    """Return the chance level of each metric; for `statements`, by the same mean over a video's kinds."""
    if not row.statements:
        return dict(row.chances)
    guessed = {
        kind: tuple(None if share is None else row.chances[kind] for share in of_videos)
        for kind, of_videos in row.statements.items()
    }
    guesser = row.model_copy(update={"statements": guessed})
    return {**row.chances, STATEMENTS: float(np.nanmean(_scores_of(guesser, STATEMENTS)))}


def metrics(row: Trained) -> tuple[str, ...]:
    """Return the names of a row's metrics; those of statements if it was asked for any."""
    return (RETRIEVAL, "video_to_text_r1", *([STATEMENTS, *row.statements] if row.statements else []))


def scores(rows: list[Trained], metric: str) -> Scores:
    """Return scores [seeds, videos], NaN if a video has no statement of the kind."""
    return np.array([_scores_of(row, metric) for row in rows])


def _scores_of(row: Trained, metric: str) -> Scores:
    if metric == RETRIEVAL:
        return np.array(row.text_to_video)
    if metric == "video_to_text_r1":
        return np.array(row.video_to_text)
    if metric == STATEMENTS:
        return np.asarray(np.nanmean(np.array(list(row.statements.values()), dtype=np.float64), axis=0))
    return np.array(row.statements[metric], dtype=np.float64)


def figures(rows: BySeed, families: tuple[str, ...]) -> tuple[Figure, ...]:
    """Compute all metrics of a method over its seeds."""
    seeds = sorted(rows)
    ordered = [rows[seed] for seed in seeds]
    out = []
    for name in metrics(ordered[0]):
        found, of = _asked(scores(ordered, name), families)
        mean = estimate(found, of)
        out.append(
            Figure(
                name=name,
                value=mean.value,
                interval=mean.interval,
                level=LEVEL,
                method=mean.method,
                per_seed={str(seed): value for seed, value in zip(seeds, mean.per_seed, strict=True)},
                seeds=len(seeds),
                n=found.shape[1],
                clusters=len(set(of)),
            )
        )
    return tuple(out)


def _asked(found: Scores, families: tuple[str, ...]) -> tuple[Scores, tuple[str, ...]]:
    """Select the columns of the videos with values, with their families."""
    there = ~np.isnan(found).any(axis=0)
    return found[:, there], tuple(families[video] for video in np.flatnonzero(there))


def accuracy_findings(
    trained: Mapping[str, BySeed], costs: Mapping[str, MethodCost], families: tuple[str, ...]
) -> list[FindingResult]:
    """Judge every finding for every judged metric, over the seeds that all its methods have.

    The intervals hold all at once: their level is Bonferroni's for the number of findings that were run.
    """
    memory = {name: cost.activation_bytes for name, cost in costs.items() if name in trained}
    asked = metrics(next(iter(next(iter(trained.values())).values())))
    pairs = [(finding, metric) for finding in findings(memory) for metric in JUDGED if metric in asked]
    found = [(finding, metric, _differences(finding, metric, trained)) for finding, metric in pairs]
    run = sum(scores is not None for _, _, scores in found)
    level = 1 - (1 - LEVEL) / max(run, 1)
    return [_judged(finding, metric, scores, families, level) for finding, metric, scores in found]


def _differences(finding: Finding, metric: str, trained: Mapping[str, BySeed]) -> Scores | None:
    """Return the weighted sum of the methods' scores [seeds, videos] over their common seeds, if there are any."""
    seeds = sorted(set.intersection(*({*trained.get(name, {})} for name in finding.weights)))
    if not seeds:
        return None
    parts = [
        weight * scores([trained[name][seed] for seed in seeds], metric) for name, weight in finding.weights.items()
    ]
    return np.asarray(np.sum(parts, axis=0))


def _judged(
    finding: Finding, metric: str, differences: Scores | None, families: tuple[str, ...], level: float
) -> FindingResult:
    result = partial(FindingResult, finding=finding.text, metric=metric, least=finding.least, compared=finding.weights)
    if differences is None:
        return result(value=None, interval=None, verdict="not run")
    found, of = _asked(differences, families)
    mean = estimate(found, of, share=False, level=level)
    return result(
        value=mean.value,
        interval=mean.interval,
        level=level,
        seeds_needed=seeds_needed(found, of, POINTS, level),
        verdict=judge(mean.value, mean.interval, finding.least),
    )


def memory_findings(costs: Mapping[str, MethodCost]) -> list[FindingResult]:
    """Judge findings on memory, which is counted, so that none is undecided."""
    out = []
    for finding in MEMORY:
        if finding.large not in costs or finding.small not in costs:
            continue
        ratio = costs[finding.large].activation_bytes / costs[finding.small].activation_bytes
        out.append(
            FindingResult(
                finding=finding.text,
                metric=MEMORY_METRIC,
                value=ratio,
                interval=None,
                least=finding.times,
                compared={finding.large: 1.0, finding.small: -1.0},
                verdict="reproduced" if ratio >= finding.times else "not reproduced",
            )
        )
    return out
