"""Log-likelihoods of continuations under a causal language model, from a shared cache or from scratch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Cache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from tasks.errors import ModelError


@dataclass(frozen=True, slots=True)
class ScoringTokens:
    """A prompt's token ids and, separately, those of each continuation (never empty).

    The first `shared` tokens of the prompt may begin the next prompt too.
    """

    prompt: tuple[int, ...]
    continuations: tuple[tuple[int, ...], ...]
    shared: int = 0


def split_tokens(
    encode: Callable[[str], list[int]],
    text: str,
    continuations: Sequence[str],
    item: str,
    quote: Callable[[str], str] = str,
) -> ScoringTokens:
    """Return the token ids of the prompt `text` and of each continuation as tokenised after that prompt.

    `quote` escapes a continuation so that `encode` finds no control tokens in it.

    Raises ModelError, naming `item`, if a continuation is empty or its first characters would
    merge into the prompt's last token: its likelihood given the prompt would then be undefined.
    """
    if not continuations:
        raise ModelError(f"{item} has no continuation to score")
    prompt = encode(text)
    tails = []
    for number, continuation in enumerate(continuations):
        ids = encode(text + quote(continuation))
        if not continuation:
            raise ModelError(f"{item}: continuation {number} is empty")
        if ids[: len(prompt)] != prompt or len(ids) == len(prompt):
            raise ModelError(
                f"{item}: continuation {number} ({continuation[:40]!r}) merges with the end of the prompt "
                f"({text[-20:]!r}) in the tokenizer; move the blank between them to the continuation"
            )
        tails.append(tuple(ids[len(prompt) :]))
    return ScoringTokens(tuple(prompt), tuple(tails))


ROOT = -1


@dataclass(frozen=True, slots=True)
class PrefixTree:
    """Token n has the parent `parents[n]` < n (-1: none). `paths` holds the nodes of each continuation, in order."""

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    paths: tuple[tuple[int, ...], ...]


def prefix_tree(prompts: Sequence[ScoringTokens]) -> PrefixTree:
    """Build the tree of all prompts with their continuations; paths are in the order of prompts and continuations."""
    tree = _Growing()
    paths = []
    for prompt in prompts:
        end = tree.walk(ROOT, prompt.prompt)[-1]
        paths += [tree.walk(end, ids) for ids in prompt.continuations]
    return PrefixTree(tuple(tree.tokens), tuple(tree.parents), tuple(paths))


def continuation_tree(continuations: Sequence[tuple[int, ...]]) -> PrefixTree:
    """Build the tree of continuations alone, which follow a cached prompt."""
    tree = _Growing()
    paths = [tree.walk(ROOT, ids) for ids in continuations]
    return PrefixTree(tuple(tree.tokens), tuple(tree.parents), tuple(paths))


@dataclass(slots=True)
class _Growing:
    """A tree under construction, with its branches by parent and token."""

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    children: dict[tuple[int, int], int] = field(default_factory=dict)

    def walk(self, at: int, ids: Sequence[int]) -> tuple[int, ...]:
        """Return the nodes of `ids` below node `at`, creating missing ones."""
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
    """Return log-likelihoods float32 (nats) of the tokens of each path, with gradients if enabled.

    Raises ModelError for a model whose attention takes no custom mask.
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
    """Return a bool mask [N, N]: whether a column's token is an ancestor of the row's, or the token itself."""
    seen = torch.zeros(len(parents), len(parents), dtype=torch.bool)
    for node, parent in enumerate(parents):
        if parent != ROOT:
            seen[node] = seen[parent]
        seen[node, node] = True
    return seen


class Float32Head(nn.Module):
    """An output layer that computes in float32 whatever the model's dtype.

    In bfloat16 a logit near 20 has steps of 1/8, so that letters tie and the first one wins.
    """

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(head.weight.detach().float(), requires_grad=False)
        self.bias = None if head.bias is None else nn.Parameter(head.bias.detach().float())

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return logits float32 [..., vocabulary] of hidden states [..., width]."""
        return functional.linear(hidden.float(), self.weight, self.bias)


def use_float32_head(model: PreTrainedModel) -> None:
    """Replace a model's linear output layer by a `Float32Head`; other kinds of head are kept."""
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]  # untyped library
    if isinstance(head, nn.Linear):
        model.set_output_embeddings(Float32Head(head))  # type: ignore[no-untyped-call]


@dataclass(slots=True)
class LastPrompt:
    """The shared prefix of the last prompt that declared one, and the model's cache of it."""

    tokens: tuple[int, ...] = ()
    cache: Cache | None = None


