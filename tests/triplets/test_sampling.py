"""Batches and what each image is for: counted, and told by pixels on their way into a training."""

from collections import Counter
from itertools import chain, pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from plug import noting
from studies.inputs import images as pictures
from studies.runs.folder import load_run
from studies.triplets import data, sampling
from studies.triplets.evaluate import evaluate
from studies.triplets.sampling import ClassBatches

CLASSES = 9
SYSTEMS = ("cross_entropy", "triplet", "flexible", "flexible@sum", "hybrid")
sizes_of = st.lists(st.integers(6, 30), min_size=CLASSES, max_size=CLASSES)


@st.composite
def classes_of_rows(draw):
    counts = draw(st.lists(st.integers(1, 12), min_size=1, max_size=6))
    labels = np.repeat(np.arange(len(counts)) * 3, counts)
    order = np.random.default_rng(draw(st.integers(0, 99))).permutation(len(labels))
    rows = 100 + np.arange(len(labels)) * 7
    return labels[order], rows, draw(st.integers(2, 4)), draw(st.integers(0, 5))


class TestClassBatches:
    @settings(max_examples=80, deadline=None)
    @given(classes_of_rows(), st.integers(0, 5), st.integers(1, 200))
    def test_k_different_images_of_each_class_evenly(self, case, epoch, images):
        labels, rows, k, seed = case
        label_of = dict(zip(rows.tolist(), labels.tolist(), strict=True))
        sizes = Counter(label_of.values())
        batches = ClassBatches(labels, rows, k, seed, images)
        batches.epoch = epoch
        drawn = list(batches)
        whole = sum(min(k, size) for size in sizes.values())
        assert len(drawn) == len(batches) == max(1, round(images / whole))
        for batch in drawn:
            assert len(set(batch)) == len(batch)
            held = Counter(label_of[row] for row in batch)
            assert held == {label: min(k, size) for label, size in sizes.items()}
        seen = Counter(row for batch in drawn for row in batch)
        for label in sizes:
            times = [seen[row] for row in rows.tolist() if label_of[row] == label]
            assert max(times) - min(times) <= 1

    def test_epoch_and_seed_change_the_batches_and_the_loss_has_no_say(self, parameters):
        found = images([9, 5, 12, 3])
        parts = data.split(found, parameters())

        def drawn(epoch=0, **changes):
            batches = sampling.training_batches(found, parts, parameters(**changes))
            batches.epoch = epoch
            return list(batches)

        assert drawn() != drawn(epoch=1) != drawn(seed=1) != drawn()
        assert all(drawn(system=system) == drawn() for system in SYSTEMS)
        assert {row for batch in drawn() for row in batch} <= set(np.flatnonzero(parts == "train"))


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


def roles_of(found, chosen):
    parts = data.split(found, chosen)
    return parts, sampling.roles(found, parts, chosen)


@pytest.fixture(scope="module")
def make(parameters):
    """Return a function: changes to the parameters of a small system, of two levels."""
    return lambda **changes: parameters("triplet", **changes)


