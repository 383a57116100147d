"""A symbolic twin of the long stage: one token a tubelet, which names what is shown, and the shipped blocks over it.

Nothing is left to recognise, so that a change of objective, rate or batch shows what it does to order, counts and
causes within minutes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from encoders.config import EncoderConfig, TextConfig, VisionConfig
from encoders.dual import build_encoder
from encoders.pretrain.contrastive import Collate, ContrastiveStep, StatementLoss, Views
from encoders.pretrain.data import Loader, Sample, TextView
from encoders.pretrain.evaluate import Evaluation
from encoders.pretrain.kitchen import benchmark_questions, whole_statements
from encoders.pretrain.step import Job, Request
from encoders.pretrain.world import World
from encoders.tokens import TextTokenizer, train_tokenizer
from tasks.kitchen.plan import Plan, make_plan
from tasks.kitchen.world import ACCENTS as BRIEF
from tasks.kitchen.world import BASES, CUTAWAYS, FINISHES, INGREDIENTS, LIQUIDS, OUTCOMES, SIGNALS

FRAMES, SIDE = 128, 16
SYMBOLS = tuple(
    [("decoy", name) for name in INGREDIENTS]
    + [("", name) for names in (INGREDIENTS, BASES, LIQUIDS, FINISHES, OUTCOMES, BRIEF, SIGNALS) for name in names]
    + [("", name) for name in CUTAWAYS]
)


def symbol_pixels(plan: Plan) -> NDArray[np.uint8]:
    """A video of one token a tubelet: a stripe of its own for each thing, [FRAMES, SIDE, SIDE, 3]."""
    frames = np.zeros((FRAMES, SIDE * SIDE * 3), dtype=np.uint8)
    wide = frames.shape[1] // len(SYMBOLS)
    for at in range(0, FRAMES, 2):
        second = plan.duration * (at + 1) / FRAMES
        event = next(event for event in plan.events if second < event.end)
        place = SYMBOLS.index(("decoy" if event.kind == "decoy" else "", event.what))
        frames[at : at + 2, place * wide : (place + 1) * wide] = 255
    return frames.reshape(FRAMES, SIDE, SIDE, 3)


@dataclass(frozen=True)
class TwinSource:
    """`videos` of a split, from number `first` on."""

    videos: int
    split: str = "train"
    facts: dict[str, str] = field(default_factory=lambda: {"source": "twin"})

    def __len__(self) -> int:
        return self.videos

    def load(self, requests: Iterable[Request]) -> Iterator[Sample]:
        for request in requests:
            plan = make_plan(self.split, request.index)
            statements = whole_statements(plan, plan.events, brief_apart=True)
            dish = next(view for view in statements if view.kind == "dish")
            yield Sample(plan.id, symbol_pixels(plan), (TextView(dish.text),), statements, benchmark_questions(plan))

    def texts(self) -> Iterator[str]:
        for index in range(40):
            for view in whole_statements(make_plan("train", index), ()):
                yield view.text


@cache
def twin_tokenizer() -> TextTokenizer:
    return train_tokenizer(TwinSource(40).texts(), 512)


def twin_job(width: int, depth: int, batch: int, *, videos: int = 400_000, seed: int = 0) -> tuple[Job, Evaluation]:
    """The twin with its data, and what measures it on held-out videos."""
    vision = VisionConfig(width=width, depth=depth, heads=4, mlp=4 * width, size=SIDE, patch=SIDE, frames=FRAMES)
    text = TextConfig(width=64, depth=1, heads=2, mlp=128, vocabulary=512, context=48)
    encoder = build_encoder(EncoderConfig("twin", vision, text, embed=128), seed=seed)
    encoder.text.use_plain_attention()
    world, tokenizer = World(), twin_tokenizer()
    views = Views(1, 0, statements=16, false_statements=26, circle=batch, balance="kinds")
    loader = Loader(TwinSource(videos), batch, Collate(vision, tokenizer, 48, views), seed, world, family=4)
    step = ContrastiveStep(encoder, statements=StatementLoss(weight=4.0))
    held_out = Evaluation(encoder, tokenizer, TwinSource(96, "val"), 96, 32, world.device, "float32")
    return Job(step, loader), held_out
