"""What each method of the paper costs: parameters, tokens, FLOPs, time and training memory.

Needs torch alone: `python -m encoders.bench --device cuda --json FILE` runs on a bare GPU machine.
"""

from encoders.bench.methods import METHODS, Method
from encoders.bench.report import read_json, table, write_json, write_plot
from encoders.bench.rows import Machine, Report, Row
from encoders.bench.run import BenchOptions, bench, run_encoder_bench

__all__ = [
    "METHODS",
    "BenchOptions",
    "Machine",
    "Method",
    "Report",
    "Row",
    "bench",
    "read_json",
    "run_encoder_bench",
    "table",
    "write_json",
    "write_plot",
]
