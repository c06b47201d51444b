"""GroceryStoreDataset becomes labelled images: against a small archive and the real one."""

import os
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sentences import kept, refused
from studies import paths
from studies.triplets import data, sources
from studies.triplets.sampling import ClassBatches

HEADER = (
    "Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int),"
    "Iconic Image Path (str),Product Description Path (str)"
)
CLASSES = [  # fine name, category, coarse name, coarse id
    ("Golden-Delicious", "Fruit", "Apple", 0),
    ("Granny-Smith", "Fruit", "Apple", 0),
    ("Avocado", "Fruit", "Avocado", 1),
    ("Arla-Standard-Milk", "Packages", "Milk", 2),
    ("Carrots", "Vegetables", "Carrots", 3),
]
PUBLISHED = {"train": 4, "val": 1, "test": 3}  # images of each class in the small archive


def real_groceries() -> Path | None:
    shared = paths.REPOSITORY.parent / "shared" / "data"
    named = [Path(os.environ["STUDIES_DATA"])] if "STUDIES_DATA" in os.environ else []
    found = [base / "grocery" for base in [*named, shared, paths.REPOSITORY / "data"]]
    return next((folder for folder in found if (folder / "dataset" / "train.txt").exists()), None)


GROCERIES = real_groceries()


def folder_of(fine: str, category: str, coarse: str) -> str:
    return f"{category}/{fine}" if fine == coarse else f"{category}/{coarse}/{fine}"


@pytest.fixture
def archive(sandbox, draw) -> Path:
    """The published layout of the groceries, with five classes."""
    root = sandbox / "data" / "grocery" / "dataset"
    rows, lines, seed = [HEADER], {name: [] for name in PUBLISHED}, 0
    for fine_id, (fine, category, coarse, coarse_id) in enumerate(CLASSES):
        rows.append(f"{fine},{fine_id},{coarse},{coarse_id},/iconic.jpg,/description.txt")
        for name, count in PUBLISHED.items():
            for i in range(count):
                seed += 1
                file = f"{name}/{folder_of(fine, category, coarse)}/{fine}_{i:03}.jpg"
                draw(root / file, (20 * fine_id, 100, 90), seed=seed)
                lines[name].append(f"{file}, {fine_id}, {coarse_id}")
    draw(root / "iconic-images-and-descriptions/Fruit/Apple/icon.jpg")  # published, of no split
    (root / "classes.csv").write_text("\n".join(rows) + "\n")
    for name, listed in lines.items():
        (root / f"{name}.txt").write_text("\n".join(listed) + "\n")
    return root


@pytest.fixture
def grocery_parameters(parameters):
    return parameters(source={"name": "grocery"}, dataset="groceries", min_count=0)


