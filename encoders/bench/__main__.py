"""`python -m encoders.bench`: all of the encoder's figures on a machine that has torch and NumPy and little else.

Peers that are not installed are named and left out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from encoders.bench.report import comparison_tables, report_of, table, write_plot
from encoders.bench.suite import Asked, bench_encode
from tasks.errors import LongvidError


def main(arguments: list[str] | None = None) -> int:
    """Run with command-line arguments; 0 on success, 2 with one line on standard error otherwise."""
    given = _parser().parse_args(arguments)
    asked = Asked(
        given.device,
        tuple(given.sizes),
        tuple(given.frames),
        tuple(given.methods),
        given.repeats,
        given.compile,
    )
    try:
        result = bench_encode(asked, _progress, steps=True)
    except LongvidError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    report = report_of(result)
    if report.skipped:
        sys.stderr.write(f"left out, peft is not installed: {', '.join(report.skipped)}\n")
    if given.json:
        given.json.write_text(result.to_json(), encoding="utf-8")
    if given.plot:
        write_plot(report, given.plot)
    sys.stdout.write(table(report) + comparison_tables(result.comparisons))
    return 0


def _progress(note: str) -> None:
    sys.stderr.write(f"{note}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m encoders.bench", description=__doc__)
    parser.add_argument("--device", default="meta", help="meta counts without computing; cpu, cuda measure too")
    parser.add_argument("--sizes", nargs="+", default=[], help="tiny, b, l; default: b l, on a CPU b")
    parser.add_argument("--frames", nargs="+", type=int, default=[], help="default: 16 128 256, on a CPU 16")
    parser.add_argument("--methods", nargs="*", default=[], help="names; all when left out, on a CPU two")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs, of which the median counts")
    parser.add_argument("--compile", action="store_true", help="torch.compile the timed forward passes, the peers' too")
    parser.add_argument("--json", type=Path, help="write the report here")
    parser.add_argument("--plot", type=Path, help="write the plot here (needs matplotlib)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
