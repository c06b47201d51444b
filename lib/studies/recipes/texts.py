"""Measures of written recipes: do they fit the plate, and are they more than a template?

N plates have K recipes each. All scores are 0 to 1, but `sight`, which is -1 to 1. Texts are
compared as words: letters in lower case, numbers apart, no punctuation.

BLEU: Papineni, Roukos, Ward, Zhu, ACL 2002. ROUGE-L: Lin, ACL Workshop 2004; both as pycocoevalcap
computes them, of single texts. Self-BLEU: Zhu et al., *Texygen*, SIGIR 2018. Distinct-n: Li et al.,
NAACL 2016. Grounding and sight are our own.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from pycocoevalcap.bleu.bleu_scorer import BleuScorer, cook_refs, cook_test
from pycocoevalcap.rouge.rouge import Rouge

from studies.reporting.bootstrap import Metric, share

WORD = re.compile(r"[^\W\d_]+|\d+")
BETWEEN = re.compile(r"[\s_-]+")  # the words of a name
ENDINGS = (("", "s"), ("", "es"), ("y", "ies"), ("f", "ves"))  # one, many

# what is odd about a recipe
EMPTY = "empty"
REPEATED, IGNORED = "repeating itself", "naming nothing of its list"
NOTHING = "(?!)"  # never matches
SCORES = ("self_bleu", "bleu4", "rouge_l")  # those that each plate has

Recipes = Sequence[Sequence[str]]  # K of each of N plates


def plain(text: str) -> str:
    """Return the words and numbers of a text, in lower case, with spaces between them."""
    return " ".join(WORD.findall(_folded(text)))


def mentions(
    recipes: Recipes, ingredients: Sequence[str], dishes: Sequence[str] = ()
) -> np.ndarray:
    """Return which of S ingredients each recipe names, (N, K, S) bool.

    A name counts where it stands as whole words, in any case, its last word in singular or plural.
    Of names that overlap the longest counts, so "tomato sauce" is no tomato. What is denied ("no
    cheese") counts as named. The name of a dish is none of an ingredient: "ice cream" names no
    cream.
    """
    also = [name for name in dishes if name.replace("_", " ") not in ingredients]
    owners: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate([*ingredients, *also]):
        owners[BETWEEN.sub(" ", _folded(name)).strip()].append(place)
    owners.pop("", None)  # a blank name is never named
    for name, places in list(owners.items()):
        before, space, last = name.rpartition(" ")
        for form in _numbers(last):  # "eggs" is "egg", unless both are ingredients
            owners.setdefault(before + space + form, places)
    longest_first = sorted(owners, key=len, reverse=True)
    forms = "|".join(BETWEEN.pattern.join(map(re.escape, form.split())) for form in longest_first)
    pattern = re.compile(rf"(?<![^\W_])(?:{forms or NOTHING})(?![^\W_])")
    count = len(ingredients)
    mentioned = np.zeros((len(recipes), len(recipes[0]), count + len(also)), dtype=bool)
    for plate, texts in enumerate(recipes):
        for number, text in enumerate(texts):
            for match in pattern.findall(_folded(text)):
                mentioned[plate, number, owners[BETWEEN.sub(" ", match)]] = True
    return mentioned[:, :, :count]


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _numbers(word: str) -> set[str]:
    """Return a word's plurals, and what it may be the plural of."""
    many = {word.removesuffix(one) + end for one, end in ENDINGS if word.endswith(one)}
    single = {word.removesuffix(end) + one for one, end in ENDINGS if word.endswith(end)}
    return (many | single) - {""}


def grounding(mentioned: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return precision and recall of the ingredients named, (N,) and (N,), means over K recipes.

    Of the ingredients that a recipe names, `mentioned` (N, K, S), the share that is on the plate,
    `present` (N, S), 0 where it names none; and of those on the plate the share that it names, nan
    where there is none to name.
    """
    both = (mentioned & present[:, None]).sum(axis=2)
    precision = share(both, mentioned.sum(axis=2)).mean(axis=1)
    return precision, share(both.mean(axis=1), present.sum(axis=1), np.nan)


def hallucination(mentioned: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return the share of the ingredients named that are not on the plate, (N,), means over K.

    0 for a recipe that names none. CHAIR_i of A. Rohrbach et al., EMNLP 2018, for ingredients.
    """
    absent = (mentioned & ~present[:, None]).sum(axis=2)
    return share(absent, mentioned.sum(axis=2)).mean(axis=1)


def failures(recipes: Recipes, lists: Recipes, ingredients: Sequence[str]) -> Counter[str]:
    """Return how many recipes repeat themselves, and how many name nothing of their list.

    `lists` are N of one text, "" where a prompt listed nothing. A recipe repeats itself when less
    than half of its runs of three words are distinct.
    """
    listed, named = (mentions(given, ingredients) for given in (lists, recipes))
    ignored = listed.any(axis=2) & ~(named & listed).any(axis=2)
    repeated = 0
    for text in (text for of_plate in recipes for text in of_plate):
        words = plain(text).split()
        runs = list(zip(words, words[1:], words[2:], strict=False))
        repeated += len(set(runs)) < len(runs) / 2
    return Counter({REPEATED: repeated, IGNORED: int(ignored.sum())})


def sight(mentioned: np.ndarray, present: np.ndarray, dish: np.ndarray) -> Metric:
    """Return how much recipes tell of their plate's ingredients beyond its dish, as a metric.

    The fit of recipes to a plate is the F1 of the ingredients that they name, `mentioned`
    (N, K, S), mean over the K recipes; 1 where neither has any. Two plates of one dish with
    different ingredients, `present` (N, S), gain by having their own recipes rather than each
    other's: half the sum of both fits as they are minus half the sum exchanged. A plate's sight is
    its mean gain over all such plates, and the metric the mean over plates that have one, else nan.

    Exchanging is what makes it fair: recipes that do not depend on the plate have expectation 0,
    and exactly 0 when they are all alike, even where they describe the most frequent plate well.
    A gain belongs to two plates, so the spread of the mean is about twice that of plates' values
    drawn one by one.
    """
    both = mentioned.astype(np.float64) @ present.T
    either = mentioned.sum(axis=2)[:, :, None] + present.sum(axis=1)
    fit = share(2 * both, either, 1.0).mean(axis=1)  # of the recipes of one plate to another
    own, kind = fit.diagonal(), _kinds(present)
    compared = ((dish[:, None] == dish) & (kind[:, None] != kind)).astype(np.float64)
    gains = (own[:, None] + own - fit - fit.T) / 2 * compared

    def metric(weights: np.ndarray) -> np.ndarray:
        others = weights @ compared
        sights = share(weights @ gains, others)
        return share((weights * sights).sum(axis=1), (weights * (others > 0)).sum(axis=1), np.nan)

    return metric


def _kinds(present: np.ndarray) -> np.ndarray:
    """Return a number for what each plate is made of, (N,)."""
    return np.unique(present, axis=0, return_inverse=True)[1]


def self_bleu(recipes: Recipes, dish: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return how much of each plate's recipes stands in those of other plates, (N,).

    BLEU-4 of each recipe, the references being all recipes of plates of the same dish with other
    ingredients, `present` (N, S); mean over those of the K recipes that have a word, nan where none
    has, or there is no such plate. A template of four words or more has 1.
    """
    spoken = [[plain(text) for text in of_plate] for of_plate in recipes]
    kinds, scores = _kinds(present), np.full(len(dish), np.nan)
    for one, kind in {*zip(dish.tolist(), kinds.tolist(), strict=True)}:
        own = np.flatnonzero((dish == one) & (kinds == kind))
        others = np.flatnonzero((dish == one) & (kinds != kind))
        if len(others):
            references = cook_refs([text for plate in others for text in spoken[plate]])
            bleu = BleuScorer(n=4)
            bleu.ctest = [cook_test(text, references) for plate in own for text in spoken[plate]]
            worded = np.array([sum(map(bool, spoken[plate])) for plate in own])
            scores[own] = share(_by_plate(bleu, len(own)).sum(axis=1), worded, np.nan)
    return scores


def _by_plate(bleu: BleuScorer, plates: int) -> np.ndarray:
    """Return the BLEU-4 of each plate's texts, (N, K)."""
    by_order = bleu.compute_score(option="closest", verbose=0)[1]
    return np.reshape(by_order[3], (plates, -1))


def distinct_2(recipes: Recipes, dish: np.ndarray) -> float:
    """Return the share of pairs of words that are distinct among the recipes of a dish.

    Mean over dishes, weighted by their plates; 0 for a dish whose recipes have no pair. It falls
    with the number and the length of recipes, so it compares systems on the same plates.
    """
    total = 0.0
    for one in np.unique(dish):
        plates = np.flatnonzero(dish == one)
        spoken = [plain(text).split() for plate in plates for text in recipes[plate]]
        pairs = [pair for text in spoken for pair in pairwise(text)]
        total += len(plates) * len(set(pairs)) / max(len(pairs), 1)
    return total / len(dish)


def reference_scores(recipes: Recipes, references: Sequence[str]) -> dict[str, np.ndarray]:
    """Return BLEU-4 and ROUGE-L against each plate's reference, (N,), means over its K recipes."""
    bleu, rouge, score = BleuScorer(n=4), [], Rouge().calc_score
    for texts, reference in zip(recipes, references, strict=True):
        wanted, spoken = [plain(reference)], [plain(text) for text in texts]
        for text in spoken:
            bleu += (text, wanted)
        # pycocoevalcap takes an empty text for one empty word, which matches that of an empty
        # reference
        rouge.append(np.mean([score([text], wanted) if text else 0.0 for text in spoken]))
    return {"bleu4": _by_plate(bleu, len(recipes)).mean(axis=1), "rouge_l": np.array(rouge)}
