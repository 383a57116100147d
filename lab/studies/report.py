"""Report a study as a Markdown table and as a plot like the paper's: accuracy over training memory.

For notebooks: data frames of training memory (from `longvid bench encode`) and accuracy (from `longvid study`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from evals.store import read_row
from lab.bench.result import read_json
from lab.studies.summary import (
    JUDGED,
    LADDER,
    MEMORY_METRIC,
    RETRIEVAL,
    STATEMENTS,
    Figure,
    FindingResult,
    MethodResult,
    Study,
)
from tasks.statistics import LEVEL

if TYPE_CHECKING:
    from evals.plots import Line


TABLE, PLOTS = "table.md", ("scatter.png", "scatter.svg")
TITLES = {RETRIEVAL: "text → video R@1", STATEMENTS: "statements told from false ones"}
LINES = (
    ("joint", tuple(reversed(LADDER))),
    ("factorised", ("fst", "fst-mask75")),
    ("frame-level", ("frame-level", "frame-level-mask75")),
)
"""Methods that differ in masking only, joined by lines in the plot."""
VERDICTS = (
    "A finding is reproduced where the whole interval lies above the bound, not reproduced where all of it lies "
    "below, else undecided. The intervals hold all at once: their level, {level:.2%}, is Bonferroni's for {run} "
    "findings. The last column says how many seeds tell a difference of two points from the bound in four of five "
    "studies; no number: the families are too few."
)
FINDING_COLUMNS = ("finding", "asked of", "difference", "holds above", "here", "seeds needed")


def write_report(study: Study, folder: Path) -> list[Path]:
    """Write table and plots, and return their paths."""
    (folder / TABLE).write_text(markdown(study), encoding="utf-8")
    paths = [folder / name for name in PLOTS]
    write_plot(study, paths)
    return [folder / TABLE, *paths]


def markdown(study: Study) -> str:
    """Render the methods, each kind of statement, the findings, and the conditions of the study."""
    names = judged(study)
    chances = " and ".join(f"{_percent(study.chances[name])} of {TITLES[name]}" for name in names)
    parts = [
        "# Accuracy against training memory on kitchen",
        _conditions(study),
        _rows(method_columns(study), [method_cells(method, study) for method in study.methods]),
        f"Chance: {chances}.",
        _by_kind(study),
        "## Seed by seed",
        _rows(
            ("method", *(f"{TITLES[metric]}, seed {seed}" for metric in names for seed in study.seeds)),
            [(m.method, *_per_seed(m, study)) for m in study.methods],
        ),
        "## The paper's findings, in direction",
        _rows(FINDING_COLUMNS, [finding_cells(f) for f in study.findings]),
        _verdicts(study),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def judged(study: Study) -> tuple[str, ...]:
    """Return the judged metrics that the study asked for."""
    return tuple(metric for metric in JUDGED if metric in study.chances)


def _verdicts(study: Study) -> str:
    run = [found for found in study.findings if found.value is not None and found.metric != MEMORY_METRIC]
    return VERDICTS.format(level=run[0].level if run else LEVEL, run=len(run))


def _by_kind(study: Study) -> str:
    kinds = [name for name in study.chances if name not in (*JUDGED, "video_to_text_r1")]
    if not kinds:
        return ""
    table = _rows(
        ("method", *(f"{kind} (chance {_percent(study.chances[kind])})" for kind in kinds)),
        [(m.method, *(_interval(figure_of(m, kind)) for kind in kinds)) for m in study.methods],
    )
    return f"## Statements by kind\n\n{table}"


def _conditions(study: Study) -> str:
    costs, families = study.costs, len(set(study.run.families))
    figure = study.methods[0].figures[0]
    smoke = "**A smoke test: nothing was learnt, the figures mean nothing.** " if study.run.smoke else ""
    return (
        f"{smoke}{len(study.methods)} methods, each trained from the same image encoder on the same videos in the same "
        f"order, seeds {', '.join(map(str, study.seeds))}; {costs.frames} frames of {costs.size} px, batches of "
        f"{costs.batch}; {len(study.run.videos)} held-out videos in {families} families of siblings. Intervals: "
        f"{figure.level:.0%}, {figure.method}. Memory is counted (bf16, fused attention, vision tower); the measured "
        "column is what a step on CPU raised a process's resident memory by, where attention is not fused."
    )


def method_columns(study: Study) -> tuple[str, ...]:
    """Return the header of the main table."""
    return (
        "method",
        *(TITLES[metric] for metric in judged(study)),
        "at step 0",
        "rate",
        "tokens",
        "trainable",
        "activations, a video (MB)",
        "training memory (MB)",
        "measured (MB)",
        "step (s)",
    )


def method_cells(method: MethodResult, study: Study) -> tuple[str, ...]:
    """Return a method's row of the main table, with its step time relative to the first method's."""
    cost, first = method.cost, study.costs.methods[0]
    seconds = "–"
    if cost.step_seconds and first.step_seconds:
        seconds = f"{cost.step_seconds:.2f} ({cost.step_seconds / first.step_seconds:.2f}×)"
    return (
        method.method,
        *(_interval(figure_of(method, metric)) for metric in judged(study)),
        "–" if method.start is None else _percent(method.start),
        "–" if method.rate is None else f"{method.rate:g}",
        str(cost.tokens),
        f"{cost.trainable / cost.parameters:.0%} of {cost.parameters / 1e6:.2f}M",
        f"{cost.activation_bytes / 1e6:.2f}",
        f"{cost.training_bytes / 1e6:.0f}",
        "–" if cost.measured_bytes is None else f"{cost.measured_bytes / 1e6:.0f}",
        seconds,
    )


def finding_cells(found: FindingResult) -> tuple[str, ...]:
    """Return a finding's row; differences in points, memory as a ratio."""
    if found.metric == MEMORY_METRIC:
        return (found.finding, "activation memory", f"{found.value:.2f}×", f"{found.least:.0f}×", found.verdict, "–")
    value, needed = "–", str(found.seeds_needed or "–")
    if found.value is not None:
        low, high = found.interval or (found.value, found.value)
        value = f"{100 * found.value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
    return (found.finding, TITLES[found.metric], value, f"{100 * found.least:+.0f}", found.verdict, needed)


