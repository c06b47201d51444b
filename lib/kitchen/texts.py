"""What is said of plates by people, cooks, an encyclopaedia, judges of captions, and the web."""

import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kitchen.world import DISH_OF, Plate, data, made_of, pick

CAPTIONS_STREAM, JUDGES_STREAM, RECIPES_STREAM, WEB_STREAM = 1, 2, 3, 4
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


# What the web says of a plate's photograph, and whether that describes its class.
#
# A text describes the class when someone who knows all 24, and reads nothing else, would say
# so: it names the variant as the food that is there, or tells what only this variant is made of. A
# dish without its variant, another plate of the same meal, an ingredient in the market, or the name
# of a cat or of what was sold out do not describe it. Chatter is the same beside both kinds, so
# that neither its words nor a text's length tell them apart. All shares were set before any system
# read these texts.


class WebText(NamedTuple):
    """Title and description of a photograph, either of which may be empty and have HTML.

    `relevant` is the truth: together they describe the class of the plate.
    """

    title: str
    description: str
    relevant: bool


def web(plate: Plate, seed: int = 0) -> WebText:
    """Return what the web says of a plate, the same whatever else is drawn."""
    rng, words = plate.words(WEB_STREAM, seed), data("web")
    if _chance("short", rng):
        named = _chance("short_name", rng)
        word = "{tag}" if named else pick(rng, words["single"])
        return WebText(_filled(word, plate, rng), "", named)
    relevant = _chance("relevant", rng)
    phrase = (
        _relevant(plate.variant, plate.ingredients, rng) if relevant else _irrelevant(plate, rng)
    )
    count = int(rng.integers(1, words["most"] + 1)) + (not phrase)
    if phrase:
        phrase = _filled(phrase, plate, rng)
        phrase = _misspelt(phrase, rng) if _chance("misspelt", rng) else phrase
    chosen = rng.choice(len(words["chatter"]), count - bool(phrase), replace=False)
    phrases = [_filled(words["chatter"][i], plate, rng) for i in chosen]
    if phrase:
        phrases.insert(int(rng.integers(count)), phrase)
    phrases = [_cased(one, rng) for one in phrases]
    title = "" if _chance("no_title", rng) else phrases.pop(0)
    if phrases and _chance("marked_up", rng):
        return WebText(title.replace("&", "&amp;"), _marked_up(phrases, rng), relevant)
    return WebText(title, pick(rng, (". ", " - ", "\n", " ")).join(phrases), relevant)


def _relevant(variant: str, seen: Sequence[str], rng: np.random.Generator) -> str:
    """Return a phrase that describes a variant, of which `seen` lies on the plate."""
    words, way = data("web"), _drawn("tells", rng)
    always, _ = made_of(variant)
    of_siblings = {one for other in _siblings(variant) for one in made_of(other)[0]}
    if way == "name":
        rest = [one for one in seen[1:] if one.rstrip("s") not in variant]
        rng.shuffle(rest)
        ways = [one for one in words["named"] if rest or "{things}" not in one]
        phrase = pick(rng, ways).replace("{things}", _listed(rest[:2], rng))
        return phrase.replace("{name}", _name(variant, rng)).replace("{tag}", _tag(variant, rng))
    if way == "ingredients":
        # what a sibling always has could make it that sibling
        rest = [one for one in seen if one not in always and one not in of_siblings]
        named = [*always, *([pick(rng, rest)] if rest and rng.random() < 0.4 else [])]
        rng.shuffle(named)
        return pick(rng, words["made_of"]).replace("{all}", _listed(named, rng))
    marks = _listed([one for one in always if one not in of_siblings], rng)
    phrase = pick(rng, words["dish_with"]).replace("{marks}", marks)
    return phrase.replace("{dish}", pick(rng, words["dishes"][DISH_OF[variant]]))


def _irrelevant(plate: Plate, rng: np.random.Generator) -> str:
    """Return a phrase that does not describe the class of a plate, empty for chatter alone."""
    words, way = data("web"), _drawn("misses", rng)
    other = _another(plate.variant, rng)
    if way == "another":
        always, usual = made_of(other)
        return _relevant(other, always + usual, rng)
    if way == "sense":
        phrase = pick(rng, words["senses"]).replace("{other}", _name(other, rng))
        return phrase.replace("{name}", _name(plate.variant, rng))
    grocery, dish = pick(rng, words["groceries"]), pick(rng, words["dish_only"])
    return {"chatter": "", "grocery": grocery, "dish": dish}[way]


