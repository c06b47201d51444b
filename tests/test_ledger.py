"""The ledger says what became of a claim, in words that a reader can count on."""

import pytest

from studies.reporting.claims import Claim, claims_frame, claims_markdown, tally, word


@pytest.mark.parametrize(
    "verdict",
    [
        *("holds", "holds (synthetic)", "does not hold: 0.1 [0.0, 0.2]", "inconclusive, p = 0.3"),
        "not tested here: needs the photographs",
    ],
)
def test_verdicts_that_a_claim_can_get(verdict):
    assert Claim("T1", "a > b", "both trained", "0.1", verdict).verdict == verdict


@pytest.mark.parametrize(
    "verdict", ["", "Holds", "holdsome", "it holds", "not tested here", "not tested here: ", "true"]
)
def test_verdicts_that_are_refused(verdict):
    with pytest.raises(ValueError, match="T1"):
        Claim("T1", "a > b", "both trained", "0.1", verdict)


def test_ledger():
    claims = [Claim("T1", "a > b | c", "x", "0.1 [0.0, 0.2]", "holds")]
    assert claims_markdown(claims).splitlines() == [
        "| id | claim | experiment | figure with interval | verdict |",
        "| --- | --- | --- | ---: | --- |",
        r"| T1 | a > b \| c | x | 0.1 [0.0, 0.2] | holds |",
    ]
    assert claims_frame(claims).loc[0, "verdict"] == "holds"
    assert claims_frame([]).shape == (0, 5)


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        *(([1], "holds"), ([0], "inconclusive"), ([-1], "does not hold")),
        *(([1, 1], "holds"), ([1, 0], "inconclusive"), ([1, -1], "does not hold")),
        *(([0, -1, 1], "does not hold"), ([0, 0], "inconclusive")),
    ],
)
def test_a_claim_of_several_steps_needs_all_and_falls_with_one(sides, expected):
    assert word(sides) == expected


def test_tally_counts_every_claim_once_and_speaks_of_one_and_of_many():
    said = ["holds", "does not hold: x", "holds (one seed)", "not tested here: no weights"]
    claims = [Claim(f"T{n}", "a > b", "x", "0", verdict) for n, verdict in enumerate(said)]
    assert tally(claims) == "4 claims 2 hold, 1 does not hold, 1 is not tested here"
