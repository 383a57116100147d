"""A GGUF file's weights as a dense transformers folder, made once and kept in the cache folder."""

from __future__ import annotations

import json
import logging
import shutil
import struct
import tempfile
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from encoders.causal_lm.weights import CACHE_VARIABLE, cache_folder
from tasks.digests import file_sha256
from tasks.errors import ModelError

DIGESTS = "longvid-digests.json"
_log = logging.getLogger(__name__)


def dense_folder(gguf: Path, digest: str, dtype: torch.dtype) -> Path:
    """The dense copy of `gguf` (SHA-256 `digest`) in `dtype`; made on first use, which takes a while.

    Reading SmolLM2-135M from GGUF took 21 s and its dense copy 0.2 s. The folder's name holds all
    that decides its content, and its files are compared with their digests before each use: a record
    names the GGUF's digest, so that a copy that was damaged or changed must never answer in its name.
    Such a copy, or one from before there were digests, is made again.
    Raises ModelError when the file can't be read or the cache folder can't be written.
    """
    name = f"{digest[:24]}-{str(dtype).removeprefix('torch.')}-transformers-{transformers.__version__}"
    folder = cache_folder() / "dense" / name
    if is_untouched(folder):
        return folder
    if folder.is_dir():
        _log.warning("%s is damaged, changed or of an older version: it is made again", folder)
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
        (unfinished / DIGESTS).write_text(json.dumps(digests_of(unfinished), indent=2), encoding="utf-8")
        _publish(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def digests_of(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file of a folder by name, but for the one that holds them."""
    return {path.name: file_sha256(path) for path in sorted(folder.iterdir()) if path.name != DIGESTS}


def is_untouched(folder: Path) -> bool:
    """Whether a dense copy holds just the files that were written there, with their content."""
    try:
        recorded = json.loads((folder / DIGESTS).read_text(encoding="utf-8"))
        return bool(recorded == digests_of(folder))
    except (OSError, ValueError, RecursionError):
        return False


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
    """Put the new copy in place, out of which a damaged one is moved first."""
    replaced = unfinished.with_name(f"{unfinished.name}-replaced")
    try:
        if folder.is_dir():
            folder.rename(replaced)
        unfinished.rename(folder)
    except OSError as error:
        if not is_untouched(folder):  # otherwise another process was first, with the same content
            raise ModelError(f"can't write the model cache {folder} ({error.strerror})") from error
    finally:
        shutil.rmtree(replaced, ignore_errors=True)
