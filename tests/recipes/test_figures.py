"""Tables and figures that notebooks and reports show, from runs of known content."""

import re

import numpy as np
import pytest
from PIL import Image

import meals
from sentences import refused
from studies.recipes import data, figures
from studies.recipes.comparisons import paired_tests
from studies.recipes.plates import Plates
from studies.recipes.results import read, summary
from studies.reporting.plots import style
from studies.runs.folder import LoadedRun, load_run

pytest_plugins = ["plates_made"]


@pytest.fixture
def serves(sandbox, serve):
    """Write a run; return it."""

    def write(system, seed=0, **options) -> LoadedRun:
        return load_run(serve(sandbox / "root", system, seed, **options))

    return write


def titles(figure):
    return [axis.get_title().replace("\n", " ") for axis in figure.axes]


def labels(figure, axis="y"):
    return [getattr(one, f"get_{axis}label")().replace("\n", " ") for one in figure.axes]


class TestDataset:
    @pytest.fixture
    def plates(self, tmp_path):
        for name in ("a.png", "b.png", "c.png", "d.png"):
            Image.new("RGB", (20, 20), "red").save(tmp_path / name)
        rows = ([1, 1, 1, 1, 1, 1], [0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0])
        names = ["egg", "kale", "salt", "oil", "bun", "ham"]
        files, dish = ["a.png", "b.png", "c.png", "d.png"], np.array([0, 1, 1, 0])
        return Plates(tmp_path, files, ["miso_soup", "pie"], dish, names, np.array(rows, bool))

    def test_overview_counts_by_part(self, plates):
        table = figures.overview(plates, np.array(["train", "test", "train", "validation"]))
        assert table.astype(str).to_numpy().tolist() == [
            ["train", "2", "2", "6", "3.5"],
            ["validation", "1", "1", "0", "0.0"],
            ["test", "1", "1", "1", "1.0"],
        ]
        assert list(table.columns) == [
            *("part", "pictures", "dishes", "ingredients", "ingredients a picture")
        ]

    def test_a_sample_is_of_all_parts_of_the_dataset(self, plates):
        assert titles(figures.sample(plates, 2)) == [
            "miso soup: egg, kale, salt, oil and 2 more",
            "miso soup:",
        ]
        assert titles(figures.sample(plates, 4))[1:3] == ["pie: kale", "pie: egg"]


class TestTables:
    def test_scores_of_a_run(self, serves):
        seen = serves("two_networks@wide", seen=meals.eyes(1.0), found={"dish_top1": 0.25})
        table = figures.score_table(seen)
        assert table.to_dict("records") == [{"metric": "dish top-1", "two_networks@wide": "0.250"}]
        found = {"grounding_recall": 1 / 3, "sight": -0.1, "distinct_2": 1.0}
        table = figures.score_table(serves("naive", recipes=meals.own(), found=found))
        assert table["metric"].tolist() == ["grounding recall", "sight", "distinct-2"]
        assert table["naive"].tolist() == ["0.333", "-0.100", "1.000"]

    def test_paired_tests_are_one_row_a_pair(self, serves, few_resamples):
        serves("two_networks", seen=meals.eyes(0.5))
        serves("shared_backbone", seen=meals.eyes(5.0))
        for system in ("naive", "supervised"):
            serves(system, recipes=meals.own())
        tests = paired_tests(read("made_up"))
        table = figures.test_table(tests, figures.SEEN)
        assert table["difference"].tolist() == ["shared_backbone − two_networks"]
        shown = [name for name in figures.SEEN.values() if name in table.columns]
        assert list(table.columns[1:]) == [cell for one in shown for cell in (one, f"p ({one})")]
        assert len(shown) == 9
        assert table.loc[0, "dish top-1"].startswith("+0.")
        table = figures.test_table(tests, figures.WRITTEN)
        assert table["difference"].tolist() == ["supervised − naive"]

    def test_cost_of_several_seeds(self, serves):
        runs = [
            serves("two_networks", seed, seen=meals.eyes(1.0), facts=facts)
            for seed, facts in ((0, {"seconds": 60.0}), (4, {"seconds": 7260.0, "best_epoch": 12}))
        ]
        row = figures.cost({"two_networks": runs}).iloc[0]
        assert row["training time"] == "61 min"
        assert row["trained parameters"] == "1,234"
        assert (row["precision"], row["epoch kept"], row["seeds"]) == ("32-true", "2, 12", "0, 4")


