"""Photographs as people describe them, captions with known errors, and what metrics make of them.

BLEU, ROUGE-L and CIDEr are pycocoevalcap's own, of texts. METEOR is written out as in its papers,
with a matcher of equal words and equal stems: the real one is Java's.
"""

from collections import Counter
from itertools import pairwise

import pandas as pd
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

IMAGES = 24
WORDS = {
    "colour": ("black", "white", "brown", "small", "old", "young", "tall"),
    "who": ("dog", "cat", "child", "horse", "bird"),
    "does": ("jump", "walk", "rest"),
    "place": ("grass", "beach", "street", "snow"),
}
PEOPLE = ("a {colour} {who} is {does}ing on the {place}", "the {who} is {does}ing near {place}")
# from right to wholly wrong
CAPTIONS = (
    PEOPLE[0],
    "a {colour} {who} is {does}ing on the rock",
    "a {colour} {who} {does}s on the rock",
    "{who} {does}s",
    "two people with a ball",
)
FUNCTION = {"a", "the", "is", "on", "near", "with", "two"}


def scene(k: int) -> dict[str, str]:
    return {name: words[k % len(words)] for name, words in WORDS.items()}


def people(images: int = IMAGES) -> list[list[str]]:
    """What people said of each image."""
    return [[text.format(**scene(k)) for text in PEOPLE] for k in range(images)]


def captions(errors: list[int]) -> list[str]:
    """A caption of each image, by how wrong it is."""
    return [CAPTIONS[wrong].format(**scene(k)) for k, wrong in enumerate(errors)]


class Spoken:
    """Captions of images beside what people said, scored."""

    def __init__(self, said: list[str], references: list[list[str]]):
        self.alone = [BleuScorer(*pair, n=4) for pair in zip(said, references, strict=True)]
        self.bleu_counts = [bleu_counts(*pair) for pair in zip(said, references, strict=True)]
        self.meteor_counts = [
            max((meteor_counts(own, text) for text in given), key=lambda row: meteor([row]))
            for own, given in zip(said, references, strict=True)
        ]
        given = dict(enumerate(references))
        found = {k: [text] for k, text in enumerate(said)}
        self.by_image = pd.DataFrame([self.bleus([k]) for k in found])
        self.by_image["METEOR"] = [meteor([row]) for row in self.meteor_counts]
        self.by_image["ROUGE-L"] = Rouge().compute_score(given, found)[1]
        self.by_image["CIDEr"] = Cider().compute_score(given, found)[1]
        self.known: dict[tuple[int, ...], dict[str, float]] = {}

    def bleus(self, rows) -> dict[str, float]:
        together = BleuScorer(n=4)
        for k in rows:
            together += self.alone[k]
        found, _ = together.compute_score(option="closest", verbose=0)
        return {f"BLEU-{n}": value for n, value in enumerate(found, 1)}

    def corpus(self, rows=None) -> dict[str, float]:
        """The scores of some images, which may be there more than once, together."""
        rows = tuple(self.by_image.index if rows is None else rows)
        if rows not in self.known:
            means = self.by_image.loc[list(rows), ["ROUGE-L", "CIDEr"]].mean().to_dict()
            together = {"METEOR": meteor([self.meteor_counts[k] for k in rows])}
            self.known[rows] = self.bleus(rows) | together | means
        return self.known[rows]


def bleu_counts(caption: str, references: list[str]) -> list[int]:
    """Matches and guesses of 1- to 4-grams, the length and the closest reference's."""
    matches, guesses = [], []
    for n in range(1, 5):
        own = grams(caption, n)
        allowed = Counter()
        for text in references:
            allowed |= grams(text, n)
        matches.append(sum((own & allowed).values()))
        guesses.append(sum(own.values()))
    length = len(caption.split())
    closest = min((len(text.split()) for text in references), key=lambda m: (abs(m - length), m))
    return [*matches, *guesses, length, closest]


def grams(text: str, n: int) -> Counter:
    words = text.split()
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def meteor_counts(caption: str, reference: str) -> list[int]:
    """METEOR's 23 statistics of one caption against one reference."""
    texts = caption.split(), reference.split()
    found: dict[int, tuple[int, int]] = {}  # place in the caption -> in the reference, and matcher
    for matcher, form in enumerate((str, stem)):
        for i, word in enumerate(texts[0]):
            taken = {j for j, _ in found.values()}
            for j, other in enumerate(texts[1]):
                if i not in found and j not in taken and form(word) == form(other):
                    found[i] = j, matcher
    kinds = Counter()
    for i, (j, matcher) in found.items():
        kinds[matcher, texts[0][i] in FUNCTION, 0] += 1
        kinds[matcher, texts[1][j] in FUNCTION, 1] += 1
    places = sorted((i, j) for i, (j, _) in found.items())
    breaks = sum((b[0] - a[0], b[1] - a[1]) != (1, 1) for a, b in pairwise(places))
    chunks = breaks + 1 if places else 0
    if len(found) == len(texts[0]) == len(texts[1]) and chunks == 1:
        chunks = 0
    return [
        *map(len, texts),
        *(sum(word in FUNCTION for word in text) for text in texts),
        *(kinds[m, of, side] for m in range(4) for of in (False, True) for side in range(2)),
        *(chunks, len(found), len(found)),
    ]


def stem(word: str) -> str:
    return word.removesuffix("ing") if word.endswith("ing") else word.removesuffix("s")


def meteor(rows: list[list[int]]) -> float:
    """METEOR 1.5 of captions together: Denkowski, Lavie, WMT 2014, and its English weights."""
    alpha, beta, gamma, delta = 0.85, 0.2, 0.6, 0.75
    weights = 1.0, 0.6, 0.8, 0.6
    total = [sum(row[place] for row in rows) for place in range(23)]
    shares = []
    for side in range(2):
        matched = 0.0
        for matcher, weight in enumerate(weights):
            content, function = total[4 + 4 * matcher + side], total[6 + 4 * matcher + side]
            matched += weight * (delta * content + (1 - delta) * function)
        function = total[2 + side]
        shares.append(matched / (delta * (total[side] - function) + (1 - delta) * function))
    precision, recall = shares
    if not precision * recall:
        return 0.0
    mean = precision * recall / (alpha * precision + (1 - alpha) * recall)
    fragments = total[20] / ((total[21] + total[22]) / 2)
    return mean * (1 - gamma * fragments**beta)
