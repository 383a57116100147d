"""A language model as a judge: it gets the judge's prompt unchanged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from baselines.llm.load import load_for
from baselines.llm.protocol import Chat
from baselines.prompted import Ask, Composed, PromptedModel, info_with_prompts
from tasks.errors import ModelError
from tasks.registry import typed_options
from tasks.routes import Route

if TYPE_CHECKING:
    from baselines.models import BlindOptions

OWN = frozenset({"prompt", "route"})


def compose_plain(asks: Sequence[Ask]) -> list[Composed]:
    """Return the prompts without any additions."""
    return [Composed(Chat(ask.prompt, reply_start=ask.reply_start)) for ask in asks]


def build_judge(options: Mapping[str, str]) -> PromptedModel:
    """Load the language model given by `llm=…` and other options of `blind`. Raises ModelError for other options."""
    if "llm" not in options:
        raise ModelError("--judge needs a language model: --judge llm=smollm2, or llm=openai:NAME with base_url=URL")
    if given := sorted(OWN & options.keys()):
        raise ModelError(f"--judge {given[0]}= is fixed by the judge's protocol: leave it out")
    typed: BlindOptions = typed_options("blind", {**options, "route": str(Route.GENERATE)})
    llm = load_for(typed)
    info = info_with_prompts(llm.info.name, llm, ())
    return PromptedModel(llm, compose_plain, info, Route.GENERATE, typed.max_tokens, guided=typed.guided)
