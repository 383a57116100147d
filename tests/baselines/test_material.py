"""Making captions fit: thinned evenly, or summarised part by part; never cut, never a fault passed on as a fact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from baselines.llm.protocol import Chat, Reply
from baselines.material import NOTE_CHARACTERS, Fitting, MapReduce, Thin, readable
from baselines.segments import Segment
from tasks.errors import ModelError
from tasks.prompt import load_prompt
from tests.baselines.conftest import CountingModel

PART = load_prompt("baselines", "aggregator-part.v1")


class Summariser(CountingModel):
    """Sums up a part as its first and last words, so that what it was given can be read off."""

    def __init__(self, context: int, words: int = 6) -> None:
        super().__init__(context)
        self.words = words

    def generate(self, chats: Sequence[Chat], max_tokens: int) -> list[Reply]:
        replies = super().generate(chats, max_tokens)
        texts = [chat.user.splitlines() for chat in chats]
        lines = [[line for line in text if line.startswith("[")] for text in texts]
        return [
            Reply(f"from {block[0].split()[0]} to {block[-1].split()[0]}", True, reply.usage)
            for block, reply in zip(lines, replies, strict=True)
        ]


def fitting(count: int, words: int = 10, room: int = 20) -> Fitting:
    segments = [Segment(i * 16.0, i * 16.0 + 16, (f"s{i} " + "word " * words,)) for i in range(count)]
    return Fitting("v", segments, lambda text: Chat(f"Read: {text} Why?"), room)


def test_one_caption_too_long_is_named_and_not_the_question() -> None:
    long = fitting(1, words=1_000)
    with pytest.raises(ModelError, match=r"'v': the caption of 5,003 characters at 0:00-0:16, even alone, overflows"):
        Thin(Summariser(context=200))([long])
    with pytest.raises(ModelError, match="'v': the question alone, without captions, overflows"):
        Thin(Summariser(context=20))([long])


def test_captions_that_fit_are_left_alone_by_either_rule() -> None:
    llm = Summariser(context=10_000)
    (thinned,) = Thin(llm)([fitting(12)])
    (reduced,) = MapReduce(llm, PART, 30)([fitting(12)])
    assert thinned.text == reduced.text
    assert (thinned.notes["kept_every"], reduced.notes["part_summaries"]) == (1, 0)
    assert llm.chats == []


@pytest.mark.parametrize("count", [20, 60, 200])
def test_map_reduce_covers_the_whole_video_in_order_and_fits(count: int) -> None:
    llm = Summariser(context=160)
    job = fitting(count)
    (material,) = MapReduce(llm, PART, 20)([job])
    assert job.fits(llm, material.text)
    lines = material.text.splitlines()
    assert lines[0].startswith("[0:00-")
    minutes, seconds = divmod(count * 16, 60)
    assert f"-{minutes}:{seconds:02d}]" in lines[-1]
    made = material.notes["part_summaries"]
    assert isinstance(made, int)
    assert made >= len(lines)
    assert material.usage.prompt == sum(llm.count_tokens(chat) for chat in llm.chats)


def test_every_part_fits_the_context_with_room_for_its_summary() -> None:
    llm = Summariser(context=160)
    MapReduce(llm, PART, 20)([fitting(60), fitting(30)])
    assert all(llm.count_tokens(chat) + 40 <= 160 for chat in llm.chats)


def test_parts_of_several_videos_go_to_the_model_together_and_do_not_mix() -> None:
    together = MapReduce(Summariser(context=160), PART, 20)([fitting(60), fitting(25)])
    alone = [MapReduce(Summariser(context=160), PART, 20)([fitting(n)])[0] for n in (60, 25)]
    assert [m.text for m in together] == [m.text for m in alone]


def test_a_segment_that_is_too_long_by_itself_is_an_error_that_names_the_video() -> None:
    with pytest.raises(ModelError, match=r"'v': the caption of .*, even alone, overflow.*overflow=thin"):
        MapReduce(Summariser(context=160), PART, 20)([fitting(3, words=300)])


def test_summaries_that_never_get_shorter_are_an_error_not_an_endless_loop() -> None:
    with pytest.raises(ModelError, match="summaries of its parts overflow"):
        MapReduce(Summariser(context=160), PART, 20)([fitting(4, words=60, room=140)])


def test_an_empty_summary_of_a_part_is_an_error() -> None:
    llm = CountingModel(context=160, reply="  ")
    with pytest.raises(ModelError, match=r"'v': the summary of a part is empty"):
        MapReduce(llm, PART, 20)([fitting(30)])


def test_summaries_that_the_token_limit_cut_are_counted() -> None:
    class Cut(Summariser):
        def generate(self, chats: Sequence[Chat], max_tokens: int) -> list[Reply]:
            return [replace(reply, finished=False) for reply in super().generate(chats, max_tokens)]

    (whole,), (cut,) = (MapReduce(kind(context=160), PART, 20)([fitting(30)]) for kind in (Summariser, Cut))
    assert whole.notes["part_summaries_cut"] == 0
    assert cut.notes["part_summaries_cut"] == cut.notes["part_summaries"] == whole.notes["part_summaries"]


def test_a_long_text_is_kept_readable_from_both_ends_and_says_what_is_missing() -> None:
    text = "a" * NOTE_CHARACTERS + "b" * NOTE_CHARACTERS
    kept = readable(text)
    assert len(kept) < NOTE_CHARACTERS + 50
    assert kept.startswith("aaa")
    assert kept.endswith("bbb")
    assert f"{NOTE_CHARACTERS} characters" in kept
    assert readable("short") == "short"
