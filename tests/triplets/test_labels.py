"""Labels of trees and of groups: against loops over the images."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.triplets.labels import LabelledImages

LABEL = st.sampled_from(["a", "b", "c-", "c", "other"])


@st.composite
def images(draw):
    depth = draw(st.integers(1, 3))
    trees = draw(st.lists(st.tuples(*[LABEL] * depth), min_size=1, max_size=20))
    files = [f"{i}.jpg" for i in range(len(trees))]
    return LabelledImages(Path("/nowhere"), files, trees, None, nested=draw(st.booleans()))


def same(found: LabelledImages, one: tuple, two: tuple, level: int) -> bool:
    """Whether two images share the label of a level."""
    if found.nested:
        return one[: level + 1] == two[: level + 1]
    return one[level] == two[level]


@given(images())
def test_equal_labels_if_and_only_if_equal_names(found):
    assert found.labels.shape == (len(found.trees), len(found.trees[0]))
    for one, ones in zip(found.trees, found.labels, strict=True):
        for two, twos in zip(found.trees, found.labels, strict=True):
            for level in range(len(one)):
                assert same(found, one, two, level) == (ones[level] == twos[level])


@given(images())
def test_a_class_is_all_the_labels(found):
    assert found.class_names == sorted({"/".join(tree) for tree in found.trees})
    for tree, row, label in zip(found.trees, found.labels, found.class_index, strict=True):
        assert found.class_names[label] == "/".join(tree)
        assert (found.classes[label] == row).all()
    assert found.classes.shape == (len(set(found.trees)), len(found.trees[0]))
    assert found.counts == Counter(found.class_index.tolist())
    assert [found.counts[k] for k in range(len(found.classes))] == [
        sum("/".join(tree) == name for tree in found.trees) for name in found.class_names
    ]


@given(images())
def test_in_a_tree_the_lowest_label_is_the_class(found):
    if found.nested:
        assert (found.class_index == found.labels[:, -1]).all()
        assert found.class_names == found.names[-1]


def test_groups_by_hand():
    trees = [("red", "round"), ("green", "long"), ("red", "long"), ("red", "other")]
    found = LabelledImages(Path("/x"), list("1234"), trees, None, nested=False)
    assert found.names == [["green", "red"], ["long", "other", "round"]]
    assert found.labels.tolist() == [[1, 2], [0, 0], [1, 0], [1, 1]]
    assert found.class_names == ["green/long", "red/long", "red/other", "red/round"]
    assert found.class_index.tolist() == [3, 0, 1, 2]
    assert found.classes.tolist() == [[0, 0], [1, 0], [1, 1], [1, 2]]
    tree = LabelledImages(Path("/x"), list("1234"), trees, None)
    assert tree.names[1] == found.class_names
    assert tree.labels.tolist() == [[1, 3], [0, 0], [1, 1], [1, 2]]


@pytest.mark.parametrize("nested", [True, False])
def test_types_that_torch_takes(nested):
    found = LabelledImages(Path("/x"), ["1"], [("a", "b")], None, nested=nested)
    for array in (found.labels, found.classes, found.class_index):
        assert array.dtype == np.int64
    assert found.paths == [Path("/x/1")]
