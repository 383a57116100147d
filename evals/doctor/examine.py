"""All checks, in the order they are shown; those that wait for something wait side by side."""

from __future__ import annotations

import shutil
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from evals.doctor.check import Check
from evals.doctor.data import data_checks
from evals.doctor.network import hub_check, server_check
from evals.doctor.packages import package_checks, program_checks
from evals.doctor.probe import ask

LEAST_FREE = 1 << 30


def examine(data: Path | None, *, network: bool = True, server: str | None = None, videos: int = 3) -> list[Check]:
    """Look at everything; `videos` of each benchmark are decoded, and without `network` nothing is asked there."""
    with ThreadPoolExecutor() as pool:
        models = pool.submit(model_checks)
        programs = pool.submit(program_checks)
        reached = [pool.submit(hub_check), pool.submit(server_check, server)] if network else []
        local = data_checks(data, videos)
        return [
            *package_checks(),
            *models.result(),
            *programs.result(),
            *(answer.result() for answer in reached),
            disk_check(Path.cwd()),
            *local,
        ]


def model_checks() -> list[Check]:
    """The device, and which models' code loads: asked in a process of its own so that this one stays light."""
    answers = ask("models")
    if isinstance(answers, str):
        return [Check("models", ok=False, found=f"could not be tried: {answers}", optional=True)]
    device = answers.pop("device", None)
    why: dict[str, list[str]] = defaultdict(list)
    for name, fault in answers.items():
        if fault:
            why[fault].append(name)
    loaded = f"{sum(fault is None for fault in answers.values())} of {len(answers)} load"
    told = [loaded, *(f"{', '.join(names)}: {fault}" for fault, names in why.items())]
    return [
        Check("GPU", ok=device is not None, found=device or "none: models run on the CPU", optional=True),
        Check("models", ok=not why, found="; ".join(told), optional=True),
    ]


def disk_check(place: Path) -> Check:
    """Room for records."""
    free = shutil.disk_usage(place).free
    return Check("free disk here", free > LEAST_FREE, f"{free / 1e9:.0f} GB")
