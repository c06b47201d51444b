"""From a source to inputs and labels: what a plate is, and in which part it lies."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import kitchen as world
from studies.inputs.reading import PARTS, stratified
from studies.paths import StudyError
from studies.recipes import data
from studies.recipes.readers import Plates


def made_up(dish, official=None, photographs=None, variant=None) -> Plates:
    """Plates of pictures that need not be there."""
    dish = np.asarray(dish)
    return Plates(
        root=Path("/nowhere"),
        files=[f"{k}.jpg" for k in range(len(dish))],
        dishes=[f"d{k}" for k in range(dish.max() + 1)],
        dish=dish,
        ingredients=["egg", "rice"],
        present=np.zeros((len(dish), 2), dtype=bool),
        official=None if official is None else np.array(official),
        photographs=None if photographs is None else np.asarray(photographs),
        variants=None if variant is None else [f"v{k}" for k in range(max(variant) + 1)],
        variant=None if variant is None else np.asarray(variant),
    )


def test_the_kitchen_is_what_was_drawn(sandbox):
    plates = data.from_kitchen(2, 5)
    drawn = world.plates(2, 5)
    assert len(plates.files) == len(drawn)
    for place, plate in enumerate(drawn):
        assert plates.files[place].endswith(f"/{plate.id}.png")
        assert plates.dishes[plates.dish[place]] == plate.dish
        assert plates.variants[plates.variant[place]] == plate.variant
        there = zip(plates.ingredients, plates.present[place], strict=True)
        assert {name for name, is_there in there if is_there} == set(plate.ingredients)
        assert plates.references[place] == world.recipe(plate, 5)
        with Image.open(plates.paths[place]) as picture:
            assert (np.asarray(picture) == np.asarray(world.draw(plate))).all()
    tree = {dish: names for dishes in world.TREE.values() for dish, names in dishes.items()}
    assert plates.dishes == sorted(tree)
    assert plates.variants == sorted(name for names in tree.values() for name in names)
    assert plates.ingredients == sorted(plates.ingredients)
    assert plates.official is plates.photographs is None


def shuffled(counts, seed):
    dish = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(seed).permutation(dish)


class TestSplit:
    """How strata are divided is looked at in test_splits.py."""

    def test_strata_are_dishes_or_variants_and_a_published_test_is_kept(self, tiles):
        variant = shuffled([20, 30, 9, 12], 0)
        chosen = tiles(validation_share=0.2, test_share=0.3, split_seed=4)
        parts = data.split(made_up(variant // 2), chosen)
        assert (parts == stratified(variant // 2, (0.2, 0.3), 4)).all()
        parts = data.split(made_up(variant // 2, variant=variant), chosen)
        assert (parts == stratified(variant, (0.2, 0.3), 4)).all()
        assert (parts == data.split(made_up(variant // 2, variant=variant), chosen)).all()
        official = np.where(np.arange(len(variant)) % 4, "train", "test")
        parts = data.split(made_up(variant, official=official), chosen)
        assert ((parts == "test") == (official == "test")).all()
        assert (parts == stratified(variant, (0.2, 0.3), 4, official == "test")).all()

    def test_three_published_parts_are_kept(self, tiles):
        official = [*PARTS, "test", "train", "train"]
        plates = made_up([0] * 6, official=official)
        assert data.split(plates, tiles(validation_share=0.3)).tolist() == official

    @settings(max_examples=60, deadline=None)
    @given(
        whole=st.lists(
            st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=6, max_size=60
        ),
        seed=st.integers(0, 1000),
    )
    def test_what_was_cut_from_one_photograph_stays_together(self, tiles, whole, seed):
        """`whole` are the dishes of each photograph; its plates lie anywhere in the list."""
        pairs = [(number, dish) for number, dishes in enumerate(whole) for dish in dishes]
        pairs = [pairs[k] for k in np.random.default_rng(seed).permutation(len(pairs))]
        photographs = [f"p{number}" for number, _ in pairs]
        plates = made_up([dish for _, dish in pairs], photographs=photographs)
        try:
            parts = data.split(plates, tiles(validation_share=0.2, test_share=0.3, split_seed=seed))
        except StudyError:  # too few of each dish
            return
        where = {}
        for photograph, part in zip(photographs, parts, strict=True):
            where.setdefault(photograph, set()).add(part)
        assert all(len(found) == 1 for found in where.values())
        assert Counter(parts).keys() == set(PARTS)

    @pytest.mark.parametrize(
        ("seed", "expected"),
        [(0, "tvttxvxttttxttxxtxtxxtttttt"), (12, "txtxtvttttttxtxvtvtxvtxtttt")],
    )
    def test_splits_of_earlier_runs_stay_the_same(self, tiles, seed, expected):
        dish = [*map(int, "011000001320211120210100210")]
        photographs = np.random.default_rng(7).integers(0, 18, 27)
        chosen = tiles(validation_share=0.2, test_share=0.3, split_seed=seed)
        parts = data.split(made_up(dish, photographs=photographs), chosen)
        letters = {"train": "t", "validation": "v", "test": "x"}
        assert "".join(letters[part] for part in parts) == expected
