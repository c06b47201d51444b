"""Photographs as arrays: what is decoded, kept and varied, and which are near-duplicates."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageFile, ImageFilter
from scipy.fft import dctn
from torchvision.transforms.v2 import functional as tv

from sentences import refused
from studies.inputs import images
from studies.inputs.images import DUPLICATE_BITS, augment

pytest_plugins = ["encoders"]
pytestmark = pytest.mark.usefixtures("places")


def draw(path: Path, seed: int, size=(40, 20)) -> Path:
    """Write a PNG of random pixels (lossless, so that what is decoded is known)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def album(tmp_path) -> list[Path]:
    return [draw(tmp_path / "album" / f"{name}.png", seed) for seed, name in enumerate("cab")]


@pytest.fixture
def cache(sandbox) -> Path:
    return sandbox / "root/cache/images"


class TestFingerprint:
    def test_order_and_place_of_the_folder_do_not_matter(self, album, tmp_path, monkeypatch):
        first = images.fingerprint(album, tmp_path / "album")
        assert images.fingerprint(album[::-1], tmp_path / "album") == first
        moved = shutil.copytree(tmp_path / "album", tmp_path / "elsewhere/deep")
        assert images.fingerprint([moved / p.name for p in album], moved) == first
        monkeypatch.chdir(tmp_path)
        assert images.fingerprint([Path("album") / p.name for p in album], Path("album")) == first
        ordered = images.fingerprint(album, tmp_path, ordered=True)
        assert ordered != images.fingerprint(album[::-1], tmp_path, ordered=True)

    def test_any_change_shows(self, album, tmp_path):
        prints = [images.fingerprint(album, tmp_path), images.fingerprint(album[1:], tmp_path)]
        one, two = album[0].read_bytes(), album[1].read_bytes()
        album[0].write_bytes(two)
        album[1].write_bytes(one)  # the same contents under each other's names
        prints.append(images.fingerprint(album, tmp_path))
        album[0].write_bytes(two[:-20] + bytes([two[-20] ^ 1]) + two[-19:])
        prints.append(images.fingerprint(album, tmp_path))
        album[0] = album[0].rename(album[0].with_name("z.png"))
        prints.append(images.fingerprint(album, tmp_path))
        assert len(set(prints)) == len(prints)


class TestDecode:
    def test_pad_keeps_the_ratio_on_grey_and_squash_takes_everything(self, tmp_path):
        colour = np.array([200, 10, 30])[:, None]
        for size, axis in (((40, 20), 1), ((10, 20), 2)):
            Image.new("RGB", size, (200, 10, 30)).save(tmp_path / "x.png")
            rows = np.moveaxis(images.decode(tmp_path / "x.png", 20), axis, 0)
            assert (rows[5:15] == colour).all()
            assert (rows[[*range(5), *range(15, 20)]] == 128).all()
            squashed = images.decode(tmp_path / "x.png", 20, "squash")
            assert (squashed == colour[:, :, None]).all()

    def test_exif_orientation_is_applied(self, tmp_path):
        upright = np.zeros((32, 32, 3), np.uint8)
        upright[:16] = 255
        exif = Image.Exif()
        exif[0x0112] = 6  # "turn right by 90 degrees to show"
        Image.fromarray(np.rot90(upright)).save(tmp_path / "x.jpg", exif=exif, quality=95)
        seen = images.decode(tmp_path / "x.jpg", 32)
        assert seen[:, 4:12].mean() > 240
        assert seen[:, 20:].mean() < 15

    def test_a_large_jpeg_read_small_is_the_same_picture(self, tmp_path):
        ramp = np.linspace(0, 255, 1600).astype(np.uint8)
        Image.fromarray(np.stack([np.tile(ramp, (800, 1))] * 3, -1)).save(tmp_path / "x.jpg")
        full = Image.open(tmp_path / "x.jpg").resize((64, 32), Image.Resampling.BICUBIC)
        seen = images.decode(tmp_path / "x.jpg", 64)[:, 16:48]
        assert np.abs(seen.astype(int) - np.asarray(full).transpose(2, 0, 1)).max() <= 3

    def test_other_colours(self, tmp_path):
        size = (8, 8)
        palette = Image.new("P", size, 1)
        palette.putpalette([0, 0, 0, 10, 200, 30])
        for image, kind, transparent, expected in (
            (Image.new("L", size, 77), "png", None, [77] * 3),
            (Image.fromarray(np.full(size, 40000, np.uint16)), "png", None, [40000 >> 8] * 3),
            (palette, "gif", None, [10, 200, 30]),
            (palette, "png", 1, [255] * 3),
            (Image.new("RGBA", size, (255, 0, 0, 128)), "png", None, [255, 127, 127]),
            (Image.new("CMYK", size, (255, 0, 0, 0)), "jpeg", None, [0, 255, 255]),
        ):
            image.save(tmp_path / "x", kind, transparency=transparent, quality=100)
            decoded = images.decode(tmp_path / "x", 8)[:, 4, 4]
            tolerance = 3 if kind == "jpeg" else image.mode == "RGBA"
            assert decoded.tolist() == pytest.approx(expected, abs=tolerance)

    @pytest.mark.parametrize(
        ("kind", "dtype", "top", "white"),
        [
            ("tiff", np.float32, 1, 255),
            ("tiff", np.float32, 255, 255),
            ("tiff", np.int32, 250, 250),
            ("tiff", np.int32, 10**6, 255),
            ("png", np.uint16, 4095, 255),
            ("png", np.uint16, 65535, 255),
            ("tiff", np.uint16, 16383, 63),  # as dark as it is of 16 bits
        ],
    )
    def test_grey_of_more_bits_is_scaled(self, tmp_path, kind, dtype, top, white):
        ramp = np.linspace(0, 1, 1024).reshape(32, 32)
        Image.fromarray((ramp * top).astype(dtype)).save(tmp_path / "x", kind)
        seen = np.asarray(images.open_rgb(tmp_path / "x"))[..., 0]
        assert np.abs(seen - white * ramp).max() <= 1.01

    def test_negative_grey_is_scaled_by_its_own_range(self, tmp_path):
        Image.fromarray(np.array([[-1000, 0], [500, 1000]], np.int32)).save(tmp_path / "x", "tiff")
        assert np.asarray(images.open_rgb(tmp_path / "x"))[..., 0].tolist() == [
            [0, 127],
            [191, 255],
        ]
        Image.fromarray(np.float32([[0, np.nan]])).save(tmp_path / "x", "tiff")
        assert "values are no numbers" in refused(images.open_rgb, tmp_path / "x")