class TestRoles:
    @settings(max_examples=30, deadline=None)
    @given(sizes_of, st.integers(0, CLASSES - 2), st.integers(0, 3))
    def test_whole_classes_leave_training_and_validation(self, make, sizes, held, split_seed):
        found = images(sizes)
        parts, roles = roles_of(found, make(held_out=held, split_seed=split_seed))
        out = set(found.class_index[roles == "gallery"].tolist())
        assert len(out) == held
        moved = {"train": "gallery", "validation": "spare", "test": "test"}
        for c, part, role in zip(found.class_index, parts, roles, strict=True):
            assert role == (moved[part] if c in out else part)

    def test_the_seed_of_the_split_orders_them_and_seeds_go_round(self, make):
        found, chosen = images([12] * CLASSES), {}
        for split_seed in range(4):
            for held in (2, 5):
                _, roles = roles_of(found, make(held_out=held, split_seed=split_seed))
                chosen[split_seed, held] = set(found.class_index[roles == "gallery"].tolist())
            assert chosen[split_seed, 2] < chosen[split_seed, 5]
        assert len({tuple(sorted(classes)) for classes in chosen.values()}) > 2
        times = np.zeros(CLASSES, dtype=int)
        for seed in range(CLASSES):
            _, roles = roles_of(found, make(held_out=5, split_seed=0, seed=seed))
            out = np.unique(found.class_index[roles == "gallery"])
            assert seed or set(out.tolist()) == chosen[0, 5]
            times[out] += 1
        assert set(times.tolist()) == {5}
        # as many seeds as it takes hold out every class
        few = [
            roles_of(found, make(held_out=5, split_seed=0, seed=seed))[1]
            for seed in range(-(-CLASSES // 5))
        ]
        assert len(np.unique(found.class_index[(np.stack(few) == "gallery").any(0)])) == CLASSES

    @settings(max_examples=30, deadline=None)
    @given(sizes_of, st.integers(0, 3))
    def test_at_most_so_many_of_a_class_and_fewer_are_among_more(self, make, sizes, split_seed):
        found, trained = images(sizes), []
        for most in (1, 5, 10, 20, None):
            parts, roles = roles_of(found, make(train_per_class=most, split_seed=split_seed))
            there = Counter(found.class_index[parts == "train"].tolist())
            kept = Counter(found.class_index[roles == "train"].tolist())
            assert kept == {c: min(most or count, count) for c, count in there.items()}
            for part, role in zip(parts, roles, strict=True):
                assert role in ({"train", "spare"} if part == "train" else {part})
            trained.append(set(np.flatnonzero(roles == "train").tolist()))
        assert all(fewer <= more for fewer, more in pairwise(trained))

    @settings(max_examples=20, deadline=None)
    @given(sizes_of, st.integers(0, 4), st.integers(3, 5), st.integers(0, 3))
    def test_an_epoch_has_as_many_steps_whatever_is_left_out(
        self, make, sizes, held, every, split_seed
    ):
        found, steps = images(sizes, every), []
        others = {"held_out": held, "spare_test_of": "official", "split_seed": split_seed}
        for most in (2, 4, None):
            changed = make(train_per_class=most, **others)
            roles = roles_of(found, changed)[1]
            trained = Counter(found.class_index[roles == "train"].tolist())
            assume(len(trained) == CLASSES - held)
            assume(min(trained.values()) >= 2)  # else a class fills less of a batch
            batches = sampling.training_batches(found, roles, changed)
            assert {row for one in batches for row in one} <= set(np.flatnonzero(roles == "train"))
            steps.append(len(batches))
        wanted = round(np.count_nonzero(roles == "train") / (2 * (CLASSES - held)))
        assert steps == [max(1, wanted)] * 3

    @settings(max_examples=30, deadline=None)
    @given(sizes_of, st.integers(3, 5), st.integers(0, 3), st.permutations(["official", "random"]))
    def test_what_the_other_split_tests_on_is_left_out(
        self, make, sizes, every, split_seed, splits
    ):
        """As the groceries are tuned: neither test set is ever seen."""
        found, changes = images(sizes, every), {"split_seed": split_seed}
        first, second = splits
        parts, roles = roles_of(found, make(**changes, split=first, spare_test_of=second))
        others = data.split(found, make(**changes, split=second)) == "test"
        for part, role, other in zip(parts, roles, others, strict=True):
            assert role == ("spare" if other and part != "test" else part)


@pytest.fixture
def watch(monkeypatch, learner):
    """Return a function that trains and says which files were trained on, validated on, looked
    among by k-NN in validation, and kept as references.
    """
    from studies.triplets.train import train

    def run(chosen, album):
        files = sorted(album.rglob("*.png"))
        known = {pictures.decode(file, 16).tobytes(): file for file in files}
        assert len(known) == len(files)
        trained, validated, looked = [], [], []

        def names(pixels):
            return [known[np.asarray(p).tobytes()].relative_to(album).as_posix() for p in pixels]

        scores, classifier = learner.scores, learner.classifier

        def validate(self, batches, curves):
            batches = list(batches)
            validated.extend(names(batch[0]) for batch in batches)
            return scores(self, batches, curves)

        def look(self, rows):
            looked.append(names(self.inputs[rows]))
            return classifier(self, rows)

        with monkeypatch.context() as patch:
            noting(patch, learner, lambda _, __, batch: trained.append(names(batch[0])))
            patch.setattr(learner, "scores", validate)
            patch.setattr(learner, "classifier", look)
            folder = train(chosen)
        return SimpleNamespace(
            folder=folder,
            trained=list(chain(*trained)),
            validated=list(chain(*validated)),
            looked=list(chain(*looked[:-1])),
            references=looked[-1],
        )

    return run


def classes_of(files) -> set[str]:
    return {file.rpartition("/")[0] for file in files}


class TestExposure:
    @pytest.fixture
    def album(self, sandbox, colours):
        """The folder of colours, 20 pictures a class; 12 of them are for training."""
        return colours(sandbox / "data" / "colours", 20)

    @pytest.mark.parametrize("system", ["cross_entropy", "hybrid"])
    def test_held_out_classes_are_tested_and_never_learned_from(
        self, album, watch, parameters, system, draw, sandbox, monkeypatch
    ):
        chosen = parameters(system, held_out=2, decide="neighbours")
        first = watch(chosen, album)
        everything = classes_of(file.relative_to(album).as_posix() for file in album.rglob("*.png"))
        learned = classes_of(first.trained)
        out = everything - learned
        assert len(out) == 2
        assert classes_of(first.validated) == classes_of(first.looked) == learned
        assert classes_of(first.references) == everything
        frame = load_run(evaluate(chosen)).predictions
        assert classes_of(frame["id"]) == everything
        assert not set(frame["id"]) & {*first.trained, *first.validated, *first.references}
        # other pictures of them leave the network as it is
        for number, name in enumerate(sorted(out)):
            for file in sorted((album / name).iterdir()):
                draw(file, (128, 128, 128), seed=9000 + 100 * number + int(file.stem), noise=90)
        monkeypatch.setenv("STUDIES_ROOT", str(sandbox / "other"))
        second = watch(chosen, album)
        assert (second.trained, second.validated) == (first.trained, first.validated)
        one, other = (load_file(seen.folder / "model.safetensors") for seen in (first, second))
        for name in one.keys() - {"references"}:
            assert one[name].tobytes() == other[name].tobytes(), name
        kept = np.array([file.rpartition("/")[0] not in out for file in first.references])
        assert (one["references"] == other["references"]).all(1).tolist() == kept.tolist()
        curves = [(seen.folder / "curves.csv").read_bytes() for seen in (first, second)]
        assert curves[0] == curves[1]

    def test_fewer_training_images_are_among_more(self, album, watch, parameters):
        runs = {}
        for most in (5, 10, None):
            chosen = parameters("flexible", variant=f"most{most or ''}", train_per_class=most)
            runs[most] = watch(chosen, album)
            per_class = Counter(file.rpartition("/")[0] for file in set(runs[most].trained))
            assert list(per_class.values()) == [most or 12] * 7
            assert set(runs[most].looked) == set(runs[most].references) == set(runs[most].trained)
            assert runs[most].validated == runs[5].validated
            assert len(runs[most].trained) == len(runs[5].trained)
        for fewer, more in pairwise(runs.values()):
            assert set(fewer.trained) < set(more.trained)
