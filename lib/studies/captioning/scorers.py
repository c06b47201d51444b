"""What the worker process of `java.py` does: call pycocoevalcap's scorers one by one.

Never `pycocoevalcap.eval`: it brings SPICE, which downloads models and takes 8 GB.
"""

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

JAVA_FAILED = 3  # exit status of the worker
LAST = "endofcaptions"  # a caption of our own after all others


class JavaError(Exception):
    """Java did not start, or did not do what it was started for."""


def work() -> None:
    """Read items.json of the working folder, write scores.json, and exit."""
    threading.Thread(target=die_with_the_caller, daemon=True).start()
    status = 0
    try:
        items = json.loads(Path("items.json").read_text())
        Path("scores.json").write_text(json.dumps(scores(**items)))
    except JavaError as error:
        print(error, file=sys.stderr)
        status = JAVA_FAILED
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    sys.stderr.flush()
    os._exit(status)  # at once, with a thread still waiting


def die_with_the_caller() -> None:
    """Wait until standard input ends, which is when the caller does; then end the group."""
    folder = Path.cwd()
    os.read(0, 1)
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def scores(candidates: list[str], references: list[list[str]]) -> dict[str, Any]:
    """Return the answer of `java.score`."""
    import numpy as np
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    given = dict(enumerate(tokenized(references)))
    said = dict(enumerate(tokenized([[candidate] for candidate in candidates])))
    for position, own in given.items():
        if not any(own):
            return {"wordless": position}
    bleu = BleuScorer(n=4)  # as Bleu does, which keeps the counts to itself
    for position, own in given.items():
        bleu += (said[position][0], own)
    by_order = bleu.compute_score(option="closest", verbose=0)[1]
    rouge = Rouge().compute_score(given, said)[1]
    # ROUGE-L takes an empty text for one empty word, which matches that of an empty reference
    spoken = np.array([bool(said[position][0]) for position in given])
    meteor, statistics = meteor_scores(given, said)
    return {
        "bleu": np.transpose(by_order).tolist(),
        "counts": [bleu_counts(one) for one in bleu.ctest],
        "meteor": meteor,
        "statistics": statistics,
        "rouge": (rouge * spoken).tolist(),
        "cider": Cider().compute_score(given, said)[1].tolist(),
    }


def bleu_counts(cooked: Mapping[str, Any]) -> list[int]:
    """Return matches and guesses of 1- to 4-grams, the length, and the closest reference's."""
    length = cooked["testlen"]
    closest = min((abs(own - length), own) for own in cooked["reflen"])[1]
    return [*cooked["correct"], *cooked["guess"], length, closest]


def tokenized(captions: list[list[str]]) -> list[list[str]]:
    """Return the captions of each item as PTBTokenizer's words, lower case, no punctuation.

    Raises JavaError unless as many lines come back as went in: were one lost, all that follow
    would move to their neighbours.
    """
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    items = dict(enumerate([*captions, [LAST]]))
    lines = {item: [{"caption": text} for text in texts] for item, texts in items.items()}
    try:
        found = PTBTokenizer().tokenize(lines)
    except OSError as error:
        raise JavaError(f"cannot start the tokenizer: {error.strerror or error}") from None
    if found.get(len(captions)) != [LAST]:
        raise JavaError("the tokenizer gave back another number of lines than it was given")
    return [found[item] for item in range(len(captions))]


def meteor_scores(
    references: Mapping[int, list[str]], candidates: Mapping[int, list[str]]
) -> tuple[list[float], list[list[float]]]:
    """Return METEOR of each item, and the 23 statistics that METEOR computes it from."""
    from pycocoevalcap.meteor.meteor import Meteor

    lines: list[str] = []

    class Listening(Meteor):
        def _stat(self, *texts: Any) -> str:
            lines.append(super()._stat(*texts))
            return lines[-1]

        def __del__(self) -> None:
            """Do nothing: Meteor's own waits for its lock, for ever after a failure."""

    try:
        meteor = Listening()
    except OSError as error:
        raise JavaError(f"cannot start METEOR: {error.strerror or error}") from None
    try:
        _, by_item = meteor.compute_score(references, candidates)
        return by_item, [[float(number) for number in line.split()] for line in lines]
    except (OSError, ValueError) as error:
        meteor.meteor_p.kill()
        said = meteor.meteor_p.stderr.read().decode(errors="replace").strip()
        raise JavaError(said or f"METEOR stopped: {error}") from None
    finally:
        meteor.meteor_p.kill()
        meteor.meteor_p.wait()
