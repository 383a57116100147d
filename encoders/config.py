"""What an encoder is made of, as data: frozen dataclasses that go to JSON and come back equal."""

from __future__ import annotations

import dataclasses
import json
import types
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from tasks.errors import ModelError

Method = Literal["full", "adapters", "lora", "temporal", "last", "frozen"]


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """The vision tower.

    `attention` says which tokens see each other: all of space-time ("joint"), a frame's own plus
    the same place at other times ("factorized"), or a frame's own only ("frame"). `patches` says
    what a token covers: one frame ("image"), `tubelet` frames ("tubelet"), or TubeViT's four
    kernels side by side ("tubes"). `frames` sizes the table of time positions.
    """

    width: int
    depth: int
    heads: int
    mlp: int
    size: int = 224
    patch: int = 16
    tubelet: int = 2
    frames: int = 16
    attention: Literal["joint", "factorized", "frame"] = "joint"
    patches: Literal["image", "tubelet", "tubes"] = "tubelet"
    pool: Literal["mean", "class", "attention"] = "mean"
    pool_width: int | None = None
    pool_heads: int = 8
    fusion: Literal["mean", "attention"] = "mean"
    class_token: bool = False
    pre_norm: bool = False
    norm_after_pool: bool = False
    activation: Literal["gelu", "quick_gelu", "gelu_tanh"] = "gelu"
    eps: float = 1e-5
    position_std: float = 0.5
    pixel_mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    pixel_std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)

    def __post_init__(self) -> None:
        """Refuse combinations that mean nothing. Raises ModelError."""
        _require(self.width % self.heads == 0, f"width {self.width} is not a multiple of {self.heads} heads")
        _require(self.size % self.patch == 0, f"size {self.size} is not a multiple of patch {self.patch}")
        _require(
            self.patches == "image" or self.frames % self.tubelet == 0,
            f"{self.frames} frames are not a multiple of tubelet {self.tubelet}",
        )
        _require(
            (self.attention == "frame") == (self.patches == "image"),
            f"attention '{self.attention}' does not go with patches '{self.patches}': "
            "frame with image, joint and factorized with tubelet or tubes",
        )
        _require(
            self.patches != "tubes" or (self.attention == "joint" and not self.class_token),
            "tubes need joint attention and no class token: their grids share no time steps",
        )
        _require(self.pool != "class" or self.class_token, "pool 'class' needs class_token")
        _require(
            self.fusion == "mean" or self.attention == "frame",
            "fusion 'attention' joins frames: it needs attention 'frame'",
        )
        _require(
            self.out_width % self.pool_heads == 0 or (self.pool != "attention" and self.fusion == "mean"),
            f"pool width {self.out_width} is not a multiple of {self.pool_heads} pool heads",
        )

    @property
    def out_width(self) -> int:
        """Width of the pooled vector."""
        return self.pool_width if self.pool == "attention" and self.pool_width else self.width

    @property
    def grid(self) -> int:
        """Places per side of the table of space positions."""
        return self.size // self.patch

    @property
    def steps(self) -> int:
        """Entries of the table of time positions (none for a frame-level encoder)."""
        return 0 if self.patches == "image" else self.frames // self.tubelet


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The text tower: BERT shapes with the token average, or CLIP's causal transformer.

    `context` is the longest chunk in tokens, start and end tokens included; longer texts are split
    into chunks and pooled, never cut (see encoders.tokens).
    """

    width: int
    depth: int
    heads: int
    mlp: int
    kind: Literal["bert", "clip"] = "bert"
    vocabulary: int = 30522
    context: int = 512
    activation: Literal["gelu", "quick_gelu", "gelu_tanh"] = "gelu"
    eps: float = 1e-5

    def __post_init__(self) -> None:
        """Refuse shapes that can't be built. Raises ModelError."""
        _require(self.width % self.heads == 0, f"text width {self.width} is not a multiple of {self.heads} heads")
        _require(self.context >= 3, f"text context {self.context} leaves no room for a word")


