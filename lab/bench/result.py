"""The common form of every bench's result: each way's time per round, its ratio to ours, and the machine.

Below it the report of `bench encode`, a row for each method, as JSON, as a Markdown table and as a plot.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

from tasks.errors import DataError, LongvidError
from tasks.machine import MachineFacts, machine_facts
from tasks.task import JsonValue

Facts = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: wall seconds, processor seconds (all threads and finished child processes), and other facts."""

    seconds: float
    cpu_seconds: float
    facts: Facts = field(default_factory=dict)


Way = Callable[[], Measured]


class NotMeasuredError(LongvidError):
    """Why a peer gave no figure: it is not installed, ran out of memory, hung."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One way of doing the work, with the seconds of each round.

    `ratio` is the median over rounds of its time over ours in the same round: above 1, ours is faster; `cpu_ratio`
    likewise, which other load on the machine hardly affects. `missing` says why there is no figure.
    """

    name: str
    seconds: tuple[float, ...] = ()
    cpu_seconds: tuple[float, ...] = ()
    median_seconds: float | None = None
    median_cpu_seconds: float | None = None
    ratio: float | None = None
    cpu_ratio: float | None = None
    facts: Facts = field(default_factory=dict)
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same work done in several ways, ours first."""

    work: str
    rows: tuple[Timing, ...]
    facts: Facts = field(default_factory=dict)

    def row(self, name: str) -> Timing:
        """Return the way of that name."""
        return next(row for row in self.rows if row.name == name)


@dataclass(frozen=True, slots=True)
class Result:
    """A bench's whole result; `details` are its own."""

    bench: str
    machine: MachineFacts
    settings: Facts
    comparisons: tuple[Comparison, ...]
    details: Facts = field(default_factory=dict)

    def to_json(self) -> str:
        """Return indented JSON."""
        return json.dumps(asdict(self), indent=1, default=str) + "\n"


def read_result(path: Path) -> dict[str, Any]:
    """Read a result's JSON. Raises DataError if it is not one."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise DataError(f"{path} is not a bench result: not an object")
        missing = [key for key in ("bench", "machine", "comparisons", "details") if key not in data]
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a bench result: {error}") from error
    if missing:
        raise DataError(f"{path} is not a bench result: it has no {missing[0]}")
    return data


def cpu_seconds() -> float:
    """Return the processor time of this process, all its threads, and its finished children."""
    spent = os.times()
    return process_time() + spent.children_user + spent.children_system


def clocked(call: Callable[[], object], drain: Callable[[], None] = lambda: None, facts: Facts | None = None) -> Way:
    """Make `call` a way that is timed; the device is synchronised before each reading."""

    def run() -> Measured:
        drain()
        begin, before = perf_counter(), cpu_seconds()
        call()
        drain()
        return Measured(perf_counter() - begin, cpu_seconds() - before, facts or {})

    return run


def in_turn(
    work: str,
    ways: Mapping[str, Way],
    rounds: int,
    done: Callable[[str], None],
    *,
    facts: Facts | None = None,
    warm_up: bool = True,
) -> Comparison:
    """Run every way once in each round, ours first, so that other load affects all alike.

    With `warm_up`, a first round does not count. A way that raises NotMeasuredError is not run again.
    """
    found: list[dict[str, Measured]] = []
    missing: dict[str, str] = {}
    for number in range(rounds + warm_up):
        measured: dict[str, Measured] = {}
        for name, way in ways.items():
            if name in missing:
                continue
            try:
                measured[name] = way()
            except NotMeasuredError as error:
                missing[name] = str(error)
        if number or not warm_up:
            found.append(measured)
            done(f"{work}, round {len(found)} of {rounds}")
    return Comparison(work, rows_of(list(ways), found, missing), facts or {})


def rows_of(
    names: Sequence[str], rounds: Sequence[Mapping[str, Measured]], missing: Mapping[str, str]
) -> tuple[Timing, ...]:
    """Make rows from measurements by round; the first name is ours."""
    ours = names[0]
    rows = []
    for name in names:
        runs = [measured[name] for measured in rounds if name in measured]
        if not runs:
            rows.append(Timing(name, missing=missing.get(name, "no result")))
            continue
        both = [(m[name], m[ours]) for m in rounds if name in m and ours in m]
        rows.append(
            Timing(
                name,
                tuple(run.seconds for run in runs),
                tuple(run.cpu_seconds for run in runs),
                median(run.seconds for run in runs),
                median(run.cpu_seconds for run in runs),
                _ratio([(run.seconds, own.seconds) for run, own in both]),
                _ratio([(run.cpu_seconds, own.cpu_seconds) for run, own in both]),
                runs[-1].facts,
                missing.get(name),
            )
        )
    return tuple(rows)


def _ratio(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Return the median of theirs over ours; None if the clock is too coarse for ours."""
    return median(theirs / ours for theirs, ours in pairs) if pairs and all(ours > 0 for _, ours in pairs) else None


@dataclass(frozen=True, slots=True)
class Machine:
    """Device, its measured bf16 matrix-multiply rate (FLOP/s; None on "meta"), and versions."""

    device: str
    name: str
    torch: str
    threads: int
    matmul_rate: float | None
    compiled: bool


