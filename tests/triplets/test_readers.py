"""Files become labelled images: published layouts, image folders, own tables; and what is wrong."""

import csv
import os
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sentences import kept, refused
from studies import paths
from studies.triplets import data, readers
from studies.triplets.readers import LabelledImages, from_folder, from_table


def real(file: str) -> Path | None:
    """A file of a real dataset, where there is one."""
    places = [os.environ.get("STUDIES_DATA", "."), paths.REPOSITORY.parent / "shared/data"]
    found = [Path(place, file) for place in [*places, paths.REPOSITORY / "data"]]
    return next((one for one in found if one.exists()), None)


@pytest.fixture
def read(parameters):
    """Return a function that reads a source by its parameters."""
    return lambda **source: data.read(parameters(source=source, min_count=0))


@pytest.fixture
def message(read, sandbox):
    """Return a function that reads a source and gives the sentence of what is wrong with it."""
    yield lambda **source: refused(lambda: read(**source))
    assert kept(sandbox / "root") == []


def edit(file: Path, number: int, *lines: str) -> None:
    """Put lines in the place of one, counted from 1."""
    text = file.read_text().splitlines()
    text[number - 1 : number] = lines
    file.write_text("\n".join(text) + "\n")


class TestLabelledImages:
    LABEL = st.sampled_from(["a", "b", "c-", "c", "other"])

    @given(st.data(), st.integers(1, 3), st.booleans())
    def test_labels_and_classes(self, data, depth, nested):
        tree = st.tuples(*[self.LABEL] * depth)
        trees = data.draw(st.lists(tree, min_size=1, max_size=20))
        found = LabelledImages(Path("/x"), [f"{i}.jpg" for i in trees], trees, None, nested)
        assert found.labels.shape == (len(trees), depth)
        for level in range(depth):
            start = 0 if nested else level
            names = ["/".join(one[start : level + 1]) for one in trees]
            assert found.names[level] == sorted(set(names))
            assert [found.names[level][i] for i in found.labels[:, level]] == names
        names = ["/".join(one) for one in trees]
        assert found.class_names == sorted(set(names))
        assert [found.class_names[i] for i in found.class_index] == names
        assert (found.classes[found.class_index] == found.labels).all()
        assert found.counts == Counter(found.class_index.tolist())
        for array in (found.labels, found.classes, found.class_index):
            assert array.dtype == np.int64  # which torch takes


