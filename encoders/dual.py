"""The dual encoder: a vision and a text tower, a shared embedding space, a learned temperature."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders.adapt import add_modules, freeze, trainable_patterns
from encoders.bert import Bert
from encoders.config import AdaptConfig, EncoderConfig, TextConfig
from encoders.tokens import TextBatch
from encoders.vit import AttentionPool, Block, FactorizedBlock, Patches, Positions, VisionTower, inflate


def pool_chunks(vectors: Tensor, weights: Tensor, batch: TextBatch) -> Tensor:
    """Return the weighted mean of chunk vectors [C, D] over the chunks of each text: [texts, D]."""
    weights = weights.to(vectors.dtype)[:, None]
    sums = vectors.new_zeros(batch.texts, vectors.shape[1]).index_add(0, batch.owner, vectors * weights)
    total = vectors.new_zeros(batch.texts, 1).index_add(0, batch.owner, weights)
    return sums / total


class BertTower(nn.Module):
    """Average over BERT's token outputs, start and end tokens included (our choice)."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.bert = Bert(config)

    def use_plain_attention(self) -> None:
        """Switch from SDPA to plain attention: on CPU, SDPA's backward pass takes three times as long."""
        self.bert.use_plain_attention()

    def forward(self, batch: TextBatch) -> Tensor:
        """Return [texts, width]: every token of a text has the same weight, whatever its chunk."""
        out = self.bert(batch.ids, batch.mask)
        real = batch.mask[..., None].to(out.dtype)
        lengths = batch.mask.sum(1)
        means = (out * real).sum(1) / lengths[:, None].to(out.dtype)
        return pool_chunks(means, lengths, batch)


class ClipTower(nn.Module):
    """CLIP's text transformer; a text of several chunks is the mean of their vectors (our choice)."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Parameter(torch.empty(config.context, config.width))
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp, config.activation, config.eps) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width, eps=config.eps)

    def forward(self, batch: TextBatch) -> Tensor:
        """Return [texts, width]: the output at each chunk's end token."""
        x = self.embedding(batch.ids) + self.positions[: batch.ids.shape[1]]
        for block in self.blocks:
            x = block(x, causal=True)
        end = batch.mask.sum(1) - 1
        ends = x[torch.arange(len(x), device=x.device), end]
        return pool_chunks(self.norm(ends), torch.ones_like(end), batch)


def text_tower(config: TextConfig) -> nn.Module:
    """Build the tower that a config describes: TextBatch → [texts, width]."""
    return BertTower(config) if config.kind == "bert" else ClipTower(config)


@torch.no_grad()
def initialise(encoder: nn.Module) -> None:
    """Initialise: Xavier for linear layers, zero biases, `position_std` for positions; BERT keeps its own.

    Draws from the global generator.
    """
    for module in encoder.modules():
        if isinstance(module, Block | Patches | AttentionPool):
            _xavier(module)
        if isinstance(module, VisionTower):
            _vision(module)
        elif isinstance(module, Positions):
            _positions(module)
        elif isinstance(module, AttentionPool):
            nn.init.normal_(module.query, std=module.query.shape[1] ** -0.5)
        elif isinstance(module, ClipTower):
            nn.init.normal_(module.embedding.weight, std=0.02)
            nn.init.normal_(module.positions, std=0.01)
    for module in encoder.modules():
        if isinstance(module, FactorizedBlock):
            module.copy_spatial()


def _xavier(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)


def _positions(module: Positions) -> None:
    std = module.config.position_std
    nn.init.normal_(module.space, std=std)
    if module.time is not None:
        nn.init.normal_(module.time, std=std)


def _vision(tower: VisionTower) -> None:
    if tower.class_token is not None:
        nn.init.normal_(tower.class_token, std=tower.config.width**-0.5)
    if tower.config.patches == "tubelet":
        for patches in tower.video:
            if isinstance(patches, Patches):
                patches.proj.weight.copy_(inflate(tower.image.proj.weight, tower.config.tubelet))


MAX_SCALE = math.log(100.0)
"""Ceiling of the log-scale, as in CLIP."""


@dataclass(frozen=True, slots=True)
class DualOutput:
    """Unit vectors float32 [B, E] and [N, E], and the factor of their similarities (1 / temperature)."""

    video: Tensor
    text: Tensor
    scale: Tensor


class DualEncoder(nn.Module):
    """Embeds video and text into one space. `forward` does both at once, as DDP and FSDP require."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = VisionTower(config.vision)
        self.text = text_tower(config.text)
        self.vision_proj = nn.Linear(config.vision.out_width, config.embed, bias=False)
        self.text_proj = nn.Linear(config.text.width, config.embed, bias=False)
        # One element, not a scalar: FSDP shards parameters along their first axis.
        self.log_scale = nn.Parameter(torch.full((1,), math.log(1 / config.temperature)))

    def embed_video(self, pixels: Tensor, keep: Tensor | None = None) -> Tensor:
        """Embed uint8 [B, T, H, W, 3] as unit vectors float32 [B, E]; `keep` is as in the vision tower."""
        return unit(self.vision_proj(self.vision(pixels, keep).pooled))

    def embed_text(self, batch: TextBatch) -> Tensor:
        """Return unit vectors float32 [texts, E]."""
        return unit(self.text_proj(self.text(batch)))

    @property
    def scale(self) -> Tensor:
        """1 / temperature, at most 100: a float32 scalar."""
        return bounded_scale(self.log_scale).squeeze(0)

    def forward(self, pixels: Tensor, batch: TextBatch, keep: Tensor | None = None) -> DualOutput:
        return DualOutput(self.embed_video(pixels, keep), self.embed_text(batch), self.scale)


def bounded_scale(log_scale: Tensor) -> Tensor:
    """Return exp(log_scale), at most 100, with a gradient even at that ceiling.

    Published CLIP weights are at the ceiling; with a plain clamp they would have no gradient and stay there.
    """
    value = log_scale.float()
    return (value + (value.clamp(max=MAX_SCALE) - value).detach()).exp()


def unit(vectors: Tensor) -> Tensor:
    """Normalise vectors to length 1, in float32."""
    return functional.normalize(vectors.float(), dim=-1)


def similarities(output: DualOutput) -> Tensor:
    """Return scaled cosine similarities [videos, texts]."""
    return output.scale * output.video @ output.text.T


def contrastive_loss(output: DualOutput) -> Tensor:
    """Compute CLIP's symmetric NCE loss; video i belongs to text i (paper, pre-training)."""
    logits = similarities(output)
    target = torch.arange(len(logits), device=logits.device)
    both = functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)
    return both / 2


def build_encoder(config: EncoderConfig, *, seed: int = 0) -> DualEncoder:
    """Build a randomly initialised encoder, the same for the same seed; global random state is unchanged.

    `config.adapt` decides which parameters require gradients.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = DualEncoder(config)
        initialise(encoder)
        add_modules(encoder.vision, config.adapt)
    freeze(encoder, trainable_patterns(config.adapt, config.vision))
    return encoder


def adapt_encoder(encoder: DualEncoder, adapt: AdaptConfig, *, seed: int = 0) -> DualEncoder:
    """Adapt a loaded encoder in place: add the method's modules, freeze the rest."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        add_modules(encoder.vision, adapt)
    encoder.config = replace(encoder.config, adapt=adapt)
    freeze(encoder, trainable_patterns(adapt, encoder.config.vision))
    return encoder
