"""The ledger says what became of a claim, in words that a reader can count on."""

import pytest

from studies.reporting.claims import Claim, claims_frame, claims_markdown, tally, verdict, word

GOOD = ["holds (synthetic)", "does not hold: 0.1", "inconclusive, p = 0.3", "not tested here: why"]
BAD = ["", "Holds", "holdsome", "it holds", "not tested here", "not tested here: "]


def claim(decision: str) -> Claim:
    return Claim("T1", "a > b | c", "both trained", "0.1 [0.0, 0.2]", decision)


def test_verdicts_that_a_claim_can_get():
    assert [claim(decision).verdict for decision in GOOD] == GOOD
    for decision in BAD:
        with pytest.raises(ValueError, match="T1"):
            claim(decision)


def test_ledger():
    claims = [claim("holds")]
    assert claims_markdown(claims).splitlines() == [
        "| id | claim | experiment | figure with interval | verdict |",
        "| --- | --- | --- | ---: | --- |",
        r"| T1 | a > b \| c | both trained | 0.1 [0.0, 0.2] | holds |",
    ]
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
    assert verdict("flickr8k", sides, 1) == f"{expected} (one seed)"
    assert verdict("demo", sides, 3, "so") == f"{expected} (3 seeds, synthetic, so)"


def test_tally_counts_every_claim_once_and_speaks_of_one_and_of_many():
    claims = [claim(decision) for decision in (GOOD[0], GOOD[1], "holds (one seed)", GOOD[3])]
    assert tally(claims) == "4 claims 2 hold, 1 does not hold, 1 is not tested here"
