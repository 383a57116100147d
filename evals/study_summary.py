"""From a study's rows and costs to its figures and verdicts: no model, no training."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from evals.store import read_row, write_row
from evals.study_findings import MEMORY, Finding, findings, judge
from evals.study_rows import (
    COSTS,
    ROWS,
    RUN,
    STUDY,
    Figure,
    FindingResult,
    MethodCost,
    MethodResult,
    Study,
    StudyCosts,
    StudyRun,
    Trained,
    read_trained,
)
from evals.study_statistics import Scores, estimate
from tasks.errors import RecordError
from tasks.intervals import LEVEL

RETRIEVAL, STATEMENTS = "text_to_video_r1", "statements"
JUDGED = (RETRIEVAL, STATEMENTS)
"""The metrics findings are asked of: text → video R@1, and statements, the kinds that a video has weighing the same."""
MEMORY_METRIC = "activation_bytes"
BySeed = Mapping[int, Trained]


def summarise(folder: Path) -> Study:
    """Read a study's folder, write its `study.json`. Raises RecordError where there is nothing to summarise."""
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
            MethodResult(method=name, cost=priced[name], figures=figures(by_method[name], run.families))
            for name in names
        ),
        findings=(*accuracy_findings(by_method, priced, run.families), *memory_findings(priced)),
    )
    write_row(folder / STUDY, study)
    return study


def chances(row: Trained) -> dict[str, float]:
    """What guessing gets of each metric; of `statements`, by the same mean over the kinds that a video has."""
    guessed = {
        kind: tuple(None if share is None else row.chances[kind] for share in of_videos)
        for kind, of_videos in row.statements.items()
    }
    guesser = row.model_copy(update={"statements": guessed})
    return {**row.chances, STATEMENTS: float(np.nanmean(_scores_of(guesser, STATEMENTS)))}


def metrics(row: Trained) -> tuple[str, ...]:
    """The names of a row's metrics."""
    return (RETRIEVAL, "video_to_text_r1", STATEMENTS, *row.statements)


def scores(rows: list[Trained], metric: str) -> Scores:
    """[seeds, videos], NaN where a video has no statement of the kind."""
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
    """All metrics of a method over its seeds."""
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
    """The columns of the videos that were asked, with their families."""
    there = ~np.isnan(found).any(axis=0)
    return found[:, there], tuple(families[video] for video in np.flatnonzero(there))


def accuracy_findings(
    trained: Mapping[str, BySeed], costs: Mapping[str, MethodCost], families: tuple[str, ...]
) -> list[FindingResult]:
    """Every finding for every judged metric, over the seeds that all its methods have."""
    memory = {name: cost.activation_bytes for name, cost in costs.items()}
    return [_accuracy_finding(finding, metric, trained, families) for finding in findings(memory) for metric in JUDGED]


def _accuracy_finding(
    finding: Finding, metric: str, trained: Mapping[str, BySeed], families: tuple[str, ...]
) -> FindingResult:
    seeds = set.intersection(*({*trained.get(name, {})} for name in finding.weights))
    result = partial(FindingResult, finding=finding.text, metric=metric, least=finding.least, compared=finding.weights)
    if not seeds:
        return result(value=None, interval=None, verdict="not run")
    parts = [
        weight * scores([trained[name][seed] for seed in sorted(seeds)], metric)
        for name, weight in finding.weights.items()
    ]
    found, of = _asked(np.sum(parts, axis=0), families)
    mean = estimate(found, of, share=False)
    verdict = judge(mean.value, mean.interval, finding.least)
    return result(value=mean.value, interval=mean.interval, verdict=verdict)


def memory_findings(costs: Mapping[str, MethodCost]) -> list[FindingResult]:
    """Findings on memory, which is counted: there is nothing undecided about them."""
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
