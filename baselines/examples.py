"""Few-shot examples: videos, prompts and right replies that a language model reads before its own task."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tasks.digests import file_sha256
from tasks.errors import DataError
from tasks.prompt import Prompt


@dataclass(frozen=True, slots=True)
class Example:
    """What stood in for a video, what was asked about it, and the reply wanted."""

    material: str
    prompt: str
    reply: str


@dataclass(frozen=True, slots=True)
class Examples:
    """A file's examples with its digest."""

    rows: tuple[Example, ...]
    sha256: str

    def opening(self, frame: Prompt, body: Prompt) -> str:
        """All examples as text, each worded by `body` as the task itself is."""
        shown = [
            frame.fill(
                "example",
                number=str(number),
                body=body.fill("user", captions=row.material, prompt=row.prompt),
                reply=row.reply,
            )
            for number, row in enumerate(self.rows, start=1)
        ]
        return "\n\n".join([frame.fill("opening"), *shown, frame.fill("closing"), ""])


def load_examples(path: Path) -> Examples:
    """Read JSON lines `{"captions", "prompt", "reply"}`. Raises DataError naming file and line."""
    rows = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"examples file {path} can't be read ({error}); check -M examples="
        raise DataError(msg) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            rows.append(Example(str(row["captions"]), str(row["prompt"]), str(row["reply"])))
        except (ValueError, KeyError, TypeError) as error:
            msg = f"examples file {path}, line {number} must hold captions, prompt and reply ({error!r})"
            raise DataError(msg) from error
    if not rows:
        msg = f"examples file {path} is empty"
        raise DataError(msg)
    return Examples(tuple(rows), file_sha256(path))
