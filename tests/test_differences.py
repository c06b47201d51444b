import pandas as pd
import pytest

from studies.reporting.bootstrap import TEST_COLUMNS
from studies.reporting.tables import BOOTSTRAP, between, p_value, signed, wide_tests

NAMES = {"f1": "macro-F1", "errors": "severe errors"}


def row(metric, test, difference, low=None, high=None, p=0.04, second="flexible") -> dict:
    return {
        **{"first": "triplet", "second": second, "metric": metric, "test": test},
        **{"difference": difference, "ci_low": low, "ci_high": high, "p": p},
    }


@pytest.mark.parametrize(
    ("values", "count", "shown"),
    [
        ((0.0528, -0.0511, 0.1325), False, "+0.053 [−0.051, +0.133]"),
        ((4, -4, 12), True, "+4 [−4, +12]"),
        ((-1.5, -1200, 0), True, "−1.5 [−1,200, 0]"),
        ((-0.0001, 0.0, 0.0004), False, "0.000 [0.000, 0.000]"),
    ],
)
def test_differences_carry_their_sign(values, count, shown):
    assert signed(*values, count) == shown


@pytest.mark.parametrize(
    ("p", "shown"),
    [(0.0004, "< 0.001"), (0.001, "0.001"), (0.0496, "0.050"), (1, "1.000"), (None, "")],
)
def test_p_values(p, shown):
    assert p_value(p) == shown


def test_a_pair_of_systems_is_a_row():
    tests = pd.DataFrame(
        [
            row("f1", "paired bootstrap", 0.053, -0.051, 0.133, 0.38),
            row("errors", "paired bootstrap", -1, -7, 5, 0.82),
            row("errors", "exact McNemar, seed 0", -1, p=0.5),
            row("errors", "exact McNemar, seed 1", -1, p=0.0002),
            row("f1", "paired bootstrap", 0.1, 0.05, 0.15, 0.001, second="hybrid"),
            row("left_out", "paired bootstrap", 9, 9, 9),
        ]
    )
    table = wide_tests(tests, NAMES, counts={"errors"})
    assert table.to_dict("records") == [
        {
            "difference": "flexible − triplet",
            "macro-F1": "+0.053 [−0.051, +0.133]",
            "p (macro-F1)": "0.380",
            "severe errors": "−1 [−7, +5]",
            "p (severe errors)": "0.820",
            "p (severe errors, exact McNemar)": "0.500, < 0.001",
        },
        {
            "difference": "hybrid − triplet",
            "macro-F1": "+0.100 [+0.050, +0.150]",
            "p (macro-F1)": "0.001",
            "severe errors": "",
            "p (severe errors)": "",
            "p (severe errors, exact McNemar)": "",
        },
    ]


def test_a_single_system_has_no_row():
    columns = ["first", "second", "metric", "test", "difference", "ci_low", "ci_high", "p"]
    assert wide_tests(pd.DataFrame(columns=columns), NAMES, ()).empty


class TestBetween:
    ROWS = pd.DataFrame(
        [
            ("a", "b", "x", BOOTSTRAP, 3, 0.1, -0.2, 0.5, 0.04),
            ("a", "b", "y", BOOTSTRAP, 3, -0.3, -0.4, -0.1, 0.01),
        ],
        columns=TEST_COLUMNS,
    )

    @pytest.mark.parametrize(
        ("asked", "wanted"),
        [
            (("a", "b", "x"), (0.1, -0.2, 0.5)),
            (("b", "a", "x"), (-0.1, -0.5, 0.2)),
            (("a", "b", "y"), (-0.3, -0.4, -0.1)),
            (("b", "a", "y"), (0.3, 0.1, 0.4)),
        ],
    )
    def test_second_minus_first_whichever_came_first(self, asked, wanted):
        row = between(self.ROWS, *asked)
        assert (row["first"], row["second"], row["metric"]) == asked
        assert (row["difference"], row["ci_low"], row["ci_high"]) == wanted
        assert (row["seeds"], row["p"]) == (3, self.ROWS.set_index("metric")["p"][asked[2]])

    @pytest.mark.parametrize("asked", [("a", "c", "x"), ("a", "b", "z"), ("a", "a", "x")])
    def test_no_such_test(self, asked):
        assert between(self.ROWS, *asked) is None

    def test_the_table_is_left_as_it_was(self):
        before = self.ROWS.copy()
        between(self.ROWS, "b", "a", "x")
        pd.testing.assert_frame_equal(self.ROWS, before)
