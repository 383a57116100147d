"""Encoder configurations as data: frozen dataclasses that survive a JSON round trip.

A configuration may come from anywhere, so its numbers have bounds (our choice, far above any published model's): what
passes them can be described without a tensor, and is then checked against the shapes in the weights file.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from tasks.errors import ModelError

if TYPE_CHECKING:
    # Only what reads a file needs it: encoders are built, and measured, on machines that have torch and little else.
    from pydantic import TypeAdapter, ValidationError

MOST_BYTES = 64 << 20
"""Largest JSON file beside weights; the largest published tokenizers have about 35 MB."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the greatest value of a number; non-finite numbers are out of bounds."""

    low: float
    high: float


class ConfigError(ModelError, ValueError):
    """A configuration that can't be built; also a ValueError, the only kind for which pydantic reports the location."""


Method = Literal["full", "adapters", "lora", "temporal", "last", "frozen"]
Width = Annotated[int, Bounds(1, 32_768)]
Hidden = Annotated[int, Bounds(1, 262_144)]
Depth = Annotated[int, Bounds(1, 512)]
Heads = Annotated[int, Bounds(1, 1024)]
Places = Annotated[int, Bounds(1, 1 << 20)]
Vocabulary = Annotated[int, Bounds(1, 1 << 22)]
Epsilon = Annotated[float, Bounds(0.0, 1.0)]
Share = Annotated[float, Bounds(0.0, 1.0)]
Deviation = Annotated[float, Bounds(1e-6, 1e6)]
Offset = Annotated[float, Bounds(-1e6, 1e6)]


def check_bounds(config: Any, what: str) -> None:  # noqa: ANN401 - any dataclass of ours
    """Raise ModelError, naming `what` and the field, for a number of a dataclass outside its `Bounds`."""
    for name, (bounds, hint) in _bounded(type(config)).items():
        value = getattr(config, name)
        for number in value if isinstance(value, tuple) else (value,):
            if number is None:
                continue
            wrong = isinstance(number, bool) or not isinstance(number, int if hint is int else (int, float))
            if wrong or not bounds.low <= number <= bounds.high:
                shown = f"{number:g}" if isinstance(number, float) else repr(number)
                raise ConfigError(f"{what}: {name} is {shown}, which is not from {bounds.low} to {bounds.high}")


def _bounded(kind: type) -> dict[str, tuple[Bounds, type]]:
    """Return a dataclass's fields with bounds, and whether they hold integers."""
    found = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        parts = (hint, *get_args(hint)) if get_origin(hint) is not Annotated else (hint,)
        for part in parts:
            if get_origin(part) is Annotated:
                number, bounds = get_args(part)
                found[name] = (bounds, number)
    return found


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """The vision tower.

    `attention` says which tokens attend to each other: all of space-time ("joint"), those of the same frame plus
    those at the same place in other frames ("factorized"), or those of the same frame only ("frame"). `patches` says
    what a token covers: one frame ("image"), `tubelet` frames ("tubelet"), or TubeViT's four kernels at once ("tubes").
    `frames` sizes the table of time positions.
    """

    width: Width
    depth: Depth
    heads: Heads
    mlp: Hidden
    size: Annotated[int, Bounds(1, 8192)] = 224
    patch: Annotated[int, Bounds(1, 1024)] = 16
    tubelet: Annotated[int, Bounds(1, 1024)] = 2
    frames: Places = 16
    attention: Literal["joint", "factorized", "frame"] = "joint"
    patches: Literal["image", "tubelet", "tubes"] = "tubelet"
    pool: Literal["mean", "class", "attention"] = "mean"
    pool_width: Width | None = None
    pool_heads: Heads = 8
    fusion: Literal["mean", "attention"] = "mean"
    class_token: bool = False
    pre_norm: bool = False
    norm_after_pool: bool = False
    activation: Literal["gelu", "quick_gelu", "gelu_tanh"] = "gelu"
    eps: Epsilon = 1e-5
    position_std: Annotated[float, Bounds(0.0, 1e6)] = 0.5
    pixel_mean: tuple[Offset, Offset, Offset] = (0.48145466, 0.4578275, 0.40821073)
    pixel_std: tuple[Deviation, Deviation, Deviation] = (0.26862954, 0.26130258, 0.27577711)

    def __post_init__(self) -> None:
        """Refuse values that can't be built and meaningless combinations. Raises ModelError."""
        check_bounds(self, "encoder config")
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

    `context` is the longest chunk in tokens, including start and end tokens; longer texts are split
    into chunks and pooled, never cut (see encoders.tokens).
    """

    width: Width
    depth: Depth
    heads: Heads
    mlp: Hidden
    kind: Literal["bert", "clip"] = "bert"
    vocabulary: Vocabulary = 30522
    context: Places = 512
    activation: Literal["gelu", "quick_gelu", "gelu_tanh"] = "gelu"
    eps: Epsilon = 1e-5

    def __post_init__(self) -> None:
        """Refuse shapes that can't be built. Raises ModelError."""
        check_bounds(self, "encoder config")
        _require(self.width % self.heads == 0, f"text width {self.width} is not a multiple of {self.heads} heads")
        _require(self.context >= 3, f"text context {self.context} leaves no room for a word")


