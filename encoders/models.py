"""The entries of the encoders, with their options; importing this loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from encoders.sampling import FramePolicy
from encoders.shipped import weights_file
from tasks.errors import ModelError
from tasks.registry import ANSWERS, DECIDING, FRAMES, RUNTIME, ModelEntry, System
from tasks.routes import Route

Dtype = Literal["auto", "bfloat16", "float32"]
Attention = Literal["frame", "joint", "factorized"]
SHORT_FRAMES = 16
SHORT = FramePolicy(count=SHORT_FRAMES)
LONG = FramePolicy(fps=1.0, cap=256)
MIDDLE = FramePolicy(count=1)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Which moments of a clip are read; defaults are the model's own. A mix-in, so it has no slots."""

    frames: int | None = field(
        default=None, metadata={"help": "this many frames, evenly over the clip", "group": FRAMES}
    )
    fps: float | None = field(default=None, metadata={"help": "or frames per second, at most cap", "group": FRAMES})
    cap: int = field(default=256, metadata={"help": "most frames that fps may give", "group": FRAMES})
    beyond_cap: Literal["spread", "cut"] = field(
        default="spread",
        metadata={"help": "beyond the cap: spread over the whole clip, or cut its end off (paper)", "group": FRAMES},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameOptions(Timing):
    """Which frames an encoder reads, and how they become squares."""

    fit: Literal["crop", "squash"] = field(
        default="crop", metadata={"help": "how a frame becomes a square", "group": FRAMES}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOptions(FrameOptions):
    """How a video-to-text model is asked; defaults are those of its training, or the task's."""

    lm: str | None = field(
        default=None,
        metadata={"help": "v2t: where its language model is, if not at the recorded place", "group": RUNTIME},
    )
    parts: Path | None = field(
        default=None, metadata={"help": "v2t: folder of its encoder and language model", "group": RUNTIME}
    )
    route: Route | None = field(
        default=None, metadata={"help": "v2t: how a choice is made; default options-loglik", "group": ANSWERS}
    )
    caption_prompt: Literal["own", "task"] | None = field(
        default=None,
        metadata={"help": "v2t: captions after training's prompt (default) or the task's", "group": ANSWERS},
    )
    beams: int | None = field(default=None, metadata={"help": "v2t: beam width; default 1, greedy", "group": ANSWERS})
    length_penalty: float | None = field(
        default=None, metadata={"help": "v2t: length penalty (exponent); default 1", "group": ANSWERS}
    )
    min_tokens: int | None = field(default=None, metadata={"help": "v2t: shortest reply", "group": ANSWERS})
    max_tokens: int | None = field(
        default=None, metadata={"help": "v2t: longest reply; default: the task's", "group": ANSWERS}
    )
    mask: float | None = field(
        default=None, metadata={"help": "v2t: share of tokens dropped; default: as in training", "group": ANSWERS}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoToTextOptions(ReadingOptions):
    """Options of `--model v2t`."""

    weights: Path = field(metadata={"help": "a video-to-text .safetensors file"})
    device: str = field(default="auto", metadata={"help": "auto, cpu, cuda or cuda:N", "group": RUNTIME})
    dtype: Dtype = field(default="auto", metadata={"help": "auto: bfloat16 where the device has it", "group": RUNTIME})
    compile: bool = field(default=False, metadata={"help": "torch.compile the vision tower", "group": RUNTIME})
    batch: int = field(default=8, metadata={"help": "most videos at once", "group": RUNTIME})
    workers: int = field(default=2, metadata={"help": "processes that decode ahead", "group": RUNTIME})


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetOptions(ReadingOptions):
    """Options of `--model imagevit-…|shortvivit-…|longvivit-…|factorized-…`."""

    weights: str = field(
        metadata={"help": "a .safetensors file of ours, kitchen or kitchen:NAME (shipped), or random: untrained"}
    )
    v2t: str | None = field(
        default=None,
        metadata={"help": "a video-to-text file on top (or kitchen): captions and likelihoods", "group": DECIDING},
    )
    seed: int = field(default=0, metadata={"help": "seed of weights=random", "group": DECIDING})
    device: str = field(default="auto", metadata={"help": "auto, cpu, cuda or cuda:N", "group": RUNTIME})
    dtype: Dtype = field(default="auto", metadata={"help": "auto: bfloat16 where the device has it", "group": RUNTIME})
    compile: bool = field(default=False, metadata={"help": "torch.compile the vision tower", "group": RUNTIME})
    batch: int = field(default=8, metadata={"help": "most videos encoded at once", "group": RUNTIME})
    workers: int = field(default=2, metadata={"help": "processes that decode ahead", "group": RUNTIME})


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenClipOptions(ReadingOptions):
    """Options of `--model openclip`."""

    name: str = field(metadata={"help": "open_clip model: ViT-B-16, local-dir:PATH or hf-hub:ORG/REPO"})
    pretrained: str | None = field(
        default=None, metadata={"help": "open_clip tag or .safetensors file", "group": DECIDING}
    )
    v2t: str | None = field(
        default=None, metadata={"help": "a video-to-text file on top: captions and likelihoods", "group": DECIDING}
    )
    attention: Attention = field(
        default="frame",
        metadata={"help": "frame: ImageViT; joint or factorized: inflated to a video encoder", "group": DECIDING},
    )
    device: str = field(default="auto", metadata={"help": "auto, cpu, cuda or cuda:N", "group": RUNTIME})
    dtype: Dtype = field(default="auto", metadata={"help": "auto: bfloat16 where the device has it", "group": RUNTIME})
    compile: bool = field(default=False, metadata={"help": "torch.compile the vision tower", "group": RUNTIME})
    batch: int = field(default=8, metadata={"help": "most videos encoded at once", "group": RUNTIME})
    workers: int = field(default=2, metadata={"help": "processes that decode ahead", "group": RUNTIME})


@dataclass(frozen=True, slots=True, kw_only=True)
class CocaOptions(FrameOptions):
    """Options of `--model coca`."""

    name: str = field(metadata={"help": "open_clip CoCa: coca_ViT-L-14, local-dir:PATH or hf-hub:ORG/REPO"})
    pretrained: str | None = field(
        default=None, metadata={"help": "open_clip tag or .safetensors file", "group": DECIDING}
    )
    beams: int = field(default=1, metadata={"help": "texts searched at once; 1 is greedy", "group": ANSWERS})
    length_penalty: float = field(
        default=1.0,
        metadata={"help": "length penalty: exponent of the length that divides a text's score", "group": ANSWERS},
    )
    min_length: int = field(
        default=5, metadata={"help": "fewest tokens of a caption, start and end included", "group": ANSWERS}
    )
    max_length: int = field(
        default=30, metadata={"help": "most tokens of a caption, start and end included", "group": ANSWERS}
    )
    device: str = field(default="auto", metadata={"help": "auto, cpu, cuda or cuda:N", "group": RUNTIME})
    dtype: Dtype = field(default="auto", metadata={"help": "auto: bfloat16 where the device has it", "group": RUNTIME})
    batch: int = field(default=16, metadata={"help": "most frames captioned at once", "group": RUNTIME})


@dataclass(frozen=True, slots=True, kw_only=True)
class HfDualOptions(Timing):
    """Options of `--model hf-dual`."""

    name: str = field(metadata={"help": "a dual encoder of transformers: a hub name or a local folder"})
    read_as: Literal["frames", "video"] | None = field(
        default=None,
        metadata={
            "help": "frames averaged, or one video; default: a video if the model reads videos",
            "group": FRAMES,
        },
    )
    device: str = field(default="auto", metadata={"help": "auto, cpu, cuda or cuda:N", "group": RUNTIME})
    dtype: Dtype = field(default="auto", metadata={"help": "auto: bfloat16 on a GPU", "group": RUNTIME})
    batch: int = field(default=16, metadata={"help": "most frames encoded at once", "group": RUNTIME})
    workers: int = field(default=2, metadata={"help": "processes that decode ahead", "group": RUNTIME})


def frame_policy(options: FrameOptions, own: FramePolicy, size: int) -> FramePolicy:
    """Return the policy that options ask for, else the model's own, at the encoder's resolution. Raises ModelError."""
    return timed_policy(options, own, FramePolicy(count=1, size=size, fit=options.fit))


def timed_policy(options: Timing, own: FramePolicy, shape: FramePolicy) -> FramePolicy:
    """Return frames in the shape of `shape`, at the times of the options, else the model's own. Raises ModelError."""
    if options.frames is not None and options.fps is not None:
        raise ModelError(f"frames={options.frames} and fps={options.fps:g} are both given: give exactly one of them")
    if options.frames is not None:
        return replace(shape, count=options.frames)
    if options.fps is not None or own.fps is not None:
        fps = options.fps if options.fps is not None else own.fps
        return replace(shape, count=None, fps=fps, cap=options.cap, beyond_cap=options.beyond_cap)
    return replace(shape, count=own.count)


def weights_path(name: str, options: PresetOptions) -> Path | None:
    """Return the weights file of the preset `name`, None for `random`. Raises ModelError if none is shipped."""
    return None if options.weights == "random" else weights_file(options.weights, name)


def refuse_reading(options: ReadingOptions) -> None:
    """Raise ModelError if an option of video-to-text is given without a video-to-text file."""
    frames = {f.name for f in fields(FrameOptions)}
    given = [f.name for f in fields(ReadingOptions) if f.name not in frames and getattr(options, f.name) is not None]
    if given:
        raise ModelError(f"option '{given[0]}' belongs to video-to-text: give v2t=FILE with it")


def own_policy(frames: int) -> FramePolicy:
    """Return an encoder's default frame policy, from the number of time positions in its configuration.

    Encoders of up to 16 frames get 16, evenly; longer ones one frame per second, up to 256 (paper).
    """
    return SHORT if frames <= SHORT_FRAMES else LONG


PRESET_FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "imagevit": "a ViT on each frame, averaged over time",
        "shortvivit": "joint space-time attention, 16 frames",
        "longvivit": "joint space-time attention, up to 256 frames at 1 FPS",
        "factorized": "a ViT with gated temporal attention in each layer",
    }
)
ALL_FAMILIES = ("multiple-choice", "retrieval", "captioning")
MODELS = (
    *(
        ModelEntry(
            name=f"{family}-{size}",
            summary=summary,
            system=System.ENCODER,
            families=ALL_FAMILIES,
            options=PresetOptions,
            build="encoders.build:build_preset",
            preset=f"{family}-{size}",
            example="-M weights=kitchen" if size == "tiny" else "-M weights=FILE.safetensors",
        )
        for family, summary in PRESET_FAMILIES.items()
        for size in ("tiny", "b", "l")
    ),
    ModelEntry(
        name="v2t",
        summary="a video-to-text file: an encoder with a language model",
        system=System.ENCODER,
        families=("multiple-choice", "captioning"),
        options=VideoToTextOptions,
        build="encoders.v2t.task_model:build_video_to_text",
        example="-M weights=FILE.safetensors",
    ),
    ModelEntry(
        name="openclip",
        summary="any open_clip ViT, frame by frame or inflated to video",
        system=System.ENCODER,
        families=ALL_FAMILIES,
        options=OpenClipOptions,
        build="encoders.build:build_open_clip",
        example="-M name=ViT-B-16 -M pretrained=openai",
    ),
    ModelEntry(
        name="hf-dual",
        summary="a dual encoder of transformers: CLIP, SigLIP 2, X-CLIP",
        system=System.ENCODER,
        families=("multiple-choice", "retrieval"),
        options=HfDualOptions,
        build="encoders.hf_dual:build_hf_dual",
        example="-M name=google/siglip2-base-patch16-224",
    ),
    ModelEntry(
        name="coca",
        summary="an open_clip CoCa: captions of single frames",
        system=System.ENCODER,
        families=("captioning",),
        options=CocaOptions,
        build="encoders.coca.captioner:build_coca",
        example="-M name=coca_ViT-L-14 -M pretrained=TAG",
    ),
)
