"""`longvid kitchen-retrieval …`, or `python -m evals.kitchen_retrieval …`: the shared verbs."""

from __future__ import annotations

from evals.benchmark_app import benchmark_app
from evals.benchmarks import BENCHMARKS

app = benchmark_app(BENCHMARKS["kitchen-retrieval"])


if __name__ == "__main__":
    from evals.cli import run_app

    run_app(app)
