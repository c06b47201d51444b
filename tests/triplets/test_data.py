"""A dataset is split by class, and the same way every time."""

from collections import Counter
from pathlib import Path

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
