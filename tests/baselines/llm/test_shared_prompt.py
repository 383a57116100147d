"""What chats about one video share is read once, and changes no score."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from baselines.llm.local import TransformersLanguageModel
from baselines.llm.protocol import Chat
from tests.baselines.llm.conftest import tiny_llm
from tests.baselines.llm.test_scoring import gpt2, llama, mistral_with_window

VIDEO = "C cuts an onion, then a carrot.\n\n"
OPTIONS = (" the onion", " the carrot", " both")
LETTERS = ("A", "B")


def chat(question: str, video: str = VIDEO) -> Chat:
    return Chat(video + question, reply_start="Answer:", shared=len(video))


CHATS = (chat("What first?"), chat("What last?"), chat("What?", "C sleeps.\n\n"), chat("Which?"))


def tokens_read(llm: TransformersLanguageModel) -> list[int]:
    """How many tokens each pass through the model reads from now on."""
    counts: list[int] = []
    embeddings = llm.network.get_input_embeddings()
    embeddings.register_forward_hook(lambda _module, given, _out: counts.append(given[0].numel()))
    return counts


@pytest.mark.parametrize("options", [OPTIONS, LETTERS])
@pytest.mark.parametrize("build", [llama, gpt2, mistral_with_window])
def test_scores_are_those_from_scratch(build, options: tuple[str, ...]) -> None:
    llm = tiny_llm(build())
    offered = [options] * len(CHATS)
    for shared, alone in zip(llm.score(CHATS, offered), llm.score_from_scratch(CHATS, offered), strict=True):
        assert shared.logprobs == pytest.approx(alone.logprobs, abs=2e-4)


def test_scores_depend_on_the_chat_alone() -> None:
    together = tiny_llm(llama()).score(CHATS, [OPTIONS] * len(CHATS))
    for one, found in zip(CHATS, together, strict=True):
        assert tiny_llm(llama()).score([one], [OPTIONS])[0].logprobs == found.logprobs


def test_the_second_question_about_a_video_reads_itself_alone() -> None:
    llm = tiny_llm(llama())
    counts = tokens_read(llm)
    for one in (chat("What first?"), chat("What last?")):
        llm.score([one], [LETTERS])
    video, first, second = counts
    assert video > first
    assert video + first == llm.count_tokens(chat("What first?"))
    assert second == llm.count_tokens(chat("What last?")) - video


def test_options_that_begin_alike_are_read_once() -> None:
    llm = tiny_llm(llama())
    counts = tokens_read(llm)
    llm.score([Chat("?")], [(" in the red pot", " in the red pan")])
    assert counts[-1] < len(" in the red pot") + 4
