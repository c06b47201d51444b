"""Results, tables and figures that notebooks and reports show, from runs of known content."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from sentences import refused
from studies.reporting.plots import style
from studies.reporting.tables import tidy
from studies.runs.folder import load_run
from studies.triplets import data, figures
from studies.triplets.figures import of_runs, read

PEA, TART, RYE = "hot_dish/soup/pea_soup", "sweet/tart/cherry_tart", "sweet/bread/rye"
TRUE = [PEA] * 4 + [TART] * 3
WRONG = [TART, PEA, PEA, PEA, TART, TART, PEA]  # the first and the last are severe errors


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
        systems = ["zzz", "cross_entropy", "flexible", "triplet@hardest", "triplet@two_stages"]
        systems += ["flexible@sum", "hybrid@sum", "cross_entropy@untrained", "flexible@one_stage"]
        for system in systems:
            write(system, 0, TRUTH, TRUTH)
        results = read("made_up")
        assert list(results.systems)[:3] == ["zzz", "cross_entropy", "flexible"]
        assert [name.partition("@")[0] for name in list(results.systems)[3:]] == [
            *("cross_entropy", "triplet", "triplet", "flexible", "flexible", "hybrid")
        ]
        pairs = {frozenset(pair) for pair in results.pairs()}
        # its own variants, the same variant of another model, margin against schedule
        assert {"flexible", "flexible@sum"} in pairs
        assert {"flexible@sum", "hybrid@sum"} in pairs
        assert {"triplet@hardest", "triplet@two_stages"} in pairs
        assert {"flexible", "cross_entropy@untrained"} in pairs
        assert {"zzz", "flexible@sum"} not in pairs
        assert {"flexible@sum", "flexible@one_stage"} not in pairs

    def test_other_test_images(self, write):
        assert "made_up" in refused(read, "made_up")  # no run
        write("triplet", 0, TRUTH, TRUTH)
        write("flexible", 0, TRUTH[1:], TRUTH[1:])
        assert "different images" in refused(read, "made_up")


class TestData:
    @pytest.fixture
    def images(self, sandbox, colours, parameters):
        colours(sandbox / "data" / "colours", images=5)
        images = data.read(parameters())
        return images, data.split(images, parameters())

    def test_a_tree(self, images):
        table = figures.overview(*images).set_index("part")
        assert list(table.index) == ["train", "validation", "test", "all"]
        assert table.loc["all"].tolist() == [35, 2, 4, 7]
        assert (table["labels, level 3"] == 7).all()
        table = figures.class_table(*images)
        assert table[["train", "validation", "test"]].to_numpy().sum(axis=1).tolist() == [5] * 7
        margins = figures.margin_table(images[0], [2.0, 1.0, 0.5], shown=6)
        at = margins.set_axis(margins.index, axis=1)
        assert at.loc["warm/yellow/bright", "warm/yellow/dark"] == "0.5"
        assert at.loc["warm/red/dark", "warm/yellow/dark"] == "1"
        assert at.loc["warm/yellow/dark", "cold/blue/dark"] == "2"
        captions = {axis.get_title() for axis in figures.sample(images[0], 7).axes}
        assert {"bright (red)", "dark (red)", "green (green)"} <= captions

    def test_groups(self, tmp_path, draw):
        trees = [("red", "round"), ("red", "long"), ("green", "long"), ("red", "round")]
        files = [f"{i}.png" for i in range(4)]
        for file in files:
            draw(tmp_path / file)
        groups = data.LabelledImages(tmp_path, files, trees, None, nested=False)
        table = figures.class_table(groups, np.array(["train", "train", "test", "validation"]))
        assert table["class"].tolist() == ["green/long", "red/long", "red/round"]
        parts = table[["train", "validation", "test"]].to_numpy().tolist()
        assert parts == [[0, 0, 1], [1, 0, 0], [1, 1, 0]]
        margins = figures.margin_table(groups, [1.5, 0.5], combine="sum").to_numpy().tolist()
        assert margins == [["0", "1.5", "2"], ["1.5", "0", "0.5"], ["2", "0.5", "0"]]
        captions = {axis.get_title() for axis in figures.sample(groups, 3).axes}
        assert captions == {"long (green)", "long (red)", "round (red)"}


class TestRuns:
    def test_predictions_scores_and_cost(self, colour_runs):
        run = load_run(colour_runs["flexible"])
        table = figures.prediction_table(run, 3)
        assert list(table.columns) == ["image", "truth", "prediction", "sure"]
        assert table["sure"].str.fullmatch(r"[01]\.\d\d").all()
        scores = figures.score_table(run).set_index("metric")["flexible"]
        assert scores["macro-F1"] == f"{run.metrics['macro_f1']:.3f}"
        assert scores["severe errors"] == str(run.metrics["severe_errors"])
        levels = [f"accuracy, level {level}" for level in (1, 2, 3)]
        assert list(scores.index[2:]) == [*levels, *figures.SPACE.values()]
        row = figures.cost({"flexible": [run]}).iloc[0]
        assert row["precision"] == "fp32"
        assert row["trained parameters"] == f"{run.provenance['parameters_trained']:,}"

    def test_why_a_training_ended_early_and_in_what_systems_differ(self, write):
        systems = {
            "triplet": [write("triplet", 0, TRUE, WRONG, stopped="collapsed: so")],
            "flexible": [write("flexible", 0, TRUE, TRUE)],
        }
        assert figures.cost(systems)["ended early"].tolist() == ["collapsed", ""]
        table = figures.settings(systems).set_index("system")
        assert set(table.loc["triplet", "loss"].split(", ")) == {"triplet", "0.5", "closest"}
        schedule = table.loc["triplet", "learning rate and mining, from epoch"]
        assert schedule == "from 0: 0.003 semihard; from 2: 0.0003 hardest"
        figure = figures.embedding_map([run for runs in systems.values() for run in runs])
        assert [axis.get_title() for axis in figure.axes] == ["triplet", "flexible"]
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["hot dish", "sweet"]


def test_scores_against_images(write):
    """Scores of hand-made systems: 120 training images in two classes, so 60 a class."""
    names = ("cross_entropy", "flexible", "hybrid", "flexible@images5", "flexible@images10")
    names += ("cross_entropy@images5", "flexible@sum")
    results = of_runs([write(system, 0, TRUE, TRUE, trained=120) for system in names])
    rows = []
    for k, system in enumerate(names):
        model, _, variant = system.partition("@")
        for metric, mean in (("macro_f1", k / 10), ("severe_errors", 10 - k)):
            row = {"study": "triplets", "dataset": "made_up", "metric": metric, "mean": mean}
            row |= {"model": model, "variant": variant, "n": 7, "n_seeds": 1}
            rows.append(row | {"ci_low": mean - 0.05, "ci_high": mean + 0.02})
    frame = tidy(rows)
    figure = figures.by_images(results, frame)
    assert [axis.get_ylabel() for axis in figure.axes] == list(figures.AXES.values())
    wanted = {"cross_entropy": ([5, 60], [5, 0]), "flexible": ([5, 10, 60], [3, 4, 1])}
    for axis, scale in zip(figure.axes, (lambda k: k / 10, lambda k: 10 - k), strict=True):
        assert len(axis.lines) == len(wanted)
        for model, (images, places) in wanted.items():
            (line,) = [one for one in axis.lines if one.get_color() == style(model).colour]
            np.testing.assert_allclose(line.get_xdata(), images, rtol=0.05)
            np.testing.assert_allclose(line.get_ydata(), [scale(k) for k in places])
    few = frame["variant"].str.startswith("images")
    assert figures.by_images(results, frame[~few]) is None


class TestMistakes:
    def test_severe_errors_come_surest_first(self, write):
        run = write("triplet", 0, TRUE, WRONG)
        errors = figures.severe(run, 5)
        sure = run.predictions["confidence"]
        wanted = sorted(("000.png", "006.png"), key=lambda name: -sure[int(name[:3])])
        assert [file.name for file, _ in errors] == wanted
        caption = {file.name: text for file, text in errors}["000.png"]
        assert caption.startswith("pea soup (hot dish) taken for cherry tart (sweet), ")
        assert f"{100 * sure[0]:.0f}\N{NO-BREAK SPACE}%" in caption
        assert len(figures.severe(run, 1)) == 1
        run = write("flexible", 0, TRUE, TRUE)
        assert figures.severe_pictures(run) == "no severe error"

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
