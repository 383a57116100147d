"""Weights on disk: `NAME.safetensors`, with `NAME.json` (the config) and `NAME.tokenizer.json` beside it.

Loading is strict: whatever differs is named and refused. Nothing is ever unpickled.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from encoders.config import EncoderConfig
from encoders.dual import DualEncoder, build_encoder
from encoders.tokens import TextTokenizer, load_tokenizer
from tasks.digests import file_sha256
from tasks.errors import ModelError


@dataclass(frozen=True, slots=True)
class LoadedEncoder:
    """An encoder with the tokenizer its text tower reads and the SHA-256 of its weights file."""

    encoder: DualEncoder
    tokenizer: TextTokenizer
    digest: str


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file that appears whole or not at all. It holds nothing but the tensors."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file. Raises ModelError when it is missing, cut or foreign."""
    if not path.is_file():
        raise ModelError(f"no weights at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise ModelError(f"{path} is cut short or not a safetensors file: {error}") from error


def load_strict(module: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Copy `tensors` into `module`. Raises ModelError naming `source` and every kind of difference."""
    check_fit(module.state_dict(), tensors, source)
    module.load_state_dict(tensors)


def check_fit(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise ModelError, naming `source` and every kind of difference, unless names and shapes are the same."""
    differences = [
        _listed("missing", sorted(set(own) - set(tensors))),
        _listed("not of this model", sorted(set(tensors) - set(own))),
        _listed(
            "of another shape",
            [
                f"{name} {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}"
                for name in own
                if name in tensors and tensors[name].shape != own[name].shape
            ],
        ),
    ]
    found = "; ".join(part for part in differences if part)
    if found:
        raise ModelError(f"{source} does not fit the model: {found}")


def _listed(what: str, names: list[str], most: int = 3) -> str:
    if not names:
        return ""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)} {what}: {', '.join(names[:most])}{more}"


def config_path(weights: Path) -> Path:
    """The config beside a weights file."""
    return weights.with_suffix(".json")


def tokenizer_path(weights: Path) -> Path:
    """The tokenizer beside a weights file."""
    return weights.with_suffix(".tokenizer.json")


def save_encoder(encoder: DualEncoder, tokenizer: TextTokenizer, path: Path) -> str:
    """Write the three files; the weights' digest. Raises ModelError unless `path` is a .safetensors."""
    _check_suffix(path)
    _check_vocabulary(encoder.config, tokenizer, str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(encoder.state_dict(), path)
    config_path(path).write_text(encoder.config.to_json(), encoding="utf-8")
    tokenizer_path(path).write_text(tokenizer.to_json(), encoding="utf-8")
    return file_sha256(path)


def load_encoder(path: Path | str | os.PathLike[str], dtype: torch.dtype = torch.float32) -> LoadedEncoder:
    """Read what `save_encoder` wrote. Raises ModelError naming the file that is missing or differs."""
    path = Path(path)
    _check_suffix(path)
    beside = config_path(path)
    tensors = read_tensors(path)
    if not beside.is_file():
        raise ModelError(f"{path} has no config beside it: expected {beside.name}")
    config = EncoderConfig.from_json(beside.read_text(encoding="utf-8"), str(beside))
    tokenizer = load_tokenizer(tokenizer_path(path))
    _check_vocabulary(config, tokenizer, str(tokenizer_path(path)))
    encoder = build_encoder(config)
    load_strict(encoder, tensors, str(path))
    return LoadedEncoder(encoder.to(dtype).eval(), tokenizer, file_sha256(path))


def _check_suffix(path: Path) -> None:
    if path.suffix != ".safetensors":
        raise ModelError(f"{path}: weights are .safetensors files; others are not read")


def _check_vocabulary(config: EncoderConfig, tokenizer: TextTokenizer, source: str) -> None:
    if tokenizer.size > config.text.vocabulary:
        raise ModelError(f"{source}: {tokenizer.size} tokens are too many for a text tower of {config.text.vocabulary}")
