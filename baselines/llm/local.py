"""Language models run by transformers in this process, on CPU or one GPU, and how chats are rendered for them."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import transformers
from jinja2 import TemplateError
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from baselines.llm.protocol import (
    Chat,
    ContinuationScores,
    Reply,
    check_max_tokens,
    check_room,
    context_limit,
    describe_chat,
)
from encoders.causal_lm.load import CausalLM, eos_ids, read_folder, read_gguf, read_tokenizer, read_transformers
from encoders.causal_lm.lora import load_lora
from encoders.causal_lm.scoring import (
    LastPrompt,
    ScoringTokens,
    logprobs_from_cache,
    logprobs_from_scratch,
    use_float32_head,
)
from encoders.causal_lm.scoring import split_tokens as continuations_of
from encoders.control_tokens import encode_quoted, quote
from encoders.device import device_name
from tasks.errors import ModelError
from tasks.model import BatchHint, ModelInfo
from tasks.task import JsonValue, TokenUsage

PLAIN_FORMAT = "{system}\\n\\n{user}\\n\\n"
TEMPLATE_ERRORS = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What a chat template, which is a program shipped with the model, may raise."""


def describe_format(tokenizer: PreTrainedTokenizerBase) -> Mapping[str, JsonValue]:
    """Return what a record says about how prompts are written."""
    template = tokenizer.chat_template
    if template is None:
        return {"chat_format": "plain", "plain_format": PLAIN_FORMAT}
    return {
        "chat_format": "template",
        "chat_template_sha256": hashlib.sha256(str(template).encode()).hexdigest(),
    }


def render(tokenizer: PreTrainedTokenizerBase, chat: Chat) -> str:
    """Render the prompt as text for `encode`, up to and including `reply_start`. Raises ModelError if it is refused."""
    system, user, begun = (quote(tokenizer, text) for text in (chat.system, chat.user, chat.reply_start))
    if tokenizer.chat_template is None:
        opening = f"{system}\n\n" if system else ""
        return f"{opening}{user}\n\n{begun}"
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": user})
    try:
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    except TEMPLATE_ERRORS as error:
        raise ModelError(f"the model's chat template refuses this chat: {error}") from error
    return f"{text}{begun}"


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return the token ids of a rendered prompt. A template writes special tokens itself; plain text has none."""
    return encode_quoted(tokenizer, text, add_special_tokens=tokenizer.chat_template is None)


class TokenizerWriter:
    """A PromptWriter with a local tokenizer. Threads take turns, because the tokenizer is not thread-safe."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._turn = threading.Lock()

    @property
    def details(self) -> Mapping[str, JsonValue]:
        return describe_format(self._tokenizer)

    def render(self, chat: Chat) -> str:
        return render(self._tokenizer, chat)

    def encode(self, text: str) -> list[int]:
        with self._turn:
            return encode(self._tokenizer, text)

    def quote(self, text: str) -> str:
        return quote(self._tokenizer, text)


def load_writer(source: str) -> TokenizerWriter:
    """Load the tokenizer of a folder or hub name as a writer, without running code of its own. Raises ModelError."""
    return TokenizerWriter(read_tokenizer(source))


def split_tokens(
    tokenizer: PreTrainedTokenizerBase, chat: Chat, continuations: Sequence[str], item: str
) -> ScoringTokens:
    """Return the token ids of a prompt and of each continuation as tokenised after that prompt.

    Raises ModelError as encoders.causal_lm.scoring does.
    """
    tokens = continuations_of(
        partial(encode, tokenizer), render(tokenizer, chat), continuations, item, partial(quote, tokenizer)
    )
    return replace(tokens, shared=shared_tokens(tokenizer, chat, tokens.prompt)) if chat.shared else tokens


def shared_tokens(tokenizer: PreTrainedTokenizerBase, chat: Chat, prompt: Sequence[int]) -> int:
    """Count the prompt's tokens for `chat.shared` and what a template writes before it."""
    beginning = encode(tokenizer, render(tokenizer, replace(chat, user=chat.user[: chat.shared], reply_start="")))
    same = (place for place, (a, b) in enumerate(zip(prompt, beginning, strict=False)) if a != b)
    # The very last token is left out: at least one token must be computed for the first continuation.
    return min(next(same, len(beginning)), len(prompt) - 1)


