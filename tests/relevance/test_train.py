"""Training at a size of seconds: its losses, what it sees and does not see, its bits."""

import math
import shutil
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import hearsay
from changing import bits, change_run
from sentences import refused
from studies.inputs.reading import PARTS
from studies.learning import compute
from studies.relevance import data
from studies.relevance.examples import Texts, words
from studies.relevance.model import build
from studies.relevance.train import (
    Reading,
    halves,
    predictor_loss,
    train,
    training_captions,
    untrained,
    weighted_cross_entropy,
    with_sentences,
)
from studies.runs.folder import load_run

BAG_LIKE = SimpleNamespace(name="bag", vocabulary=300)
BAG = {"name": "bag", "width": 16, "vocabulary": 400}
STILL = {"training.learning_rate": 1e-30, "training.weight_decay": 0.0}  # fp32 shows no step
ONE_STEP = STILL | {"training.batch": 10_000, "training.epochs": 1}
WEIGHTED = "downstream_weighted"


@pytest.fixture
def seen(monkeypatch):
    """The batches that were made: rows, whether they are examples, and what came of them."""
    made, get = [], Texts.__getitem__

    def spy(self, rows):
        made.append((list(rows), self, get(self, rows)))
        return made[-1][2]

    monkeypatch.setattr(Texts, "__getitem__", spy)
    return made


@pytest.fixture
def steps(seen, monkeypatch):
    """The batches of training steps, rather than those of validation."""
    taken, loss = [], Reading.loss

    def spy(self, batch):
        taken.append(next(one for one in seen if one[2][0] is batch[0]))
        return loss(self, batch)

    monkeypatch.setattr(Reading, "loss", spy)
    return taken


def known(parameters):
    """The collection, and the rows of each part."""
    found = data.read(parameters)
    parts = data.split(found, parameters)
    return found, {part: np.flatnonzero(parts == part) for part in PARTS}


def fresh(parameters):
    """Tokenizer and network that training begins with."""
    found, rows = known(parameters)
    texts = [found.captions["text"][row] for row in rows["train"].tolist()]
    tokenizer = words(parameters.encoder, [*texts, *found.texts])
    compute.prepare(parameters)
    return tokenizer, build(parameters, len(found.wnids), tokenizer)


class TestLoss:
    def test_both_by_hand(self):
        logits, target = torch.tensor([[2.0, -1.0, 0.0], [0.5, 3.0, -2.0]]), torch.tensor([0, 2])
        weight, binary, weighted = torch.tensor([0.25, 1.75]), 0, 0
        for row, own, times in zip(logits.tolist(), target.tolist(), weight.tolist(), strict=True):
            for place, one in enumerate(row):
                p = 1 / (1 + math.exp(-one))
                binary -= math.log(p if place == own else 1 - p) / 6
            weighted -= times * math.log(math.exp(row[own]) / sum(map(math.exp, row))) / 2
        assert predictor_loss(logits, target).item() == pytest.approx(binary, rel=1e-6)
        loss = weighted_cross_entropy(logits, target, weight).item()
        assert loss == pytest.approx(weighted, rel=1e-6)

    @pytest.mark.parametrize("append", [True, False])
    def test_the_predictor_s_step(self, kitchen, small, append):
        """All examples in one batch: captions joined with their sentences as texts."""
        changes = ONE_STEP | {"predictor.encoder": BAG, "predictor.dropout": 0.0}
        changes |= {"predictor.epoch_share": 1.0, "predictor.append_sentences": append}
        parameters = small(changes=changes | {"max_tokens": 400})
        run = load_run(train(parameters))
        found, rows = known(parameters)
        tokenizer, network = fresh(parameters)
        losses = []
        for row in rows["train"].tolist():
            caption, wnid = (found.captions[row][name] for name in ("text", "wnid"))
            own = found.wnids.index(wnid)
            for sentence in found.sentences[own]:
                text = f"{caption} {sentence}" if append else caption
                (tokens,) = tokenizer.tokens([text])
                given = torch.tensor([[tokenizer.begin, *tokens, tokenizer.end]])
                with torch.no_grad():
                    said = network(given, given >= 0)[0].double().sigmoid().numpy()
                right = [p if place == own else 1 - p for place, p in enumerate(said)]
                losses.append(-np.log(right).mean())
        assert run.curves["train_loss"].item() == pytest.approx(np.mean(losses), rel=1e-5)
        stored = load_file(run.folder / "model.safetensors")
        for name, value in network.named_parameters():
            assert torch.allclose(stored[name], value, rtol=0, atol=1e-20), name

    @pytest.mark.parametrize("captions", ["all", "kept", "weighted", "random"])
    def test_the_classifier_s_step(self, predicted, small, steps, captions):
        parameters = small(f"downstream_{captions}", ONE_STEP | {"downstream.dropout": 0.0})
        run = load_run(train(parameters))
        found, rows = known(parameters)
        _, network = fresh(parameters)
        ((chosen, _, (tokens, real, target, weight)),) = steps
        assert len(chosen) == len(rows["train"])
        scores = load_run(predicted).predictions
        kept_ = scores.index[(scores["part"] == "train") & scores["kept"]]
        coefficient = scores["coefficient"] / scores["coefficient"][kept_].mean()
        with torch.no_grad():
            likely = network(tokens, real).double().softmax(1).numpy()
        losses = []
        for row, said, own, times in zip(chosen, likely, target, weight, strict=True):
            assert found.captions[row]["wnid"] == found.wnids[own]
            wanted = coefficient[row] if captions == "weighted" else 1
            assert times.item() == pytest.approx(wanted)
            losses.append(-wanted * math.log(said[own]))
        assert run.curves["train_loss"].item() == pytest.approx(np.mean(losses), rel=1e-5)
        if captions in ("kept", "weighted"):
            assert set(chosen) == set(kept_)
        assert run.provenance["trained_on"] == len(set(chosen))


