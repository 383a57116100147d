"""Language models run by transformers in this process, on CPU or one GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
import transformers
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from baselines.llm.chat_format import ScoringTokens, describe_format, encode, render, split_tokens
from baselines.llm.dense import dense_folder
from baselines.llm.protocol import Chat, ContinuationScores, Reply
from baselines.llm.scoring import Float32Head, logprobs_from_cache, logprobs_from_scratch
from baselines.llm.weights import weight_files, weights_sha256
from encoders.device import device_name, find_device
from tasks.digests import file_sha256
from tasks.errors import ModelError
from tasks.model import ModelInfo
from tasks.task import TokenUsage

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
_HUB_FILES = ("*.json", "*.jinja", "*.safetensors", "*.txt", "tokenizer.model")


class TransformersLanguageModel:
    """A causal language model and its tokenizer, speaking the LanguageModel protocol.

    Chats are processed one at a time and nothing is kept between them, so that a result depends on
    its chat alone and a resumed run repeats an unbroken one to the bit.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, info: ModelInfo, context: int
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._info = info
        self._context = context
        self._eos = _eos_ids(model, tokenizer)
        # Built anew: a published generation config may carry penalties that plain greedy decoding lacks.
        model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]  # untyped library
            do_sample=False, eos_token_id=sorted(self._eos), pad_token_id=min(self._eos)
        )

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def context(self) -> int:
        return self._context

    def count_tokens(self, chat: Chat) -> int:
        return len(encode(self._tokenizer, render(self._tokenizer, chat)))

    def generate(self, chats: Sequence[Chat], max_tokens: int) -> list[Reply]:
        if max_tokens < 1:
            raise ModelError(f"max_tokens is {max_tokens}, must be at least 1")
        return [self._generate_one(index, chat, max_tokens) for index, chat in enumerate(chats)]

    def score(self, chats: Sequence[Chat], continuations: Sequence[Sequence[str]]) -> list[ContinuationScores]:
        """Log-likelihoods of continuations; `usage.prompt` counts each prompt once.

        Raises ModelError when a continuation is empty, merges with its prompt's last token, or does
        not fit the context.
        """
        return self._score(chats, continuations, logprobs_from_cache, share_prompt=True)

    def score_from_scratch(
        self, chats: Sequence[Chat], continuations: Sequence[Sequence[str]]
    ) -> list[ContinuationScores]:
        """As `score`, every prompt processed again for each of its continuations: the slow reference."""
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
            item = _describe(index, chat)
            tokens = split_tokens(self._tokenizer, chat, texts, item)
            counts = tuple(len(ids) for ids in tokens.continuations)
            self._check_room(item, len(tokens.prompt), max(counts), "its longest continuation")
            logprobs = tuple(logprobs_of(self._model, tokens))
            if not all(math.isfinite(value) for value in logprobs):
                raise ModelError(f"{item}: model '{self._info.name}' gave a log-likelihood that is not finite")
            passes = 1 if share_prompt else len(counts)
            usage = TokenUsage(prompt=passes * len(tokens.prompt), completion=sum(counts))
            results.append(ContinuationScores(logprobs, counts, usage))
        return results

    @torch.inference_mode()
    def _generate_one(self, index: int, chat: Chat, max_tokens: int) -> Reply:
        ids = encode(self._tokenizer, render(self._tokenizer, chat))
        self._check_room(_describe(index, chat), len(ids), max_tokens, "the reply")
        prompt = torch.tensor([ids], device=self._model.device)
        whole = self._model.generate(  # type: ignore[operator]  # the mixin's method, untyped here
            inputs=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=max_tokens
        )
        reply = whole[0, len(ids) :].tolist()
        finished = reply[-1] in self._eos
        text = self._tokenizer.decode(reply, skip_special_tokens=True)
        return Reply(str(text), finished, TokenUsage(prompt=len(ids), completion=len(reply)))

    def _check_room(self, item: str, prompt: int, extra: int, what: str) -> None:
        if prompt + extra > self._context:
            raise ModelError(
                f"{item}: {prompt} tokens and {extra} for {what} make {prompt + extra}, "
                f"more than the context of {self._context} of '{self._info.name}'"
            )


