"""A language model made of plain arithmetic, so that what it is asked can be seen and its answers are known."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from baselines.llm.protocol import Chat, ContinuationScores, Reply
from tasks.model import BatchHint, ModelInfo
from tasks.task import TokenUsage


class CountingModel:
    """Counts words as tokens, prefers the continuation whose words the prompt holds most often, echoes a reply."""

    def __init__(self, context: int = 10_000, reply: str = "Answer: B") -> None:
        self.context = context
        self.reply = reply
        self.chats: list[Chat] = []
        self.batch_hint = BatchHint()
        self.info = ModelInfo(name="counting", parameters=0, weights_sha256="0" * 64)

    def count_tokens(self, chat: Chat) -> int:
        return len(f"{chat.system} {chat.user} {chat.reply_start}".split())

    def generate(self, chats: Sequence[Chat], max_tokens: int) -> list[Reply]:
        self.chats += chats
        return [Reply(self.reply, True, TokenUsage(self.count_tokens(chat), 0, max_tokens)) for chat in chats]

    def score(self, chats: Sequence[Chat], continuations: Sequence[Sequence[str]]) -> list[ContinuationScores]:
        self.chats += chats
        return [
            ContinuationScores(
                tuple(float(chat.user.count(text.strip())) for text in texts),
                tuple(1 for _ in texts),
                TokenUsage(self.count_tokens(chat), 0, len(texts)),
            )
            for chat, texts in zip(chats, continuations, strict=True)
        ]


@pytest.fixture
def counting_model() -> CountingModel:
    return CountingModel()
