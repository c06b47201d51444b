"""Near-duplicates planted between training and test images, and the scores without them."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import f1_score

from studies.inputs import images as pictures
from studies.inputs.images import DUPLICATE_BITS
from studies.triplets import audit, data
from studies.triplets.results import read

CLASSES = ["cold/blue", "cold/green", "warm/red"]
PLANTED = {0: "brighter", 1: "shifted", 4: "brighter", 7: "shifted"}  # test image -> how altered


def picture(seed: int) -> np.ndarray:
    """Soft blobs of colour, which no other seed resembles."""
    coarse = np.random.default_rng(seed).integers(40, 200, (10, 10, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC))


def altered(pixels: np.ndarray, how: str) -> np.ndarray:
    if how == "shifted":
        return np.roll(pixels, 1, axis=1)
    return (pixels * 1.1 + 8).clip(0, 255).astype(np.uint8)


@pytest.fixture
def world(sandbox, parameters, write_run, few_resamples):
    """A folder of pictures with planted pairs, and runs of two systems on its test set."""
    folder = sandbox / "data" / "colours"
    for c, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for i in range(20):
            Image.fromarray(picture(100 * c + i)).save(folder / name / f"{i:02}.png")
    settings = parameters()
    images = data.read(settings)
    parts = data.split(images, settings)
    test, train = np.flatnonzero(parts == "test"), np.flatnonzero(parts == "train")
    for place, how in PLANTED.items():
        pixels = np.asarray(Image.open(folder / images.files[train[3 * place]]))
        Image.fromarray(altered(pixels, how)).save(folder / images.files[test[place]])
    true = [images.class_names[k] for k in images.class_index[test]]
    wrong = [CLASSES[0] if i % 3 == 0 else name for i, name in enumerate(true)]
    answers = {"triplet": [true], "flexible": [wrong, wrong[::-1]]}
    ids = [images.files[row] for row in test]
    for system, seeds in answers.items():
        for seed, predicted in enumerate(seeds):
            write_run(sandbox / "root", system, seed, true, predicted, ids=ids)
    return true, answers, [images.files[row] for row in train]


def test_planted_pairs_are_found(world):
    results = read("made_up")
    bits = audit.nearest(results)
    near = np.flatnonzero(bits <= DUPLICATE_BITS)
    assert near.tolist() == list(PLANTED)
    assert len(bits) == 12
    found = pd.read_csv(results.folder / "near_duplicates.csv").set_index("test")["train"]
    tested = results.runs[0].predictions["id"]
    assert {place: found[tested[place]] for place in PLANTED} == {
        place: world[2][3 * place] for place in PLANTED
    }


def test_counts_at_each_distance():
    table = audit.counts(np.array([0, 0, 2, 4, 6, 8, 10, 10, 12, 20]))
    assert table["bits apart, at most"].tolist() == [0, 4, 8, 10, 12]
    assert table["test images"].tolist() == [2, 4, 6, 8, 9]
    assert table["share"].tolist() == ["20.0%", "40.0%", "60.0%", "80.0%", "90.0%"]


def test_scores_without_near_duplicates_equal_scikit_learn_on_the_rest(world):
    true, answers, _ = world
    results = read("made_up")
    table = audit.without(results, audit.nearest(results)).set_index("system")
    rest = [i for i in range(len(true)) if i not in PLANTED]
    for heading, items in {"all": range(len(true)), "without": rest}.items():
        for system, seeds in answers.items():
            scores = [
                f1_score([true[i] for i in items], [said[i] for i in items], average="macro")
                for said in seeds
            ]
            severe = [sum(true[i][0] != said[i][0] for i in items) for said in seeds]
            assert table.loc[system, f"macro-F1, {heading}"] == f"{np.mean(scores):.3f}"
            assert table.loc[system, f"severe errors, {heading}"] == f"{np.mean(severe):.1f}"


class TestKept:
    def test_it_is_computed_once(self, world, monkeypatch):
        results = read("made_up")
        bits = audit.nearest(results)
        monkeypatch.setattr(pictures, "hashes", lambda *_: pytest.fail("computed again"))
        assert audit.nearest(read("made_up")).tolist() == bits.tolist()

    def test_other_test_images_are_looked_at_anew(self, world):
        results = read("made_up")
        file = results.folder / "near_duplicates.csv"
        bits = audit.nearest(results)
        pd.read_csv(file).iloc[1:].to_csv(file, index=False)
        assert audit.nearest(results).tolist() == bits.tolist()

    def test_the_images_are_not_needed_again(self, world, sandbox):
        bits = audit.nearest(read("made_up"))
        (sandbox / "data" / "colours").rename(sandbox / "elsewhere")
        assert audit.nearest(read("made_up")).tolist() == bits.tolist()
