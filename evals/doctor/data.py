"""Each benchmark's files, counted by loading them; its videos, counted, sampled and weighed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from evals.benchmarks import benchmark_folder, load_task
from evals.doctor.check import Check
from evals.doctor.probe import ask
from evals.planning import spread
from tasks.errors import DataError
from tasks.registry import Benchmark, benchmarks

GB = 1e9


def data_checks(data: Path | None, sampled: int = 3) -> list[Check]:
    """Two checks a benchmark: its annotations, and its videos once for each folder of them."""
    checks: list[Check] = []
    seen: set[Path] = set()
    for benchmark in benchmarks().entries.values():
        try:
            folder = benchmark_folder(benchmark, data)
            tasks = [load_task(benchmark, pool, data) for pool in benchmark.pools_in(folder)]
        except DataError as error:
            checks.append(Check(benchmark.name, ok=False, found=str(error), optional=True))
            continue
        clips = {item.clip.video_id: item.clip for task in tasks for item in task.items()}
        counts = "; ".join(f"{task.info.name}: {len(task.items())} items" for task in tasks)
        checks.append(Check(benchmark.name, ok=True, found=f"{counts} ({folder})", optional=True))
        if folder not in seen:
            there = [clip.path for clip in clips.values() if clip.path is not None]
            checks.append(video_check(benchmark, folder, there, len(clips), sampled))
        seen.add(folder)
    return checks


def video_check(benchmark: Benchmark, folder: Path, there: Sequence[Path], total: int, sampled: int) -> Check:
    """How many videos are there, whether some of them decode, and what room the others would need."""
    size = sum(path.stat().st_size for path in there)
    parts = [f"{len(there)} of {total}" + (f", {size / GB:.1f} GB" if there else "")]
    if len(there) < total:
        parts.append(room(benchmark, folder, len(there), total, size))
    tried = [str(path) for path in spread(there, sampled)]
    faults = ask("videos", *tried) if tried else {}
    if isinstance(faults, str):
        parts.append(f"none could be tried: {faults}")
    elif tried:
        broken = [fault for fault in faults.values() if fault]
        parts.append(f"{len(tried) - len(broken)} of {len(tried)} tried decode" + "".join(f"; {b}" for b in broken))
    fine = isinstance(faults, dict) and not any(faults.values())
    return Check(f"{benchmark.data_folder} videos", ok=bool(there) and fine, found="; ".join(parts), optional=True)


def room(benchmark: Benchmark, folder: Path, there: int, total: int, size: int) -> str:
    """The room that missing videos need, by the mean of those there or the published size, against what is free."""
    free = shutil.disk_usage(folder).free
    needed = size / there * (total - there) if there else benchmark.video_gigabytes * GB
    if not needed:
        return f"the others need room that nobody published ({free / GB:.0f} GB are free)"
    fits = "" if needed < free else ": NOT ENOUGH"
    return f"the others need about {needed / GB:.0f} GB ({free / GB:.0f} GB are free{fits})"