def figure_of(method: MethodResult, name: str) -> Figure:
    """Return a method's figure by name."""
    return next(figure for figure in method.figures if figure.name == name)


def _per_seed(method: MethodResult, study: Study) -> list[str]:
    found = [figure_of(method, metric).per_seed for metric in judged(study)]
    return [_percent(by_seed[str(s)]) if str(s) in by_seed else "–" for by_seed in found for s in study.seeds]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _interval(figure: Figure) -> str:
    if figure.interval is None:
        return _percent(figure.value)
    return f"{_percent(figure.value)} [{_percent(figure.interval[0])}, {_percent(figure.interval[1])}]"


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_plot(study: Study, paths: Sequence[Path]) -> None:
    """Plot a panel for each judged metric, with a point and its interval for each method; maskings are joined."""
    from evals.plots import Panel, lines_figure

    panels = []
    for metric in judged(study):
        points = {m.method: (m.cost.activation_bytes / 1e6, figure_of(m, metric)) for m in study.methods}
        joined = [(label, [points.pop(name) for name in names if name in points]) for label, names in LINES]
        lines = [_line(label, found, joined=True) for label, found in joined if found]
        lines += [_line(name, [point], joined=False) for name, point in points.items()]
        title = "activations kept in training, one video (MB)"
        panels.append(
            Panel(lines, title, "%", TITLES[metric], x_log=10, level=100 * study.chances[metric], ticks=_ticks(lines))
        )
    figure = lines_figure(panels, 470 * len(panels), 360)
    for path in paths:
        figure.savefig(path, dpi=150)


def _line(label: str, points: Sequence[tuple[float, Figure]], *, joined: bool) -> Line:
    from evals.plots import Line

    spans = [figure.interval or (figure.value, figure.value) for _, figure in points]
    ends = [(100 * low, 100 * high) for low, high in spans]
    return Line(label, [x for x, _ in points], [100 * figure.value for _, figure in points], ends, joined=joined)


def _ticks(lines: Sequence[Line]) -> list[tuple[float, str]]:
    """Return 1, 2 and 5 in each decade that has points."""
    xs = [x for line in lines for x in line.xs]
    found = [factor * 10.0**decade for decade in range(-3, 7) for factor in (1, 2, 5)]
    return [(tick, f"{tick:g}") for tick in found if xs and min(xs) / 2 <= tick <= max(xs) * 2]


STUDY = Path("studies/masking/study.json")
METRIC = "text_to_video_r1"
BENCH = Path("bench.json")
QUICK_SIZE, QUICK_FRAMES = "tiny", 16


def bench_frame(path: Path | None) -> pd.DataFrame:
    """Return a row per method, size and frame count of a bench report, or of a quick count of the tiny size.

    `training_gb` and `activations_gb`, which masking reduces, are counted in 10^9 bytes. Raises DataError.
    """
    if path is not None and path.is_file():
        report = read_json(path)
    else:
        from lab.bench.suite import BenchOptions, bench

        report = bench(BenchOptions((QUICK_SIZE,), (QUICK_FRAMES,)))
    rows = [{**asdict(row), "training_gb": row.total_bytes / 1e9} for row in report.rows]
    frame = pd.DataFrame(rows)
    frame["activations_gb"] = frame["activation_bytes"] / 1e9
    return frame[["size", "frames", "method", "mask", "tokens", "trainable", "activations_gb", "training_gb"]]


def study_frame(path: Path, metric: str = METRIC) -> pd.DataFrame:
    """Return a row per method of a study, cheapest first: mean over seeds with its interval, and training memory.

    `activations_mb` is for one clip, `training_mb` for the batch with weights and optimiser, in 10^6 bytes.
    Raises RecordError if the file is not a study.
    """
    rows = [
        {
            "method": method.method,
            "metric": figure.name,
            "value": figure.value,
            "low": figure.interval[0] if figure.interval else figure.value,
            "high": figure.interval[1] if figure.interval else figure.value,
            "seeds": figure.seeds,
            "activations_mb": method.cost.activation_bytes / 1e6,
            "training_mb": method.cost.training_bytes / 1e6,
        }
        for method in read_row(path, Study).methods
        for figure in method.figures
        if figure.name == metric
    ]
    return pd.DataFrame(rows).sort_values("activations_mb", ignore_index=True)
