"""The models by name, with their typed options; listing them imports none of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from importlib import import_module
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from tasks.errors import ModelError


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a model is, and where its options and its builder are (`module:attribute`).

    A builder of several presets takes the preset's name before the options; one of models made of `parts` takes
    `build_model` behind them.
    """

    summary: str
    options: str
    build: str
    preset: str | None = None
    parts: bool = False


FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "imagevit": "a ViT on each frame, averaged over time",
        "shortvivit": "joint space-time attention, 16 frames",
        "longvivit": "joint space-time attention, up to 256 frames at 1 FPS",
        "factorized": "a ViT with gated temporal attention in each layer",
    }
)
MODELS: Mapping[str, ModelSpec] = MappingProxyType(
    {
        "aggregator": ModelSpec(
            "captions of segments, read by a language model",
            "baselines.model_options:AggregatorOptions",
            "baselines.build_aggregator:build_aggregator",
            parts=True,
        ),
        "caption-vectors": ModelSpec(
            "captions or summaries against texts, both read by an encoder's text tower",
            "baselines.model_options:CaptionVectorOptions",
            "baselines.caption_vectors:build_caption_vectors",
            parts=True,
        ),
        "keyframes": ModelSpec(
            "the frames that matter to the question, seen by a short video encoder",
            "baselines.model_options:KeyFrameOptions",
            "baselines.keyframe_model:build_keyframes",
            parts=True,
        ),
        "one-frame": ModelSpec(
            "any model that takes frames=N, with the middle frame alone",
            "baselines.model_options:OneFrameOptions",
            "baselines.one_frame:build_one_frame",
            parts=True,
        ),
        "blind": ModelSpec(
            "a language model alone: no video",
            "baselines.model_options:BlindOptions",
            "baselines.blind:build_blind",
        ),
        "constant": ModelSpec(
            "one option, every time",
            "baselines.model_options:ConstantOptions",
            "baselines.floor_models:build_constant",
        ),
        "chance": ModelSpec(
            "an option at random, seeded",
            "baselines.model_options:ChanceOptions",
            "baselines.floor_models:build_chance",
        ),
        "tfidf": ModelSpec(
            "transcripts against texts by TF-IDF: no video",
            "baselines.model_options:TfidfOptions",
            "baselines.text_retrieval:build_tfidf",
        ),
        "bm25": ModelSpec(
            "transcripts against texts by BM25: no video",
            "baselines.model_options:Bm25Options",
            "baselines.text_retrieval:build_bm25",
        ),
        "random-vectors": ModelSpec(
            "unit vectors in random directions, seeded",
            "baselines.model_options:RandomVectorOptions",
            "baselines.random_vectors:build_random_vectors",
        ),
        "word-salad": ModelSpec(
            "the same six words over and over",
            "baselines.model_options:SaladOptions",
            "baselines.text_floor_models:build_word_salad",
        ),
        "constant-paragraph": ModelSpec(
            "the most typical training text, every time",
            "baselines.model_options:TrainingOptions",
            "baselines.text_floor_models:build_constant_paragraph",
        ),
        "random-paragraph": ModelSpec(
            "a training text at random, seeded",
            "baselines.model_options:TrainingOptions",
            "baselines.text_floor_models:build_random_paragraph",
        ),
        "recipe-type-paragraph": ModelSpec(
            "the typical training text of the video's recipe type: uses the label",
            "baselines.model_options:TrainingOptions",
            "baselines.text_floor_models:build_recipe_type_paragraph",
        ),
        "v2t": ModelSpec(
            "a video-to-text file over the encoder and language model that it names",
            "encoders.model_options:VideoToTextOptions",
            "encoders.v2t.build:build_video_to_text",
        ),
        "openclip": ModelSpec(
            "any open_clip ViT, frame by frame or inflated to video",
            "encoders.model_options:OpenClipOptions",
            "encoders.build:build_open_clip",
        ),
        "vlm": ModelSpec(
            "a vision-language model behind an OpenAI-compatible server, shown frames",
            "baselines.model_options:VisionOptions",
            "baselines.vision_model:build_vision_model",
        ),
        "coca": ModelSpec(
            "an open_clip CoCa: captions of single frames",
            "encoders.model_options:CocaOptions",
            "encoders.coca.captioner:build_coca",
        ),
        **{
            f"{family}-{size}": ModelSpec(
                f"{summary} ({size})",
                "encoders.model_options:PresetOptions",
                "encoders.build:build_preset",
                preset=f"{family}-{size}",
            )
            for family, summary in FAMILIES.items()
            for size in ("tiny", "b", "l")
        },
    }
)


