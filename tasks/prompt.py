"""Prompt templates as versioned text files.

A file is named `<what>.v<number>.txt` and holds sections, each of which starts with a line `=== <section>`. `$name` is
replaced by a value. Changing a file that has been used requires a new version: a test pins every digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template

from tasks.errors import ModelError


@dataclass(frozen=True, slots=True)
class Prompt:
    """A template file: its sections, unfilled, and the digest of the whole text."""

    name: str
    sections: Mapping[str, str]
    sha256: str

    def fill(self, section: str, **values: str) -> str:
        """Fill a section with values; `$` signs in values are unchanged."""
        return Template(self.sections[section]).substitute(values)


@cache
def load_prompt(package: str, name: str) -> Prompt:
    """Read `<package>/prompts/<name>.txt`. Raises ModelError for an unknown name."""
    folder = files(package).joinpath("prompts")
    source = folder.joinpath(f"{name}.txt")
    if not source.is_file():
        known = ", ".join(sorted(p.name.removesuffix(".txt") for p in folder.iterdir()))
        msg = f"no prompt '{name}' in {package}/prompts; there are: {known}"
        raise ModelError(msg)
    text = source.read_text(encoding="utf-8")
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        if line.startswith("=== "):
            current = sections.setdefault(line.removeprefix("=== ").strip(), [])
        else:
            current.append(line)
    return Prompt(
        name=name,
        sections={key: "\n".join(lines).strip() for key, lines in sections.items()},
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )
