"""Log-likelihoods of continuations under a causal language model, from a shared cache or afresh."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional
from transformers import Cache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from encoders.causal_lm.continuations import ScoringTokens


class Float32Head(nn.Module):
    """An output layer that computes in float32 whatever the model's dtype.

    In bfloat16 a logit near 20 moves in steps of 1/8, so that letters tie and the first one wins.
    """

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(head.weight.detach().float(), requires_grad=False)
        self.bias = None if head.bias is None else nn.Parameter(head.bias.detach().float())

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits float32 [..., vocabulary] of hidden states [..., width]."""
        return functional.linear(hidden.float(), self.weight, self.bias)


def use_float32_head(model: PreTrainedModel) -> None:
    """Give a model a `Float32Head` in place of its linear output layer; another kind of head stays."""
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]  # untyped library
    if isinstance(head, nn.Linear):
        model.set_output_embeddings(Float32Head(head))  # type: ignore[no-untyped-call]


@torch.inference_mode()
def logprobs_from_cache(model: PreTrainedModel, tokens: ScoringTokens) -> list[float]:
    """Summed log-likelihoods (nats): the prompt runs once, all continuations then share its cache.

    Only the prompt's last position meets the vocabulary, and no continuation's last token is ever
    fed, as nothing follows it: continuations of one token need no second pass.
    """
    device = model.device
    out = model(torch.tensor([tokens.prompt], device=device), use_cache=True, logits_to_keep=1)
    first = out.logits[0, -1].float().log_softmax(-1)
    totals = first[torch.tensor([ids[0] for ids in tokens.continuations], device=device)]
    targets = torch.tensor([token for ids in tokens.continuations for token in ids[1:]], device=device)
    if len(targets) == 0:
        return [float(total) for total in totals]
    following = _packed_logits if _can_pack(model, out.past_key_values) else _padded_logits
    logits = following(model, out.past_key_values, len(tokens.prompt), tokens.continuations)
    picked = logits.float().log_softmax(-1).gather(1, targets[:, None]).squeeze(1)
    lengths = torch.tensor([len(ids) - 1 for ids in tokens.continuations], device=device)
    owners = torch.arange(len(lengths), device=device).repeat_interleave(lengths)
    return [float(total) for total in totals.index_add(0, owners, picked)]


@torch.inference_mode()
def logprobs_from_scratch(model: PreTrainedModel, tokens: ScoringTokens) -> list[float]:
    """The same likelihoods, prompt and continuation processed afresh each time: the reference."""
    totals = []
    for ids in tokens.continuations:
        fed = torch.tensor([tokens.prompt + ids[:-1]], device=model.device)
        logits = model(fed, use_cache=False, logits_to_keep=len(ids)).logits[0, -len(ids) :]
        picked = logits.float().log_softmax(-1).gather(1, torch.tensor(ids, device=model.device)[:, None])
        totals.append(float(picked.sum()))
    return totals


def _can_pack(model: PreTrainedModel, cache: Cache) -> bool:
    """Whether every layer attends to all that came before, at positions and by a mask we may give."""
    return (
        all(type(layer) is DynamicLayer for layer in cache.layers)
        and "position_ids" in inspect.signature(model.forward).parameters
        and model.config._attn_implementation in {"sdpa", "eager"}  # noqa: SLF001  (no public name)
    )


def _packed_logits(
    model: PreTrainedModel, cache: Cache, start: int, continuations: Sequence[tuple[int, ...]]
) -> torch.Tensor:
    """Logits [Σ(length - 1), vocabulary] of all continuations laid end to end in one row.

    Each sees the prompt and itself: neither the cache is copied nor anything padded.
    """
    device = model.device
    lengths = [len(ids) - 1 for ids in continuations]
    fed = [token for ids in continuations for token in ids[:-1]]
    positions = [start + step for length in lengths for step in range(length)]
    blocks = [torch.ones(length, length).tril() for length in lengths if length]
    own = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]  # untyped library
    seen = torch.cat([torch.ones(len(fed), start), own], dim=1).bool()
    mask = torch.zeros(seen.shape, dtype=model.dtype).masked_fill_(~seen, torch.finfo(model.dtype).min)
    out = model(
        torch.tensor([fed], device=device),
        past_key_values=cache,
        use_cache=True,
        attention_mask=mask[None, None].to(device),
        position_ids=torch.tensor([positions], device=device),
    )
    logits: torch.Tensor = out.logits[0]
    return logits


def _padded_logits(
    model: PreTrainedModel, cache: Cache, start: int, continuations: Sequence[tuple[int, ...]]
) -> torch.Tensor:
    """The same logits from one row per continuation, for models with windows or recurrent layers.

    Padding stands right of every real token, so causality alone hides it and no mask is passed.
    """
    del start
    longest = max(len(ids) for ids in continuations) - 1
    fed = [list(ids[:-1]) + [0] * (longest - len(ids) + 1) for ids in continuations]
    cache.batch_repeat_interleave(len(fed))
    out = model(torch.tensor(fed, device=model.device), past_key_values=cache, use_cache=True)
    real = torch.tensor([[column < len(ids) - 1 for column in range(longest)] for ids in continuations])
    logits: torch.Tensor = out.logits[real.to(model.device)]
    return logits