class TestGroceries:
    def test_small_archive(self, archive, grocery_parameters):
        found = data.read(grocery_parameters)
        assert len(found.files) == 40
        assert Counter(found.official) == {"train": 20, "validation": 5, "test": 15}
        assert found.names[0] == ["Fruit", "Packages", "Vegetables"]
        assert found.names[1] == [
            "Fruit/Apple",
            "Fruit/Avocado",
            "Packages/Milk",
            "Vegetables/Carrots",
        ]
        assert found.names[2] == [
            "Fruit/Apple/Golden-Delicious",
            "Fruit/Apple/Granny-Smith",
            "Fruit/Avocado/Avocado",
            "Packages/Milk/Arla-Standard-Milk",
            "Vegetables/Carrots/Carrots",
        ]
        assert found.counts == dict.fromkeys(range(5), 8)
        truth = {fine: (category, coarse, fine) for fine, category, coarse, _ in CLASSES}
        for file, tree, labels in zip(found.files, found.trees, found.labels, strict=True):
            assert tree == truth[Path(file).name.rpartition("_")[0]]
            shown = [names[label] for names, label in zip(found.names, labels, strict=True)]
            assert shown == ["/".join(tree[:depth]) for depth in (1, 2, 3)]
        assert all(path.exists() for path in found.paths)

    def test_byte_order_mark_and_spaces_do_no_harm(self, archive, grocery_parameters):
        plain = data.read(grocery_parameters).trees
        text = (archive / "classes.csv").read_text()
        (archive / "classes.csv").write_text(text, encoding="utf-8-sig")
        text = (archive / "train.txt").read_text().replace(", ", " ,  ")
        (archive / "train.txt").write_text(text.replace("\n", "\r\n"), newline="")
        assert data.read(grocery_parameters).trees == plain

    @pytest.mark.skipif(GROCERIES is None, reason="no grocery/ below STUDIES_DATA or ../shared")
    def test_real_dataset(self, parameters):
        found = sources.grocery(GROCERIES)
        assert len(found.files) == 5421
        assert [len(names) for names in found.names] == [3, 43, 81]
        assert found.names[0] == ["Fruit", "Packages", "Vegetables"]
        assert sum(count > 50 for count in found.counts.values()) == 57
        assert Counter(found.official) == {"train": 2640, "validation": 296, "test": 2485}
        official = data.split(found, parameters(split="official", validation_share=0.1))
        assert ((official == "test") == (found.official == "test")).all()
        assert 0.09 < (official == "validation").sum() / 2936 < 0.11
        random = data.split(found, parameters(split="random", validation_share=0.1))
        assert Counter(random).keys() == {"train", "validation", "test"}
        assert (random == "test").sum() == pytest.approx(0.2 * 5421, abs=41)
        rows = np.flatnonzero(random == "train")
        batches = ClassBatches(found.labels[rows, -1], rows, 2, 0, len(rows))
        assert {len(batch) for batch in batches} == {162}


