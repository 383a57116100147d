"""Options of language models on the command line; importing this loads nothing heavy."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tasks.errors import ModelError
from tasks.registry import ANSWERS, DECIDING, RUNTIME
from tasks.routes import Route

if TYPE_CHECKING:
    from tasks.task import JsonValue

Dtype = Literal["bfloat16", "float16", "float32"]
UNRECORDED = {"decides": False}
ENGINE = {"within": "engine", "group": RUNTIME}
"""Metadata of options that now belong in `engine=`; given by themselves, they still work, with a note."""
VLLM_ARGUMENTS = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "gpu_memory_utilization")
"""Options that go to vLLM's engine under their own names; its max_model_len is `context`."""
SCORING_ROUTES = frozenset({Route.OPTIONS_LOGLIK, Route.LETTER_LOGPROB})


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How an engine is reached and driven. Unrecorded options change no answer, so a run resumes with other values."""

    guided: bool = field(
        default=False,
        metadata={"help": "generate+parse: constrain the reply to a letter (vllm, openai)", "group": ANSWERS},
    )
    base_url: str | None = field(
        default=None,
        metadata={
            "help": "server of openai:MODEL, http://HOST:PORT/v1; default: $OPENAI_BASE_URL",
            "group": RUNTIME,
            **UNRECORDED,
        },
    )
    engine: str = field(
        default="",
        metadata={
            "help": 'settings of vLLM or the server, as JSON, {"timeout": 60, "max_model_len": 4096}, or a .json or '
            ".toml file: the settings below, and any other of vLLM's engine",
            "group": RUNTIME,
        },
    )
    key_from: str = field(
        default="OPENAI_API_KEY",
        metadata={"help": "openai: environment variable that holds the server's key", **UNRECORDED, **ENGINE},
    )
    tokenizer: str | None = field(
        default=None,
        metadata={"help": "openai: folder or hub name of the model's tokenizer; default: ask the server", **ENGINE},
    )
    concurrency: int = field(default=8, metadata={"help": "openai: requests in flight", **UNRECORDED, **ENGINE})
    timeout: float = field(
        default=120.0,
        metadata={
            "help": "openai: seconds for one request; twice as many after each time-out, up to patience",
            **UNRECORDED,
            **ENGINE,
        },
    )
    retries: int = field(
        default=4, metadata={"help": "openai: further tries after a server's fault", **UNRECORDED, **ENGINE}
    )
    patience: float = field(
        default=300.0, metadata={"help": "openai: seconds a server may be away or ask to wait", **UNRECORDED, **ENGINE}
    )
    check_prompt: bool = field(
        default=True,
        metadata={
            "help": "openai: fail an item whose prompt has more tokens than the server counted; false for a server "
            "that leaves cached tokens out of its count",
            **UNRECORDED,
            **ENGINE,
        },
    )
    batch: int = field(default=64, metadata={"help": "vllm: questions handed over at once", **UNRECORDED, **ENGINE})
    tensor_parallel_size: int | None = field(
        default=None, metadata={"help": "vllm: GPUs that share each layer of the model", **ENGINE}
    )
    pipeline_parallel_size: int | None = field(
        default=None, metadata={"help": "vllm: groups of GPUs that hold the layers one after the other", **ENGINE}
    )
    data_parallel_size: int | None = field(
        default=None, metadata={"help": "vllm: copies of the model; more than 1 through 'vllm serve' only", **ENGINE}
    )
    gpu_memory_utilization: float | None = field(
        default=None, metadata={"help": "vllm: share of each GPU's memory that it takes", **UNRECORDED, **ENGINE}
    )

    def __post_init__(self) -> None:
        check_reach(self.concurrency, self.timeout, self.retries, self.patience)
        for name in ("batch", *(name for name in VLLM_ARGUMENTS if getattr(self, name) is not None)):
            if not getattr(self, name) > 0:
                raise ModelError(f"{name} must be positive, not {getattr(self, name)}")


def check_reach(concurrency: int, timeout: float, retries: int, patience: float) -> None:
    """Raise ModelError, naming the option, for values that would reach no server or wait for ever."""
    for name, value in (("concurrency", concurrency), ("timeout", timeout)):
        if not 0 < value < math.inf:
            raise ModelError(f"{name} must be positive and finite, not {value}")
    for name, value in (("retries", retries), ("patience", patience)):
        if not 0 <= value < math.inf:
            raise ModelError(f"{name} must be finite and can't be negative: {value}")


def parse_engine(text: str) -> dict[str, Any]:
    """Return the engine arguments in `engine=` that are not our options.

    Raises ModelError if it is not a JSON object.
    """
    try:
        given = json.loads(text) if text else {}
    except ValueError as error:
        raise ModelError(f"-M engine= is not JSON ({error}): {text}") from error
    if not isinstance(given, dict):
        raise ModelError(f'-M engine= must be an object such as {{"tensor_parallel_size": 2}}, not {text}')
    return given


def vllm_arguments(serving: Serving) -> dict[str, int | float]:
    """Return the given options that go to vLLM's engine by name."""
    found = {name: getattr(serving, name) for name in VLLM_ARGUMENTS}
    return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModelOptions(Serving):
    """Options of every model that asks a language model."""

    llm: str = field(
        default="smollm2",
        metadata={
            "help": "language model: smollm2, transformers:…, vllm:… or openai:… ('longvid models' lists them)",
            "group": DECIDING,
        },
    )
    lora: str | None = field(
        default=None,
        metadata={"help": "an adapter on it: .safetensors file, or kitchen:NAME for a shipped one", "group": DECIDING},
    )
    route: Route = field(
        default=Route.OPTIONS_LOGLIK, metadata={"help": "how the answer is obtained", "group": DECIDING}
    )
    max_tokens: int | None = field(
        default=None, metadata={"help": "longest reply; default: the task's", "group": ANSWERS}
    )
    dtype: Dtype = field(
        default="bfloat16", metadata={"help": "of weights loaded here; a server has its own", "group": RUNTIME}
    )
    context: int | None = field(
        default=None,
        metadata={
            "help": "use less context than the model has, in tokens; within engine=: max_model_len",
            "group": RUNTIME,
            "also_within": ("engine", "max_model_len"),
        },
    )

    def __post_init__(self) -> None:
        Serving.__post_init__(self)
        if self.guided and self.route is not Route.GENERATE:
            raise ModelError(f"guided=true goes with route={Route.GENERATE}, not {self.route}")


