"""HyperKvasir in its published layout: small trees by hand, and the published list of folds."""

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

LOWER = "lower-gi-tract"
UPPER = "upper-gi-tract"
# folder and what the list of folds calls it, images
CLASSES = {
    f"{LOWER}/anatomical-landmarks/cecum": ("normal-cecum", 12),
    f"{LOWER}/pathological-findings/hemorrhoids": ("hemorroids", 6),
    f"{LOWER}/pathological-findings/polyps": ("polyp", 20),
    f"{UPPER}/anatomical-landmarks/z-line": ("normal-z-line", 11),
    f"{UPPER}/pathological-findings/esophagitis-a": ("oesophagitis-a", 10),
}
# every class that is called otherwise in the list than its folder
RENAMED = {
    "barretts-short-segment": "short-segment-barretts",
    "cecum": "normal-cecum",
    "esophagitis-a": "oesophagitis-a",
    "esophagitis-b-d": "oesophagitis-b-d",
    "hemorrhoids": "hemorroids",
    "polyps": "polyp",
    "pylorus": "normal-pylorus",
    "z-line": "normal-z-line",
}
PLACES = {
    f"{LOWER}/anatomical-landmarks": "cecum ileum retroflex-rectum",
    f"{LOWER}/pathological-findings": "hemorrhoids polyps "
    + " ".join(f"ulcerative-colitis-grade-{g}" for g in ("0-1", "1", "1-2", "2", "2-3", "3")),
    f"{LOWER}/quality-of-mucosal-views": "bbps-0-1 bbps-2-3 impacted-stool",
    f"{LOWER}/therapeutic-interventions": "dyed-lifted-polyps dyed-resection-margins",
    f"{UPPER}/anatomical-landmarks": "pylorus retroflex-stomach z-line",
    f"{UPPER}/pathological-findings": "barretts barretts-short-segment esophagitis-a "
    "esophagitis-b-d",
}


def published_list() -> Path | None:
    shared = paths.REPOSITORY.parent / "shared" / "data"
    named = [Path(os.environ["STUDIES_DATA"])] if "STUDIES_DATA" in os.environ else []
    files = [
        base / "hyperkvasir/2_fold_split.csv"
        for base in [*named, shared, paths.REPOSITORY / "data"]
    ]
    return next((file for file in files if file.exists()), None)


PUBLISHED = published_list()


