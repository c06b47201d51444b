"""Tables and figures that notebooks and reports show, from runs of known content."""

import numpy as np
import pandas as pd
import pytest

from studies.reporting.plots import style
from studies.reporting.tables import tidy
from studies.runs.folder import load_run
from studies.triplets import data, figures
from studies.triplets.comparisons import paired_tests
from studies.triplets.results import of_runs

TRUE = ["hot_dish/soup/pea_soup"] * 4 + ["sweet/tart/cherry_tart"] * 3
WRONG = [TRUE[-1], *TRUE[1:-1], TRUE[0]]  # the first and the last are severe errors


@pytest.fixture
def runs(sandbox, write_run):
    predicted = {"triplet": WRONG, "flexible": [TRUE[-1], *TRUE[1:]]}
    return [
        load_run(write_run(sandbox / "root", system, 0, TRUE, names))
        for system, names in predicted.items()
    ]


@pytest.fixture
def images(sandbox, colours, parameters):
    colours(sandbox / "data" / "colours", images=5)
    p = parameters()
    images = data.read(p)
    return images, data.split(images, p)


@pytest.mark.parametrize(
    ("label", "shown"), [("a/b_c/d_e", "d e"), ("Golden-Delicious", "Golden-Delicious")]
)
def test_labels_are_written_as_words(label, shown):
    assert figures.words(label) == shown


def test_overview_counts_images_and_labels_of_every_part(images):
    table = figures.overview(*images).set_index("part")
    assert list(table.index) == ["train", "validation", "test", "all"]
    assert table.loc["all"].tolist() == [35, 2, 4, 7]
    assert table["images"].drop("all").sum() == 35
    assert (table["labels, level 3"] == 7).all()


def test_classes_and_their_margins(images):
    table = figures.class_table(*images)
    assert table[["train", "validation", "test"]].to_numpy().sum(axis=1).tolist() == [5] * 7
    margins = figures.margin_table(images[0], [2.0, 1.0, 0.5], shown=6)
    assert set(margins.index) < set(table["class"])
    assert (np.diag(margins) == "0").all()
    at = margins.set_axis(margins.index, axis=1)
    assert at.loc["warm/yellow/bright", "warm/yellow/dark"] == "0.5"
    assert at.loc["warm/red/dark", "warm/yellow/dark"] == "1"
    assert at.loc["warm/yellow/dark", "cold/blue/dark"] == "2"


def test_classes_of_groups_are_their_combinations(tmp_path, draw):
    trees = [("red", "round"), ("red", "long"), ("green", "long"), ("red", "round")]
    files = [f"{i}.png" for i in range(4)]
    for file in files:
        draw(tmp_path / file)
    groups = data.LabelledImages(tmp_path, files, trees, None, nested=False)
    table = figures.class_table(groups, np.array(["train", "train", "test", "validation"]))
    assert table["class"].tolist() == ["green/long", "red/long", "red/round"]
    assert table[["train", "validation", "test"]].to_numpy().tolist() == [
        [0, 0, 1],
        [1, 0, 0],
        [1, 1, 0],
    ]
    margins = figures.margin_table(groups, [1.5, 0.5], combine="sum")
    assert margins.to_numpy().tolist() == [
        ["0", "1.5", "2"],
        ["1.5", "0", "0.5"],
        ["2", "0.5", "0"],
    ]
    captions = {axis.get_title() for axis in figures.sample(groups, 3).axes}
    assert captions == {"long (green)", "long (red)", "round (red)"}


def test_a_tree_of_one_level_and_two_classes(tmp_path, draw):
    files = [f"{i}.png" for i in range(2)]
    for file in files:
        draw(tmp_path / file)
    flat = data.LabelledImages(tmp_path, files, [("pea_soup",), ("tart",)], None)
    assert figures.margin_table(flat, [1.0]).to_numpy().tolist() == [["0", "1"], ["1", "0"]]
    assert {axis.get_title() for axis in figures.sample(flat, 2).axes} == {"pea soup", "tart"}


