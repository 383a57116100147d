"""transformers used by hand, as it documents it: a template, the processor with frames and their times, the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from baselines.llm.protocol import Chat


def place_words_behind_videos(model: Any) -> None:
    """Give words behind a video the positions of transformers 4 and of Qwen's training: behind its last frame's time.

    transformers 5 goes on behind its height and width, whatever the times of its frames.
    """
    inner = model.model
    given, video = inner.get_rope_index, model.config.video_token_id

    def placed(input_ids: torch.Tensor, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        positions, delta = given(input_ids, *args, **kwargs)
        shown = (input_ids[0] == video).nonzero()
        if len(shown) == 0:
            return positions, delta
        words = int(shown[-1]) + 1
        positions = positions.clone()
        positions[:, :, words:] += positions[:, :, :words].max() + 1 - positions[0, 0, words]
        return positions, (positions.max() + 1 - input_ids.shape[1]).reshape(1, 1)

    inner.get_rope_index = placed


@dataclass(frozen=True)
class ByHand:
    """A model and its processor, asked one continuation at a time."""

    model: Any
    processor: Any

    @classmethod
    def load(cls, folder: Path) -> ByHand:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        model = AutoModelForImageTextToText.from_pretrained(folder, dtype="float32").eval()
        if model.config.model_type == "qwen2_5_vl":
            place_words_behind_videos(model)
        return cls(model, AutoProcessor.from_pretrained(folder))

    def inputs(self, asked: Chat, more: str = "") -> Any:
        """The documented way: a template, then the processor with the frames and their times."""
        from transformers.video_utils import VideoMetadata

        assert asked.shown is not None
        frames, length = asked.shown.frames, asked.shown.duration
        video = asked.shown.form == "video"
        parts = [{"type": "video"}] if video else [{"type": "image"}] * len(frames.pixels)
        messages = [{"role": "user", "content": [*parts, {"type": "text", "text": asked.user}]}]
        if asked.system:
            messages.insert(0, {"role": "system", "content": [{"type": "text", "text": asked.system}]})
        text = self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        text += asked.reply_start + more
        if not video:
            return self.processor(text=[text], images=[list(frames.pixels)], return_tensors="pt")
        times = VideoMetadata(
            total_num_frames=round(1000 * length),
            fps=1000.0,
            duration=length,
            frames_indices=[round(1000 * second) for second in frames.seconds],
        )
        given = {"videos": [frames.pixels], "video_metadata": [times], "do_sample_frames": False}
        return self.processor(text=[text], return_tensors="pt", **given)

    def prompt_tokens(self, asked: Chat) -> int:
        return int(self.inputs(asked)["input_ids"].shape[1])

    def reply(self, asked: Chat, tokens: int) -> str:
        inputs = self.inputs(asked)
        whole = self.model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
        return str(self.processor.tokenizer.decode(whole[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))

    @torch.inference_mode()
    def likelihoods(self, asked: Chat, texts: tuple[str, ...]) -> list[float]:
        start = self.prompt_tokens(asked)
        found = []
        for text in texts:
            inputs = self.inputs(asked, text)
            logits = self.model(**inputs).logits[0].log_softmax(-1)
            ids = inputs["input_ids"][0]
            found.append(float(sum(logits[at - 1, ids[at]] for at in range(start, len(ids)))))
        return found
