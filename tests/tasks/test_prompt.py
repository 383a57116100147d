"""Prompt files: any change of a used text fails here until its version changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.digests import text_sha256
from tasks.errors import ModelError
from tasks.multiple_choice import lettered
from tasks.prompt import load_prompt

ROOT = Path(__file__).resolve().parents[2]

DIGESTS = {
    "vision.v1": "c2ebde2a698b0c99ce084fe5cf8847708bb5ad739d288943552492bfcc6cb37e",
    "vision-subtitles.v1": "54cdd6476d65aa7dea361f7dc0dbae759415c4b15d8f0cb287a64622d457ac3d",
    "vision-video.v1": "2b1704bb717e62cb08f26806ef57adf3c87bc3d07ccad7bb499f516b9f280cc6",
    "segment.v1": "ce6b41422a322039314ef0d59560168ecfc38b208b1bc3996086809f9219c7dc",
    "aggregator-answer.v1": "c3b81cfc3d0648dee53987a2f34399e183d363d2050a02258e5dc6c2a9d73642",
    "aggregator-part.v1": "6b860460fc1d549207ef9a05a4c270b3ed286fe955d5c24688f1ef8ae8e5677b",
    "aggregator-summary.v1": "c124c421ad4cc082754a676e2055b3c7d4e8334cbc56ff84af1d92eb7f4a88b2",
    "aggregator-text.v1": "1fa79351d12a5ca4e39c8073aa4f79f6996c4ae37785457d34bc29ec7c601ba5",
    "blind-text.v1": "5d6240513c67e1a37c4b5d982e6729d812a2db37b7f4c1ba5705eb57c2e692ee",
    "examples.v1": "10b6757281e5c590376ea0b14a3b325063f9a39f696c1c41b3a1706132758ce3",
    "aggregator.v1": "001bdfd99fe3b5a87fd62d8e8c6abc75c265ab444a43d7293d864dcb53a74c05",
    "blind.v1": "7e6fa792824d36447a78c81cccb3937e2000c01c1134f3b987b08ad9d03458f9",
    "egoschema-generate.v1": "30efc2f967f4236569c32577958e6a67994582e99078257dbe382ed8793dcca2",
    "egoschema-letter.v1": "89302b133840926030a3c763f5ed0e12fb0a65a90da0978b0582144663cd71a5",
    "egoschema-loglik.v1": "502ff02f1d3a995c724c42bb744965894db13c3cca8186b52470b9c931c3486a",
    "egoschema-similarity.v1": "47a434a8fa76fd1352ad01d9f91b34aacbbdcc5b8ba6f61cfb823ead86c09b66",
    "judge-answer.v1": "3ee650f71aea918ae9622a127b71eccccd40de876e0b0530d226dd5bcef9ec12",
    "kitchen-caption.v1": "be7f7011df80f615bf5aba13974febf9807b6817f4372629732e7d64dc5896b7",
    "kitchen-generate.v1": "9bc52dc4427296572f46c3064f460abf2ed71322d0a6b98fa7ec95cf102c13b5",
    "kitchen-letter.v1": "6ea4d5c54834d2acb83f610a564c1e3e437706452d1c21ec373674316a2c2adc",
    "kitchen-loglik.v1": "be016afdd4efb127b6ce381ff7c1ab49a40db6a30090d2c4a3cdc0c8ae4d3d77",
    "kitchen-similarity.v1": "83115abdb43e402610abb814124875e8757e1a2f2396c1f0af4e73f66397210b",
    "kitchen-summary.v1": "cc4dde17d72e0a2e136b7189e24c9a454fa51218c82b3855523e14c6bb100d95",
    "longvideobench-letter.v1": "a2dbeb2b95e09157e7b48ff96e6af535e8a3c31035d23ca333ff92df5994e151",
    "longvideobench-generate.v1": "da496d2cc815f00337194878b0fa24374962dbeaba4c52ee38cb0a495512d52c",
    "mlvu-description.v1": "1ca260ffe26c1fdd9eb52f09703ba5d353e151f5ed7899981127fb8f1b5d8050",
    "mlvu-generate.v1": "a1211121d539b30d71c5be29b89fa2145f4fc34af4e74e74717945acbde1a3ef",
    "mlvu-letter.v1": "2f3b4d9440a7dd0b77fb303c11175b46654552b637bbb02ea231db072a9c024a",
    "own-answer.v1": "19674c6f18d8e5f24bb96d0d23c0e08522ca18f44ff5d458c111f8733d45d217",
    "own-caption.v1": "ebd49c909492abdb6a18dbf8ef8d1b639b526b41743d4c2e08f8193be7da0b42",
    "own-generate.v1": "20ab6135b75dafa7f254a46c1fda82bd07d53430992fcfb89247b59ceb57880d",
    "own-letter.v1": "736581f5ace3bee6a0c2fe11ae3d5af7ff869da341f924fe35818474681291a4",
    "own-loglik.v1": "fc488864d4ae504eee86f899a7f7b93c1b1fe218f591db40ab47653ad506fc2a",
    "own-short-answer.v1": "082973999078d936f9ea9b8761f194b7bb0711e386ef6d4034c50b2a8ce05538",
    "own-similarity.v1": "de20f316fce51c2af0e17f446d7f2f044d77c087aaaced858799095b990ef3eb",
    "retrieval-text.v1": "057b6263f8c6314b2ebf1a53863a2169d3c3061b7acc19864bd715704c74cae7",
    "videomme-generate.v2": "c0d981be4f420eda62cb7ba2c1ecaba9f4d97699c72b27058fbe4d0d64983b70",
    "videomme-letter.v2": "ff465a31a063b66ce74a58304872da5f39bf570104c5289ffdcd24de39e80c34",
    "youcook2-caption.v1": "6435ae67e8155b3a417dedad0c533b3ac13c21a95f025fe6d8d4080d76da54c0",
    "youcook2-summary.v1": "390d9c922a3f3145882586a97481f3f1fcc92e22bdb16dbfcd98c3dab8869bba",
    "transcript.v1": "8fe2951a3474e81e83ce0259a17c98d556e285341ebb79686442096304ccafb2",
}


def prompt_files() -> list[Path]:
    return sorted([*(ROOT / "tasks" / "prompts").iterdir(), *(ROOT / "baselines" / "prompts").iterdir()])


@pytest.mark.parametrize("path", prompt_files(), ids=lambda path: path.stem)
def test_a_prompt_file_has_the_text_its_version_was_given(path: Path) -> None:
    prompt = load_prompt(path.parent.parent.name, path.stem)
    assert prompt.sha256 == DIGESTS[path.stem], "text changed: restore it, or add a file with the next version"


def test_every_pinned_prompt_exists() -> None:
    assert {path.stem for path in prompt_files()} == set(DIGESTS)


def test_video_mme_is_asked_in_its_authors_words() -> None:
    rendered = load_prompt("tasks", "videomme-generate.v2").fill(
        "user", question="What is the color of the clothing?", options=lettered(["Black.", "Gray.", "Green.", "Brown."])
    )
    assert rendered == (
        "Select the best answer to the following multiple-choice question based on the video. "
        "Respond with only the letter (A, B, C, or D) of the correct option.\n"
        "What is the color of the clothing?\nA. Black.\nB. Gray.\nC. Green.\nD. Brown.\nThe best answer is:"
    )


def test_longvideobench_is_asked_in_its_authors_words() -> None:
    rendered = load_prompt("tasks", "longvideobench-generate.v1").fill(
        "user", question="Where is he?", options=lettered(["here", "there"])
    )
    assert rendered == (
        "Question: Where is he?\nA. here\nB. there\nAnswer with the option's letter from the given choices directly."
    )


def test_the_letter_prompt_reads_as_recorded() -> None:
    prompt = load_prompt("tasks", "egoschema-letter.v1")
    rendered = prompt.fill("user", question="What does c do?", options=lettered(["cooks", "sews"]))
    assert rendered == (
        "The video was filmed by a person called C, who wears the camera.\n\n"
        "Question: What does c do?\n\n"
        "A. cooks\nB. sews\n\n"
        "Answer with the letter of the one right option."
    )
    assert prompt.fill("reply") == "Answer:"


def test_the_aggregator_prompt_puts_captions_first_and_the_question_last() -> None:
    filled = load_prompt("baselines", "aggregator.v1").fill("user", captions="[0:00-0:16] C cooks", prompt="Why?")
    assert filled == "Captions of the video's segments, in order of time:\n[0:00-0:16] C cooks\n\nWhy?"


def test_the_summary_prompts_read_as_recorded() -> None:
    summary = load_prompt("baselines", "aggregator-summary.v1")
    assert summary.fill("user", captions="[0:00-0:16] C cooks", question="Why?", words="200") == (
        "Captions of the video's segments, in order of time:\n[0:00-0:16] C cooks\n\n"
        "A question about the video: Why?\n\n"
        "Write a summary of the video in at most 200 words. Keep whatever helps to answer the question, say what "
        "happens in which order, and add nothing that the captions do not say. Do not answer the question yet."
    )
    answer = load_prompt("baselines", "aggregator-answer.v1")
    assert answer.fill("user", captions="C cooks.", prompt="Why?") == "Summary of the video:\nC cooks.\n\nWhy?"
    part = load_prompt("baselines", "aggregator-part.v1")
    assert part.fill("user", captions="[0:00-0:16] C cooks", words="60") == (
        "Captions of segments of one part of the video, in order of time:\n[0:00-0:16] C cooks\n\n"
        "Write a summary of this part in at most 60 words: who does what, with which things, in which order. "
        "Add nothing that the captions do not say."
    )


def test_dollar_signs_in_values_stay() -> None:
    assert "$5 and $question" in load_prompt("tasks", "egoschema-loglik.v1").fill("user", question="$5 and $question")


def test_an_unknown_prompt_names_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"blind\.v1"):
        load_prompt("baselines", "blind.v9")


def test_text_cannot_move_between_parts_unseen() -> None:
    assert text_sha256("ab", "c") != text_sha256("a", "bc")
