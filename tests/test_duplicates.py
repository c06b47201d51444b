"""Near-duplicates: the same picture in other guises is found, other pictures are not."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter
from scipy.fft import dctn

from studies.inputs import images
from studies.inputs.images import count_duplicates, nearest_duplicates
from studies.paths import StudyError

BITS = st.integers(0, 2**64 - 1)


@pytest.fixture(scope="module")
def scenes() -> list[Image.Image]:
    """Sixty pictures of random blobs, 120 × 90."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(60):
        coarse = Image.fromarray(rng.integers(20, 220, (8, 10, 3), dtype=np.uint8))
        smooth = coarse.resize((120, 90), Image.Resampling.BICUBIC)
        made.append(smooth.filter(ImageFilter.GaussianBlur(1)))
    return made


def recompressed(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=25)
    return Image.open(stream)


DISGUISES = {
    "same": lambda image: image,
    "recompressed": recompressed,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.15),
    "smaller": lambda image: image.resize((60, 45), Image.Resampling.BICUBIC),
    "larger": lambda image: image.resize((300, 225), Image.Resampling.BICUBIC),
    "grey": lambda image: image.convert("L"),
    "noisy": lambda image: Image.fromarray(
        (np.asarray(image) + np.random.default_rng(1).normal(0, 8, (90, 120, 3)))
        .clip(0, 255)
        .astype(np.uint8)
    ),
}


@pytest.fixture
def hashed(tmp_path, monkeypatch):
    """Return a function that writes pictures and gives their hashes."""
    monkeypatch.setenv("STUDIES_ROOT", str(tmp_path / "root"))

    def hashed(pictures: list[Image.Image]) -> np.ndarray:
        files = [tmp_path / "images" / f"{i:03}.png" for i in range(len(pictures))]
        files[0].parent.mkdir(exist_ok=True)
        for file, picture in zip(files, pictures, strict=True):
            picture.save(file)
        return images.hashes(files, tmp_path)

    return hashed


def bits_apart(one: int, two: int) -> int:
    return bin(int(one) ^ int(two)).count("1")


def near_duplicates(hashes, parts, distance=images.DUPLICATE_BITS):
    found = nearest_duplicates(hashes, parts)
    near = found[found["distance"] <= distance]
    return near.sort_values("distance", kind="stable", ignore_index=True)


class TestHashes:
    @pytest.mark.parametrize("disguise", DISGUISES)
    def test_the_same_picture_is_found_and_no_other(self, hashed, scenes, disguise):
        codes = hashed([*scenes, *map(DISGUISES[disguise], scenes)])
        parts = np.repeat(["train", "test"], len(scenes))
        found = near_duplicates(codes, parts)
        assert sorted(found["test"]) == list(range(60, 120))
        assert (found["train"] == found["test"] - 60).all()

    def test_other_pictures_are_far(self, hashed, scenes):
        codes = hashed(scenes)
        parts = np.array(["train", "test"] * 30)
        assert near_duplicates(codes, parts).empty
        assert nearest_duplicates(codes, parts)["distance"].min() > images.DUPLICATE_BITS + 2

    def test_against_a_cosine_transform_read_in_diagonals(self, scenes):
        for scene in scenes[:5]:
            pixels = np.asarray(scene.resize((32, 32)))
            grey = pixels @ np.array([0.299, 0.587, 0.114])
            waves = dctn(grey)
            diagonals = [
                waves[row, total - row] for total in range(1, 12) for row in range(total + 1)
            ][:64]
            middle = sorted(diagonals)[31:33]
            wanted = "".join("1" if wave > sum(middle) / 2 else "0" for wave in diagonals)
            [code] = images.hash_pixels(pixels.transpose(2, 0, 1)[None])
            got = "".join(f"{octet:08b}" for octet in code.tobytes())
            assert got == wanted
            assert got.count("1") == 32

    def test_a_plain_picture_has_a_hash(self, hashed):
        codes = hashed([Image.new("RGB", (40, 30), colour) for colour in ("red", "black")])
        assert codes.dtype == np.uint64
        assert codes.shape == (2,)

    def test_a_missing_image(self, tmp_path, monkeypatch):
        monkeypatch.setenv("STUDIES_ROOT", str(tmp_path / "root"))
        with pytest.raises(StudyError, match=r"none\.png is missing"):
            images.hashes([tmp_path / "none.png"], tmp_path)


class TestPairs:
    @settings(max_examples=60, deadline=None)
    @given(
        codes=st.lists(BITS | st.integers(0, 15), min_size=2, max_size=30),
        chosen=st.randoms(use_true_random=False),
        block=st.integers(1, 40),
        distance=st.integers(0, 64),
    )
    def test_nearest_equals_a_loop(self, codes, chosen, block, distance):
        parts = ["train", "test", *chosen.choices(["train", "validation", "test"], k=len(codes))]
        parts = np.array(parts[: len(codes)])
        hashes = np.array(codes, dtype=np.uint64)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(images, "HASH_BLOCK", block)
            found, near = (
                nearest_duplicates(hashes, parts),
                near_duplicates(hashes, parts, distance),
            )
        training = np.flatnonzero(parts == "train")
        wanted = []
        for i in np.flatnonzero(parts == "test"):
            apart = [bits_apart(codes[i], codes[j]) for j in training]
            wanted.append((i, training[int(np.argmin(apart))], min(apart)))
        assert list(found.itertuples(index=False, name=None)) == wanted
        close = sorted((row for row in wanted if row[2] <= distance), key=lambda row: row[2])
        assert list(near.itertuples(index=False, name=None)) == close

    def test_counts_by_hand(self):
        hashes = np.array([0b0, 0b1111, 0b11, 2**64 - 1, 0b0], dtype=np.uint64)
        first = np.array(["train", "validation", "test", "test", "test"])
        second = np.array(["test", "train", "train", "train", "train"])
        tables = []
        for split, parts in {"random": first, "official": second}.items():
            table = count_duplicates(
                nearest_duplicates(hashes, parts)["distance"], distances=(0, 2, 64)
            )
            table.insert(0, "split", split)
            tables += table.values.tolist()
        assert tables == [
            ["random", 0, 3, 1, 1 / 3],
            ["random", 2, 3, 2, 2 / 3],
            ["random", 64, 3, 3, 1.0],
            ["official", 0, 1, 1, 1.0],
            ["official", 2, 1, 1, 1.0],
            ["official", 64, 1, 1, 1.0],
        ]
        assert list(table) == ["split", "distance", "test_images", "near_duplicates", "share"]

    def test_ten_thousand_images_take_seconds(self):
        import time

        rng = np.random.default_rng(0)
        hashes = rng.integers(0, 2**64, 10_000, dtype=np.uint64)
        parts = np.repeat(["train", "test"], 5000)
        hashes[7000] = hashes[3]
        start = time.perf_counter()
        found = near_duplicates(hashes, parts)
        assert time.perf_counter() - start < 20
        assert found.values.tolist() == [[7000, 3, 0]]
