"""Log-likelihoods of continuations under a causal language model, from a shared cache or afresh."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from baselines.llm.chat_format import ScoringTokens

_NO_TARGET = -100


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
    longest = max(len(ids) for ids in tokens.continuations) - 1
    if longest == 0:
        return [float(total) for total in totals]
    # Padding stands right of every real token, so causality alone hides it and no mask is passed.
    fed = [list(ids[:-1]) + [0] * (longest - len(ids) + 1) for ids in tokens.continuations]
    wanted = [list(ids[1:]) + [_NO_TARGET] * (longest - len(ids) + 1) for ids in tokens.continuations]
    cache = out.past_key_values
    cache.batch_repeat_interleave(len(fed))
    logits = model(torch.tensor(fed, device=device), past_key_values=cache, use_cache=True).logits
    targets = torch.tensor(wanted, device=device)
    rows, columns = torch.nonzero(targets != _NO_TARGET, as_tuple=True)
    picked = logits[rows, columns].float().log_softmax(-1)
    picked = picked.gather(1, targets[rows, columns, None]).squeeze(1)
    totals = totals.index_add(0, rows, picked)
    return [float(total) for total in totals]


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
