"""The vision tower from top to bottom: uint8 video → tubelets → positions → masking → blocks → pooling → vector.

Joint space-time and frame-level attention, masks, positions and pools are chosen by `VisionConfig` (encoders.config).
"(ours)" marks a choice of this project where the paper does not say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from encoders.config import VisionConfig
from tasks.errors import ModelError


@dataclass(frozen=True, slots=True)
class Kernel:
    """A box of `frames` by `patch` by `patch` pixels, moved by `stride` from `offset` (time, space)."""

    frames: int
    patch: int
    stride: tuple[int, int]
    offset: tuple[int, int] = (0, 0)

    def starts(self, frames: int, height: int, width: int) -> tuple[range, range, range]:
        """First frame, row and column of each box that fits into a [frames, height, width] video.

        An offset yields where the video would otherwise be too short for the box (ours).
        """
        return (
            _starts(frames, self.frames, self.stride[0], self.offset[0]),
            _starts(height, self.patch, self.stride[1], self.offset[1]),
            _starts(width, self.patch, self.stride[1], self.offset[1]),
        )

    def count(self, frames: int, height: int, width: int) -> int:
        """Tokens of a [frames, height, width] video."""
        times, rows, columns = self.starts(frames, height, width)
        return len(times) * len(rows) * len(columns)


def _starts(length: int, extent: int, stride: int, offset: int) -> range:
    offset = min(offset, max(length - extent, 0))
    return range(offset, length - extent + 1, stride)


TUBES = (
    Kernel(8, 8, (16, 32)),
    Kernel(16, 4, (6, 32), (4, 8)),
    Kernel(4, 12, (16, 32), (0, 16)),
    Kernel(1, 16, (32, 16)),
)
"""TubeViT's four kernels, after arXiv 2212.03229; boxes that cross the border are dropped (ours)."""


def image_kernel(config: VisionConfig) -> Kernel:
    """The 2D patch of a single frame."""
    return Kernel(1, config.patch, (1, config.patch))


def video_kernels(config: VisionConfig) -> tuple[Kernel, ...]:
    """The kernels a video passes through; none for a frame-level encoder."""
    if config.patches == "tubes":
        return TUBES
    if config.patches == "tubelet":
        return (Kernel(config.tubelet, config.patch, (config.tubelet, config.patch)),)
    return ()


def check_video(config: VisionConfig, frames: int, height: int, width: int) -> None:
    """Raise ModelError unless a [frames, height, width] video divides into tokens without rest."""
    if height % config.patch or width % config.patch:
        raise ModelError(f"frames of {height} by {width} pixels do not divide into patches of side {config.patch}")
    if frames < 1 or (config.patches == "tubelet" and frames > 1 and frames % config.tubelet):
        raise ModelError(f"{frames} frames do not divide into tubelets of {config.tubelet}: sample a multiple")
    if config.patches == "tubes" and frames > 1 and min(k.count(frames, height, width) for k in TUBES) == 0:
        raise ModelError(f"{frames} frames of {height} by {width} pixels are too small for tubes of 16 frames")


def time_steps(config: VisionConfig, frames: int) -> int:
    """Time steps of a regular video grid: 1 for a single image, else frames or tubelets."""
    if config.patches == "image" or frames == 1:
        return frames
    return frames // config.tubelet