@dataclass(frozen=True, slots=True)
class AdaptConfig:
    """What is trained (paper, section on adaptation). `frozen` trains nothing of the vision tower.

    `tune_patches` keeps the 3D patch projection and the time positions trainable, as the paper
    does for image→video. It costs the memory that `last` saves, because gradients must then
    reach the first layer; the paper's short→long stage trains the last layers only. If the text tower is frozen,
    `tune_text_proj` trains its projection alone (our choice).
    """

    method: Method = "full"
    bottleneck: Width = 64
    rank: Annotated[int, Bounds(1, 4096)] = 8
    last: Depth = 4
    tune_patches: bool = True
    tune_text: bool = True
    tune_text_proj: bool = False

    def __post_init__(self) -> None:
        """Refuse sizes that can't be built. Raises ModelError."""
        check_bounds(self, "encoder config")


@dataclass(frozen=True, slots=True)
class LanguageShape:
    """A language model of our own: at most `context` tokens of a text and `vocabulary` entries (all our choice)."""

    width: Width = 128
    depth: Depth = 4
    heads: Heads = 4
    mlp: Hidden = 512
    context: Places = 512
    vocabulary: Vocabulary = 2048

    def __post_init__(self) -> None:
        """Refuse shapes that can't be built. Raises ModelError."""
        check_bounds(self, "language model")
        if self.width % self.heads:
            raise ConfigError(f"language model: width {self.width} is not a multiple of {self.heads} heads")


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """A dual encoder: two towers, a shared space of `embed` dimensions, a learned temperature."""

    name: str
    vision: VisionConfig
    text: TextConfig
    embed: Width
    temperature: Annotated[float, Bounds(1e-6, 1e6)] = 0.07
    adapt: AdaptConfig = AdaptConfig()

    def __post_init__(self) -> None:
        """Refuse values that can't be built. Raises ModelError."""
        check_bounds(self, "encoder config")

    def to_json(self) -> str:
        """Return indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str = "encoder config") -> EncoderConfig:
        """Read `to_json`'s text. Raises ModelError naming `source` and the key at fault."""
        return cls.from_dict(parse_json(text, source), source)

    @classmethod
    def from_dict(cls, data: object, source: str = "encoder config") -> EncoderConfig:
        """Read `dataclasses.asdict`'s dictionary. Raises ModelError naming the key at fault."""
        return read_dataclass(cls, data, source)


T = TypeVar("T")


@contextmanager
def foreign_file(what: str) -> Iterator[None]:
    """Raise ModelError, beginning with `what`, for whatever a library raises on a file that it trusts.

    There is no narrower type: broken weights, configurations and tokenizers end in about twenty kinds of error, and in
    panics of compiled code, which are not an `Exception` and can only be recognised by name.
    """
    try:
        yield
    except ModelError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        words = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, KeyError):
            words = f"unknown or missing: {words}"
        raise ModelError(f"{what}: {words if len(words) <= 300 else words[:299] + '…'}") from error


def read_json(path: Path, *, ours: bool = True) -> object:
    """Read a JSON file beside weights; with `ours` duplicate keys are refused.

    Raises ModelError naming it if it is missing, too large or not JSON.
    """
    try:
        if not path.is_file():
            raise ModelError(f"{path} is missing, or not a regular file")
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ModelError(f"{path} is too large ({size / 1e6:.0f} MB) for the JSON beside weights")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror or error}") from error
    return parse_json(text, str(path), ours=ours)


def parse_json(text: str, source: str, *, ours: bool = True) -> object:
    """Parse JSON. Raises ModelError naming `source`."""
    try:
        return json.loads(text, object_pairs_hook=_table if ours else None)
    except RecursionError as error:
        raise ModelError(f"{source} is not JSON that can be read: too deeply nested") from error
    except ValueError as error:
        raise ModelError(f"{source} is not JSON: {error}") from error


