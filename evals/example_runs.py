"""Example records: systems of known skill answer made-up questions, recorded as any run is.

They say nothing about real systems. They show what records, pages and notebooks look like and, because the skills are
known, what intervals and comparisons find.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evals.new_run import describe_run
from evals.runner import RunSettings, run_task
from evals.store import RESULTS
from tasks.egoschema import PROMPTS
from tasks.model import ModelInfo, OptionRequest, OptionScores
from tasks.multiple_choice import ChoiceItem, MultipleChoiceTask, item_set_digest
from tasks.routes import Route
from tasks.task import Clip, FramesSeen, Task, TaskInfo, TokenUsage, Trace

RUNS_VARIABLE = "LONGVID_RUNS"
DEMO = (Path("runs/demo/runs"), Path("../runs/demo/runs"))
QUESTIONS, PER_VIDEO = 240, 3
KINDS = ("order", "purpose", "tools")
SECONDS = (90.0, 200.0, 400.0)
OPTIONS = ("washes a bowl", "reads a book", "paints a wall", "peels a carrot", "folds a shirt")


@dataclass(frozen=True, slots=True)
class Skill:
    """A system: its accuracy by kind of question, and the cost of an answer."""

    model: str
    accuracy: dict[str, float]
    frames: int = 0
    tokens: int = 0
    parameters: int = 0


SKILLS = (
    Skill("blind", dict.fromkeys(KINDS, 0.39), tokens=200, parameters=360_000_000),
    Skill("aggregator", {"order": 0.42, "purpose": 0.60, "tools": 0.54}, 0, 1_630, 360_000_000),
    Skill("imagevit-b", {"order": 0.36, "purpose": 0.48, "tools": 0.52}, 16, 0, 163_000_000),
    Skill("longvivit-b", {"order": 0.58, "purpose": 0.60, "tools": 0.55}, 256, 0, 163_000_000),
)


def example_task() -> MultipleChoiceTask:
    """Make up 5-way questions, three to a video, of three kinds and lengths; right answers are spread evenly."""
    items = [
        ChoiceItem(
            id=f"question-{n:03d}",
            cluster=f"video-{n // PER_VIDEO:02d}",
            clip=Clip(f"video-{n // PER_VIDEO:02d}", 0.0, SECONDS[n // PER_VIDEO % len(SECONDS)]),
            question=f"Made-up question {n} about {KINDS[n % len(KINDS)]}: what does C do?",
            options=tuple(f"C {option}" for option in OPTIONS),
            answer=(n + n // PER_VIDEO) % len(OPTIONS),
            labels={"question type": KINDS[n % len(KINDS)]},
        )
        for n in range(QUESTIONS)
    ]
    info = TaskInfo(
        name=f"made-up@{QUESTIONS}",
        family="multiple-choice",
        version="1",
        item_count=QUESTIONS,
        items_sha256=item_set_digest(items),
        primary_metric="accuracy",
        chance=1 / len(OPTIONS),
        cluster="made-up video",
        source="evals/example_runs.py",
        licence="Apache-2.0",
        citation="none: these questions are made up",
    )
    return MultipleChoiceTask(info, items, PROMPTS)


class KnownSkill:
    """A model that is right as often as its skill says. All systems share the difficulty of each item."""

    route = Route.OPTIONS_LOGLIK

    def __init__(self, skill: Skill, task: MultipleChoiceTask) -> None:
        self._skill = skill
        self._items = {item.id: item for item in task.items()}
        self.info = ModelInfo(skill.model, skill.parameters, details={"made_up": True})

    def score_options(self, requests: Sequence[OptionRequest]) -> list[OptionScores]:
        return [self._weigh(self._items[request.item_id]) for request in requests]

    def _weigh(self, item: ChoiceItem) -> OptionScores:
        skill = self._skill
        scores = generator(skill.model, item.id).normal(-2.2, 0.3, len(item.options))
        own, shared = generator(skill.model, item.id, "own").random(), generator(item.id).random()
        difficulty = shared if generator(skill.model, item.id, "which").random() < 0.5 else own
        right = item.answer or 0
        wrong = (right + 1 + int(own * 1e6) % (len(item.options) - 1)) % len(item.options)
        chosen = right if difficulty < skill.accuracy[item.labels["question type"]] else wrong
        scores[chosen] = scores.max() + 0.1 + own
        seen = FramesSeen(skill.frames, (), min(1.0, 256 / item.clip.duration)) if skill.frames else None
        usage = TokenUsage(skill.tokens, 0, 20) if skill.tokens else TokenUsage()
        return OptionScores(tuple(map(float, scores)), Trace(usage=usage, frames=seen))


def generator(*names: str) -> np.random.Generator:
    """Return a random generator seeded by names alone."""
    digest = hashlib.sha256("/".join(names).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def make_example_runs(folder: Path) -> list[Path]:
    """Write the records of all `SKILLS` into `folder`, and return their run directories."""
    task = example_task()
    made = []
    for skill in SKILLS:
        model = KnownSkill(skill, task)
        run = describe_run(task, model, f"made-up {skill.model}", {}, ["longvid"])
        run_task(task, model, run, RunSettings(folder / skill.model, batch_size=QUESTIONS), lambda _: None)
        made.append(folder / skill.model)
    return made


def runs_or_examples(folder: Path) -> list[Path]:
    """Return the run directories under $LONGVID_RUNS or of `make demo`; without either, examples made in `folder`."""
    given = os.environ.get(RUNS_VARIABLE)
    place = Path(given) if given else next((one for one in DEMO if one.is_dir()), None)
    found = sorted(path.parent for path in place.rglob(RESULTS)) if place else []
    return found or make_example_runs(folder)


DEMO_RUN, SHOWN_ITEMS = "kitchen-qa@500", 4


def run_to_look_at(folder: Path) -> tuple[Path, Task[Any]]:
    """Return a run whose videos are here, with its task: one of `make demo`, or else the chance floor on one video."""
    from baselines.floors import ChanceModel
    from tasks.kitchen.benchmark import load_qa
    from tasks.kitchen.files import generate

    runs = [run for place in DEMO for run in sorted(place.glob(f"{DEMO_RUN}/*")) if (run / RESULTS).is_file()]
    data = next((place / "kitchen" / "test" for place in (Path("data"), Path("../data")) if place.is_dir()), None)
    if runs and data is not None:
        return runs[0], load_qa(data, "500")
    next(iter(generate(folder / "kitchen" / "test", range(1))))
    task = load_qa(folder / "kitchen" / "test", "100")
    model = ChanceModel(0)
    run = describe_run(task, model, "chance", {}, ["longvid"], limit=SHOWN_ITEMS)
    run_task(task, model, run, RunSettings(folder / "chance"), lambda _: None)
    return folder / "chance", task


def questions_file(folder: Path) -> Path:
    """Write the made-up questions as a user's own JSON-lines file, with times so that no video is needed."""
    path = folder / "questions.jsonl"
    rows = [
        {
            "id": item.id,
            "video": f"{item.clip.video_id}.mp4",
            "start": 0,
            "end": item.clip.end,
            "question": item.question,
            "options": [*item.options],
            "answer": item.answer,
            "labels": dict(item.labels),
        }
        for item in example_task().items()
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path