class TestBadGroceries:
    """Each ends in one sentence that names the place, before anything is written."""

    @pytest.fixture(autouse=True)
    def _nothing_is_left(self, archive, sandbox):
        yield
        assert kept(sandbox / "root") == []

    @pytest.fixture
    def message(self, grocery_parameters):
        from studies.triplets.train import train

        return lambda: refused(train, grocery_parameters)

    def replace(self, file: Path, line: int, by: str | None) -> None:
        lines = file.read_text().splitlines()
        lines[line - 1 : line] = [] if by is None else [by]
        file.write_text("\n".join(lines) + "\n")

    def test_missing_folder(self, archive, message):
        shutil.rmtree(archive.parent)
        assert "studies.inputs.download grocery" in message()

    def test_folder_without_the_dataset(self, archive, message):
        shutil.rmtree(archive)
        assert re.search(r"dataset/classes\.csv: no such file; unpack", message())

    @pytest.mark.parametrize("column", [0, 1, 2, 3])
    def test_wrong_header(self, archive, message, column):
        names = HEADER.split(",")
        renamed = HEADER.replace(names[column], "Klasse", 1)
        self.replace(archive / "classes.csv", 1, renamed)
        assert "classes.csv" in message()
        assert f"no column `{names[column]}`" in message()

    def test_header_missing(self, archive, message):
        self.replace(archive / "classes.csv", 1, None)
        assert "has no column `Class" in message()

    @pytest.mark.parametrize("row", ["Avocado,2", "Avo/cado,2,Avocado,1,,", "Avocado,1,Avocado,1,"])
    def test_bad_row_of_classes(self, archive, message, row):
        self.replace(archive / "classes.csv", 4, row)
        assert "classes.csv line 4" in message()

    @pytest.mark.parametrize(
        "line",
        [
            "train/Fruit/Avocado/Avocado_000.jpg, 2",
            "train/Fruit/Avocado/Avocado_000.jpg, 2, 1, 1",
            "train/Fruit/Avocado/Avocado_000.jpg, 99, 1",
            "train/Fruit/Avocado/Avocado_000.jpg, two, 1",
            "train/Fruit/Avocado/Avocado_000.jpg, 2, one",
            "train/Fruit/Avocado/Avocado_000.jpg, 2, 3",  # the coarse id of another class
            "train/Fruit/Avocado/Avocado_000.jpg 2 1",
            "Avocado_000.jpg, 2, 1",
        ],
    )
    def test_bad_line(self, archive, message, line):
        self.replace(archive / "train.txt", 9, line)
        assert "train.txt line 9: expected `path, fine id, coarse id`" in message()
        assert f"found `{line}`" in message()

    def test_class_in_two_categories(self, archive, draw, message):
        draw(archive / "train/Vegetables/Avocado/Avocado_100.jpg")
        with (archive / "train.txt").open("a") as file:
            file.write("train/Vegetables/Avocado/Avocado_100.jpg, 2, 1\n")
        assert "train.txt line 21" in message()
        assert re.search("lies in Vegetables, others of its class in Fruit", message())

    def test_listed_twice_in_two_classes(self, archive, message):
        with (archive / "val.txt").open("a") as file:
            file.write("train/Fruit/Avocado/Avocado_000.jpg, 1, 0\n")
        assert "Avocado_000.jpg: is listed twice" in message()
        assert "Fruit/Apple/Granny-Smith and Fruit/Avocado/Avocado" in message()

    def test_same_picture_in_two_classes(self, archive, message):
        shutil.copy(
            archive / "train/Fruit/Avocado/Avocado_000.jpg",
            archive / "test/Vegetables/Carrots/Carrots_000.jpg",
        )
        assert "Carrots_000.jpg: the same picture is train/Fruit/Avocado/Avocado_000" in message()

    def test_on_disk_but_unlisted(self, archive, draw, message):
        draw(archive / "test/Fruit/Avocado/forgotten.jpg")
        assert re.search(r"forgotten\.jpg: is in no class; list it in test\.txt", message())

    def test_listed_but_missing(self, archive, message):
        (archive / "val/Vegetables/Carrots/Carrots_000.jpg").unlink()
        assert "Carrots_000.jpg is missing: unpack" in message()

    @pytest.mark.parametrize("name", ["classes.csv", "val.txt"])
    def test_wrong_encoding(self, archive, message, name):
        lines = (archive / name).read_bytes().splitlines()
        lines[2] = lines[2].replace(b"A", "Ä".encode("latin-1"), 1)
        (archive / name).write_bytes(b"\n".join(lines))
        line = next(i for i, text in enumerate(lines, 1) if b"\xc4" in text)
        assert f"{name} line {line}: is not UTF-8" in message()

    @pytest.mark.parametrize("name", ["classes.csv", "train.txt", "val.txt", "test.txt"])
    def test_missing_list(self, archive, message, name):
        (archive / name).unlink()
        assert f"{name}: no such file; unpack" in message()

    def test_nothing_listed(self, archive, message):
        for name in PUBLISHED:
            (archive / f"{name}.txt").write_text("")
            shutil.rmtree(archive / name)
        assert "name no image" in message()


class TestBadPictures:
    """Damage is found while decoding: no run folder, and no cache that a later run would read."""

    @pytest.fixture(autouse=True)
    def _no_run_and_no_cache(self, sandbox):
        yield
        left = [name for name in kept(sandbox / "root") if not name.endswith(".lock")]
        assert [name for name in left if not name.endswith(".partial")] == []

    @pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
    @pytest.mark.parametrize("layout", ["grocery", "folder"])
    def test_damaged(self, archive, parameters, grocery_parameters, damage, layout):
        from studies.triplets.train import train

        file = archive / "train/Fruit/Avocado/Avocado_002.jpg"
        whole = file.read_bytes()
        content = {"truncated": whole[: len(whole) // 2], "text": b"<html>404", "empty": b""}
        file.write_bytes(content[damage])
        folder = parameters(source={"name": "folder", "folder": "grocery/dataset/train"})
        settings = grocery_parameters if layout == "grocery" else folder
        shutil.rmtree(archive / "iconic-images-and-descriptions")
        settings = settings.model_copy(update={"min_count": 0, "validation_share": 0.25})
        message = refused(train, settings)
        assert "Avocado_002.jpg" in message
        assert "fetch it again or remove it" in message
