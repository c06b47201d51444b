"""The ledger: what the paper claims, and what became of it on a dataset."""

from collections.abc import Iterable

import pandas as pd

from studies.recipes.results import Results, better
from studies.reporting.claims import Claim, verdict
from studies.reporting.claims import tally as tallied
from studies.reporting.tables import between, in_words, side, signed, value

BLIND = 0.02  # sight; recipes with less for certain are called blind to the plate
R1 = (
    "R1",
    "a class-only prompt gives template recipes: alike within a dish, blind to the plate, also "
    "when sampled",
)
R2 = ("R2", "class + ingredients gives recipes grounded in the plate")
R3 = ("R3", "the ingredient head tells variants of one dish apart")
R4 = ("R4", "explicit supervision beats attention or metric learning")
NEEDED = {"R1": ("naive", "supervised"), "R2": ("naive", "typical", "shuffled", "supervised")}
COMPARED = {
    1: "better than the classifier of variants",
    0: "not told from the classifier of variants",
    -1: "the classifier of variants is better",
}
CLASSIFIER = "shared_backbone@variants"
BY_DISH = (
    "not tested here: the ingredients are those of the dish and not of the plate, so a plate has "
    "nothing of its own to be told"
)


def ledger(results: Results, tests: pd.DataFrame, frame: pd.DataFrame) -> list[Claim]:
    """Return a verdict on each claim.

    `tests` is what `comparisons.paired_tests` returned, `frame` what `results.summary` did.
    """
    return [
        templates(results, tests, frame),
        grounded(results, tests, frame),
        apart(results, tests),
        Claim(*R4, "", "", "not tested here: no attention or metric-learning control was run"),
    ]


def templates(results: Results, tests: pd.DataFrame, frame: pd.DataFrame) -> Claim:
    """Return the row of R1."""
    absent = missing(results, "R1")
    if absent:
        return Claim(*R1, "", "", absent)
    writing = results.prompts["naive"][0].params["writing"]
    drawn = (
        f"sampled at temperature {writing['temperature']:g}" if writing["temperature"] else "greedy"
    )
    experiment = (
        "self-BLEU of recipes of one dish with different ingredients, naive against supervised; "
        f"sight of naive recipes (below {BLIND:g} is blind); {drawn}, {writing['recipes']} a plate"
    )
    alike = between(tests, "supervised", "naive", "self_bleu")
    if alike is None or pd.isna((sight := value(frame, "naive", "sight")).ci_low):
        return Claim(*R1, experiment, "", "not tested here: too few plates of a dish to compare")
    figure = (
        f"self-BLEU {in_words(alike)}; sight of naive "
        f"{signed(sight['mean'], sight.ci_low, sight.ci_high, False)}"
    )
    blind = int(sight.ci_high < BLIND) - int(sight.ci_low > BLIND)
    return Claim(*R1, experiment, figure, judged(results, [side(alike), blind], [alike]))


def grounded(results: Results, tests: pd.DataFrame, frame: pd.DataFrame) -> Claim:
    """Return the row of R2."""
    absent = missing(results, "R2")
    if absent:
        return Claim(*R2, "", "", absent)
    experiment = (
        "precision and recall of the plate's ingredients named in the recipe, against the naive "
        "prompt and the controls: ingredients of another plate of the dish, typical ingredients"
    )
    rows = [
        between(tests, control, "supervised", f"grounding_{part}")
        for control in ("naive", "shuffled", "typical")
        for part in ("precision", "recall")
    ]
    if any(row is None for row in rows):
        return Claim(*R2, experiment, "", "not tested here: the prompts have no seed in common")
    figure = "; ".join(f"{row.metric.removeprefix('grounding_')} {in_words(row)}" for row in rows)
    top = value(frame, "supervised", "grounding_recall")["mean"]
    return Claim(
        *R2,
        experiment,
        f"recall {top:.3f}; {figure}",
        judged(results, [side(row) for row in rows], rows),
    )


def apart(results: Results, tests: pd.DataFrame) -> Claim:
    """Return the row of R3."""
    eyes = better(results) or "two_networks"
    if not by_plate(results):
        return Claim(*R3, "", "", BY_DISH)
    needed = (eyes, "frequencies", CLASSIFIER)
    if absent := [name for name in needed if name not in results.systems]:
        return Claim(*R3, "", "", f"not tested here: no run of {' or '.join(absent)}")
    experiment = (
        f"accuracy of the variant within the known dish, by the ingredients that {eyes} sees, "
        "against those expected without a look (frequencies) and a network trained to name variants"
    )
    blind = between(tests, "frequencies", eyes, "variant_accuracy")
    taught = between(tests, CLASSIFIER, eyes, "variant_accuracy")
    if blind is None or taught is None:
        return Claim(*R3, experiment, "", "not tested here: the systems have no seed in common")
    figure = f"{in_words(blind)}; {in_words(taught)}"
    # telling apart is being better than who does not look; how far it reaches is said beside
    said = COMPARED[side(taught)]
    return Claim(*R3, experiment, figure, judged(results, [side(blind)], [blind, taught], said))


def missing(results: Results, claim: str) -> str:
    """Return why a claim about recipes is not tested, "" when it can be."""
    if not by_plate(results):
        return BY_DISH
    absent = [name for name in NEEDED[claim] if name not in results.prompts]
    return f"not tested here: no run of {' or '.join(absent)}" if absent else ""


def by_plate(results: Results) -> bool:
    """Return whether test plates of one dish differ in their ingredients, or no run says."""
    for run in results.runs:
        if "present" in (frame := run.predictions):
            made_of = pd.Series([tuple(row) for row in frame["present"]])
            return bool((made_of.groupby(frame["dish"]).nunique() > 1).any())
    return True


def judged(results: Results, sides: list[int], rows: Iterable[pd.Series], also: str = "") -> str:
    """Return what became of a claim, with how many seeds, and what must be said beside it."""
    return verdict(results.dataset, sides, min(int(row.seeds) for row in rows), also)


def tally(claims: list[Claim]) -> str:
    """Return in one sentence what became of the claims."""
    return f"Of the paper's {tallied(claims)}."
