"""The dataset as others load it, against the run's predictions and against a collection by hand."""

import math

import datasets
import pandas as pd
import pytest
import yaml
from PIL import Image

from hearsay import NOISE
from sentences import refused
from studies.inputs.reading import PARTS
from studies.relevance import data, product
from studies.relevance.captions import NO_CLASS, NO_TEXT, features
from studies.relevance.evaluate import about, evaluate
from studies.runs.files import to_json
from studies.runs.folder import load_run

NASTY = [
    'pipe | and <b>"HTML"</b> & [link](x) 🍕',
    "金魚 *is* not_a_cat $x$ \\ `code`",
    "-001 1e5 null",
]


@pytest.fixture
def load(tmp_path):
    """Return `load_dataset` with a cache of its own; nothing is asked of a network."""

    def call(*given, **named):
        return datasets.load_dataset(*map(str, given), cache_dir=str(tmp_path / "cache"), **named)

    return call


@pytest.fixture(params=["kitchen", "flickr8k_noise"])
def whole(request, small):
    """The evaluated predictor of a collection with images, and the collection."""
    if request.param == "kitchen":
        return load_run(request.getfixturevalue("predicted")), data.read(small())
    request.getfixturevalue("tokens")
    parameters = small(changes=NOISE | {"filter.threshold": 0.0})
    collection = data.read(parameters)
    collection.root.mkdir()
    for file in collection.files:
        Image.new("RGB", (2, 2), (int(file.stem), 0, 0)).save(file, "PNG")
    return load_run(evaluate(parameters)), collection


class TestWhole:
    def test_every_caption_is_there_as_it_was_predicted(self, whole, load):
        run, collection = whole
        folder = product.export(run)
        frame = run.predictions.set_axis(collection.captions["image"])
        kept = frame[frame["kept"]]
        found, again = load(folder), load("parquet", data_dir=str(folder))
        assert {part: rows.num_rows for part, rows in again.items()} == found.num_rows
        texts = dict(zip(collection.captions["image"], collection.captions["text"], strict=True))
        images = load("imagefolder", data_dir=str(folder / "images"))
        drawn = {file.name: file for file in collection.files}
        described = dict(zip(collection.wnids, collection.texts, strict=True))
        assert set(found) == set(images) == set(kept["part"])
        for part, rows in found.items():
            wanted = kept[kept["part"] == part]
            assert rows["image"] == wanted.index.tolist()
            assert rows["caption"] == [texts[one] for one in wanted.index]
            assert rows["class_text"] == [described[one] for one in wanted["class"]]
            for column in ("part", "probability", "coefficient"):
                assert rows[column] == wanted[column].tolist()
            assert set(rows["trained_on"]) == {part == "train"}
            assert images[part].column_names == ["image", *product.WITH_IMAGES]
            for name in product.WITH_IMAGES:
                assert images[part][name] == rows[name]
            for row, image in zip(images[part], rows["image"], strict=True):
                assert row["image"].tobytes() == Image.open(drawn[image]).tobytes()
        file = next((folder / "images").rglob("*.??g"))
        assert file.samefile(drawn[file.name])
        dropped = load(folder, "dropped", split="dropped").to_pandas().set_index("image")
        assert {*dropped.index, *kept.index} == {*collection.everything["image"]}
        assert len(dropped) + len(kept) == len(collection.everything)
        after = dropped[dropped.index.isin(frame.index)]
        for column in ("reason", "probability", "part"):
            assert after[column].tolist() == frame.loc[after.index, column].tolist()
        before = dropped[~dropped.index.isin(frame.index)]
        assert (before["reason"] != "").all()
        assert before[["part", "probability"]].isna().all(axis=None)


@pytest.fixture
def by_hand(tmp_path, small, monkeypatch):
    """Return a function that makes the run of a collection; rows have image, wnid, text and P."""

    def make(rows, folders=None):
        everything = [
            {**{"image": image, "wnid": wnid, "text": text, "relevant": None}, "reason": reason}
            for image, wnid, text, reason, _, _ in rows
        ]
        classes = ["n1", "n2"]
        names = ["crane | <machine>", "crane_bird & co"]
        texts = [
            "A crane lifts.\nIt is <b>tall</b> | wide.",
            "A crane flies 🐦. \N{LINE SEPARATOR}x",
        ]
        found = datasets.Dataset.from_list(everything, features())
        collection = data.Collection(found, classes, names, texts, [["A.", "B."]] * 2, folders)
        monkeypatch.setattr(data, "read", lambda parameters: collection)
        parameters = small()
        folder = tmp_path / "run"
        folder.mkdir()
        (folder / "params.yaml").write_text(yaml.safe_dump(parameters.resolved()))
        git = {"commit": "abc123", "dirty": True}
        facts = {"python": "3", "packages": {"torch": "2"}, "git": git}
        facts["dataset_fingerprint"] = collection.fingerprint
        facts["captions"] = dict.fromkeys(PARTS, 1)
        (folder / "provenance.json").write_text(to_json(facts))
        asked = [row for row in rows if not row[3]]
        pd.DataFrame(
            {
                "id": range(len(asked)),
                "class": [row[1] for row in asked],
                "part": [row[5] for row in asked],
                "kept": [row[4] >= 0.5 for row in asked],
                "reason": ["" if row[4] >= 0.5 else "too low" for row in asked],
                "probability": [row[4] for row in asked],
                "coefficient": [row[4] if row[4] >= 0.5 else math.nan for row in asked],
            }
        ).to_parquet(folder / "predictions.parquet")
        (folder / "metrics.json").write_text(to_json({"kept": sum(row[4] >= 0.5 for row in asked)}))
        (folder / "items.json").write_text(to_json(about(collection)))
        return load_run(folder)

    return make


