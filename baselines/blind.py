"""The language model alone: no video, no captions. What a benchmark gives away in its words."""

from __future__ import annotations

from collections.abc import Sequence

from baselines.llm.load import load_for
from baselines.llm.protocol import Chat, LanguageModel
from baselines.models import BlindOptions
from baselines.prompted import Ask, Composed, Composer, PromptedModel
from tasks.model import ModelInfo
from tasks.prompt import Prompt, load_prompt
from tasks.task import JsonValue

NO_VECTORS = {
    "VideoTextEncoder": "a model that sees no video has no vector of it; the floors of retrieval are random-vectors, "
    "and tfidf or bm25 where there are transcripts"
}


def compose_blind(template: Prompt) -> Composer:
    """A composer that leaves the clip unseen."""

    def compose(asks: Sequence[Ask]) -> list[Composed]:
        return [
            Composed(Chat(template.fill("user", prompt=ask.prompt), template.fill("system"), ask.reply_start))
            for ask in asks
        ]

    return compose


def build_blind(options: BlindOptions) -> PromptedModel:
    """Load the language model and wrap it. Raises ModelError for an unknown model or prompt."""
    question, text = (load_prompt("baselines", options.prompt or name) for name in ("blind.v1", "blind-text.v1"))
    llm = load_for(options)
    return PromptedModel(
        llm,
        compose_blind(question),
        info_with_prompts("blind", llm, (question, text)),
        options.route,
        options.max_tokens,
        compose_text=compose_blind(text),
        lacks=NO_VECTORS,
        guided=options.guided,
    )


def info_with_prompts(name: str, llm: LanguageModel, prompts: Sequence[Prompt], **details: JsonValue) -> ModelInfo:
    """What a record keeps of a prompted model: the language model's facts under the baseline's name."""
    inner = llm.info
    return ModelInfo(
        name=name,
        parameters=inner.parameters,
        weights_sha256=inner.weights_sha256,
        device=inner.device,
        dtype=inner.dtype,
        prompts={prompt.name: prompt.sha256 for prompt in prompts},
        details={"llm": inner.name, "context": llm.context, **inner.details, **details},
    )
