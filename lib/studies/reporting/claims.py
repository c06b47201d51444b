"""The ledger of claims: what was published, and what became of it here."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

import pandas as pd

from studies.reporting.tables import to_markdown

SYNTHETIC = ("tiny", "demo")  # a verdict on these is one on a drawn world
TALLIED = {
    "holds": ("holds", "hold"),
    "does not hold": ("does not hold", "do not hold"),
    "inconclusive": ("is inconclusive", "are inconclusive"),
    "not tested here": ("is not tested here", "are not tested here"),
}


@dataclass(frozen=True)
class Claim:
    """A published claim and what became of it.

    Args:
        id: short name, such as T1.
        claim: what the publication says.
        experiment: what was run to test it.
        figure: the number that decides, with its interval.
        verdict: begins with "holds", "does not hold", "inconclusive" or "not tested here: …".

    Raises:
        ValueError: any other verdict.
    """

    id: str
    claim: str
    experiment: str
    figure: str
    verdict: str

    def __post_init__(self) -> None:
        if not re.match(r"(holds|does not hold|inconclusive)\b|not tested here: \S", self.verdict):
            raise ValueError(
                f'the verdict on {self.id} begins with "holds", "does not hold", "inconclusive" or '
                f'"not tested here: " and a reason, got {self.verdict!r}'
            )


def claims_frame(claims: Iterable[Claim]) -> pd.DataFrame:
    """Return the ledger as a frame: id, claim, experiment, figure with interval, verdict."""
    headings = ["id", "claim", "experiment", "figure with interval", "verdict"]
    return pd.DataFrame([astuple(claim) for claim in claims], columns=headings, dtype="str")


def claims_markdown(claims: Iterable[Claim]) -> str:
    """Return the ledger as a Markdown table, one row a claim."""
    return to_markdown(claims_frame(claims))


def word(sides: Sequence[int]) -> str:
    """Return what becomes of a claim by the sides of zero on which its intervals are.

    A side is 1, the claimed one, −1, the other, or 0 for both. The claim holds when all intervals
    are on the claimed side, does not when one is on the other, and is inconclusive otherwise.
    """
    if min(sides) < 0:
        return "does not hold"
    return "holds" if min(sides) > 0 else "inconclusive"


def verdict(dataset: str, sides: Sequence[int], seeds: int, also: str = "") -> str:
    """Return `word(sides)`, with how many seeds stand behind it and what must be said beside it."""
    # with one seed the interval knows test items alone, not how training varies
    marks = ["one seed" if seeds == 1 else f"{seeds} seeds"]
    if dataset in SYNTHETIC:
        marks.append("synthetic")
    return f"{word(sides)} ({', '.join(filter(None, [*marks, also]))})"


def tally(claims: Sequence[Claim]) -> str:
    """Return in words what became of so many claims, such as "10 claims 2 hold, 8 do not hold"."""
    counts = {kind: sum(c.verdict.startswith(kind) for c in claims) for kind in TALLIED}
    parts = [f"{count} {TALLIED[kind][count > 1]}" for kind, count in counts.items() if count]
    return f"{len(claims)} claims {', '.join(parts)}"
