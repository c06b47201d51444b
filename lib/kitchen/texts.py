"""What is said of plates by people, cooks, an encyclopaedia, and judges of captions."""

from itertools import chain
from pathlib import Path

import numpy as np

from kitchen.world import DISH_OF, Plate, data, pick

CAPTIONS_STREAM, JUDGES_STREAM, RECIPES_STREAM = 1, 2, 3
CAPTIONS = 5  # of a plate
GRADES = 4  # the levels of the tree that image and caption share, and one
NOISE = (0.15, 0.7, 0.15)  # probability that an expert's grade is one lower, right, one higher


def article(variant: str) -> str:
    """Return the class text of a variant: sentences of its own, then those of its dish."""
    articles = data("articles")
    return f"{articles['variants'][variant]} {articles['dishes'][DISH_OF[variant]]}"


# --- captions ---


def captions(plate: Plate, seed: int = 0) -> list[str]:
    """Return five captions of a plate, each of which mentions a part of what can be seen."""
    rng = plate.words(CAPTIONS_STREAM, seed)
    return [_caption(plate, rng) for _ in range(CAPTIONS)]


def _caption(plate: Plate, rng: np.random.Generator) -> str:
    words, name = data("captions"), _food(plate, rng)
    colour = words["colours"].get(plate.plate_colour, plate.plate_colour)
    said = {
        "name": name,
        "food": _with_article(name),
        "toppings": _toppings(plate, name, rng),
        "vessel": _with_article(f"{colour} {words['shapes'][plate.plate_shape]}"),
        "table": words["tables"][plate.table],
    }
    phrase = pick(rng, words["bowls" if plate.plate_shape == "bowl" else "plates"]).format(**said)
    if plate.distractors and rng.random() < 0.4:
        phrase += " " + pick(rng, words["beside"][pick(rng, plate.distractors)])
    return " ".join(phrase.split()) + " ."


def _food(plate: Plate, rng: np.random.Generator) -> str:
    words = data("captions")
    if rng.random() < 0.25:
        return words["dishes"].get(plate.dish, plate.dish)
    return words["names"].get(plate.variant, plate.variant.replace("_", " "))


def _toppings(plate: Plate, name: str, rng: np.random.Generator) -> str:
    """Return up to two visible ingredients that the name does not say, those on top likelier."""
    words = data("captions")
    seen = [one for one in plate.ingredients[1:] if one not in name]
    count = min(len(seen), int(rng.integers(0, 3)))
    if not count:
        return ""
    weights = np.arange(1, len(seen) + 1, dtype=float)
    chosen = sorted(rng.choice(len(seen), count, replace=False, p=weights / weights.sum()))
    names = " and ".join(words["several"].get(seen[i], seen[i]) for i in chosen)
    return f"{pick(rng, words['shown'])} {names}"


def _with_article(noun: str) -> str:
    """Return a noun with its article; soups, noodles and other masses have none."""
    if noun.split()[-1] in data("captions")["masses"]:
        return noun
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


# --- recipes ---


def recipe(plate: Plate, seed: int = 0) -> str:
    """Return the recipe of a plate, which names every visible ingredient at least once.

    A title, a list of ingredients and numbered steps, one a line; the words are drawn by lot from
    a few ways to say the same.
    """
    rng, words = plate.words(RECIPES_STREAM, seed), data("recipes")[plate.dish]
    base, *rest = plate.ingredients
    last = rest[-1:] if len(rest) > 1 else []
    middle = rest[: len(rest) - len(last)]
    named = {"base": base, "middle": _join(middle), "last": _join(last)}
    # what characterises a plate is what lies on top
    things = _join(rest or [base])
    house = "" if rng.random() < 0.7 else " of the house"
    title = f"{plate.dish.replace('_', ' ')}{house} with {things}".capitalize()
    pantry = [name for name in words["pantry"] if rng.random() < 0.8]
    lines = [title, f"Ingredients: {', '.join([*plate.ingredients, *pantry])}"]
    steps = {part: pick(rng, words[part]) for part in named}
    kept = [step.format(**named) for part, step in steps.items() if named[part]]
    lines += [f"{number}. {step}" for number, step in enumerate(kept, 1)]
    return "\n".join(lines)


def _join(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


# --- simulated judges of captions ---


def write_judgements(folder: Path, contents: list[Plate], seed: int = 0) -> None:
    """Write captions of all plates and judgements of pairs into a new folder, like Flickr8k's.

    `Flickr8k.token.txt`, `ExpertAnnotations.txt` (three grades, 1 to 4) and
    `CrowdFlowerAnnotations.txt` (share of yes, times yes, times no). Each plate is paired with a
    caption of another plate for every number of tree levels that the two can share. The grades
    follow from these levels, and a lot, and so say nothing about what people think.
    """
    rng = np.random.default_rng([seed, JUDGES_STREAM])
    pairs = list(chain.from_iterable(_pairs(plate, contents, rng) for plate in contents))
    tokens = [
        f"{plate.id}.png#{number}\t{text}"
        for plate in contents
        for number, text in enumerate(captions(plate, seed))
    ]
    experts = [f"{pair}\t{_expert(level, rng)}" for pair, level in pairs]
    crowd = [f"{pair}\t{_crowd(level, rng)}" for pair, level in pairs]
    folder.mkdir()
    (folder / "Flickr8k.token.txt").write_bytes("\n".join(tokens).encode())
    (folder / "ExpertAnnotations.txt").write_bytes("\n".join(experts).encode())
    (folder / "CrowdFlowerAnnotations.txt").write_bytes("\n".join(crowd).encode())


def _pairs(plate: Plate, contents: list[Plate], rng: np.random.Generator) -> list[tuple[str, int]]:
    """Return image and caption id, joined by a tab, with the levels that they share."""
    by_level: dict[int, list[Plate]] = {}
    for other in contents:
        if other.id != plate.id:
            levels = ("category", "dish", "variant")
            shared = sum(getattr(plate, level) == getattr(other, level) for level in levels)
            by_level.setdefault(shared, []).append(other)
    drawn = {level: others[int(rng.integers(len(others)))] for level, others in by_level.items()}
    return [
        (f"{plate.id}.png\t{other.id}.png#{int(rng.integers(CAPTIONS))}", level)
        for level, other in sorted(drawn.items())
    ]


def _expert(level: int, rng: np.random.Generator) -> str:
    grades = level + 1 + rng.choice([-1, 0, 1], 3, p=NOISE)
    return "\t".join(str(grade) for grade in np.clip(grades, 1, GRADES))


def _crowd(level: int, rng: np.random.Generator) -> str:
    yes = int(rng.binomial(3, level / (GRADES - 1)))
    return f"{yes / 3:.6f}\t{yes}\t{3 - yes}"
