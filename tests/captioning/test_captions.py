"""Flickr8k becomes captioned images: against small archives in its layout, and the real one."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentences import refused
from studies import paths
from studies.captioning.captions import flickr8k, token_captions

CAPTIONS = {
    "d.jpg": ["A girl on a swing ."],
    "a.jpg": ["A dog runs .", "A brown dog ."],
    "b.jpg": ["Two cats sleep .", "Cats .", "Cats ."],
    "c.jpg": ["A man climbs a wall .", "A climber ."],
    "e.jpg": ["A red bicycle .", "A bicycle ."],
}
PARTS = {"train": ["b.jpg", "a.jpg"], "validation": ["c.jpg"], "test": ["e.jpg", "d.jpg"]}
LISTED = [(name, part) for part, names in PARTS.items() for name in names]
TOKENS = "Flickr8k.token.txt"
LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "validation": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}


@pytest.fixture
def folder(tmp_path, flickr8k_folder):
    return flickr8k_folder(tmp_path / "flickr8k", CAPTIONS, PARTS)


@pytest.fixture
def text(folder):
    return folder / "Flickr8k_text"


def as_listed(found):
    """Whether the images are those of `LISTED`, with their captions."""
    assert list(zip(found.files, found.official, strict=True)) == LISTED
    assert found.captions == [CAPTIONS[name] for name, _ in LISTED]
    return all(path.is_file() for path in found.paths)


def add(file, content):
    file.write_bytes(file.read_bytes() + content.encode())


class TestOfficial:
    @pytest.mark.parametrize("text", ["Flickr8k_text", "."])
    @pytest.mark.parametrize("images", ["Flicker8k_Dataset", "Flickr8k_Dataset"])
    def test_small_archive(self, tmp_path, flickr8k_folder, text, images):
        folder = flickr8k_folder(tmp_path / "data", CAPTIONS, PARTS, text)
        (folder / "Flicker8k_Dataset").rename(folder / images)
        found = flickr8k(folder)
        assert as_listed(found)
        assert found.root == folder / images

    def test_captions_of_images_in_no_split_do_no_harm(self, folder, text):
        add(
            text / TOKENS, "2258277193_586949ec62.jpg.1#0\tPeople on horses .\nz.jpg#3\tA zebra .\n"
        )
        (folder / "Flicker8k_Dataset" / "y.jpg").write_bytes(b"an image without a caption")
        assert as_listed(flickr8k(folder))

    def test_line_ends_blank_lines_and_a_byte_order_mark_do_no_harm(self, folder, text):
        for file in text.iterdir():
            content = file.read_bytes().replace(b"\n", b" \r\n\r\n")
            file.write_bytes(b"\xef\xbb\xbf\n" + content.removesuffix(b"\n"))
        assert as_listed(flickr8k(folder))

    @pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\r", "\t", "#1"])
    def test_only_a_line_feed_ends_a_caption(self, folder, text, odd):
        said = f"Cats{odd}at home ."
        content = (text / TOKENS).read_bytes().replace(b"#1\tCats .", f"#1\t{said}".encode())
        (text / TOKENS).write_bytes(content)
        found = flickr8k(folder)
        assert found.captions[0] == ["Two cats sleep .", said, "Cats ."]
        assert found.captions[1:] == [CAPTIONS[name] for name, _ in LISTED[1:]]

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.text(max_size=20).filter(str.strip), min_size=1, max_size=8))
    def test_any_caption_is_read_as_it_was_written(self, tmp_path_factory, captions):
        captions = [caption.replace("\n", " ") for caption in captions]
        file = tmp_path_factory.mktemp("tokens") / TOKENS
        written = (f"{k % 3}.jpg#{k}\t{caption}\n" for k, caption in enumerate(captions))
        file.write_bytes("".join(written).encode())
        for image, found in token_captions(file).items():
            assert found == [caption.strip() for caption in captions[int(image[0]) :: 3]]


class TestBadOfficial:
    """Each ends in one sentence that names the file, and the line where there is one."""

    @pytest.mark.parametrize(("image", "part"), LISTED)
    def test_missing_image_of_a_split(self, folder, image, part):
        place = folder / "Flicker8k_Dataset" / image
        place.unlink()
        assert refused(flickr8k, folder).startswith(f"{place}: is in the {part} split but not ther")

    @pytest.mark.parametrize("instead", ["", "e.jpg.1#0\tA red bicycle .\n"])
    def test_image_with_no_caption(self, folder, text, instead):
        kept = [line for line in (text / TOKENS).read_text().splitlines() if line[0] != "e"]
        (text / TOKENS).write_text("\n".join([*kept, instead]))
        message = refused(flickr8k, folder)
        place = text / LISTS["test"]
        assert message.startswith(f"{place} line 1: `e.jpg` has no caption in {text / TOKENS};")

    @pytest.mark.parametrize(("part", "line"), [("train", 3), ("validation", 2), ("test", 3)])
    def test_listed_twice(self, folder, text, part, line):
        again = "b.jpg" if part == "train" else "a.jpg"
        add(text / LISTS[part], f"{again}\n")
        expected = f"{text / LISTS[part]} line {line}: `{again}` is listed twice; keep one line"
        assert refused(flickr8k, folder) == expected

    def test_caption_given_twice(self, folder, text):
        add(text / TOKENS, "b.jpg#2\tOther cats .\n")
        expected = f"{text / TOKENS} line 11: `b.jpg#2` is there twice; keep one line"
        assert refused(flickr8k, folder) == expected

    @pytest.mark.parametrize("name", [TOKENS, *LISTS.values()])
    def test_wrong_encoding(self, folder, text, name):
        file = text / name
        file.write_bytes(
            b"\xef\xbb\xbf\n" + file.read_bytes() + "ä.jpg#0\tSäge\n".encode("latin-1")
        )
        line = file.read_bytes().count(b"\n")
        expected = f"{file} line {line}: is not UTF-8; save the file as UTF-8"
        assert refused(flickr8k, folder) == expected

    @pytest.mark.parametrize(
        "line",
        [
            "f.jpg#0 A fish .",
            "f.jpg\tA fish .",
            "f.jpg#\tA fish .",
            "f.jpg#one\tA fish .",
            "f.jpg#-1\tA fish .",
            "f.jpg#0",
            "f.jpg#0\t",
            "f.jpg,0,A fish .",
            "<html><body>404 Not Found",
            "A fish . " * 1000,
        ],
    )
    def test_not_a_token_line(self, folder, text, line):
        content = (text / TOKENS).read_text().splitlines()
        (text / TOKENS).write_text("\n".join([*content[:4], "", line, *content[4:]]))
        message = refused(flickr8k, folder)
        assert message.startswith(f"{text / TOKENS} line 6: expected `<image>#<number>`, a tab")
        assert f"found `{line.strip()[:60]}`" in message
        assert len(message) < 400

    @pytest.mark.parametrize("part", LISTS)
    def test_empty_split(self, folder, text, part):
        (text / LISTS[part]).write_text("\n")
        assert refused(flickr8k, folder).startswith(f"{text}: the {part} split lists no image;")

    @pytest.mark.parametrize("name", [TOKENS, *LISTS.values()])
    def test_missing_file(self, folder, text, name):
        (text / name).unlink()
        assert refused(flickr8k, folder).startswith(f"{text / name}: ")

    def test_a_folder_in_place_of_a_list(self, folder, text):
        (text / LISTS["test"]).unlink()
        (text / LISTS["test"]).mkdir()
        assert refused(flickr8k, folder).startswith(f"{text / LISTS['test']}: cannot be read (")

    def test_missing_images(self, folder):
        images = folder / "Flicker8k_Dataset"
        images.rename(folder / "photos")
        expected = f"{images}: no such folder; unpack the images of Flickr8k there"
        assert refused(flickr8k, folder) == expected


def real_folder():
    shared = paths.REPOSITORY.parent / "shared" / "data"
    found = (base / "flickr8k" for base in (paths.data(), shared))
    return next((folder for folder in found if (folder / "Flickr8k_text").is_dir()), None)


@pytest.mark.skipif(real_folder() is None, reason="no flickr8k below STUDIES_DATA or ../shared")
def test_real_dataset():
    found = flickr8k(real_folder())
    counts = Counter(found.official)
    assert (counts["train"], counts["validation"]) == (6000, 1000)
    assert counts["test"] in (1000, 250)  # published, or the part kept for development
    assert {len(captions) for captions in found.captions} == {5}
    said = dict(zip(found.files, found.captions, strict=True))["1000268201_693b08cb0e.jpg"]
    assert said[1] == "A girl going into a wooden building ."
