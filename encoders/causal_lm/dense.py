"""A GGUF file's weights as a dense transformers folder, made once and kept in the cache folder."""

from __future__ import annotations

import logging
import shutil
import struct
import tempfile
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from encoders.causal_lm.weights import CACHE_VARIABLE, cache_folder
from tasks.errors import ModelError

_log = logging.getLogger(__name__)


def dense_folder(gguf: Path, digest: str, dtype: torch.dtype) -> Path:
    """The dense copy of `gguf` (SHA-256 `digest`) in `dtype`; made on first use, which takes a while.

    Reading SmolLM2-135M from GGUF took 21 s and its dense copy 0.2 s. The folder's name holds all
    that decides its content, and it appears by one rename, so it is whole whenever it exists.
    Raises ModelError when the file can't be read or the cache folder can't be written.
    """
    name = f"{digest[:24]}-{str(dtype).removeprefix('torch.')}-transformers-{transformers.__version__}"
    folder = cache_folder() / "dense" / name
    if folder.is_dir():
        return folder
    _log.info("unpacking %s once into %s", gguf.name, folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    except OSError as error:
        raise ModelError(
            f"can't write the model cache {folder.parent} ({error.strerror}): set {CACHE_VARIABLE}"
        ) from error
    try:
        _unpack(gguf, unfinished, dtype)
        _publish(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _unpack(gguf: Path, folder: Path, dtype: torch.dtype) -> None:
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            str(gguf.parent),
            gguf_file=gguf.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=dtype,
        )
    except (OSError, ValueError, KeyError, IndexError, struct.error) as error:
        raise ModelError(f"can't read GGUF file {gguf}: {error}".splitlines()[0]) from error
    try:
        model.save_pretrained(str(folder))
        tokenizer.save_pretrained(str(folder))
    except OSError as error:
        raise ModelError(
            f"can't write the model cache {folder.parent} ({error.strerror}): set {CACHE_VARIABLE}"
        ) from error


def _publish(unfinished: Path, folder: Path) -> None:
    try:
        unfinished.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # otherwise another process was first, with the same content
            raise ModelError(f"can't write the model cache {folder} ({error.strerror})") from error
