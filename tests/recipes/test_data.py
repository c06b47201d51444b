"""What a run reads: its plates, their parts, and the batches of an epoch."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

import kitchen as world
from foods import BOXES, FOOD101, RECIPES5K
from sentences import refused
from studies.inputs.splits import PARTS
from studies.learning.fit import Batches
from studies.paths import StudyError
from studies.recipes import data
from studies.recipes.plates import Plates


def made_up(dish, official=None, photographs=None, variant=None, ingredients=2):
    """Plates of nothing but labels."""
    dish, count = np.asarray(dish), len(dish)
    names = [f"dish {k}" for k in range(dish.max() + 1)]
    variants = None if variant is None else [f"v{k}" for k in range(max(variant) + 1)]
    return Plates(
        root=Path("/nowhere"),
        files=[f"{k}.jpg" for k in range(count)],
        dishes=names,
        dish=dish,
        ingredients=[f"i{k}" for k in range(ingredients)],
        present=np.zeros((count, ingredients), dtype=bool),
        official=None if official is None else np.array(official),
        photographs=None if photographs is None else np.asarray(photographs),
        variants=variants,
        variant=None if variant is None else np.asarray(variant),
    )


PER_VARIANT, SEED = 2, 5


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIES_ROOT", str(tmp_path_factory.mktemp("kitchen")))
        yield data.from_kitchen(PER_VARIANT, SEED)


class TestKitchen:
    def test_every_plate_is_what_was_drawn(self, kitchen):
        drawn = world.plates(PER_VARIANT, SEED)
        assert len(kitchen.files) == len(drawn)
        for place, plate in enumerate(drawn):
            assert kitchen.files[place].endswith(f"/{plate.id}.png")
            assert kitchen.dishes[kitchen.dish[place]] == plate.dish
            assert kitchen.variants[kitchen.variant[place]] == plate.variant
            there = zip(kitchen.ingredients, kitchen.present[place], strict=True)
            assert {name for name, is_there in there if is_there} == set(plate.ingredients)
            assert kitchen.references[place] == world.recipe(plate, SEED)
            with Image.open(kitchen.paths[place]) as picture:
                assert (np.asarray(picture) == np.asarray(world.draw(plate))).all()

    def test_names_are_those_of_the_world(self, kitchen):
        tree = {dish: names for dishes in world.TREE.values() for dish, names in dishes.items()}
        assert kitchen.dishes == sorted(tree)
        assert kitchen.variants == sorted(name for names in tree.values() for name in names)
        assert kitchen.ingredients == sorted(kitchen.ingredients)
        assert set(kitchen.ingredients) <= set(world.INGREDIENTS)
        assert kitchen.present.any(0).all()
        assert kitchen.official is kitchen.photographs is None

    def test_the_softmax_is_over_dishes_or_variants(self, kitchen):
        names, true = data.targets(kitchen, "dish")
        assert [names[k] for k in true] == [f.split("/")[1] for f in kitchen.files]
        names, true = data.targets(kitchen, "variant")
        assert [names[k] for k in true] == [f.split("/")[2] for f in kitchen.files]


class TestRead:
    """Each source by its name; what the layouts hold is looked at in test_sources.py."""

    def test_food101_with_a_table_of_ones_own(self, few, tiles):
        plates = data.read(tiles())
        assert plates.root == few / "data" / "food101" / "food-101" / "images"
        assert Counter(plates.official) == {"train": 36, "test": 12}
        assert plates.ingredients == ["egg", "nori", "rice"]
        assert plates.present.sum(0).tolist() == [24, 24, 48]

    def test_food101_with_ingredients101(
        self, sandbox, tiles, food101_folder, ingredients101_folder
    ):
        food101_folder(sandbox / "data" / "food101" / "food-101")
        ingredients101_folder(sandbox / "data" / "ingredients101")
        chosen = tiles(source={"name": "food101", "ingredients": "ingredients101"})
        plates = data.read(chosen)
        assert plates.dishes == sorted(FOOD101)
        assert "parmesan cheese" in plates.ingredients

    def test_recipes5k(self, sandbox, tiles, recipes5k_folder):
        recipes5k_folder(sandbox / "data" / "recipes5k")
        plates = data.read(tiles(source={"name": "food101", "ingredients": "recipes5k"}))
        assert plates.files == [image for part in RECIPES5K.values() for image, _ in part]
        parts = data.split(plates, tiles(validation_share=0.4))
        assert parts.tolist() == ["train"] * 2 + ["validation"] + ["test"] * 2

    def test_uecfood256(self, sandbox, tiles, uecfood256_folder):
        uecfood256_folder(sandbox / "data" / "uecfood256" / "UECFOOD256")
        table = (
            "dish,ingredients\nrice,rice\neels on rice,eel;rice\n\"chicken-'n'-egg on rice\",egg"
        )
        (sandbox / "data" / "mine.csv").write_text(table)
        plates = data.read(tiles(source={"name": "uecfood256", "ingredients": "mine.csv"}))
        assert len(plates.files) == sum(map(len, BOXES.values()))
        assert plates.ingredients == ["eel", "egg", "rice"]

    def test_missing_data(self, sandbox, tiles):
        assert "food-101" in refused(data.read, tiles())


# so many plates of each dish
COUNTS = st.lists(st.integers(1, 40), min_size=1, max_size=6)
SHARES = st.tuples(st.floats(0.1, 0.45), st.floats(0.1, 0.45))


def shuffled(counts, seed):
    dish = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(seed).permutation(dish)


def parts_of(plates, settings):
    """The split, or the sentence that says why there is none."""
    try:
        return data.split(plates, settings)
    except StudyError as error:
        return str(error)


class TestSplit:
    @settings(max_examples=60, deadline=None)
    @given(counts=COUNTS, shares=SHARES, seed=st.integers(0, 1000), by_variant=st.booleans())
    def test_every_stratum_has_its_share(self, tiles, counts, shares, seed, by_variant):
        validation, test = shares
        strata = shuffled(counts, seed)
        plates = made_up(strata // 2, variant=strata) if by_variant else made_up(strata)
        changes = {"validation_share": validation, "test_share": test, "split_seed": seed}
        parts = parts_of(plates, tiles(**changes))
        wanted = {"test": 0, "validation": 0}
        for stratum, count in enumerate(counts):
            tests = min(round(count * test), count - 1)  # one is always for training
            validations = min(round(count * validation), count - 1 - tests)
            wanted["test"] += tests
            wanted["validation"] += validations
            if not isinstance(parts, str):
                found = Counter(parts[strata == stratum])
                assert (found["test"], found["validation"]) == (tests, validations)
                assert found["train"] == count - tests - validations > 0
        if isinstance(parts, str):
            lacking = next(part for part in ("validation", "test") if not wanted[part])
            assert parts.startswith(f"/nowhere: too few pictures a dish for a {lacking} set; ")
        else:
            again = data.split(plates, tiles("two_networks", seed=7, **changes))
            assert (parts == again).all()

    @settings(max_examples=40, deadline=None)
    @given(counts=COUNTS, share=st.floats(0.1, 0.9), seed=st.integers(0, 1000), data_=st.data())
    def test_the_official_test_is_kept(self, tiles, counts, share, seed, data_):
        dish = shuffled(counts, seed)
        official = data_.draw(
            st.lists(st.sampled_from(["train", "test"]), min_size=len(dish), max_size=len(dish))
        )
        plates = made_up(dish, official=official)
        parts = parts_of(plates, tiles(validation_share=share, test_share=0.05, split_seed=seed))
        if isinstance(parts, str):
            return
        official = np.array(official)
        assert ((parts == "test") == (official == "test")).all()
        for one in np.unique(dish):
            mine = parts[(dish == one) & (official == "train")]
            if len(mine):
                validations = min(round(len(mine) * share), len(mine) - 1)
                assert (mine == "validation").sum() == validations

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=30), st.integers(0, 9))
    def test_three_published_parts_are_kept(self, tiles, more, seed):
        official = [*PARTS, *more]
        plates = made_up(shuffled([len(official)], seed), official=official)
        chosen = tiles(split_seed=seed, validation_share=0.3, test_share=0.3)
        assert data.split(plates, chosen).tolist() == official

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
        parts = parts_of(plates, tiles(validation_share=0.2, test_share=0.3, split_seed=seed))
        if isinstance(parts, str):
            return
        where = {}
        for photograph, part in zip(photographs, parts, strict=True):
            where.setdefault(photograph, set()).add(part)
        assert all(len(found) == 1 for found in where.values())
        assert Counter(parts).keys() == set(PARTS)
        # a photograph counts for the dish that it is first listed with
        first = {}
        for photograph, (_, dish) in zip(photographs, pairs, strict=True):
            first.setdefault(photograph, dish)
        for dish in set(first.values()):
            mine = [where[one] for one in first if first[one] == dish]
            tests = min(round(0.3 * len(mine)), len(mine) - 1)
            assert mine.count({"test"}) == tests
            assert mine.count({"validation"}) == min(round(0.2 * len(mine)), len(mine) - 1 - tests)

    @pytest.mark.parametrize(
        ("seed", "expected"),
        [
            (0, "tvttxvxttttxttxxtxtxxtttttt"),
            (1, "txxxtttxttttxttvtvttvtvtxxt"),
            (12, "txtxtvttttttxtxvtvtxvtxtttt"),
        ],
    )
    def test_splits_of_earlier_runs_stay_the_same(self, tiles, seed, expected):
        dish = [*map(int, "011000001320211120210100210")]
        photographs = np.random.default_rng(7).integers(0, 18, 27)
        chosen = tiles(validation_share=0.2, test_share=0.3, split_seed=seed)
        parts = data.split(made_up(dish, photographs=photographs), chosen)
        letters = {"train": "t", "validation": "v", "test": "x"}
        assert "".join(letters[part] for part in parts) == expected

    def test_other_split_seed_other_split(self, tiles):
        plates = made_up(shuffled([20, 20], 0))
        chosen = [tiles(split_seed=seed, test_share=0.3) for seed in range(20)]
        tested = [data.split(plates, one) == "test" for one in chosen]
        assert len({tuple(row) for row in tested}) == 20
        assert np.any(tested, axis=0).all()

    @pytest.mark.parametrize(
        ("counts", "shares", "part"),
        [
            ([1, 1, 1], (0.3, 0.3), "validation"),
            ([2] * 9, (0.1, 0.4), "validation"),
            ([2] * 9, (0.4, 0.1), "test"),
            ([100], (0.0, 0.1), "validation"),
            ([100], (0.1, 0.0), "test"),
        ],
    )
    def test_too_few_pictures(self, tiles, counts, shares, part):
        settings = tiles(validation_share=shares[0], test_share=shares[1])
        message = refused(data.split, made_up(shuffled(counts, 0)), settings)
        assert message.startswith(f"/nowhere: too few pictures a dish for a {part} set; ")
        assert "change validation_share and test_share" in message

    def test_everything_is_published_as_a_test(self, tiles):
        message = refused(data.split, made_up([0, 1, 0], official=["test"] * 3), tiles())
        assert "for a train set" in message


class TestInputs:
    def test_pixels(self, few, tiles):
        plates = data.read(tiles())
        found = data.inputs(plates, tiles())
        assert (found.shape, found.dtype) == ((48, 3, 16, 16), np.uint8)
        for pixels, path in zip(found, plates.paths, strict=True):
            with Image.open(path) as picture:
                assert (pixels.transpose(1, 2, 0) == np.asarray(picture)).all()
        assert data.inputs(plates, tiles(image_size=24)).shape == (48, 3, 24, 24)

    def test_a_trained_backbone_reads_pixels(self, few, tiles, vit):
        trunk = {"name": "backbone", "weights": str(vit), "trained": True}
        chosen = tiles(network={"trunk": trunk})
        plates = data.read(chosen)
        assert (data.inputs(plates, chosen) == data.inputs(plates, tiles())).all()

    def test_features_of_a_frozen_backbone(self, few, tiles, vit, monkeypatch):
        from transformers import ViTImageProcessor, ViTModel

        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        chosen = tiles(
            network={"trunk": {"name": "backbone", "weights": str(vit), "trained": False}}
        )
        plates = data.read(chosen)
        found = data.inputs(plates, chosen)
        assert (found.shape, found.dtype) == ((48, 16), np.float32)
        model = ViTModel.from_pretrained(vit, add_pooling_layer=False)
        pictures = [Image.open(path) for path in plates.paths]
        with torch.no_grad():
            given = ViTImageProcessor.from_pretrained(vit)(pictures, return_tensors="pt")
            expected = model(**given).last_hidden_state[:, 0]
        np.testing.assert_allclose(found, expected, atol=1e-4)


class TestExamples:
    @pytest.fixture
    def examples(self, tmp_path):
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (5, 3, 2, 2), dtype=np.uint8)
        np.save(tmp_path / "inputs.npy", pixels)
        mapped = np.load(tmp_path / "inputs.npy", mmap_mode="r")
        return data.Examples(mapped, np.array([2, 0, 1, 1, 2]), rng.random((5, 4)) < 0.5)

    def test_a_batch_is_its_rows_in_their_order(self, examples):
        rows = [4, 0, 0, 2]
        inputs, dish, present = examples[rows]
        assert (inputs.dtype, dish.dtype, present.dtype) == (torch.uint8, torch.int64, torch.bool)
        assert inputs.tolist() == [examples.inputs[row].tolist() for row in rows]
        assert dish.tolist() == [2, 2, 2, 1]
        assert present.tolist() == [examples.present[row].tolist() for row in rows]

    def test_a_batch_does_not_change_what_is_kept(self, examples):
        before = [np.array(one) for one in (examples.inputs, examples.dish, examples.present)]
        for one in examples[[0, 1, 2, 3, 4]]:
            one.zero_()
        after = (examples.inputs, examples.dish, examples.present)
        assert all((one == other).all() for one, other in zip(before, after, strict=True))

    def test_an_epoch_has_each_row_once(self, examples):
        loader = DataLoader(
            examples, sampler=Batches(np.array([4, 0, 2]), 2, seed=1), batch_size=None
        )
        batches = list(loader)
        assert [len(dish) for _, dish, _ in batches] == [2, 1]
        seen = [pixels.tolist() for inputs, _, _ in batches for pixels in inputs]
        wanted = [examples.inputs[row].tolist() for row in (0, 2, 4)]
        assert sorted(seen) == sorted(wanted)
        assert len(examples) == 5