class TestDrawn:
    @pytest.mark.usefixtures("few_resamples")
    def test_metrics_that_the_frame_has(self, serves):
        serves("frequencies", seen=meals.eyes(0.1, dishes=False))
        serves("naive", recipes=meals.own())
        frame = summary(read("made_up"))
        assert labels(figures.seen_figure(frame), "x") == [
            "ingredient micro-F1 (0–1)",
            "ingredient mAP (0–1)",
        ]
        assert labels(figures.written_figure(frame), "x") == [*figures.WRITTEN_AXES.values()]
        eyes = frame[frame["model"] == "frequencies"]
        assert figures.written_figure(eyes) is None

    def test_curves_against_the_step(self, serves):
        figure = figures.curves({"two_networks": [serves("two_networks", seen=meals.eyes(1.0))]})
        assert labels(figure) == [
            "training loss, (1) + weight × (2) (nats)",
            "validation dish top-1 (0–1)",
        ]
        for axis, values in zip(figure.axes, ([2.5, 1.8], [0.2, 0.4]), strict=True):
            (line,) = axis.lines
            assert axis.get_xlabel() == "step"
            assert line.get_color() == style("two_networks").colour
            assert line.get_xydata().tolist() == [[10, values[0]], [20, values[1]]]
        assert figures.curves({}) is None

    def test_calibration_is_the_share_right_by_probability(self, serves):
        likely = [[0.9, 0.1]] * 4 + [[0.35, 0.65]] * 5
        seen = {"id": list("abcdefghi"), "dish": [0, 0, 0, 1, 1, 0, 0, 0, 0]}
        run = serves("two_networks", seen={**seen, "dish_probabilities": likely})
        (axis,) = figures.calibration({"two_networks": [run]}).axes
        drawn = {tuple(map(tuple, line.get_xydata().round(6).tolist())) for line in axis.lines}
        assert ((0.65, 0.2), (0.9, 0.75)) in drawn
        assert ((0.0, 0.0), (1.0, 1.0)) in drawn
        assert axis.get_xlabel() == "probability of the dish said (0–1)"


class TestLook:
    def test_what_a_trained_system_says(self, dinner, smallest, monkeypatch):
        monkeypatch.setenv("STUDIES_ROOT", str(dinner.root))
        run = load_run(smallest("two_networks").folder())
        eyes, frame = run.model(), run.predictions
        shown = titles(figures.look(run, 3))
        assert len(shown) == 3
        for text, row in ((shown[0], 0), (shown[2], -1)):
            likely = frame["dish_probabilities"].iloc[row]
            dish = eyes.dishes[int(np.argmax(likely))].replace("_", " ")
            assert text.startswith(f"{dish} {max(likely):.0%}:")
            said, shares = frame["named"].iloc[row], frame["ingredient_probabilities"].iloc[row]
            best = max(np.flatnonzero(said), key=lambda s, p=shares: p[s])
            assert f": {eyes.ingredients[best]} {shares[best]:.0%}" in text

    def test_a_prompt_shows_what_the_network_that_it_asked_says(
        self, dinner, smallest, monkeypatch
    ):
        monkeypatch.setenv("STUDIES_ROOT", str(dinner.root))
        prompt = load_run(smallest("supervised").folder())
        asked = load_run(smallest(prompt.provenance["perception"]).folder())
        assert titles(figures.look(prompt, 3)) == titles(figures.look(asked, 3))

    def test_who_does_not_look_has_nothing_to_show(self, serves):
        assert figures.look(serves("majority", seen=meals.eyes(1.0))) is None


class TestCases:
    def test_picture_truth_prompt_and_recipes(self, serves, ordered):
        runs = {
            "naive": serves("naive", recipes=meals.templates()),
            "supervised": serves("supervised", recipes=meals.own()),
        }
        data.read(ordered())
        first, last = figures.cases(runs, 2)
        for part, place in ((first, 0), (last, -1)):
            heads = re.findall("<strong>(.*?)</strong>", part)
            assert heads == ["On the plate", "Prompt", "Recipe, naive", "Recipe, supervised"]
            plate = meals.PLATES[place]
            dish = plate.dish.replace("_", " ")
            assert f">{dish}: {', '.join(sorted(plate.ingredients))}</div>" in part
            assert ">Write.</div>" in part
            for recipes in (meals.templates(), meals.own()):
                assert f">{recipes[place][0]}</div>" in part
            assert part.count("data:image/jpeg") == 1

    def test_one_prompt_alone(self, serves, ordered):
        (part,) = figures.cases({"naive": serves("naive", recipes=meals.own())}, 1)
        assert part.count("<strong>") == 3

    def test_what_was_written_is_escaped(self, serves):
        hostile = "<script>alert(1)</script> & <img src=x onerror=alert(1)>"
        recipes = [[hostile]] * len(meals.IDS)
        (part,) = figures.cases({"naive": serves("naive", recipes=recipes)}, 1)
        assert "<script" not in part
        assert "<img src=x" not in part
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &lt;img src=x" in part

    def test_no_photographs(self, serves):
        source = {"name": "food101", "ingredients": "typical"}
        run = serves("naive", recipes=meals.own(), source=source)
        assert "food-101" in refused(figures.cases, {"naive": run})


def test_names_as_they_are_said():
    assert figures.spoken("miso_soup") == "miso soup"
    names = ["a", "b", "c", "d", "e"]
    assert figures.listed(names, np.array([1, 0, 1, 0, 1], bool)) == "a, c, e"
    assert figures.listed(names, np.ones(5, bool)) == "a, b, c, d and 1 more"
    assert figures.listed(names, np.zeros(5, bool)) == ""
