"""Measures of written recipes: do they fit the plate, and are they more than a template?

N plates have K recipes each. All scores are 0 to 1, but `sight`, which is -1 to 1. Texts are
compared as words: letters in lower case, numbers apart, no punctuation.

BLEU: Papineni, Roukos, Ward, Zhu, ACL 2002. ROUGE-L: Lin, ACL Workshop 2004; both as pycocoevalcap
computes them, of single texts. Self-BLEU: Zhu et al., *Texygen*, SIGIR 2018. Distinct-n: Li et al.,
NAACL 2016. Grounding and sight are our own.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from pycocoevalcap.bleu.bleu_scorer import BleuScorer, cook_refs, cook_test, precook
from pycocoevalcap.rouge.rouge import Rouge

from studies.reporting.bootstrap import Metric, share

WORD = re.compile(r"[^\W\d_]+|\d+")
BETWEEN = re.compile(r"[\s_-]+")  # the words of a name
ENDINGS = (("", "s"), ("", "es"), ("y", "ies"), ("f", "ves"))  # one, many

NOTHING = "(?!)"  # never matches
SCORES = (
    *("grounding_precision", "grounding_recall", "sight"),
    *("self_bleu", "bleu4", "rouge_l"),
)

Recipes = Sequence[Sequence[str]]  # K of each of N plates


def words(text: str) -> list[str]:
    """Return the words and numbers of a text, in lower case."""
    return WORD.findall(_folded(text))


def named(recipes: Recipes, ingredients: Sequence[str]) -> np.ndarray:
    """Return which of S ingredients each recipe names, (N, K, S) bool.

    A name counts where it stands as whole words, in any case, its last word in singular or plural.
    Of names that overlap the longest counts, so "tomato sauce" is no tomato. What is denied ("no
    cheese") counts as named.
    """
    owners: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(ingredients):
        owners[BETWEEN.sub(" ", _folded(name)).strip()].append(place)
    owners.pop("", None)  # a blank name is never named
    for name, places in list(owners.items()):
        before, space, last = name.rpartition(" ")
        for form in _numbers(last):  # "eggs" is "egg", unless both are ingredients
            owners.setdefault(before + space + form, places)
    longest_first = sorted(owners, key=len, reverse=True)
    forms = "|".join(BETWEEN.pattern.join(map(re.escape, form.split())) for form in longest_first)
    pattern = re.compile(rf"(?<![^\W_])(?:{forms or NOTHING})(?![^\W_])")
    mentioned = np.zeros((len(recipes), len(recipes[0]), len(ingredients)), dtype=bool)
    for plate, texts in enumerate(recipes):
        for number, text in enumerate(texts):
            for match in pattern.findall(_folded(text)):
                mentioned[plate, number, owners[BETWEEN.sub(" ", match)]] = True
    return mentioned


def mentions(recipes: Recipes, ingredients: Sequence[str], dishes: Sequence[str]) -> np.ndarray:
    """Return which ingredients each recipe names, (N, K, S), where a dish's name is not one.

    "Ice cream" names no cream.
    """
    also = [name for name in dishes if name.replace("_", " ") not in ingredients]
    return named(recipes, [*ingredients, *also])[:, :, : len(ingredients)]


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


def sight(mentioned: np.ndarray, present: np.ndarray, dish: np.ndarray) -> np.ndarray:
    """Return how much the recipes of each plate tell of its ingredients beyond its dish, (N,).

    The fit of recipes to a plate is the F1 of the ingredients that they name, `mentioned`
    (N, K, S), mean over the K recipes; 1 where neither has any. Two plates of one dish with
    different ingredients, `present` (N, S), gain by having their own recipes rather than each
    other's: half the sum of both fits as they are minus half the sum exchanged. A plate's sight is
    its mean gain over all such plates, nan where there is none.

    Exchanging is what makes it fair: recipes that do not depend on the plate have expectation 0,
    and exactly 0 when they are all alike, even where they describe the most frequent plate well.
    """
    gains = _gains(mentioned, present, dish)
    others = ~np.isnan(gains)
    return share(np.where(others, gains, 0).sum(axis=1), others.sum(axis=1), np.nan)


def mean_sight(mentioned: np.ndarray, present: np.ndarray, dish: np.ndarray) -> Metric:
    """Return the mean sight of plates as a metric, nan without two plates to compare.

    A gain belongs to two plates, so the spread of the mean is about twice that of plates' values
    drawn one by one: draw with this.
    """
    gains = _gains(mentioned, present, dish)
    compared = (~np.isnan(gains)).astype(np.float64)
    gains = np.nan_to_num(gains)

    def metric(weights: np.ndarray) -> np.ndarray:
        others = weights @ compared
        sights = share(weights @ gains, others)
        return share((weights * sights).sum(axis=1), (weights * (others > 0)).sum(axis=1), np.nan)

    return metric


def _gains(mentioned: np.ndarray, present: np.ndarray, dish: np.ndarray) -> np.ndarray:
    """Return what each pair of plates gains, (N, N); nan for pairs that are not compared."""
    gains = np.full((len(dish), len(dish)), np.nan)
    for plates, made_of in _dishes(dish, present):
        own = present[plates]
        both = mentioned[plates].astype(np.float64) @ own.T
        either = mentioned[plates].sum(axis=2)[:, :, None] + own.sum(axis=1)
        fit = share(2 * both, either, 1.0).mean(axis=1)
        gain = (fit.diagonal()[:, None] + fit.diagonal() - fit - fit.T) / 2
        compared = made_of[:, None] != made_of
        gains[np.ix_(plates, plates)] = np.where(compared, gain, np.nan)
    return gains


def _dishes(dish: np.ndarray, present: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the plates of each dish, (n,), and a number for what each is made of, (n,)."""
    _, made_of = np.unique(present, axis=0, return_inverse=True)
    for one in np.unique(dish):
        plates = np.flatnonzero(dish == one)
        yield plates, made_of.reshape(-1)[plates]


def self_bleu(recipes: Recipes, dish: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return how much of each plate's recipes stands in those of other plates, (N,).

    BLEU-4 of each recipe, the references being all recipes of plates of the same dish with other
    ingredients, `present` (N, S); mean over the K recipes, nan where there is no such plate. A
    template of four words or more has 1, a recipe without a word 0.
    """
    scores = np.full(len(dish), np.nan)
    for plates, made_of in _dishes(dish, present):
        written: dict[int, set[str]] = defaultdict(set)
        own = [[" ".join(words(text)) for text in recipes[plate]] for plate in plates]
        for kind, texts in zip(made_of, own, strict=True):
            written[kind].update(texts)
        if len(written) > 1:
            scores[plates] = _bleu_with_others(own, made_of, written)
    return scores


def _bleu_with_others(
    own: list[list[str]], made_of: np.ndarray, written: dict[int, set[str]]
) -> np.ndarray:
    """Return the mean BLEU-4 of each plate's texts, the references being those of other kinds.

    BLEU asks of the references only how often one of them has an n-gram, and their lengths. So two
    numbers an n-gram, the most in any kind and the most in any other, serve all plates.
    """
    most: dict[tuple[str, ...], tuple[int, int | None, int]] = {}  # and its kind, and the next
    lengths = {kind: {len(text.split()) for text in texts} for kind, texts in written.items()}
    for kind, texts in written.items():
        for gram, count in cook_refs(texts)[1].items():
            first, holder, second = most.get(gram, (0, None, 0))
            if count > first:
                most[gram] = (count, kind, first)
            elif count > second:
                most[gram] = (first, holder, count)
    bleu = BleuScorer(n=4)
    for kind, texts in zip(made_of, own, strict=True):
        others = sorted(set().union(*(lengths[other] for other in lengths if other != kind)))
        for text in texts:
            limits = {}
            for gram in precook(text)[1]:
                first, holder, second = most[gram]
                limits[gram] = second if holder == kind else first
            bleu.ctest.append(cook_test(text, (others, limits)))
    return _by_plate(bleu, len(own))


def _by_plate(bleu: BleuScorer, plates: int) -> np.ndarray:
    """Return the mean BLEU-4 over the texts of each plate, (N,)."""
    by_order = bleu.compute_score(option="closest", verbose=0)[1]
    return np.reshape(by_order[3], (plates, -1)).mean(axis=1)


def distinct(recipes: Recipes, dish: np.ndarray, n: int = 2) -> float:
    """Return the share of n-grams that are distinct among the recipes of a dish.

    Mean over dishes, weighted by their plates; 0 for a dish whose recipes have no n-gram. It falls
    with the number and the length of recipes, so it compares systems on the same plates.
    """
    total = 0.0
    for one in np.unique(dish):
        plates = np.flatnonzero(dish == one)
        spoken = [words(text) for plate in plates for text in recipes[plate]]
        grams = [tuple(text[k : k + n]) for text in spoken for k in range(len(text) - n + 1)]
        total += len(plates) * len(set(grams)) / max(len(grams), 1)
    return total / len(dish)


def bleu4(recipes: Recipes, references: Sequence[str]) -> np.ndarray:
    """Return BLEU-4 against each plate's reference recipe, (N,), mean over its K recipes."""
    bleu = BleuScorer(n=4)
    for texts, reference in zip(recipes, references, strict=True):
        for text in texts:
            bleu += (" ".join(words(text)), [" ".join(words(reference))])
    return _by_plate(bleu, len(recipes))


def rouge_l(recipes: Recipes, references: Sequence[str]) -> np.ndarray:
    """Return ROUGE-L against each plate's reference recipe, (N,), mean over its K recipes."""
    score = Rouge().calc_score
    pairs = [
        [(" ".join(words(text)), " ".join(words(reference))) for text in texts]
        for texts, reference in zip(recipes, references, strict=True)
    ]
    # pycocoevalcap takes an empty text for one empty word, which matches that of an empty reference
    return np.array([np.mean([score([a], [b]) if a else 0.0 for a, b in of]) for of in pairs])