def test_a_sample_shows_one_image_of_each_class(images):
    captions = {axis.get_title() for axis in figures.sample(images[0], 7).axes}
    assert {"bright (red)", "dark (red)", "green (green)"} <= captions


def test_predictions_and_scores_of_one_run(colour_runs):
    run = load_run(colour_runs["flexible"])
    table = figures.prediction_table(run, 3)
    assert list(table.columns) == ["image", "truth", "prediction", "sure"]
    assert len(table) == 3
    assert table["sure"].str.fullmatch(r"[01]\.\d\d").all()
    scores = figures.score_table(run).set_index("metric")["flexible"]
    assert scores["macro-F1"] == f"{run.metrics['macro_f1']:.3f}"
    assert scores["severe errors"] == str(run.metrics["severe_errors"])
    assert list(scores.index[2:]) == [
        *(f"accuracy, level {level}" for level in (1, 2, 3)),
        *figures.SPACE.values(),
    ]
    assert scores["recall@5"] == f"{run.metrics['recall_at_5']:.3f}"


def test_paired_tests_are_one_row_a_pair(runs, few_resamples):
    table = figures.test_table(paired_tests(of_runs(runs)))
    assert table["difference"].tolist() == ["flexible − triplet"]
    assert table["severe errors"].str.startswith("−1 [").all()


class TestByImages:
    SYSTEMS = ("cross_entropy", "flexible", "hybrid", "flexible@images5", "flexible@images10")
    FEW = ("cross_entropy@images5", "flexible@sum")

    @pytest.fixture
    def drawn(self, sandbox, write_run):
        """Scores of hand-made systems: 120 training images in two classes, so 60 a class."""
        names = (*self.SYSTEMS, *self.FEW)
        results = of_runs(
            [
                load_run(write_run(sandbox / "root", system, 0, TRUE, TRUE, trained=120))
                for system in names
            ]
        )
        rows = []
        for k, system in enumerate(names):
            model, _, variant = system.partition("@")
            for metric, mean in (("macro_f1", k / 10), ("severe_errors", 10 - k)):
                row = {"study": "triplets", "dataset": "made_up", "metric": metric, "mean": mean}
                row |= {"model": model, "variant": variant, "n": 7, "n_seeds": 1}
                rows.append(row | {"ci_low": mean - 0.05, "ci_high": mean + 0.02})
        return results, tidy(rows)

    def test_lines_go_through_the_scores(self, drawn):
        figure = figures.by_images(*drawn)
        assert [axis.get_ylabel() for axis in figure.axes] == list(figures.AXES.values())
        wanted = {"cross_entropy": ([5, 60], [5, 0]), "flexible": ([5, 10, 60], [3, 4, 1])}
        for axis, scale in zip(figure.axes, (lambda k: k / 10, lambda k: 10 - k), strict=True):
            assert len(axis.lines) == len(wanted)
            for model, (images, places) in wanted.items():
                (line,) = [one for one in axis.lines if one.get_color() == style(model).colour]
                x, y = line.get_data()
                np.testing.assert_allclose(x, images, rtol=0.05)
                np.testing.assert_allclose(y, [scale(k) for k in places])
            ticks = [label.get_text() for label in axis.get_xticklabels()]
            assert ticks == ["5", "10", "60"]

    def test_without_fewer_images_there_is_nothing_to_draw(self, drawn):
        results, frame = drawn
        few = frame["variant"].str.startswith("images")
        assert figures.by_images(results, frame[~few]) is None


def test_maps_have_a_panel_a_system(runs):
    figure = figures.embedding_map(runs)
    assert [axis.get_title() for axis in figure.axes] == ["triplet", "flexible"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["hot dish", "sweet"]


def test_cost_in_words(runs):
    row = figures.cost({"triplet": runs[:1]}).iloc[0]
    assert row["training time"] == "12 s"
    assert row["precision"] == "fp32"
    assert row["trained parameters"] == "1,234"
    assert isinstance(figures.cost({"triplet": runs[:1]}), pd.DataFrame)
