"""From options to a video-to-text model: over an encoder already chosen, or from the checkpoint alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from encoders.build import runtime_of
from encoders.causal_lm.load import read_named
from encoders.causal_lm.scoring import use_float32_head
from encoders.device import device_name, find_device
from encoders.dual import DualEncoder, build_encoder
from encoders.models import ReadingOptions, VideoToTextOptions, frame_policy, own_policy
from encoders.presets import preset
from encoders.sampling import FramePolicy
from encoders.task_model import Runtime, policy_facts
from encoders.v2t.config import config_for
from encoders.v2t.connector import build_connector
from encoders.v2t.model import VideoToText
from encoders.v2t.parts import find_encoder, open_lm
from encoders.v2t.task_model import Asking, VideoToTextModel
from encoders.v2t.weights import Description, load_connector, read_description
from encoders.weights import load_encoder
from tasks.digests import file_sha256
from tasks.errors import ModelError
from tasks.model import ModelInfo
from tasks.routes import Route

STAGE_RECORD = "run.json"
"""What lies in the folder of each stage of `longvid pretrain`."""
ROUTES = (Route.OPTIONS_LOGLIK, Route.LETTER_LOGPROB, Route.GENERATE)


@dataclass(frozen=True, slots=True)
class Sight:
    """The encoder to look with: its model string, weights' digest, where they came from, and frame policy."""

    name: str
    encoder: DualEncoder
    digest: str
    place: str
    policy: FramePolicy


def build_video_to_text(options: VideoToTextOptions) -> VideoToTextModel:
    """`--model v2t`: a checkpoint that finds its encoder and language model by name and digest.

    Raises ModelError when a part is missing or differs.
    """
    runtime = runtime_of(options)
    description = read_description(options.weights)
    place = find_encoder(description.encoder, folders_of(options.weights, options.parts), options.weights)
    loaded = load_encoder(place)
    name = loaded.encoder.config.name
    vision = loaded.encoder.config.vision
    policy = frame_policy(options, own_policy(vision.frames), vision.size)
    sight = Sight(name, loaded.encoder, loaded.digest, str(place), policy)
    return over_encoder(sight, options.weights, options, runtime)


def over_encoder(sight: Sight, file: Path, options: ReadingOptions, runtime: Runtime) -> VideoToTextModel:
    """A checkpoint over an encoder already loaded. Raises ModelError when it was trained on another."""
    description = read_description(file)
    description.encoder.check(sight.digest, "encoder", sight.place, file)
    asking = asking_of(options, sight.policy, description)
    dtype = str(runtime.dtype).removeprefix("torch.")
    lm = open_lm(description.lm, options.lm, folders_of(file, options.parts), file, dtype, str(runtime.device))
    vision = sight.encoder.vision
    connector = load_connector(file, description)
    parameters = sum(p.numel() for part in (vision, connector, lm.model) for p in part.parameters())
    use_float32_head(lm.model)
    model = VideoToText(vision.to(runtime.device, runtime.dtype), connector.to(runtime.device, runtime.dtype), lm.model)
    if runtime.compile:
        vision.compile(dynamic=sight.policy.fps is not None)
    info = ModelInfo(
        name=f"{sight.name}+v2t",
        parameters=parameters,
        weights_sha256=file_sha256(file),
        device=device_name(runtime.device),
        dtype=dtype,
        details={
            "encoder": sight.encoder.config.name,
            "encoder_sha256": sight.digest,
            "llm": lm.name,
            "llm_sha256": lm.digest,
            "mask": asking.mask,
            "beams": asking.beams,
            "length_penalty": asking.length_penalty,
            "caption_prompt": "the task's" if asking.task_prompt else description.config.prompt,
            **policy_facts(sight.policy),
        },
    )
    return VideoToTextModel(model, vision, lm.tokenizer, asking, runtime, info)


def asking_of(options: ReadingOptions, policy: FramePolicy, description: Description) -> Asking:
    """What the options say, and what training did where they say nothing."""
    route = options.route or Route.OPTIONS_LOGLIK
    if route not in ROUTES:
        raise ModelError(f"video-to-text does not answer by '{route}': one of {', '.join(ROUTES)}")
    asking = Asking(
        policy=policy,
        route=route,
        mask=description.config.mask if options.mask is None else options.mask,
        beams=options.beams or 1,
        length_penalty=1.0 if options.length_penalty is None else options.length_penalty,
        min_tokens=options.min_tokens or 0,
        max_tokens=options.max_tokens,
        task_prompt=options.caption_prompt == "task",
    )
    asking.decoding(max(asking.min_tokens, 1))  # limits that can't be kept are refused before any work
    if not 0 <= asking.mask < 1:
        raise ModelError(f"mask {asking.mask} is not a share: give a number from 0 up to, not including, 1")
    return asking


def folders_of(file: Path, parts: Path | None) -> list[Path]:
    """Where a checkpoint's parts may lie: in the given folder, beside it, or with the recipe's other stages."""
    stages = sorted(file.parent.parent.glob(f"*/{STAGE_RECORD}")) if (file.parent / STAGE_RECORD).is_file() else []
    others = [record.parent for record in stages if record.parent != file.parent]
    return ([] if parts is None else [parts]) + [file.parent, *others]


def untrained(name: str, spec: str, device: str) -> tuple[VideoToText, PreTrainedTokenizerBase]:
    """A preset's encoder and a language model with an untrained connector between them, for measurements."""
    target = find_device(device)
    vision_config = preset(name).vision
    lm = read_named(spec, dtype="float32", device=str(target))
    connector = build_connector(config_for(vision_config, lm.model.config))
    vision = build_encoder(preset(name)).vision
    return VideoToText(vision.to(target), connector.to(target), lm.model).eval(), lm.tokenizer
