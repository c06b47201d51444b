"""What a run reads: the kitchen against its plates, published layouts against their files."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kitchen as world
from sentences import refused
from studies.inputs.splits import PARTS
from studies.relevance import data
from studies.relevance.captions import NO_CLASS, NO_TEXT, ONE_WORD, TWICE

LANGUAGES = [
    "Ein süßes Kätzchen schläft",
    "一只 猫 在 睡觉",
    "قطة صغيرة نائمة",
    "кошка 🐈‍⬛ спит",
    "แมว กำลัง หลับ",
    "quoted, \"comma\" and 'all' \\n",
]
CLASSES = {
    "n02": ("tabby, cat", 'Tabbies purr. They nap a lot.\nAlso, they "talk".'),
    "n01": ("chien", "Les chiens aboient. Ils courent."),
}
PUBLISHED = {"source": {"name": "imagenet_captions", "images": None}}


def write(folder, records, classes=CLASSES):
    """Write ImageNet-Captions' layout and what `collect` makes of Wikipedia."""
    place = folder / "data" / "imagenet_captions"
    place.mkdir(parents=True, exist_ok=True)
    (place / "imagenet_captions.json").write_text(json.dumps(records), encoding="utf-8")
    with (place / "class_texts.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["wnid", "class", "text"])
        rows.writerows([wnid, *of] for wnid, of in classes.items())
    return place


def record(image, wnid, title="", description="", **more):
    return {"filename": image, "wnid": wnid, "title": title, "description": description, **more}


def records():
    """Captions of two classes in many languages, and one of each kind that is dropped."""
    good = [
        record(f"{wnid}_{place}.JPEG", wnid, text, f"photo {place}")
        for wnid in CLASSES
        for place, text in enumerate(LANGUAGES)
    ]
    bad = [
        record("x.JPEG", "n09", "a whale in the sea"),
        record("y.JPEG", "n01"),
        record("z.JPEG", "n01", "<b></b>", None),
        record("w.JPEG", "n01", "Hund !"),
        record("n01_0.JPEG", "n01", "the same dog again"),
    ]
    return [*good, *bad]


class TestKitchen:
    def test_the_truth_reaches_the_table(self, kitchen, small):
        found = data.read(small())
        plates = {f"{plate.id}.png": plate for plate in world.plates(4, 0)}
        assert sorted(found.everything["image"]) == sorted(plates)
        for row in found.everything:
            plate = plates[row["image"]]
            said = world.web(plate, 0)
            assert row["wnid"] == plate.variant
            assert row["relevant"] == said.relevant
            if "<" not in said.title + said.description and "&" not in said.title:
                assert row["text"].split() == [*said.title.split(), *said.description.split()]
        assert found.relevant.tolist() == [
            float(world.web(plates[image], 0).relevant) for image in found.captions["image"]
        ]
        assert len(set(found.relevant)) == 2

    def test_classes(self, kitchen, small):
        found = data.read(small())
        assert found.wnids == sorted({plate.variant for plate in world.plates(4, 0)})
        for wnid, name, text, chosen in zip(
            found.wnids, found.names, found.texts, found.sentences, strict=True
        ):
            assert name == wnid.replace("_", " ")
            assert text == world.article(wnid)
            assert 2 <= len(chosen) <= 10
            assert all(sentence in " ".join(text.split()) for sentence in chosen)
        assert [found.wnids[one] for one in found.target] == found.captions["wnid"][:]

    def test_every_caption_has_its_picture(self, kitchen, small):
        found = data.read(small())
        for row, (image, wnid) in enumerate(
            zip(found.captions["image"], found.captions["wnid"], strict=True)
        ):
            file = found.files[row]
            assert file.is_file()
            assert (file.name, file.parent.name) == (image, wnid)

    def test_pairs(self, kitchen, small):
        found = data.read(small())
        flat, pairs = found.pairs()
        wanted = [
            (row, sentence)
            for row, wnid in enumerate(found.captions["wnid"])
            for sentence in found.sentences[found.wnids.index(wnid)]
        ]
        assert [(row, flat[place]) for row, place in pairs.tolist()] == wanted


class TestPublished:
    def test_what_is_dropped_and_why(self, sandbox, small):
        write(sandbox, records())
        found = data.read(small(changes=PUBLISHED))
        wanted = {NO_CLASS: 1, NO_TEXT: 2, ONE_WORD: 1, TWICE: 1}
        assert found.reasons == wanted
        dropped = [row for row in found.everything if row["reason"]]
        assert [row["image"] for row in dropped] == [one["filename"] for one in records()[-5:]]
        assert len(found.captions) == 12
        assert len(found.everything) == 17

    def test_any_language_comes_back_unchanged(self, sandbox, small):
        write(sandbox, records())
        found = data.read(small(changes=PUBLISHED))
        wanted = [f"{text} photo {place}" for _ in CLASSES for place, text in enumerate(LANGUAGES)]
        assert found.captions["text"][:] == wanted
        assert np.isnan(found.relevant).all()
        assert found.wnids == ["n01", "n02"]
        assert found.names == ["chien", "tabby, cat"]
        assert found.texts == [CLASSES[wnid][1] for wnid in found.wnids]
        assert found.sentences[1] == ["Tabbies purr.", "They nap a lot.", 'Also, they "talk".']

    def test_long_captions_are_cut(self, sandbox, small):
        write(sandbox, [record("a.JPEG", "n01", "word " * 20_000), *records()])
        found = data.read(small(changes=PUBLISHED | {"characters": 23}))
        assert found.captions["text"][0] == "word word word word"

    def test_images(self, sandbox, small):
        write(sandbox, records())
        (sandbox / "data" / "imagenet").mkdir()
        source = PUBLISHED["source"] | {"images": "imagenet"}
        found = data.read(small(changes={"source": source}))
        assert found.files[0] == sandbox / "data" / "imagenet" / "n02" / "n02_0.JPEG"
        assert data.read(small(changes=PUBLISHED)).files is None

    def test_a_changed_file_is_read_anew(self, sandbox, small):
        write(sandbox, records())
        before = data.read(small(changes=PUBLISHED))
        write(sandbox, records()[1:])
        after = data.read(small(changes=PUBLISHED))
        assert len(after.everything) == len(before.everything) - 1
        assert after.fingerprint != before.fingerprint

    @pytest.mark.parametrize(
        "classes",
        [
            CLASSES | {"n02": ("cat", CLASSES["n02"][1] + " New.")},
            {wnid: CLASSES[wnid] for wnid in ("n01",)},
        ],
    )
    def test_fingerprint_is_of_class_texts_too(self, sandbox, small, classes):
        write(sandbox, records())
        before = data.read(small(changes=PUBLISHED)).fingerprint
        assert data.read(small(changes=PUBLISHED | {"split_seed": 7})).fingerprint == before
        write(sandbox, records(), classes)
        assert data.read(small(changes=PUBLISHED)).fingerprint != before

    def test_nothing_is_left(self, sandbox, small):
        write(sandbox, records()[-5:-1])
        told = refused(data.read, small(changes=PUBLISHED))
        assert told.startswith("none of 4 captions has several words and a class with a text")

    def test_a_class_with_one_sentence(self, sandbox, small):
        write(sandbox, records(), CLASSES | {"n02": ("cat", "Cats purr.")})
        assert "n02: its text has 1 sentence, and 2 are needed" in refused(
            data.read, small(changes=PUBLISHED)
        )

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\n\n",
            b"wnid,class,text\n",
            b"wnid,class\nn01,dog\n",
            b"wnid,name,text\nn01,dog,Dogs bark. They run.\n",
            b"wnid,class,text\nn01,dog,Dogs bark. They run.\nn01,dog,Dogs bark. They run.\n",
            b"wnid,class,text\nn01,dog,Dogs bark. They run.\nn02,cat",
            b"wnid,class,text\nn01,dog,Dogs bark. They run.\nn02",
            b'wnid,class,text\nn01,dog,"Dogs bark. They run.\nn02,cat,Cats purr. They nap.\n',
            b"wnid,class,text\nn01,dog,Dogs bark, they run.,more,\nn02,cat,a,b,c,d,e,f\n",
            b"wnid,class,text\nn01,dog,\xff\xfe\n",
            b"PK\x03\x04\x00\x00\x00\x00\x0a\x00,\x00",
        ],
    )
    def test_damaged_class_texts(self, sandbox, small, content):
        place = write(sandbox, records())
        file = place / "class_texts.csv"
        file.write_bytes(content)
        told = refused(data.read, small(changes=PUBLISHED))
        assert told.startswith(f"{file}: no table of class texts")
        assert "collect the class texts again" in told

    def test_damaged_captions(self, sandbox, small):
        place = write(sandbox, records())
        file = place / "imagenet_captions.json"
        file.write_bytes(file.read_bytes()[:-40])
        assert str(file) in refused(data.read, small(changes=PUBLISHED))


