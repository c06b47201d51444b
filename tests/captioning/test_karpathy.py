"""Flickr8k by Karpathy's splits: one JSON file beside the images, right and wrong."""

import json

import pytest

from sentences import refused
from studies.captioning.captions import karpathy

CAPTIONS = {
    "b.jpg": ["Two cats sleep .", "Cats .", "Cats ."],
    "a.jpg": ["A dog runs .", "A brown dog ."],
    "c.jpg": ["A man climbs a wall .", "A climber ."],
    "d.jpg": ["A girl on a swing ."],
    "e.jpg": ["A red bicycle .", "A bicycle ."],
}
SPLITS = {"b.jpg": "restval", "a.jpg": "train", "c.jpg": "val", "d.jpg": "test", "e.jpg": "test"}
NAME = "dataset_flickr8k.json"


@pytest.fixture
def folder(tmp_path, flickr8k_folder):
    return flickr8k_folder(tmp_path / "flickr8k", CAPTIONS)


@pytest.fixture
def entries():
    """What the `images` of the published file hold."""
    return [
        {
            "filename": name,
            "split": split,
            "imgid": k,
            "sentences": [
                {"raw": f" {said}\n", "tokens": said.lower().split()} for said in CAPTIONS[name]
            ],
        }
        for k, (name, split) in enumerate(SPLITS.items())
    ]


@pytest.fixture
def message(folder):
    """Return a function that writes the file and returns what is then told."""

    def of(content):
        written = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / NAME).write_bytes(written)
        return refused(karpathy, folder)

    return of


@pytest.mark.parametrize("place", ["Flickr8k_text", "."])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_small_archive(folder, entries, place, mark):
    content = mark + json.dumps({"images": entries, "dataset": "flickr8k"})
    (folder / place / NAME).write_text(content, "utf-8")
    found = karpathy(folder)
    assert found.files == list(SPLITS)
    # restval is added to training, as is usual
    assert found.official.tolist() == ["train", "train", "validation", "test", "test"]
    assert found.captions == list(CAPTIONS.values())
    assert all(path.is_file() for path in found.paths)


def test_a_blank_caption_is_left_out(folder, entries):
    entries[1]["sentences"].insert(0, {"raw": " \n"})
    (folder / NAME).write_text(json.dumps({"images": entries}))
    assert karpathy(folder).captions[1] == CAPTIONS["a.jpg"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"split": "dev"}, "sentences (KeyError('dev'))"),
        ({"split": None}, "sentences (KeyError(None))"),
        ({"sentences": None}, "expected `images` with filename, split and sentences"),
        ({"sentences": "A man ."}, "expected `images` with filename, split and sentences"),
        ({"sentences": ["A man ."]}, "expected `images` with filename, split and sentences"),
        ({"sentences": [{"tokens": ["a"]}]}, "sentences (KeyError('raw'))"),
        ({"sentences": [{"raw": 5}]}, "expected `images` with filename, split and sentences"),
        ({"sentences": [{"raw": None}]}, "expected `images` with filename, split and sentences"),
        ({"sentences": []}, "`c.jpg` has no caption"),
        ({"sentences": {}}, "`c.jpg` has no caption"),
        ({"sentences": [{"raw": " "}]}, "`c.jpg` has no caption"),
        ({"filename": "a.jpg"}, "`a.jpg` is listed twice"),
    ],
)
def test_a_bad_entry(folder, entries, message, change, told):
    entries[2] |= change
    sentence = message({"images": entries})
    assert sentence.startswith(f"{folder / NAME}: ")
    assert told in sentence


@pytest.mark.parametrize("name", ["filename", "split", "sentences"])
def test_a_missing_name(folder, entries, message, name):
    del entries[3][name]
    expected = f"{folder / NAME}: expected `images` with filename, split and sentences (KeyError("
    assert message({"images": entries}).startswith(f"{expected}'{name}')); use the published file")


@pytest.mark.parametrize("name", ["f.jpg", "../c.jpg", "C.jpg", 12, None, ["c.jpg"]])
def test_missing_image_of_a_split(folder, entries, message, name):
    entries[2]["filename"] = name
    place = folder / "Flicker8k_Dataset" / str(name)
    expected = f"{place}: is in the validation split but not there; unpack the images again"
    assert message({"images": entries}) == expected


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"images": [', b"[]", b"{}", b"null", b'{"images": 5}', b'{"images": [5]}'],
)
def test_another_file(folder, message, content):
    assert message(content).startswith(f"{folder / NAME}: expected `images` with filename, ")


def test_wrong_encoding(folder, message):
    expected = f"{folder / NAME} line 3: is not UTF-8; save the file as UTF-8"
    assert message('{"images":\n\n"Säge"}'.encode("latin-1")) == expected


@pytest.mark.parametrize(
    ("part", "splits"), [("train", "train restval"), ("validation", "val"), ("test", "test")]
)
def test_empty_split(folder, entries, message, part, splits):
    others = [entry for entry in entries if entry["split"] not in splits.split()]
    assert message({"images": others}).startswith(
        f"{folder / NAME}: the {part} split lists no image; use the published lists"
    )


def test_missing_files(folder, entries, message):
    text = folder / "Flickr8k_text" / NAME
    assert refused(karpathy, folder) == f"{text}: no such file; put it there"
    images = folder / "Flicker8k_Dataset"
    images.rename(folder / "photos")
    expected = f"{images}: no such folder; unpack the images of Flickr8k there"
    assert message({"images": entries}) == expected
