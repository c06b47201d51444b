"""Any image folder becomes labelled images: against hand-made trees."""

import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sentences import kept, refused
from studies.triplets import data, sources
from studies.triplets.labels import LabelledImages


class TestFolders:
    def tree(self, root: Path, draw, files: str) -> LabelledImages:
        for seed, file in enumerate(files.split()):
            draw(root / file, seed=seed)
        return sources.from_folder(root)

    def test_ragged_tree_repeats_the_lowest_label(self, tmp_path, draw):
        found = self.tree(tmp_path, draw, "a/b/c/1.jpg a/d/2.jpg e/3.png a/b/f/4.JPEG")
        assert dict(zip(found.files, found.trees, strict=True)) == {
            "a/b/c/1.jpg": ("a", "b", "c"),
            "a/b/f/4.JPEG": ("a", "b", "f"),
            "a/d/2.jpg": ("a", "d", "d"),
            "e/3.png": ("e", "e", "e"),
        }
        assert found.names[2] == ["a/b/c", "a/b/f", "a/d/d", "e/e/e"]
        assert found.classes.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3]]
        assert found.official is None

    def test_fine_label_may_repeat_its_parent_and_occur_twice(self, tmp_path, draw):
        found = self.tree(tmp_path, draw, "a/a/1.jpg a/b/2.jpg c/b/3.jpg")
        assert found.trees == [("a", "a"), ("a", "b"), ("c", "b")]
        assert len(found.classes) == 3

    @settings(max_examples=25, deadline=None)
    @given(
        st.sets(
            st.lists(st.sampled_from("xyz"), min_size=1, max_size=4).map(tuple),
            min_size=1,
            max_size=6,
        )
    )
    def test_any_tree(self, tmp_path_factory, branches):
        # a class has images, so none may be the inner folder of another
        assume(not any(a != b and a == b[: len(a)] for a in branches for b in branches))
        root = tmp_path_factory.mktemp("tree")
        for i, branch in enumerate(sorted(branches)):
            folder = root.joinpath(*branch)
            folder.mkdir(parents=True)
            (folder / f"{i}.jpg").write_bytes(bytes([i]))
        found = sources.from_folder(root)
        depth = max(map(len, branches))
        wanted = {b + (b[-1],) * (depth - len(b)) for b in branches}
        assert set(found.trees) == wanted
        assert len(found.classes) == len(branches)
        assert found.labels.shape == (len(branches), depth)
        for level in range(depth):  # equal labels if and only if equal paths down to there
            for one, ones in zip(found.trees, found.labels, strict=True):
                for two, twos in zip(found.trees, found.labels, strict=True):
                    same = one[: level + 1] == two[: level + 1]
                    assert same == (ones[level] == twos[level])

    def test_hidden_and_other_files_are_ignored(self, tmp_path, draw):
        draw(tmp_path / ".thumbs/1.jpg")
        draw(tmp_path / "a/.2.jpg")
        draw(tmp_path / "__MACOSX/a/._3.jpg")
        (tmp_path / "README.dataset.txt").write_text("Roboflow")
        (tmp_path / "a/notes.txt").write_text("x")
        found = self.tree(tmp_path, draw, "a/1.jpg b/1.jpg")
        assert found.files == ["a/1.jpg", "b/1.jpg"]

    @pytest.mark.parametrize("validation", ["val", "valid", "validation"])
    def test_roboflow_parts_are_the_official_split(self, tmp_path, draw, parameters, validation):
        files = [f"train/{c}/{i}.jpg" for c in "12" for i in range(10)]
        files += [f"{validation}/1/v.jpg", "test/1/t.jpg", "test/2/t.jpg"]
        found = self.tree(tmp_path, draw, " ".join(files))
        assert found.names == [["1", "2"]]
        assert found.counts == {0: 12, 1: 11}
        assert Counter(found.official) == {"train": 20, "validation": 1, "test": 2}
        parts = data.split(found, parameters(split="official", validation_share=0.1))
        assert sorted(np.array(found.files)[parts == "test"]) == ["test/1/t.jpg", "test/2/t.jpg"]
        assert Counter(parts) == {"train": 19, "validation": 2, "test": 2}

    def test_other_top_folders_are_labels(self, tmp_path, draw):
        found = self.tree(tmp_path, draw, "train/1.jpg plane/2.jpg")
        assert found.names == [["plane", "train"]]
        assert found.official is None


class TestBadFolders:
    @pytest.fixture
    def message(self, sandbox, parameters):
        from studies.triplets.train import train

        def say(system="cross_entropy", **changes):
            return refused(train, parameters(system, **{"min_count": 0} | changes))

        yield say
        assert kept(sandbox / "root") == []

    @pytest.fixture
    def folder(self, sandbox, draw) -> Path:
        for c, name in enumerate(("a/x", "a/y", "b/z")):
            for i in range(6):
                draw(sandbox / "data/colours" / name / f"{i}.jpg", seed=10 * c + i)
        return sandbox / "data" / "colours"

    def test_missing(self, sandbox, message):
        assert re.search(r"colours: no such folder; .*STUDIES_DATA", message())

    def test_empty(self, sandbox, message):
        (sandbox / "data" / "colours" / "a").mkdir(parents=True)
        assert re.search(r"colours: holds no images", message())

    @pytest.mark.parametrize("place", ["stray.jpg", "a/stray.jpg"])
    def test_image_beside_class_folders(self, folder, draw, message, place):
        draw(folder / place, seed=99)
        assert re.search(rf"{re.escape(place)}: is in no class.*move it", message())

    def test_images_without_any_folder(self, sandbox, draw, message):
        draw(sandbox / "data/colours/1.jpg")
        assert "1.jpg: is in no class" in message()

    def test_image_beside_the_parts(self, sandbox, draw, message):
        draw(sandbox / "data/colours/train/a/1.jpg")
        draw(sandbox / "data/colours/test/2.jpg", seed=1)
        assert "test/2.jpg: is in no class" in message()

    def test_same_picture_in_two_classes(self, folder, message):
        shutil.copy(folder / "a/x/3.jpg", folder / "b/z/copy.jpg")
        assert "copy.jpg: the same picture is a/x/3.jpg, so it is in two classes" in message()

    def test_same_picture_twice_in_one_class_is_no_error(self, folder):
        shutil.copy(folder / "a/x/3.jpg", folder / "a/x/copy.jpg")
        assert len(sources.from_folder(folder).files) == 19

    def test_broken_link(self, folder, message):
        (folder / "a/x/link.jpg").symlink_to(folder / "nowhere.jpg")
        assert "link.jpg is missing" in message()

    def test_no_official_split(self, folder, message):
        assert "set split: random" in message(split="official")

    def test_too_few_for_a_part(self, folder, message):
        assert re.search(
            "too few images.* validation set; .*validation_share", message(validation_share=0.05)
        )

    def test_no_class_is_large_enough(self, folder, message):
        assert "lower min_count" in message(min_count=6)

    @pytest.mark.parametrize("margins", [[1.0], [2.0, 1.0, 0.5]])
    def test_margins_that_do_not_fit_the_tree(self, folder, message, margins):
        loss = {"name": "flexible_margin", "margins": margins, "combine": "max", "take": "closest"}
        said = message("flexible", loss=loss)
        assert f"has {len(margins)} values and the labels 2 levels" in said