@dataclass(frozen=True, slots=True)
class CostRow:
    """A method at a size and frame count, for one video of a training step in bf16, vision tower only.

    `activation_bytes` is what autograd keeps for the backward pass, each storage once, parameters
    left out. Trained parameters cost 2 bytes of weight and 2 of gradient in bf16, and 12 in
    fp32 for a master copy and Adam's two moments; frozen ones 2. `peak_bytes` is CUDA's own
    highest allocation over a real step. FLOPs count a multiply-add as two.
    `forward_seconds` is one forward of `forward_batch` unmasked videos without gradients, `train_seconds` a training
    step of `train_batch` videos: the most that fit, up to the same number.
    """

    size: str
    method: str
    frames: int
    mask: float
    tokens: int
    parameters: int
    trainable: int
    forward_flops: int
    train_flops: int
    activation_bytes: int
    weight_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    dense_flops: int
    forward_batch: int | None = None
    forward_seconds: float | None = None
    step_seconds: float | None = None
    peak_bytes: int | None = None
    train_batch: int | None = None
    train_seconds: float | None = None
    note: str = ""

    @property
    def total_bytes(self) -> int:
        """Counted training memory: weights, gradients, optimiser state and activations."""
        return self.weight_bytes + self.gradient_bytes + self.optimizer_bytes + self.activation_bytes

    @property
    def videos_per_second(self) -> float | None:
        """Forward throughput without masking."""
        if self.forward_seconds is None or self.forward_batch is None:
            return None
        return self.forward_batch / self.forward_seconds

    @property
    def trained_per_second(self) -> float | None:
        """Training throughput in videos."""
        if self.train_seconds is None or self.train_batch is None:
            return None
        return self.train_batch / self.train_seconds

    @property
    def fits_paper(self) -> bool:
        """Whether a training step takes no more than the paper's accelerators have, as measured or else by count."""
        return (self.peak_bytes or self.total_bytes) <= PAPER_BYTES

    def matmul_share(self, machine: Machine) -> float | None:
        """Forward FLOP/s as a share of the measured matrix-multiply rate."""
        if self.videos_per_second is None or machine.matmul_rate is None:
            return None
        return self.videos_per_second * self.dense_flops / machine.matmul_rate


@dataclass(frozen=True, slots=True)
class Report:
    """A machine, its rows, and the methods left out because a library is missing."""

    machine: Machine
    rows: tuple[CostRow, ...]
    skipped: tuple[str, ...] = ()


NOTHING = "-"
PAPER_BYTES = 16 * 10**9
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
    "in 16 GB",
    "step s",
    "trained videos/s",
    "videos/s",
    "of matmul",
)


def as_result(report: Report, comparisons: tuple[Comparison, ...] = (), settings: Facts | None = None) -> Result:
    """Turn the report into a bench's result; byte counts are integers, missing measurements null."""
    return Result("encode", machine_facts(report.machine.name), settings or {}, comparisons, asdict(report))


def write_json(report: Report, path: Path) -> None:
    """Write the report alone, as `read_json` reads it."""
    path.write_text(as_result(report).to_json(), encoding="utf-8")


def read_json(path: Path) -> Report:
    """Read the report in a result's file. Raises DataError if it is not one."""
    data = read_result(path)["details"]
    try:
        return _report(data)
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} is not a bench report: {error}") from error


def report_of(result: Result) -> Report:
    """Return the report in a result of `bench encode`."""
    return _report(result.details)


def _report(data: Mapping[str, Any]) -> Report:
    rows = tuple(CostRow(**row) for row in data["rows"])
    return Report(Machine(**data["machine"]), rows, tuple(data["skipped"]))


def comparisons_of(path: Path) -> tuple[Comparison, ...]:
    """The comparisons in a result's file. Raises DataError when it isn't one."""
    try:
        return tuple(
            Comparison(one["work"], tuple(Timing(**row) for row in one["rows"]), one["facts"])
            for one in read_result(path)["comparisons"]
        )
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} is not a bench result: {error}") from error


def comparison_tables(comparisons: Sequence[Comparison]) -> str:
    """Format each comparison as a Markdown table."""
    parts = []
    for comparison in comparisons:
        head = f"\n{comparison.work}\n\n| " + " | ".join(COMPARED) + " |\n|" + " --- |" * len(COMPARED)
        lines = ["| " + " | ".join(compared(row)) + " |" for row in comparison.rows]
        parts.append("\n".join([head, *lines]) + "\n")
    return "".join(parts)


def compared(row: Timing) -> tuple[str, ...]:
    """Return a way's figures in the order of COMPARED, or why there are none."""
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


def cells(row: CostRow, machine: Machine) -> tuple[str, ...]:
    """Return a row's figures in the order of COLUMNS, with a dash for missing ones. GB means 10^9 bytes."""
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
        "yes" if row.fits_paper else "no",
        _measured(row.step_seconds, digits=3),
        _measured(row.trained_per_second, digits=2),
        _measured(row.videos_per_second, digits=1),
        NOTHING if share is None else f"{share:.0%}",
    )


def table(report: Report) -> str:
    """Format all rows as a Markdown table; columns without measurements are left out."""
    lines = [cells(row, report.machine) for row in report.rows]
    shown = [at for at in range(len(COLUMNS)) if any(line[at] != NOTHING for line in lines)]
    head = ["| " + " | ".join(COLUMNS[at] for at in shown) + " |", "|" + " --- |" * len(shown)]
    return "\n".join(head + ["| " + " | ".join(line[at] for at in shown) + " |" for line in lines]) + "\n"


def write_plot(report: Report, path: Path) -> None:
    """Plot training memory over frames, with a panel for each size and a line for each method."""
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
        axes.axhline(PAPER_BYTES / 1e9, color="grey", linestyle=":", linewidth=1)
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
