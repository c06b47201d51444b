"""The truth of what the web says of plates is that of a careful reader, and hard to guess."""

import html
import re
from collections import Counter
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.metrics import roc_auc_score

import kitchen

FILE = Path(__file__).with_name("truth.yaml")
TRUTH = yaml.safe_load(FILE.read_text(encoding="utf-8"))["classes"]


@pytest.fixture(scope="module")
def texts() -> dict[kitchen.Plate, kitchen.WebText]:
    return {plate: kitchen.web(plate) for plate in kitchen.plates(120)}


def read(text: kitchen.WebText) -> str:
    """What a reader sees of a text."""
    return " ".join(html.unescape(re.sub("</?[a-z][^>]*>", " ", " ".join(text[:2]))).split())


def names(variant: str, text: kitchen.WebText) -> bool:
    return bool(re.search(TRUTH[variant]["web"], read(text).lower()))


def words(text: kitchen.WebText) -> set[str]:
    return set(re.findall(r"[^\W\d_]+", read(text).lower()))


def kinds(texts) -> np.ndarray:
    """How many texts are irrelevant and relevant (rows), unnamed and named (columns)."""
    counts = np.zeros((2, 2), int)
    for plate, text in texts.items():
        counts[int(text.relevant), int(names(plate.variant, text))] += 1
    return counts


def test_less_than_half_is_relevant_and_names_tell_not_all(texts):
    (beside, mentioned), (unnamed, named) = kinds(texts) / len(texts)
    assert 0.42 < named + unnamed < 0.48
    assert unnamed > 0.15
    assert mentioned > 0.05
    assert beside > 0.35
    for variant in TRUTH:
        own = kinds({plate: text for plate, text in texts.items() if plate.variant == variant})
        assert 0.3 < own[1].sum() / own.sum() < 0.62, variant
        assert own.min() >= 2, variant


def test_relevant_texts_name_their_class_or_what_makes_it_and_no_other(texts):
    for plate, text in texts.items():
        if text.relevant:
            assert not [one for one in TRUTH if one != plate.variant and names(one, text)], text
        if text.relevant and not names(plate.variant, text):
            # the name or its tag may be misspelt: a letter or two may be wrong
            latin = re.sub(r"[^a-z| ]", "", TRUTH[plate.variant]["web"])
            said = {*latin.replace("|", " ").split(), *latin.replace(" ", "").split("|")}
            said |= set(TRUTH[plate.variant]["marks"])
            assert any(get_close_matches(one, words(text), 1, 0.8) for one in said), text


def test_neither_length_nor_parts_tell_the_truth(texts):
    kept = [text for text in texts.values() if len(read(text).split()) > 1]
    truth = [text.relevant for text in kept]
    for cue in (
        [len(read(text)) for text in kept],
        [not text.title for text in kept],
        [not text.description for text in kept],
        ["<" in text.description for text in kept],
        [bool(re.search(r"\d", read(text))) for text in kept],
        [not read(text).isascii() for text in kept],
    ):
        assert abs(roc_auc_score(truth, cue) - 0.5) < 0.1


def test_no_word_tells_the_truth(texts):
    """Words of many texts are in both kinds, but for a few of phrases."""
    counts = {True: Counter(), False: Counter()}
    for text in texts.values():
        counts[text.relevant].update(words(text))
    usual = [word for word, times in (counts[True] + counts[False]).items() if times >= 25]
    assert len(usual) > 100
    assert np.mean([min(counts[kind][word] for kind in counts) >= 5 for word in usual]) > 0.85
