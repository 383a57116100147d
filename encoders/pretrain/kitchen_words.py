"""Texts of the kitchen for a language model and for video-to-text (ours): what is told of it, and questions answered.

Questions are those of `kitchen-qa` about training videos, asked by that task's own prompt and answered by the right
option, so that options are weighed as they were trained.
"""

from __future__ import annotations

from random import Random

from encoders.pretrain.kitchen_captions import events_shown, telling
from encoders.pretrain.samples import TextView
from tasks.kitchen.benchmark import PROMPTS
from tasks.kitchen.plan import Plan
from tasks.kitchen.questions import KINDS
from tasks.kitchen.texts import facts, paragraph, steps
from tasks.prompt import load_prompt


def answered_questions(plan: Plan, rng: Random, count: int) -> tuple[TextView, ...]:
    """`count` questions of different kinds about a video, at most one of each: its right option behind the prompt."""
    return tuple(_answered(plan, kind, rng) for kind in rng.sample(sorted(KINDS), min(count, len(KINDS))))


def any_text(plan: Plan, rng: Random, seconds: float, between: str) -> TextView:
    """One text about a video: all of it, `seconds` of it, one step, a fact, or a question answered; each as often."""
    kind = rng.randrange(5)
    if kind == 0:
        return TextView(paragraph(plan), kind="paragraph")
    if kind == 1:
        start = rng.uniform(0.0, plan.duration - seconds)
        shown = events_shown(plan, start, start + seconds)
        if shown:
            return TextView(telling(shown, plan, between), kind="clip")
    if kind == 2:
        return TextView(rng.choice(facts(plan)).text, kind="fact")
    if kind == 3:
        return answered_questions(plan, rng, 1)[0]
    return TextView(rng.choice(steps(plan)).sentence, kind="step")


def _answered(plan: Plan, kind: str, rng: Random) -> TextView:
    asked, truth = KINDS[kind](plan, rng)
    prompt = load_prompt("tasks", PROMPTS.loglik or "")
    # As encoders.v2t.task_model puts a task's request.
    words = f"{prompt.fill('user', question=asked)}\n\n{prompt.fill('reply')}"
    return TextView(truth.text, kind=kind, prompt=words)
