"""Ranks against brute force, ties, refusals, and what random vectors are worth."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import ranks
from tasks.errors import DataError


def _brute(similarities, truth):
    out = []
    for row, right in zip(similarities, truth, strict=True):
        best = max(row[i] for i in right)
        out.append(1 + sum(row[j] >= best for j in range(len(row)) if j not in right))
    return out


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 25), st.integers(1, 25), st.integers(1, 60))
def test_blocked_and_brute_force_ranks_agree_also_on_ties(seed, queries, gallery, block):
    rng = np.random.default_rng(seed)
    # small whole numbers: many ties, and exact in float32
    q, g = rng.integers(-1, 2, (queries, 3)), rng.integers(-1, 2, (gallery, 3))
    truth = [rng.choice(gallery, rng.integers(1, gallery + 1), replace=False).tolist() for _ in range(queries)]
    expected = _brute(q @ g.T, truth)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks, "_BLOCK_ELEMENTS", block)
        assert ranks.ranks_from_vectors(q.astype(float), g.astype(float), truth).tolist() == expected
        assert ranks.ranks_from_similarities((q @ g.T).astype(float), truth).tolist() == expected


def test_random_vectors_rank_in_the_middle_of_3350():
    rng = np.random.default_rng(0)
    found = ranks.ranks_from_vectors(rng.normal(size=(3350, 64)), rng.normal(size=(3350, 64)), ranks.one_to_one(3350))
    figures = ranks.rank_figures(found, 3350)
    assert figures["median_rank"][0] == pytest.approx(1675, abs=100)
    assert figures["recall_at_1"][0] < 0.0015
    assert figures["median_rank_percentile"][0] == pytest.approx(0.5, abs=0.03)


def test_a_model_that_gives_one_vector_to_everything_ranks_last():
    same = np.full((50, 8), 0.3)
    assert set(ranks.ranks_from_vectors(same, same, ranks.one_to_one(50))) == {50}


def test_equal_captions_are_wrong_strictly_and_right_in_the_duplicate_aware_figure():
    vectors = np.eye(3)[[0, 1, 1, 2]]
    truth = ranks.one_to_one(4)
    assert ranks.ranks_from_vectors(vectors, vectors, truth).tolist() == [1, 2, 2, 1]
    aware = ranks.duplicate_aware(truth, ["a", "b", "b", "c"])
    assert ranks.ranks_from_vectors(vectors, vectors, aware).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_matrix_with_a_hole_is_refused_by_row(value):
    matrix = np.eye(5)
    matrix[3, 1] = value
    with pytest.raises(DataError, match="rows 3"):
        ranks.ranks_from_similarities(matrix, ranks.one_to_one(5))
    with pytest.raises(DataError, match=r"gallery vectors .* rows 3"):
        ranks.ranks_from_vectors(np.eye(5), matrix, ranks.one_to_one(5))


@pytest.mark.parametrize("truth", [[[0], []], [[0], [2]], [[0]], [[0], [-1]]])
def test_a_query_without_an_answer_in_the_gallery_is_refused(truth):
    with pytest.raises(DataError):
        ranks.ranks_from_similarities(np.eye(2), truth)


def test_the_other_direction_has_the_transposed_truth():
    assert ranks.swapped([[0, 2], [2]], 3) == [[0], [], [0, 1]]


def test_weighted_figures_are_those_of_the_repeated_queries():
    rng = np.random.default_rng(4)
    found = rng.integers(1, 30, 21)
    weights = rng.multinomial(21, np.full(21, 1 / 21), size=15)
    weighted = ranks.rank_figures(found, 30, weights)
    for i, row in enumerate(weights):
        repeated = np.repeat(found, row)
        assert weighted["median_rank"][i] == np.median(repeated)
        assert weighted["mean_rank"][i] == pytest.approx(repeated.mean())
        assert weighted["recall_at_5"][i] == pytest.approx((repeated <= 5).mean())


def test_dual_softmax_moves_a_hub_out_of_the_way():
    similarities = np.array([[0.9, 0.8], [0.95, 0.2]])
    truth = [[1], [0]]
    assert ranks.ranks_from_similarities(similarities, truth).tolist() == [2, 1]
    assert ranks.ranks_from_similarities(ranks.dual_softmax(similarities, 0.1), truth).tolist() == [1, 1]


def test_dual_softmax_weighs_a_similarity_by_its_share_of_the_queries():
    similarities = np.array([[0.2, 0.5, 0.1], [0.4, 0.3, 0.3]])
    shares = np.exp(similarities / 0.5)
    expected = similarities * shares / shares.sum(axis=0)
    np.testing.assert_allclose(ranks.dual_softmax(similarities, 0.5), expected)


# the process's own high-water mark: a child's ru_maxrss begins at its parent's
SCRIPT = """
import numpy as np
from tasks.ranks import one_to_one, ranks_from_vectors
rng = np.random.default_rng(0)
q = rng.standard_normal((4096, 512), dtype=np.float32)
g = rng.standard_normal((100_000, 512), dtype=np.float32)
ranks_from_vectors(q, g, one_to_one(4096))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads a process's peak memory from /proc")
def test_a_hundred_thousand_candidates_fit_in_two_gigabytes():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    peak = int(done.stdout) * 1024
    # all 100,000 queries would add their own vectors to this peak, and nothing else
    assert peak + (100_000 - 4096) * 512 * 4 < 2e9


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e-37, 1e-23, 1e20, 1e37])
def test_ranks_do_not_depend_on_the_vectors_magnitude(scale):
    rng = np.random.default_rng(1)
    queries = rng.normal(size=(30, 4)).astype(np.float32)
    gallery = queries + rng.normal(size=(30, 4)).astype(np.float32)
    truth = ranks.one_to_one(30)
    scaled = ranks.ranks_from_vectors(queries * np.float32(scale), gallery * np.float32(scale), truth)
    assert scaled.tolist() == ranks.ranks_from_vectors(queries, gallery, truth).tolist()


def test_a_right_answer_whose_product_overflows_to_nan_is_not_first():
    gallery = np.array([[1e20, -2e20], [1e20, 1e20]], dtype=np.float32)
    assert ranks.ranks_from_vectors(np.full((1, 2), 1e20, dtype=np.float32), gallery, [[0]]).tolist() == [2]
