"""Tables and figures that notebooks and reports show, from runs of known content."""

import re

import numpy as np
import pytest
from PIL import Image

import meals
from studies.recipes import data, figures
from studies.recipes.readers import Plates
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


class TestDrawn:
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
    def test_what_a_trained_system_says_or_the_one_that_a_prompt_asked(
        self, dinner, smallest, monkeypatch
    ):
        monkeypatch.setenv("STUDIES_ROOT", str(dinner.root))
        prompt = load_run(smallest("supervised").folder())
        run = load_run(smallest(prompt.provenance["perception"]).folder())
        eyes, frame = run.model(), run.predictions
        shown = titles(figures.look(run, 3))
        assert len(shown) == 3
        for text, row in ((shown[0], 0), (shown[2], -1)):
            likely = frame["dish_probabilities"].iloc[row]
            dish = eyes.dishes[int(np.argmax(likely))].replace("_", " ")
            assert text.startswith(f"{dish} {max(likely):.0%}:")
            named, shares = frame["named"].iloc[row], frame["ingredient_probabilities"].iloc[row]
            best = max(np.flatnonzero(named), key=lambda s, p=shares: p[s])
            assert f": {eyes.ingredients[best]} {shares[best]:.0%}" in text
        assert titles(figures.look(prompt, 3)) == shown

    def test_who_does_not_look_has_nothing_to_show(self, serves):
        assert figures.look(serves("majority", seen=meals.eyes(1.0))) is None


class TestCases:
    def test_picture_truth_prompt_and_recipes(self, serves, ordered):
        runs = {
            "naive": serves("naive", recipes=meals.templates()),
            "supervised": serves("supervised", recipes=meals.own()),
        }
        data.read(ordered())
        shown = figures.cases(runs, 2)
        assert re.findall("<strong>(.*?)</strong>", shown.html) == 2 * [
            *("On the plate", "Prompt", "Recipe, naive", "Recipe, supervised")
        ]
        assert shown.html.count("data:image/jpeg") == 2
        for place in (0, -1):
            plate = meals.PLATES[place]
            dish = plate.dish.replace("_", " ")
            assert f">{dish}: {', '.join(sorted(plate.ingredients))}</div>" in shown.html
            for recipes in (meals.templates(), meals.own()):
                assert f">{recipes[place][0]}</div>" in shown.html
                assert recipes[place][0] in shown.text
