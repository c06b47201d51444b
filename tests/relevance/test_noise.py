"""Flickr8k with wrong captions among the right ones, against a slow reading of what it says."""

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hearsay import NOISE, SAID
from sentences import refused
from studies.relevance import data
from studies.relevance.captions import Concept, concepts, masked, naming, only_class, replaced
from studies.relevance.evaluate import named
from studies.relevance.train import halves, others_sentence

PARTS = ("train", "validation", "test")
WORDS = ["surf", "surfers", "pool", "a", "spool", "Ski", "POOLS"]
TABLE = [
    Concept("surfing", "water", re.compile(r"\b(?:surf(s|ers?)?)\b", re.IGNORECASE), "On a board."),
    Concept("pool", "water", re.compile(r"\b(?:pools?)\b", re.IGNORECASE), "To swim."),
    Concept("skiing", "snow", re.compile(r"\b(?:ski)\b", re.IGNORECASE), "Down a slope."),
]
NAMED = {"surf": 0, "surfers": 0, "pool": 1, "pools": 1, "ski": 2}
captions = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
albums = st.lists(st.lists(captions, min_size=5, max_size=5), min_size=1, max_size=12)


def classes_said(text):
    """The classes that the words of a text name, one after the other."""
    return {NAMED[word.lower()] for word in text.split() if word.lower() in NAMED}


@given(album=albums, least=st.integers(1, 4))
def test_the_class_of_an_image_by_the_letter(album, least):
    names = naming(album, TABLE)
    wanted = []
    for own, found in zip(album, names, strict=True):
        for text, said in zip(own, found, strict=True):
            assert set(np.flatnonzero(said)) == classes_said(text)
        votes = Counter(one for text in own[1:] for one in classes_said(text))
        enough = [one for one, count in votes.items() if count >= least]
        wanted.append(enough[0] if len(enough) == 1 else -1)
    assert only_class(names, least).tolist() == wanted


@given(text=captions)
def test_masking_leaves_no_name_and_every_other_word(text):
    left = masked(text, TABLE)
    assert not classes_said(left)
    assert left.split() == [word for word in text.split() if word.lower() not in NAMED]


@st.composite
def worlds(draw):
    """Classes, parts, and which images' captions name which class."""
    count, classes = draw(st.integers(1, 25)), 4
    target = np.array(draw(st.lists(st.integers(-1, classes - 1), min_size=count, max_size=count)))
    parts = np.array(draw(st.lists(st.sampled_from(PARTS), min_size=count, max_size=count)))
    names = np.random.default_rng(draw(st.integers(0, 99))).random((count, 5, classes)) < 0.1
    names[np.flatnonzero(target >= 0), 1, target[target >= 0]] = True
    return target, parts, names, np.array([0, 0, 1, 1])


@settings(max_examples=200)
@given(world=worlds(), seed=st.integers(0, 99), noise=st.floats(0, 1))
def test_noise_by_the_letter(world, seed, noise):
    """Who may stand for whom, asked image by image; and a higher noise keeps what is replaced."""
    target, parts, names, groups = world
    shares = np.full(len(target), noise)
    chosen = replaced(target, parts, names, groups, shares, seed)
    every = replaced(target, parts, names, groups, shares * 0 + 1, seed)
    assert (replaced(target, parts, names, groups, shares * 0, seed)).tolist() == [
        *range(len(target))
    ]
    for row, donor in enumerate(chosen):
        free = [
            other
            for other in range(len(target))
            if parts[other] == parts[row] and not any(said[target[row]] for said in names[other])
        ]
        assert donor in (row, every[row])
        if target[row] < 0:
            assert donor == every[row] == row
        else:
            assert every[row] in (free or [row])
            assert (every[row] == row) == (not free)


def test_kinds_of_noise_come_equally_often_and_noise_is_a_share():
    rng = np.random.default_rng(0)
    target = rng.integers(-1, 4, 6000)
    names = np.zeros((6000, 5, 4), dtype=bool)
    rows = np.flatnonzero(target >= 0)
    names[rows, 1, target[rows]] = True
    groups, parts = np.array([0, 0, 1, 1]), np.full(6000, "train")
    chosen = replaced(target, parts, names, groups, np.full(6000, 0.5), 3)
    wrong = rows[chosen[rows] != rows]
    assert len(wrong) / len(rows) == pytest.approx(0.5, abs=0.03)
    said = target[chosen[wrong]]
    assert (said != target[wrong]).all()
    assert np.mean(said < 0) == pytest.approx(1 / 3, abs=0.03)
    # all siblings by lot, and one of three others by lot
    sibling = (said >= 0) & (groups[said] == groups[target[wrong]])
    assert sibling.mean() == pytest.approx(1 / 3 + 1 / 9, abs=0.03)


