"""Runs of the relevance study, as a plugin of pytest: `pytest_plugins = ["captions_made"]`."""

from functools import cache, partial
from pathlib import Path

import pytest
import yaml

import hearsay
import noted
from studies import paths
from studies.relevance import data, report
from studies.relevance.params import FILE, Parameters
from studies.reporting import bootstrap
from studies.runs.files import to_json
from studies.runs.params import load_parameters, read_yaml, run_files


@cache
def shipped(model: str) -> dict:
    values = {}
    for file in run_files("relevance", "tiny").get(model, ()):
        values |= read_yaml(file)
    return values


@pytest.fixture(scope="session")
def tell():
    """Return a function that writes an evaluated run of the captions of `hearsay` by hand.

    What it says is `says`, columns as `hearsay` gives them. It has no weights. A variant is its
    model under another name.
    """

    def write(
        root: Path,
        system: str,
        seed: int = 0,
        says: dict | None = None,
        dataset: str = "made_up",
        known: bool = True,
        facts: dict | None = None,
        found: dict | None = None,
    ) -> Path:
        model, _, variant = system.partition("@")
        values = shipped("name_match" if model == "clip" else model) | {"model": model}
        given = {"dataset": dataset, "variant": variant, "seed": seed, "source": hearsay.SOURCE}
        settings = Parameters.check(values | given, {"": "test"})
        if dataset == "imagenet_captions":  # as `params/` says
            settings = load_parameters("relevance", dataset, system, seed)
        folder = root / "runs" / dataset / "relevance" / system / f"seed{seed}"
        folder.mkdir(parents=True)
        (folder / "params.yaml").write_text(yaml.safe_dump(settings.resolved()))
        frame = hearsay.frame(says, known)
        frame.to_parquet(folder / "predictions.parquet")
        kept = {"kept": int(sum(says["kept"]))} if "kept" in says else {}
        (folder / "metrics.json").write_text(to_json(kept | (found or {})))
        (folder / "items.json").write_text(to_json(hearsay.ITEMS))
        facts = {
            **noted.RUN,
            "captions": {"train": 60, "validation": 12, "test": 48},
            **(facts or {}),
        }
        if (paths.data() / FILE).exists():
            facts["dataset_fingerprint"] = data.read(settings).fingerprint
        if settings.trained:
            facts = noted.TRAINING | facts
            (folder / "curves.csv").write_text(
                "epoch,step,learning_rate,train_loss,validation_accuracy\n"
                "1,10,0.001,0.5,0.3\n2,20,0.001,0.3,0.5\n"
            )
        (folder / "provenance.json").write_text(to_json(facts))
        return folder

    return write


@pytest.fixture
def tells(sandbox, tell):
    """Write a run below the sandbox's root."""
    return lambda system, seed=0, **options: tell(sandbox / "root", system, seed, **options)


@pytest.fixture
def few_resamples(monkeypatch):
    """Bootstraps of 100 resamples, not of 2000: rougher, and twenty times as fast."""
    monkeypatch.setattr(report, "measure", partial(bootstrap.measure, resamples=100))
