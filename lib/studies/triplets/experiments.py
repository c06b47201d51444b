"""What the paper claims, T1 to T10, as differences between systems.

A claim is a set of differences, each with the side of zero it is claimed on.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One difference, `second` minus `first`, and what is claimed of it."""

    metric: str
    first: str
    second: str
    claimed: str  # higher, lower, or not higher


@dataclass(frozen=True)
class Experiment:
    """A claim, the comparison that tests it, the steps it rests on, and others shown beside."""

    id: str
    claim: str
    experiment: str
    steps: tuple[Step, ...]
    beside: tuple[Step, ...] = ()


def higher(metric: str, *pairs: tuple[str, str]) -> tuple[Step, ...]:
    """Return the steps that claim the second system of each pair to be higher."""
    return tuple(Step(metric, first, second, "higher") for first, second in pairs)


def systems(steps: Iterable[Step]) -> list[str]:
    """Return the systems that the steps compare, each once."""
    return list(dict.fromkeys(name for step in steps for name in (step.first, step.second)))


ORDER = (("triplet", "flexible"), ("cross_entropy", "triplet"))
CONTROLS = (("cross_entropy", "flexible"), ("cross_entropy@untrained", "flexible"))
HELD_OUT = (
    ("cross_entropy@held_out", "flexible@held_out"),
    ("cross_entropy@held_out_untrained", "flexible@held_out"),
)
EXPERIMENTS = [
    Experiment(
        "T1",
        "macro-F1 from scratch: flexible margin > triplet > cross-entropy",
        "the three approaches, same network and batches",
        higher("macro_f1", *ORDER),
    ),
    Experiment(
        "T2",
        "macro-F1 on a frozen backbone: flexible margin > triplet > cross-entropy",
        "the three approaches, same features and batches",
        higher("macro_f1", *ORDER),
    ),
    Experiment(
        "T3",
        "the flexible margin makes the fewest severe errors",
        "severe errors on the test set",
        tuple(
            Step("severe_errors", other, "flexible", "lower")
            for other in ("cross_entropy", "triplet")
        ),
    ),
    Experiment(
        "T4",
        "semi-hard first, then hardest, converges where hardest alone collapses or stalls",
        "both losses so, against hardest alone; beside it the 2×2 of margin and schedule, which "
        "says how much of the gain is the schedule, how much the margin",
        higher(
            "macro_f1",
            ("flexible@hardest", "flexible"),
            ("triplet@hardest", "triplet@two_stages"),
        ),
        higher(
            "macro_f1",
            ("flexible@one_stage", "flexible"),
            ("triplet", "triplet@two_stages"),
            ("triplet", "flexible@one_stage"),
            ("triplet@two_stages", "flexible"),
        ),
    ),
    Experiment(
        "T5",
        "more than two images of a class in the batch do not help",
        "two against four, at equal images seen",
        (Step("macro_f1", "flexible", "flexible@four_images", "not higher"),),
    ),
    Experiment(
        "T6",
        "classes never trained on are recognised without training",
        "macro-F1 of classes held out, by k-NN among the training images of all classes; controls: "
        "features of cross-entropy, of a random network",
        higher("unseen_macro_f1", *HELD_OUT),
    ),
    Experiment(
        "T7",
        "the space clusters by class and by category",
        "k-means on the test images; same controls",
        higher("nmi", *CONTROLS) + higher("nmi_level1", *CONTROLS),
    ),
    Experiment(
        "T8",
        "the flexible margin costs a constant factor in the number of levels",
        "time of loss and gradient against the number of levels",
        (),
    ),
    Experiment(
        "T9",
        "a small scratch network with flexible margin matches a large frozen one with "
        "cross-entropy",
        "scratch flexible against frozen cross-entropy",
        (),
    ),
    Experiment(
        "T10",
        "the fewer the parameters, the larger the gain",
        "gain of the flexible margin over cross-entropy against trained parameters",
        (),
    ),
]
