"""Letting a language model from transformers look at a video without touching its code: hooks on its layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from encoders.v2t.connector import VideoMemory
from encoders.v2t.cross_attention import VideoAttention
from tasks.errors import ModelError

HIDDEN = "hidden_states"


def decoder_layers(lm: PreTrainedModel) -> nn.ModuleList:
    """The list of decoder layers: as many as the config says, of one type, nearest to the model's root.

    Raises ModelError when there is none, or more than one at that depth.
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
    """Runs a `VideoAttention` before each decoder layer while a video is being looked at.

    Outside `looking_at` the language model is untouched.
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
        """Within, row i sees video i of `memory`, and every row the one video of a memory of one."""
        before, self._memory = self._memory, memory
        try:
            yield
        finally:
            self._memory = before

    def detach(self) -> None:
        """Take the hooks off again."""
        for handle in self._handles:
            handle.remove()

    def _look(
        self, number: int, layer: VideoAttention, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if self._memory is None:
            return None
        if not args and HIDDEN not in kwargs:
            raise ModelError(f"{type(block).__name__} takes its hidden states in a way that is not known")
        hidden = args[0] if args else kwargs[HIDDEN]
        keys, values = self._memory.layers[number]
        if len(keys) == 1:
            keys, values = (part.expand(len(hidden), -1, -1, -1) for part in (keys, values))
        if len(keys) != len(hidden):
            raise ModelError(f"{len(hidden)} rows of text do not go with {len(keys)} videos")
        hidden = layer(hidden, (keys, values))
        return ((hidden, *args[1:]), kwargs) if args else (args, {**kwargs, HIDDEN: hidden})
