"""Near-duplicates planted between training and test images; the cost of levels by a known clock."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import f1_score

from studies.inputs.images import DUPLICATE_BITS
from studies.triplets import audit, data
from studies.triplets.figures import read

CLASSES = ["cold/blue", "cold/green", "warm/red"]
PLANTED = {0: "brighter", 1: "shifted", 4: "brighter", 7: "shifted"}  # test image -> how altered
TOGETHER = [(2, 3), (3, 5)]  # test images, the second made of the first


def picture(seed: int) -> np.ndarray:
    """Soft blobs of colour, which no other seed resembles."""
    coarse = np.random.default_rng(seed).integers(40, 200, (10, 10, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC))


def altered(pixels: np.ndarray, how: str) -> np.ndarray:
    if how == "shifted":
        return np.roll(pixels, 1, axis=1)
    return (pixels * 1.1 + 8).clip(0, 255).astype(np.uint8)


@pytest.fixture
def world(sandbox, parameters):
    """A folder of pictures with planted pairs, and the parts of its pictures."""
    folder = sandbox / "data" / "colours"
    for c, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for i in range(20):
            Image.fromarray(picture(100 * c + i)).save(folder / name / f"{i:02}.png")
    dataset = data.read(parameters())
    parts = data.split(dataset, parameters())
    test, train = np.flatnonzero(parts == "test"), np.flatnonzero(parts == "train")

    def plant(like: int, place: int, how: str) -> None:
        pixels = np.asarray(Image.open(folder / dataset.files[like]))
        Image.fromarray(altered(pixels, how)).save(folder / dataset.files[place])

    for place, how in PLANTED.items():
        plant(train[3 * place], test[place], how)
    for like, place in TOGETHER:
        plant(test[like], test[place], "brighter")
    return dataset, parts


class TestNearDuplicates:
    def test_planted_pairs_are_found(self, world):
        near = data.near_duplicates(*world)
        assert len(near) == 12
        planted = near.index[near["bits_to_training"] <= DUPLICATE_BITS]
        assert planted.tolist() == list(PLANTED)

    def test_test_images_that_are_near_to_each_other_are_one_cluster(self, world):
        clusters = data.near_duplicates(*world)["cluster"]
        alike = {frozenset(rows) for rows in clusters.groupby(clusters).groups.values()}
        chained = frozenset({*itertools.chain(*TOGETHER)})
        assert alike == {chained, *(frozenset({k}) for k in range(12) if k not in chained)}

    def test_counts_by_hand(self):
        assert audit.counts(np.array([2, 40, 10, 8])).to_numpy().tolist() == [
            *([0, 0, "0.0%"], [4, 1, "25.0%"], [8, 2, "50.0%"]),
            *([10, 3, "75.0%"], [12, 3, "75.0%"]),
        ]

    def test_scores_without_them_equal_scikit_learn_on_the_rest(self, sandbox, write_run):
        true = [name for name in ("a/x", "b/y", "b/z") for _ in range(4)]
        wrong = ["a/x" if i % 3 == 0 else name for i, name in enumerate(true)]
        answers = {"triplet": [true], "flexible": [wrong, wrong[::-1]]}
        bits = np.array([2 if i in PLANTED else 30 for i in range(12)])
        for system, seeds in answers.items():
            for seed, predicted in enumerate(seeds):
                write_run(sandbox / "root", system, seed, true, predicted, bits=bits)
        table = audit.without(read("made_up"), bits).set_index("system")
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
