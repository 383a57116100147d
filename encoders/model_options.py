"""Options of the encoder models on the command line; importing this loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from encoders.sampling import FramePolicy
from tasks.errors import ModelError
from tasks.routes import Route

Dtype = Literal["auto", "bfloat16", "float32"]
Attention = Literal["frame", "joint", "factorized"]
SHORT = FramePolicy(count=16)
LONG = FramePolicy(fps=1.0, cap=256)
MIDDLE = FramePolicy(count=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameOptions:
    """Which frames are looked at; what is not given is the model's own."""

    frames: int | None = field(default=None, metadata={"help": "this many frames, evenly over the clip"})
    fps: float | None = field(default=None, metadata={"help": "or frames a second, at most cap"})
    cap: int = field(default=256, metadata={"help": "most frames that fps may give"})
    beyond_cap: Literal["spread", "cut"] = field(
        default="spread", metadata={"help": "past the cap: spread over the whole clip, or cut its end off (paper)"}
    )
    fit: Literal["crop", "squash"] = field(default="crop", metadata={"help": "how a frame becomes a square"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOptions(FrameOptions):
    """How a video-to-text model is asked; what is not given is as it was trained, or the task's."""

    lm: str | None = field(default=None, metadata={"help": "v2t: where its language model is, if not where named"})
    parts: Path | None = field(default=None, metadata={"help": "v2t: folder of its encoder and language model"})
    route: Route | None = field(default=None, metadata={"help": "v2t: how a choice is made; default options-loglik"})
    caption_prompt: Literal["own", "task"] | None = field(
        default=None, metadata={"help": "v2t: captions behind training's prompt (default) or the task's"}
    )
    beams: int | None = field(default=None, metadata={"help": "v2t: beam search this wide; default 1, greedy"})
    length_penalty: float | None = field(default=None, metadata={"help": "v2t: exponent of a beam's length; default 1"})
    min_tokens: int | None = field(default=None, metadata={"help": "v2t: shortest reply"})
    max_tokens: int | None = field(default=None, metadata={"help": "v2t: longest reply; default: the task's"})
    mask: float | None = field(default=None, metadata={"help": "v2t: share of tokens dropped; default: training's"})


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoToTextOptions(ReadingOptions):
    """Options of `--model v2t`."""

    weights: Path = field(metadata={"help": "a video-to-text .safetensors file"})
    device: str = field(default="auto", metadata={"help": "auto, cpu, cuda or cuda:N"})
    dtype: Dtype = field(default="auto", metadata={"help": "auto: bfloat16 where the device has it"})
    compile: bool = field(default=False, metadata={"help": "torch.compile the vision tower"})
    batch: int = field(default=8, metadata={"help": "most videos at once"})
    workers: int = field(default=2, metadata={"help": "processes that decode ahead"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetOptions(ReadingOptions):
    """Options of `--model imagevit-…|shortvivit-…|longvivit-…|factorized-…`."""

    weights: str = field(metadata={"help": "a .safetensors file of ours, or 'random' for an untrained encoder"})
    v2t: Path | None = field(default=None, metadata={"help": "a video-to-text file on top: captions and likelihoods"})
    seed: int = field(default=0, metadata={"help": "seed of weights=random"})
    device: str = field(default="auto", metadata={"help": "auto, cpu, cuda or cuda:N"})
    dtype: Dtype = field(default="auto", metadata={"help": "auto: bfloat16 where the device has it"})
    compile: bool = field(default=False, metadata={"help": "torch.compile the vision tower"})
    batch: int = field(default=8, metadata={"help": "most videos encoded at once"})
    workers: int = field(default=2, metadata={"help": "processes that decode ahead"})


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenClipOptions(ReadingOptions):
    """Options of `--model openclip`."""

    name: str = field(metadata={"help": "open_clip model: ViT-B-16, local-dir:PATH or hf-hub:ORG/REPO"})
    pretrained: str | None = field(default=None, metadata={"help": "open_clip tag or .safetensors file"})
    v2t: Path | None = field(default=None, metadata={"help": "a video-to-text file on top: captions and likelihoods"})
    attention: Attention = field(
        default="frame", metadata={"help": "frame: ImageViT; joint or factorized: inflated to a video encoder"}
    )
    device: str = field(default="auto", metadata={"help": "auto, cpu, cuda or cuda:N"})
    dtype: Dtype = field(default="auto", metadata={"help": "auto: bfloat16 where the device has it"})
    compile: bool = field(default=False, metadata={"help": "torch.compile the vision tower"})
    batch: int = field(default=8, metadata={"help": "most videos encoded at once"})
    workers: int = field(default=2, metadata={"help": "processes that decode ahead"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CocaOptions(FrameOptions):
    """Options of `--model coca`."""

    name: str = field(metadata={"help": "open_clip CoCa: coca_ViT-L-14, local-dir:PATH or hf-hub:ORG/REPO"})
    pretrained: str | None = field(default=None, metadata={"help": "open_clip tag or .safetensors file"})
    beams: int = field(default=1, metadata={"help": "texts searched at once; 1 is greedy"})
    length_penalty: float = field(default=1.0, metadata={"help": "power of a text's length that divides its worth"})
    min_length: int = field(default=5, metadata={"help": "fewest tokens of a caption, start and end included"})
    max_length: int = field(default=30, metadata={"help": "most tokens of a caption, start and end included"})
    device: str = field(default="auto", metadata={"help": "auto, cpu, cuda or cuda:N"})
    dtype: Dtype = field(default="auto", metadata={"help": "auto: bfloat16 where the device has it"})
    batch: int = field(default=16, metadata={"help": "most frames captioned at once"})


def frame_policy(options: FrameOptions, own: FramePolicy, size: int) -> FramePolicy:
    """The policy that options ask for, else the model's own, at the encoder's resolution."""
    if options.frames is not None and options.fps is None:
        return FramePolicy(count=options.frames, size=size, fit=options.fit)
    if options.fps is not None or own.fps is not None:
        fps = options.fps if options.fps is not None else own.fps
        return FramePolicy(
            count=options.frames, fps=fps, cap=options.cap, beyond_cap=options.beyond_cap, size=size, fit=options.fit
        )
    return FramePolicy(count=own.count, size=size, fit=options.fit)


def weights_path(options: PresetOptions) -> Path | None:
    """The weights file, None for `random`."""
    return None if options.weights == "random" else Path(options.weights)


def refuse_reading(options: ReadingOptions) -> None:
    """Raise ModelError when an option of video-to-text is given without a video-to-text file."""
    frames = {f.name for f in fields(FrameOptions)}
    given = [f.name for f in fields(ReadingOptions) if f.name not in frames and getattr(options, f.name) is not None]
    if given:
        raise ModelError(f"option '{given[0]}' belongs to video-to-text: give v2t=FILE with it")
