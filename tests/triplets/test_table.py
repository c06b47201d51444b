"""A CSV of images and labels, as a tree and as groups: good tables, and every wrong row."""

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentences import kept, refused
from studies.triplets import data
from studies.triplets.table import from_table

TREE = [  # file, label1, label2, label3, split
    ("a/1.jpg", "Fruit", "Apple", "Gala", "train"),
    ("a/2.jpg", "Fruit", "Apple", "Fuji", "test"),
    ("a/3.jpg", "Fruit", "Kiwi", "", "val"),
    ("b/4.jpg", "Bag", "", "", "valid"),
    ("b/5.jpg", "Bag", "", "", "validation"),
]
HEADER = ("file", "label1", "label2", "label3", "split")


@pytest.fixture
def write(tmp_path, draw):
    """Return a function that draws the images of TREE and writes a table beside them."""
    for seed, (file, *_) in enumerate(TREE):
        draw(tmp_path / "images" / file, seed=seed)

    def write(rows=TREE, header=HEADER) -> Path:
        table = tmp_path / "images" / "labels.csv"
        with table.open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return table

    return write


def changed(row: int, column: str, value: str) -> list[list[str]]:
    """Return TREE with one cell changed; its first row, 1, is in line 2."""
    rows = [list(cells) for cells in TREE]
    rows[row - 1][HEADER.index(column)] = value
    return rows


