"""`python -m encoders.bench`, the former name of `python -m lab.bench.suite`, kept working."""

from __future__ import annotations

import runpy

if __name__ == "__main__":
    runpy.run_module("lab.bench.suite", run_name="__main__", alter_sys=True)
