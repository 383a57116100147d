"""The bench as JSON, as a Markdown table and as a plot."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from encoders.bench.rows import Machine, Report, Row
from tasks.errors import DataError

NOTHING = "-"
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


def write_json(report: Report, path: Path) -> None:
    """Machine facts and rows; byte counts are whole numbers, missing measurements null."""
    path.write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Report:
    """Read `write_json`'s file. Raises DataError when it isn't one."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(Row(**row) for row in data["rows"])
        return Report(Machine(**data["machine"]), rows, tuple(data["skipped"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a bench report: {error}") from error


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
