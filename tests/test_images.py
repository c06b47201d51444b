import io
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from studies.inputs import images
from studies.paths import StudyError


@pytest.fixture(autouse=True)
def _sandbox(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDIES_ROOT", str(tmp_path / "root"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def draw(path: Path, seed: int, size=(40, 20)) -> Path:
    """Write a PNG of random pixels (lossless, so that what is decoded is known)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def album(tmp_path) -> list[Path]:
    return [draw(tmp_path / "album" / f"{name}.png", seed) for seed, name in enumerate("cab")]


def cache_files(tmp_path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "root/cache/images").glob("*.npy"))


class TestFingerprint:
    def test_order_and_place_of_the_folder_do_not_matter(self, album, tmp_path):
        first = images.fingerprint(album, tmp_path / "album")
        assert images.fingerprint(album[::-1], tmp_path / "album") == first
        moved = shutil.copytree(tmp_path / "album", tmp_path / "elsewhere/deep")
        assert images.fingerprint([moved / p.name for p in album], moved) == first
        assert len(first) == 32
        int(first, 16)

    def test_relative_paths_are_the_same_files(self, album, tmp_path, monkeypatch):
        first = images.fingerprint(album, tmp_path / "album")
        monkeypatch.chdir(tmp_path)
        assert images.fingerprint([Path("album") / p.name for p in album], Path("album")) == first

    def test_order_matters_where_rows_follow_the_list(self, album, tmp_path):
        a = images.fingerprint(album, tmp_path, ordered=True)
        assert a != images.fingerprint(album[::-1], tmp_path, ordered=True)

    @pytest.mark.parametrize("change", ["edit", "rename", "drop", "swap"])
    def test_any_change_shows(self, album, tmp_path, change):
        first = images.fingerprint(album, tmp_path)
        if change == "edit":
            content = bytearray(album[0].read_bytes())
            content[-20] ^= 1
            album[0].write_bytes(content)
        elif change == "rename":
            album[0] = album[0].rename(album[0].with_name("z.png"))
        elif change == "drop":
            album = album[1:]
        else:
            one, two = album[0].read_bytes(), album[1].read_bytes()
            album[0].write_bytes(two)
            album[1].write_bytes(one)
        assert images.fingerprint(album, tmp_path) != first

    def test_a_missing_file_is_named(self, album, tmp_path):
        album[1].unlink()
        with pytest.raises(StudyError, match=r"a\.png is missing"):
            images.fingerprint(album, tmp_path)


class TestDecode:
    def test_pixels_are_those_of_the_file(self, tmp_path):
        path = draw(tmp_path / "x.png", 0, (30, 30))
        decoded = images.decode(path, 30)
        assert decoded.dtype == np.uint8
        assert decoded.flags.c_contiguous
        assert np.array_equal(decoded, np.asarray(Image.open(path)).transpose(2, 0, 1))

    def test_pad_keeps_the_ratio_on_grey(self, tmp_path):
        Image.new("RGB", (40, 20), (200, 10, 30)).save(tmp_path / "wide.png")
        Image.new("RGB", (10, 20), (200, 10, 30)).save(tmp_path / "tall.png")
        wide, tall = (images.decode(tmp_path / f"{n}.png", 20) for n in ("wide", "tall"))
        picture = np.array([200, 10, 30])[:, None, None]
        assert (wide[:, 5:15] == picture).all()
        assert (wide[:, :5] == 128).all()
        assert (wide[:, 15:] == 128).all()
        assert (tall[:, :, 5:15] == picture).all()
        assert (tall[:, :, :5] == 128).all()

    def test_crop_takes_the_middle_and_squash_everything(self, tmp_path):
        pixels = np.zeros((20, 40, 3), np.uint8)
        pixels[:, 10:30] = 255
        Image.fromarray(pixels).save(tmp_path / "x.png")
        assert (images.decode(tmp_path / "x.png", 20, "crop") == 255).all()
        squashed = images.decode(tmp_path / "x.png", 20, "squash")
        assert squashed.shape == (3, 20, 20)
        assert (squashed[:, :, [0, 1, 18, 19]] == 0).all()
        assert (squashed[:, :, 8:12] == 255).all()

    @pytest.mark.parametrize("shape", [(1, 500), (500, 1), (1, 1)])
    def test_slivers_survive(self, tmp_path, shape):
        Image.new("RGB", shape, "red").save(tmp_path / "x.png")
        for fit in ("pad", "squash", "crop"):
            assert images.decode(tmp_path / "x.png", 16, fit).shape == (3, 16, 16)

    def test_exif_orientation_is_applied(self, tmp_path):
        upright = np.zeros((32, 32, 3), np.uint8)
        upright[:16] = 255
        turned = Image.fromarray(np.rot90(upright))
        exif = Image.Exif()
        exif[0x0112] = 6  # "turn right by 90 degrees to show"
        turned.save(tmp_path / "x.jpg", exif=exif, quality=95)
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
        def middle(image, kind="png", **keep) -> list[int]:
            image.save(tmp_path / f"x.{kind}", **keep)
            return images.decode(tmp_path / f"x.{kind}", 8)[:, 4, 4].tolist()

        size = (8, 8)
        assert middle(Image.new("L", size, 77)) == [77] * 3
        assert middle(Image.new("1", size, 1)) == [255] * 3
        deep = Image.fromarray(np.full(size, 40000, np.uint16))
        assert middle(deep) == [40000 >> 8] * 3
        palette = Image.new("P", size, 1)
        palette.putpalette([0, 0, 0, 10, 200, 30])
        assert middle(palette) == [10, 200, 30]
        assert middle(palette, transparency=1) == [255] * 3
        assert middle(Image.new("RGBA", size, (255, 0, 0, 0))) == [255] * 3
        half = middle(Image.new("RGBA", size, (255, 0, 0, 128)))
        assert np.abs(np.array(half) - [255, 127, 127]).max() <= 1
        assert middle(Image.new("LA", size, (0, 255))) == [0] * 3
        assert middle(Image.new("RGB", size, (1, 2, 3)), "gif") == [1, 2, 3]
        ink = middle(Image.new("CMYK", size, (255, 0, 0, 0)), "jpg", quality=100)
        assert np.abs(np.array(ink) - [0, 255, 255]).max() <= 3

    def test_unknown_fit(self, album):
        with pytest.raises(StudyError, match="stretch"):
            images.decode(album[0], 8, "stretch")


class TestBadFiles:
    def test_truncated_jpeg(self, tmp_path):
        assert not ImageFile.LOAD_TRUNCATED_IMAGES
        buffer = io.BytesIO()
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(buffer, "JPEG")
        (tmp_path / "x.jpg").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
        with pytest.raises(StudyError, match=r"x\.jpg is damaged or cut short .*truncated"):
            images.decode(tmp_path / "x.jpg", 32)

    def test_broken_png(self, tmp_path):
        path = draw(tmp_path / "x.png", 0)
        content = bytearray(path.read_bytes())
        content[60:90] = bytes(30)
        path.write_bytes(content)
        with pytest.raises(StudyError, match=r"x\.png is damaged"):
            images.decode(path, 8)

    @pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\xff\xd8\xff"])
    def test_no_image(self, tmp_path, content):
        (tmp_path / "x.jpg").write_bytes(content)
        with pytest.raises(StudyError, match=r"x\.jpg is not an image: fetch"):
            images.decode(tmp_path / "x.jpg", 8)

    def test_missing_and_folder(self, tmp_path):
        with pytest.raises(StudyError, match=r"nowhere\.jpg is missing"):
            images.decode(tmp_path / "nowhere.jpg", 8)
        (tmp_path / "album.jpg").mkdir()
        with pytest.raises(StudyError, match=r"album\.jpg is a folder"):
            images.decode(tmp_path / "album.jpg", 8)

    @pytest.mark.skipif(os.geteuid() == 0, reason="permission bits do not bind root")
    def test_no_permission(self, album):
        album[0].chmod(0)
        with pytest.raises(StudyError, match="may not be read"):
            images.decode(album[0], 8)

    def test_decompression_bomb(self, tmp_path, monkeypatch):
        path = draw(tmp_path / "x.png", 0)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
        with pytest.raises(StudyError, match="claims more than 600 pixels"):
            images.decode(path, 8)


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
        calls = []
        decode = images.decode
        monkeypatch.setattr(images, "decode", lambda *a: calls.append(a[0]) or decode(*a))
        first = images.load(album, 16, tmp_path)
        assert sorted(calls) == sorted(album)
        assert np.array_equal(images.load(album, 16, tmp_path), first)
        assert len(calls) == 3
        for again in ({"size": 8}, {"size": 16, "fit": "squash"}):
            calls.clear()
            images.load(album, root=tmp_path, **again)
            assert len(calls) == 3
        calls.clear()
        draw(album[1], 99)
        changed = images.load(album, 16, tmp_path)
        assert len(calls) == 3
        assert np.array_equal(changed[0], first[0])
        assert not np.array_equal(changed[1], first[1])

    def test_the_version_is_part_of_the_key(self, album, tmp_path, monkeypatch):
        images.load(album, 16, tmp_path)
        monkeypatch.setattr(images, "VERSION", images.VERSION + 1)
        images.load(album, 16, tmp_path)
        assert len(cache_files(tmp_path)) == 2

    def test_one_bad_image_leaves_nothing_that_could_be_taken_for_a_result(self, album, tmp_path):
        good = album[2].read_bytes()
        album[2].write_bytes(good[:200])
        with pytest.raises(StudyError, match=r"b\.png"):
            images.load(album, 16, tmp_path)
        assert cache_files(tmp_path) == []
        album[2].write_bytes(good)
        expected = [images.decode(p, 16) for p in album]
        assert np.array_equal(images.load(album, 16, tmp_path), expected)

    def test_what_a_killed_process_left_is_written_over(self, album, tmp_path):
        expected = np.array(images.load(album, 16, tmp_path))
        file = tmp_path / "root/cache/images" / cache_files(tmp_path)[0]
        file.rename(file.with_name(file.name + ".partial"))
        file.with_name(file.name + ".partial").write_bytes(b"half" * 10_000)
        assert np.array_equal(images.load(album, 16, tmp_path), expected)

    def test_no_images(self, tmp_path):
        with pytest.raises(StudyError, match="list of files is empty"):
            images.load([], 16, tmp_path)

    def test_the_cache_folder_cannot_be_made(self, album, tmp_path):
        (tmp_path / "root").write_text("a file in the way")
        with pytest.raises(StudyError, match=r"cannot write .*root/cache"):
            images.load(album, 16, tmp_path)

    def test_full_disk(self, album, tmp_path):
        """The size limit of a process makes writes fail, as a full disk does."""
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        try:
            with pytest.raises(StudyError, match="File too large"):
                images.load(album, 16, tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert [path.suffix for path in (tmp_path / "root/cache/images").iterdir()] == [".lock"]

    def test_two_processes_at_once(self, album, tmp_path):
        more = [draw(tmp_path / "more" / f"{k}.png", k, (300, 200)) for k in range(60)]
        script = (
            "import sys, numpy as np; from pathlib import Path; from studies.inputs import images\n"
            "paths = sorted(Path(sys.argv[1]).glob('*.png'))\n"
            "print(int(np.asarray(images.load(paths, 64, Path(sys.argv[1])), np.int64).sum()))"
        )
        command = [sys.executable, "-c", script, str(tmp_path / "more")]
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        sums = [int(process.communicate(timeout=60)[0]) for process in both]
        expected = sum(int(images.decode(path, 64).sum(dtype=np.int64)) for path in more)
        assert sums == [expected, expected]
