"""Greedy and beam search over CoCa's decoder: one caption per image, which is encoded once for any number of beams."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from encoders.coca.decoder import CocaDecoder
from tasks.errors import ModelError

# Each beam can end in two ways (end or padding), so this many candidates hold at least one live text per beam.
_CANDIDATES = 3


@dataclass(frozen=True, slots=True)
class SearchRule:
    """How a caption is searched; lengths count all tokens, start and end included, as open_clip does.

    `beams` 1 is greedy. A text's score is its log-likelihood over (tokens written) ** `length_penalty`; an image's
    search is over when it has `beams` finished texts and no live one has a higher score (transformers' rule). The end
    token is barred before `min_length` tokens, nothing grows past `max_length`; both are open_clip's defaults. Padding
    also ends a text, as there. open_clip's diverse beam groups are left out (our choice).
    """

    start: int
    end: int
    pad: int = 0
    beams: int = 1
    length_penalty: float = 1.0
    min_length: int = 5
    max_length: int = 30

    def __post_init__(self) -> None:
        if self.beams < 1 or not 1 <= self.min_length < self.max_length:
            raise ModelError(
                f"a caption needs beams >= 1 and 1 <= min_length < max_length, not {self.beams} beams and lengths "
                f"{self.min_length} to {self.max_length}"
            )


@dataclass(frozen=True, slots=True)
class TokenCaption:
    """Token ids without start, end and padding; `finished` is False if `max_length` cut the text.

    `logprob` is the text's log-likelihood (nats), including its end if it has one; `score` is defined in `SearchRule`.
    """

    tokens: tuple[int, ...]
    finished: bool
    logprob: float
    score: float


@dataclass(frozen=True, slots=True)
class _Live:
    tokens: tuple[int, ...]
    logprob: float
    row: int


@torch.inference_mode()
def search(decoder: CocaDecoder, image: Tensor, rule: SearchRule) -> list[TokenCaption]:
    """Search a caption for each image from its tokens [images, tokens, width]; none depends on its neighbours."""
    if rule.max_length > decoder.context:
        raise ModelError(f"max_length {rule.max_length} is more than the decoder's context of {decoder.context} tokens")
    count, beams = len(image), rule.beams
    state = decoder.start(image, beams)
    # All beams start equal: only the first may be continued, or they would stay equal.
    live = [[_Live((), 0.0 if i == 0 else -math.inf, n * beams + i) for i in range(beams)] for n in range(count)]
    done: list[list[TokenCaption]] = [[] for _ in range(count)]
    open_images = set(range(count))
    last = torch.full((count * beams,), rule.start, device=image.device)
    for length in range(1, rule.max_length - 1):
        logits, state = decoder.step(state, last)
        logprobs = logits.float().log_softmax(-1).view(count, beams, -1)
        if length < rule.min_length:
            logprobs[..., rule.end] = -torch.inf
        scores = torch.tensor([[text.logprob for text in texts] for texts in live], device=image.device)
        best, index = (scores[..., None] + logprobs).flatten(1).topk(min(_CANDIDATES * beams, logprobs[0].numel()))
        ranked = [list(zip(row, at, strict=True)) for row, at in zip(best.tolist(), index.tolist(), strict=True)]
        for number in sorted(open_images):
            live[number], ended = _advance(live[number], ranked[number], decoder.vocabulary, rule)
            done[number] += ended
            if _settled(live[number], done[number], rule):
                open_images.discard(number)
        if not open_images:
            break
        rows = [text.row for texts in live for text in texts]
        state = state.rows(torch.tensor(rows, device=image.device))
        live = [[_Live(t.tokens, t.logprob, n * beams + i) for i, t in enumerate(ts)] for n, ts in enumerate(live)]
        last = torch.tensor([t.tokens[-1] if t.tokens else rule.start for ts in live for t in ts], device=image.device)
    for number in open_images:
        done[number] += [_caption(t.tokens, t.logprob, rule, finished=False) for t in live[number]]
    return [max(texts, key=lambda text: text.score) for texts in done]


def _advance(
    live: Sequence[_Live], ranked: Sequence[tuple[float, int]], vocabulary: int, rule: SearchRule
) -> tuple[list[_Live], list[TokenCaption]]:
    """Return the next live texts of an image, and those that end, which only the best `beams` candidates may."""
    going: list[_Live] = []
    ended: list[TokenCaption] = []
    for rank, (logprob, at) in enumerate(ranked):
        parent, token = live[at // vocabulary], at % vocabulary
        if token not in {rule.end, rule.pad}:
            going.append(_Live((*parent.tokens, token), logprob, parent.row))
        elif rank < rule.beams and logprob > -math.inf:
            ended.append(_caption(parent.tokens, logprob, rule, finished=True))
        if len(going) == rule.beams:
            break
    return going, ended


def _settled(live: Sequence[_Live], done: Sequence[TokenCaption], rule: SearchRule) -> bool:
    """Whether no live text would be among the best `beams` if it ended now."""
    if len(done) < rule.beams:
        return False
    worst = sorted((text.score for text in done), reverse=True)[rule.beams - 1]
    return all(worst >= text.logprob / len(text.tokens) ** rule.length_penalty for text in live)


def _caption(tokens: tuple[int, ...], logprob: float, rule: SearchRule, *, finished: bool) -> TokenCaption:
    written = len(tokens) + finished
    return TokenCaption(tokens, finished, logprob, logprob / max(written, 1) ** rule.length_penalty)