class TestBadFiles:
    def test_damaged(self, tmp_path):
        assert not ImageFile.LOAD_TRUNCATED_IMAGES
        draw(tmp_path / "x.png", 0, (64, 64))
        Image.open(tmp_path / "x.png").save(tmp_path / "x.jpg")
        for file in (tmp_path / "x.png", tmp_path / "x.jpg"):
            whole = file.read_bytes()
            for content in (whole[: len(whole) // 2], b"", b"<html>404</html>", whole[:3]):
                file.write_bytes(content)
                assert f"{file} cannot be read" in refused(images.decode, file, 8)
        assert "nowhere.jpg cannot be read (No such file" in refused(
            images.decode, tmp_path / "nowhere.jpg", 8
        )
        assert "list of files is empty" in refused(images.load, [], 16, tmp_path)

    def test_decompression_bomb(self, tmp_path, monkeypatch):
        path = draw(tmp_path / "x.png", 0)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
        assert "exceeds limit of 600 pixels" in refused(images.decode, path, 8)


class TestLoad:
    def test_rows_follow_the_list_and_the_array_is_read_only(self, album, tmp_path):
        loaded = images.load(album, 16, tmp_path)
        assert isinstance(loaded, np.memmap)
        assert loaded.shape == (3, 3, 16, 16)
        assert not loaded.flags.writeable
        for row, path in zip(loaded, album, strict=True):
            assert np.array_equal(row, images.decode(path, 16))
        assert np.array_equal(images.load(album[::-1], 16, tmp_path), loaded[::-1])

    def test_decodes_once_and_again_only_on_change(self, album, tmp_path, monkeypatch):
        calls, decode = [], images.decode
        monkeypatch.setattr(images, "decode", lambda *a: calls.append(a[0]) or decode(*a))
        first = images.load(album, 16, tmp_path)
        assert sorted(calls) == sorted(album)
        assert np.array_equal(images.load(album, 16, tmp_path), first)
        assert len(calls) == 3
        images.load(album, 16, tmp_path, "squash")
        assert len(calls) == 6
        draw(album[1], 99)
        changed = images.load(album, 16, tmp_path)
        assert (changed == first).all((1, 2, 3)).tolist() == [True, False, True]

    def test_one_bad_image_leaves_nothing_that_could_be_taken_for_a_result(
        self, album, tmp_path, cache
    ):
        good = album[2].read_bytes()
        album[2].write_bytes(good[:200])
        assert "b.png" in refused(images.load, album, 16, tmp_path)
        assert {path.suffix for path in cache.iterdir()} == {".lock"}
        album[2].write_bytes(good)
        expected = [images.decode(p, 16) for p in album]
        assert np.array_equal(images.load(album, 16, tmp_path), expected)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestAugment:
    """Images are varied by no more than was asked for, and by the given chance alone."""

    @pytest.fixture
    def batch(self) -> torch.Tensor:
        return torch.randint(0, 256, (6, 3, 20, 20), dtype=torch.uint8, generator=seeded(5))

    def test_only_strength_and_generator_decide_and_the_input_is_left_alone(self, batch):
        values = batch / 255
        before = values.clone()
        for one in (batch, values):
            assert torch.equal(augment(one, seeded(0), flip=0, shift=0, zoom=0, colour=0), before)
        torch.manual_seed(1)
        varied = augment(values, seeded(3), colour=0.9)
        torch.manual_seed(2)
        assert torch.equal(augment(batch, seeded(3), colour=0.9), varied)
        assert not torch.equal(augment(batch, seeded(4), colour=0.9), varied)
        assert torch.equal(values, before)
        assert 0 <= varied.min() < varied.max() <= 1

    def test_flips_mirror_each_image_or_leave_it(self, batch):
        many = batch.repeat(100, 1, 1, 1) / 255
        out = augment(many, seeded(0), flip=0.5, shift=0, zoom=0, colour=0)
        mirrored = (out == many.flip(-1)).flatten(1).all(1)
        kept = (out == many).flatten(1).all(1)
        assert (mirrored ^ kept).all()
        assert 0.44 < mirrored.float().mean() < 0.56
        moved = augment(batch, seeded(0), flip=1, shift=1e-7, zoom=0, colour=0)
        assert torch.allclose(moved, batch.flip(-1) / 255, atol=1e-4)

    def test_shift_moves_by_at_most_its_part_of_the_side(self):
        dots = torch.zeros(400, 3, 41, 41)
        dots[:, :, 20, 20] = 1
        out = augment(dots, seeded(0), flip=0, shift=0.1, zoom=0, colour=0)[:, 0]
        weight = out / out.sum((1, 2), keepdim=True)
        for profile in (weight.sum(1), weight.sum(2)):
            moved = profile @ torch.arange(41.0) - 20
            assert moved.abs().max() <= 4.1 + 1e-3
            assert moved.max() > 3.5
            assert moved.min() < -3.5

    def test_zoom_scales_about_the_centre(self):
        square = torch.zeros(400, 3, 80, 80)
        square[:, :, 30:50, 30:50] = 1
        out = augment(square, seeded(0), flip=0, shift=0, zoom=0.2, colour=0)
        side = out[:, 0].sum((1, 2)).sqrt() / 20
        assert 0.79 < side.min() < 0.83
        assert 1.17 < side.max() < 1.21
        assert torch.allclose(out, out.flip(-1), atol=1e-4)

    def test_colour_equals_the_three_steps_of_torchvision_one_by_one(self):
        # values kept away from 0 and 1: torchvision clips after each step, this once at the end
        batch = 0.35 + 0.2 * torch.rand(5, 3, 16, 16, generator=seeded(0))
        gain = torch.rand(5, 3, generator=seeded(1)) * 0.4 + 0.8
        out = images.recolour(batch, *gain.unbind(1))
        for image, got, (brightness, contrast, saturation) in zip(
            batch, out, gain.tolist(), strict=True
        ):
            step = tv.adjust_contrast(tv.adjust_brightness(image, brightness), contrast)
            # torchvision rounds its weights of grey to four digits
            assert torch.allclose(got, tv.adjust_saturation(step, saturation), atol=2e-4)


@pytest.fixture(scope="module")
def scenes() -> list[Image.Image]:
    """Sixty pictures of random blobs, 120 × 90."""
    rng, scenes = np.random.default_rng(0), []
    for _ in range(60):
        coarse = Image.fromarray(rng.integers(20, 220, (8, 10, 3), dtype=np.uint8))
        smooth = coarse.resize((120, 90), Image.Resampling.BICUBIC)
        scenes.append(smooth.filter(ImageFilter.GaussianBlur(1)))
    return scenes


def recompressed(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=25)
    return Image.open(stream)


def noisy(image: Image.Image) -> Image.Image:
    noise = np.random.default_rng(1).normal(0, 8, (90, 120, 3))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


DISGUISES = {
    "recompressed": recompressed,
    "noisy": noisy,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "smaller": lambda image: image.resize((60, 45), Image.Resampling.BICUBIC),
    "grey": lambda image: image.convert("L"),
}


class TestDuplicates:
    """The same picture in other guises is found, other pictures are not."""

    @pytest.mark.parametrize("disguise", DISGUISES)
    def test_the_same_picture_is_found_and_no_other(self, tmp_path, scenes, disguise):
        files = [tmp_path / f"{number:03}.png" for number in range(120)]
        pictures = [*scenes, *map(DISGUISES[disguise], scenes)]
        for file, picture in zip(files, pictures, strict=True):
            picture.save(file)
        hashes = images.hashes(files, tmp_path)
        apart = np.bitwise_count(hashes[:60, None] ^ hashes)
        assert apart[:, 60:].diagonal().max() <= DUPLICATE_BITS
        assert apart[~np.tile(np.eye(60, dtype=bool), 2)].min() > DUPLICATE_BITS + 2

    def test_against_a_cosine_transform_read_in_diagonals(self, scenes):
        for scene in scenes[:5]:
            pixels = np.asarray(scene.resize((32, 32)))
            waves = dctn(pixels @ np.array([0.299, 0.587, 0.114]))
            diagonals = [
                waves[row, total - row] for total in range(1, 12) for row in range(total + 1)
            ][:64]
            expected = "".join("1" if wave > np.median(diagonals) else "0" for wave in diagonals)
            [code] = images.hash_pixels(pixels.transpose(2, 0, 1)[None])
            assert "".join(f"{octet:08b}" for octet in code.tobytes()) == expected
            assert expected.count("1") == 32
