"""What a run reads: Flickr8k's published layouts, right and wrong; parts; batches; inputs."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

import kitchen as world
from sentences import kept, refused
from studies.captioning import data
from studies.captioning.readers import flickr8k, karpathy
from studies.captioning.tokens import Words
from studies.inputs import reading

CAPTIONS = {
    "b.jpg": ["Two cats sleep .", "Cats .", "Cats ."],
    "a.jpg": ["A dog runs .", "A brown dog ."],
    "c.jpg": ["A man climbs a wall .", "A climber ."],
    "e.jpg": ["A red bicycle .", "A bicycle ."],
    "d.jpg": ["A girl on a swing ."],
}
PARTS = {"train": ["b.jpg", "a.jpg"], "validation": ["c.jpg"], "test": ["e.jpg", "d.jpg"]}
LISTED = [(name, part) for part, names in PARTS.items() for name in names]
TOKENS, KARPATHY = "Flickr8k.token.txt", "dataset_flickr8k.json"
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


def as_listed(dataset):
    """Whether the images are those of `LISTED`, with their captions."""
    assert list(zip(dataset.files, dataset.official, strict=True)) == LISTED
    assert dataset.captions == [CAPTIONS[name] for name, _ in LISTED]
    return all(path.is_file() for path in dataset.paths)


def add(file, content):
    file.write_bytes(file.read_bytes() + content.encode())


class TestOfficial:
    @pytest.mark.parametrize("text", ["Flickr8k_text", "."])
    @pytest.mark.parametrize("images", ["Flicker8k_Dataset", "Flickr8k_Dataset"])
    def test_small_archive(self, tmp_path, flickr8k_folder, text, images):
        folder = flickr8k_folder(tmp_path / "data", CAPTIONS, PARTS, text)
        (folder / "Flicker8k_Dataset").rename(folder / images)
        dataset = flickr8k(folder)
        assert as_listed(dataset)
        assert dataset.root == folder / images

    def test_what_is_in_no_split_line_ends_and_a_byte_order_mark_do_no_harm(self, folder, text):
        add(text / TOKENS, "2258277193_586949ec62.jpg.1#0\tHorses .\nz.jpg#3\tA zebra .\n")
        (folder / "Flicker8k_Dataset" / "y.jpg").write_bytes(b"an image without a caption")
        for file in text.iterdir():
            content = file.read_bytes().replace(b"\n", b" \r\n\r\n")
            file.write_bytes(b"\xef\xbb\xbf\n" + content)
        assert as_listed(flickr8k(folder))


class TestKaggle:
    """Flickr8k as most people have it: `Images/` and one CSV file, `captions.txt`."""

    @pytest.fixture
    def kaggle(self, folder, text):
        """A folder of that layout, the published lists in `Flickr8k_text` beside."""
        (text / TOKENS).unlink()
        (folder / "Flicker8k_Dataset").rename(folder / "Images")
        with (folder / "captions.txt").open("w", newline="") as file:
            rows = [(name, said) for name, own in CAPTIONS.items() for said in own]
            csv.writer(file).writerows([("image", "caption"), *rows])
        return folder

    def test_published_lists_are_kept_and_without_any_parts_are_drawn(self, kaggle, text, plates):
        assert as_listed(flickr8k(kaggle))
        for name in LISTS.values():
            (text / name).unlink()
        dataset = flickr8k(kaggle)
        assert dict(zip(dataset.files, dataset.captions, strict=True)) == CAPTIONS
        assert dataset.official is None
        own = data.from_table((kaggle / "captions.txt").rename(kaggle / "Images/captions.csv"))
        assert (own.files, own.captions) == (dataset.files, dataset.captions)

    def test_some_of_the_lists(self, kaggle, text):
        (text / LISTS["test"]).unlink()
        assert refused(flickr8k, kaggle).startswith(f"{text / LISTS['test']}: no such file")


class TestTable:
    def write(self, folder, rows):
        for name in CAPTIONS:
            (folder / name).write_bytes(name.encode())
        (folder / "own.csv").write_text("\n".join(["image,caption,split", *rows]))
        return folder / "own.csv"

    def test_validation_is_drawn_from_training_and_edits_are_noticed(
        self, tmp_path, plates, capsys
    ):
        rows = [f"{name},{said},train" for name, own in CAPTIONS.items() for said in own]
        file = self.write(tmp_path, [*rows[:-1], rows[-1].replace("train", "test")])
        dataset = data.from_table(file)
        assert (dataset.files, dataset.captions) == (list(CAPTIONS), list(CAPTIONS.values()))
        source = {"name": "table", "file": "own.csv"}
        parts = data.split(dataset, plates(source=source, validation_share=0.25, test_share=0.5))
        assert Counter(parts) == {"train": 3, "validation": 1, "test": 1}
        assert parts[-1] == "test"
        told = "own.csv: images 5, captions 10, train 3, validation 1, test 1; drawn: validation\n"
        assert capsys.readouterr().out == told
        before = dataset.fingerprint
        self.write(tmp_path, [*rows[:-1], "d.jpg,Nobody .,test"])
        assert data.from_table(file).fingerprint != before

    def test_an_image_in_two_parts(self, tmp_path):
        file = self.write(tmp_path, ["a.jpg,A dog .,train", "b.jpg,Cats .,test", "a.jpg,Dog .,val"])
        assert refused(data.from_table, file).startswith(f"{file} line 4: `a.jpg` is of validation")


class TestBadOfficial:
    """Each ends in one sentence that names the file, and the line where there is one."""

    def test_missing_images(self, folder):
        images = folder / "Flicker8k_Dataset"
        (images / "d.jpg").unlink()
        where = f"{folder / 'Flickr8k_text' / LISTS['test']} line 2"
        assert f"{where}: `d.jpg` is not in Flicker8k_Dataset" in refused(flickr8k, folder)
        images.rename(folder / "photos")
        assert refused(flickr8k, folder).startswith(f"{images}: no such folder")

    @pytest.mark.parametrize("instead", ["", "e.jpg.1#0\tA red bicycle .\n"])
    def test_image_with_no_caption(self, folder, text, instead):
        lines = [line for line in (text / TOKENS).read_text().splitlines() if line[0] != "e"]
        (text / TOKENS).write_text("\n".join([*lines, instead]))
        where = f"{text / LISTS['test']} line 1: `e.jpg` has no caption"
        assert refused(flickr8k, folder).startswith(where)

    def test_listed_or_described_twice(self, folder, text):
        add(text / LISTS["validation"], "b.jpg\n")
        assert refused(flickr8k, folder).startswith(f"{text / LISTS['validation']} line 2: `b.jpg`")
        add(text / TOKENS, "b.jpg#2\tOther cats .\n")
        assert refused(flickr8k, folder).startswith(f"{text / TOKENS} line 11: `b.jpg#2`")

    @pytest.mark.parametrize("line", ["f.jpg#0 A fish .", "f.jpg#one\tA fish .", "A fish" * 1000])
    def test_not_a_token_line(self, folder, text, line):
        content = (text / TOKENS).read_text().splitlines()
        (text / TOKENS).write_text("\n".join([*content[:4], "", line, *content[4:]]))
        message = refused(flickr8k, folder)
        assert message.startswith(f"{text / TOKENS} line 6: ")
        assert len(message) < 400

    def test_missing_files(self, folder, text):
        for name in (LISTS["test"], TOKENS):
            (text / name).unlink()
            assert refused(flickr8k, folder).startswith(f"{text / name}: ")


class TestKarpathy:
    @pytest.fixture
    def entries(self):
        """What the `images` of the published file hold."""
        splits = ["restval", "train", "val", "test", "test"]
        return [
            {
                "filename": name,
                "split": split,
                "sentences": [{"raw": f" {said}\n", "tokens": said.split()} for said in own],
            }
            for (name, own), split in zip(CAPTIONS.items(), splits, strict=True)
        ]

    @pytest.fixture
    def message(self, folder):
        """Return a function that writes the file and returns what is then told."""

        def of(content):
            written = content if isinstance(content, bytes) else json.dumps(content).encode()
            (folder / KARPATHY).write_bytes(written)
            return refused(karpathy, folder)

        return of

    @pytest.mark.parametrize("place", ["Flickr8k_text", "."])
    @pytest.mark.parametrize("mark", ["", "\ufeff"])
    def test_small_archive(self, folder, entries, place, mark):
        entries[1]["sentences"].insert(0, {"raw": " \n"})  # a blank caption is left out
        content = mark + json.dumps({"images": entries, "dataset": "flickr8k"})
        (folder / place / KARPATHY).write_text(content, "utf-8")
        assert as_listed(karpathy(folder))  # restval is added to training, as is usual

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"split": "dev"}, "KeyError('dev')"),
            ({"sentences": [{"raw": 5}]}, "filename, split and sentences"),
            ({"sentences": [{"raw": " "}]}, "`c.jpg` has no caption"),
            ({"filename": "a.jpg"}, "`a.jpg` is listed twice"),
        ],
    )
    def test_a_bad_entry(self, folder, entries, message, change, reason):
        entries[2] |= change
        sentence = message({"images": entries})
        assert sentence.startswith(f"{folder / KARPATHY}: ")
        assert reason in sentence

    @pytest.mark.parametrize("name", ["f.jpg", "../c.jpg", None])
    def test_missing_image_of_a_split(self, folder, entries, message, name):
        entries[2]["filename"] = name
        assert f": `{name}` is not in Flicker8k_Dataset" in message({"images": entries})

    def test_no_file_and_an_empty_split(self, folder, entries, message):
        assert refused(karpathy, folder).startswith(f"{folder / 'Flickr8k_text' / KARPATHY}: no")
        some = [entry for entry in entries if entry["split"] != "val"]
        assert "too few listed images for a validation set" in message({"images": some})


def test_real_dataset(real_flickr8k):
    dataset = flickr8k(real_flickr8k)
    counts = Counter(dataset.official)
    assert (counts["train"], counts["validation"]) == (6000, 1000)
    assert counts["test"] in (1000, 250)  # published, or the part kept for development
    assert {len(captions) for captions in dataset.captions} == {5}
    captions = dict(zip(dataset.files, dataset.captions, strict=True))
    assert captions["1000268201_693b08cb0e.jpg"][1] == "A girl going into a wooden building ."


OF_FIVE = [["a b", "b"], ["c"], ["b c a", "a", "c c", "b a"], ["a a"], ["c b", "b"]]


def made_up(count, official=None, captions=None):
    files = [f"{k}.jpg" for k in range(count)]
    captions = captions or [[f"caption {k}"] for k in range(count)]
    return data.CaptionedImages(Path("/nowhere"), files, captions, official and np.array(official))


class TestRead:
    def test_the_kitchen(self, sandbox, plates):
        dataset = data.read(plates(source={"name": "kitchen", "per_variant": 2, "seed": 3}))
        with (reading.kitchen(2, 3) / "plates.csv").open(encoding="utf-8") as file:
            drawn = {row["id"]: row["path"] for row in csv.DictReader(file)}
        assert dataset.official is None
        assert [f"images/{file}" for file in dataset.files] == list(drawn.values())
        plate = {plate.id: plate for plate in world.plates(2, 3)}
        for path, captions in zip(dataset.paths, dataset.captions, strict=True):
            assert path.is_file()
            assert captions == world.captions(plate[path.stem], 3)

    def test_published_splits(self, few, squares):
        dataset = data.read(squares())
        assert Counter(dataset.official) == {"train": 12, "validation": 4, "test": 4}
        assert (data.split(dataset, squares(split_seed=9)) == dataset.official).all()
        other = squares(source={"name": "flickr8k", "splits": "karpathy"})
        assert "dataset_flickr8k.json: no such file" in refused(data.read, other)

    def test_missing_data(self, sandbox, squares):
        message = refused(data.read, squares())
        assert message.startswith(f"The dataset flickr8k is not at {sandbox / 'data/flickr8k'}: ")
        assert kept(sandbox) == []


class TestSplit:
    @settings(max_examples=60, deadline=None)
    @given(
        count=st.integers(10, 300),
        validation=st.floats(0.05, 0.45),
        test=st.floats(0.05, 0.45),
        seed=st.integers(0, 1000),
    )
    def test_shares_by_lot(self, plates, count, validation, test, seed):
        wanted = {"validation": round(count * validation), "test": round(count * test)}
        wanted["train"] = count - sum(wanted.values())
        assume(all(wanted.values()))
        changes = {"validation_share": validation, "test_share": test, "split_seed": seed}
        parts = data.split(made_up(count), plates(**changes))
        assert parts.shape == (count,)
        assert Counter(parts) == wanted
        other_system = plates("most_frequent", seed=7, **changes)
        assert (parts == data.split(made_up(count), other_system)).all()

    @pytest.mark.parametrize(
        ("count", "shares", "part"), [(4, (0.3, 0.1), "test"), (100, (0.0, 0.1), "validation")]
    )
    def test_too_few_images(self, plates, count, shares, part):
        parameters = plates(validation_share=shares[0], test_share=shares[1])
        message = refused(data.split, made_up(count), parameters)
        assert message.startswith("/nowhere: too few images for a ")
        assert f"for a {part} set" in message


@pytest.fixture(scope="module")
def examples():
    words = Words.learn([caption for own in OF_FIVE for caption in own], 1)
    inputs = np.arange(5 * 3 * 2 * 2, dtype=np.uint8).reshape(5, 3, 2, 2)
    return data.Examples(inputs, OF_FIVE, words, 9)


class TestExamples:
    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.integers(0, 4), min_size=1, max_size=6))
    def test_each_caption_belongs_to_its_image(self, examples, rows):
        inputs, captions, owners = examples[rows]
        assert inputs.dtype == torch.uint8
        assert inputs.tolist() == [examples.inputs[row].tolist() for row in rows]
        decoded = [
            (place, examples.words.decode(caption))
            for place, caption in zip(owners.tolist(), captions, strict=True)
        ]
        assert decoded == [(place, one) for place, row in enumerate(rows) for one in OF_FIVE[row]]


def test_inputs_are_pixels(sandbox, plates):
    dataset = data.read(plates())
    inputs = data.inputs(dataset, plates(image_size=96))  # as drawn
    assert (inputs.shape, inputs.dtype) == ((24, 3, 96, 96), np.uint8)
    for pixels, path in zip(inputs, dataset.paths, strict=True):
        with Image.open(path) as picture:
            assert (pixels.transpose(1, 2, 0) == np.asarray(picture)).all()
    assert data.inputs(dataset, plates(image_size=32)).shape == (24, 3, 32, 32)
