"""A benchmark and a model that are not part of longvid: what a stranger's package may look like, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tasks.multiple_choice import ChoiceItem, ChoicePrompts, MultipleChoiceTask, item_set_digest
from tasks.registry import Benchmark
from tasks.task import Clip, TaskInfo

COLOURS = ("red", "green", "blue", "yellow")
PROMPTS = ChoicePrompts("own-similarity.v1", "own-loglik.v1", "own-letter.v1", "own-generate.v1")


def load(folder: Path, pool: str) -> MultipleChoiceTask:
    """Twelve questions about three videos in `folder`, which a model without eyes may answer, too."""
    items = [
        ChoiceItem(
            id=f"q{n:02d}",
            cluster=f"video{n // 4}",
            clip=Clip(f"video{n // 4}", 0.0, 10.0, folder / f"video{n // 4}.mp4"),
            question="Which colour is the ball?",
            options=COLOURS,
            answer=n % 4,
        )
        for n in range(int(pool))
    ]
    info = TaskInfo(
        name=f"colours@{pool}",
        family="multiple-choice",
        version="1",
        item_count=len(items),
        items_sha256=item_set_digest(items),
        primary_metric="accuracy",
        chance=0.25,
        cluster="video",
        source="this file",
        licence="Apache-2.0",
        citation="none",
    )
    return MultipleChoiceTask(info, items, PROMPTS)


BENCHMARK = Benchmark("colours", "Colours: which colour is the ball?", ("12", "4"), load, everything="12")


class Blue:
    """Always says blue, in words."""

    system = "text"

    def __init__(self, word: str = "blue") -> None:
        self.word = word

    def generate(self, requests: Sequence[object]) -> list[str]:
        return [f"The ball is {self.word}." for _ in requests]
