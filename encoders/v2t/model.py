"""Video-to-text whole: frozen tower → mean over time → resampler → cross-attention in a frozen language model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from encoders.adapt import freeze
from encoders.v2t.attach import Attachment
from encoders.v2t.connector import Connector, VideoMemory
from encoders.v2t.pool import spatial_tokens
from encoders.v2t.text import TextRows
from encoders.vision import VisionTower
from tasks.errors import ModelError

TRAINED = ("connector.*",)
"""Name patterns of the parameters that train; the rest is frozen (paper, video-to-text)."""


class VideoToText(nn.Module):
    """The three parts; only the connector requires gradients.

    Without a tower it takes spatial tokens computed before (`watch`), which a frozen tower gives
    the same every time. The two frozen models stay in evaluation mode whatever `train()` says.
    """

    def __init__(self, vision: VisionTower | None, connector: Connector, lm: PreTrainedModel) -> None:
        super().__init__()
        if vision is not None and vision.config.width != connector.config.vision_width:
            raise ModelError(
                f"a connector for tokens of width {connector.config.vision_width} does not fit a tower of "
                f"{vision.config.width}"
            )
        if lm.config.get_text_config().hidden_size != connector.config.lm_width:
            raise ModelError(
                f"a connector for a language model of width {connector.config.lm_width} does not fit one of "
                f"{lm.config.get_text_config().hidden_size}"
            )
        self.vision = vision
        self.connector = connector
        self.lm = lm
        self.attachment = Attachment(lm, connector.video_layers)
        freeze(self, TRAINED)
        self.train(connector.training)

    def train(self, mode: bool = True) -> VideoToText:
        super().train(mode)
        self.lm.eval()  # type: ignore[no-untyped-call]  # untyped library
        if self.vision is not None:
            self.vision.eval()
        return self

    @torch.no_grad()
    def watch(self, pixels: Tensor, keep: Tensor | None = None) -> Tensor:
        """uint8 [B, T, H, W, 3] → spatial tokens [B, places, vision_width], the same number for any T and mask."""
        if self.vision is None:
            raise ModelError("this model has no tower: give it spatial tokens")
        patch = self.vision.config.patch
        return spatial_tokens(self.vision(pixels, keep), (pixels.shape[2] // patch) * (pixels.shape[3] // patch))

    def logits(self, memory: VideoMemory | None, rows: TextRows) -> Tensor:
        """Logits [B, L, vocabulary] of texts, each row looking at its video; without memory the model alone."""
        with self.attachment.looking_at(memory):
            out: Tensor = self.lm(input_ids=rows.ids, attention_mask=rows.real.long(), use_cache=False).logits
        return out

    def forward(self, video: Tensor, rows: TextRows, keep: Tensor | None = None) -> Tensor:
        """Logits [B, L, vocabulary]; `video` is uint8 pixels or spatial tokens [B, places, vision_width]."""
        tokens = self.watch(video, keep) if video.dtype == torch.uint8 else video
        return self.logits(self.connector(tokens), rows)
