"""The language model alone: no video, no captions. What a benchmark gives away in its words."""

from __future__ import annotations

from baselines.llm.load import load_for
from baselines.llm.protocol import Chat, LanguageModel
from baselines.model_options import BlindOptions
from baselines.prompted import Composed, Composer, PromptedModel
from tasks.model import ModelInfo
from tasks.prompt import Prompt, load_prompt
from tasks.task import Clip


def compose_blind(template: Prompt) -> Composer:
    """A composer that leaves the clip unseen."""

    def compose(clip: Clip, prompt: str, reply_start: str, room: int) -> Composed:  # noqa: ARG001 - blind
        return Composed(
            Chat(
                user=template.fill("user", prompt=prompt),
                system=template.fill("system"),
                reply_start=reply_start,
            )
        )

    return compose


def build_blind(options: BlindOptions) -> PromptedModel:
    """Load the language model and wrap it. Raises ModelError for an unknown model or prompt."""
    prompt = load_prompt("baselines", options.prompt)
    llm = load_for(options)
    info = info_with_prompt("blind", llm, prompt)
    return PromptedModel(llm, compose_blind(prompt), info, options.route, options.max_tokens, guided=options.guided)


def info_with_prompt(name: str, llm: LanguageModel, prompt: Prompt, **details: str | float) -> ModelInfo:
    """What a record keeps of a prompted model: the language model's facts under the baseline's name."""
    inner = llm.info
    return ModelInfo(
        name=name,
        parameters=inner.parameters,
        weights_sha256=inner.weights_sha256,
        device=inner.device,
        dtype=inner.dtype,
        prompts={prompt.name: prompt.sha256},
        details={"llm": inner.name, "context": llm.context, **inner.details, **details},
    )
