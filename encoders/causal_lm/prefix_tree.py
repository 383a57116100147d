"""Prompts with continuations laid out once: what token sequences begin with in common is processed a single time.

Questions about one video share its captions, and the options of a question share the question. A token attends to its
own ancestors and stands at its own depth, so the likelihoods are those of each sequence by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import PreTrainedModel

from encoders.causal_lm.continuations import ScoringTokens
from tasks.errors import ModelError

ROOT = -1


@dataclass(frozen=True, slots=True)
class PrefixTree:
    """Token n has the parent `parents[n]` < n (-1: none). `paths` are the tokens of each continuation, in order."""

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    paths: tuple[tuple[int, ...], ...]


def prefix_tree(prompts: Sequence[ScoringTokens]) -> PrefixTree:
    """The tree of all prompts with their continuations; paths come in the order of prompts and continuations."""
    tree = _Growing()
    paths = []
    for prompt in prompts:
        end = tree.walk(ROOT, prompt.prompt)[-1]
        paths += [tree.walk(end, ids) for ids in prompt.continuations]
    return PrefixTree(tuple(tree.tokens), tuple(tree.parents), tuple(paths))


def continuation_tree(continuations: Sequence[tuple[int, ...]]) -> PrefixTree:
    """The tree of continuations alone, behind a prompt that is in a cache."""
    tree = _Growing()
    paths = [tree.walk(ROOT, ids) for ids in continuations]
    return PrefixTree(tuple(tree.tokens), tuple(tree.parents), tuple(paths))


@dataclass(slots=True)
class _Growing:
    """A tree that is being grown, with its branches by parent and token."""

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    children: dict[tuple[int, int], int] = field(default_factory=dict)

    def walk(self, at: int, ids: Sequence[int]) -> tuple[int, ...]:
        """The nodes of `ids` below node `at`, grown where they are not there yet."""
        path = []
        for token in ids:
            if (at, token) not in self.children:
                self.children[at, token] = len(self.tokens)
                self.tokens.append(token)
                self.parents.append(at)
            at = self.children[at, token]
            path.append(at)
        return tuple(path)


def tree_logprobs(model: PreTrainedModel, tree: PrefixTree) -> list[Tensor]:
    """Log-likelihoods float32 (nats) of the tokens of each path. Gradients flow where they are on.

    Raises ModelError for a model whose attention takes no mask of ours.
    """
    if model.config._attn_implementation not in {"sdpa", "eager"}:  # noqa: SLF001 - no public name
        raise ModelError(f"attention '{model.config._attn_implementation}' can't read a tree of prompts")  # noqa: SLF001
    device = model.device
    nodes = torch.tensor([node for path in tree.paths for node in path], device=device)
    parents = torch.tensor(tree.parents, device=device)[nodes]
    asked, places = torch.unique(parents, return_inverse=True)
    seen = ancestors(tree.parents)
    mask = torch.zeros(seen.shape, dtype=model.dtype).masked_fill_(~seen, torch.finfo(model.dtype).min)
    logits = model(
        torch.tensor([tree.tokens], device=device),
        attention_mask=mask[None, None].to(device),
        position_ids=(seen.sum(1) - 1)[None].to(device),
        use_cache=False,
        logits_to_keep=asked,
    ).logits[0]
    wanted = torch.tensor(tree.tokens, device=device)[nodes]
    picked = logits.float().log_softmax(-1)[places, wanted]
    return list(torch.split(picked, [len(path) for path in tree.paths]))


def ancestors(parents: Sequence[int]) -> Tensor:
    """Bool [N, N]: whether a column's token is an ancestor of the row's, or the token itself."""
    seen = torch.zeros(len(parents), len(parents), dtype=torch.bool)
    for node, parent in enumerate(parents):
        if parent != ROOT:
            seen[node] = seen[parent]
        seen[node, node] = True
    return seen
