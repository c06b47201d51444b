"""Baselines against cases made by hand, cosines of counted words, and CLIP asked text by text."""

import math
import re
from collections import Counter

import datasets
import numpy as np
import pytest

from sentences import refused
from studies.relevance import baselines
from studies.relevance.baselines import lead, named
from studies.relevance.data import Collection

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
            ("cat", "a cat.", True),
            ("cat", "CAT!", True),
            ("cat", "two cats", True),
            ("cat", "cat's bowl", True),
            ("cat", "#cat", True),
            ("cat", "a category", False),
            ("cat", "concat", False),
            ("cat", "bobcat", False),
            ("cat", "cat_01", False),
            ("cat", "", False),
            ("fox", "three Foxes", True),
            ("tabby  cat", "my tabby cats", True),
            ("tabby cat", "a cat, tabby", False),
            ("tabby cat", "tabbycat", False),
            ("caffè latte", "Un CAFFÈ LATTE", True),
            ("猫", "一只 猫 在", True),
            ("кошка", "Кошка спит", True),
            ("кот", "который", False),
            ("a.b", "aXb", False),
            ("a.b", "see a.b here", True),
            ("x|y", "x", False),
            ("[cat", "the [cat", False),  # no word begins at a bracket
            ("cat (animal", "a cat (animal", True),
        ],
    )
    def test_by_hand(self, name, text, there):
        assert named([text], [name]).tolist() == [[float(there)]]

    def test_all_captions(self, collection, small):
        found = whole(baselines.similarities(small("name_match"), collection))
        assert found.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 0], [0, 0, 0]]


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
        found = whole(baselines.similarities(small("tfidf"), collection))
        assert np.allclose(found, wanted)
        assert (found[3:] == 0).all(axis=1).tolist() == [False, True]  # "of" is of the soup
        monkeypatch.setattr(baselines, "BLOCK", 2)
        assert np.allclose(whole(baselines.similarities(small("tfidf"), collection)), wanted)


class TestClip:
    def given(self, small, weights, batch=2):
        block = {"name": "clip", "weights": str(weights), "batch": batch}
        return small("tfidf", {"baseline": block})

    @pytest.mark.parametrize("batch", [1, 2, 100])
    def test_cosines_of_texts_asked_alone(self, collection, small, clip, batch):
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
        found = whole(baselines.similarities(self.given(small, clip, batch), collection))
        assert np.allclose(found, wanted, atol=1e-5)
        assert np.ptp(found) > 0.01

    def test_there_is_none(self, collection, small, tmp_path, roberta):
        for folder in (tmp_path / "nowhere", tmp_path):
            told = refused(
                lambda folder=folder: list(
                    baselines.similarities(self.given(small, folder), collection)
                )
            )
            assert told.startswith("baseline.weights: no CLIP with a text encoder in safetensors")
            assert str(folder) in told


def test_lead(small):
    """What is ahead is kept."""
    own, highest = np.array([1.0, 0, 1, 0.5, 0.2]), np.array([1.0, 0, 0, 0.4, 0.3])
    assert (lead(small("name_match"), own, highest) > 0).tolist() == [True, False, True, True, True]
    # a tie says nothing of the class
    assert (lead(small("tfidf"), own, highest) > 0).tolist() == [False, False, True, True, False]