class TestFolders:
    def tree(self, root: Path, draw, files: str) -> LabelledImages:
        for seed, file in enumerate(files.split()):
            draw(root / file, seed=seed)
        return from_folder(root)

    def test_ragged_tree_repeats_the_lowest_label(self, tmp_path, draw):
        found = self.tree(tmp_path, draw, "a/b/c/1.jpg a/d/2.jpg e/3.png a/b/f/4.JPEG c/b/5.jpg")
        assert dict(zip(found.files, found.trees, strict=True)) == {
            "a/b/c/1.jpg": ("a", "b", "c"),
            "a/b/f/4.JPEG": ("a", "b", "f"),
            "a/d/2.jpg": ("a", "d", "d"),
            "c/b/5.jpg": ("c", "b", "b"),
            "e/3.png": ("e", "e", "e"),
        }
        assert found.official is None

    @pytest.mark.parametrize(
        ("train", "validation", "test"),
        [
            ("train", "val", "test"),
            ("Training", "VALID", "Testing"),
            ("photos/new/train", "photos/new/validation", "photos/new/test"),
        ],
    )
    def test_parts_are_the_official_split(
        self, tmp_path, draw, parameters, train, validation, test
    ):
        files = [f"{train}/{c}/{i}.jpg" for c in "12" for i in range(10)]
        files += [f"{validation}/1/v.jpg", f"{test}/1/t.jpg", f"{test}/2/t.jpg"]
        found = self.tree(tmp_path, draw, f"{' '.join(files)} .thumbs/1.jpg")
        assert found.names == [["1", "2"]]
        assert found.counts == {0: 12, 1: 11}
        assert Counter(found.official) == {"train": 20, "validation": 1, "test": 2}
        parts = data.split(found, parameters(split="official", validation_share=0.1))
        assert sorted(np.array(found.files)[parts == "test"]) == files[-2:]
        assert Counter(parts) == {"train": 19, "validation": 2, "test": 2}

    @pytest.mark.parametrize(
        ("there", "words"),
        [
            (None, "colours: no such file or folder"),
            ("a/notes.txt", "colours: holds no images"),
            ("stray.jpg a/1.jpg", r"colours/stray\.jpg: is in no class"),
            ("train/a/1.jpg test/2.jpg", r"test/2\.jpg: is in no class"),
            ("train/1.jpg test/2.jpg", r"/2\.jpg: is in no class"),
            ("train/a/1.jpg test/a/2.jpg new/3.jpg", "colours: test, train are named like parts"),
            ("test/a/1.jpg val/a/2.jpg", "colours: test, val are named like parts"),
            ("a/Train/1.jpg a/test/2.jpg b/3.jpg", "colours: Train, test are named like parts"),
            ("train/train/a/1.jpg test/test/a/2.jpg", "colours: test, train are named like parts"),
            ("train/a/Dog/1.jpg test/a/dog/2.jpg", "`a/Dog` and `a/dog` differ only by case"),
            ("a/1.jpg a/2.jpg", "colours: all images are of one class, `a`"),
        ],
    )
    def test_what_is_refused(self, sandbox, draw, message, there, words):
        for seed, file in enumerate((there or "").split()):
            draw(sandbox / "data/colours" / file.replace(".txt", ".png"), seed=seed)
        for file in sandbox.rglob("notes.png"):
            file.rename(file.with_suffix(".txt"))
        assert re.search(words, message(name="folder", folder="colours"))

    def test_a_level_of_one_label_is_none(self, tmp_path, draw):
        files = "photos/wild/fox/1.jpg photos/wild/newt/2.jpg photos/3/4.jpg"
        found = self.tree(tmp_path, draw, files)
        assert found.names == [["3", "wild"], ["3/3", "wild/fox", "wild/newt"]]
        assert found.notes == ["no level, since all have it: photos"]

    def test_labels_that_look_alike_are_one(self, tmp_path, draw):
        names = ["caf\u00e9", "cafe\u0301", "caf\u00e9\u200b"]
        found = self.tree(tmp_path, draw, " ".join(f"{k}/{names[k]}/1.jpg" for k in range(3)))
        assert {tree[1] for tree in found.trees} == {"caf\u00e9"}
        assert found.notes == ["spellings taken as one: caf\u00e9"]

    def test_one_line_says_what_was_read(self, sandbox, draw, read, capsys):
        for seed, file in enumerate(("train/a/1.jpg", "train/b/2.jpg", "test/a/3.jpg")):
            draw(sandbox / "data/colours" / file, seed=seed)
        (sandbox / "data/colours/train/a/4.heic").touch()
        (sandbox / "data/colours/test/b").mkdir()
        for _ in range(2):
            read(name="folder", folder="colours")
        line = "images 3, classes 2, levels 1, train 2, validation 0, test 1"
        left_out = "left out: 1 .heic; no image in: test/b"
        assert capsys.readouterr().out == f"colours: {line}; {left_out}\n"

    def test_the_same_picture_in_two_classes(self, sandbox, draw, read, message):
        folder, source = sandbox / "data/colours", {"name": "folder", "folder": "colours"}
        for seed, file in enumerate(("a/1.jpg", "b/2.jpg")):
            draw(folder / file, seed=seed)
        shutil.copy(folder / "a/1.jpg", folder / "a/copy.jpg")
        assert len(read(**source).files) == 3  # within a class it is no error
        shutil.copy(folder / "a/1.jpg", folder / "b/copy.jpg")
        assert "b/copy.jpg: the same picture is a/1.jpg" in message(**source)


GOODS = [  # fine name, category, coarse name, coarse id
    ("Golden-Delicious", "Fruit", "Apple", 0),
    ("Granny-Smith", "Fruit", "Apple", 0),
    ("Avocado", "Fruit", "Avocado", 1),
    ("Arla-Standard-Milk", "Packages", "Milk", 2),
    ("Carrots", "Vegetables", "Carrots", 3),
]
COLUMNS = (
    "Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int),"
    "Iconic Image Path (str),Product Description Path (str)"
)