class TestTrees:
    def test_levels_padding_and_split(self, write):
        found = from_table(write(), groups=False)
        assert found.nested
        assert found.files == [row[0] for row in TREE]
        assert found.trees == [
            ("Fruit", "Apple", "Gala"),
            ("Fruit", "Apple", "Fuji"),
            ("Fruit", "Kiwi", "Kiwi"),
            ("Bag", "Bag", "Bag"),
            ("Bag", "Bag", "Bag"),
        ]
        assert found.names[1] == ["Bag/Bag", "Fruit/Apple", "Fruit/Kiwi"]
        assert found.official.tolist() == ["train", "test", *["validation"] * 3]
        assert all(path.exists() for path in found.paths)

    def test_columns_in_any_order_and_no_split(self, write):
        rows = [(two, file, one) for file, one, two, *_ in TREE[:3]]
        found = from_table(write(rows, ("label2", "file", "label1")), groups=False)
        assert found.official is None
        assert found.trees == [("Fruit", "Apple"), ("Fruit", "Apple"), ("Fruit", "Kiwi")]

    def test_spaces_quotes_blank_lines_and_a_byte_order_mark(self, write):
        table = write()
        plain = from_table(table, groups=False)
        text = table.read_text().replace("Apple", ' "Apple" ').replace("\n", "\r\n\r\n")
        table.write_text(text.replace(' "Apple" ', '"  Apple "'), encoding="utf-8-sig", newline="")
        assert from_table(table, groups=False).trees == plain.trees
        rows = [(row[0], "Fruit, fresh", *row[2:]) for row in TREE[:3]]
        assert from_table(write(rows), groups=False).names[0] == ["Fruit, fresh"]

    def test_other_spellings_of_a_path(self, write):
        found = from_table(write(changed(1, "file", "./a/../a//1.jpg")), groups=False)
        assert found.files[0] == "a/1.jpg"

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.lists(st.sampled_from("xyz"), min_size=1, max_size=3), max_size=8))
    def test_the_same_as_an_image_folder(self, tmp_path_factory, branches):
        """A table that lists an image folder gives what reading the folder gives."""
        from studies.triplets.sources import from_folder

        branches = [["x", "y", "y"], ["z", "x"], *branches]
        branches = [b for b in branches if not any(b != c and b == c[: len(b)] for c in branches)]
        root = tmp_path_factory.mktemp("table")
        rows = [["file", "label1", "label2", "label3"]]
        for i, branch in enumerate(branches):
            folder = root.joinpath(*branch)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{i}.jpg").write_bytes(bytes([i]))
            cells = [*branch, "", ""][:3]
            rows.append(["/".join([*branch, f"{i}.jpg"]), *cells])
        with (root / "labels.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
        table, folder = from_table(root / "labels.csv", groups=False), from_folder(root)
        assert dict(zip(table.files, map(tuple, table.labels.tolist()), strict=True)) == dict(
            zip(folder.files, map(tuple, folder.labels.tolist()), strict=True)
        )
        assert table.names == folder.names


class TestGroups:
    ROWS = (
        ("a/1.jpg", "red", "round"),
        ("a/2.jpg", "red", ""),
        ("a/3.jpg", "", "round"),
        ("b/4.jpg", "green", "long"),
        ("b/5.jpg", "red", "round"),
    )

    def test_labels_are_plain_and_the_class_is_their_combination(self, write):
        found = from_table(write(self.ROWS, HEADER[:3]), groups=True)
        assert not found.nested
        assert found.names == [["green", "other", "red"], ["long", "other", "round"]]
        assert found.labels.tolist() == [[2, 2], [2, 1], [1, 2], [0, 0], [2, 2]]
        assert found.class_names == ["green/long", "other/round", "red/other", "red/round"]
        assert found.class_index.tolist() == [3, 2, 1, 0, 3]
        assert found.counts == {0: 1, 1: 1, 2: 1, 3: 2}

    def test_other_is_a_label_like_any(self, write):
        rows = [(file, one or "other", two or "other") for file, one, two in self.ROWS]
        spelt = from_table(write(rows, HEADER[:3]), groups=True)
        left_out = from_table(write(self.ROWS, HEADER[:3]), groups=True)
        assert spelt.trees == left_out.trees

    def test_an_upper_group_may_be_empty_but_not_all(self, write):
        rows = [*self.ROWS[:3], ("b/4.jpg", "", "")]
        said = refused(from_table, write(rows, HEADER[:3]), True)
        assert "labels.csv line 5: has no label; give one or remove the line" in said

    def test_same_picture_in_two_combinations(self, write):
        table = write(self.ROWS, HEADER[:3])
        shutil.copy(table.parent / "a/1.jpg", table.parent / "b/4.jpg")
        assert "b/4.jpg: the same picture is a/1.jpg" in refused(from_table, table, True)


class TestWhatIsRefused:
    """Each is one sentence with the table, the line and the remedy."""

    @pytest.mark.parametrize(
        ("row", "column", "value", "words"),
        [
            (1, "file", "", "line 2: `` is no path below"),
            (2, "file", "../secret.jpg", "line 3: `../secret.jpg` is no path below"),
            (2, "file", "a/../../b.jpg", "line 3: `a/../../b.jpg` is no path below"),
            (2, "file", "/etc/passwd", "line 3: `/etc/passwd` is no path below"),
            (3, "file", "a/9.jpg", r"line 4: there is no image \S+/a/9\.jpg; put it there"),
            (3, "file", "a", "line 4: there is no image"),
            (3, "file", "a/1.jpg", r"line 4: `a/1.jpg` is in line 2 already; keep one"),
            (3, "file", "./a/1.jpg", r"line 4: `a/1.jpg` is in line 2 already; keep one"),
            (1, "label1", "", "line 2: label1 is empty; only the lowest"),
            (1, "label2", "", "line 2: label2 is empty; only the lowest"),
            (1, "label2", "Apple/Pear", "line 2: the label `Apple/Pear` holds a `/`"),
            (1, "label3", "", "line 2: Fruit/Apple has lower labels in other lines"),
            (5, "split", "tset", "line 6: split should be train, val or test, not `tset`"),
            (5, "split", "", "line 6: split should be train, val or test, not ``"),
        ],
    )
    def test_wrong_cells(self, write, row, column, value, words):
        said = refused(from_table, write(changed(row, column, value)), False)
        assert re.search(words, said)
        assert "labels.csv line " in said

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            ("file", "path", "unknown column `path`; columns are file, label1, label2, …"),
            ("label1", "Label1", "unknown column `Label1`"),
            ("label3", "label4", "unknown column `label4`; .* without a gap"),
            ("label2", "label02", "unknown column `label02`"),
            ("split", "spilt", "unknown column `spilt`"),
            ("split", "", "unknown column ``"),
            ("split", "file", "two columns `file`"),
            ("label2", "label1", "two columns `label1`"),
        ],
    )
    def test_wrong_columns(self, write, old, new, words):
        header = [new if name == old else name for name in HEADER]
        assert re.search(words, refused(from_table, write(header=header), False))

    @pytest.mark.parametrize(("left", "missing"), [((0, 4), "label1"), ((1, 2, 3, 4), "file")])
    def test_missing_columns(self, write, left, missing):
        rows = [[row[i] for i in left] for row in TREE]
        said = refused(from_table, write(rows, [HEADER[i] for i in left]), False)
        assert f"labels.csv: has no column `{missing}`" in said

    def test_semicolons(self, write):
        table = write()
        table.write_text(table.read_text().replace(",", ";"))
        assert "unknown column `file;label1;" in refused(from_table, table, False)

    @pytest.mark.parametrize(
        "row", [("a/2.jpg", "Fruit"), ("a/2.jpg", "Fruit", "a", "b", "c", "d")]
    )
    def test_too_few_or_too_many_cells(self, write, row):
        said = refused(from_table, write([TREE[0], row]), False)
        assert f"labels.csv line 3: has {len(row)} cells, the first line 5" in said

    @pytest.mark.parametrize("rows", [[], [[]]])
    def test_no_rows(self, write, rows):
        assert "labels.csv: lists no image" in refused(from_table, write(rows), False)

    def test_an_empty_file(self, write):
        table = write()
        table.write_text("")
        assert "labels.csv: lists no image" in refused(from_table, table, False)

    def test_not_utf8(self, write):
        table = write()
        table.write_bytes(table.read_bytes().replace(b"Kiwi", b"K\xefwi"))
        assert "labels.csv line 4: is not UTF-8" in refused(from_table, table, False)

    def test_a_line_with_line_breaks_in_quotes_does_not_move_the_others(self, write):
        rows = changed(2, "split", "tset")
        rows[0][3] = "Ga\nla"
        assert "labels.csv line 4: split should be" in refused(from_table, write(rows), False)

    def test_same_picture_in_two_classes(self, write):
        table = write()
        shutil.copy(table.parent / "a/1.jpg", table.parent / "a/2.jpg")
        assert "a/2.jpg: the same picture is a/1.jpg" in refused(from_table, table, False)

    def test_no_table(self, sandbox, parameters):
        source = {"name": "table", "file": "my/labels.csv", "groups": False}
        said = refused(data.read, parameters(source=source))
        assert f"{sandbox}/data/my/labels.csv: no such file; put the table there" in said
        assert kept(sandbox / "root") == []


