"""Weights on disk: `NAME.safetensors`, with `NAME.json` (the config) and `NAME.tokenizer.json` beside it.

Loading is strict: whatever differs is named and refused. Nothing is ever unpickled, and nothing is allocated before
the model that the config describes has been held against the shapes in the weights file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from encoders.adapt import add_modules, trainable_patterns
from encoders.config import EncoderConfig, foreign_file, read_json
from encoders.dual import DualEncoder, build_encoder
from encoders.tokens import TextTokenizer, load_tokenizer
from tasks.digests import file_sha256
from tasks.durable import whole_file
from tasks.errors import ModelError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LoadedEncoder:
    """An encoder with the tokenizer its text tower reads and the SHA-256 of its weights file."""

    encoder: DualEncoder
    tokenizer: TextTokenizer
    digest: str


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file that appears whole or not at all. It holds nothing but the tensors."""
    with whole_file(path) as unfinished:
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, unfinished)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises ModelError when it is missing, cut or foreign, or holds values that are not finite.
    """
    tensors = _read(path, lambda file: {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    check_finite(tensors, str(path))
    return tensors


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor of a safetensors file, by its header. Raises ModelError where there is no such file."""
    return _read(path, lambda file: {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()})  # noqa: SIM118


def _read(path: Path, take: Callable[[Any], dict[str, T]]) -> dict[str, T]:
    if not path.is_file():
        raise ModelError(f"no weights at {path}")
    with foreign_file(f"{path} is cut short or not a safetensors file"), safe_open(path, framework="pt") as file:
        return take(file)


def check_finite(tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise ModelError, naming `source` and the tensor, where a weight is not a finite number."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or bool(torch.isfinite(tensor.sum(dtype=torch.float32))):
            continue
        # A sum of finite numbers may overflow: only then is each looked at.
        if not bool(torch.isfinite(tensor.float()).all()):
            raise ModelError(f"{source}: {name} holds values that are not finite numbers")


def load_strict(module: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Copy `tensors` into `module`. Raises ModelError naming `source` and every kind of difference."""
    check_fit(module.state_dict(), tensors, source)
    module.load_state_dict(tensors)


def check_fit(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise ModelError, naming `source` and every kind of difference, unless names, shapes and kinds are the same.

    Any floating-point type will do for another.
    """
    check_shapes(own, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, source)
    other = [
        f"{name} {_dtype(tensors[name])} instead of {_dtype(parameter)}"
        for name, parameter in own.items()
        if tensors[name].dtype != parameter.dtype
        and not (tensors[name].is_floating_point() and parameter.is_floating_point())
    ]
    if other:
        raise ModelError(f"{source} does not fit the model: {_listed('of another type', other)}")


def check_shapes(own: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], source: str) -> None:
    """As `check_fit`, of names and shapes alone."""
    differences = [
        _listed("missing", sorted(set(own) - set(shapes))),
        _listed("not of this model", sorted(set(shapes) - set(own))),
        _listed(
            "of another shape",
            [
                f"{name} {shapes[name]} instead of {tuple(own[name].shape)}"
                for name in own
                if name in shapes and shapes[name] != tuple(own[name].shape)
            ],
        ),
    ]
    found = "; ".join(part for part in differences if part)
    if found:
        raise ModelError(f"{source} does not fit the model: {found}")


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


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
    shapes = read_shapes(path)
    if not beside.is_file():
        raise ModelError(f"{path} has no config beside it: expected {beside.name}")
    config = EncoderConfig.from_dict(read_json(beside), str(beside))
    tokenizer = load_tokenizer(tokenizer_path(path))
    _check_vocabulary(config, tokenizer, str(tokenizer_path(path)))
    _check_described(config, shapes, path)
    encoder = build_encoder(config)
    load_strict(encoder, read_tensors(path), str(path))
    return LoadedEncoder(encoder.to(dtype).eval(), tokenizer, file_sha256(path))


def _check_described(config: EncoderConfig, shapes: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Raise ModelError, naming the config, unless it describes just what the weights file holds."""
    layers = config.vision.depth + config.text.depth
    if layers > len(shapes):
        raise ModelError(f"{config_path(path)}: depth makes {layers} layers, but {path.name} has {len(shapes)} tensors")
    try:
        trainable_patterns(config.adapt, config.vision)
    except ModelError as error:
        raise ModelError(f"{config_path(path)}: adapt: {error}") from error
    with torch.device("meta"), Undrawn():
        described = DualEncoder(config)
        add_modules(described.vision, config.adapt)
    check_shapes(described.state_dict(), shapes, str(path))


class Undrawn(TorchFunctionMode):
    """Within it, `torch.nn.init` leaves tensors as they are.

    For the meta device: its tensors hold no values, but drawing them imports PyTorch's compiler, which takes a second.
    """

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        named = dict(kwargs or {})
        if getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def _check_suffix(path: Path) -> None:
    if path.suffix != ".safetensors":
        missing = "" if path.exists() else "there is no such file; "
        shipped = "; those that ship are named kitchen or kitchen:NAME" if missing else ""
        raise ModelError(f"{path}: {missing}weights are .safetensors files; others are not read{shipped}")


def _check_vocabulary(config: EncoderConfig, tokenizer: TextTokenizer, source: str) -> None:
    if tokenizer.size > config.text.vocabulary:
        raise ModelError(f"{source}: {tokenizer.size} tokens are too many for a text tower of {config.text.vocabulary}")
    text, number = max(tokenizer.tokenizer.get_vocab().items(), key=lambda token: token[1])
    if number >= config.text.vocabulary:
        raise ModelError(
            f"{source}: the token {text[:40]!r} has the id {number}, past the text tower's {config.text.vocabulary}"
        )