class TransformersLanguageModel:
    """A causal language model and its tokenizer, implementing the LanguageModel protocol.

    Chats are processed one at a time. The prefix that a chat shares with the one before is cached, which saves time but
    changes nothing: a result depends on its chat alone, and a resumed run repeats an unbroken one to the bit.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, info: ModelInfo, context: int
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._info = info
        self._context = context
        self._last = LastPrompt()
        self._eos = eos_ids(model, tokenizer)
        # Replaced: a published generation config may have penalties that plain greedy decoding lacks.
        model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]  # untyped library
            do_sample=False, eos_token_id=sorted(self._eos), pad_token_id=min(self._eos)
        )

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def network(self) -> PreTrainedModel:
        """The underlying model, for training."""
        return self._model

    @property
    def batch_hint(self) -> BatchHint:
        return BatchHint()

    @property
    def context(self) -> int:
        return self._context

    def count_tokens(self, chat: Chat) -> int:
        return len(encode(self._tokenizer, render(self._tokenizer, chat)))

    def generate(self, chats: Sequence[Chat], max_tokens: int) -> list[Reply]:
        check_max_tokens(max_tokens)
        if any(chat.choices for chat in chats):
            raise ModelError("guided choice needs llm vllm:… or openai:… (a vLLM server), not transformers")
        return [self._generate_one(index, chat, max_tokens) for index, chat in enumerate(chats)]

    def score(self, chats: Sequence[Chat], continuations: Sequence[Sequence[str]]) -> list[ContinuationScores]:
        """Return log-likelihoods of continuations; `usage.prompt` counts each prompt once.

        Raises ModelError if a continuation is empty, merges with its prompt's last token, or does
        not fit the context.
        """
        return self._score(chats, continuations, partial(logprobs_from_cache, last=self._last), share_prompt=True)

    def score_from_scratch(
        self, chats: Sequence[Chat], continuations: Sequence[Sequence[str]]
    ) -> list[ContinuationScores]:
        """Do the same as `score` with every prompt processed again for each continuation: the slow reference."""
        return self._score(chats, continuations, logprobs_from_scratch, share_prompt=False)

    def _score(
        self,
        chats: Sequence[Chat],
        continuations: Sequence[Sequence[str]],
        logprobs_of: Callable[[PreTrainedModel, ScoringTokens], list[float]],
        *,
        share_prompt: bool,
    ) -> list[ContinuationScores]:
        results = []
        for index, (chat, texts) in enumerate(zip(chats, continuations, strict=True)):
            item = describe_chat(index, chat)
            tokens = self.scoring_tokens(chat, texts, item)
            counts = tuple(len(ids) for ids in tokens.continuations)
            logprobs = tuple(logprobs_of(self._model, tokens))
            if not all(math.isfinite(value) for value in logprobs):
                raise ModelError(f"{item}: model '{self._info.name}' gave a log-likelihood that is not finite")
            passes = 1 if share_prompt else len(counts)
            usage = TokenUsage(prompt=passes * len(tokens.prompt), completion=sum(counts))
            results.append(ContinuationScores(logprobs, counts, usage))
        return results

    def scoring_tokens(self, chat: Chat, texts: Sequence[str], item: str) -> ScoringTokens:
        """Return the token ids that `score` uses; training uses the same. Raises ModelError as `score` does."""
        tokens = split_tokens(self._tokenizer, chat, texts, item)
        longest = max(len(ids) for ids in tokens.continuations)
        self._check_room(item, len(tokens.prompt), longest, "its longest continuation")
        return tokens

    @torch.inference_mode()
    def _generate_one(self, index: int, chat: Chat, max_tokens: int) -> Reply:
        ids = encode(self._tokenizer, render(self._tokenizer, chat))
        self._check_room(describe_chat(index, chat), len(ids), max_tokens, "the reply")
        prompt = torch.tensor([ids], device=self._model.device)
        whole = self._model.generate(  # type: ignore[operator]  # the mixin's method, untyped here
            inputs=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=max_tokens
        )
        reply = whole[0, len(ids) :].tolist()
        finished = reply[-1] in self._eos
        text = self._tokenizer.decode(reply, skip_special_tokens=True)
        return Reply(str(text), finished, TokenUsage(prompt=len(ids), completion=len(reply)))

    def _check_room(self, item: str, prompt: int, extra: int, what: str) -> None:
        check_room(item, prompt, extra, what, context=self._context, model=self._info.name)


def load_transformers(
    source: str,
    *,
    context: int | None = None,
    dtype: str = "bfloat16",
    device: str = "auto",
    lora: Path | None = None,
) -> TransformersLanguageModel:
    """Load a local folder, a `.gguf` file or a hub name (see encoders.causal_lm) as a language model."""
    return as_language_model(read_transformers(source, dtype=dtype, device=device), context, lora)


def load_gguf(
    gguf: Path,
    *,
    name: str,
    context: int | None = None,
    dtype: str = "bfloat16",
    device: str = "auto",
    lora: Path | None = None,
) -> TransformersLanguageModel:
    """Load a GGUF file as a language model; the digest is the GGUF file's."""
    return as_language_model(read_gguf(gguf, name=name, dtype=dtype, device=device), context, lora)


def load_folder(
    folder: Path,
    *,
    name: str,
    digest: str | None = None,
    context: int | None = None,
    dtype: str = "bfloat16",
    device: str = "auto",
) -> TransformersLanguageModel:
    """Load a dense transformers folder as a language model; `digest` defaults to that of its weight files."""
    return as_language_model(read_folder(folder, name=name, digest=digest, dtype=dtype, device=device), context)


def as_language_model(
    loaded: CausalLM, context: int | None = None, lora: Path | None = None
) -> TransformersLanguageModel:
    """Wrap a causal model, with a float32 output layer; `context` lowers the model's own limit.

    A LoRA adapter is kept beside its weights: merged in bfloat16, most of it would be rounded away.
    """
    model = loaded.model
    adapter: dict[str, JsonValue] = {} if lora is None else {"lora": lora.stem, "lora_sha256": load_lora(loaded, lora)}
    own = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    limit = context_limit(loaded.name, own, context)
    parameters = model.num_parameters()
    use_float32_head(model)
    info = ModelInfo(
        name=loaded.name,
        parameters=parameters,
        weights_sha256=loaded.digest,
        device=device_name(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        details={
            "engine": f"transformers {transformers.__version__}",
            "context": limit,
            **adapter,
            **describe_format(loaded.tokenizer),
        },
    )
    return TransformersLanguageModel(model, loaded.tokenizer, info, limit)