@pytest.fixture
def grocery(sandbox, draw) -> Path:
    """The published layout of the groceries, with five classes of eight images."""
    root = sandbox / "data" / "grocery" / "dataset"
    rows, lines, seed = [COLUMNS], {"train": [], "val": [], "test": []}, 0
    for fine_id, (fine, category, coarse, coarse_id) in enumerate(GOODS):
        rows.append(f"{fine},{fine_id},{coarse},{coarse_id},/iconic.jpg,/description.txt")
        folder = f"{category}/{fine}" if fine == coarse else f"{category}/{coarse}/{fine}"
        for name, count in {"train": 4, "val": 1, "test": 3}.items():
            for i in range(count):
                seed += 1
                file = f"{name}/{folder}/{fine}_{i:03}.jpg"
                draw(root / file, (20 * fine_id, 100, 90), seed=seed)
                lines[name].append(f"{file}, {fine_id}, {coarse_id}")
    draw(root / "iconic-images-and-descriptions/Fruit/Apple/icon.jpg")  # published, of no split
    (root / "classes.csv").write_text("\n".join(rows) + "\n")
    for name, listed in lines.items():
        (root / f"{name}.txt").write_text("\n".join(listed) + "\n")
    return root


class TestGroceries:
    def test_small_archive(self, grocery, read):
        found = read(name="grocery")
        assert len(found.files) == 40
        assert Counter(found.official) == {"train": 20, "validation": 5, "test": 15}
        assert found.names[0] == ["Fruit", "Packages", "Vegetables"]
        truth = {fine: (category, coarse, fine) for fine, category, coarse, _ in GOODS}
        for file, tree in zip(found.files, found.trees, strict=True):
            assert tree == truth[Path(file).name.rpartition("_")[0]]
        assert all(path.exists() for path in found.paths)
        # a byte order mark and spaces do no harm
        file = grocery / "classes.csv"
        file.write_text(file.read_text(), encoding="utf-8-sig")
        text = (grocery / "train.txt").read_text().replace(", ", " ,  ")
        (grocery / "train.txt").write_text(text.replace("\n", "\r\n"), newline="")
        assert read(name="grocery").trees == found.trees

    @pytest.mark.skipif(not real("grocery"), reason="no grocery/ below STUDIES_DATA or ../shared")
    def test_real_dataset(self, parameters):
        found = readers.grocery(real("grocery"))
        assert len(found.files) == 5421
        assert [len(names) for names in found.names] == [3, 43, 81]
        assert sum(count > 50 for count in found.counts.values()) == 57
        assert Counter(found.official) == {"train": 2640, "validation": 296, "test": 2485}
        official = data.split(found, parameters(split="official", validation_share=0.1))
        assert ((official == "test") == (found.official == "test")).all()
        assert 0.09 < (official == "validation").sum() / 2936 < 0.11
        random = data.split(found, parameters(split="random", validation_share=0.1))
        assert (random == "test").sum() == pytest.approx(0.2 * 5421, abs=41)

    @pytest.mark.parametrize(
        ("name", "line", "text", "words"),
        [
            ("classes.csv", 1, COLUMNS.replace("Class Name", "Klasse", 1), "no column `Class Name"),
            ("classes.csv", 4, "Avocado,1,Avocado,1,,", "line 4"),  # an id of another class
            ("train.txt", 9, "train/Fruit/Avocado/Avocado_000.jpg, 2, 3", "line 9"),  # other coarse
            ("train.txt", 9, "train/Vegetables/Avocado/a.jpg, 2, 1", "others of its class"),
            ("val.txt", 2, "train/Fruit/Avocado/Avocado_000.jpg, 1, 0", "is listed twice"),
            ("test.txt", 2, None, "is in no class; list it"),
        ],
    )
    def test_wrong_lines(self, grocery, message, name, line, text, words):
        edit(grocery / name, line, *([] if text is None else [text]))
        said = message(name="grocery")
        assert words in said
        assert name in said or text is None

    @pytest.mark.parametrize("name", ["classes.csv", "train.txt", "val.txt", "test.txt"])
    def test_missing_and_misencoded_lists(self, grocery, message, name):
        content = (grocery / name).read_bytes()
        (grocery / name).write_bytes(b"\xff\n" + content)
        assert f"{name} line 1: is not UTF-8" in message(name="grocery")
        (grocery / name).unlink()
        assert f"{name}: no such file or directory; unpack" in message(name="grocery")
        shutil.rmtree(grocery.parent)
        assert "studies.inputs.download grocery" in message(name="grocery")

    @pytest.mark.parametrize("damage", ["truncated", "empty", "missing"])
    @pytest.mark.parametrize("layout", ["grocery", "folder"])
    def test_damaged_pictures_leave_no_run_and_no_cache(
        self, grocery, parameters, damage, layout, sandbox
    ):
        from studies.triplets.train import train

        shutil.rmtree(grocery / "iconic-images-and-descriptions")
        file = grocery / "train/Fruit/Avocado/Avocado_002.jpg"
        content = file.read_bytes()
        file.unlink()
        if damage != "missing":
            file.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"")
        elif layout == "folder":
            file.symlink_to(sandbox / "nowhere.jpg")
        source = {"name": "grocery"}
        if layout == "folder":
            source = {"name": "folder", "folder": "grocery/dataset/train"}
        chosen = parameters(source=source, min_count=0, validation_share=0.25)
        assert "Avocado_002.jpg" in refused(train, chosen)
        ends = {Path(name).suffix for name in kept(sandbox / "root")}
        assert ends <= {".lock", ".partial"}


