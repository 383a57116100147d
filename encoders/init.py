"""Initial weights (ours, after the original ViT: the paper's appendix is not public)."""

from __future__ import annotations

import torch
from torch import nn

from encoders.blocks import Block, FactorizedBlock
from encoders.patchify import Patches, inflate
from encoders.pooling import AttentionPool
from encoders.positions import Positions
from encoders.text import ClipTower
from encoders.vision import VisionTower


@torch.no_grad()
def initialise(encoder: nn.Module) -> None:
    """Xavier for linear layers, zero biases, `position_std` for positions; BERT keeps its own.

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