OURS = frozenset(
    {"model", "messages", "prompt", "input", "encoding_format"}
    | {"max_tokens", "temperature", "top_p", "seed", "stream", "n"}
)
"""Fields of a request that other options set, or that would make the reply unreadable."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a reply is sampled, which is part of a run's identity.

    Temperature 0 takes the likeliest token every time. `thinking` turns thinking on or off for models with both modes;
    `thinking_tokens` is its budget, in addition to the answer's. `extra` is passed to the engine unchanged.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    thinking: bool | None = None
    thinking_tokens: int = 4096
    extra: Mapping[str, Any] = field(default_factory=dict)

    def room(self, answer: int) -> int:
        """Return the token limit of a reply whose answer takes at most `answer`."""
        return answer + (self.thinking_tokens if self.thinking else 0)

    @property
    def template_arguments(self) -> dict[str, Any]:
        """Return the arguments of the chat template."""
        asked = {} if self.thinking is None else {"enable_thinking": self.thinking}
        return {**asked, **self.extra.get("chat_template_kwargs", {})}

    @property
    def processor_arguments(self) -> dict[str, Any]:
        """Return the arguments of the model's processor of images and videos."""
        return dict(self.extra.get("mm_processor_kwargs", {}))

    @property
    def facts(self) -> dict[str, JsonValue]:
        """Return what a record keeps of the sampling options."""
        drawn: dict[str, JsonValue] = {"temperature": self.temperature}
        if self.temperature:
            drawn |= {"top_p": self.top_p, "sampling_seed": self.seed}
        if self.thinking is not None:
            drawn["thinking"] = self.thinking
        return {**drawn, **({"extra": dict(self.extra)} if self.extra else {})}


def parse_extra(text: str) -> dict[str, Any]:
    """Parse the JSON object of `extra=`. Raises ModelError for anything else, and for fields that other options set."""
    try:
        given = json.loads(text) if text else {}
    except ValueError as error:
        raise ModelError(f"-M extra= is not JSON ({error}): {text}") from error
    if not isinstance(given, dict):
        raise ModelError(f'-M extra= must be an object such as {{"top_k": 20}}, not {text}')
    if taken := sorted(OURS & set(given)):
        raise ModelError(f"-M extra= can't set {', '.join(taken)}: the model's other options do")
    for name in ("chat_template_kwargs", "mm_processor_kwargs"):
        if not isinstance(given.get(name, {}), dict):
            raise ModelError(f"-M extra=: {name} must be an object, not {json.dumps(given[name])}")
    return given
