"""The bench as JSON, as a Markdown table and as a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from encoders.bench.machine import machine_facts
from encoders.bench.result import Comparison, Facts, Result, read_result
from encoders.bench.result import Row as Way
from encoders.bench.rows import Machine, Report, Row
from tasks.errors import DataError

NOTHING = "-"
COMPARED = ("way", "median s", "median CPU s", "time against ours", "CPU time against ours", "and")
COLUMNS = (
    "size",
    "frames",
    "method",
    "tokens",
    "parameters",
    "trainable",
    "forward TFLOP",
    "train TFLOP",
    "activations GB",
    "training GB",
    "CUDA peak GB",
    "step s",
    "videos/s",
    "of matmul",
)


def as_result(report: Report, comparisons: tuple[Comparison, ...] = (), settings: Facts | None = None) -> Result:
    """The report as a bench's result; byte counts are whole numbers, missing measurements null."""
    return Result("encode", machine_facts(report.machine.name), settings or {}, comparisons, asdict(report))


def write_json(report: Report, path: Path) -> None:
    """The report alone, as `read_json` reads it."""
    path.write_text(as_result(report).to_json(), encoding="utf-8")


def read_json(path: Path) -> Report:
    """The report in a result's file. Raises DataError when it isn't one."""
    data = read_result(path)["details"]
    try:
        return _report(data)
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} is not a bench report: {error}") from error


def report_of(result: Result) -> Report:
    """The report in a result of `bench encode`."""
    return _report(result.details)


def _report(data: Mapping[str, Any]) -> Report:
    rows = tuple(Row(**row) for row in data["rows"])
    return Report(Machine(**data["machine"]), rows, tuple(data["skipped"]))


def comparison_tables(comparisons: Sequence[Comparison]) -> str:
    """Each comparison as a Markdown table."""
    parts = []
    for comparison in comparisons:
        head = f"\n{comparison.work}\n\n| " + " | ".join(COMPARED) + " |\n|" + " --- |" * len(COMPARED)
        lines = ["| " + " | ".join(compared(row)) + " |" for row in comparison.rows]
        parts.append("\n".join([head, *lines]) + "\n")
    return "".join(parts)


def compared(row: Way) -> tuple[str, ...]:
    """A way's figures in the order of COMPARED; why there are none, where there are none."""
    return (
        row.name,
        _measured(row.median_seconds, digits=3),
        _measured(row.median_cpu_seconds, digits=3),
        _measured(row.ratio),
        _measured(row.cpu_ratio),
        row.missing or _facts(row.facts) or NOTHING,
    )


def _facts(facts: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {_fact(value)}" for name, value in facts.items())


def _fact(value: object) -> str:
    if isinstance(value, Mapping):
        return f"({_facts(value)})"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def cells(row: Row, machine: Machine) -> tuple[str, ...]:
    """A row's figures in the order of COLUMNS; a dash where nothing was measured. GB are 10^9 bytes."""
    share = row.matmul_share(machine)
    return (
        row.size.upper(),
        str(row.frames),
        row.method,
        f"{row.tokens:,}",
        f"{row.parameters / 1e6:.1f}M",
        f"{row.trainable / 1e6:.1f}M",
        f"{row.forward_flops / 1e12:.2f}",
        f"{row.train_flops / 1e12:.2f}",
        f"{row.activation_bytes / 1e9:.2f}",
        f"{row.total_bytes / 1e9:.2f}",
        row.note or _measured(row.peak_bytes, 1e9),
        _measured(row.step_seconds, digits=3),
        _measured(row.videos_per_second, digits=1),
        NOTHING if share is None else f"{share:.0%}",
    )


def table(report: Report) -> str:
    """All rows as a Markdown table; columns that nothing was measured for are left out."""
    lines = [cells(row, report.machine) for row in report.rows]
    shown = [at for at in range(len(COLUMNS)) if any(line[at] != NOTHING for line in lines)]
    head = ["| " + " | ".join(COLUMNS[at] for at in shown) + " |", "|" + " --- |" * len(shown)]
    return "\n".join(head + ["| " + " | ".join(line[at] for at in shown) + " |" for line in lines]) + "\n"


def write_plot(report: Report, path: Path) -> None:
    """Training memory over frames, a panel for each size and a line for each method."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    sizes = list(dict.fromkeys(row.size for row in report.rows))
    figure = Figure(figsize=(5 * len(sizes) + 2, 5), layout="constrained")
    for panel, size in enumerate(sizes, 1):
        axes = figure.add_subplot(1, len(sizes), panel)
        axes.set_prop_cycle(color=[colormaps["tab20"](at) for at in range(20)])
        rows = [row for row in report.rows if row.size == size]
        for method in dict.fromkeys(row.method for row in rows):
            line = [row for row in rows if row.method == method]
            axes.plot(
                [row.frames for row in line],
                [row.total_bytes / 1e9 for row in line],
                marker="o",
                label=method,
            )
        axes.axhline(16, color="grey", linestyle=":", linewidth=1)
        axes.set(
            title=f"ViT-{size.upper()}",
            xlabel="frames",
            ylabel="training memory, one video (GB)",
            yscale="log",
        )
        axes.set_xticks(sorted({row.frames for row in rows}))
    methods, names = figure.axes[0].get_legend_handles_labels() if sizes else ([], [])
    figure.legend(methods, names, loc="outside right upper", fontsize=7)
    figure.savefig(path)


def _measured(value: float | None, unit: float = 1.0, digits: int = 2) -> str:
    return NOTHING if value is None else f"{value / unit:.{digits}f}"
