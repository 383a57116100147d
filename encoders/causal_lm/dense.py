"""A GGUF file's weights as a dense transformers folder, made once and kept in the cache folder."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from encoders.causal_lm.weights import CACHE_VARIABLE, cache_folder
from encoders.config import foreign_file
from tasks.digests import file_sha256
from tasks.errors import ModelError

DIGESTS = "longvid-digests.json"
MOST = 1 << 30
"""More than any size in a published model (ours)."""
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
    check_gguf(gguf)
    with foreign_file(f"can't read GGUF file {gguf}"):
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            str(gguf.parent),
            gguf_file=gguf.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=dtype,
            trust_remote_code=False,
        )
    try:
        model.save_pretrained(str(folder))
        tokenizer.save_pretrained(str(folder))
    except OSError as error:
        raise ModelError(
            f"can't write the model cache {folder.parent} ({error.strerror}): set {CACHE_VARIABLE}"
        ) from error


def check_gguf(gguf: Path) -> None:
    """Hold a GGUF file's description of its model against its tensors. Raises ModelError naming field or file."""
    from gguf import GGUFReader

    with foreign_file(f"can't read GGUF file {gguf}"):
        reader = GGUFReader(gguf)
        shapes = {tensor.name: tuple(int(side) for side in tensor.shape) for tensor in reader.tensors}
        fields = {
            name: field.contents() for name, field in reader.fields.items() if field.types and len(field.types) == 1
        }
        listed = reader.fields.get("tokenizer.ggml.tokens")
        tokens = 0 if listed is None else len(listed.data)
    kind = fields.get("general.architecture")
    for name, value in fields.items():
        counts = name.startswith(f"{kind}.") and name.endswith(("_count", "_length", "_size", "_count_kv"))
        if counts and (not isinstance(value, int) or not 1 <= value <= MOST):
            raise ModelError(f"can't read GGUF file {gguf}: {name} is {value!r:.40}, which is not from 1 to {MOST}")
        if name.startswith("tokenizer.") and name.endswith("_token_id") and isinstance(value, int) and value >= tokens:
            raise ModelError(f"can't read GGUF file {gguf}: {name} is {value}, and it has {tokens} tokens")
    layers = {name.split(".")[1] for name in shapes if name.startswith("blk.")}
    width, rows = shapes.get("token_embd.weight", (0, 0))
    wanted = {"block_count": len(layers), "embedding_length": width}
    for name, found in wanted.items():
        if fields.get(f"{kind}.{name}") != found:
            asked = fields.get(f"{kind}.{name}", "missing")
            raise ModelError(f"can't read GGUF file {gguf}: {kind}.{name} is {asked}, and by its tensors {found}")
    if tokens > rows:
        raise ModelError(f"can't read GGUF file {gguf}: {tokens} tokens, and rows for {rows} (token_embd.weight)")


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
