"""Batches: k different images of each class, evenly, the same for every approach."""

from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.triplets import data, sampling
from studies.triplets.sampling import ClassBatches


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
        batches.set_epoch(epoch)
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

    @settings(max_examples=30, deadline=None)
    @given(classes_of_rows())
    def test_an_epoch_does_not_depend_on_those_before(self, case):
        labels, rows, k, seed = case
        walked, fresh = (ClassBatches(labels, rows, k, seed, len(rows)) for _ in range(2))
        for epoch in range(4):
            walked.set_epoch(epoch)
            last = list(walked)
        fresh.set_epoch(3)
        assert list(fresh) == last == list(fresh)

    def test_epoch_and_seed_change_the_batches(self):
        labels, rows = np.repeat([0, 1], 20), np.arange(40)
        drawn = []
        for seed, epoch in [(0, 0), (0, 1), (1, 0)]:
            batches = ClassBatches(labels, rows, 2, seed, 40)
            batches.set_epoch(epoch)
            drawn.append(list(batches))
        assert drawn[0] != drawn[1] != drawn[2] != drawn[0]

    def test_every_image_is_seen_in_the_long_run(self):
        labels, rows = np.repeat([0, 1], [50, 4]), np.arange(54)
        batches, seen = ClassBatches(labels, rows, 2, 0, 54), set()
        for epoch in range(20):
            batches.set_epoch(epoch)
            seen |= {row for batch in batches for row in batch}
        assert seen == set(range(54))

    def test_the_loss_has_no_say(self, parameters):
        trees = [(f"group{c % 2}", f"class{c}") for c in np.repeat(range(4), [9, 5, 12, 3])]
        files = [f"{i}.png" for i in range(len(trees))]
        found = data.LabelledImages(Path("nowhere"), files, trees, None)
        parts = data.split(found, parameters())
        drawn = [
            list(sampling.training_batches(found, parts, parameters(system)))
            for system in ("cross_entropy", "triplet", "flexible", "flexible@sum", "hybrid")
        ]
        assert all(batches == drawn[0] for batches in drawn)
        assert {row for batch in drawn[0] for row in batch} <= set(np.flatnonzero(parts == "train"))


def test_chunks_hold_every_row_once_in_order():
    rows = np.arange(3, 20, 2)
    for size in range(1, 12):
        chunks = list(sampling.Chunks(rows, size))
        assert [row for chunk in chunks for row in chunk] == rows.tolist()
        assert len(chunks) == len(sampling.Chunks(rows, size))
        assert all(len(chunk) == size for chunk in chunks[:-1])


def test_the_loader_gives_inputs_labels_and_classes_of_the_same_rows():
    inputs = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 2, 2), np.uint8)
    labels = np.stack([np.arange(10) // 5, np.arange(10)], axis=1)
    examples = sampling.Examples(inputs, labels, 3 * np.arange(10))
    batches = list(sampling.loader(examples, sampling.Chunks(np.array([7, 2, 5]), 2)))
    assert [y.tolist() for _, y, _ in batches] == [[[1, 7], [0, 2]], [[1, 5]]]
    assert [x[:, 0, 0, 0].tolist() for x, _, _ in batches] == [[7, 2], [5]]
    assert [c.tolist() for _, _, c in batches] == [[21, 6], [15]]
