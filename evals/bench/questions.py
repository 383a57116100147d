"""Real questions for the aggregator's bench."""

from __future__ import annotations

from pathlib import Path

from baselines.aggregator import CaptionComposer, SegmentRule
from baselines.captions import load_captions
from baselines.llm.protocol import Chat, LanguageModel
from baselines.material import Thin
from baselines.prompted import Ask
from evals.benchmarks import benchmark_folder
from evals.planning import spread
from tasks.egoschema import PROMPTS, load_egoschema
from tasks.multiple_choice import loglik_request
from tasks.prompt import load_prompt
from tasks.registry import benchmarks


def egoschema_options(
    llm: LanguageModel, captions: Path, questions: int, data: Path | None
) -> tuple[list[Chat], list[tuple[str, ...]]]:
    """The aggregator's own chats for questions spread over egoschema@500, and the options to weigh."""
    items = load_egoschema(benchmark_folder(benchmarks().entries["egoschema"], data)).items()
    prompt = load_prompt("tasks", PROMPTS.loglik)
    wording = load_prompt("baselines", "aggregator.v1")
    compose = CaptionComposer(load_captions(captions), wording, SegmentRule(), Thin(llm))
    requests = [loglik_request(item, prompt) for item in spread(items, questions)]
    composed = compose([Ask(r.clip, r.prompt, r.reply_start, 256) for r in requests])
    return [c.chat for c in composed], [r.options for r in requests]
