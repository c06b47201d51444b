"""The cost of levels: closed forms with a known clock, and one level against itself."""

import numpy as np
import pytest
import torch

from studies.triplets import cost

COLUMNS = ["levels", "milliseconds", "ratio", "ratio_low", "ratio_high"]


@pytest.mark.parametrize(
    ("count", "margins"), [(1, [0.5]), (2, [2, 0.5]), (3, [2, 1, 0.5]), (5, None)]
)
def test_margins_fall_from_two_to_a_half(count, margins):
    found = cost.margins(count)
    assert len(found) == count
    assert found == sorted(found, reverse=True)
    if margins:
        assert found == pytest.approx(margins)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("batch", [4, 32, 162])
def test_labels_are_a_tree_over_the_classes(count, batch):
    classes = torch.arange(batch) // 2
    labels = cost.tree(classes, count)
    assert labels.shape == (batch, count)
    assert torch.equal(labels[:, -1], classes)
    for above, below in zip(labels.T[:-1], labels.T[1:], strict=True):
        parents = set(zip(below.tolist(), above.tolist(), strict=True))
        assert len(parents) == len(set(below.tolist()))
    if count > 1:
        assert 2 <= len(labels[:, 0].unique()) <= 4


def test_a_class_has_two_images():
    embeddings, classes = cost.examples(10)
    assert embeddings.shape == (10, cost.DIMENSIONS)
    assert embeddings.requires_grad
    assert torch.bincount(classes).tolist() == [2] * 5


def test_ratios_are_medians_of_rounds(monkeypatch):
    seconds = {
        "plain": np.array([1.0, 2.0, 4.0]),
        "1": np.array([1.0, 2.0, 4.0]),
        "3": np.array([3.0, 4.0, 4.0]),  # ratios 3, 2, 1
    }
    called = []

    def measured(contenders, rounds):
        called.append((list(contenders), rounds, torch.get_num_threads()))
        return seconds

    monkeypatch.setattr(cost, "interleaved", measured)
    table = cost.levels((1, 3), batch=8, rounds=3)
    assert called == [(["plain", "1", "3"], 3, 1)]
    assert list(table.columns) == COLUMNS
    assert table["levels"].tolist() == [1, 3]
    assert table["milliseconds"].tolist() == [2000, 4000]
    assert table["ratio"].tolist() == [1, 2]
    assert table[["ratio_low", "ratio_high"]].to_numpy().tolist() == [[1, 1], [1, 3]]


def test_one_level_is_the_plain_loss(monkeypatch):
    steps = {}
    monkeypatch.setattr(
        cost,
        "interleaved",
        lambda contenders, rounds: (
            steps.update(contenders) or {name: np.ones(rounds) for name in contenders}
        ),
    )
    cost.levels((1,), batch=12, rounds=2)
    gradient = steps["plain"]()
    assert gradient.abs().sum() > 0
    assert torch.equal(gradient, steps["1"]())


def test_one_level_costs_what_a_plain_margin_costs():
    (row,) = cost.levels((1,), batch=48, rounds=21).itertuples()
    assert row.milliseconds > 0
    assert row.ratio_low <= row.ratio <= row.ratio_high
    assert 0.7 < row.ratio < 1.4
