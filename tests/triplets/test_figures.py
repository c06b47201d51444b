"""Results, tables and figures that notebooks and reports show, from runs of known content."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from sentences import refused
from studies.runs.folder import load_run
from studies.triplets import figures
from studies.triplets.figures import of_runs, read

PEA, TART, RYE = "hot_dish/soup/pea_soup", "sweet/tart/cherry_tart", "sweet/bread/rye"


@pytest.fixture
def write(sandbox, write_run):
    """Return a function that writes a run by hand and loads it."""
    return lambda *arguments, **changes: load_run(
        write_run(sandbox / "root", *arguments, **changes)
    )


CLASSES = ["a/x/1", "a/x/2", "a/y/y", "b/z/1"]
TRUTH = [name for name in CLASSES for _ in range(15)]


def wrong(*places: tuple[int, str]) -> list[str]:
    """The truth but for some items: (index, what it is taken for)."""
    predicted = list(TRUTH)
    for index, name in places:
        predicted[index] = name
    return predicted


def severe(*items: int) -> list[str]:
    """The truth but for a wrong top label of some items."""
    return wrong(*((i, "b/z/1" if TRUTH[i][0] == "a" else "a/y/y") for i in items))


class TestResults:
    def means(self, dataset="made_up"):
        return read(dataset).tidy().set_index("metric")

    def test_seeds_are_averaged_and_compared_in_pairs(self, write):
        runs = {0: severe(0), 3: severe(0, 1, 2), 8: TRUTH}
        for seed, predicted in runs.items():
            write("triplet", seed, TRUTH, predicted)
        frame = self.means()
        assert (frame["n"] == 60).all()
        assert (frame["n_seeds"] == 3).all()
        assert frame.loc["severe_errors", "mean"] == pytest.approx(4 / 3)
        assert frame.loc["severe_errors", "std"] == pytest.approx(np.std([1, 3, 0], ddof=1))
        scores = [f1_score(TRUTH, predicted, average="macro") for predicted in runs.values()]
        assert frame.loc["macro_f1", "mean"] == pytest.approx(np.mean(scores))
        assert (frame["ci_low"] <= frame["mean"]).all()
        for seed, items in {3: (5,), 8: (5, 6, 7), 9: tuple(range(30))}.items():
            write("flexible", seed, TRUTH, severe(*items))
        rows = read("made_up").tests().set_index("metric")
        assert set(rows["first"] + rows["second"]) == {"tripletflexible"}
        assert (rows["seeds"] == 2).all()
        assert rows.loc["severe_errors", "difference"] == ((1 - 3) + (3 - 0)) / 2

    def test_classes_held_out_are_scored_on_their_own_images(self, write):
        predicted = wrong((0, "a/x/2"), (1, "b/z/1"), (50, "a/x/1"), (20, "a/x/1"))
        write("triplet", 0, TRUTH, predicted, unscored=("a/x/2",))
        changes = {"unscored": ("a/x/2",), "unseen": ("a/x/1", "a/x/2")}
        write("triplet@held_out", 0, TRUTH, predicted, **changes)
        frame = read("made_up").tidy()
        alone = frame["metric"].str.startswith("unseen")
        assert set(frame.loc[alone, "variant"]) == {"held_out"}
        unseen = frame[alone].set_index("metric")["mean"]
        # of the class that counts: 13 hits, 15 times true, 14 times predicted
        assert unseen["unseen_accuracy"] == pytest.approx(27 / 30)
        assert unseen["unseen_macro_f1"] == pytest.approx(2 * 13 / (15 + 14))

    def test_published_values_stand_beside_their_system_only(self, write):
        for system in ("cross_entropy", "triplet", "flexible", "flexible@sum"):
            write(system, 0, TRUTH, TRUTH, dataset="grocery_random")
        frame = read("grocery_random").tidy().dropna(subset="published")
        columns = ["model", "variant", "metric", "published"]
        assert frame[columns].to_numpy().tolist() == [
            ["cross_entropy", "", "macro_f1", 0.72],
            ["triplet", "", "macro_f1", 0.82],
            ["flexible", "", "macro_f1", 0.88],
        ]

    def test_names_that_look_like_numbers_or_gaps(self, write):
        for dataset, names in {"digits": ["007", "7", "1e3"], "gaps": ["NA", "null", "x"]}.items():
            true = [name for name in names for _ in range(4)]
            write("triplet", 0, true, [*true[:-1], names[0]], dataset=dataset)
            assert self.means(dataset).loc["accuracy", "mean"] == pytest.approx(11 / 12)

    def test_order_and_what_is_compared(self, write):
        systems = ["zzz", "cross_entropy", "flexible", "triplet", "triplet@hardest"]
        systems += ["flexible@sum", "hybrid@sum", "cross_entropy@untrained", "flexible@one_stage"]
        for system in systems:
            write(system, 0, TRUTH, TRUTH)
        results = read("made_up")
        assert list(results.systems)[:3] == ["zzz", "cross_entropy", "triplet"]
        assert [name.partition("@")[0] for name in list(results.systems)[4:]] == [
            *("cross_entropy", "triplet", "flexible", "flexible", "hybrid")
        ]
        pairs = {frozenset(pair) for pair in results.pairs()}
        # its own variants, the same variant of another model, margin against schedule
        assert {"flexible", "flexible@sum"} in pairs
        assert {"flexible@sum", "hybrid@sum"} in pairs
        assert frozenset({"triplet", "flexible@one_stage"}) in pairs
        assert {"flexible", "cross_entropy@untrained"} in pairs
        assert {"zzz", "flexible@sum"} not in pairs
        assert {"flexible@sum", "flexible@one_stage"} not in pairs

    def test_other_test_images(self, write):
        assert "made_up" in refused(read, "made_up")  # no run
        write("triplet", 0, TRUTH, TRUTH)
        write("flexible", 0, TRUTH[1:], TRUTH[1:])
        assert "different images" in refused(read, "made_up")


class TestMistakes:
    def test_confusions_are_counted_over_seeds(self, write):
        true = [PEA] * 4 + [TART] * 3 + [RYE] * 2
        answers = [
            [TART, TART, PEA, PEA, TART, RYE, TART, RYE, RYE],
            [TART, PEA, PEA, PEA, RYE, RYE, PEA, RYE, RYE],
        ]
        results = of_runs([write("triplet", seed, true, said) for seed, said in enumerate(answers)])
        top = figures.confusion(results, "triplet", 1).axes[0]
        assert [label.get_text() for label in top.get_yticklabels()] == ["hot dish", "sweet"]
        assert [text.get_text() for text in top.texts] == ["5", "3", "1", "9"]
        table = figures.confused_pairs(results, "triplet")
        assert list(table.columns) == ["true", "taken for", "times", "of test images"]
        pea, tart, rye = "pea soup (hot dish)", "cherry tart (sweet)", "rye (sweet)"
        rows = [tuple(row) for row in table.to_numpy().tolist()]
        assert rows[2:] == [(tart, pea, 1, 6)]
        assert set(rows[:2]) == {(pea, tart, 3, 8), (tart, rye, 3, 6)}
        assert len(figures.confused_pairs(results, "triplet", most=1)) == 1
