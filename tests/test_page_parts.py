"""Parts that pages share: what a reader finds in them."""

import pandas as pd

from studies.reporting import page_parts
from studies.reporting.claims import Claim


def test_claims_stand_in_a_part_of_their_own():
    part = page_parts.claims([Claim("X1", "a < b", "a against b", "+0.1", "inconclusive")])
    assert part.title == "Claims"
    (table,) = part.body
    assert "What the paper claims, and what came of it on this data." in table
    assert "a &lt; b" in table


def test_each_group_with_tests_has_a_table():
    tests = pd.DataFrame({"first": ["a", "b"], "second": ["c", "d"]})
    seen = []

    def made(mine, metrics):
        seen.append((mine["first"].tolist(), metrics))
        return mine

    groups = [({"a": []}, ["x"]), ({"e": []}, ["y"]), (["b"], ["z"])]
    tables = page_parts.differences(tests, groups, made, "plates")
    assert seen == [(["a"], ["x"]), (["b"], ["z"])]
    assert len(tables) == 2
    for table in tables:
        assert "Differences on the same test plates with 95 % intervals" in table
        assert "more than test plates do." in table


def test_costs_say_what_they_are():
    table = page_parts.cost(pd.DataFrame({"system": ["a"], "training time": ["3 s"]}))
    assert "memory is the largest that the process ever held." in table
    assert "3 s" in table
