"""The trivial baselines, against a counter, a loop over all images, and pixels from Pillow."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from studies.captioning.baselines import BLOCK, feature_space, most_frequent, nearest_neighbour
from studies.captioning.captions import CaptionedImages
from studies.captioning.evaluate import baseline
from studies.captioning.params import NearestNeighbour
from studies.captioning.tokens import Words

NOWHERE = Path("/nowhere")


def said_most(captions, longest=50):
    return most_frequent(captions, Words.learn(captions, 1), longest)


class TestMostFrequent:
    @settings(deadline=None)
    @given(st.lists(st.lists(st.sampled_from("ab"), min_size=1, max_size=3), min_size=1))
    def test_as_a_counter_says(self, sentences):
        captions = [" ".join(said) for said in sentences]
        counts = Counter(captions)
        first = next(said for said in captions if counts[said] == max(counts.values()))
        assert said_most(captions) == first

    def test_case_and_punctuation_make_no_other_caption(self):
        captions = ["A cat .", "Two dogs !", "a cat", "two dogs .", "Two dogs"]
        assert said_most(captions) == "two dogs"

    def test_the_first_of_several(self):
        assert said_most(["b", "a", "a", "b", "c"]) == "b"

    def test_a_long_caption_is_cut(self):
        assert said_most(["a b c d", "a b c", "a b", "a b"], longest=3) == "a b c"

    def test_rare_words_do_not_make_captions_alike(self, plates):
        captions = [["a man swims", "a man runs", "a dog"], ["a man reads", "a dog"], ["a dish"]]
        dataset = CaptionedImages(NOWHERE, ["0", "1", "2"], captions, None)
        parts = np.array(["train", "train", "test"])
        settings = plates("most_frequent", min_count=2)
        # with words below min_count unknown, `a man …` would be written three times
        assert baseline(settings, dataset, parts) == ["a dog"]


def nearest_by_loop(known, asked):
    """The place of the most similar known row, for each asked one, in float64."""
    found = []
    for one in asked.astype(float):
        cosines = [one @ other / np.linalg.norm(other) for other in known.astype(float)]
        found.append(cosines.index(max(cosines)))
    return found


def named(count):
    return [[f"caption {k}", "another"] for k in range(count)]


class TestNearestNeighbour:
    @pytest.mark.parametrize("asked", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
    def test_as_a_loop_says(self, asked):
        rng = np.random.default_rng(asked)
        known, wanted = rng.normal(size=(30, 5)), rng.normal(size=(asked, 5))
        expected = [f"caption {k}" for k in nearest_by_loop(known, wanted)]
        assert nearest_neighbour(known, named(30), wanted) == expected

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 10**6), st.integers(1, 20), st.integers(2, 6))
    def test_neither_scale_nor_precision_matters(self, seed, count, width):
        rng = np.random.default_rng(seed)
        # far apart: the last bits of float16 must not decide
        known = rng.permutation(np.eye(20)[:count])
        known = np.repeat(known, width, 1) + rng.uniform(0, 0.1, (count, 20 * width))
        order = rng.integers(0, count, 15)
        asked = known[order] * rng.uniform(0.1, 30, (15, 1))
        expected = [f"caption {k}" for k in order]
        assert nearest_neighbour(known, named(count), asked) == expected
        scaled = (known * rng.uniform(0.1, 30, (count, 1))).astype(np.float16)
        assert nearest_neighbour(scaled, named(count), asked.astype(np.float16)) == expected

    def test_the_first_of_several(self):
        known = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 0.0]])
        assert nearest_neighbour(known, named(3), np.array([[3.0, 0.0]])) == ["caption 1"]

    def test_features_of_nothing_are_near_to_nothing(self):
        known = np.array([[0.0, 0.0], [1.0, 1.0]])
        with np.errstate(all="raise"):
            found = nearest_neighbour(known, named(2), np.array([[0.0, 0.0], [0.5, 0.2]]))
        assert found == ["caption 0", "caption 1"]


class TestThumbnails:
    @pytest.fixture
    def album(self, sandbox):
        """Six small pictures, and their pixels."""
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
        for k, picture in enumerate(pixels):
            Image.fromarray(picture).save(sandbox / f"{k}.png")
        files = [f"{k}.png" for k in range(6)]
        return CaptionedImages(sandbox, files, named(6), None), pixels

    def thumbnails(self, dataset, side):
        features = {"name": "thumbnail", "side": side}
        given = NearestNeighbour.model_validate({"name": "nearest_neighbour", "features": features})
        return feature_space(dataset, given, np.arange(4))

    def test_pixels_less_their_mean_in_training(self, album):
        dataset, pixels = album
        flat = pixels.transpose(0, 3, 1, 2).reshape(6, -1).astype(float)
        found = self.thumbnails(dataset, 8)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, flat - flat[:4].mean(0), atol=1e-4)

    def test_smaller_than_the_picture(self, album):
        dataset, pixels = album
        small = [
            Image.fromarray(picture).resize((2, 2), Image.Resampling.BICUBIC) for picture in pixels
        ]
        flat = np.stack([np.asarray(one).transpose(2, 0, 1).ravel() for one in small]).astype(float)
        found = self.thumbnails(dataset, 2)
        np.testing.assert_allclose(found, flat - flat[:4].mean(0), atol=1e-4)

    def test_a_test_image_gets_the_first_caption_of_its_double(self, album, plates):
        dataset, pixels = album
        for test, train in ((4, 2), (5, 0)):
            dimmed = (pixels[train] * 0.9).astype(np.uint8)
            Image.fromarray(dimmed).save(dataset.root / f"{test}.png")
        parts = np.array(["train"] * 4 + ["test"] * 2)
        said = baseline(plates("nearest_neighbour"), dataset, parts)
        assert said == ["caption 2", "caption 0"]
