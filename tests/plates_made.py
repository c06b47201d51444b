"""Runs of the recipes study, as a plugin of pytest: `pytest_plugins = ["plates_made"]`."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

import meals
import noted
from studies.recipes import texts, writers
from studies.recipes.evaluate import evaluate
from studies.recipes.params import Parameters
from studies.reporting import bootstrap
from studies.runs.files import to_json
from studies.runs.folder import finished
from studies.runs.params import read_yaml, run_files


@pytest.fixture(scope="session")
def ordered():
    """Return a function that gives the parameters of a system of `tiny`, on a few drawn plates.

    A variant that `tiny` lacks is its model under another name.
    """

    def make(system: str = "two_networks", **changes) -> Parameters:
        model, _, variant = system.partition("@")
        known, values = run_files("recipes", "tiny"), {}
        for file in known.get(system, known[model]):
            values |= read_yaml(file)
        smaller = {"variant": variant, "seed": 0, "source": meals.SOURCE}
        return Parameters.check(values | smaller | changes, {"": "test"})

    return make


@pytest.fixture(scope="session")
def serve(ordered):
    """Return a function that writes an evaluated run of the plates of `meals` by hand.

    What it says is `seen`, columns as `meals.eyes` gives them, or `recipes` of every plate. It has
    no weights.
    """

    def write(
        root: Path,
        system: str,
        seed: int = 0,
        seen: dict | None = None,
        recipes: list[list[str]] | None = None,
        dataset: str = "made_up",
        facts: dict | None = None,
        found: dict | None = None,
        **changes,
    ) -> Path:
        settings = ordered(system, dataset=dataset, seed=seed, **changes)
        folder = root / "runs" / dataset / "recipes" / system / f"seed{seed}"
        folder.mkdir(parents=True)
        (folder / "params.yaml").write_text(yaml.safe_dump(settings.resolved()))
        columns = seen or {
            **{**meals.TRUTH, "prompt": ["Write."] * len(meals.IDS), "recipes": recipes},
            "self_bleu": texts.self_bleu(recipes, meals.DISH, meals.PRESENT),
        }
        frame = pd.DataFrame(columns)
        frame.to_parquet(folder / "predictions.parquet")
        found = found or ({"distinct_2": 0.25} if recipes else {})
        (folder / "metrics.json").write_text(json.dumps({**found, "n": len(frame)}))
        names = {"dishes": meals.DISHES, "ingredients": meals.INGREDIENTS}
        (folder / "items.json").write_text(json.dumps(names))
        known = {**noted.RUN, "images": {"train": 10, "validation": 2, "test": len(frame)}}
        if recipes:
            known["perception"] = "two_networks"
        if settings.trained:
            known |= noted.TRAINING
            (folder / "curves.csv").write_text(
                "epoch,step,learning_rate,train_loss,validation_score,validation_dish_top1\n"
                "1,10,0.001,2.5,0.3,0.2\n2,20,0.001,1.8,0.5,0.4\n"
            )
        (folder / "provenance.json").write_text(to_json(known | (facts or {})))
        return folder

    return write


@pytest.fixture(scope="session")
def smallest(ordered):
    """Return a function that gives the parameters of a system that is trained in a second."""
    writing = ordered("naive").writing.model_dump() | {"max_tokens": 12, "recipes": 2}
    writing["generator"] |= {"width": 8, "layers": 1, "heads": 2, "steps": 2, "batch": 64}
    small = {
        "source": {"name": "kitchen", "per_variant": 3, "seed": 0},
        **{"validation_share": 0.3, "test_share": 0.34, "image_size": 16, "epochs": 1},
        "writing": writing,
    }
    return lambda system, **changes: ordered(system, **(small | changes))


@pytest.fixture(scope="session")
def dinner(tmp_path_factory, smallest):
    """Every system of `tiny` at its smallest, trained and evaluated once.

    `root` holds the runs, `first` those that were there after the first system, `supervised`.
    """
    root, first = tmp_path_factory.mktemp("dinner"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIES_ROOT", str(root))
        patch.setattr(writers, "PLATES", 1)
        patch.setattr(writers, "WORDS", 300)
        for system in ("supervised", *run_files("recipes", "tiny")):
            evaluate(smallest(system))
            first = first or [run.system for run in finished(root / "runs/tiny/recipes")]
    return SimpleNamespace(root=root, first=first)


@pytest.fixture
def few_resamples(monkeypatch):
    """Bootstraps of 100 resamples, not of 2000: rougher, and twenty times as fast."""
    monkeypatch.setattr(bootstrap, "measure", partial(bootstrap.measure, resamples=100))
