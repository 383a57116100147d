"""Facts about the machine that figures are measured on; never loads torch."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "longvid", "numpy", "torch", "av", "transformers", "open_clip_torch", "eva-decord", "torchcodec",
    "opencv-python-headless", "pycocoevalcap",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """Processor, the cores this process may use, memory (bytes), device, torch's threads, versions of ours and peers.

    `busy` is the load average over the last minute before measuring, divided by the cores: near 0 on a quiet machine.
    `threads` is null if torch was not used.
    """

    processor: str
    cores: int
    memory_bytes: int | None
    platform: str
    device: str
    threads: int | None
    busy: float | None
    versions: dict[str, str]


def machine_facts(device: str = "cpu") -> MachineFacts:
    """Return facts about this machine and process, as they are now."""
    torch = sys.modules.get("torch")
    cores = usable_cores()
    return MachineFacts(
        processor=processor(),
        cores=cores,
        memory_bytes=_memory(),
        platform=f"{platform.platform()}, Python {platform.python_version()}",
        device=device,
        threads=torch.get_num_threads() if torch else None,
        busy=round(os.getloadavg()[0] / cores, 2) if hasattr(os, "getloadavg") else None,
        versions=installed(PACKAGES),
    )


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """Return the CPU's name, as far as the system reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown CPU"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown CPU"


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
