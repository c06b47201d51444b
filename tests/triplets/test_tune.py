"""Tuning: as many trials for every model, validation data alone, nothing trained twice."""

import csv
import math

import numpy as np
import pytest
import yaml

from plug import noting
from sentences import kept, refused
from studies import paths
from studies.triplets import data, tune

NAME = "colours_tuning"


def stages(rate, mining):
    return [{"from_epoch": 0, "learning_rate": rate, "mining": mining}]


TRIALS = {
    "cross_entropy": {
        "first": {},
        "slow": {"stages": stages(0.0005, None)},
        "longer": {"epochs": 4, "validate_every": 2},
    },
    "triplet": {
        "first": {},
        "margin_1": {"loss": {"name": "triplet", "margin": 1.0, "take": "closest"}},
        "fast": {"stages": stages(0.01, "hardest")},
    },
}


@pytest.fixture
def trials_of(sandbox, colours, parameters, monkeypatch):
    """A repository that tunes two models on the colours; return a function that writes trials."""
    colours(sandbox / "data" / "colours", 12)
    models = {model: parameters(model).resolved() for model in (*TRIALS, "hybrid")}
    monkeypatch.setattr(paths, "REPOSITORY", sandbox)
    folder = sandbox / "params" / "triplets" / NAME
    (folder / "trials").mkdir(parents=True)
    own = ("model", "variant", "seed", "loss", "decide", "stages", "study")

    def write(model, trials):
        given = models[model] | {"dataset": NAME}
        shared = {name: value for name, value in given.items() if name not in own}
        (folder / "dataset.yaml").write_text(yaml.safe_dump(shared))
        base = {name: given[name] for name in ("model", "loss", "decide")}
        base["stages"] = stages(0.003, given["stages"][0]["mining"])
        content = {"base": base, "trials": trials}
        (folder / "trials" / f"{model}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))

    return write


@pytest.fixture
def house(trials_of, sandbox):
    for model, trials in TRIALS.items():
        trials_of(model, trials)
    return sandbox


def rows_of(file) -> list[dict[str, str]]:
    with file.open(newline="") as table:
        return list(csv.DictReader(table))


def run_folder(house, model, trial):
    return house / "root/runs" / NAME / "triplets" / f"{model}@{trial}" / "seed0"


def test_the_record_is_what_the_curves_say_and_nothing_is_tested(house):
    file = tune.tune(NAME)
    assert file == house / "root/reports" / NAME / "triplets_tuning.csv"
    rows = rows_of(file)
    assert [(row["model"], row["trial"]) for row in rows] == [
        (model, trial) for model, trials in TRIALS.items() for trial in trials
    ]
    for row in rows:
        curves = rows_of(run_folder(house, row["model"], row["trial"]) / "curves.csv")
        scores = [float(epoch["validation_macro_f1"] or math.nan) for epoch in curves]
        best = scores.index(max(score for score in scores if not math.isnan(score)))
        assert row["epoch"] == curves[best]["epoch"]
        assert float(row["validation_macro_f1"]) == pytest.approx(scores[best], abs=5e-5)
        severe = float(curves[best]["validation_severe_errors"])
        assert int(row["validation_severe_errors"]) == severe
        assert int(row["images"]) == 7 * 2  # a fifth of the 12 of each class
    assert rows[1]["setting"] == "stages 1 learning_rate 0.0005"
    names = {name.rpartition("/")[2] for name in kept(house / "root")}
    assert not names & {"metrics.json", "predictions.parquet", "items.json"}


def test_test_images_have_no_say(house, monkeypatch, draw):
    before = tune.tune(NAME).read_bytes()
    settings = tune.trials(NAME)["triplet"][0]
    found = data.read(settings)
    parts = data.split(found, settings)
    for number in np.flatnonzero(parts == "test"):
        draw(found.paths[number], (128, 128, 128), seed=9000 + number, noise=90)
    monkeypatch.setenv("STUDIES_ROOT", str(house / "other"))
    assert tune.tune(NAME).read_bytes() == before


def test_a_killed_tuning_records_what_is_finished_and_goes_on(house, monkeypatch, learner):
    whole = tune.tune(NAME).read_bytes()
    monkeypatch.setenv("STUDIES_ROOT", str(house / "again"))
    trained, falls = [], True

    def fall(watched, at, _):
        trained.append((watched.settings.system, at[0]))
        if falls and trained[-1] == ("triplet@margin_1", 1):
            raise RuntimeError("the plug is pulled")

    noting(monkeypatch, learner, fall)
    with pytest.raises(RuntimeError, match="the plug"):
        tune.tune(NAME)
    record = tune.record(NAME)
    finished = [("cross_entropy", trial) for trial in TRIALS["cross_entropy"]]
    finished.append(("triplet", "first"))
    assert list(zip(record["model"], record["trial"], strict=True)) == finished
    assert not (house / "again/reports").exists()
    falls = False
    trained.clear()
    assert tune.tune(NAME).read_bytes() == whole
    rest = {("triplet@margin_1", 1), ("triplet@margin_1", 2)}
    assert set(trained) == rest | {("triplet@fast", epoch) for epoch in range(3)}
    trained.clear()
    assert tune.tune(NAME).read_bytes() == whole
    assert trained == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"first": {"epoch": 2}}, "did you mean `epochs`?"),
        ({"First": {}}, "`variant`"),
        ({"first": None}, "must hold `base` and `trials`"),
        ({"first": {}}, "needs the same number of trials"),
    ],
)
def test_wrong_trials_are_refused_before_anything_is_trained(house, trials_of, content, words):
    trials_of("triplet", content)
    message = refused(tune.tune, NAME)
    assert message.startswith(f"params/triplets/{NAME}/trials")
    assert words in message
    assert kept(house / "root") == []
