"""Prompts that share their beginning, processed once: the likelihoods are those of each by itself."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from encoders.causal_lm.scoring import (
    ROOT,
    ScoringTokens,
    ancestors,
    continuation_tree,
    logprobs_from_scratch,
    prefix_tree,
    tree_logprobs,
)
from tests.encoders.causal_lm.tiny import LMS, llama

VIDEO = (10, 11, 12, 13, 14)
PROMPTS = (
    ScoringTokens((*VIDEO, 20, 21), ((30, 31, 32), (30, 31, 33), (34,))),
    ScoringTokens((*VIDEO, 20, 22, 23), ((30, 31, 32), (35, 36))),
    ScoringTokens((40, 41), ((42, 43),)),
)


@pytest.mark.parametrize("name", LMS)
def test_likelihoods_are_those_of_each_sequence_by_itself(name: str) -> None:
    model = LMS[name]()
    with torch.no_grad():
        found = [float(path.sum()) for path in tree_logprobs(model, prefix_tree(PROMPTS))]
    alone = [total for prompt in PROMPTS for total in logprobs_from_scratch(model, prompt)]
    assert found == pytest.approx(alone, abs=1e-4)


def test_gradients_are_those_of_each_sequence_by_itself() -> None:
    model = llama()
    torch.stack([path.sum() for path in tree_logprobs(model, prefix_tree(PROMPTS))]).sum().backward()
    together = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    for prompt in PROMPTS:
        for path in prompt.continuations:
            alone = prefix_tree([ScoringTokens(prompt.prompt, (path,))])
            torch.cat(tree_logprobs(model, alone)).sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(together[name], parameter.grad, atol=1e-4, rtol=1e-4)


def test_every_distinct_beginning_is_there_once() -> None:
    tree = prefix_tree(PROMPTS)
    sequences = [prompt.prompt + path for prompt in PROMPTS for path in prompt.continuations]
    assert len(tree.tokens) == len({sequence[:n] for sequence in sequences for n in range(1, len(sequence) + 1)})
    assert all(parent < node for node, parent in enumerate(tree.parents))


def test_a_token_sees_its_own_ancestors_alone() -> None:
    tree = continuation_tree([(1, 2, 3), (1, 4), (5,)])
    assert tree.parents == (ROOT, 0, 1, 0, ROOT)
    assert [row.nonzero().flatten().tolist() for row in ancestors(tree.parents)] == [
        [0],
        [0, 1],
        [0, 1, 2],
        [0, 3],
        [4],
    ]
