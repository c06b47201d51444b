"""Scores of a run against the network asked caption by caption, and scikit-learn."""

import importlib
import math
import re
from collections import Counter

import datasets
import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from studies.relevance import data, model
from studies.relevance.data import Collection
from studies.relevance.evaluate import evaluate, named, similarities
from studies.relevance.filter import relevance
from studies.relevance.metrics import scores
from studies.runs.folder import load_run


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


def check_described(frame, parameters):
    found = data.read(parameters)
    assert frame["id"].tolist() == list(range(len(found.captions)))
    assert frame["cluster"].is_unique  # no two of them say nearly the same
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
        halves = wanted["probability"].to_numpy().astype(np.float16)
        assert np.allclose(frame["probability"], halves, rtol=2**-10, atol=0)
        assert np.allclose(frame["highest"], likely.max(1), rtol=2**-10, atol=0)
        # rounding decides nothing but where a probability lies on a threshold
        own, mean = wanted["probability"], likely.mean(1)
        clear = np.min(np.abs([own - 0.4, own - 0.55, own - mean]), axis=0) > 5e-4
        assert clear.mean() > 0.9
        for name in ("kept", "reason"):
            assert frame[name][clear].tolist() == wanted[name][clear].tolist()
        assert np.allclose(
            frame["coefficient"][clear], wanted["coefficient"][clear], atol=2e-3, equal_nan=True
        )
        assert 0 < frame["kept"].sum() < len(frame)
        assert run.metrics == scores(frame)


