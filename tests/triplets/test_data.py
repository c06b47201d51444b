"""A dataset is split by class, and the same way every time."""

from collections import Counter
from pathlib import Path
from typing import ClassVar

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sentences import refused
from studies.triplets import data


def made_up(counts: list[int], official: list[str] | None = None) -> data.LabelledImages:
    trees = [(f"c{c // 2}", f"c{c}") for c, count in enumerate(counts) for _ in range(count)]
    files = [f"{i}.jpg" for i in range(len(trees))]
    return data.LabelledImages(Path("/nowhere"), files, trees, official and np.array(official))


class TestSplit:
    def test_its_own_seed_alone_draws_it(self, parameters):
        found = made_up([100, 10, 1])
        parts = data.split(found, parameters(validation_share=0.1))
        assert Counter(parts[:100]) == {"train": 70, "validation": 10, "test": 20}
        assert Counter(parts[100:110]) == {"train": 7, "validation": 1, "test": 2}
        assert parts[110] == "train"
        assert (parts == data.split(found, parameters(validation_share=0.1, seed=7))).all()
        assert (parts != data.split(found, parameters(validation_share=0.1, split_seed=1))).any()

    def test_what_cannot_be_split(self, parameters):
        found = made_up([6, 6])
        assert "split: random" in refused(data.split, found, parameters(split="official"))
        few = parameters(validation_share=0.05)
        assert "too few images" in refused(data.split, found, few)

    @settings(max_examples=60, deadline=None)
    @given(
        part=st.lists(st.sampled_from(["train", "validation", "test"]), min_size=20, max_size=80),
        share=st.floats(0.05, 0.5),
    )
    def test_official_test_is_kept_exactly(self, parameters, part, share):
        quarter = len(part) // 4
        found = made_up([quarter, quarter, quarter, len(part) - 3 * quarter], part)
        settings = parameters(split="official", validation_share=share)
        rest = found.official != "test"
        classes = [int((rest & (found.labels[:, -1] == c)).sum()) for c in range(4)]
        wanted = [min(round(n * share), max(n - 1, 0)) for n in classes]
        assume("test" in part and any(wanted))
        parts = data.split(found, settings)
        assert ((parts == "test") == (found.official == "test")).all()
        for c in range(4):
            own = parts[rest & (found.labels[:, -1] == c)]
            assert (own == "validation").sum() == wanted[c]
            assert (own == "train").sum() == classes[c] - wanted[c]


class TestRelations:
    LOSS: ClassVar = {
        "name": "flexible_margin",
        "margins": [2.0, 1.0],
        "combine": "max",
        "take": "closest",
    }

    def test_they_are_the_labels_or_those_permuted_among_the_classes(self, parameters):
        found = made_up([3] * 8)
        assert (data.relations(found, parameters("flexible")) == found.classes).all()
        assert (data.relations(found, parameters("cross_entropy")) == found.classes).all()
        drawn = []
        for seed in range(3):
            loss = {**self.LOSS, "margins": [2.0, 1.0], "relations": "shuffled"}
            given = parameters("flexible", seed=seed, loss=loss)
            drawn.append(data.relations(found, given).tolist())
            assert sorted(drawn[-1]) == sorted(found.classes.tolist())
            assert drawn[-1] == data.relations(found, given).tolist()
        assert len({str(one) for one in [*drawn, found.classes.tolist()]}) == 4

    def test_groups_of_a_file_and_the_class_itself(self, parameters, sandbox):
        found = made_up([3, 3, 3])
        file = sandbox / "groups.csv"
        loss = {**self.LOSS, "margins": [0.5, 1.0, 0.2], "relations": str(file)}
        given = parameters("flexible", loss=loss)  # over groups, margins in any order
        file.write_text("class,colour,size\nc1/c2,red,big\nc0/c1,red,small\nc0/c0,blue,small\n")
        labels = data.relations(found, given)
        same = labels[:, None] == labels
        assert same[0, 1].tolist() == [False, True, False]
        assert same[0, 2].tolist() == [False, False, False]
        assert same[1, 2].tolist() == [True, False, False]
        file.write_text("class,colour\nc1/c2,red\n")
        said = refused(data.relations, found, given)
        assert "groups.csv: has no line for the class c0/c0" in said
