"""Tables and figures that notebooks and reports show, from runs of known content."""

import re
from base64 import b64decode
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sentences import refused
from spoken import captions, people
from studies.captioning import figures
from studies.reporting import results
from studies.runs.folder import LoadedRun, load_run

ERRORS = [0, 1, 2, 3, 4, 1, 0]


@pytest.fixture
def write(sandbox, write_run):
    """Write a run of seven images; return it."""

    def write(system="resnet_lstm", seed=0, errors=ERRORS, **options) -> LoadedRun:
        said, given = captions(errors), people(len(errors))
        return load_run(write_run(sandbox / "root", system, seed, said, given, **options))

    return write


def pictures(shown):
    found = re.findall(r"base64,([^\"]+)", shown.html)
    return [np.asarray(Image.open(BytesIO(b64decode(one)))) for one in found]


class TestCurves:
    """The six curves of the slides, each against the step."""

    @pytest.mark.parametrize(("steps", "every"), [(1, 1), (200, 1), (201, 2), (401, 3)])
    def test_long_logs_are_thinned(self, write, steps, every):
        frame = results.logged({"resnet_lstm": [write(seed=3, steps=steps)]}, "steps.csv")
        assert frame["step"].tolist() == list(range(1, steps + 1, every))
        assert frame["batch_loss"].tolist() == pytest.approx([4 / n for n in frame["step"]])
        assert (frame["system"] == "resnet_lstm").all()
        assert (frame["seed"] == 3).all()


class TestCases:
    def run(self, folder, cider, names=None):
        names = names or [f"{k}.jpg" for k in range(len(cider))]
        frame = pd.DataFrame({"id": names, "candidate": "a dog", "CIDEr": cider})
        frame.to_parquet(folder / "predictions.parquet")
        return LoadedRun(folder, {"model": "resnet_lstm", "variant": ""})

    def test_best_median_and_worst(self, tmp_path):
        run = self.run(tmp_path, [0.5, 0.1, 0.9, 0.3, 0.7, 0.2, 0.8, 0.0, 0.6])
        cases = figures.cases(run)
        assert cases["case"].tolist() == ["best"] * 3 + ["median"] * 3 + ["worst"] * 3
        assert cases["CIDEr"].tolist() == [0.9, 0.8, 0.7, 0.6, 0.5, 0.3, 0.2, 0.1, 0.0]
        assert cases["id"].head(3).tolist() == ["2.jpg", "6.jpg", "4.jpg"]


class TestPictures:
    @pytest.fixture
    def photographs(self, sandbox, flickr8k_folder):
        names = [f"{k:03}.jpg" for k in range(12)]
        parts = {"test": names[:7], "validation": names[7:8], "train": names[8:]}
        given = dict(zip(names, people(12), strict=True))
        flickr8k_folder(sandbox / "data" / "flickr8k", given, parts, side=40)
        return {"source": {"name": "flickr8k", "splits": "official"}}

    def test_attention_has_a_map_for_each_word(self, write, weigh, photographs):
        run = write(**photographs)
        weigh(run.folder)
        shown = figures.attention(run, "001.jpg", most=4)
        caption = captions(ERRORS)[1]
        assert shown.text.splitlines() == [caption, *caption.split()[:4]]
        assert {one.shape for one in pictures(shown)} == {(192, 192, 3)}
        whole, *maps = (one.mean() for one in pictures(shown))
        assert max(maps) < whole + 1  # nothing is lighter than in the picture itself, but for JPEG
        heading, *drawn = figures.attended({"resnet_lstm": [run]})
        assert heading.text == "resnet_lstm"
        said = [one.text.partition("\n")[0] for one in drawn]
        assert said == [captions(ERRORS)[2], captions(ERRORS)[4]]

    def test_photographs_that_are_gone(self, write, photographs, sandbox):
        run = write(ids=["other.jpg", *(f"{k}.jpg" for k in range(6))], **photographs)
        message = refused(figures.attention, run, "other.jpg")
        assert message.startswith(f"{run.folder} was tested on other.jpg, which ")
        (sandbox / "data").rename(sandbox / "away")
        for drawn in (figures.gallery, figures.attended):
            (shown,) = drawn({"resnet_lstm": [run], "clip_transformer": [run]})
            assert shown.text.startswith("Not shown here: ")
