"""The video-to-text model: frozen tower → mean over time → resampler → cross-attention in a frozen language model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from encoders.adapt import freeze
from encoders.config import (
    Bounds,
    ConfigError,
    Depth,
    Heads,
    Places,
    Share,
    VisionConfig,
    Width,
    check_bounds,
    read_dataclass,
)
from encoders.v2t.text import TextRows
from encoders.vit import Mlp, VisionOutput, VisionTower, attend, pool_over_time
from tasks.errors import ModelError


@dataclass(frozen=True, slots=True)
class VideoToTextConfig:
    """Sizes of resampler and cross-attention between a tower of `vision_width` and a language model of `lm_width`.

    The paper names the parts and leaves their sizes open, so all of these are our choice: `depth` resampler layers give
    `latents` vectors of `width`, and each of the `lm_layers` layers attends to them with `cross_heads` heads. `gated`
    multiplies a layer's cross-attention by a tanh gate that starts at zero, so that training starts from the unchanged
    language model.

    `mask` is the share of input tokens dropped, and `prompt` the words before every caption, both
    in training and, by default, at inference.
    """

    vision_width: Width
    lm_width: Width
    lm_layers: Depth
    width: Width
    heads: Heads
    cross_heads: Heads
    depth: Depth = 6
    latents: Places = 64
    mlp_ratio: Annotated[int, Bounds(1, 64)] = 4
    gated: bool = True
    mask: Share = 0.0
    prompt: str = ""

    def __post_init__(self) -> None:
        """Refuse shapes that can't be built. Raises ModelError."""
        check_bounds(self, "video-to-text config")
        for what, width, heads in (("width", self.width, self.heads), ("lm_width", self.lm_width, self.cross_heads)):
            if width % heads:
                raise ConfigError(f"video-to-text config: {what} {width} is not a multiple of {heads} heads")
        if self.mask == 1:
            raise ConfigError(f"video-to-text config: mask {self.mask} is not a share below 1")

    @classmethod
    def from_dict(cls, data: object, source: str) -> VideoToTextConfig:
        """Read `dataclasses.asdict`'s dictionary. Raises ModelError naming the key at fault."""
        return read_dataclass(cls, data, source)


def config_for(vision: VisionConfig, lm: PretrainedConfig, **changes: object) -> VideoToTextConfig:
    """Make a config whose widths fit the two frozen models; `changes` overrides fields.

    The resampler is as wide as the tower's tokens, heads are 64 wide if that divides the width (our choice).
    """
    text = lm.get_text_config()
    base = VideoToTextConfig(
        vision_width=vision.width,
        lm_width=int(text.hidden_size),
        lm_layers=int(text.num_hidden_layers),
        width=vision.width,
        heads=_heads(vision.width, vision.heads),
        cross_heads=_heads(int(text.hidden_size), int(text.num_attention_heads)),
    )
    return VideoToTextConfig.from_dict({**dataclasses.asdict(base), **changes}, "video-to-text config")


def _heads(width: int, own: int) -> int:
    return width // 64 if width % 64 == 0 else own


KeysValues = tuple[Tensor, Tensor]
"""Keys and values, each [B, heads, N, d]."""