COLOURS = {"red": (220, 40, 40), "blue": (40, 40, 220), "": (60, 200, 60)}


@pytest.fixture
def grouped(sandbox, draw) -> Path:
    """Colours by brightness, two groups: 6 combinations of 12 images, one in four for the test."""
    rows = [("file", "label1", "label2", "split")]
    for c, (colour, pixel) in enumerate(COLOURS.items()):
        for b, bright in enumerate(("bright", "dark")):
            for i in range(12):
                file = f"{c}{b}/{i:02}.png"
                shade = np.array(pixel) // (1 + 2 * b)
                draw(sandbox / "data/my" / file, shade, seed=100 * c + 10 * b + i)
                rows.append((file, colour, bright, "train" if i % 4 else "test"))
    table = sandbox / "data/my/labels.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return table


SOURCE = {"name": "table", "file": "my/labels.csv", "groups": True}
LOSSES = {
    "cross_entropy": {"name": "cross_entropy"},
    "sum": {"name": "flexible_margin", "margins": [1.0, 1.0], "combine": "sum", "take": "closest"},
    "max": {"name": "flexible_margin", "margins": [0.5, 1.0], "combine": "max", "take": "closest"},
}


class TestRunsOnGroups:
    @pytest.mark.parametrize("split", ["official", "random"])
    def test_split_is_by_combination(self, grouped, parameters, split):
        settings = parameters(source=SOURCE, split=split, test_share=0.25)
        found = data.read(settings)
        assert data.root(settings) == found.root == grouped.parent
        parts = data.split(found, settings)
        assert len(found.classes) == 6
        for label in range(6):
            assert (parts[found.class_index == label] == "test").sum() == 3

    @pytest.mark.parametrize("loss", LOSSES)
    def test_trains_and_scores(self, grouped, parameters, loss):
        from studies.runs.folder import load_run
        from studies.triplets.evaluate import evaluate

        system = "cross_entropy" if loss == "cross_entropy" else "flexible"
        settings = parameters(
            system, source=SOURCE, split="official", loss=LOSSES[loss], epochs=6, min_count=0
        )
        run = load_run(evaluate(settings))
        frame = run.predictions
        assert sorted(frame["true_level1"].unique()) == ["blue", "other", "red"]
        assert sorted(frame["true_level2"].unique()) == ["bright", "dark"]
        right = [frame[f"true_level{k}"] == frame[f"predicted_level{k}"] for k in (1, 2)]
        assert run.metrics["accuracy_level1"] == pytest.approx(right[0].mean())
        assert run.metrics["accuracy_level2"] == pytest.approx(right[1].mean())
        assert run.metrics["accuracy"] == pytest.approx((right[0] & right[1]).mean())
        assert run.metrics["severe_errors"] == (~right[0]).sum()
        assert run.metrics["n_classes"] == 6
        assert run.metrics["accuracy"] > 1 / 6
