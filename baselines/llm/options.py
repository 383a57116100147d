"""Options of language models on the command line; importing this loads nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from tasks.errors import ModelError
from tasks.routes import Route

Dtype = Literal["bfloat16", "float16", "float32"]
UNRECORDED = {"decides": False}
VLLM_ARGUMENTS = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "gpu_memory_utilization")
"""Options that go to vLLM's engine under their own names; its max_model_len is `context`."""
SCORING_ROUTES = frozenset({Route.OPTIONS_LOGLIK, Route.LETTER_LOGPROB})


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How an engine is reached and driven. Those marked `decides: False` change no answer, so a run resumes without."""

    guided: bool = field(default=False, metadata={"help": "generate+parse: hold the reply to a letter (vllm, openai)"})
    base_url: str | None = field(
        default=None,
        metadata={"help": "server of openai:MODEL, http://HOST:PORT/v1; default: $OPENAI_BASE_URL", **UNRECORDED},
    )
    key_from: str = field(
        default="OPENAI_API_KEY", metadata={"help": "environment variable that holds the server's key", **UNRECORDED}
    )
    tokenizer: str | None = field(
        default=None, metadata={"help": "folder or hub name of a served model's tokenizer; default: ask the server"}
    )
    concurrency: int = field(default=8, metadata={"help": "requests in flight at a server", **UNRECORDED})
    timeout: float = field(default=120.0, metadata={"help": "seconds for one request to a server", **UNRECORDED})
    retries: int = field(default=4, metadata={"help": "further tries after a server's fault", **UNRECORDED})
    patience: float = field(
        default=300.0, metadata={"help": "seconds a server may be away or ask to wait", **UNRECORDED}
    )
    batch: int = field(default=64, metadata={"help": "questions handed to vllm:MODEL at once", **UNRECORDED})
    tensor_parallel_size: int | None = field(
        default=None, metadata={"help": "vllm: GPUs that share each layer of the model"}
    )
    pipeline_parallel_size: int | None = field(
        default=None, metadata={"help": "vllm: groups of GPUs that hold the layers one after the other"}
    )
    data_parallel_size: int | None = field(
        default=None, metadata={"help": "vllm: copies of the model; more than 1 through 'vllm serve' only"}
    )
    gpu_memory_utilization: float | None = field(
        default=None, metadata={"help": "vllm: share of each GPU's memory that it takes", **UNRECORDED}
    )
    engine: str = field(
        default="", metadata={"help": 'further arguments of vllm:MODEL\'s engine as JSON, {"max_num_seqs": 64}'}
    )

    def __post_init__(self) -> None:
        check_reach(self.concurrency, self.timeout, self.retries, self.patience)
        for name in ("batch", *(name for name in VLLM_ARGUMENTS if getattr(self, name) is not None)):
            if not getattr(self, name) > 0:
                raise ModelError(f"{name} must be positive, not {getattr(self, name)}")


def check_reach(concurrency: int, timeout: float, retries: int, patience: float) -> None:
    """Raise ModelError, naming the option, where no server could be reached so, or one be waited for without end."""
    for name, value in (("concurrency", concurrency), ("timeout", timeout)):
        if not 0 < value < math.inf:
            raise ModelError(f"{name} must be positive and finite, not {value}")
    for name, value in (("retries", retries), ("patience", patience)):
        if not 0 <= value < math.inf:
            raise ModelError(f"{name} must be finite and can't be negative: {value}")


def vllm_arguments(serving: Serving) -> dict[str, int | float]:
    """The options given that go to vLLM's engine by name."""
    found = {name: getattr(serving, name) for name in VLLM_ARGUMENTS}
    return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModelOptions(Serving):
    """Options of every model that asks a language model."""

    llm: str = field(
        default="smollm2",
        metadata={"help": "language model: smollm2, transformers:…, vllm:… or openai:… ('longvid models' lists them)"},
    )
    lora: str | None = field(
        default=None,
        metadata={"help": "an adapter on it: .safetensors file, or kitchen:NAME for a shipped one"},
    )
    route: Route = field(default=Route.OPTIONS_LOGLIK, metadata={"help": "how the answer is got"})
    dtype: Dtype = field(default="bfloat16", metadata={"help": "of weights loaded here; a server has its own"})
    max_tokens: int | None = field(default=None, metadata={"help": "longest reply; default: the task's"})
    context: int | None = field(default=None, metadata={"help": "use less context than the model has, in tokens"})

    def __post_init__(self) -> None:
        Serving.__post_init__(self)
        if self.guided and self.route is not Route.GENERATE:
            raise ModelError(f"guided=true goes with route={Route.GENERATE}, not {self.route}")
