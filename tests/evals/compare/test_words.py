"""No word for a winner unless the interval leaves out 0 and the test agrees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.compare.build import Power, caveat, conclusion, ends, named, supported
from evals.compare.rows import Difference, Mismatch, SignificanceTest
from tasks.family import PERCENT
from tasks.registry import family_of

CLAIMS = ("better", "higher", "lower", "outperform", "wins", "worse")


def row(difference: float, interval: tuple[float, float] | None, *, higher: bool = True) -> Difference:
    return Difference(
        name="accuracy" if higher else "text_to_video_median_rank",
        first=0.5,
        other=0.5 + difference,
        difference=difference,
        interval=interval,
        level=0.95,
        method="-",
        primary=True,
        higher_is_better=higher,
    )


def words(difference: Difference, p: float, adjusted: float | None = None) -> str:
    test = SignificanceTest(method="-", p=p, p_adjusted=p if adjusted is None else adjusted)
    return conclusion("one", "two", difference, test, Power(0.1, 4321), 500, None, PERCENT)


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 1), st.booleans())
def test_nobody_is_called_better_while_0_is_possible_or_the_test_disagrees(
    difference: float, end: float, other_end: float, p: float, higher: bool
) -> None:
    interval = (min(end, other_end), max(end, other_end))
    said = words(row(difference, interval, higher=higher), p)
    if interval[0] <= 0 <= interval[1] or p >= 0.05:
        assert not any(claim in said for claim in CLAIMS)
        assert "do not tell two and one apart" in said
    else:
        assert "better" in said


def test_without_an_interval_nothing_is_claimed() -> None:
    assert not any(claim in words(row(1.0, None), 0.0) for claim in CLAIMS)


@pytest.mark.parametrize(
    ("difference", "higher", "better"),
    [(0.1, True, "two"), (-0.1, True, "one"), (-3.0, False, "two"), (3.0, False, "one")],
)
def test_the_better_one_is_named_by_the_direction_of_the_figure(difference: float, higher: bool, better: str) -> None:
    ends = (difference * 0.5, difference * 1.5)
    said = words(row(difference, (min(ends), max(ends)), higher=higher), 0.001)
    assert said.startswith(f"{better} does better than")
    assert ("higher on the same" if higher else "lower on the same") in said
    # the interval's sign is that of the words, whichever run was named first
    assert f"interval of the difference {'+' if higher else '−'}" in said


def test_a_correction_can_take_a_claim_back() -> None:
    clear = row(0.1, (0.01, 0.19))
    assert supported(clear, SignificanceTest(method="-", p=0.03, p_adjusted=0.03))
    assert not supported(clear, SignificanceTest(method="-", p=0.03, p_adjusted=0.09))
    assert "p = 0.09 after Holm" in words(clear, 0.03, 0.09)


def test_what_could_have_been_found_is_said_where_nothing_was() -> None:
    said = words(row(0.02, (-0.04, 0.08)), 0.5)
    assert "A true difference of 10.0 points would have been found" in said
    assert "about 4,321 items would be needed" in said


def test_a_mismatch_is_said_with_both_values() -> None:
    said = caveat("one", "two", [Mismatch(what="route", first="given", other="options-loglik")])
    assert (
        said
        == " The runs differ in route (given in one, options-loglik in two): the difference is not the models' alone."
    )


def test_amounts_have_their_units() -> None:
    assert family_of("multiple-choice").unit("accuracy").amount(0.1084) == "10.8 points"
    assert family_of("captioning").unit("micro_cider_d").amount(0.1084) == "0.108"
    assert family_of("retrieval").unit("text_to_video_median_rank").amount(3.5) == "3.5"
    assert ends(row(0.1, (-0.05, 0.25)), PERCENT) == "−5.0 to +25.0 points"


def test_only_the_first_items_are_named_on_the_screen() -> None:
    assert named([f"q{i}" for i in range(12)], 3) == "12: q0 q1 q2 … and 9 more"
    assert named(["q0"]) == "1: q0"
    assert named([]) == "0"