@pytest.fixture
def archive(sandbox, draw) -> Path:
    """The published layout with five classes; images take turns between the folds."""
    folder = sandbox / "data" / "hyperkvasir"
    lines = ["file-name;class-name;split-index"]
    for c, (place, (name, count)) in enumerate(CLASSES.items()):
        for i in range(count):
            file = f"{c:04}{i:04}-uuid.jpg"
            draw(folder / "labeled-images" / place / file, (40 * c, 90, 60), seed=100 * c + i)
            lines.append(f"{file};{name};{i % 2}")
    (folder / "labeled-images/image-labels.csv").write_text("Video file,Organ,Finding,Class\n")
    (folder / "2_fold_split.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def of_fold(parameters):
    """Return a function that gives parameters of this source."""

    def make(fold: int = 1, **changes):
        source = {"name": "hyperkvasir", "test_fold": fold}
        return parameters(source=source, **{"min_count": 0, "split": "official"} | changes)

    return make


class TestPublishedLayout:
    def test_three_levels(self, archive, of_fold):
        found = data.read(of_fold())
        assert len(found.files) == 59
        assert found.nested
        assert found.names[0] == [LOWER, UPPER]
        assert found.names[1] == sorted({place.rpartition("/")[0] for place in CLASSES})
        assert found.class_names == sorted(CLASSES)
        assert found.counts == {
            found.class_names.index(place): count for place, (_, count) in CLASSES.items()
        }
        assert all(path.exists() for path in found.paths)
        for file, tree in zip(found.files, found.trees, strict=True):
            assert "/".join(tree) == file.rpartition("/")[0]
        assert data.root(of_fold()) == found.root == archive / "labeled-images"

    @pytest.mark.parametrize("fold", [0, 1])
    def test_one_fold_is_the_test_set(self, archive, of_fold, fold):
        lines = (archive / "2_fold_split.csv").read_text().splitlines()[1:]
        truth = {name: int(index) for name, _, index in (line.split(";") for line in lines)}
        found = data.read(of_fold(fold))
        parts = data.split(found, of_fold(fold, validation_share=0.2))
        for file, part in zip(found.files, parts, strict=True):
            assert (part == "test") == (truth[Path(file).name] == fold)
        for label, count in found.counts.items():
            drawn = Counter(parts[found.class_index == label])
            rest = count - drawn["test"]
            assert drawn["validation"] == round(0.2 * rest)
            assert drawn["train"] >= 2

    def test_random_split_of_six_images(self, archive, of_fold):
        settings = of_fold(split="random", validation_share=0.1, test_share=0.2)
        found = data.read(settings)
        parts = data.split(found, settings)
        small = found.class_index == found.class_names.index(
            f"{LOWER}/pathological-findings/hemorrhoids"
        )
        assert Counter(parts[small]) == {"train": 4, "validation": 1, "test": 1}

    def test_training_on_a_fold(self, archive, of_fold):
        from studies.triplets.evaluate import evaluate

        folder = evaluate(
            of_fold(
                epochs=1, stages=[{"from_epoch": 0, "learning_rate": 0.003, "mining": "semihard"}]
            )
        )
        assert (folder / "metrics.json").exists()

    def test_the_order_of_lines_does_not_matter(self, archive, of_fold):
        before = data.read(of_fold())
        header, *lines = (archive / "2_fold_split.csv").read_text().splitlines()
        rewritten = "\r\n".join([header, *reversed(lines)])
        (archive / "2_fold_split.csv").write_text(rewritten, encoding="utf-8-sig", newline="")
        after = data.read(of_fold())
        assert (after.files, after.trees) == (before.files, before.trees)
        assert (after.official == before.official).all()

    @pytest.mark.skipif(PUBLISHED is None, reason="no hyperkvasir/ below STUDIES_DATA or ../shared")
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
        for line in PUBLISHED.read_text().splitlines()[1:]:
            file, name, fold = line.split(";")
            (names[name] / file).touch()
            folds[file] = fold
        shutil.copy(PUBLISHED, folder)
        found = sources.hyperkvasir(folder, 1)
        assert len(found.files) == 10662
        assert [len(level) for level in found.names] == [2, 6, 23]
        assert min(found.counts.values()) == 6
        assert sum(count > 50 for count in found.counts.values()) == 17
        assert Counter(found.official) == {"train": 5324, "test": 5338}
        parts = data.split(found, parameters(split="official", validation_share=0.1))
        assert all(
            (part == "test") == (folds[Path(file).name] == "1")
            for file, part in zip(found.files, parts, strict=True)
        )
        assert set(found.class_index[parts == "train"]) == set(range(23))
        assert np.mean(parts == "validation") == pytest.approx(0.05, abs=0.005)


class TestWhatIsRefused:
    """Each ends in one sentence that names the place, before anything is written."""

    @pytest.fixture(autouse=True)
    def _nothing_is_left(self, archive, sandbox):
        yield
        assert kept(sandbox / "root") == []

    @pytest.fixture
    def message(self, of_fold):
        return lambda: refused(data.read, of_fold())

    def edit(self, archive: Path, number: int, *lines: str) -> None:
        """Put lines in the place of one; the header is line 1."""
        file = archive / "2_fold_split.csv"
        text = file.read_text().splitlines()
        text[number - 1 : number] = lines
        file.write_text("\n".join(text) + "\n")

    @pytest.mark.parametrize("part", ["labeled-images", "2_fold_split.csv"])
    def test_not_downloaded(self, archive, message, part):
        (archive / part).rename(archive / "elsewhere")
        said = message()
        assert f"is not at {archive / part}" in said
        assert "`python -m studies.inputs.download hyperkvasir`" in said

    def test_no_images(self, archive, message):
        shutil.rmtree(archive / "labeled-images")
        (archive / "labeled-images").mkdir()
        assert re.search(r"labeled-images: holds no images; unpack", message())

    @pytest.mark.parametrize("place", [LOWER, f"{LOWER}/polyps", f"{LOWER}/a/polyps/b"])
    def test_other_depth(self, archive, draw, message, place):
        draw(archive / "labeled-images" / place / "stray.jpg")
        assert re.search(r"stray\.jpg: expected tract, finding group and class", message())

    def test_image_in_no_fold(self, archive, draw, message):
        draw(archive / "labeled-images" / LOWER / "anatomical-landmarks/cecum/new.jpg")
        assert re.search(r"new\.jpg: is in no fold; list it in \S+2_fold_split\.csv", message())

    def test_line_without_image(self, archive, message):
        next((archive / "labeled-images").rglob("00030004*")).unlink()
        said = message()
        line = 1 + 12 + 6 + 20 + 5
        assert f"2_fold_split.csv line {line}: there is no image `00030004-uuid.jpg`" in said
        assert "unpack the dataset again or remove the line" in said

    @pytest.mark.parametrize("fold", ["2", "-1", "", "x", "0.0"])
    def test_unknown_fold(self, archive, message, fold):
        self.edit(archive, 4, f"00000002-uuid.jpg;normal-cecum;{fold}")
        said = message()
        assert "2_fold_split.csv line 4: expected `file-name;class-name;split-index`" in said
        assert f"found `00000002-uuid.jpg;normal-cecum;{fold}`" in said

    @pytest.mark.parametrize("line", ["00000002-uuid.jpg;;0", "00000002-uuid.jpg"])
    def test_line_cut_short(self, archive, message, line):
        self.edit(archive, 4, line)
        assert "2_fold_split.csv line 4: expected" in message()

    def test_listed_twice(self, archive, message):
        self.edit(archive, 4, *["00000002-uuid.jpg;normal-cecum;0"] * 2)
        assert "line 5: `00000002-uuid.jpg` is listed twice; keep one line" in message()

    @pytest.mark.parametrize("column", ["file-name", "class-name", "split-index"])
    def test_missing_column(self, archive, message, column):
        header = "file-name;class-name;split-index".replace(column, "fold")
        self.edit(archive, 1, header)
        assert f"2_fold_split.csv: has no column `{column}`" in message()

    def test_commas_in_place_of_semicolons(self, archive, message):
        text = (archive / "2_fold_split.csv").read_text().replace(";", ",")
        (archive / "2_fold_split.csv").write_text(text)
        assert "has no column `file-name`" in message()

    def test_image_moved_to_another_class(self, archive, message):
        labeled = archive / "labeled-images"
        file = next(labeled.rglob("00020001*"))
        file.rename(labeled / LOWER / "anatomical-landmarks/cecum" / file.name)
        said = message()
        assert (
            "line 21: `00020001-uuid.jpg` lies in lower-gi-tract/anatomical-landmarks/cec" in said
        )
        assert "others of class polyp in lower-gi-tract/pathological-findings/polyps" in said

    def test_line_of_another_class(self, archive, message):
        self.edit(archive, 8, "00000006-uuid.jpg;ileum;0")
        said = message()
        assert "line 8: `00000006-uuid.jpg` is of class ileum, others in" in said
        assert "of class normal-cecum; move it or correct the line" in said

    def test_same_name_in_two_folders(self, archive, message):
        labeled = archive / "labeled-images"
        file = next(labeled.rglob("00020001*"))
        shutil.copy(file, labeled / LOWER / "anatomical-landmarks/cecum" / file.name)
        assert re.search(r"polyps/00020001-uuid\.jpg: has the same name as .*cecum", message())

    def test_wrong_encoding(self, archive, message):
        (archive / "2_fold_split.csv").write_bytes(b"file-name;class-name;split-index\n\xff;a;0\n")
        assert "2_fold_split.csv line 2: is not UTF-8" in message()
