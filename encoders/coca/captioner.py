"""An open_clip CoCa as a captioner of clips: each frame is a separate image.

By default the middle frame of the clip; with several frames, each gets a caption, and those that differ from the one
before are joined by "; " in order of time (our choice: CoCa knows single images only). The prompt is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.build import dtype_of, state_digest
from encoders.coca.decoder import CocaDecoder
from encoders.coca.search import SearchRule, TokenCaption, search
from encoders.device import device_name, find_device, to_device
from encoders.frames import read_together
from encoders.from_open_clip import OpenClipModel, channels, load_open_clip, square_side
from encoders.models import MIDDLE, CocaOptions, frame_policy
from encoders.sampling import FramePolicy
from encoders.task_model import Runtime, policy_facts
from tasks.errors import ModelError
from tasks.model import ModelInfo, TextReply, TextRequest
from tasks.task import TokenUsage, Trace

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
JOINT = "; "


class CocaCaptioner:
    """Implements Captioner."""

    def __init__(
        self, loaded: OpenClipModel, policy: FramePolicy, runtime: Runtime, rule: SearchRule, info: ModelInfo
    ) -> None:
        self.info = info
        self.policy = policy
        model = loaded.model
        self._model = model.to(runtime.device, runtime.dtype).eval()
        self._decoder = CocaDecoder(self._model)
        self._tokenizer = loaded.tokenizer
        self._runtime = runtime
        self._rule = rule
        mean, std = channels(model.visual, "image_mean", OPENAI_MEAN), channels(model.visual, "image_std", OPENAI_STD)
        self._mean = torch.tensor(mean, device=runtime.device)[:, None, None]
        self._std = torch.tensor(std, device=runtime.device)[:, None, None]

    def caption(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        """Caption each clip; clips of one file are decoded together. Raises the first VideoError."""
        started = perf_counter()
        clips = read_together([r.clip for r in requests], self.policy, threads=torch.get_num_threads())
        ready = perf_counter()
        captions = self.caption_images(np.concatenate([frames.pixels for frames in clips]))
        seconds = {
            "decode": (ready - started) / len(clips),
            "wait": (ready - started) / len(clips),
            "caption": (perf_counter() - ready) / len(clips),
        }
        replies = []
        for frames in clips:
            own, captions = captions[: len(frames.seconds)], captions[len(frames.seconds) :]
            usage = TokenUsage(completion=sum(len(caption.tokens) + caption.finished for caption in own))
            trace = Trace(usage=usage, seconds=seconds, frames=frames.seen)
            replies.append(TextReply(self._joined(own), all(caption.finished for caption in own), trace))
        return replies

    @torch.inference_mode()
    def caption_images(self, pixels: NDArray[np.uint8]) -> list[TokenCaption]:
        """Caption images uint8 [N, H, W, 3] one by one."""
        captions: list[TokenCaption] = []
        for first in range(0, len(pixels), self._runtime.batch):
            captions += search(self._decoder, self._see(pixels[first : first + self._runtime.batch]), self._rule)
        return captions

    def _see(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Return the image tokens that the decoder attends to."""
        batch = to_device(pixels, self._runtime.device).permute(0, 3, 1, 2)
        _, tokens = self._model.visual((((batch / 255) - self._mean) / self._std).to(self._runtime.dtype))
        seen: Tensor = tokens
        return seen

    def _joined(self, captions: Sequence[TokenCaption]) -> str:
        texts = (" ".join(self._tokenizer.decode(list(caption.tokens)).split()) for caption in captions)
        return JOINT.join(text for text, _ in groupby(texts) if text)


def build_coca(options: CocaOptions) -> CocaCaptioner:
    """Load the CoCa that the options name. Raises ModelError for other kinds of open_clip models."""
    loaded = load_open_clip(options.name, options.pretrained)
    model = loaded.model
    if type(model).__name__ != "CoCa" or type(loaded.tokenizer).__name__ != "SimpleTokenizer":
        raise ModelError(f"open_clip model '{options.name}' can't write captions; use a CoCa, such as coca_ViT-L-14")
    if getattr(model.text, "attn_mask", None) is None or model.text.cls_emb is None:
        raise ModelError(f"{options.name}: its text tower is not CoCa's causal one with a class token")
    device = find_device(options.device)
    if options.batch < 1:
        raise ModelError("batch must be at least 1")
    runtime = Runtime(device, dtype_of(options.dtype, device), batch=options.batch)
    policy = frame_policy(options, MIDDLE, square_side(model.visual.image_size, options.name))
    rule = SearchRule(
        loaded.tokenizer.sot_token_id,
        loaded.tokenizer.eot_token_id,
        model.pad_id,
        options.beams,
        options.length_penalty,
        options.min_length,
        options.max_length,
    )
    info = ModelInfo(
        name=f"coca:{options.name}",
        parameters=sum(p.numel() for p in model.parameters()),
        weights_sha256=state_digest(model),
        device=device_name(device),
        dtype=str(runtime.dtype).removeprefix("torch."),
        details={**asdict(rule), **policy_facts(policy), "frames_joined_by": JOINT, "reads_prompt": False},
    )
    return CocaCaptioner(loaded, policy, runtime, rule, info)
