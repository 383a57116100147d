"""`longvid bench ranks`: both ways rank alike, and memory is that of the measured process alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from evals.bench_ranks import WAYS, bench_ranks, blocked_ranks, measure, whole_matrix_ranks
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
    cost, ranks = measure(way, 200, 8, 0, both=both)
    assert list(cost.seconds) == ["text_to_video", "video_to_text"][: 1 + both]
    assert [float(np.median(found)) for found in ranks] == list(cost.median_rank.values())
    assert all(60 < median < 140 for median in cost.median_rank.values())


def test_peak_memory_is_of_the_measured_process_alone() -> None:
    ballast = np.ones(300 << 17)  # 300 MiB of this process
    result = bench_ranks(1000, 0, 16, both=False, seed=0, done=ignore)
    assert ballast.nbytes > result.costs[0].peak_memory_bytes > result.costs[0].vector_bytes
    assert (result.equal_ranks, result.largest_difference) == (None, None)


def test_the_command_gives_json() -> None:
    done = longvid_process("bench", "ranks", "--pairs", 300, "--compare", 200, "--dimensions", 16, "--json")
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert [(cost["way"], cost["pairs"]) for cost in content["costs"]] == [
        ("blocked", 300),
        ("blocked", 200),
        ("whole matrix", 200),
    ]
    assert content["equal_ranks"] > 0.98
