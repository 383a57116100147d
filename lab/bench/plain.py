"""What the recipe's stages train, written plainly: PyTorch's own modules, put together as a textbook would.

Each is made from a step of ours, with its weights, so that both compute the same loss (a test holds that) and only the
time tells them apart. Videos are embedded whole and masked afterwards, all of a batch at once; a frozen text tower
encodes each text whenever it comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from encoders.bert import Bert
from encoders.config import TextConfig
from encoders.dual import BertTower, bounded_scale, pool_chunks
from encoders.pretrain.captions import CaptionBatch, CaptionStep, caption_sums
from encoders.pretrain.contrastive import ContrastiveBatch, ContrastiveStep, caption_loss, statement_loss
from encoders.pretrain.facts import FactsEncoder
from encoders.pretrain.language import LanguageBatch, LanguageStep
from encoders.tokens import TextBatch
from encoders.v2t.model import Connector, CrossAttention, ResamplerLayer, VideoAttention
from encoders.vit import Block, Patches, VisionTower
from tasks.errors import ModelError

Weights = Mapping[str, Tensor]


def plain_of(step: nn.Module) -> nn.Module:
    """Return a step's plain counterpart: `forward(batch)` is the loss. Raises ModelError for one that has none."""
    if isinstance(step, ContrastiveStep):
        return PlainContrastive(step)
    if isinstance(step, LanguageStep):
        return PlainLanguage(step)
    if isinstance(step, CaptionStep):
        return PlainCaptions(step)
    raise ModelError(f"{type(step).__name__} has no plain counterpart")


@torch.no_grad()
def take(part: nn.Module, weights: Weights, like: Tensor) -> None:
    """Give a module our weights; it is trained where `like`, one of ours, is."""
    part.load_state_dict(weights)
    part.requires_grad_(like.requires_grad)


class PlainVision(nn.Module):
    """Patches by convolution, positions, the tokens that are kept, a transformer, the mean of its tokens."""

    mean: Tensor
    std: Tensor

    def __init__(self, tower: VisionTower) -> None:
        super().__init__()
        config, width, side = tower.config, tower.config.width, tower.config.patch
        if config.patches == "tubes" or config.attention == "factorized" or config.pool != "mean" or config.class_token:
            raise ModelError("written plainly, there are patches, tubelets and the mean of their tokens alone")
        self.register_buffer("mean", torch.tensor(config.pixel_mean))
        self.register_buffer("std", torch.tensor(config.pixel_std))
        self.image = nn.Conv2d(3, width, side, side)
        tubelet = (config.tubelet, side, side)
        self.video = nn.Conv3d(3, width, tubelet, tubelet) if config.patches == "tubelet" else None
        self.space = deepcopy(tower.positions.space)
        self.time = deepcopy(tower.positions.time)
        layer = nn.TransformerEncoderLayer(
            width, config.heads, config.mlp, dropout=0.0, activation="gelu", layer_norm_eps=config.eps,
            batch_first=True, norm_first=True,
        )  # fmt: skip
        self.blocks = nn.TransformerEncoder(layer, config.depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width, eps=config.eps)
        self._take(tower)

    def _take(self, tower: VisionTower) -> None:
        side, tubelet = tower.config.patch, tower.config.tubelet
        take(self.image, convolution(tower.image, (side, side)), tower.image.proj.weight)
        for video in tower.video:
            if self.video is not None and isinstance(video, Patches):
                take(self.video, convolution(video, (tubelet, side, side)), video.proj.weight)
        for layer, block in zip(self.blocks.layers, tower.blocks, strict=True):
            if not isinstance(block, Block):
                raise ModelError("written plainly, there are blocks of one kind alone")
            take(layer, block_weights(block), block.attn.qkv.weight)
        take(self.norm, tower.pool.norm.state_dict(), tower.pool.norm.weight)

    def forward(self, pixels: Tensor, keep: Tensor | None) -> Tensor:
        """uint8 [B, T, H, W, 3], and flat indices [B, K] of the tokens that are kept → [B, width]."""
        x = (pixels.float() / 255 - self.mean) / self.std
        x = x.permute(0, 4, 1, 2, 3)
        if x.shape[2] == 1:
            x = self.image(x[:, :, 0]).flatten(2).transpose(1, 2) + self.space
        elif self.video is None or self.time is None:
            raise ModelError("written plainly, an encoder of images sees one at a time")
        else:
            x = self.video(x)
            x = x.flatten(2).transpose(1, 2) + (self.time[: x.shape[2], None] + self.space).flatten(0, 1)
        if keep is not None:
            x = x.gather(1, keep[..., None].expand(-1, -1, x.shape[2]))
        pooled: Tensor = self.norm(self.blocks(x)).mean(1)
        return pooled


