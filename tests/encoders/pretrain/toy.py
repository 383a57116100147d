"""A source whose right answers are known: a square of a colour in a corner, and its sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from encoders.pretrain.checkpoint import Plan
from encoders.pretrain.contrastive import Balance, Collate, ContrastiveStep, StatementLoss, Views
from encoders.pretrain.data import Loader, Sample, TextView
from encoders.pretrain.step import BadSample, Job, Request
from encoders.pretrain.world import World, sharing_units
from encoders.tokens import byte_tokenizer
from tests.encoders.small import encoder

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
CORNERS = {"top left": (0, 0), "top right": (0, 16), "bottom left": (16, 0), "bottom right": (16, 16)}
KINDS = [(colour, corner) for colour in COLOURS for corner in CORNERS]
PLAN = Plan(steps=12, lr=1e-3, warmup=2, log=2, save=4, dtype="float32")


def toy_sample(request: Request, frames: int = 8, *, two_kinds: bool = False) -> Sample:
    """Sample `index` is always the same; where its noise lies follows from the draw."""
    colour, corner = KINDS[request.index % len(KINDS)]
    rng = np.random.default_rng(request.draw)
    pixels = rng.integers(0, 60, (frames, 32, 32, 3), dtype=np.uint8)
    top, left = CORNERS[corner]
    pixels[:, top : top + 16, left : left + 16] = COLOURS[colour]
    others = tuple(f"a {other} square, {corner}" for other in COLOURS if other != colour)
    corners = tuple(f"it is {other}" for other in CORNERS if other != corner)
    colours = tuple(f"painted {other}" for other in COLOURS if other != colour)
    return Sample(
        f"toy{request.index}",
        pixels,
        (TextView(f"a {colour} square, {corner}", others),),
        (
            TextView(f"it is {corner}", corners, "place"),
            *((TextView(f"painted {colour}", colours, "colour"),) if two_kinds else ()),
        ),
    )


@dataclass(frozen=True)
class ToySource:
    """`count` samples; those of `broken` can't be read."""

    count: int = 16
    broken: frozenset[int] = frozenset()
    frames: int = 8
    two_kinds: bool = False
    facts: dict[str, str] = field(default_factory=lambda: {"source": "toy"})

    def __len__(self) -> int:
        return self.count

    def load(self, requests: Iterable[Request]) -> Iterator[Sample | BadSample]:
        for request in requests:
            if request.index in self.broken:
                yield BadSample(f"toy{request.index}", "it is broken")
            else:
                yield toy_sample(request, self.frames, two_kinds=self.two_kinds)

    def texts(self) -> Iterator[str]:
        for index in range(self.count):
            yield toy_sample(Request(index, 0), 1).captions[0].text


def toy_job(
    world: World | None = None,
    *,
    source: ToySource | None = None,
    batch: int = 8,
    mask: float = 0.5,
    chunk: int = 0,
    statements: int = 1,
    circle: int = 1,
    false: int = 2,
    balance: Balance = "statements",
    fixed_texts: bool = False,
) -> Job:
    model = encoder()
    model.text.requires_grad_(not fixed_texts)
    views = Views(1, 2, statements=statements, false_statements=false, circle=circle, balance=balance)
    collate = Collate(model.config.vision, byte_tokenizer(), 32, views, mask)
    loader = Loader(source or ToySource(), batch, collate, seed=0, world=world or World())
    told = StatementLoss() if statements else None
    return Job(ContrastiveStep(model, chunk=chunk, statements=told), loader, units=sharing_units(model))


def main(folder: str) -> None:
    """Train as a process of its own, to be killed."""
    from encoders.pretrain.engine import train

    torch.set_num_threads(1)
    train(toy_job(), PLAN, Path(folder), seed=0)


if __name__ == "__main__":
    import sys

    main(sys.argv[1])