@dataclass(frozen=True, slots=True)
class AdaptConfig:
    """What trains (paper, section on adaptation). `frozen` trains nothing of the vision tower.

    `tune_patches` keeps the 3D patch projection and the time positions trainable, as the paper
    does for image→video. It costs the memory that `last` saves, because gradients must then
    reach the first layer; the paper's short→long stage trains the last layers only. Where the text tower stays as it
    is, `tune_text_proj` trains its projection alone (ours).
    """

    method: Method = "full"
    bottleneck: int = 64
    rank: int = 8
    last: int = 4
    tune_patches: bool = True
    tune_text: bool = True
    tune_text_proj: bool = False


@dataclass(frozen=True, slots=True)
class LanguageShape:
    """A language model of our own: at most `context` tokens of a text and `vocabulary` entries (ours throughout)."""

    width: int = 128
    depth: int = 4
    heads: int = 4
    mlp: int = 512
    context: int = 512
    vocabulary: int = 2048


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """A dual encoder: two towers, a shared space of `embed` dimensions, a learnt temperature."""

    name: str
    vision: VisionConfig
    text: TextConfig
    embed: int
    temperature: float = 0.07
    adapt: AdaptConfig = AdaptConfig()

    def to_json(self) -> str:
        """As indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str = "encoder config") -> EncoderConfig:
        """Read `to_json`'s text. Raises ModelError naming `source` and the key at fault."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise ModelError(f"{source} is not JSON: {error}") from error
        return cls.from_dict(data, source)

    @classmethod
    def from_dict(cls, data: object, source: str = "encoder config") -> EncoderConfig:
        """Read `dataclasses.asdict`'s dictionary. Raises ModelError naming the key at fault."""
        return read_dataclass(cls, data, source)


T = TypeVar("T")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ModelError(f"encoder config: {message}")


def read_dataclass(kind: type[T], data: object, where: str) -> T:
    """A dataclass of ours from a dictionary, nested ones included. Raises ModelError naming `where` and the key."""
    if not isinstance(data, dict):
        raise ModelError(f"{where}: expected an object, found {type(data).__name__}")
    hints = get_type_hints(kind)
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise ModelError(f"{where}: unknown key '{unknown[0]}'; known are {', '.join(hints)}")
    values = {key: _value(hints[key], value, f"{where}: {key}") for key, value in data.items()}
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(kind)  # type: ignore[arg-type]  # ours all are dataclasses
    required = (f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING)
    missing = [name for name in required if name not in values]
    if missing:
        raise ModelError(f"{where}: key '{missing[0]}' is missing")
    try:
        return kind(**values)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from error


def _value(hint: Any, value: object, where: str) -> object:  # noqa: ANN401 - a type hint has no narrower type
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return read_dataclass(hint, value, where)
    if get_origin(hint) is not None:
        return _composed(hint, value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ModelError(f"{where} must be of type {hint.__name__}, found {value!r}")
    return value


def _composed(hint: Any, value: object, where: str) -> object:  # noqa: ANN401 - as above
    """A value of a Literal, tuple, dictionary or optional type."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return None if value is None else _value(args[0], value, where)
    if origin is Literal:
        if value not in args:
            raise ModelError(f"{where} is {value!r}; it must be one of {', '.join(map(str, args))}")
        return value
    if origin is tuple and args[1:] == (...,):
        if not isinstance(value, list | tuple):
            raise ModelError(f"{where} must be a list, found {value!r}")
        return tuple(_value(args[0], part, where) for part in value)
    if origin is tuple:
        if not isinstance(value, list | tuple) or len(value) != len(args):
            raise ModelError(f"{where} must be a list of {len(args)} numbers")
        return tuple(_value(arg, item, where) for arg, item in zip(args, value, strict=True))
    if not isinstance(value, dict):
        raise ModelError(f"{where} must be a table, found {value!r}")
    return {str(key): _value(args[1], item, f"{where}: {key}") for key, item in value.items()}