LOWER, UPPER = "lower-gi-tract", "upper-gi-tract"
FINDINGS = {  # folder: what the list of folds calls it, images
    f"{LOWER}/anatomical-landmarks/cecum": ("normal-cecum", 12),
    f"{LOWER}/pathological-findings/hemorrhoids": ("hemorroids", 6),
    f"{LOWER}/pathological-findings/polyps": ("polyp", 20),
    f"{UPPER}/anatomical-landmarks/z-line": ("normal-z-line", 11),
    f"{UPPER}/pathological-findings/esophagitis-a": ("oesophagitis-a", 10),
}
RENAMED = {  # every class that is called otherwise in the published list than its folder
    **{Path(place).name: name for place, (name, _) in FINDINGS.items()},
    "barretts-short-segment": "short-segment-barretts",
    "esophagitis-b-d": "oesophagitis-b-d",
    "pylorus": "normal-pylorus",
}
GRADES = ("0-1", "1", "1-2", "2", "2-3", "3")
COLITIS = " ".join(f"ulcerative-colitis-grade-{grade}" for grade in GRADES)
PLACES = {
    f"{LOWER}/anatomical-landmarks": "cecum ileum retroflex-rectum",
    f"{LOWER}/pathological-findings": f"hemorrhoids polyps {COLITIS}",
    f"{LOWER}/quality-of-mucosal-views": "bbps-0-1 bbps-2-3 impacted-stool",
    f"{LOWER}/therapeutic-interventions": "dyed-lifted-polyps dyed-resection-margins",
    f"{UPPER}/anatomical-landmarks": "pylorus retroflex-stomach z-line",
    f"{UPPER}/pathological-findings": "barretts barretts-short-segment esophagitis-a "
    "esophagitis-b-d",
}
FOLDS = "hyperkvasir/2_fold_split.csv"


@pytest.fixture
def kvasir(sandbox, draw) -> Path:
    """The published layout with five classes; images take turns between the folds."""
    folder = sandbox / "data" / "hyperkvasir"
    lines = ["file-name;class-name;split-index"]
    for c, (place, (name, count)) in enumerate(FINDINGS.items()):
        for i in range(count):
            file = f"{c:04}{i:04}-uuid.jpg"
            draw(folder / "labeled-images" / place / file, (40 * c, 90, 60), seed=100 * c + i)
            lines.append(f"{file};{name};{i % 2}")
    (folder / "labeled-images/image-labels.csv").write_text("Video file,Organ,Finding,Class\n")
    (folder / "2_fold_split.csv").write_text("\n".join(lines) + "\n")
    return folder


