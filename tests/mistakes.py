"""Four classes in three levels, fifteen test items each, and answers with known mistakes."""

from sklearn.metrics import f1_score

CLASSES = ["a/x/1", "a/x/2", "a/y/y", "b/z/1"]
TRUE = [name for name in CLASSES for _ in range(15)]


def wrong(*places: tuple[int, str]) -> list[str]:
    """The truth but for some items: (index, what it is taken for)."""
    predicted = list(TRUE)
    for index, name in places:
        predicted[index] = name
    return predicted


def severe(*items: int) -> list[str]:
    """The truth but for a wrong top label of some items."""
    return wrong(*((i, "b/z/1" if TRUE[i][0] == "a" else "a/y/y") for i in items))


def f1(predicted: list[str], labels=CLASSES) -> float:
    return f1_score(TRUE, predicted, labels=labels, average="macro", zero_division=0)