def load_transformers(
    source: str, *, context: int | None = None, dtype: str = "bfloat16", device: str = "auto"
) -> TransformersLanguageModel:
    """Load a local folder, a `.gguf` file or, failing both, a hub name (downloaded if need be).

    Only safetensors and GGUF weights are read, and no code of the model's own is run.
    Raises ModelError when there is no such model or it can't be read.
    """
    path = Path(source).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return load_gguf(path, name=path.stem, context=context, dtype=dtype, device=device)
    if path.is_dir():
        return load_folder(path, name=path.resolve().name, context=context, dtype=dtype, device=device)
    try:
        folder = Path(
            huggingface_hub.snapshot_download(
                source, allow_patterns=list(_HUB_FILES), ignore_patterns=["original/*", "consolidated*"]
            )
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"llm 'transformers:{source}': no such folder or .gguf file, and not to be had from the hub "
            f"({type(error).__name__})"
        ) from error
    return load_folder(folder, name=source, context=context, dtype=dtype, device=device)


def load_gguf(
    gguf: Path, *, name: str, context: int | None = None, dtype: str = "bfloat16", device: str = "auto"
) -> TransformersLanguageModel:
    """Load a GGUF file through its dense copy in the cache folder; the digest is the GGUF's own."""
    digest = file_sha256(gguf)
    with _quiet():
        folder = dense_folder(gguf, digest, _dtype(dtype))
    return load_folder(folder, name=name, digest=digest, context=context, dtype=dtype, device=device)


def load_folder(
    folder: Path,
    *,
    name: str,
    digest: str | None = None,
    context: int | None = None,
    dtype: str = "bfloat16",
    device: str = "auto",
) -> TransformersLanguageModel:
    """Load a dense transformers folder; `digest` defaults to that of its weight files."""
    target = find_device(device)
    files = weight_files(folder)
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(str(folder))
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                str(folder), dtype=_dtype(dtype), use_safetensors=True, output_loading_info=True
            )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(f"can't load model folder {folder}: {error}".splitlines()[0]) from error
    model, report = loaded
    if report["missing_keys"]:
        raise ModelError(f"weights in {folder} lack {', '.join(sorted(report['missing_keys'])[:3])}")
    parameters = model.num_parameters()
    head = model.get_output_embeddings()
    if isinstance(head, torch.nn.Linear):
        model.set_output_embeddings(Float32Head(head))
    model.eval().to(target)
    limit = _context_limit(model, name, context)
    info = ModelInfo(
        name=name,
        parameters=parameters,
        weights_sha256=digest or weights_sha256(files),
        device=device_name(target),
        dtype=dtype,
        details={
            "engine": f"transformers {transformers.__version__}",
            "context": limit,
            **describe_format(tokenizer),
        },
    )
    return TransformersLanguageModel(model, tokenizer, info, limit)


def _context_limit(model: PreTrainedModel, name: str, asked: int | None) -> int:
    own = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if own is None and asked is None:
        raise ModelError(f"model '{name}' states no longest context: give one (context=…)")
    if asked is not None and not 1 <= asked <= (own or asked):
        raise ModelError(f"context={asked} is outside 1..{own or '∞'} of model '{name}'")
    return int(asked or own or 0)


def _dtype(name: str) -> torch.dtype:
    if name not in _DTYPES:
        raise ModelError(f"unknown dtype '{name}': one of {', '.join(_DTYPES)}")
    return _DTYPES[name]


def _eos_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every token that ends a reply: the published generation config's and the tokenizer's."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids = set(configured) if isinstance(configured, list) else {configured}
    ids.add(tokenizer.eos_token_id)
    known = frozenset(token for token in ids if isinstance(token, int))
    if not known:
        raise ModelError("the model names no end-of-reply token (eos_token_id), so no reply could end")
    return known


def _describe(index: int, chat: Chat) -> str:
    words = " ".join(chat.user.split())
    return f"chat {index} ('{words[:40]}…{words[-40:]}')" if len(words) > 80 else f"chat {index} ('{words}')"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's progress bars, which would break into the command line's own."""
    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # untyped library
    try:
        yield
    finally:
        if shown:
            transformers.utils.logging.enable_progress_bar()  # type: ignore[no-untyped-call]
