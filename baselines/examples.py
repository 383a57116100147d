"""Few-shot examples: videos, prompts and right replies that a language model reads before its own task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from typing_extensions import TypedDict

from tasks.digests import file_sha256
from tasks.files import read_rows
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


class Row(TypedDict):
    """A line of the file."""

    captions: str
    prompt: str
    reply: str


def load_examples(path: Path) -> Examples:
    """Read JSON lines `{"captions", "prompt", "reply"}`. Raises DataError naming file, line and field."""
    rows = read_rows(path, Row, "examples file")
    return Examples(tuple(Example(row["captions"], row["prompt"], row["reply"]) for _, row in rows), file_sha256(path))
