"""Reading a causal language model: a local folder, a GGUF file, a hub name, or the embedded SmolLM2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from encoders.causal_lm.dense import dense_folder
from encoders.causal_lm.smollm2 import NAME as SMOLLM2_NAME
from encoders.causal_lm.smollm2 import find_smollm2
from encoders.causal_lm.weights import weight_files, weights_sha256
from encoders.device import find_device
from tasks.digests import file_sha256
from tasks.errors import ModelError

SMOLLM2 = "smollm2"
TRANSFORMERS = "transformers"
_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
_HUB_FILES = ("*.json", "*.jinja", "*.safetensors", "*.txt", "tokenizer.model")


@dataclass(frozen=True, slots=True, eq=False)
class CausalLM:
    """A causal language model in evaluation mode, its tokenizer, its name and the SHA-256 of its weights."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    digest: str


def read_named(spec: str, *, dtype: str = "bfloat16", device: str = "auto") -> CausalLM:
    """Read `smollm2` or `transformers:NAME_OR_PATH`. Raises ModelError for any other spec."""
    kind, _, source = spec.partition(":")
    if spec == SMOLLM2:
        return read_gguf(find_smollm2(), name=SMOLLM2_NAME, dtype=dtype, device=device)
    if kind == TRANSFORMERS and source:
        return read_transformers(source, dtype=dtype, device=device)
    raise ModelError(f"no language model '{spec}' to look at videos with: {SMOLLM2} or {TRANSFORMERS}:NAME_OR_PATH")


def read_transformers(source: str, *, dtype: str = "bfloat16", device: str = "auto") -> CausalLM:
    """Read a local folder, a `.gguf` file or, failing both, a hub name (downloaded if need be).

    Only safetensors and GGUF weights are read, and no code of the model's own is run.
    Raises ModelError when there is no such model or it can't be read.
    """
    path = Path(source).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return read_gguf(path, name=path.stem, dtype=dtype, device=device)
    if path.is_dir():
        return read_folder(path, name=path.resolve().name, dtype=dtype, device=device)
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
    return read_folder(folder, name=source, dtype=dtype, device=device)


def read_gguf(gguf: Path, *, name: str, dtype: str = "bfloat16", device: str = "auto") -> CausalLM:
    """Read a GGUF file through its dense copy in the cache folder; the digest is the GGUF's own."""
    digest = file_sha256(gguf)
    with quiet():
        folder = dense_folder(gguf, digest, dtype_of(dtype))
    return read_folder(folder, name=name, digest=digest, dtype=dtype, device=device)


def read_folder(
    folder: Path, *, name: str, digest: str | None = None, dtype: str = "bfloat16", device: str = "auto"
) -> CausalLM:
    """Read a dense transformers folder; `digest` defaults to that of its weight files."""
    target = find_device(device)
    files = weight_files(folder)
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(str(folder))
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                str(folder), dtype=dtype_of(dtype), use_safetensors=True, output_loading_info=True
            )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(f"can't load model folder {folder}: {error}".splitlines()[0]) from error
    model, report = loaded
    if report["missing_keys"]:
        raise ModelError(f"weights in {folder} lack {', '.join(sorted(report['missing_keys'])[:3])}")
    model.eval().to(target)
    return CausalLM(model, tokenizer, name, digest or weights_sha256(files))


def dtype_of(name: str) -> torch.dtype:
    """The dtype of that name. Raises ModelError for any other."""
    if name not in _DTYPES:
        raise ModelError(f"unknown dtype '{name}': one of {', '.join(_DTYPES)}")
    return _DTYPES[name]


def eos_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every token that ends a reply: the published generation config's and the tokenizer's."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids = set(configured) if isinstance(configured, list) else {configured}
    ids.add(tokenizer.eos_token_id)
    known = frozenset(token for token in ids if isinstance(token, int))
    if not known:
        raise ModelError("the model names no end-of-reply token (eos_token_id), so no reply could end")
    return known


@contextmanager
def quiet() -> Iterator[None]:
    """Without the library's progress bars, which would break into the command line's own."""
    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # untyped library
    try:
        yield
    finally:
        if shown:
            transformers.utils.logging.enable_progress_bar()  # type: ignore[no-untyped-call]
