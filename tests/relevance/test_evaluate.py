"""Scores of a run against the network asked caption by caption, and scikit-learn."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from sentences import refused
from studies.inputs.splits import PARTS
from studies.relevance import data
from studies.relevance.filter import relevance
from studies.runs.folder import load_run


@pytest.fixture
def evaluate():
    from studies.relevance.evaluate import evaluate

    return evaluate


def probabilities(run, parameters):
    """What the network of a run says of each caption, one by one, (N, C)."""
    found, reader = data.read(parameters), run.model()
    rows = []
    for text in found.captions["text"]:
        (tokens,) = reader.words.tokens([text])
        tokens = [reader.words.begin, *tokens[: parameters.max_tokens - 2], reader.words.end]
        given = torch.tensor([tokens])
        with torch.no_grad():
            rows.append(reader.network(given, torch.ones_like(given).bool())[0].double())
    return torch.stack(rows).sigmoid().numpy(), found


def of_sklearn(frame, score, part):
    held = frame[frame["part"] == part]
    truth, kept = held["relevant"].astype(bool), held["kept"]
    return {
        "precision": precision_score(truth, kept, zero_division=np.nan),
        "recall": recall_score(truth, kept),
        "rejected": recall_score(~truth, ~kept),
        "auc": roc_auc_score(truth, held[score]),
    }


def check_scores(run, score):
    frame, found = run.predictions, run.metrics
    trained = {f"{n}_trained": v for n, v in of_sklearn(frame, score, "train").items()}
    wanted = of_sklearn(frame, score, "test") | trained
    assert set(found) == {*wanted, "kept"}
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, nan_ok=True), name
    assert found["kept"] == frame["kept"].sum()


def check_described(frame, parameters):
    found = data.read(parameters)
    assert frame["id"].tolist() == found.captions["image"][:]
    assert frame["id"].is_unique
    assert frame["class"].tolist() == found.captions["wnid"][:]
    assert frame["part"].tolist() == data.split(found, parameters).tolist()
    assert frame["relevant"].tolist() == found.captions["relevant"][:]


class TestPredictor:
    def test_predictions_are_the_filter_s_on_the_whole_matrix(self, predicted, small):
        run, parameters = load_run(predicted), small()
        likely, found = probabilities(run, parameters)
        wanted = relevance(likely, found.target, **parameters.filter.model_dump())
        frame = run.predictions
        check_described(frame, parameters)
        assert np.allclose(frame["probability"], wanted["probability"], atol=1e-6)
        # rounding decides nothing but where a probability lies on a threshold
        own, mean = wanted["probability"], likely.mean(1)
        clear = np.min(np.abs([own - 0.4, own - 0.55, own - mean]), axis=0) > 1e-5
        assert clear.mean() > 0.9
        for name in ("kept", "reason"):
            assert frame[name][clear].tolist() == wanted[name][clear].tolist()
        assert np.allclose(
            frame["coefficient"][clear], wanted["coefficient"][clear], atol=1e-4, equal_nan=True
        )
        assert 0 < frame["kept"].sum() < len(frame)
        assert set(frame["part"]) == set(PARTS)

    def test_scores(self, predicted):
        check_scores(load_run(predicted), "probability")

    @pytest.mark.parametrize("curve", ["rank", "power"])
    def test_the_curve_is_of_all_captions(self, kitchen, small, evaluate, curve):
        changes = {"filter.curve": curve, "filter.sure": 0.45, "filter.threshold": 0.3}
        parameters = small(changes=changes | {"training.epochs": 1})
        run = load_run(evaluate(parameters))
        likely, found = probabilities(run, parameters)
        wanted = relevance(likely, found.target, **parameters.filter.model_dump())
        both = run.predictions["kept"] & wanted["kept"]
        assert both.sum() > 10
        found, wanted = run.predictions["coefficient"][both], wanted["coefficient"][both]
        # a probability that rounding moves over the threshold shifts every rank by one step
        assert np.allclose(found, wanted, atol=2 / both.sum() if curve == "rank" else 1e-4)


class TestBaselines:
    @pytest.mark.parametrize("system", ["name_match", "tfidf"])
    def test_they_are_scored_as_the_predictor_is(self, kitchen, small, evaluate, system):
        parameters = small(system)
        run = load_run(evaluate(parameters))
        check_described(run.predictions, parameters)
        check_scores(run, "lead")
        facts = run.provenance
        found = data.read(parameters)
        parts = run.predictions["part"].value_counts()
        assert facts["dataset_fingerprint"] == found.fingerprint
        assert facts["captions"] == {part: parts[part] for part in PARTS}
        assert not (run.folder / "model.safetensors").exists()

    def test_name_match_by_hand(self, kitchen, small, evaluate):
        parameters = small("name_match")
        frame = load_run(evaluate(parameters)).predictions
        captions = data.read(parameters).captions
        for kept, text, wnid in zip(frame["kept"], captions["text"], frame["class"], strict=True):
            said = text.lower().replace(".", " ").replace(",", " ").split()
            name = wnid.split("_")
            places = range(len(said) - len(name) + 1)
            if any(said[place : place + len(name)] == name for place in places):
                assert kept
            if name[0] not in text.lower():
                assert not kept
        assert 0 < frame["kept"].sum() < len(frame)

    def test_tfidf_keeps_the_most_similar(self, kitchen, small, evaluate):
        from studies.relevance import baselines

        parameters = small("tfidf")
        frame = load_run(evaluate(parameters)).predictions
        found = data.read(parameters)
        ((_, similar),) = baselines.similarities(parameters, found)
        for row, own in enumerate(found.target):
            others = np.delete(similar[row], own)
            assert frame["lead"][row] == similar[row, own] - others.max()
            assert frame["kept"][row] == (similar[row, own] > others.max())


class TestDownstream:
    def test_what_it_builds_on_is_made_first(self, kitchen, small, evaluate):
        parameters = small("downstream_weighted")
        run = load_run(evaluate(parameters))
        assert (parameters.sister("predictor").folder() / "metrics.json").exists()
        test = data.split(data.read(parameters), parameters) == "test"
        likely, found = probabilities(run, parameters)
        frame = run.predictions
        assert frame["id"].tolist() == [
            one for one, is_ in zip(found.captions["image"], test, strict=True) if is_
        ]
        assert set(frame["part"]) == {"test"}
        assert frame["said"].tolist() == [found.wnids[one] for one in likely[test].argmax(1)]
        assert frame["class"].tolist() == [found.wnids[one] for one in found.target[test]]
        told = frame[frame["relevant"].astype(bool)]
        assert 0 < len(told) < len(frame)
        labels = told["class"].unique()
        macro = {"labels": labels, "average": "macro", "zero_division": 0}
        assert run.metrics == {
            "accuracy": pytest.approx(accuracy_score(told["class"], told["said"])),
            "macro_f1": pytest.approx(f1_score(told["class"], told["said"], **macro)),
        }

    def test_all_waits_for_nobody(self, kitchen, small, evaluate):
        parameters = small("downstream_all")
        evaluate(parameters)
        assert [one.name for one in (kitchen / "runs" / "small" / "relevance").iterdir()] == [
            "downstream_all"
        ]


class TestAgain:
    def test_what_is_done_is_left_alone(self, predicted, small, evaluate, capsys):
        before = {f: f.stat().st_mtime_ns for f in predicted.rglob("*.*") if f.name != ".lock"}
        assert evaluate(small()) == predicted
        assert capsys.readouterr().out == f"{predicted}: already evaluated\n"
        assert before == {file: file.stat().st_mtime_ns for file in before}

    def test_an_evaluation_that_was_cut_off_ends_the_same(self, predicted, small, evaluate):
        files = [predicted / name for name in ("predictions.parquet", "metrics.json")]
        before = [file.read_bytes() for file in files]
        files[1].unlink()
        files[0].write_bytes(b"half")
        evaluate(small())
        assert [file.read_bytes() for file in files] == before

    def test_other_captions(self, predicted, small, evaluate):
        (predicted / "metrics.json").unlink()
        file = predicted / "provenance.json"
        facts = json.loads(file.read_text())
        file.write_text(json.dumps(facts | {"dataset_fingerprint": "another"}))
        told = refused(evaluate, small())
        assert told.startswith(f"{predicted} was trained on other captions or class texts")
        assert not (predicted / "metrics.json").exists()

    def test_other_parameters(self, predicted, small, evaluate):
        told = refused(evaluate, small(changes={"filter.threshold": 0.3}))
        assert "made with other parameters" in told
        assert "filter" in told


def test_without_truth(sandbox, small, evaluate):
    """As of published captions: what is kept is counted, a classifier scored on all of the test."""
    place = sandbox / "data" / "imagenet_captions"
    place.mkdir(parents=True)
    records = [
        {"filename": f"n{kind}_{n}", "wnid": f"n{kind}", "title": f"a {name} number {n}"}
        for kind, name in enumerate(["cat", "dog"])
        for n in range(20)
    ]
    (place / "imagenet_captions.json").write_text(json.dumps(records))
    texts = [f"n{k},{n},The {n} is one. It is old." for k, n in enumerate(["cat", "dog"])]
    (place / "class_texts.csv").write_text("\n".join(["wnid,class,text", *texts]))
    changes = {"source": {"name": "imagenet_captions", "images": None}}
    run = load_run(evaluate(small("name_match", changes)))
    assert run.metrics == {"kept": 40}
    assert run.predictions["relevant"].isna().all()
    classifier = load_run(evaluate(small("downstream_all", changes | {"training.epochs": 4})))
    frame = classifier.predictions
    assert isinstance(frame, pd.DataFrame)
    assert classifier.metrics["accuracy"] == pytest.approx((frame["said"] == frame["class"]).mean())