class TestSplit:
    def test_parts(self, kitchen, small):
        found = data.read(small())
        for seed in range(20):
            parts = data.split(found, small(changes={"split_seed": seed}))
            assert set(parts) == set(PARTS)
            assert len(parts) == len(found.captions)
            tests, rest = (parts == "test").sum(), (parts != "test").sum()
            assert abs(tests - 0.23 * len(parts)) < 6  # rare classes may shift it
            assert (parts == "validation").sum() == round(0.2 * rest)

    def test_validation_is_of_training_captions_of_common_classes(self, kitchen, small):
        """With another share the same captions are in test: only training gives some away."""
        found = data.read(small())
        captions = np.bincount(found.target)
        common = captions * [len(chosen) for chosen in found.sentences] > 20
        assert 0 < common.sum() < len(common)
        for seed in range(20):
            parts, more = (
                data.split(found, small(changes={"split_seed": seed, "validation_share": share}))
                for share in (0.1, 0.4)
            )
            assert ((parts == "test") == (more == "test")).all()
            assert common[found.target[parts == "validation"]].all()
            assert common[found.target[more == "validation"]].all()
            for one in np.flatnonzero(~common):  # of a rare class training keeps its half
                assert (more[found.target == one] == "train").sum() >= captions[one] / 2

    @settings(max_examples=10)
    @given(st.integers(0, 2**32 - 1))
    def test_same_seed_same_parts(self, seed):
        # hypothesis calls this several times, so the collection is made by hand
        found = collection(np.repeat([0, 1, 2], [40, 40, 40]))
        given_ = Given(split_seed=seed)
        first, again = data.split(found, given_), data.split(found, given_)
        assert (first == again).all()
        assert (first != data.split(found, Given(split_seed=seed + 1))).any()

    @pytest.mark.parametrize(
        ("captions", "part"), [([0] * 60, None), ([0] * 3, "validation"), ([0], "test")]
    )
    def test_too_few(self, captions, part):
        found, given_ = collection(np.array(captions)), Given(validation_share=0.1)
        if part is None:
            assert set(data.split(found, given_)) == set(PARTS)
        else:
            told = refused(data.split, found, given_)
            assert f"for a {part} set" in told

    def test_all_classes_are_rare(self):
        found = collection(np.repeat([0, 1], 10))
        told = refused(data.split, found, Given(examples=50))
        assert "too few captions for a validation set" in told


class Given:
    """What a split is told."""

    def __init__(self, split_seed=0, validation_share=0.2, examples=10):
        from studies.relevance.params import Rare

        self.split_seed, self.test_share = split_seed, 0.23
        self.validation_share = validation_share
        self.rare = Rare(examples=examples, train=0.5, test=0.2)


def collection(target):
    """Captions of some classes, two sentences a class."""
    import datasets

    wnids = [f"n{one}" for one in range(target.max() + 1)]
    rows = [
        {"image": str(n), "wnid": wnids[one], "text": "a b", "relevant": None, "reason": ""}
        for n, one in enumerate(target)
    ]
    two = [["One.", "Two."]] * len(wnids)
    return data.Collection(datasets.Dataset.from_list(rows), wnids, wnids, wnids, two, None)