class TestWhatIsSeen:
    def test_captions_alone_are_the_same_rows_in_the_same_steps(self, elsewhere, small, steps):
        batches = {}
        for system in ("predictor", "predictor@captions_alone"):
            elsewhere(system.replace("@", "_"))
            parameters = small(system, {"max_tokens": 300})
            run = load_run(train(parameters))
            batches[system] = list(steps)
            steps.clear()
        whole, alone = batches.values()
        assert [rows for rows, *_ in whole] == [rows for rows, *_ in alone]
        assert len(whole) == run.curves["step"].iloc[-1]
        found, pairs = data.read(parameters), data.read(parameters).pairs()[1]
        shorter = 0
        for (rows, texts, both), (_, _, caption) in zip(whole, alone, strict=True):
            assert torch.equal(both[2], caption[2])
            for place, row in enumerate(rows):
                said = found.captions[int(pairs[row, 0])]["text"]
                (tokens,) = texts.words.tokens([said])
                read = caption[0][place][caption[1][place]].tolist()[1:-1]
                assert read == tokens
                shorter += len(read) < both[1][place].sum() - 2
        assert shorter == sum(len(rows) for rows, *_ in whole)

    def test_validation_reads_captions_alone(self, kitchen, small, monkeypatch):
        read, scores = [], Reading.scores

        def spy(self, batches, curves):
            batches = list(batches)
            for tokens, real, target, _ in batches:
                for one, which, own in zip(tokens, real, target, strict=True):
                    read.append((tuple(one[which].tolist()), int(own)))
            return scores(self, batches, curves)

        monkeypatch.setattr(Reading, "scores", spy)
        parameters = small(changes={"training.epochs": 1})
        run = load_run(train(parameters))
        found, rows = known(parameters)
        reader = run.model()
        wanted = []
        for row in rows["validation"].tolist():
            (tokens,) = reader.words.tokens([found.captions[row]["text"]])
            text = (reader.words.begin, *tokens[: parameters.max_tokens - 2], reader.words.end)
            wanted.append((text, int(found.target[row])))
        assert sorted(read) == sorted(wanted)
        said = reader.logits([found.captions[row]["text"] for row in rows["validation"].tolist()])
        right = np.mean(said.argmax(1) == found.target[rows["validation"]])
        assert run.curves["validation_accuracy"].item() == pytest.approx(right)


class TestVariants:
    """What stands behind a caption in training, and how many examples there are."""

    def examples(self, small, **changes):
        parameters = small(changes={f"predictor.{name}": one for name, one in changes.items()})
        found, rows = known(parameters)
        _, alone = untrained(parameters, found, rows["train"], None)
        texts, batches = with_sentences(parameters, found, rows["train"], alone)
        return found, texts, batches, rows["train"]

    @pytest.mark.parametrize("each", [1, 2])
    def test_so_many_sentences_of_each_caption(self, kitchen, small, each):
        found, texts, batches, train = self.examples(small, sentences_each=each)
        counts = Counter(texts.pairs[batches.rows, 0].tolist())
        wanted = np.minimum(found.sentence_counts[found.target[train]], each)
        assert counts == dict(zip(train.tolist(), wanted.tolist(), strict=True))
        assert len(set(batches.rows.tolist())) == len(batches.rows)

    def test_another_class_s_sentence_or_the_name(self, kitchen, small):
        found, own, batches, _ = self.examples(small)
        _, wrong, others, _ = self.examples(small, appended="wrong")
        _, name, named, _ = self.examples(small, appended="name")
        assert len(batches) == len(others) == len(named)  # equal steps
        owner = np.repeat(np.arange(len(found.wnids)), found.sentence_counts)
        classes = found.target[own.pairs[:, 0]]
        assert (owner[own.pairs[:, 1]] == classes).all()
        assert (owner[wrong.pairs[:, 1]] != classes).all()
        assert (name.pairs[:, 1] == classes).all()
        assert name.sentences == own.words.tokens(found.names)

    def test_a_half_is_left_out(self, kitchen, small):
        sizes = []
        for fold in (0, 1):
            folder = train(small(changes={"predictor.fold": fold, "training.epochs": 1}))
            sizes.append(load_run(folder).provenance["trained_on"])
            shutil.rmtree(folder)
        _, rows = known(small())
        assert sum(sizes) == len(rows["train"])
        assert abs(sizes[0] - sizes[1]) <= 1

    def test_exclusive_classes_are_a_softmax(self, kitchen, small):
        parameters = small(changes={"predictor.exclusive": True})
        logits, target = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
        learner = Reading(parameters, build(parameters, 3, words(BAG_LIKE, ["a b"])), 1)
        learner.network.forward = lambda *_: logits
        wanted = -logits.log_softmax(1)[range(5), target].mean()
        assert torch.allclose(learner.loss((None, target, torch.ones(5))), wanted)


