"""What each image is for: counted class by class, on drawn lists of images."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from studies.triplets import data, sampling

CLASSES = 9


def images(sizes, official_every: int = 0) -> data.LabelledImages:
    """A list of images of so many classes; every so many of a class are an official test image."""
    classes = np.repeat(np.arange(len(sizes)), sizes)
    trees = [(f"group{c % 3}", f"class{c}") for c in classes]
    files = [f"{i}.png" for i in range(len(trees))]
    official = None
    if official_every:
        place = np.concatenate([np.arange(size) for size in sizes])
        official = np.where(place % official_every == 0, "test", "train")
    return data.LabelledImages(Path("nowhere"), files, trees, official)


def roles_of(found, settings):
    parts = data.split(found, settings)
    return parts, sampling.roles(found, parts, settings)


sizes_of = st.lists(st.integers(6, 30), min_size=CLASSES, max_size=CLASSES)


@pytest.fixture(scope="module")
def make(parameters):
    """Return a function: changes to the parameters of a small system, of two levels."""
    loss = {"name": "triplet", "margin": 0.5, "take": "closest"}
    return lambda **changes: parameters("triplet", loss=loss, **changes)


class TestNothingLeftOut:
    @settings(max_examples=20, deadline=None)
    @given(sizes_of, st.integers(0, 3))
    def test_every_image_is_for_its_part(self, make, sizes, split_seed):
        parts, roles = roles_of(images(sizes), make(split_seed=split_seed))
        assert roles.tolist() == parts.tolist()


class TestHeldOut:
    @settings(max_examples=30, deadline=None)
    @given(sizes_of, st.integers(1, CLASSES - 2), st.integers(0, 3))
    def test_whole_classes_leave_training_and_validation(self, make, sizes, held, split_seed):
        found = images(sizes)
        parts, roles = roles_of(found, make(held_out=held, split_seed=split_seed))
        out = {c for c, role in zip(found.class_index, roles, strict=True) if role == "gallery"}
        assert len(out) == held
        for c, part, role in zip(found.class_index, parts, roles, strict=True):
            moved = {"train": "gallery", "validation": "spare", "test": "test"}
            assert role == (moved[part] if c in out else part)

    def test_the_seed_of_the_split_chooses_them_and_more_hold_fewer(self, make):
        found = images([12] * CLASSES)
        chosen = {}
        for split_seed in range(4):
            for held in (2, 5):
                _, roles = roles_of(found, make(held_out=held, split_seed=split_seed))
                chosen[split_seed, held] = set(found.class_index[roles == "gallery"].tolist())
            assert chosen[split_seed, 2] < chosen[split_seed, 5]
        assert len({tuple(sorted(classes)) for (_, k), classes in chosen.items() if k == 2}) > 1

    def test_the_seed_of_training_does_not(self, make):
        found = images([12] * CLASSES)
        chosen = [roles_of(found, make(held_out=3, seed=seed))[1].tolist() for seed in range(3)]
        assert chosen[0] == chosen[1] == chosen[2]


class TestFewImages:
    @settings(max_examples=30, deadline=None)
    @given(sizes_of, st.integers(1, 12), st.integers(0, 3))
    def test_at_most_so_many_of_a_class(self, make, sizes, most, split_seed):
        found = images(sizes)
        parts, roles = roles_of(found, make(train_per_class=most, split_seed=split_seed))
        there = Counter(found.class_index[parts == "train"].tolist())
        kept = Counter(found.class_index[roles == "train"].tolist())
        assert kept == {c: min(most, count) for c, count in there.items()}
        for part, role in zip(parts, roles, strict=True):
            assert role in ({"train", "spare"} if part == "train" else {part})

    @settings(max_examples=20, deadline=None)
    @given(sizes_of, st.integers(0, 3))
    def test_fewer_are_among_more(self, make, sizes, split_seed):
        found, trained = images(sizes), []
        for most in (1, 5, 10, 20, None):
            _, roles = roles_of(found, make(train_per_class=most, split_seed=split_seed))
            trained.append(set(np.flatnonzero(roles == "train").tolist()))
        for fewer, more in pairwise(trained):
            assert fewer <= more
        assert trained[0] < trained[-1]

    @settings(max_examples=20, deadline=None)
    @given(sizes_of, st.integers(2, 4), st.integers(0, 3))
    def test_an_epoch_has_as_many_steps_whatever_their_number(self, make, sizes, k, seed):
        found, steps, batches = images(sizes), set(), {}
        for most in (k, k + 3, 20, None):
            changed = make(train_per_class=most, images_per_class=k, seed=seed)
            parts, roles = roles_of(found, changed)
            batches[most] = sampling.training_batches(found, roles, changed)
            there = Counter(found.class_index[parts == "train"].tolist())
            if min(there.values()) >= k:  # else a class fills less of a batch
                steps.add(len(batches[most]))
                assert len(list(batches[most])) == len(batches[most])
        assert len(steps) <= 1
        assert {row for batch in batches[k] for row in batch} <= set(
            np.flatnonzero(roles_of(found, make(train_per_class=k))[1] == "train").tolist()
        )

    @settings(max_examples=20, deadline=None)
    @given(sizes_of, st.integers(0, 4), st.integers(3, 5), st.integers(0, 3))
    def test_whatever_else_is_left_out(self, make, sizes, held, every, split_seed):
        found, steps = images(sizes, every), []
        others = {"held_out": held, "spare_test_of": "official", "split_seed": split_seed}
        for most in (2, 4, None):
            changed = make(train_per_class=most, **others)
            roles = roles_of(found, changed)[1]
            trained = Counter(found.class_index[roles == "train"].tolist())
            assume(len(trained) == CLASSES - held)
            assume(min(trained.values()) >= 2)  # else a class fills less of a batch
            steps.append(len(sampling.training_batches(found, roles, changed)))
        wanted = round(np.count_nonzero(roles == "train") / (2 * (CLASSES - held)))
        assert steps == [max(1, wanted)] * 3

    def test_held_out_classes_do_not_come_back(self, make):
        found = images([20] * CLASSES)
        _, without = roles_of(found, make(held_out=3))
        _, roles = roles_of(found, make(held_out=3, train_per_class=4))
        out = set(found.class_index[without == "gallery"].tolist())
        assert Counter(found.class_index[roles == "train"].tolist()) == {
            c: 4 for c in range(CLASSES) if c not in out
        }
        assert Counter(found.class_index[roles == "gallery"].tolist()) == dict.fromkeys(out, 4)


class TestOtherSplit:
    @settings(max_examples=30, deadline=None)
    @given(sizes_of, st.integers(3, 5), st.integers(0, 3), st.booleans())
    def test_what_the_other_split_tests_on_is_left_out(
        self, make, sizes, every, split_seed, official_first
    ):
        found = images(sizes, every)
        first, second = ("official", "random") if official_first else ("random", "official")
        changes = {"split_seed": split_seed, "split": first}
        parts, roles = roles_of(found, make(**changes, spare_test_of=second))
        others = data.split(found, make(split_seed=split_seed, split=second)) == "test"
        for part, role, other in zip(parts, roles, others, strict=True):
            assert role == ("spare" if other and part != "test" else part)
        used = np.isin(roles, ["train", "validation"])
        assert not (used & others).any()
        assert not (used & (parts == "test")).any()
        assert (roles == "train").any()

    def test_the_published_split_against_the_random_one(self, make):
        """As the groceries are tuned: neither test set is ever seen."""
        found = images([40] * CLASSES, 4)
        settings = make(split="official", spare_test_of="random", validation_share=0.25)
        _, roles = roles_of(found, settings)
        used = np.flatnonzero(np.isin(roles, ["train", "validation"]))
        assert set(found.official[used]) == {"train"}
        tested = data.split(found, make(split="random"))[used] == "test"
        assert not tested.any()
        # of 40, 10 are tested on officially, and a fifth of the others at random
        assert len(used) == pytest.approx(CLASSES * 30 * 0.8, rel=0.1)
