"""Power: the formulas against simulation, and the numbers that a reader quotes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evals.power import (
    ONE_SAMPLE,
    TWO_SAMPLES,
    design_effect,
    disagreement,
    independent_error,
    paired_error,
    questions_to_tell,
    smallest_difference,
)


def test_the_number_of_questions_finds_the_difference_in_four_of_five_cases() -> None:
    first, other, share = 0.57, 0.60, 0.2
    frame = questions_to_tell(first, other, [share])
    n = int(frame.loc[frame["compared on"] == ONE_SAMPLE, "questions"].iloc[0])
    only_other, only_first = (share + other - first) / 2, (share - other + first) / 2
    rng = np.random.default_rng(0)
    counts = rng.multinomial(n, [only_other, only_first, 1 - share], size=4_000)
    wins, losses = counts[:, 0], counts[:, 1]
    z = np.abs(wins - losses) / np.sqrt(wins + losses - (wins - losses) ** 2 / n)
    assert np.mean(z > 1.96) == pytest.approx(0.8, abs=0.025)


def test_the_same_questions_need_fewer_the_more_alike_systems_are() -> None:
    frame = questions_to_tell(0.57, 0.60, [0.1, 0.3])
    alike, less, apart = (
        int(frame.loc[rows, "questions"].iloc[0])
        for rows in (frame["disagreement"] == 0.1, frame["disagreement"] == 0.3, frame["compared on"] == TWO_SAMPLES)
    )
    assert alike < less < apart


def test_a_design_effect_multiplies_the_questions() -> None:
    frame = questions_to_tell(0.5, 0.6, [0.3], designs=(1.0, 2.0)).set_index(["compared on", "design"])["questions"]
    for way in (ONE_SAMPLE, TWO_SAMPLES):
        assert frame[way, 2.0] == pytest.approx(2 * frame[way, 1.0], abs=1)


def test_items_that_repeat_within_a_video_count_once() -> None:
    values = np.random.default_rng(0).integers(0, 2, 200)
    videos = [f"v{n}" for n in range(200)]
    assert design_effect(values.tolist(), videos) == pytest.approx(1.0)
    assert design_effect(np.repeat(values, 3).tolist(), list(np.repeat(videos, 3))) == pytest.approx(3.0)
    assert design_effect([1.0, 1.0], ["a", "b"]) == 1.0


def test_errors_agree_with_the_textbook() -> None:
    assert independent_error(0.5, 0.5, 200) == pytest.approx(0.05)
    assert paired_error(0.5, 0.5, 0.25, 100) == pytest.approx(0.05)


def test_a_disagreement_smaller_than_the_difference_is_refused() -> None:
    with pytest.raises(ValueError, match="disagree on at least 30%"):
        paired_error(0.3, 0.6, 0.2, 100)


def test_more_questions_tell_smaller_differences() -> None:
    frame = smallest_difference(0.57, 0.3, [100, 400])
    assert frame[ONE_SAMPLE].iloc[0] == pytest.approx(2 * frame[ONE_SAMPLE].iloc[1])
    assert (frame[ONE_SAMPLE] < frame[TWO_SAMPLES]).all()


def test_disagreement_is_over_common_items() -> None:
    first = pd.Series({"a": 1.0, "b": 0.0, "c": 1.0})
    other = pd.Series({"b": 1.0, "c": 1.0, "d": 0.0})
    assert disagreement(first, other) == 0.5