def test_test_captions_change_no_bit_of_the_weights(sandbox, small, monkeypatch):
    source = {"name": "imagenet_captions", "images": None}
    parameters = small(changes={"source": source, "training.epochs": 1})
    hearsay.publish(sandbox / "data")
    _, rows = known(parameters)
    found = {}
    for name, others in {"before": [], "test": rows["test"], "train": rows["train"][:5]}.items():
        monkeypatch.setenv("STUDIES_ROOT", str(sandbox / name))
        texts = [f"zebra {n} quagga" if n in others else x for n, x in enumerate(hearsay.TEXTS)]
        shutil.rmtree(sandbox / "data" / "imagenet_captions")
        hearsay.publish(sandbox / "data", texts)
        folder = train(parameters)
        found[name] = bits(folder), load_run(folder).provenance
    assert found["test"][0] == found["before"][0]
    assert found["train"][0] != found["before"][0]
    assert len({facts["dataset_fingerprint"] for _, facts in found.values()}) == 3
    assert found["before"][1]["captions"] == {part: len(rows[part]) for part in PARTS}


class TestTrainingCaptions:
    """Which captions are taken, against the predictor's run folder read as a table."""

    @pytest.fixture
    def take(self, predicted, small):
        """Return a function that gives what is taken, with the training captions."""

        def take(captions, seed=0):
            parameters = small(f"downstream_{captions}", seed=seed)
            if seed:  # the predictor of another seed, with the same scores
                other = parameters.sister("predictor").folder()
                shutil.copytree(predicted, other, dirs_exist_ok=True)
            found, rows = known(parameters)
            parts = data.split(found, parameters)
            return *training_captions(parameters, found, parts), rows["train"]

        return take

    def test_crossed_scores_are_of_the_half_not_trained_on(self, predicted, small, monkeypatch):
        """Each caption is taken by the decision of the predictor that has not seen it."""
        parameters, decisions = small("downstream_kept", {"downstream.crossed": True}), {}
        folds = [small(changes={"variant": f"fold{k}", "predictor.fold": k}) for k in (0, 1)]
        assert parameters.after == [one.system for one in folds]
        monkeypatch.setattr(type(parameters), "builds_on", lambda _: folds)
        for fold, predictor in enumerate(folds):
            folder = shutil.copytree(predicted, predictor.folder())
            change_run(folder)
            frame = pd.read_parquet(folder / "predictions.parquet")
            decisions[fold] = np.random.default_rng(fold).random(len(frame)) < 0.5
            frame.assign(kept=decisions[fold]).to_parquet(folder / "predictions.parquet")
        found, rows = known(parameters)
        parts = data.split(found, parameters)
        half = halves(parts, parameters)
        wanted = [row for row in rows["train"] if decisions[half[row]][row]]
        assert training_captions(parameters, found, parts)[0].tolist() == wanted

    def test_clean_are_those_that_describe_their_class(self, kitchen, small):
        found, rows = known(small())
        parameters = small("downstream_all", {"downstream.captions": "clean"})
        taken, weight = training_captions(parameters, found, data.split(found, parameters))
        assert taken.tolist() == [row for row in rows["train"] if found.relevant[row] == 1]
        assert weight is None
        assert parameters.after == []

    def test_random_is_as_many_as_are_kept(self, take):
        rows, _, train = take("kept")
        drawn = [take("random", seed)[0] for seed in range(4)]
        for one in drawn:
            assert len(one) == len(set(one)) == len(rows)
            assert set(one) <= set(train)
        assert take("random")[0].tolist() == drawn[0].tolist()
        assert len({tuple(one) for one in (rows, *drawn)}) == 5

    def test_nothing_is_kept(self, take, predicted):
        """Also where only captions of the test are kept."""
        file = predicted / "predictions.parquet"
        frame = pd.read_parquet(file)
        change_run(predicted)
        frame.assign(kept=frame["kept"] & (frame["part"] == "test")).to_parquet(file)
        for captions in ("kept", "random"):
            assert "keeps no training caption" in refused(take, captions)

    def test_no_scores_or_those_of_other_captions(self, take, predicted):
        change_run(predicted, dataset_fingerprint="another")
        assert "was trained on other captions, class texts" in refused(take, "kept")
        shutil.rmtree(predicted)
        assert refused(take, "weighted").startswith(f"{predicted} is not evaluated")
        assert len(take("all")[0])