def convolution(patches: Patches, kernel: tuple[int, ...]) -> Weights:
    """Our projection of pixels as a convolution's weights."""
    weight = patches.proj.weight.view(-1, *kernel, 3).movedim(-1, 1)
    return {"weight": weight.contiguous(), "bias": patches.proj.bias}


def block_weights(block: Block) -> Weights:
    """A block's weights by the names of nn.TransformerEncoderLayer."""
    own = {
        "self_attn.in_proj_": block.attn.qkv,
        "self_attn.out_proj.": block.attn.proj,
        "linear1.": block.mlp.fc1,
        "linear2.": block.mlp.fc2,
        "norm1.": block.norm1,
        "norm2.": block.norm2,
    }
    return {f"{name}{kind}": value for name, part in own.items() for kind, value in part.state_dict().items()}


class PlainText(nn.Module):
    """BERT by nn.TransformerEncoder: the mean of the tokens' outputs, over all chunks of a text."""

    def __init__(self, config: TextConfig, bert: Bert) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            config.width, config.heads, config.mlp, dropout=0.0, activation="gelu", layer_norm_eps=config.eps,
            batch_first=True,
        )  # fmt: skip
        self.blocks = nn.TransformerEncoder(layer, len(bert.layers), enable_nested_tensor=False)
        embeddings = bert.embeddings
        self.words, self.places, self.types, self.norm = (
            deepcopy(part)
            for part in (
                embeddings.word_embeddings,
                embeddings.position_embeddings,
                embeddings.token_type_embeddings,
                embeddings.LayerNorm,
            )
        )
        for plain, own in zip(self.blocks.layers, bert.layers, strict=True):
            take(plain, bert_weights(own.state_dict()), own.output.dense.weight)

    def forward(self, batch: TextBatch) -> Tensor:
        """[texts, width]."""
        places = torch.arange(batch.ids.shape[1], device=batch.ids.device)
        x = self.norm(self.words(batch.ids) + self.places(places) + self.types.weight[0])
        x = self.blocks(x, src_key_padding_mask=~batch.mask)
        lengths = batch.mask.sum(1)
        means = (x * batch.mask[..., None]).sum(1) / lengths[:, None]
        return pool_chunks(means, lengths, batch)


