"""What every engine checks before it starts: whether prompt and reply fit the context."""

from __future__ import annotations

from baselines.llm.protocol import Chat
from tasks.errors import ModelError


def describe_chat(index: int, chat: Chat) -> str:
    """A chat by its place and its first and last words, for messages."""
    words = " ".join(chat.user.split())
    return f"chat {index} ('{words[:40]}…{words[-40:]}')" if len(words) > 80 else f"chat {index} ('{words}')"


def check_room(item: str, prompt: int, extra: int, what: str, *, context: int, model: str) -> None:
    """Raise ModelError, naming `item` and the counts, unless `prompt` and `extra` tokens fit the context."""
    if prompt + extra > context:
        raise ModelError(
            f"{item}: {prompt} tokens and {extra} for {what} make {prompt + extra}, "
            f"more than the context of {context} of '{model}'"
        )


def check_max_tokens(max_tokens: int) -> None:
    """Raise ModelError for a reply of no length."""
    if max_tokens < 1:
        raise ModelError(f"max_tokens is {max_tokens}, must be at least 1")


def context_limit(model: str, own: int | None, asked: int | None) -> int:
    """The longest prompt plus reply: the model's own limit, or less where asked. Raises ModelError."""
    if own is None and asked is None:
        raise ModelError(f"model '{model}' states no longest context: give one (-M context=N)")
    if asked is not None and not 1 <= asked <= (own or asked):
        raise ModelError(f"context={asked} is outside 1..{own or '∞'} of model '{model}'")
    return int(asked or own or 0)