class CrossAttention(nn.Module):
    """Multi-head attention of queries [B, N, width] to a context [B, M, context]."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(context, 2 * width)
        self.proj = nn.Linear(width, width)

    def keys_values(self, context: Tensor) -> KeysValues:
        """Compute keys and values once for any number of queries."""
        batch, length, _ = context.shape
        keys, values = self.kv(context).view(batch, length, 2, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        return keys, values

    def forward(self, x: Tensor, seen: KeysValues) -> Tensor:
        """Map [B, N, width] to [B, N, width]."""
        batch, length, width = x.shape
        q = self.q(x).view(batch, length, self.heads, -1).transpose(1, 2)
        out: Tensor = self.proj(attend(q, *seen).transpose(1, 2).reshape(batch, length, width))
        return out


class VideoAttention(nn.Module):
    """One language-model layer's cross-attention to the video, added to its hidden states before the layer runs.

    `h = h + tanh(gate) · attention(norm(h), video)` with a gate that starts at zero; without a gate the
    attention is added unchanged. Place, gate and LayerNorm are our choice.
    """

    def __init__(self, width: int, context: int, heads: int, *, gated: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attn = CrossAttention(width, context, heads)
        # One element, not a scalar: FSDP shards parameters along their first axis.
        self.gate = nn.Parameter(torch.zeros(1)) if gated else None

    def forward(self, hidden: Tensor, seen: KeysValues) -> Tensor:
        """Map hidden states [B, N, width] to the same shape and dtype."""
        update: Tensor = self.attn(self.norm(hidden.to(self.norm.weight.dtype)), seen)
        if self.gate is not None:
            update = torch.tanh(self.gate) * update
        return hidden + update.to(hidden.dtype)


class ResamplerLayer(nn.Module):
    """Latents attend to tokens and to themselves, then a feed-forward, both with residuals (after Flamingo)."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm_latents = nn.LayerNorm(width)
        self.norm_tokens = nn.LayerNorm(width)
        self.attn = CrossAttention(width, width, heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = Mlp(width, hidden, "gelu")

    def forward(self, latents: Tensor, tokens: Tensor) -> Tensor:
        """Latents [B, L, width], tokens [B, N, width] → latents."""
        queries = self.norm_latents(latents)
        context = torch.cat([self.norm_tokens(tokens), queries], 1)
        latents = latents + self.attn(queries, self.attn.keys_values(context))
        out: Tensor = latents + self.mlp(self.norm_mlp(latents))
        return out


class Resampler(nn.Module):
    """Maps spatial tokens [B, places, vision_width] to latents [B, latents, width].

    No positions are added: the tower's tokens include them.
    """

    def __init__(self, config: VideoToTextConfig) -> None:
        super().__init__()
        self.proj = nn.Linear(config.vision_width, config.width)
        self.latents = nn.Parameter(torch.empty(config.latents, config.width))
        self.layers = nn.ModuleList(
            ResamplerLayer(config.width, config.heads, config.mlp_ratio * config.width) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = self.proj(tokens)
        latents = self.latents.to(tokens.dtype).expand(len(tokens), -1, -1)
        for layer in self.layers:
            latents = layer(latents, tokens)
        out: Tensor = self.norm(latents)
        return out


def spatial_tokens(output: VisionOutput, places: int) -> Tensor:
    """Return the mean over time of the kept tokens at each place, in float32: [B, places, width].

    Frame count and mask change neither shape nor scale. A place without kept tokens (short masked clips; tubes, which
    leave places out) gets the mean over the whole video (our choice): a vector in distribution, unlike zeros.
    """
    tokens = output.tokens.float()
    means = pool_over_time(tokens, output.place, places)
    counts = torch.zeros(means.shape[:2], device=means.device)
    counts.scatter_add_(1, output.place, torch.ones(tokens.shape[:2], device=means.device))
    whole = tokens.mean(1, keepdim=True)
    return torch.where(counts[..., None] > 0, means, whole).to(output.tokens.dtype)


@dataclass(frozen=True, slots=True)
class VideoMemory:
    """Keys and values of a batch of videos for each language-model layer: computed once per video."""

    layers: tuple[KeysValues, ...]

    def __len__(self) -> int:
        return len(self.layers[0][0])

    def repeat(self, times: int) -> VideoMemory:
        """Repeat each video `times` in a row, as in beam search."""
        if times == 1:
            return self
        return VideoMemory(
            tuple((k.repeat_interleave(times, 0), v.repeat_interleave(times, 0)) for k, v in self.layers)
        )


class Connector(nn.Module):
    """Maps spatial tokens [B, places, vision_width] to what every layer of the language model attends to."""

    def __init__(self, config: VideoToTextConfig) -> None:
        super().__init__()
        self.config = config
        self.resampler = Resampler(config)
        self.layers = nn.ModuleList(
            VideoAttention(config.lm_width, config.width, config.cross_heads, gated=config.gated)
            for _ in range(config.lm_layers)
        )

    @property
    def video_layers(self) -> list[VideoAttention]:
        """The cross-attention of each language-model layer, in order."""
        return [layer for layer in self.layers if isinstance(layer, VideoAttention)]

    def forward(self, tokens: Tensor) -> VideoMemory:
        latents = self.resampler(tokens.to(self.resampler.proj.weight.dtype))
        return VideoMemory(tuple(layer.attn.keys_values(latents) for layer in self.video_layers))


def build_connector(config: VideoToTextConfig, *, seed: int = 0) -> Connector:
    """Build a randomly initialised connector, the same for the same seed; global random state is unchanged.

    Xavier for linear layers, zero biases and gates, latents of unit norm on average (our choice).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        connector = Connector(config)
        for module in connector.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.normal_(connector.resampler.latents, std=config.width**-0.5)
    return connector


HIDDEN = "hidden_states"


def decoder_layers(lm: PreTrainedModel) -> nn.ModuleList:
    """Find the list of decoder layers: as many as the config says, of one type, nearest to the model's root.

    Raises ModelError if there is none, or more than one at that depth.
    """
    wanted = lm.config.get_text_config().num_hidden_layers
    found = [
        (name.count("."), name, module)
        for name, module in lm.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == wanted and len({type(layer) for layer in module}) == 1
    ]
    nearest = [entry for entry in found if entry[0] == min(found)[0]] if found else []
    if len(nearest) != 1:
        names = ", ".join(name for _, name, _ in nearest) or "none"
        raise ModelError(
            f"can't tell the decoder layers of {type(lm).__name__}: looked for one list of {wanted} like modules, "
            f"found {names}; video-to-text needs a decoder-only model whose layers are such a list"
        )
    return nearest[0][2]


class Attachment:
    """Runs a `VideoAttention` before each decoder layer inside `looking_at`.

    Outside `looking_at` the language model is unchanged.
    """

    def __init__(self, lm: PreTrainedModel, layers: Sequence[VideoAttention]) -> None:
        decoder = decoder_layers(lm)
        if len(decoder) != len(layers):
            raise ModelError(f"{len(layers)} cross-attention layers do not go with {len(decoder)} decoder layers")
        self._memory: VideoMemory | None = None
        self._handles = [
            block.register_forward_pre_hook(partial(self._look, number, layer), with_kwargs=True)
            for number, (block, layer) in enumerate(zip(decoder, layers, strict=True))
        ]

    @contextmanager
    def looking_at(self, memory: VideoMemory | None) -> Iterator[None]:
        """Inside this context, row i attends to video i of `memory`; a memory of one video serves every row."""
        before, self._memory = self._memory, memory
        try:
            yield
        finally:
            self._memory = before

    def detach(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def _look(
        self, number: int, layer: VideoAttention, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if self._memory is None:
            return None
        if not args and HIDDEN not in kwargs:
            raise ModelError(f"{type(block).__name__} takes its hidden states in an unknown way")
        hidden = args[0] if args else kwargs[HIDDEN]
        keys, values = self._memory.layers[number]
        if len(keys) == 1:
            keys, values = (part.expand(len(hidden), -1, -1, -1) for part in (keys, values))
        if len(keys) != len(hidden):
            raise ModelError(f"{len(hidden)} rows of text do not go with {len(keys)} videos")
        hidden = layer(hidden, (keys, values))
        return ((hidden, *args[1:]), kwargs) if args else (args, {**kwargs, HIDDEN: hidden})


TRAINED = ("connector.*",)
"""Name patterns of the trained parameters; the rest is frozen (paper, video-to-text)."""


class VideoToText(nn.Module):
    """The three parts; only the connector requires gradients.

    Without a tower it takes precomputed spatial tokens (`watch`), which are the same every time for a frozen
    tower. The two frozen models stay in evaluation mode even after `train()`.
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
        """Encode uint8 [B, T, H, W, 3] as spatial tokens [B, places, vision_width], as many for any T and mask."""
        if self.vision is None:
            raise ModelError("this model has no tower: give it spatial tokens")
        patch = self.vision.config.patch
        return spatial_tokens(self.vision(pixels, keep), (pixels.shape[2] // patch) * (pixels.shape[3] // patch))

    def logits(self, memory: VideoMemory | None, rows: TextRows) -> Tensor:
        """Return logits [B, L, vocabulary] of texts, each row attending to its video, if there is any."""
        with self.attachment.looking_at(memory):
            out: Tensor = self.lm(input_ids=rows.ids, attention_mask=rows.real.long(), use_cache=False).logits
        return out

    def forward(self, video: Tensor, rows: TextRows, keep: Tensor | None = None) -> Tensor:
        """Return logits [B, L, vocabulary]; `video` is uint8 pixels or spatial tokens [B, places, vision_width]."""
        tokens = self.watch(video, keep) if video.dtype == torch.uint8 else video
        return self.logits(self.connector(tokens), rows)
