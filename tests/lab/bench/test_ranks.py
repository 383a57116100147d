"""`longvid bench ranks`: both ways rank alike, and memory is that of the measured process alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lab.bench.ranks import WAYS, bench_ranks, blocked_ranks, measure, whole_matrix_ranks
from tests.evals.conftest import longvid_process


def ignore(note: str) -> None:
    """No progress to show."""


def test_both_ways_rank_ties_alike() -> None:
    rng = np.random.default_rng(0)
    # small whole numbers: many ties, and exact in float32
    queries, gallery = rng.integers(-1, 2, (2, 80, 3)).astype(np.float32)
    assert np.array_equal(blocked_ranks(queries, gallery), whole_matrix_ranks(queries, gallery))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("both", [True, False])
def test_each_direction_asked_for_is_measured(way: str, both: bool) -> None:
    measured, ranks = measure(way, 200, 8, 0, both=both)
    by_direction = measured.facts["seconds_by_direction"]
    assert list(by_direction) == ["text_to_video", "video_to_text"][: 1 + both]
    assert measured.seconds == sum(by_direction.values())
    assert len(ranks) == 200 * (1 + both)
    assert 60 < measured.facts["median_rank"] < 140


def test_peak_memory_is_of_the_measured_process_alone() -> None:
    ballast = np.ones(300 << 17)  # 300 MiB of this process
    result = bench_ranks(1000, 0, 16, both=False, seed=0, repeats=1, done=ignore)
    facts = result.comparisons[0].rows[0].facts
    assert ballast.nbytes > facts["peak_memory_bytes"] > facts["vector_bytes"]
    assert result.details == {}


def test_the_command_gives_json() -> None:
    given = ("--pairs", 300, "--compare", 200, "--dimensions", 16, "--repeats", 1, "--json", "-")
    done = longvid_process("bench", "ranks", *given)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert [(c["work"][:8], [row["name"] for row in c["rows"]]) for c in content["comparisons"]] == [
        ("ranks of", ["ours", "whole matrix"]),
        ("ranks of", ["ours"]),
    ]
    assert content["details"]["equal_ranks"] > 0.98
    assert content["machine"]["threads"] is None
