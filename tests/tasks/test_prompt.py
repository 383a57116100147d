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
    "aggregator.v1": "001bdfd99fe3b5a87fd62d8e8c6abc75c265ab444a43d7293d864dcb53a74c05",
    "blind.v1": "7e6fa792824d36447a78c81cccb3937e2000c01c1134f3b987b08ad9d03458f9",
    "egoschema-generate.v1": "30efc2f967f4236569c32577958e6a67994582e99078257dbe382ed8793dcca2",
    "egoschema-letter.v1": "89302b133840926030a3c763f5ed0e12fb0a65a90da0978b0582144663cd71a5",
    "egoschema-loglik.v1": "502ff02f1d3a995c724c42bb744965894db13c3cca8186b52470b9c931c3486a",
    "egoschema-similarity.v1": "47a434a8fa76fd1352ad01d9f91b34aacbbdcc5b8ba6f61cfb823ead86c09b66",
    "kitchen-caption.v1": "be7f7011df80f615bf5aba13974febf9807b6817f4372629732e7d64dc5896b7",
    "kitchen-generate.v1": "9bc52dc4427296572f46c3064f460abf2ed71322d0a6b98fa7ec95cf102c13b5",
    "kitchen-letter.v1": "6ea4d5c54834d2acb83f610a564c1e3e437706452d1c21ec373674316a2c2adc",
    "kitchen-loglik.v1": "be016afdd4efb127b6ce381ff7c1ab49a40db6a30090d2c4a3cdc0c8ae4d3d77",
    "kitchen-similarity.v1": "83115abdb43e402610abb814124875e8757e1a2f2396c1f0af4e73f66397210b",
    "kitchen-summary.v1": "cc4dde17d72e0a2e136b7189e24c9a454fa51218c82b3855523e14c6bb100d95",
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


def test_dollar_signs_in_values_stay() -> None:
    assert "$5 and $question" in load_prompt("tasks", "egoschema-loglik.v1").fill("user", question="$5 and $question")


def test_an_unknown_prompt_names_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"blind\.v1"):
        load_prompt("baselines", "blind.v9")


def test_text_cannot_move_between_parts_unseen() -> None:
    assert text_sha256("ab", "c") != text_sha256("a", "bc")