def vectors(weights, texts):
    """The mean of a published encoder's states over all tokens of each text, of length 1."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(weights)
    encoder = transformers.AutoModel.from_pretrained(weights).eval()
    rows = []
    for text in texts:
        with torch.no_grad():
            given = tokenizer(f" {text}", return_tensors="pt", truncation=True, max_length=30)
            mean = encoder(**given.data).last_hidden_state[0].mean(0)
        rows.append((mean / mean.norm()).numpy())
    return np.stack(rows)


@pytest.fixture
def short(monkeypatch):
    """The tiny encoder reads 30 tokens."""
    monkeypatch.setattr(model, "LONGEST", 30)


class TestEncoderAsItIs:
    def test_similarity_is_the_cosine_with_the_mean_sentence(self, kitchen, small, roberta, short):
        baseline = {"name": "similarity", "weights": str(roberta)}
        parameters = small("tfidf", {"baseline": baseline})
        run = load_run(evaluate(parameters))
        check_described(run.predictions, parameters)
        assert run.metrics == scores(run.predictions)
        assert not (run.folder / "model.safetensors").exists()
        found = data.read(parameters)
        texts = vectors(roberta, found.captions["text"])
        classes = np.stack([vectors(roberta, own).mean(0) for own in found.sentences])
        cosine = texts @ (classes / np.linalg.norm(classes, axis=1, keepdims=True)).T
        for row, target in enumerate(found.target):
            lead = cosine[row, target] - np.delete(cosine[row], target).max()
            assert run.predictions["lead"][row] == pytest.approx(lead, abs=2e-3)
        assert (run.predictions["kept"] == (run.predictions["lead"] > 0)).all()
        assert np.allclose(run.predictions["highest"], cosine.max(axis=1), atol=2e-3)

    def test_retrieval_against_the_normal_equations(
        self, kitchen, small, roberta, short, monkeypatch
    ):
        """Penalty fixed here; places are counted caption by caption."""
        encoder = {"name": "ridge", "images": "none", "texts": str(roberta)}
        parameters = small("downstream_all", {"downstream.encoder": encoder, "training": None})
        assert not parameters.trained
        assert not parameters.by_chance
        found = data.read(parameters)
        parts = data.split(found, parameters)
        sights = np.random.default_rng(0).normal(size=(len(parts), 6))
        module = importlib.import_module("studies.relevance.evaluate")
        monkeypatch.setattr(module, "features", lambda *_: sights)
        monkeypatch.setattr(module, "RidgeCV", lambda alphas: Ridge(alpha=7.0))
        run = load_run(evaluate(parameters))
        texts = vectors(roberta, found.captions["text"])
        train, test = np.flatnonzero(parts == "train"), np.flatnonzero(parts == "test")
        centre, scale = sights[train].mean(0), sights[train].std(0)
        x = (sights - centre) / (scale + 1e-6)
        mean = texts[train].mean(0)
        a = x[train].T @ x[train] + 7 * np.eye(6)
        mapped = x[test] @ np.linalg.solve(a, x[train].T @ (texts[train] - mean)) + mean
        for place, row in enumerate(test):
            cosine = [texts[row] @ one / np.linalg.norm(one) for one in mapped]
            better = sum(one >= cosine[place] - 1e-7 for one in cosine)
            assert abs(run.predictions["rank"][place] - better) <= 1
        relevant = run.predictions["relevant"].to_numpy(bool)
        wanted = (run.predictions["rank"][relevant] <= 10).mean()
        assert run.metrics == {"recall_at_10": pytest.approx(wanted)}


class TestDownstream:
    def test_what_it_builds_on_is_made_first(self, kitchen, small):
        parameters = small("downstream_weighted")
        run = load_run(evaluate(parameters))
        assert (parameters.sister("predictor").folder() / "metrics.json").exists()
        test = data.split(data.read(parameters), parameters) == "test"
        likely, found = probabilities(run, parameters)
        frame = run.predictions
        assert frame["id"].tolist() == np.flatnonzero(test).tolist()
        assert set(frame["part"]) == {"test"}
        assert frame["said"].tolist() == [found.wnids[one] for one in likely[test].argmax(1)]
        assert frame["class"].tolist() == [found.wnids[one] for one in found.target[test]]
        assert run.metrics == scores(frame)


class TestAgain:
    def test_an_evaluation_that_was_cut_off_ends_the_same(self, predicted, small):
        files = [predicted / name for name in ("predictions.parquet", "metrics.json")]
        before = [file.read_bytes() for file in files]
        files[1].unlink()
        files[0].write_bytes(b"half")
        evaluate(small())
        assert [file.read_bytes() for file in files] == before


# What can be said of a caption without training.

CLASSES = {
    "n1": ("tabby cat", "The tabby cat is a cat. A cat purrs, a cat naps."),
    "n2": ("dog", "A dog barks at the cat. The dog runs."),
    "n3": ("soup", "Soup is hot; hot soup of onions."),
}
CAPTIONS = [
    ("n1", "my tabby cat purrs, purrs and PURRS"),
    ("n2", "a cat and two dogs"),
    ("n3", "hot hot hot soup for the dog"),
    ("n2", "nothing of that kind"),
    ("n1", "12345 67890"),
]


@pytest.fixture
def collection():
    rows = [
        {"image": str(n), "wnid": wnid, "text": text, "relevant": None, "reason": ""}
        for n, (wnid, text) in enumerate(CAPTIONS)
    ]
    names, texts = zip(*CLASSES.values(), strict=True)
    table = datasets.Dataset.from_list(rows)
    return Collection(table, list(CLASSES), list(names), list(texts), [["A.", "B."]] * 3, None)


def whole(blocks):
    """Similarities of all captions, in their order."""
    rows, similar = zip(*blocks, strict=True)
    assert np.concatenate(rows).tolist() == list(range(len(CAPTIONS)))
    found = np.concatenate(similar)
    assert found.shape == (len(CAPTIONS), len(CLASSES))
    assert found.dtype == np.float64
    return found


class TestNameMatch:
    @pytest.mark.parametrize(
        ("name", "text", "there"),
        [
            ("cat", "a category, concat", False),
            ("fox", "three Foxes", True),
            ("tabby  cat", "my tabby cats", True),
            ("猫", "一只 猫 在", True),
            ("a.b", "aXb", False),
            ("cat (animal", "a cat (animal", True),
        ],
    )
    def test_by_hand(self, name, text, there):
        assert named([text], [name]).tolist() == [[float(there)]]


def counted(collection, texts):
    """Vectors of words of several letters: (1 + log count) · (1 + log((1 + n) / (1 + classes)))."""
    bags = [Counter(re.findall(r"\b\w\w+\b", text.lower())) for text in collection.texts]
    known = sorted(set().union(*bags))
    rarity = {w: 1 + math.log((1 + len(bags)) / (1 + sum(w in bag for bag in bags))) for w in known}
    rows = []
    for text in texts:
        bag = Counter(re.findall(r"\b\w\w+\b", text.lower()))
        row = np.array([(1 + math.log(bag[w])) * rarity[w] if bag[w] else 0 for w in known])
        rows.append(row / (np.linalg.norm(row) or 1))
    return np.array(rows)


class TestTfidf:
    def test_cosines(self, collection, small, monkeypatch):
        wanted = (
            counted(collection, [text for _, text in CAPTIONS])
            @ counted(collection, collection.texts).T
        )
        found = whole(similarities(small("tfidf"), collection))
        assert np.allclose(found, wanted)
        assert (found[3:] == 0).all(axis=1).tolist() == [False, True]  # "of" is of the soup
        monkeypatch.setattr("studies.relevance.evaluate.BLOCK", 2)
        assert np.allclose(whole(similarities(small("tfidf"), collection)), wanted)


class TestClip:
    def test_cosines_of_texts_asked_alone(self, collection, small, clip):
        import torch
        import transformers

        model = transformers.CLIPTextModelWithProjection.from_pretrained(clip).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(clip)

        def embedded(text):
            tokens = tokenizer(text)["input_ids"]
            tokens = tokens if len(tokens) <= 12 else [*tokens[:11], tokens[-1]]
            with torch.no_grad():
                (found,) = model(input_ids=torch.tensor([tokens])).text_embeds.double().numpy()
            return found / np.linalg.norm(found)

        names = [embedded(f"a photo of a {name}") for name, _ in CLASSES.values()]
        wanted = [[embedded(text) @ name for name in names] for _, text in CAPTIONS]
        block = {"name": "clip", "weights": str(clip), "batch": 2}
        found = whole(similarities(small("tfidf", {"baseline": block}), collection))
        assert np.allclose(found, wanted, atol=1e-5)
        assert np.ptp(found) > 0.01
