"""Record where a run came from: code, versions, machine, command; never a secret."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from evals.record import Provenance
from tasks.files import unicode_only
from tasks.machine import installed, processor

PACKAGES = ("longvid", "numpy", "pydantic", "torch", "transformers", "open_clip_torch", "av", "vllm")
SECRET_NAME = re.compile(r"(key|token|secret|password|passwd|credentials?|authorization)$", re.IGNORECASE)
SECRET_ASSIGNMENT = re.compile(rf"((?:--[^=]+=)?[^=]*{SECRET_NAME.pattern[:-1]})=", re.IGNORECASE)
URL_PASSWORD = re.compile(r"(?<=://)[^/?#\s]+@")
URL_SECRET = re.compile(r"(?<=[?&])([\w-]*(?:key|token|secret|password|passwd))=[^&#\s]+", re.IGNORECASE)
REMOVED = "***"
COMMAND = "command"


def collect(argv: Sequence[str]) -> Provenance:
    """Collect the provenance of a run that starts now.

    Of the program only the name is kept, because its path is private.
    """
    root = Path(__file__).resolve().parent.parent
    commit = git(root, "rev-parse", "HEAD")
    changes = git(root, "status", "--porcelain", "--untracked-files=no") if commit else None
    return Provenance(
        argv=(*(Path(program).name for program in argv[:1]), *redact(argv[1:])),
        commit=commit,
        uncommitted_changes=bool(changes) if changes is not None else None,
        versions=installed(PACKAGES),
        platform=f"{platform.platform()}, Python {platform.python_version()}, {processor()}",
        threads=os.cpu_count(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def changes(before: Provenance, now: Provenance) -> list[str]:
    """List what changed for the later part of a run; empty if only the time did."""
    found = [f"code {commit_text(before)} → {commit_text(now)}"] * (
        (before.commit, before.uncommitted_changes) != (now.commit, now.uncommitted_changes)
    )
    found += [
        f"{name} {before.versions.get(name, 'none')} → {now.versions.get(name, 'none')}"
        for name in sorted(before.versions.keys() | now.versions.keys())
        if before.versions.get(name) != now.versions.get(name)
    ]
    if (before.platform, before.threads) != (now.platform, now.threads):
        found.append(f"machine {before.platform} ({before.threads} threads) → {now.platform} ({now.threads} threads)")
    if before.argv != now.argv:
        found.append(f"{COMMAND} {' '.join(before.argv)} → {' '.join(now.argv)}")
    return found


def commit_text(provenance: Provenance) -> str:
    """Describe the code's commit and whether there are uncommitted changes; `unknown` outside a checkout."""
    if provenance.commit is None:
        return "unknown"
    return f"{provenance.commit[:12]}{' with uncommitted changes' if provenance.uncommitted_changes else ''}"


def redact(argv: Sequence[str]) -> list[str]:
    """Blank the values of options whose names suggest secrets, and user names and passwords in URLs."""
    cleaned = []
    blank_next = False
    for argument in argv:
        if blank_next:
            cleaned.append(REMOVED)
            blank_next = False
            continue
        if secret := SECRET_ASSIGNMENT.match(argument):
            cleaned.append(f"{secret[1]}={REMOVED}")
            continue
        blank_next = argument.startswith("--") and "=" not in argument and bool(SECRET_NAME.search(argument))
        cleaned.append(redact_url(argument))
    return [unicode_only(argument) for argument in cleaned]


def redact_url(text: str) -> str:
    """Blank user names, passwords and secret query fields of URLs in a text."""
    return URL_SECRET.sub(rf"\1={REMOVED}", URL_PASSWORD.sub(f"{REMOVED}@", text))


def redact_options(options: dict[str, str]) -> dict[str, str]:
    """Blank secrets in a model's options."""
    shown = {name: REMOVED if SECRET_NAME.search(name) else redact_url(value) for name, value in options.items()}
    return {name: unicode_only(value) for name, value in shown.items()}


def git(root: Path, *arguments: str) -> str | None:
    """Return the output of a git command in the code's own checkout, None outside one.

    No lock is taken: a run that is killed meanwhile would leave it behind, and git would refuse to work.
    """
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