class TestHyperKvasir:
    @pytest.mark.parametrize("fold", [0, 1])
    def test_three_levels_and_one_fold_to_test_on(self, kvasir, read, parameters, fold):
        source = {"name": "hyperkvasir", "test_fold": fold}
        found = read(**source)
        assert found.class_names == sorted(FINDINGS)
        assert [found.counts[found.class_names.index(place)] for place in FINDINGS] == [
            count for _, count in FINDINGS.values()
        ]
        for file, tree, part in zip(found.files, found.trees, found.official, strict=True):
            assert "/".join(tree) == file.rpartition("/")[0]
            number = int(Path(file).name[4:8])
            assert part == ("test" if number % 2 == fold else "train")
        assert data.root(parameters(source=source)) == found.root == kvasir / "labeled-images"
        # the order of lines does not matter, nor how they end
        header, *lines = (kvasir / "2_fold_split.csv").read_text().splitlines()
        rewritten = "\r\n".join([header, *reversed(lines)])
        (kvasir / "2_fold_split.csv").write_text(rewritten, encoding="utf-8-sig", newline="")
        again = read(**source)
        assert (again.files, again.official.tolist()) == (found.files, found.official.tolist())

    @pytest.mark.skipif(not real(FOLDS), reason="no hyperkvasir/ below STUDIES_DATA or ../shared")
    def test_the_published_list(self, tmp_path, parameters):
        folder = tmp_path / "hyperkvasir"
        names = {
            RENAMED.get(name, name): folder / "labeled-images" / place / name
            for place, inside in PLACES.items()
            for name in inside.split()
        }
        for place in names.values():
            place.mkdir(parents=True)
        folds = {}
        for line in real(FOLDS).read_text().splitlines()[1:]:
            file, name, fold = line.split(";")
            (names[name] / file).touch()
            folds[file] = fold
        shutil.copy(real(FOLDS), folder)
        found = readers.hyperkvasir(folder, 1)
        assert len(found.files) == 10662
        assert [len(level) for level in found.names] == [2, 6, 23]
        assert min(found.counts.values()) == 6
        assert sum(count > 50 for count in found.counts.values()) == 17
        assert Counter(found.official) == {"train": 5324, "test": 5338}
        parts = data.split(found, parameters(split="official", validation_share=0.1))
        for file, part in zip(found.files, parts, strict=True):
            assert (part == "test") == (folds[Path(file).name] == "1")
        assert set(found.class_index[parts == "train"]) == set(range(23))

    @pytest.mark.parametrize(
        ("line", "texts", "words"),
        [
            (1, ["file-name;fold;split-index"], "has no column `class-name`"),
            (4, ["00000002-uuid.jpg;normal-cecum;2"], "line 4: split-index should be 0 or 1"),
            (4, ["00000002-uuid.jpg;normal-cecum;0"] * 2, "line 5: `00000002-uuid.jpg`"),
            (4, ["00000099-uuid.jpg;normal-cecum;0"], "line 4: `00000099-uuid.jpg` should be one"),
            (4, [], "cecum/00000002-uuid.jpg: `00000002-uuid.jpg` should"),
            (21, ["00020001-uuid.jpg;normal-cecum;0"], "00020001-uuid.jpg: is of class normal-"),
        ],
    )
    def test_wrong_lines(self, kvasir, message, line, texts, words):
        edit(kvasir / "2_fold_split.csv", line, *texts)
        assert words in message(name="hyperkvasir", test_fold=1)

    def test_wrong_images(self, kvasir, draw, message):
        labeled, source = kvasir / "labeled-images", {"name": "hyperkvasir", "test_fold": 1}
        twin = labeled / LOWER / "anatomical-landmarks/cecum/00020001-uuid.jpg"
        shutil.copy(next(labeled.rglob("00020001*")), twin)
        assert "polyps/00020001-uuid.jpg: `00020001-uuid.jpg` should be one" in message(**source)
        twin.unlink()
        draw(labeled / LOWER / "stray.jpg")
        assert "stray.jpg: expected `<tract>/<finding group>" in message(**source)
        shutil.rmtree(labeled)
        assert f"is not at {labeled}" in message(**source)
        labeled.mkdir()
        assert "labeled-images: holds no images; unpack" in message(**source)


TREE = [  # file, label1, label2, label3, split
    ("a/1.jpg", "Fruit", "Apple", "Gala", "train"),
    ("a/2.jpg", "Fruit", "Apple", "Fuji", "test"),
    ("a/3.jpg", "Fruit", "Kiwi", "", "val"),
    ("b/4.jpg", "Bag", "", "", "valid"),
    ("b/5.jpg", "Bag\u200b", "", "", "Validation"),
]
GROUPS = [("a/1.jpg", "red", "round"), ("a/2.jpg", "red", ""), ("a/3.jpg", "", "round")]
HEADER = ("file", "label1", "label2", "label3", "split")


def write_rows(file: Path, rows) -> Path:
    with file.open("w", newline="") as table:
        csv.writer(table).writerows(rows)
    return file


@pytest.fixture
def write(tmp_path, draw):
    """Return a function that draws the images of TREE and writes a table beside them."""
    for seed, (file, *_) in enumerate(TREE):
        draw(tmp_path / "images" / file, seed=seed)
    return lambda rows=TREE, header=HEADER: write_rows(
        tmp_path / "images" / "labels.csv", [header, *rows]
    )


