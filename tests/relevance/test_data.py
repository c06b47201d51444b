"""What a run reads: the kitchen against its plates, published layouts against their files."""

import csv
import json
from collections import Counter
from fractions import Fraction
from math import ceil
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kitchen as world
from sentences import refused
from studies.inputs.reading import PARTS
from studies.relevance import data
from studies.relevance.params import Rare

LANGUAGES = [
    "Ein süßes Kätzchen schläft",
    "一只 猫 在 睡觉",
    "قطة صغيرة نائمة",
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


class TestPublished:
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

    def test_fingerprint_is_of_class_texts_too(self, sandbox, small):
        write(sandbox, records())
        before = data.read(small(changes=PUBLISHED)).fingerprint
        assert data.read(small(changes=PUBLISHED | {"split_seed": 7})).fingerprint == before
        write(sandbox, records(), CLASSES | {"n02": ("cat", CLASSES["n02"][1] + " New.")})
        assert data.read(small(changes=PUBLISHED)).fingerprint != before

    @pytest.mark.parametrize(
        ("rows", "told"),
        [
            (b"n01,dog,Dogs bark. They run.\nn01,dog,Dogs bark. They run.\n", " line 3: n01 is "),
            (b"n01,dog,\n", " line 2: has an empty cell; delete the file and collect"),
        ],
    )
    def test_damaged_class_texts(self, sandbox, small, rows, told):
        place = write(sandbox, records())
        file = place / "class_texts.csv"
        file.write_bytes(b"wnid,class,text\n" + rows)
        assert refused(data.read, small(changes=PUBLISHED)).startswith(f"{file}{told}")


CAPTIONS = [
    "id,class,text,relevant,split",
    "7,cat,<b>Tabby</b> asleep,1,train",
    "8,cat,word,,train",
    "9,Dog,a dog barks,0,test",
    "10,Dog,two dogs,,training",
]
DESCRIBED = [
    "class,text,name",
    "cat,Cats purr. They nap.,tabby cat",
    "Dog,Dogs bark. They run.,dog",
]


class TestOwn:
    """Captions and classes of a user's own, in two tables."""

    @pytest.fixture
    def own(self, sandbox, small):
        """Return a function that writes the tables and returns their parameters."""

        def write(captions, described=DESCRIBED, system="predictor", **changes):
            place = sandbox / "data" / "own"
            place.mkdir(exist_ok=True)
            for k in (7, 8, 9, 10):
                (place / f"{k}.png").write_bytes(bytes([k]))
            (place / "captions.csv").write_text("\n".join(captions))
            (place / "classes.csv").write_text("\n".join(described))
            source = {"name": "table", "file": "own/captions.csv"}
            return small(system, changes={"source": source, **changes})

        return write

    def test_captions_classes_and_parts(self, own, capsys):
        share = {"validation_share": 0.5, "rare.captions": 0}
        found = data.read(plan := own(CAPTIONS, **share))
        assert found.captions["text"][:] == ["Tabby asleep", "a dog barks", "two dogs"]
        assert found.captions["image"][:] == ["7", "9", "10"]
        assert (found.wnids, found.names) == (["Dog", "cat"], ["dog", "tabby cat"])
        assert found.sentences == [["Dogs bark.", "They run."], ["Cats purr.", "They nap."]]
        assert np.array_equal(found.relevant, [1, 0, np.nan], equal_nan=True)
        parts = data.split(found, plan)
        assert parts[1] == "test"
        assert sorted(parts[[0, 2]]) == ["train", "validation"]
        told = "own/captions.csv: captions 3, classes 2, train 1, validation 1, test 1; drawn: va"
        assert capsys.readouterr().out.startswith(told)
        moved = [*CAPTIONS[:-1], "10,Dog,two dogs,,val"]
        again = data.read(own(moved, **share))
        assert data.split(again, plan).tolist() == ["train", "test", "validation"]
        assert again.fingerprint != found.fingerprint

    def test_images(self, own):
        rows = ["id,class,text,image", "7,cat,a cat,7.png", "8,Dog,a dog,./8.png"]
        found = data.read(own(rows, DESCRIBED))
        assert [file.name for file in found.files] == ["7.png", "8.png"]
        assert all(file.is_file() for file in found.files)
        pixels = {"downstream.encoder": {"name": "pixels", "size": 16, "widths": [4]}}
        plan = own(CAPTIONS, system="downstream_all", **pixels)
        assert "own/captions.csv: has no column `image`" in refused(data.read, plan)

    @pytest.mark.parametrize(
        ("row", "said"),
        [
            ("7,cat,a cat,1,val", "captions.csv line 6: `7` is listed twice"),
            ("11,cats,a cat,1,val", "classes.csv has no class `cats`; did you mean `cat`?"),
            (
                "11,cat,a cat,maybe,val",
                "captions.csv line 6: relevant should be 1, 0 or empty, not",
            ),
            ("11,cat,,1,val", "captions.csv line 6: has no text"),
        ],
    )
    def test_a_bad_row_is_named_by_its_line(self, own, row, said):
        assert said in refused(data.read, own([*CAPTIONS, row]))

    @pytest.mark.parametrize(
        ("row", "said"),
        [
            ("cat,Cats sleep. They eat.,a", "classes.csv line 4: `cat` is listed twice"),
            (
                "a/cat,Cats sleep. They eat.,a",
                "classes.csv line 4: the class `a/cat` should have no",
            ),
            ("bird,,a", "classes.csv line 4: has no text"),
        ],
    )
    def test_a_bad_class_is_named_by_its_line(self, own, row, said):
        assert said in refused(data.read, own(CAPTIONS, [*DESCRIBED, row]))

    def test_missing_tables(self, own):
        plan = own(CAPTIONS)
        (data.paths.data() / "own/classes.csv").unlink()
        assert "own/classes.csv: no such file or folder" in refused(data.read, plan)


@st.composite
def classes(draw, captions=12):
    """Class numbers of captions, and how many sentences each class has, one at least."""
    target = draw(st.lists(st.integers(0, 4), min_size=1, max_size=captions))
    counts = draw(st.lists(st.integers(1, 6), min_size=5, max_size=5))
    return np.array(target), np.array(counts)


class TestPairs:
    @given(classes())
    def test_every_caption_with_every_sentence_of_its_class(self, case):
        target, counts = case
        sentence_classes = np.repeat(np.arange(5), counts)
        rows = data.pairs(target, counts)
        wanted = [
            [caption, sentence]
            for caption, one in enumerate(target)
            for sentence, other in enumerate(sentence_classes)
            if one == other
        ]
        assert rows.tolist() == wanted
        assert rows.dtype == np.int32


SHARE = 0.23  # of 389,598 captions 89,598 were in the paper's test set
RARE = Rare(captions=100, train=0.5, test=0.2)


def parts_of(target, classes, seed, test_share=SHARE, validation_share=0.0, rare=RARE):
    shares = {"test_share": test_share, "validation_share": validation_share}
    plan = SimpleNamespace(split_seed=seed, rare=rare, **shares)
    return data.draw_parts(target, classes, plan)


class TestParts:
    @given(
        st.lists(st.integers(1, 150), min_size=1, max_size=12),
        st.sampled_from([0.02, SHARE, 0.5, 0.9]),
        st.integers(0, 2**32 - 1),
    )
    def test_rare_classes_by_the_letter(self, sizes, share, seed):
        """Sizes are captions of each class; rare classes have up to 100, whatever their text."""
        sizes = [*sizes, 200]  # and a frequent one, so that no part is empty
        target = np.repeat(np.arange(len(sizes)), sizes)
        target = np.random.default_rng(seed).permutation(target)
        parts = parts_of(target, len(sizes), seed, share)
        for number, captions in enumerate(sizes):
            held = Counter(parts[target == number])
            if captions <= 100:
                assert held["train"] >= Fraction(1, 2) * captions
                assert captions == 1 or held["test"] >= Fraction(1, 5) * captions
        least = sum(ceil(Fraction(n, 5)) for n in sizes if 1 < n <= 100)
        most = sum(n // 2 if n <= 100 else n for n in sizes)
        wanted = round(share * len(parts))
        if least <= wanted <= most:  # both rules can be kept
            assert (parts == "test").sum() == wanted

    def test_all_captions_are_equally_likely(self):
        target = np.array([0] * 10 + [1] * 110)
        parts = np.array([parts_of(target, 2, seed, 0.3) for seed in range(600)])
        share = (parts == "test").mean(axis=0)
        assert (share > 0.2).all()  # four deviations are .075
        assert (share < 0.4).all()
        # where the lot respects both bounds it is left alone: 2 to 5 of 10 all occur
        assert {int((part[:10] == "test").sum()) for part in parts} == {2, 3, 4, 5}

    def test_validation_is_of_training_captions_of_common_classes(self):
        """With another share the same captions are in test: only training gives some away."""
        target = np.repeat(np.arange(6), [12, 60, 12, 80, 9, 40])
        common = np.isin(target, [1, 3, 5])
        rare = Rare(captions=15, train=0.5, test=0.2)
        for seed in range(20):
            none, some, more = (
                parts_of(target, 6, seed, SHARE, share, rare) for share in (0, 0.1, 0.4)
            )
            for parts, share in ((some, 0.1), (more, 0.4)):
                assert ((parts == "test") == (none == "test")).all()
                assert (parts == "validation").sum() == round(share * (none == "train").sum())
                assert common[parts == "validation"].all()
            assert (some == parts_of(target, 6, seed, SHARE, 0.1, rare)).all()


class TestSplit:
    def test_kitchen(self, kitchen, small):
        found = data.read(small())
        first = data.split(found, small())
        assert set(first) == set(PARTS)
        assert (first == data.split(found, small())).all()
        assert (first != data.split(found, small(changes={"split_seed": 1}))).any()

    def test_a_part_without_captions_is_refused(self, sandbox, small):
        write(sandbox, records())
        found = data.read(small(changes=PUBLISHED))
        told = refused(data.split, found, small(changes=PUBLISHED | {"rare.captions": 1000}))
        assert "too few captions for a validation set" in told