ROWS = [
    ("a.png", "n1", NASTY[0], "", 0.75, "train"),
    ("z.png", "n9", "no such class", NO_CLASS, None, None),
    ("b.png", "n1", "a low one", "", 0.25, "test"),
    ("c.png", "n2", NASTY[1], "", 1.0, "train"),
    ("d.png", "n2", "", NO_TEXT, None, None),
    ("e.png", "n1", NASTY[2], "", 0.5, "test"),
]


class TestByHand:
    def test_any_text_comes_back(self, by_hand, load):
        folder = product.export(by_hand(ROWS))
        kept = load(folder)
        assert set(kept) == {"train", "test"}
        assert kept["train"]["caption"] == NASTY[:2]
        assert kept["test"]["caption"] == NASTY[2:]
        assert kept["train"]["class_text"][0] == "A crane lifts.\nIt is <b>tall</b> | wide."

    def test_images_that_are_not_there_are_counted(self, by_hand, tmp_path, load):
        folders = {wnid: tmp_path / "images" / wnid for wnid in ("n1", "n2")}
        colours = {("n1", "same.png"): (9, 0, 0), ("n2", "same.png"): (0, 9, 0)}
        for (wnid, name), colour in colours.items():
            folders[wnid].mkdir(parents=True)
            Image.new("RGB", (4, 4), colour).save(folders[wnid] / name)
        for name in (".hidden.png", "text.txt"):
            (folders["n1"] / name).write_bytes((folders["n1"] / "same.png").read_bytes())
        (folders["n2"] / "real.bin").write_bytes((folders["n2"] / "same.png").read_bytes())
        (folders["n2"] / "link.png").symlink_to("real.bin")
        rows = [
            ("same.png", "n1", NASTY[0], "", 0.75, "train"),
            ("same.png", "n2", NASTY[1], "", 1.0, "train"),
            ("missing.png", "n1", "not there", "", 0.75, "train"),
            (".hidden.png", "n1", "hidden", "", 0.75, "train"),
            ("text.txt", "n1", "no image", "", 0.75, "train"),
            ("link.png", "n2", "a link", "", 0.75, "train"),
            ("gone.png", "n2", "not there", "", 0.75, "test"),
        ]
        folder = product.export(by_hand(rows, folders))
        found = load("imagefolder", data_dir=str(folder / "images"))
        assert set(found) == {"train"}
        shown = [(row["caption"], row["image"].getpixel((0, 0))) for row in found["train"]]
        assert shown == [(NASTY[0], (9, 0, 0)), (NASTY[1], (0, 9, 0)), ("a link", (0, 9, 0))]
        text = (folder / "README.md").read_text()
        assert "| train | 6 | 6 | 1.000 | 6 | 3 |" in text
        assert "| test | 1 | 1 | 1.000 | 0 | 1 |" in text

    def test_images_are_copied_where_no_link_can_be(self, by_hand, tmp_path, monkeypatch):
        source = tmp_path / "images" / "n1" / "a.png"
        source.parent.mkdir(parents=True)
        source.write_bytes(b"picture")

        def refuse(*_):
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr("os.link", refuse)
        folder = product.export(by_hand(ROWS[:1], {"n1": source.parent, "n2": tmp_path}))
        copy = folder / "images" / "train" / "n1" / "a.png"
        assert copy.read_bytes() == b"picture"
        assert not copy.samefile(source)


class TestRefused:
    def test_runs_that_are_no_evaluated_predictor(self, by_hand):
        run = by_hand(ROWS)
        for changes in ({"study": "triplets"}, {"predictor": None}):
            (run.folder / "params.yaml").write_text(yaml.safe_dump(run.params | changes))
            assert "of no relevance predictor" in refused(product.export, load_run(run.folder))
        (run.folder / "metrics.json").unlink()
        assert "has no metrics.json" in refused(product.export, run)
        assert not (run.folder / "dataset").exists()

    def test_nothing_kept(self, by_hand):
        rows = [(*row[:4], 0.1, row[5]) for row in ROWS]
        assert "keeps no caption" in refused(product.export, by_hand(rows))