def _table(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table: dict[str, object] = {}
    for name, value in pairs:
        if name in table:
            raise ValueError(f"the key '{name[:60]}' is used twice")
        table[name] = value
    return table


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(f"encoder config: {message}")


def read_dataclass(kind: type[T], data: object, where: str) -> T:
    """Build a dataclass, including nested ones, from a dictionary; values must have the right type, nothing is coerced.

    Raises ModelError naming `where` and the key.
    """
    from pydantic import ValidationError

    if not isinstance(data, dict):
        raise ModelError(f"{where}: expected an object, found {type(data).__name__}")
    try:
        # Via JSON, because only pydantic's strict JSON mode takes a list for a tuple and a dictionary for a dataclass.
        (read,) = _adapter(cast("Any", kind)).validate_json(json.dumps([data]), strict=True)
    except ValidationError as error:
        raise ModelError(f"{where}: {_first_fault(error, kind, where)}") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"{where}: a value cannot be written as JSON: {error}") from error
    return cast("T", read)


@cache
def _adapter(kind: Any) -> TypeAdapter[list[Any]]:  # noqa: ANN401 - a type hint has no narrower type
    from pydantic import ConfigDict, TypeAdapter

    # A list, because pydantic takes no settings for a bare standard-library dataclass.
    return TypeAdapter(list[kind], config=ConfigDict(extra="forbid", allow_inf_nan=False))


def _first_fault(error: ValidationError, kind: Any, where: str) -> str:  # noqa: ANN401 - as above
    """Describe the first fault with its location: `vision: depth must be of type int, found 'x'`."""
    fault = error.errors(include_url=False)[0]
    place = [str(part)[:60] for part in fault["loc"][1:]]
    if fault["type"] == "value_error":
        # A config's own checks name it, and so does whoever reads one that is not in a file.
        told = str(fault["ctx"]["error"]).removeprefix(f"{where.partition(':')[0]}: ")
        return ": ".join([*place, told])
    *outer, key = place or [""]
    within = "".join(f"{part}: " for part in outer)
    match fault["type"]:
        case "json_invalid":  # written by us, so that only half a surrogate pair can be wrong with it
            told = "a text in it is not Unicode"
        case "unexpected_keyword_argument":
            for part in outer:
                kind = get_type_hints(kind)[part]
            told = f"unknown key '{key}'; known are {', '.join(get_type_hints(kind))}"
        case "missing":
            told = f"key '{key}' is missing"
        case "literal_error":
            told = f"{key} is {_short(fault['input'])}; it must be {fault['ctx']['expected']}"
        case "finite_number":
            told = f"{key} is {fault['input']}, which is not a number"
        case _:
            told = f"{key} must be {_WANTED.get(fault['type'], fault['msg'])}, found {_short(fault['input'])}"
    return within + told


_WANTED = MappingProxyType(
    {
        "bool_type": "of type bool",
        "dataclass_type": "a table",
        "dict_type": "a table",
        "float_type": "of type float",
        "int_type": "of type int",
        "string_type": "of type str",
        "tuple_type": "a list",
    }
)


def _short(value: object) -> str:
    """Shorten a value to one line for messages."""
    if isinstance(value, dict | list | tuple):
        return "a table" if isinstance(value, dict) else "a list"
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:59]}…"


@dataclass(frozen=True, slots=True)
class Variant:
    """A model size: vision and text shapes as (width, depth, heads), image side and embedding dimensions."""

    vision: tuple[int, int, int]
    text: tuple[int, int, int]
    size: int
    embed: int
    vocabulary: int = 30522
    context: int = 512


VARIANTS = MappingProxyType(
    {
        "tiny": Variant((128, 4, 4), (128, 2, 4), size=64, embed=128, vocabulary=2048, context=128),
        "b": Variant((768, 12, 12), (512, 8, 8), size=224, embed=256),
        "l": Variant((1024, 24, 16), (768, 12, 12), size=224, embed=768),
    }
)
FAMILIES = ("imagevit", "shortvivit", "longvivit", "factorized")
PRESETS = tuple(f"{family}-{size}" for family in FAMILIES for size in VARIANTS)


def preset(name: str) -> EncoderConfig:
    """Return the configuration registered as `name`. Raises ModelError for an unknown name."""
    if name not in PRESETS:
        raise ModelError(f"no encoder preset '{name}'; known are {', '.join(PRESETS)}")
    family, _, size = name.partition("-")
    variant = VARIANTS[size]
    width, depth, heads = variant.vision
    vision = VisionConfig(width=width, depth=depth, heads=heads, mlp=4 * width, size=variant.size)
    text_width, text_depth, text_heads = variant.text
    text = TextConfig(
        width=text_width,
        depth=text_depth,
        heads=text_heads,
        mlp=4 * text_width,
        vocabulary=variant.vocabulary,
        context=variant.context,
        eps=1e-12,
    )
    return EncoderConfig(name, _as_family(vision, family), text, variant.embed)


def _as_family(vision: VisionConfig, family: str) -> VisionConfig:
    if family == "imagevit":
        return replace(vision, attention="frame", patches="image")
    if family == "factorized":
        return replace(vision, attention="factorized")
    return replace(vision, frames=256) if family == "longvivit" else vision