def bert_weights(own: Weights) -> Weights:
    """A BERT layer's weights by the names of nn.TransformerEncoderLayer."""
    found = {
        f"self_attn.in_proj_{kind}": torch.cat(
            [own[f"attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
        )
        for kind in ("weight", "bias")
    }
    names = {
        "self_attn.out_proj": "attention.output.dense",
        "linear1": "intermediate.dense",
        "linear2": "output.dense",
        "norm1": "attention.output.LayerNorm",
        "norm2": "output.LayerNorm",
    }
    return found | {f"{name}.{kind}": own[f"{of}.{kind}"] for name, of in names.items() for kind in ("weight", "bias")}


class PlainContrastive(nn.Module):
    """Two towers, two projections, and our losses of their vectors."""

    def __init__(self, step: ContrastiveStep) -> None:
        super().__init__()
        encoder = step.encoder
        if not isinstance(encoder.text, BertTower):
            raise ModelError("written plainly, there is BERT's text tower alone")
        self.facts = (
            deepcopy(nn.ModuleList((encoder.bag, encoder.linear, encoder.mlp)))
            if isinstance(encoder, FactsEncoder)
            else None
        )
        if self.facts is None:
            self.vision = PlainVision(encoder.vision)
            self.vision_proj = deepcopy(encoder.vision_proj)
        self.text = PlainText(encoder.config.text, encoder.text.bert)
        self.text_proj = deepcopy(encoder.text_proj)
        self.log_scale = deepcopy(encoder.log_scale)
        self.weight = step.statements.weight if step.statements else 0.0
        if step.statements:
            self.statement_log_scale = deepcopy(step.statement_log_scale)

    def forward(self, batch: ContrastiveBatch) -> Tensor:
        """The loss of a batch."""
        videos = functional.normalize(self.video(batch).float(), dim=-1)
        texts = functional.normalize(
            torch.cat([self.text_proj(self.text(part)) for part in batch.texts]).float(), dim=-1
        )
        with torch.autocast(videos.device.type, enabled=False):
            loss, _ = caption_loss(videos, texts, batch, bounded_scale(self.log_scale).squeeze(0))
            if self.weight:
                told, _ = statement_loss(videos, texts, batch, bounded_scale(self.statement_log_scale))
                loss = loss + self.weight * told
        return loss

    def video(self, batch: ContrastiveBatch) -> Tensor:
        """Vectors [B, embed] of the videos, or of what is known of them."""
        if self.facts is None:
            vectors: Tensor = self.vision_proj(self.vision(batch.pixels, batch.keep))
            return vectors
        bag, linear, mlp = self.facts
        known = bag(batch.pixels.flatten(1).float())
        told: Tensor = linear(known) + mlp(known)
        return told


class PlainLayer(nn.Module):
    """One layer of a Llama: rotated causal attention and a gated feed-forward, both on RMS-normalised input."""

    def __init__(self, width: int, heads: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=eps), nn.RMSNorm(width, eps=eps)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.gate, self.up = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[B, L, width] → the same."""
        normed = self.norm1(x)
        q, k, v = (part(normed).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.q, self.k, self.v))
        q, k = rotated(q, cos, sin), rotated(k, cos, sin)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(mixed.transpose(1, 2).flatten(2))
        normed = self.norm2(x)
        out: Tensor = x + self.down(functional.silu(self.gate(normed)) * self.up(normed))
        return out


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions: pairs of the first and second half are turned by their place's angles."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), -1) * sin


class PlainLlama(nn.Module):
    """A Llama whose output layer is its embedding."""

    def __init__(self, lm: PreTrainedModel) -> None:
        super().__init__()
        config, own = lm.config, lm.state_dict()
        if config.model_type != "llama" or config.num_key_value_heads != config.num_attention_heads:
            raise ModelError("written plainly, there is a Llama with as many keys as queries alone")
        dtype, trained = own["model.norm.weight"].dtype, any(part.requires_grad for part in lm.parameters())
        width, self.theta = config.hidden_size, float(config.rope_parameters["rope_theta"])
        self.size = width // config.num_attention_heads
        self.words = nn.Embedding(config.vocab_size, width)
        self.layers = nn.ModuleList(
            PlainLayer(width, config.num_attention_heads, config.intermediate_size, config.rms_norm_eps)
            for _ in range(config.num_hidden_layers)
        )
        self.norm = nn.RMSNorm(width, eps=config.rms_norm_eps)
        self.words.load_state_dict({"weight": own["model.embed_tokens.weight"]})
        self.norm.load_state_dict({"weight": own["model.norm.weight"]})
        for number, layer in enumerate(self.layers):
            layer.load_state_dict({name: own[f"model.layers.{number}.{of}"] for name, of in LLAMA.items()})
        self.to(dtype).requires_grad_(trained)

    def angles(self, length: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines [length, head width] of the rotary positions."""
        device = self.words.weight.device
        rates = self.theta ** -(torch.arange(0, self.size, 2, device=device) / self.size)
        angle = torch.arange(length, device=device)[:, None] * torch.cat((rates, rates))
        return angle.cos().to(self.words.weight.dtype), angle.sin().to(self.words.weight.dtype)

    def logits(self, x: Tensor) -> Tensor:
        """[B, L, width] → [B, L, vocabulary]."""
        return functional.linear(self.norm(x), self.words.weight)


LLAMA = {
    "norm1.weight": "input_layernorm.weight",
    "norm2.weight": "post_attention_layernorm.weight",
    "gate.weight": "mlp.gate_proj.weight",
    "up.weight": "mlp.up_proj.weight",
    "down.weight": "mlp.down_proj.weight",
    **{f"{part}.weight": f"self_attn.{part}_proj.weight" for part in "qkvo"},
}
"""Names of our plain layer's weights, and transformers' names of the same."""


class PlainLanguage(nn.Module):
    """Next-token loss of a Llama."""

    def __init__(self, step: LanguageStep) -> None:
        super().__init__()
        self.lm = PlainLlama(step.lm)

    def forward(self, batch: LanguageBatch) -> Tensor:
        """The loss of a batch, in nats per token."""
        x = self.lm.words(batch.rows.ids)
        cos, sin = self.lm.angles(x.shape[1])
        for layer in self.lm.layers:
            x = layer(x, cos, sin)
        losses, _, tokens = caption_sums(self.lm.logits(x), batch.rows)
        return losses / tokens


class PlainAttention(nn.MultiheadAttention):
    """Attention to a context that may be of another width, with our weights."""

    def __init__(self, own: CrossAttention) -> None:
        width, context = own.q.out_features, own.kv.in_features
        super().__init__(width, own.heads, kdim=context, vdim=context, batch_first=True)
        keys, values = own.kv.weight.chunk(2)
        weights = {"out_proj.weight": own.proj.weight, "out_proj.bias": own.proj.bias}
        weights["in_proj_bias"] = torch.cat((own.q.bias, own.kv.bias))
        if width == context:
            weights["in_proj_weight"] = torch.cat((own.q.weight, keys, values))
        else:
            weights |= {"q_proj_weight": own.q.weight, "k_proj_weight": keys, "v_proj_weight": values}
        take(self, weights, own.q.weight)

    def attend(self, x: Tensor, context: Tensor) -> Tensor:
        """[B, N, width] to [B, M, context] → [B, N, width]."""
        out: Tensor = self(x, context, context, need_weights=False)[0]
        return out


class PlainResampler(nn.Module):
    """One layer of a resampler: latents attend to tokens and to themselves, then a feed-forward."""

    def __init__(self, own: ResamplerLayer) -> None:
        super().__init__()
        self.norm_latents, self.norm_tokens = deepcopy(own.norm_latents), deepcopy(own.norm_tokens)
        self.attention = PlainAttention(own.attn)
        mlp = (own.norm_mlp, own.mlp.fc1, nn.GELU(), own.mlp.fc2)
        self.mlp = nn.Sequential(*(deepcopy(part) for part in mlp))

    def forward(self, latents: Tensor, tokens: Tensor) -> Tensor:
        """Latents [B, L, width], tokens [B, N, width] → latents."""
        queries = self.norm_latents(latents)
        latents = latents + self.attention.attend(queries, torch.cat([self.norm_tokens(tokens), queries], 1))
        out: Tensor = latents + self.mlp(latents)
        return out


class PlainLook(nn.Module):
    """A gated look at the video, added to a language model's hidden states."""

    def __init__(self, own: VideoAttention) -> None:
        super().__init__()
        if own.gate is None:
            raise ModelError("written plainly, cross-attention has gates")
        self.norm, self.gate, self.attention = deepcopy(own.norm), deepcopy(own.gate), PlainAttention(own.attn)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """[B, N, width] and what is seen [B, L, context] → [B, N, width]."""
        update = self.attention.attend(self.norm(x.float()), seen)
        return x + (torch.tanh(self.gate) * update).to(x.dtype)


class PlainCaptions(nn.Module):
    """Resampler and gated cross-attention before each layer of a frozen Llama, on tokens that were computed before."""

    def __init__(self, step: CaptionStep) -> None:
        super().__init__()
        connector: Connector = step.model.connector
        own = connector.resampler
        self.lm = PlainLlama(step.model.lm)
        self.proj, self.latents, self.norm = deepcopy(own.proj), deepcopy(own.latents), deepcopy(own.norm)
        layers = (layer for layer in own.layers if isinstance(layer, ResamplerLayer))
        self.resampler = nn.ModuleList(PlainResampler(layer) for layer in layers)
        self.looks = nn.ModuleList(PlainLook(layer) for layer in connector.video_layers)

    def forward(self, batch: CaptionBatch) -> Tensor:
        """The loss of a batch, in nats per token."""
        tokens = self.proj(batch.video)
        latents = self.latents.expand(len(tokens), -1, -1)
        for part in self.resampler:
            latents = part(latents, tokens)
        seen = self.norm(latents)
        x = self.lm.words(batch.rows.ids)
        cos, sin = self.lm.angles(x.shape[1])
        for layer, look in zip(self.lm.layers, self.looks, strict=True):
            x = layer(look(x, seen), cos, sin)
        losses, _, count = caption_sums(self.lm.logits(x), batch.rows)
        return losses / count
