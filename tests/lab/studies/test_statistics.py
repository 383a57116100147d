import numpy as np
import pytest
from scipy import stats

from lab.studies.summary import CROSSED, ONE_SEED, estimate, seeds_needed
from tasks.statistics import wilson_interval


def alone(count):
    return tuple(f"family{i}" for i in range(count))


def drawn(rng, seeds, families, members=4):
    """True mean 0: effects of seeds and of families, and noise."""
    of_seed = rng.normal(0, 0.5, (seeds, 1))
    of_family = np.repeat(rng.normal(0, 1, (1, families)), members, axis=1)
    return of_seed + of_family + rng.normal(0, 1, (seeds, families * members))


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_intervals_hold_the_true_mean_as_often_as_they_say(seeds):
    rng = np.random.default_rng(0)
    families = tuple(f"{i // 4}" for i in range(80))
    held = 0
    for _ in range(400):
        low, high = estimate(drawn(rng, seeds, 20), families, share=False).interval
        held += low <= 0 <= high
    assert 0.93 <= held / 400 <= 1


def test_one_seed_and_no_siblings_give_the_usual_t_interval():
    scores = np.random.default_rng(1).normal(0, 1, (1, 30))
    found = estimate(scores, alone(30), share=False)
    usual = stats.t.interval(0.95, 29, scores.mean(), stats.sem(scores[0]))
    assert found.interval == pytest.approx(usual)
    assert found.method == ONE_SEED


def test_siblings_that_agree_count_once():
    once = np.random.default_rng(2).normal(0, 1, (1, 20))
    copied = np.repeat(once, 4, axis=1)
    families = tuple(f"{i // 4}" for i in range(80))
    assert estimate(copied, families, share=False).interval == pytest.approx(
        estimate(once, alone(20), share=False).interval
    )


def test_seeds_that_disagree_widen_the_interval():
    base = np.random.default_rng(3).random((1, 40))
    same = estimate(np.vstack([base, base, base]), alone(40))
    apart = estimate(np.vstack([base, base - 0.2, base + 0.2]), alone(40))
    assert apart.value == pytest.approx(same.value)
    assert apart.interval[0] < same.interval[0]
    assert apart.interval[1] > same.interval[1]
    assert apart.method == CROSSED
    assert apart.per_seed == pytest.approx((base.mean(), base.mean() - 0.2, base.mean() + 0.2))


def test_all_right_and_all_wrong_still_have_a_width():
    assert estimate(np.zeros((3, 40)), alone(40)).interval == wilson_interval(0, 40)
    assert estimate(np.ones((3, 40)), alone(40)).interval == wilson_interval(40, 40)


def test_a_difference_that_never_varies_has_no_interval():
    assert estimate(np.zeros((3, 40)), alone(40), share=False).interval is None


def test_a_share_stays_between_0_and_1():
    scores = np.zeros((2, 10))
    scores[0, 0] = 1
    low, high = estimate(scores, alone(10)).interval
    assert low == 0
    assert high <= 1


def test_as_many_seeds_as_needed_tell_the_difference_in_four_of_five_studies():
    rng = np.random.default_rng(0)
    families = tuple(f"{i // 4}" for i in range(400))
    of_family = np.zeros((1, 400))

    def study(seeds, difference):
        return difference + rng.normal(0, 0.5, (seeds, 1)) + of_family + rng.normal(0, 0.1, (seeds, 400))

    needed = [seeds_needed(study(8, 0), families, 0.6, 0.95) for _ in range(40)]
    seeds = round(float(np.median([count for count in needed if count])))
    told = sum(estimate(study(seeds, 0.6), families, share=False).interval[0] > 0 for _ in range(300))
    assert 0.7 <= told / 300 <= 0.95


def test_no_number_of_seeds_makes_up_for_few_families():
    scores = drawn(np.random.default_rng(1), 4, 5)
    assert seeds_needed(scores, tuple(f"{i // 4}" for i in range(20)), 0.02, 0.95) is None


def test_one_seed_says_nothing_about_how_many_are_needed():
    assert seeds_needed(np.random.default_rng(2).normal(0, 1, (1, 40)), alone(40), 1.0, 0.95) is None


def test_a_stricter_level_widens_the_interval_and_asks_for_more_seeds():
    scores = 0.3 * drawn(np.random.default_rng(4), 5, 100)
    families = tuple(f"{i // 4}" for i in range(400))
    usual, strict = (estimate(scores, families, share=False, level=level).interval for level in (0.95, 0.99))
    assert strict[0] < usual[0] < usual[1] < strict[1]
    assert seeds_needed(scores, families, 0.5, 0.99) > seeds_needed(scores, families, 0.5, 0.95)