@given(
    counts=st.lists(st.integers(1, 5), min_size=2, max_size=6).map(np.array),
    seed=st.integers(0, 99),
)
def test_a_wrong_sentence_is_any_of_another_class(counts, seed):
    owner = np.repeat(np.arange(len(counts)), counts)
    target = np.repeat(np.arange(len(counts)), 60)
    drawn = others_sentence(target, counts, np.random.default_rng(seed))
    assert (owner[drawn] != target).all()
    of_first = set(drawn[target == 0])
    assert len(of_first) > (counts.sum() - counts[0]) * 0.6


def test_named_by_patterns():
    assert named(
        ["Two surfers"], ["surfing", "pool"], [one.words for one in TABLE[:2]]
    ).tolist() == [[1, 0]]


def test_the_table_of_concepts_describes_without_naming():
    table = concepts()
    assert 30 <= len(table) <= 40
    assert len({one.name for one in table}) == len(table)
    groups = Counter(one.group for one in table)
    assert min(groups.values()) >= 2  # everyone has a sibling
    for one in table:
        assert one.words.search(one.name.split("_")[0]) or one.words.search(one.name.split("_")[-1])
        assert not one.words.search(one.definition)


class TestReader:
    def test_what_is_read(self, tokens, small):
        found = data.read(small(changes=NOISE))
        parts = data.split(found, small(changes=NOISE))
        assert found.wnids == sorted(SAID)
        assert len(found.captions) == 3 * 14 - 3 * 2
        # images of class texts are in no part
        for wnid, text in zip(found.wnids, found.texts, strict=True):
            assert len(text.split("\n")) == 3
            theirs = set(re.findall(r"number (\d+) take 0", text))
            assert not theirs & {image.removesuffix(".jpg") for image in found.captions["image"]}
            assert len(theirs) == 2, wnid
        own = [f"{image}.jpg" for image in range(70)]
        sources = [re.search(r"number (\d+) take 0", text)[1] for text in found.captions["text"]]
        kept = [
            f"{one}.jpg" == image
            for one, image in zip(sources, found.captions["image"], strict=True)
        ]
        assert found.relevant.tolist() == [float(one) for one in kept]
        assert 0 < np.mean(kept) < 1
        assert set(found.captions["image"]) < set(own)
        for text in [*found.captions["text"], *found.texts]:
            assert not re.search(r"\b(surfer|boat|duck)\b", text)
        # a caption is of one part, wherever it stands
        of = {}
        for source, part in zip(sources, parts, strict=True):
            assert of.setdefault(source, part) == part

    def test_noise_of_training_leaves_the_test_as_it_is(self, tokens, small):
        found = [
            data.read(small(changes=NOISE | {"source.noise": noise, "source.masked": False}))
            for noise in (0.0, 0.5)
        ]
        parts = data.split(found[0], small(changes=NOISE))
        test = parts == "test"
        texts = [np.array(one.captions["text"]) for one in found]
        assert (texts[0][test] == texts[1][test]).all()
        assert found[0].relevant[~test].all()
        assert not found[1].relevant[~test].all()
        assert any("surfer" in text for text in texts[0])

    def test_a_file_that_is_none(self, tokens, small):
        tokens.write_text("no captions\n")
        told = refused(data.read, small(changes=NOISE))
        assert told.startswith(f"{tokens} line 1: expected `<image>#<number>`, a tab and a caption")
        tokens.unlink()
        assert refused(data.read, small(changes=NOISE)).startswith("The dataset flickr8k is not at")


class TestHalves:
    @given(sizes=st.lists(st.integers(0, 30), min_size=3, max_size=3), seed=st.integers(0, 9))
    def test_training_is_halved_by_lot(self, sizes, seed):
        class Plan:
            split_seed = seed

        parts = np.repeat(PARTS, sizes)
        half = halves(parts, Plan)
        known = parts == "train"
        assert set(half[~known]) <= {0}
        assert half[known].sum() == sizes[0] // 2
        assert (half == halves(parts, Plan)).all()
