"""What an evaluated run folder holds, computed again from its predictions by scikit-learn."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    jaccard_score,
    top_k_accuracy_score,
)

import kitchen
import meals
from sentences import refused
from studies import paths
from studies.recipes import data, writer
from studies.recipes.evaluate import better, evaluate, eyes
from studies.runs.folder import load_run

pytest_plugins = ["plates_made"]

DISH = ["dish_top1", "dish_top5", "dish_macro_f1", "ece", "ece_uncalibrated"]
INGREDIENTS = ["ingredient_micro_f1", "ingredient_macro_f1", "ingredient_map", "jaccard"]
SCORED = {
    "majority": DISH,
    "frequencies": [*INGREDIENTS, "variant_accuracy"],
    "two_networks": [*DISH, *INGREDIENTS, "variant_accuracy"],
    "shared_backbone": [*DISH, *INGREDIENTS, "variant_accuracy"],
    "shared_backbone@variants": [*DISH, "variant_accuracy"],
}
KNOWN = sorted({name for plate in kitchen.plates(3) for name in plate.ingredients})
TRAINED = ("two_networks", "shared_backbone", "shared_backbone@variants")


@pytest.fixture
def run(dinner, smallest, monkeypatch):
    """Return a function: system -> its run."""
    monkeypatch.setenv("STUDIES_ROOT", str(dinner.root))
    return lambda system: load_run(smallest(system).folder())


@pytest.fixture
def copy(dinner, sandbox, monkeypatch):
    """All runs, to break."""
    shutil.copytree(dinner.root, sandbox / "root")
    monkeypatch.setattr(writer, "PLATES", 1)
    return sandbox / "root"


def stacked(run, column):
    return np.stack(run.predictions[column])


class TestScores:
    @pytest.mark.parametrize("system", SCORED)
    def test_what_is_scored(self, run, system):
        assert list(run(system).metrics) == [*SCORED[system], "n"]
        assert run(system).metrics["n"] == len(run(system).predictions) == 24

    @pytest.mark.parametrize("system", [name for name in SCORED if "dish_top1" in SCORED[name]])
    def test_dishes(self, run, system):
        found, true = run(system).metrics, run(system).predictions["dish"]
        likely = stacked(run(system), "dish_probabilities").astype(float)
        said = likely.argmax(1)
        assert found["dish_top1"] == pytest.approx(accuracy_score(true, said))
        expected = f1_score(true, said, labels=np.unique(true), average="macro")
        assert found["dish_macro_f1"] == pytest.approx(expected)
        if system != "majority":  # which says all dishes of equal share alike
            labels = range(likely.shape[1])
            top5 = top_k_accuracy_score(true, likely, k=5, labels=labels)
            assert found["dish_top5"] == pytest.approx(top5)
        assert likely.sum(1) == pytest.approx(1, abs=1e-5)

    @pytest.mark.parametrize("system", ["frequencies", "two_networks", "shared_backbone"])
    def test_ingredients(self, run, system):
        found = run(system).metrics
        true, said = stacked(run(system), "present"), stacked(run(system), "named")
        likely = stacked(run(system), "ingredient_probabilities")
        there = true.any(0)
        for average in ("micro", "macro"):
            labels = np.flatnonzero(there) if average == "macro" else None
            expected = f1_score(true, said, average=average, labels=labels, zero_division=0)
            assert found[f"ingredient_{average}_f1"] == pytest.approx(expected)
        precision = average_precision_score(true[:, there], likely[:, there])
        assert found["ingredient_map"] == pytest.approx(precision)
        each = jaccard_score(true, said, average="samples", zero_division=1)
        assert found["jaccard"] == pytest.approx(each)

    @pytest.mark.parametrize("system", [name for name in SCORED if name != "majority"])
    def test_variants(self, run, system):
        frame = run(system).predictions
        accuracy = accuracy_score(frame["variant"], frame["variant_said"])
        assert run(system).metrics["variant_accuracy"] == pytest.approx(accuracy)
        # the file's own folders say what is true, and the dish that bounds the guess
        names = [name.split("/") for name in frame["id"]]
        variants = sorted({v for variants in meals.VARIANTS_OF for v in variants})
        assert [meals.VARIANTS[v] for v in frame["variant"]] == [parts[2] for parts in names]
        assert [meals.DISHES[dish] for dish in frame["dish"]] == [parts[1] for parts in names]
        assert set(frame["variant_said"]) <= set(variants)
        for dish, said in zip(frame["dish"], frame["variant_said"], strict=True):
            assert said in meals.VARIANTS_OF[dish]


class TestSeen:
    @pytest.mark.parametrize("system", TRAINED)
    def test_predictions_are_what_the_trained_system_says(self, run, smallest, system):
        frame, eyes = run(system).predictions, run(system).model()
        root = data.read(smallest(system)).root
        seen = eyes.see_files([root / name for name in frame["id"]])
        if system == "shared_backbone@variants":
            assert seen.dishes.shape == (24, len(meals.VARIANTS))
            summed = np.zeros((24, len(meals.DISHES)))
            for variant, name in enumerate(eyes.dishes):
                (dish,) = {plate.dish for plate in meals.PLATES if plate.variant == name}
                summed[:, meals.DISHES.index(dish)] += seen.dishes[:, variant]
            np.testing.assert_allclose(stacked(run(system), "dish_probabilities"), summed, 1e-4)
            assert "ingredient_probabilities" not in frame
        else:
            for column, values in (
                ("dish_probabilities", seen.dishes),
                ("ingredient_probabilities", seen.ingredients),
            ):
                np.testing.assert_allclose(stacked(run(system), column), values, 1e-4)
            assert (stacked(run(system), "named") == seen.named).all()

    def test_names_stand_beside_them(self, run):
        for system in (*SCORED, "naive"):
            names = json.loads((run(system).folder / "names.json").read_text())
            assert names == {"dishes": meals.DISHES, "ingredients": KNOWN}

    def test_baselines_know_what_they_were_counted_on(self, run):
        for system in ("majority", "frequencies", "naive"):
            facts = run(system).provenance
            assert facts["images"] == run("two_networks").provenance["images"]
            assert (
                facts["dataset_fingerprint"]
                == (run("two_networks").provenance["dataset_fingerprint"])
            )
            assert "best_epoch" not in facts


class TestPrompts:
    def test_perceptions_are_made_first(self, dinner):
        assert sorted(dinner.first) == ["shared_backbone", "supervised", "two_networks"]

    def test_the_better_one_on_validation_data_is_asked(self, run):
        scores = {name: run(name).provenance["best_score"] for name in TRAINED[:2]}
        for system in ("naive", "supervised", "shuffled", "typical", "oracle"):
            assert run(system).provenance["perception"] == max(scores, key=scores.__getitem__)

    @pytest.mark.parametrize(
        ("first", "second", "asked"),
        [(0.5, 0.4, "two_networks"), (0.4, 0.5, "shared_backbone"), (0.5, 0.5, "two_networks")],
    )
    def test_the_first_of_equals(self, sandbox, serve, ordered, first, second, asked):
        for system, score in zip(TRAINED[:2], (first, second), strict=True):
            facts = {"best_score": score}
            serve(sandbox / "root", system, seen=meals.eyes(1.0), dataset="tiny", facts=facts)
        assert better(ordered("supervised", dataset="tiny")).system == asked

    def test_prompts_tell_what_that_one_saw(self, run):
        asked = run(run("supervised").provenance["perception"]).predictions
        for prompt, named in zip(
            run("supervised").predictions["prompt"], asked["named"], strict=True
        ):
            (line,) = [one for one in prompt.split("\n") if one.startswith("Visible")]
            told = [one.rpartition(" (")[0] for one in line.partition(": ")[2].split(", ")]
            wanted = [KNOWN[s] for s in np.flatnonzero(named)]
            assert sorted(filter(None, told)) == wanted

    def test_scores_are_means_over_plates(self, run):
        frame, found = run("oracle").predictions, run("oracle").metrics
        assert found["n"] == len(frame) == 24
        assert [len(texts) for texts in frame["recipes"]] == [2] * 24
        for name in ("grounding_precision", "grounding_recall", "bleu4", "rouge_l"):
            assert found[name] == pytest.approx(frame[name].mean())
        assert list(frame["id"]) == list(run("two_networks").predictions["id"])


class TestOnce:
    @pytest.mark.parametrize("system", ["majority", "two_networks", "supervised"])
    def test_an_evaluated_run_is_left_alone(self, run, smallest, system, capsys):
        folder = run(system).folder
        before = {f: f.stat().st_mtime_ns for f in folder.rglob("*") if f.name != ".lock"}
        assert evaluate(smallest(system)) == folder
        assert capsys.readouterr().out == f"{folder}: already evaluated\n"
        after = {f: f.stat().st_mtime_ns for f in folder.rglob("*") if f.name != ".lock"}
        assert after == before

    def test_an_unfinished_one_is_finished_without_training(self, copy, smallest):
        folders = {name: smallest(name).folder() for name in ("supervised", "two_networks")}
        before = {name: load_run(folder).metrics for name, folder in folders.items()}
        weights = folders["two_networks"] / "model.safetensors"
        made = weights.stat().st_mtime_ns
        for folder in folders.values():
            (folder / "metrics.json").unlink()
        evaluate(smallest("supervised"))
        assert {name: load_run(folder).metrics for name, folder in folders.items()} == before
        assert weights.stat().st_mtime_ns == made

    @pytest.mark.parametrize("system", ["supervised", "two_networks"])
    def test_other_pictures_than_those_of_training_are_refused(self, copy, smallest, system):
        folder = smallest(system).folder()
        (folder / "metrics.json").unlink()
        (drawn,) = paths.cache().glob("kitchen*/images")
        picture = next(drawn.rglob("*.png"))
        Image.new("RGB", (96, 96)).save(picture)
        message = refused(evaluate, smallest(system))
        assert "was trained on other images than" in message
        assert not (folder / "metrics.json").exists()


@pytest.mark.parametrize("system", ["oracle", "majority", "shared_backbone@variants"])
def test_who_does_not_see_all_of_a_plate_is_not_asked(smallest, system):
    assert refused(eyes, smallest("naive"), system) == (
        f"writing.perception: `{system}` does not see both dishes and ingredients; name networks "
        "that do"
    )
