"""`python -m encoders.bench`: the bench on a machine that has torch and little else."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from encoders.bench.report import table, write_json, write_plot
from encoders.bench.rows import Row
from encoders.bench.run import BenchOptions, bench
from tasks.errors import LongvidError


def main(arguments: list[str] | None = None) -> int:
    """Run with command-line arguments; 0 on success, 2 with one line on standard error otherwise."""
    given = _parser().parse_args(arguments)
    options = BenchOptions(
        tuple(given.sizes),
        tuple(given.frames),
        tuple(given.methods),
        given.device,
        given.repeats,
        given.compile,
    )
    try:
        report = bench(options, _progress)
    except LongvidError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if report.skipped:
        sys.stderr.write(f"left out, peft is not installed: {', '.join(report.skipped)}\n")
    if given.json:
        write_json(report, given.json)
    if given.plot:
        write_plot(report, given.plot)
    sys.stdout.write(table(report))
    return 0


def _progress(row: Row) -> None:
    sys.stderr.write(f"{row.size} {row.frames} {row.method}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m encoders.bench", description=__doc__)
    parser.add_argument("--device", default="meta", help="meta counts without computing; cpu, cuda measure too")
    parser.add_argument("--sizes", nargs="+", default=["b", "l"], help="tiny, b, l")
    parser.add_argument("--frames", nargs="+", type=int, default=[16, 128, 256])
    parser.add_argument("--methods", nargs="*", default=[], help="names; all when left out")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs, of which the median counts")
    parser.add_argument("--compile", action="store_true", help="torch.compile the timed forward pass")
    parser.add_argument("--json", type=Path, help="write the report here")
    parser.add_argument("--plot", type=Path, help="write the plot here (needs matplotlib)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