@dataclass(frozen=True, slots=True)
class OptionHelp:
    """One option of a model, as listed."""

    name: str
    kind: str
    default: str
    help: str


def resolve(path: str) -> Any:  # noqa: ANN401 - returns whatever lies there
    """Import `module:attribute`."""
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)


def spec_of(name: str) -> ModelSpec:
    """The named model's spec. Raises ModelError with the nearest known name."""
    if name in MODELS:
        return MODELS[name]
    msg = f"unknown model '{name}'{nearest(name, MODELS)}; 'longvid models' lists them"
    raise ModelError(msg)


def nearest(word: str, known: Mapping[str, object] | Sequence[str]) -> str:
    """`, did you mean 'x'?` where one is close."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f", did you mean '{close[0]}'?" if close else ""


def option_help(name: str) -> list[OptionHelp]:
    """The options of a model: name, type, default, meaning."""
    options = resolve(spec_of(name).options)
    hints = get_type_hints(options)
    rows = []
    for field in dataclasses.fields(options):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        kind = kind_name(hints[field.name])
        default = "required" if required else "" if field.default is None else str(field.default)
        rows.append(OptionHelp(field.name, kind, default, str(field.metadata.get("help", ""))))
    return rows


def kind_name(hint: Any) -> str:  # noqa: ANN401 - a type hint has no narrower type
    """A type as users write its values: `int`, `Path or nothing`, `spread|cut`."""
    if get_origin(hint) is Literal:
        return "|".join(map(str, get_args(hint)))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return "|".join(hint)
    if get_origin(hint) is UnionType:
        return " or ".join("nothing" if part is NoneType else kind_name(part) for part in get_args(hint))
    return str(hint.__name__)


def parse_options(pairs: Sequence[str]) -> dict[str, str]:
    """`key=value` arguments as a mapping. Raises ModelError for a malformed or repeated one."""
    options: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            msg = f"model option '{pair}' is not of the form key=value"
            raise ModelError(msg)
        if key in options:
            msg = f"model option '{key}' is given twice"
            raise ModelError(msg)
        options[key] = value
    return options


def typed_options(name: str, options: Mapping[str, str]) -> object:
    """The model's options dataclass from strings. Raises ModelError naming the option at fault."""
    from pydantic import TypeAdapter, ValidationError

    known = [row.name for row in option_help(name)]
    for key in options:
        if key not in known:
            msg = f"model '{name}' has no option '{key}'{nearest(key, known)} (it has: {', '.join(known)})"
            raise ModelError(msg)
    try:
        return TypeAdapter(resolve(spec_of(name).options)).validate_python(dict(options))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        msg = f"model '{name}': option '{where}': {problem['msg'].lower()} (given: {options.get(where, 'nothing')})"
        raise ModelError(msg) from error


def deciding(name: str, options: Mapping[str, str]) -> dict[str, str]:
    """The options that can change an answer: those that a run is told by. The others are in its command line."""
    fields = {field.name: field for field in dataclasses.fields(resolve(spec_of(name).options))}
    return {key: value for key, value in options.items() if fields[key].metadata.get("decides", True)}


def route_wanted(name: str, options: Mapping[str, str]) -> str | None:
    """The route of a multiple-choice answer that the model's options name, known without building it."""
    route = getattr(typed_options(name, options), "route", None)
    return None if route is None else str(route)


def build_model(name: str, options: Mapping[str, str]) -> object:
    """Build a model from its name and option strings. Raises ModelError or DataError."""
    spec = spec_of(name)
    build = resolve(spec.build)
    typed = typed_options(name, options)
    if spec.parts:
        return build(typed, build_model)
    return build(typed) if spec.preset is None else build(spec.preset, typed)