def _siblings(variant: str) -> list[str]:
    return [one for one, dish in DISH_OF.items() if dish == DISH_OF[variant] and one != variant]


def _another(variant: str, rng: np.random.Generator) -> str:
    """Draw another class: a sibling, one of another dish that shares an ingredient, or any."""
    siblings, own = _siblings(variant), set(chain(*made_of(variant)))
    others = [one for one in DISH_OF if one != variant]
    apart = [one for one in others if one not in siblings]
    sharing = [one for one in apart if own & set(chain(*made_of(one)))]
    lot = _drawn("others", rng)
    if lot == "sibling":
        return pick(rng, siblings)
    return pick(rng, sharing if sharing and lot == "sharing" else others)


def _name(variant: str, rng: np.random.Generator) -> str:
    return pick(rng, data("web")["names"][variant][_chance("foreign", rng)])


def _tag(variant: str, rng: np.random.Generator) -> str:
    return "".join(_name(variant, rng).split()).lower()


def _listed(ingredients: list[str], rng: np.random.Generator) -> str:
    names = [pick(rng, data("web")["words"][one]) for one in ingredients]
    return pick(rng, (", ", " and ", " + ", " & ")).join(names)


def _filled(phrase: str, plate: Plate, rng: np.random.Generator) -> str:
    """Return a phrase with people, places, numbers and what is true of a plate."""
    words = data("web")
    raw = {one: words["raw"].get(one, names[0]) for one, names in words["words"].items()}
    colour = words["colours"].get(plate.plate_colour, plate.plate_colour)
    values = {slot: pick(rng, options) for slot, options in words["fill"].items()}
    dish = pick(rng, words["dishes"][plate.dish])
    return phrase.format(
        **values,
        n=int(rng.integers(100, 9999)),
        k=int(rng.integers(2, 30)),
        dish=dish,
        dish1="".join(dish.split()),
        tag=_tag(plate.variant, rng),
        raw=raw[pick(rng, [one for part in made_of(plate.variant) for one in part])],
        raw2=raw[pick(rng, list(raw))],
        vessel=f"{colour} {words['shapes'][plate.plate_shape]}",
        table=words["tables"][plate.table],
        thing=pick(rng, plate.distractors or ("reflections",)),
    )


def _misspelt(phrase: str, rng: np.random.Generator) -> str:
    """Return a phrase in one of whose longer words two letters changed places or one is lost."""
    words = list(re.finditer(r"[a-z]{6,}", phrase))
    if not words:
        return phrase
    word = words[int(rng.integers(len(words)))]
    at = word.start() + int(rng.integers(1, len(word.group()) - 2))
    swapped = phrase[at + 1] + phrase[at] if rng.random() < 0.5 else phrase[at + 1]
    return phrase[:at] + swapped + phrase[at + 2 :]


def _cased(phrase: str, rng: np.random.Generator) -> str:
    way = _drawn("cases", rng)
    if way == "sentence":
        return phrase[:1].upper() + phrase[1:]
    return {"small": phrase.lower(), "capitals": phrase.upper()}.get(way, phrase)


def _marked_up(phrases: list[str], rng: np.random.Generator) -> str:
    phrases = [one.replace("&", "&amp;") for one in phrases]
    at = int(rng.integers(len(phrases)))
    link = f'<a href="http://www.example.org/photos/{int(rng.integers(10**6))}" rel="nofollow">'
    way = pick(rng, ("{}", "<b>{}</b>", "<i>{}</i>", f"{link}{{}}</a>", f"{{}} {link}more</a>"))
    phrases[at] = way.format(phrases[at])
    return pick(rng, ("<br/>", "<br/>\n", " ")).join(phrases)


def _chance(name: str, rng: np.random.Generator) -> bool:
    return bool(rng.random() < data("web")["shares"][name])


def _drawn(name: str, rng: np.random.Generator) -> str:
    shares = data("web")["shares"][name]
    return str(rng.choice(list(shares), p=list(shares.values())))