@torch.inference_mode()
def logprobs_from_cache(model: PreTrainedModel, tokens: ScoringTokens, last: LastPrompt | None = None) -> list[float]:
    """Return summed log-likelihoods (nats): the prompt is processed once, and all continuations share its cache.

    With `last`, the prefix that the prompt shares with the one before is not processed again. The prefix is processed
    separately either way, so that a likelihood depends on its own prompt alone.

    Logits are computed for the prompt's last position only, and a continuation's last token is never fed to the model
    because nothing follows it: continuations of one token need no second pass.
    """
    device = model.device
    logits, cache = _read_prompt(model, tokens, last)
    first = logits.float().log_softmax(-1)
    totals = first[torch.tensor([ids[0] for ids in tokens.continuations], device=device)]
    packs = _can_pack(model, cache)
    if any(len(ids) > 1 for ids in tokens.continuations):
        following = _branched if packs else _padded
        picked = following(model, cache, len(tokens.prompt), tokens.continuations)
        lengths = torch.tensor([len(ids) - 1 for ids in tokens.continuations], device=device)
        owners = torch.arange(len(lengths), device=device).repeat_interleave(lengths)
        totals = totals.index_add(0, owners, picked)
    if last is not None and tokens.shared and packs:
        cache.crop(tokens.shared - cache.get_seq_length())
        last.tokens, last.cache = tokens.prompt[: tokens.shared], cache
    return [float(total) for total in totals]


def _read_prompt(model: PreTrainedModel, tokens: ScoringTokens, last: LastPrompt | None) -> tuple[torch.Tensor, Cache]:
    """Return logits [vocabulary] after the prompt, and its whole cache, which is taken over from `last`."""
    cache: Cache | None = None
    start = tokens.shared if last is not None else 0
    if last is not None and start:
        shared = tokens.prompt[:start]
        if last.tokens == shared:
            cache = last.cache
        last.cache = None
        if cache is None:
            fed = torch.tensor([shared], device=model.device)
            cache = model(fed, use_cache=True, logits_to_keep=1).past_key_values
    rest = torch.tensor([tokens.prompt[start:]], device=model.device)
    out = model(rest, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return out.logits[0, -1], out.past_key_values


@torch.inference_mode()
def logprobs_from_scratch(model: PreTrainedModel, tokens: ScoringTokens) -> list[float]:
    """Return the same likelihoods, with prompt and continuation processed from scratch each time: the reference."""
    totals = []
    for ids in tokens.continuations:
        fed = torch.tensor([tokens.prompt + ids[:-1]], device=model.device)
        logits = model(fed, use_cache=False, logits_to_keep=len(ids)).logits[0, -len(ids) :]
        picked = logits.float().log_softmax(-1).gather(1, torch.tensor(ids, device=model.device)[:, None])
        totals.append(float(picked.sum()))
    return totals


def _can_pack(model: PreTrainedModel, cache: Cache) -> bool:
    """Whether every layer attends to all earlier tokens, and takes our positions and mask."""
    return (
        all(type(layer) is DynamicLayer for layer in cache.layers)
        and "position_ids" in inspect.signature(model.forward).parameters
        and model.config._attn_implementation in {"sdpa", "eager"}  # noqa: SLF001  (no public name)
    )


def _branched(
    model: PreTrainedModel, cache: Cache, start: int, continuations: Sequence[tuple[int, ...]]
) -> torch.Tensor:
    """Return log-likelihoods [Σ(length - 1)] of the tokens after each continuation's first.

    Common prefixes of continuations are processed once: they form a tree packed in one row, where each token sees the
    prompt and its own ancestors. The cache is not copied, and nothing is padded.
    """
    device = model.device
    tree = continuation_tree(continuations)
    inner = sorted({parent for parent in tree.parents if parent != ROOT})  # nothing follows a leaf: it is never fed
    own = ancestors(tree.parents)[inner][:, inner]
    seen = torch.cat([torch.ones(len(inner), start, dtype=torch.bool), own], dim=1)
    mask = torch.zeros(seen.shape, dtype=model.dtype).masked_fill_(~seen, torch.finfo(model.dtype).min)
    logits = model(
        torch.tensor([[tree.tokens[node] for node in inner]], device=device),
        past_key_values=cache,
        use_cache=True,
        attention_mask=mask[None, None].to(device),
        position_ids=(start - 1 + own.sum(1))[None].to(device),
    ).logits[0]
    row = {node: number for number, node in enumerate(inner)}
    nodes = [node for path in tree.paths for node in path[1:]]
    rows = torch.tensor([row[tree.parents[node]] for node in nodes], device=device)
    picked: torch.Tensor = logits.float().log_softmax(-1)[
        rows, torch.tensor([tree.tokens[node] for node in nodes], device=device)
    ]
    return picked


def _padded(model: PreTrainedModel, cache: Cache, start: int, continuations: Sequence[tuple[int, ...]]) -> torch.Tensor:
    """Return the same from one row per continuation, for models with windows or recurrent layers.

    Padding is to the right of every real token, so causality hides it and no mask is passed.
    """
    del start
    longest = max(len(ids) for ids in continuations) - 1
    fed = [list(ids[:-1]) + [0] * (longest - len(ids) + 1) for ids in continuations]
    cache.batch_repeat_interleave(len(fed))
    out = model(torch.tensor(fed, device=model.device), past_key_values=cache, use_cache=True)
    real = torch.tensor([[column < len(ids) - 1 for column in range(longest)] for ids in continuations])
    targets = torch.tensor([token for ids in continuations for token in ids[1:]], device=model.device)
    picked: torch.Tensor = out.logits[real.to(model.device)].float().log_softmax(-1).gather(1, targets[:, None])
    return picked.squeeze(1)
