"""A model that can only pass by looking: it follows swapped frames and is at chance on blank ones, by all routes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baselines.llm.options import Sampling
from baselines.llm.protocol import Chat, Shown
from baselines.llm.vision_local import TransformersVisionModel, grown, load_vision_model
from baselines.models import VisionOptions
from baselines.vision_model import build_vision_model
from encoders.frames import Frames
from tasks.multiple_choice import ChoiceItem, ChoicePrompts, MultipleChoiceTask, lettered
from tasks.prompt import load_prompt
from tasks.routes import Route
from tasks.task import Clip, TaskInfo
from tests.baselines.llm.tiny_vision import WRITERS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program"),
]
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}
QUESTION = "Which colour is it?"
PROMPTS = ("own-similarity.v1", "own-loglik.v1", "own-letter.v1", "own-generate.v1")
INFO = TaskInfo("look@3", "multiple-choice", "1", 3, "0", "accuracy", 1 / 3, "video", "a test", "none", "none")
STEPS, RATE = 240, 3e-3
ROUTES = (Route.OPTIONS_LOGLIK, Route.LETTER_LOGPROB, Route.GENERATE)


def frames_of(colour: tuple[int, ...], rng: np.random.Generator) -> Shown:
    """Four frames of a colour, give or take."""
    pixels = np.array(colour) + rng.integers(-25, 25, (4, 1, 1, 3)) + rng.integers(-9, 9, (4, 56, 84, 3))
    seconds = tuple(float(second) for second in range(4))
    return Shown(Frames(pixels.clip(0, 255).astype(np.uint8), seconds, seconds, 1.0), "video", 4.0)


def lessons(shown: Shown, colour: str) -> Iterator[tuple[Chat, str]]:
    """What each route asks and what would be right."""
    letter = "ABC"[list(COLOURS).index(colour)]
    listed = {"question": QUESTION, "options": lettered(list(COLOURS))}
    for name, text in zip(PROMPTS[1:], (f" {colour}", f" {letter}", letter), strict=True):
        prompt = load_prompt("tasks", name)
        begun = prompt.fill("reply") if name != PROMPTS[3] else ""
        yield Chat(prompt.fill("user", **listed), reply_start=begun, shown=shown), text


def taught(folder: Path) -> Path:
    """Train the model on frames of three colours until it answers by them."""
    WRITERS["smolvlm"](folder)
    llm = load_vision_model(str(folder), sampling=Sampling(), dtype="float32", device="cpu")
    model: Any = llm._model
    optimiser = torch.optim.AdamW(model.parameters(), RATE)
    rng = np.random.default_rng(0)
    for step in range(STEPS):
        colour = list(COLOURS)[step % 3]
        loss = sum(loss_of(llm, chat, text) for chat, text in lessons(frames_of(COLOURS[colour], rng), colour))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    model.save_pretrained(folder)
    return folder


def loss_of(llm: TransformersVisionModel, chat: Chat, text: str) -> Any:
    model: Any = llm._model
    prepared = llm._prepare(chat)
    (ids,) = llm.writer.continue_with(prepared.text, [text], "a lesson")
    if not chat.reply_start:
        ids = (*ids, llm.writer.tokenizer.eos_token_id)
    whole = torch.tensor([(*prepared.ids, *ids)])
    logits = model(input_ids=whole, **grown(prepared, whole.shape[1])).logits[0, -len(ids) - 1 : -1]
    return torch.nn.functional.cross_entropy(logits.float(), torch.tensor(ids))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return taught(tmp_path_factory.mktemp("taught") / "smolvlm")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("videos")
    for name, colour in {**COLOURS, "black": (0, 0, 0)}.items():
        source = "color=c=0x{:02x}{:02x}{:02x}:size=96x64:rate=5:duration=4".format(*colour)
        subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, str(out / f"{name}.mp4")], check=True)
    return out


def answers(folder: Path, videos: Path, shown: list[str], route: Route, *, guided: bool = False) -> list[Any]:
    """What the model answers about these videos, asked as a run asks."""
    options = {"llm": f"transformers:{folder}", "dtype": "float32", "device": "cpu", "frames": 4}
    model = build_vision_model(VisionOptions(**options, route=route, guided=guided))  # type: ignore[arg-type]
    items = [
        ChoiceItem(str(place), name, Clip(name, 0.0, 4.0, videos / f"{name}.mp4"), QUESTION, tuple(COLOURS), place)
        for place, name in enumerate(shown)
    ]
    task = MultipleChoiceTask(INFO, items, ChoicePrompts(*PROMPTS))
    return [prediction.answer for prediction in task.predict(model, items)]


@pytest.mark.parametrize(("route", "guided"), [*((route, False) for route in ROUTES), (Route.GENERATE, True)], ids=str)
def test_it_answers_by_the_frames_and_by_nothing_else(folder: Path, videos: Path, route: Route, guided: bool) -> None:
    assert answers(folder, videos, ["red", "green", "blue"], route, guided=guided) == [0, 1, 2]
    assert answers(folder, videos, ["blue", "red", "green"], route, guided=guided) == [2, 0, 1]
    assert len(set(answers(folder, videos, ["black"] * 3, route, guided=guided))) == 1
