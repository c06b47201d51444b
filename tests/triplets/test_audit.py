"""Near-duplicates planted between training and test images; the cost of levels by a known clock."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import f1_score

from studies.inputs import images as pictures
from studies.inputs.images import DUPLICATE_BITS
from studies.triplets import audit, data
from studies.triplets.figures import read

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
def world(sandbox, parameters, write_run):
    """A folder of pictures with planted pairs, and runs of two systems on its test set."""
    folder = sandbox / "data" / "colours"
    for c, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for i in range(20):
            Image.fromarray(picture(100 * c + i)).save(folder / name / f"{i:02}.png")
    images = data.read(parameters())
    parts = data.split(images, parameters())
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


class TestNearDuplicates:
    def test_planted_pairs_are_found(self, world):
        results = read("made_up")
        bits = audit.nearest(results)
        assert len(bits) == 12
        assert np.flatnonzero(bits <= DUPLICATE_BITS).tolist() == list(PLANTED)
        found = pd.read_csv(results.folder / "near_duplicates.csv").set_index("test")["train"]
        tested = results.runs[0].predictions["id"]
        for place in PLANTED:
            assert found[tested[place]] == world[2][3 * place]

    def test_scores_without_them_equal_scikit_learn_on_the_rest(self, world):
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

    def test_they_are_computed_once_for_the_same_test_images(self, world, sandbox, monkeypatch):
        results = read("made_up")
        bits = audit.nearest(results).tolist()
        file = results.folder / "near_duplicates.csv"
        pd.read_csv(file).iloc[1:].to_csv(file, index=False)  # of other test images
        assert audit.nearest(results).tolist() == bits
        monkeypatch.setattr(pictures, "hashes", lambda *_: pytest.fail("computed again"))
        (sandbox / "data" / "colours").rename(sandbox / "elsewhere")
        assert audit.nearest(read("made_up")).tolist() == bits


class TestLevels:
    def test_ratios_are_to_a_plain_margin_in_the_same_round(self, monkeypatch):
        seconds = {
            "plain": np.array([1.0, 2.0, 4.0]),
            "1": np.array([1.0, 2.0, 4.0]),
            "3": np.array([3.0, 4.0, 4.0]),  # ratios 3, 2, 1
        }
        steps = {}

        def measured(contenders, rounds):
            assert (rounds, torch.get_num_threads()) == (3, 1)
            steps.update(contenders)
            return seconds

        monkeypatch.setattr(audit, "interleaved", measured)
        table = audit.levels((1, 3), batch=8, rounds=3)
        assert list(steps) == ["plain", "1", "3"]
        assert table["levels"].tolist() == [1, 1, 1, 3, 3, 3]
        assert table["round"].tolist() == [0, 1, 2] * 2
        assert table["milliseconds"].tolist() == [1000, 2000, 4000, 3000, 4000, 4000]
        assert table["ratio"].tolist() == [1, 1, 1, 3, 2, 1]
        gradient = steps["plain"]()
        assert gradient.abs().sum() > 0
        assert torch.equal(gradient, steps["1"]())  # one level is the plain loss