class TestTables:
    def test_levels_padding_and_split(self, write):
        found = from_table(write(), groups=False)
        assert found.nested
        assert found.files == [row[0] for row in TREE]
        bag = ("Bag", "Bag", "Bag")
        assert found.trees == [TREE[0][1:4], TREE[1][1:4], ("Fruit", "Kiwi", "Kiwi"), bag, bag]
        assert found.official.tolist() == ["train", "test", *["validation"] * 3]

    @settings(max_examples=30, deadline=None)
    @given(st.sets(st.lists(st.sampled_from("xyz"), min_size=1, max_size=4).map(tuple), min_size=1))
    def test_a_table_that_lists_an_image_folder_gives_the_same(self, tmp_path_factory, branches):
        # a class has images, so none may be the inner folder of another
        assume(not any(a != b and a == b[: len(a)] for a in branches for b in branches))
        root = tmp_path_factory.mktemp("table")
        rows = [["file", "label1", "label2", "label3", "label4"]]
        for i, branch in enumerate(sorted(branches)):
            (root / "/".join(branch)).mkdir(parents=True)
            (root / "/".join(branch) / f"{i}.jpg").write_bytes(bytes([i]))
            rows.append([f"{'/'.join(branch)}/{i}.jpg", *branch, "", "", ""][:5])
        depth = max(map(len, branches))
        written = write_rows(root / "labels.csv", [row[: depth + 1] for row in rows])
        table = from_table(written, groups=False)
        folder = from_folder(root)
        assert dict(zip(table.files, table.trees, strict=True)) == dict(
            zip(folder.files, folder.trees, strict=True)
        )
        expected = {b + (b[-1],) * (depth - len(b)) for b in branches}
        while len({b[0] for b in expected}) == 1 and len(min(expected)) > 1:
            expected = {b[1:] for b in expected}
        assert set(folder.trees) == expected

    def test_groups_of_labels(self, write):
        found = from_table(write(GROUPS, HEADER[:3]), groups=True)
        assert not found.nested
        assert found.names == [["other", "red"], ["other", "round"]]
        assert found.class_names == ["other/round", "red/other", "red/round"]
        assert from_table(write(GROUPS[:2], HEADER[:3]), groups=True).names == [["other", "round"]]
        empty = write([*GROUPS, ("b/4.jpg", "", "")], HEADER[:3])
        assert "labels.csv line 5: is in no class" in refused(from_table, empty, True)

    @pytest.mark.parametrize(
        ("row", "column", "value", "words"),
        [
            (2, "file", "a/../../b.jpg", "line 3: `a/../../b.jpg` is no path below"),
            (2, "file", "/etc/passwd", "line 3: `/etc/passwd` is no path below"),
            (3, "file", "a/9.jpg", "line 4: there is no image"),
            (3, "file", "./a/1.jpg", "line 4: `a/1.jpg` is listed twice"),
            (1, "label1", "", "line 2: is in no class"),
            (1, "label2", "Apple/Pear", "line 2: a label holds a `/`"),
            (5, "split", "tset", "line 6: split should be"),
            (5, "label1", "bag", "line 6: `bag` and `Bag` differ only by case"),
            (2, "label3", "Ga\u200dla ", "line 3: `Fruit/Apple/Ga\u200dla` and `Fruit/Apple/Gala`"),
        ],
    )
    def test_wrong_cells(self, write, row, column, value, words):
        rows = [list(cells) for cells in TREE]
        rows[row - 1][HEADER.index(column)] = value
        assert f"labels.csv {words}" in refused(from_table, write(rows), False)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", ": needs rows below"),
            ("file,label1,label3\na/1.jpg,x,y\n", ": unknown column `label3`; did you mean"),
            ("file,label1,file\na/1.jpg,x,y\n", ": needs rows below a line of different"),
            ("file,label1,label2\na/1.jpg,x\n", " line 2: has 2 cells"),
            ('file,label1,label2\na/1.jpg,"x\ny",z\na/2.jpg,,z\n', " line 4: is in no class"),
            ("file,label1\na/1.jpg,K\udcefwi\n", " line 2: is not UTF-8"),
        ],
    )
    def test_wrong_files(self, write, text, words):
        table = write()
        table.write_bytes(text.encode(errors="surrogateescape"))
        assert f"labels.csv{words}" in refused(from_table, table, False)
