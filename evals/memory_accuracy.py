"""Training memory against accuracy, method by method: what was counted, what was measured, and what is missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from encoders.bench.report import read_json
from tasks.errors import DataError

STUDY = Path("studies/masking.json")
BENCH = Path("bench.json")
QUICK_SIZE, QUICK_FRAMES = "tiny", 16


def bench_frame(path: Path | None) -> pd.DataFrame:
    """A row per method, size and frame count of a bench report; of a quick count of the tiny size where there is none.

    `training_gb` is by count, `activations_gb` what masking saves, both in 10^9 bytes. Raises DataError.
    """
    if path is not None and path.is_file():
        report = read_json(path)
    else:
        from encoders.bench.run import BenchOptions, bench

        report = bench(BenchOptions((QUICK_SIZE,), (QUICK_FRAMES,)))
    rows = [{**asdict(row), "training_gb": row.total_bytes / 1e9} for row in report.rows]
    frame = pd.DataFrame(rows)
    frame["activations_gb"] = frame["activation_bytes"] / 1e9
    return frame[["size", "frames", "method", "mask", "tokens", "trainable", "activations_gb", "training_gb"]]


def study_frame(path: Path) -> pd.DataFrame:
    """A row per method of a study: mean over seeds, lowest and highest, and how many seeds; empty without the file.

    The file is `{"metric": name, "rows": [{"method", "value", "seed"}]}`. Raises DataError where it is not.
    """
    columns = ["method", "metric", "value", "low", "high", "seeds"]
    if not path.is_file():
        return pd.DataFrame(columns=columns)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        metric = str(content["metric"])
        rows = [(str(row["method"]), float(row["value"]), int(row["seed"])) for row in content["rows"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{path} is not a study: it must hold 'metric' and 'rows' of method, value and seed ({error!r})"
        raise DataError(msg) from error
    grouped = pd.DataFrame(rows, columns=["method", "value", "seed"]).groupby("method", sort=False)
    frame = grouped.agg(value=("value", "mean"), low=("value", "min"), high=("value", "max"), seeds=("seed", "nunique"))
    return frame.reset_index().assign(metric=metric)[columns]


def joined(bench: pd.DataFrame, study: pd.DataFrame) -> pd.DataFrame:
    """Methods that have both, cheapest first."""
    return bench.merge(study, on="method").sort_values("training_gb", ignore_index=True)


def missing(bench: pd.DataFrame, study: pd.DataFrame, bench_file: Path, study_file: Path) -> Sequence[str]:
    """What a reader has to know is not there, a sentence each."""
    said = []
    if not bench_file.is_file():
        said.append(
            f"{bench_file.name} is not there: memory is that of the {QUICK_SIZE} size on {QUICK_FRAMES} frames; "
            f"'longvid bench encoder --json {bench_file.name}' counts b and l"
        )
    if study.empty:
        said.append(f"{study_file.name} is not there: no method has an accuracy yet, and none is made up")
    else:
        without = sorted(set(bench["method"]) - set(study["method"]))
        said += [f"no accuracy of {', '.join(without)}"] if without else []
    return said