def token_count(config: VisionConfig, frames: int, height: int, width: int) -> int:
    """Tokens of a dense video, class tokens not counted."""
    if config.patches == "tubes" and frames > 1:
        return sum(kernel.count(frames, height, width) for kernel in TUBES)
    return time_steps(config, frames) * (height // config.patch) * (width // config.patch)


def time_coordinates(config: VisionConfig, kernel: Kernel, frames: int) -> list[float]:
    """Where each box's centre lies on the table of time positions.

    A video no longer than the table uses its first entries: at 1 FPS, entry i is always the same
    second. A longer one stretches the table, both ends fixed (ours).
    """
    first = (config.tubelet - 1) / 2
    middle = (kernel.frames - 1) / 2
    steps = [
        (start + middle - first) / config.tubelet
        for start in _starts(frames, kernel.frames, kernel.stride[0], kernel.offset[0])
    ]
    used = -(-frames // config.tubelet)
    scale = (config.steps - 1) / (used - 1) if used > config.steps else 1.0
    return [min(max(step * scale, 0.0), config.steps - 1.0) for step in steps]


def space_coordinates(config: VisionConfig, kernel: Kernel, side: int) -> list[float]:
    """Where each box's centre lies along one side (pixels) of the table of space positions (ours)."""
    centres = (start + kernel.patch / 2 for start in _starts(side, kernel.patch, kernel.stride[1], kernel.offset[1]))
    return [min(max(centre / side * config.grid - 0.5, 0.0), config.grid - 1.0) for centre in centres]


def grid_axes(
    config: VisionConfig, kernel: Kernel, frames: int, height: int, width: int
) -> tuple[list[int], list[int]]:
    """Time step of each temporal start and place of each spatial one, on the regular grid.

    The tokens of the kernel are their product. Boxes that lie off the grid count as the entry
    nearest to their centre.
    """
    times, rows, columns = kernel.starts(frames, height, width)
    per_step = frames // time_steps(config, frames)
    steps = [(start + (kernel.frames - 1) // 2) // per_step for start in times]
    centre = kernel.patch // 2
    across = width // config.patch
    places = [
        (row + centre) // config.patch * across + (column + centre) // config.patch
        for row in rows
        for column in columns
    ]
    return steps, places


def boxes(pixels: Tensor, kernel: Kernel) -> Tensor:
    """View [B, T, H, W, 3] as boxes [B, nt, ny, nx, t, p, p, 3] without copying."""
    frames, height, width = pixels.shape[1:4]
    times, rows, columns = kernel.starts(frames, height, width)
    view = pixels[:, times.start :, rows.start :, columns.start :]
    view = view.unfold(1, kernel.frames, kernel.stride[0])
    view = view.unfold(2, kernel.patch, kernel.stride[1])
    view = view.unfold(3, kernel.patch, kernel.stride[1])
    return view.permute(0, 1, 2, 3, 5, 6, 7, 4)


def gather_boxes(view: Tensor, keep: Tensor | None) -> Tensor:
    """Boxes as rows [B, K, t·p·p·3]: all of them, or those whose flat index is in `keep` [B, K]."""
    batch, _, rows, columns = view.shape[:4]
    if keep is None:
        return view.reshape(batch, -1, view.shape[4:].numel())
    sample = torch.arange(batch, device=keep.device)[:, None]
    time, place = keep // (rows * columns), keep % (rows * columns)
    return view[sample, time, place // columns, place % columns].flatten(2)


class PixelNorm(nn.Module):
    """(pixel / 255 - mean) / std per channel, for uint8 rows whose last axis cycles through channels."""

    bits: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        affine = torch.tensor([[1 / (255 * s) for s in std], [-m / s for m, s in zip(mean, std, strict=True)]])
        # Kept as bit patterns: a float buffer would lose half its digits in `.to(bfloat16)`.
        self.register_buffer("bits", affine.view(torch.int32), persistent=False)

    def forward(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """[B, K, n·3] uint8 → the same shape in `dtype`."""
        scale, shift = self.bits.view(torch.float32)
        values = torch.addcmul(shift, rows.view(*rows.shape[:-1], -1, 3).float(), scale)
        return values.to(dtype).flatten(-2)


class Patches(nn.Module):
    """One kernel's projection: uint8 [B, T, H, W, 3] → tokens [B, N or K, width]."""

    def __init__(self, kernel: Kernel, width: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.proj = nn.Linear(kernel.frames * kernel.patch**2 * 3, width)

    def forward(self, pixels: Tensor, norm: PixelNorm, keep: Tensor | None = None) -> Tensor:
        """Tokens in (time, row, column) order, or those at the flat indices `keep` [B, K]."""
        rows = gather_boxes(boxes(pixels, self.kernel), keep)
        tokens: Tensor = self.proj(norm(rows, self.proj.weight.dtype))
        return tokens


def inflate(weight: Tensor, frames: int) -> Tensor:
    """A 2D projection [D, p·p·3] as a tubelet's [D, frames·p·p·3]: repeated over time and divided.

    A tubelet of one repeated frame then projects exactly like that frame (paper, architecture).
    """
    return weight.repeat(1, frames) / frames


def reshape_kernel(weight: Tensor, patch: int, kernel: Kernel) -> Tensor:
    """A 2D projection [D, p·p·3] of patches of side `patch` as one of another kernel's boxes (ours).

    Bilinear in space and repeated over time; its mean is kept and its size divided out, so that a box
    of one colour projects like the patch did. With the kernel's own side it is `inflate`.
    """
    if kernel.patch != patch:
        square = weight.view(len(weight), patch, patch, 3).movedim(-1, 1).float()
        side = (kernel.patch, kernel.patch)
        resized = functional.interpolate(square, size=side, mode="bilinear", antialias=True)
        resized += (square.mean((2, 3)) - resized.mean((2, 3)))[:, :, None, None]
        weight = flatten_convolution(resized * (patch / kernel.patch) ** 2).to(weight.dtype)
    return inflate(weight, kernel.frames)


def flatten_convolution(weight: Tensor) -> Tensor:
    """A convolution's [D, 3, p, p] or [D, 3, t, p, p] as this module's [D, (t·)p·p·3]."""
    return weight.movedim(1, -1).flatten(1)


def read_table(table: Tensor, coordinates: Sequence[float]) -> Tensor:
    """Rows of `table` [N, D] at fractional `coordinates` within [0, N-1]: [len(coordinates), D]."""
    if all(value == at for at, value in enumerate(coordinates)):
        return table[: len(coordinates)]
    at = torch.tensor(coordinates, dtype=torch.float32, device=table.device)
    low = at.floor().long()
    high = (low + 1).clamp(max=len(table) - 1)
    share = (at - low)[:, None].to(table.dtype)
    return torch.lerp(table[low], table[high], share)


def extend(table: Tensor, length: int) -> Tensor:
    """A time table [N, D] stretched to [length, D] by linear interpolation, both ends fixed (ours)."""
    if length == len(table):
        return table
    last = (len(table) - 1) / max(length - 1, 1)
    return read_table(table, [i * last for i in range(length)])


class Positions(nn.Module):
    """Tables `space` [grid², D] and `time` [steps, D] (absent for a frame-level encoder)."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.space = nn.Parameter(torch.empty(config.grid**2, config.width))
        self.time = nn.Parameter(torch.empty(config.steps, config.width)) if config.steps else None

    def at_places(self, kernel: Kernel, height: int, width: int) -> Tensor:
        """Space positions of a kernel's grid over [height, width] pixels: [ny·nx, D]."""
        grid, depth = self.config.grid, self.space.shape[1]
        rows = space_coordinates(self.config, kernel, height)
        columns = space_coordinates(self.config, kernel, width)
        whole = [float(i) for i in range(grid)]
        if rows == whole and columns == whole:
            return self.space
        down = read_table(self.space.view(grid, grid * depth), rows).view(len(rows), grid, depth)
        across = read_table(down.transpose(0, 1).reshape(grid, -1), columns)
        return across.view(len(columns), len(rows), depth).transpose(0, 1).reshape(-1, depth)

    def forward(self, kernel: Kernel, shape: tuple[int, int, int], keep: Tensor | None = None) -> Tensor:
        """Positions of a kernel's tokens over a (frames, height, width) video.

        [N, D] for all of them, [B, K, D] for the flat indices `keep` [B, K]. A single image and a
        frame-level encoder have positions in space only.
        """
        frames, height, width = shape
        space = self.at_places(kernel, height, width)
        if self.time is None or frames == 1:
            time = space.new_zeros(frames, space.shape[1])
        else:
            time = read_table(self.time, time_coordinates(self.config, kernel, frames))
        if keep is None:
            return (time[:, None] + space).flatten(0, 1)
        return time[keep // len(space)] + space[keep % len(space)]


MaskBy = Literal["anywhere", "time"]


def random_keep(rows: int, tokens: int, keep: int, generator: torch.Generator) -> Tensor:
    """`keep` of `tokens` indices for each of `rows`, uniform without replacement, ascending: [rows, keep]."""
    if not 1 <= keep <= tokens:
        raise ModelError(f"cannot keep {keep} of {tokens} tokens")
    scores = torch.rand(rows, tokens, generator=generator, device=generator.device)
    return scores.topk(keep, dim=1).indices.sort(dim=1).values


def kept_count(tokens: int, mask: float) -> int:
    """Tokens left when the share `mask` is dropped, at least one. Raises ModelError outside [0, 1)."""
    if not 0 <= mask < 1:
        raise ModelError(f"mask {mask} is not a share: give a number from 0 up to, not including, 1")
    return max(1, round(tokens * (1 - mask)))


def sample_keep(
    config: VisionConfig,
    shape: tuple[int, int, int, int],
    mask: float,
    generator: torch.Generator,
    by: MaskBy = "anywhere",
) -> Tensor | None:
    """Indices for a batch of shape (B, frames, height, width) with the share `mask` dropped.

    None when nothing is dropped. Joint attention: tokens anywhere in space-time, or with `by` "time" the same
    number at each time step, so that no moment is dropped whole (ours). Frame-level:
    places drawn for each frame. Factorised: places drawn once for all times. Lies on the
    generator's device. Raises ModelError for tubes, which are the paper's alternative to masking.
    """
    batch, frames, height, width = shape
    if mask == 0:
        return None
    if config.patches == "tubes":
        raise ModelError("tubes are not masked: the kernels' grids share no index")
    tokens = token_count(config, frames, height, width)
    steps = time_steps(config, frames)
    if config.attention == "joint" and by == "time":
        places = tokens // steps
        kept = random_keep(batch * steps, places, kept_count(places, mask), generator).view(batch, steps, -1)
        return (kept + torch.arange(steps, device=kept.device)[:, None] * places).flatten(1)
    if config.attention == "joint":
        return random_keep(batch, tokens, kept_count(tokens, mask), generator)
    drawn = steps if config.attention == "frame" else 1
    places = tokens // steps
    kept = random_keep(batch * drawn, places, kept_count(places, mask), generator)
    return kept.view(batch, drawn, -1)


def sample_keep_each(
    config: VisionConfig, shape: tuple[int, int, int], mask: float, seeds: Sequence[int]
) -> Tensor | None:
    """`sample_keep` for videos of one shape (frames, height, width), each drawn by its own seed.

    What survives of a video then does not depend on the batch it is in.
    """
    drawn = [sample_keep(config, (1, *shape), mask, torch.Generator().manual_seed(seed)) for seed in seeds]
    rows = [row for row in drawn if row is not None]
    return torch.cat(rows) if rows else None


def flat_keep(config: VisionConfig, keep: Tensor, steps: int, places: int) -> Tensor:
    """Either shape of `keep` as flat indices [B, K] in (time, place) order.

    Raises ModelError when the shape does not go with the attention.
    """
    if keep.ndim == 2 and config.attention == "joint":
        return keep
    needed = (1,) if config.attention == "factorized" else (1, steps)
    if keep.ndim != 3 or keep.shape[1] not in needed:
        raise ModelError(
            f"keep of shape {tuple(keep.shape)} does not fit {config.attention} attention, {steps} steps: "
            "draw it with sample_keep"
        )
    first = torch.arange(steps, device=keep.device)[:, None] * places
    return (keep + first).flatten(1)


Activation = str


class QuickGELU(nn.Module):
    """OpenAI's approximation, which its CLIP weights need: x · sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


def activation(name: str) -> nn.Module:
    """The module named by a config's `activation`."""
    if name == "quick_gelu":
        return QuickGELU()
    return nn.GELU(approximate="tanh" if name == "gelu_tanh" else "none")


def attend(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False) -> Tensor:
    """Scaled dot-product attention of [..., heads, N, d] tensors."""
    if q.is_meta:
        # SDPA on the meta device would take the quadratic path and be measured as such.
        flash = torch.ops.aten._scaled_dot_product_flash_attention  # noqa: SLF001 - its public wrapper is what picks the wrong path
        out: Tensor = flash(q, k, v, 0.0, causal)[0]
        return out
    if not causal and _slow_backward(q):
        plain: Tensor = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(-1) @ v
        return plain
    return functional.scaled_dot_product_attention(q, k, v, is_causal=causal)


def _slow_backward(q: Tensor) -> bool:
    """Whether SDPA's backward pass would take longer than the plain one's.

    On CPU in bfloat16 it does for short sequences: 3.6 times at 128 tokens, 1.9 times at 256, 0.9 at 512.
    """
    short = q.shape[-2] <= 384
    return short and q.requires_grad and q.dtype == torch.bfloat16 and q.device.type == "cpu"


class Attention(nn.Module):
    """Multi-head self-attention over the last but one axis of [B, N, width]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, *, causal: bool = False) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each [B, heads, N, d]
        out = attend(q, k, v, causal=causal).transpose(1, 2).reshape(batch, length, width)
        joined: Tensor = self.proj(out)
        return joined


class Mlp(nn.Module):
    """The feed-forward part."""

    def __init__(self, width: int, hidden: int, act: str) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = activation(act)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out


class Block(nn.Module):
    """Self-attention and feed-forward with residuals; `adapter`, when set, follows the latter."""

    def __init__(self, width: int, heads: int, hidden: int, act: str, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = Mlp(width, hidden, act)
        self.adapter: nn.Module | None = None

    def feed_forward(self, x: Tensor) -> Tensor:
        """The block's second half, adapter included: [..., width] → the same."""
        x = x + self.mlp(self.norm2(x))
        return x if self.adapter is None else x + self.adapter(x)

    def forward(self, x: Tensor, *, causal: bool = False) -> Tensor:
        """[B, N, width] → the same."""
        return self.feed_forward(x + self.attn(self.norm1(x), causal=causal))


class FactorizedBlock(Block):
    """A block with gated temporal attention between its two halves.

    `h = h + tanh(alpha) · temporal(h)` with alpha 0 at the start, so that the net begins as the
    image ViT (paper, FST). That it stands after the spatial attention is ours.
    """

    def __init__(self, width: int, heads: int, hidden: int, act: str, eps: float) -> None:
        super().__init__(width, heads, hidden, act, eps)
        self.norm_time = nn.LayerNorm(width, eps=eps)
        self.attn_time = Attention(width, heads)
        self.alpha = nn.Parameter(torch.zeros(1))

    @torch.no_grad()
    def copy_spatial(self) -> None:
        """Start the temporal attention from the spatial one's weights (paper, FST)."""
        self.norm_time.load_state_dict(self.norm1.state_dict())
        self.attn_time.load_state_dict(self.attn.state_dict())

    def forward(self, x: Tensor, *, causal: bool = False) -> Tensor:
        """[B, steps, S, width] → the same; slot s of a step sees slot s of the other steps."""
        batch, steps, slots, width = x.shape
        flat = x.flatten(0, 1)
        x = (flat + self.attn(self.norm1(flat), causal=causal)).view(batch, steps, slots, width)
        rows = x.transpose(1, 2).reshape(batch * slots, steps, width)
        time = self.attn_time(self.norm_time(rows)).view(batch, slots, steps, width)
        return self.feed_forward(x + torch.tanh(self.alpha) * time.transpose(1, 2))


class AttentionPool(nn.Module):
    """One learnt query attends over all tokens (as in CoCa): [B, N, width] → [B, out]."""

    def __init__(self, width: int, out: int, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(torch.empty(1, out))
        self.norm_q = nn.LayerNorm(out, eps=eps)
        self.norm_kv = nn.LayerNorm(width, eps=eps)
        self.q = nn.Linear(out, out)
        self.k = nn.Linear(width, out)
        self.v = nn.Linear(width, out)
        self.proj = nn.Linear(out, out)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, length, _ = tokens.shape
        context = self.norm_kv(tokens)
        q = self.q(self.norm_q(self.query)).view(1, 1, self.heads, -1).expand(batch, -1, -1, -1)
        k = self.k(context).view(batch, length, self.heads, -1)
        v = self.v(context).view(batch, length, self.heads, -1)
        out = attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        pooled: Tensor = self.proj(out.reshape(batch, -1))
        return pooled


class Pool(nn.Module):
    """The tower's last step: final LayerNorm, pooling, and for frame-level encoders late fusion.

    "mean" averages all space-time tokens (paper); "class" averages the class tokens of the time
    steps; "attention" is `AttentionPool`. Late fusion averages the frames' vectors, or attends
    over them. `norm_after_pool` is where open_clip's average-pooled models have their LayerNorm.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        out = config.out_width
        self.kind, self.frame_level = config.pool, config.attention == "frame"
        self.after = config.norm_after_pool or config.pool == "attention"
        self.norm = nn.LayerNorm(out if self.after else config.width, eps=config.eps)
        self.attention: AttentionPool | None = None
        self.fusion: AttentionPool | None = None
        if config.pool == "attention":
            self.attention = AttentionPool(config.width, out, config.pool_heads, config.eps)
        if config.fusion == "attention":
            self.fusion = AttentionPool(out, out, config.pool_heads, config.eps)

    def forward(self, tokens: Tensor, class_tokens: Tensor | None, steps: int) -> tuple[Tensor, Tensor]:
        """Tokens [B, N, D] and class tokens [B, steps, D] → vector [B, out] and the tokens.

        The tokens come back normalised unless the LayerNorm stands after the pool. A frame-level
        encoder's N is steps · places, in that order.
        """
        if not self.after:
            tokens = self.norm(tokens)
            class_tokens = None if class_tokens is None else self.norm(class_tokens)
        vectors = self._vectors(tokens, class_tokens, steps if self.frame_level else 1)
        if self.after:
            vectors = self.norm(vectors)
        pooled: Tensor = vectors.mean(1) if self.fusion is None else self.fusion(vectors)
        return pooled, tokens

    def _vectors(self, tokens: Tensor, class_tokens: Tensor | None, groups: int) -> Tensor:
        """One vector for each group of tokens, or for each class token: [B, groups, out]."""
        if self.kind == "class" and class_tokens is not None:
            return class_tokens
        batch, _, width = tokens.shape
        rows = tokens.view(batch, groups, -1, width)
        if self.attention is None:
            return rows.mean(2)
        if class_tokens is not None:
            rows = torch.cat([class_tokens.view(batch, groups, -1, width), rows], 2)
        out: Tensor = self.attention(rows.flatten(0, 1)).view(batch, groups, -1)
        return out


def pool_over_time(tokens: Tensor, place: Tensor, places: int) -> Tensor:
    """Mean over time at each place: tokens [B, N, D] at `place` [B, N] → [B, places, D].

    However many frames there were, as many vectors come out. A place of which no token was kept
    gives zeros.
    """
    index = place[..., None].expand_as(tokens)
    empty = tokens.new_zeros(len(tokens), places, tokens.shape[2])
    return empty.scatter_reduce(1, index, tokens, "mean", include_self=False)


@dataclass(frozen=True, slots=True)
class VisionOutput:
    """What the tower makes of a batch.

    `pooled` [B, out]; `tokens` [B, N, width], patch tokens only, with their `time` step and `place`
    [B, N] on the grid of positions; `hidden`, when asked for, the tokens after each block.
    """

    pooled: Tensor
    tokens: Tensor
    time: Tensor
    place: Tensor
    hidden: tuple[Tensor, ...] = ()


class VisionTower(nn.Module):
    """One transformer for images and videos.

    Images (one frame) pass through their own 2D projection, videos through the 3D one; everything
    else is shared (paper, architecture). With a class token there is one for *each* time step, so
    that a still video weighs it against patches as its image does (ours).

    `checkpointing` recomputes each block in the backward pass instead of keeping its activations.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpointing = False
        self.norm = PixelNorm(config.pixel_mean, config.pixel_std)
        self.image = Patches(image_kernel(config), config.width)
        self.video = nn.ModuleList(Patches(kernel, config.width) for kernel in video_kernels(config))
        self.positions = Positions(config)
        self.class_token = nn.Parameter(torch.empty(config.width)) if config.class_token else None
        self.pre_norm = nn.LayerNorm(config.width, eps=config.eps) if config.pre_norm else None
        kind = FactorizedBlock if config.attention == "factorized" else Block
        self.blocks = nn.ModuleList(
            kind(config.width, config.heads, config.mlp, config.activation, config.eps) for _ in range(config.depth)
        )
        self.pool = Pool(config)

    def forward(self, pixels: Tensor, keep: Tensor | None = None, *, hidden: bool = False) -> VisionOutput:
        """Embed uint8 [B, T, H, W, 3], all of it or the tokens at `keep` (see encoders.vit).

        Raises ModelError when the shape does not divide into tokens or `keep` does not fit.
        """
        if pixels.ndim != 5 or pixels.shape[-1] != 3 or pixels.dtype != torch.uint8:
            raise ModelError(f"pixels must be uint8 [B, T, H, W, 3], not {pixels.dtype} {tuple(pixels.shape)}")
        shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
        check_video(self.config, *shape)
        steps = time_steps(self.config, shape[0])
        if keep is not None:
            keep = flat_keep(self.config, keep, steps, self._places(shape))
        tokens = self._embed(pixels, shape, keep)
        time, place = self._indices(shape, keep, pixels)
        tokens, class_tokens, states = self._transform(tokens, steps, keep_hidden=hidden)
        pooled, tokens = self.pool(tokens, class_tokens, steps)
        return VisionOutput(pooled, tokens, time, place, states)

    def _patches(self, frames: int) -> list[Patches]:
        if frames == 1 or self.config.attention == "frame":
            return [self.image]
        return [module for module in self.video if isinstance(module, Patches)]

    def _places(self, shape: tuple[int, int, int]) -> int:
        return (shape[1] // self.config.patch) * (shape[2] // self.config.patch)

    def _embed(self, pixels: Tensor, shape: tuple[int, int, int], keep: Tensor | None) -> Tensor:
        parts = [
            patches(pixels, self.norm, keep) + self.positions(patches.kernel, shape, keep)
            for patches in self._patches(shape[0])
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def _indices(self, shape: tuple[int, int, int], keep: Tensor | None, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Time step and place of each token, [B, N] both."""
        if keep is not None:
            places = self._places(shape)
            return keep // places, keep % places
        axes = [
            [torch.tensor(axis, device=pixels.device) for axis in grid_axes(self.config, patches.kernel, *shape)]
            for patches in self._patches(shape[0])
        ]
        time = torch.cat([steps.repeat_interleave(len(places)) for steps, places in axes])
        place = torch.cat([places.repeat(len(steps)) for steps, places in axes])
        return time.expand(len(pixels), -1), place.expand(len(pixels), -1)

    def _transform(
        self, tokens: Tensor, steps: int, *, keep_hidden: bool
    ) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...]]:
        """Run the blocks: patch tokens [B, N, D], class tokens [B, steps, D], hidden states."""
        batch, count, width = tokens.shape
        groups = 1 if self.config.attention == "joint" else steps
        x = tokens.view(batch, groups, -1, width)
        extra = 0
        if self.class_token is not None:
            extra = steps // groups
            x = torch.cat([self.class_token.to(x.dtype).expand(batch, groups, extra, width), x], 2)
        if self.pre_norm is not None:
            x = self.pre_norm(x)
        layout = x.shape  # [B, groups, extra + places, D]
        if self.config.attention != "factorized":
            x = x.flatten(0, 1)
        hidden = []
        for block in self.blocks:
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False)
            else:
                x = block(x)
            if keep_hidden:
                hidden.append(x.view(layout)[:, :, extra:].reshape(batch, count, width))
        x = x.view(layout)
        class_tokens = x[:, :, :extra].reshape(batch, steps, width) if extra else None
        return x[:, :, extra:].reshape(batch, count, width), class_tokens, tuple(hidden)
