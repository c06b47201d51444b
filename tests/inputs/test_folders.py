"""Image folders: which files are pictures, which folders are looked into, and what is told."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sentences import refused
from studies.inputs.folders import image_files, is_picture, suffixes
from studies.inputs.images import open_rgb


def touch(root: Path, files: str) -> Path:
    for file in files.split():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def test_every_kind_of_picture_that_pillow_writes_is_one_and_is_read(tmp_path):
    tried = set()
    for suffix, name in Image.registered_extensions().items():
        if suffix in suffixes() and name in Image.SAVE and name not in ("BLP", "IM", "MSP", "XBM"):
            Image.new("RGB", (32, 32), (200, 90, 40)).save(tmp_path / f"x{suffix}")
            seen = np.asarray(open_rgb(tmp_path / f"x{suffix}"))
            assert np.abs(seen - (200.0, 90, 40)).max() < 9
            tried.add(name)
    assert tried >= {"JPEG", "PNG", "PPM", "WEBP", "TIFF", "GIF", "BMP", "TGA", "JPEG2000"}
    assert all(map(is_picture, ("a.JFIF", "a.b.pgm", "x.Jpg", "x.mpo")))
    assert not any(map(is_picture, ("a.heic", "a.pdf", "a.psd", "a.mpg", "a.h5", "a.txt", "jpg")))


def test_pictures_are_listed_and_the_rest_is_told(tmp_path):
    root = touch(tmp_path, "b/2.PPM b/1.jfif a/x.png a-b/x.png c/4.heic c/5.HEIC d/e/README a.txt")
    (root / "f").mkdir()
    found, left_out = image_files(root)
    assert found["file"].tolist() == ["a/x.png", "a-b/x.png", "b/1.jfif", "b/2.PPM"]
    assert found.index.tolist() == [str(root / file) for file in found["file"]]
    kinds, empty = left_out
    assert set(kinds.removeprefix("left out: ").split(", ")) == {"2 .heic", "1 README", "1 .txt"}
    assert set(empty.removeprefix("no image in: ").split(", ")) == {"c", "d", "f"}


def test_what_systems_leave_and_hide_is_passed_over(tmp_path):
    junk = "@eaDir/1.jpg/s.jpg #recycle/1.jpg lost+found/1.jpg __MACOSX/a/1.jpg a/._1.jpg .x/1.jpg"
    root = touch(tmp_path, f"a/1.jpg {junk} a/@eaDir/1.jpg $RECYCLE.BIN/1.jpg a/Thumbs.db")
    touch(root / "System Volume Information", "1.jpg")
    found, left_out = image_files(root)
    assert (found["file"].tolist(), left_out) == (["a/1.jpg"], [])


def test_links_are_followed_but_not_in_circles(tmp_path):
    root = touch(tmp_path, "pets/cat/1.jpg elsewhere/dog/2.jpg elsewhere/3.jpg") / "pets"
    (root / "dog").symlink_to("../elsewhere/dog")
    (root / "cat/3.jpg").symlink_to(tmp_path / "elsewhere/3.jpg")
    (root / "cat/up").symlink_to(root)
    (tmp_path / "elsewhere/dog/around").symlink_to(tmp_path)
    (root / "fox").symlink_to("nowhere")
    found, left_out = image_files(root)
    assert found["file"].tolist() == ["cat/1.jpg", "cat/3.jpg", "dog/2.jpg"]
    assert left_out == ["left out: 1 fox"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["a/caf\udce9.png"], r"a/caf\xe9.png: the name is not UTF-8; rename it"),
        (["caf\udce9/1.png"], r"caf\xe9/1.png: the name is not UTF-8; rename it"),
        (["a/1.heic", "a/2.heic"], "holds no images"),
        ([], "No such file or directory"),
    ],
)
def test_what_is_refused(tmp_path, files, words):
    root = touch(tmp_path, " ".join(f"root/{file}" for file in files)) / "root"
    said = refused(image_files, root)
    assert said.encode().decode() == said  # what cannot be printed would raise
    assert os.fspath(root) in said
    assert words in said
    assert ("2 .heic" in said) == ("a/2.heic" in files)
