"""Tables and figures that notebooks and reports show, from runs of known content."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sentences import refused
from spoken import Spoken, captions, people
from studies.captioning import figures
from studies.captioning.data import CaptionedImages
from studies.reporting.plots import style
from studies.runs.folder import LoadedRun, load_run

ERRORS = [0, 1, 2, 3, 4, 1, 0]


@pytest.fixture
def write(sandbox, write_run):
    """Write a run of seven images; return it."""

    def write(system="resnet_lstm", seed=0, errors=ERRORS, **options) -> LoadedRun:
        said, given = captions(errors), people(len(errors))
        return load_run(write_run(sandbox / "root", system, seed, said, given, **options))

    return write


def titles(figure):
    return [axis.get_title().replace("\n", " ") for axis in figure.axes]


class TestDataset:
    @pytest.fixture
    def dataset(self, tmp_path):
        for name, side in (("a.png", 20), ("b.png", 30), ("c.png", 40)):
            Image.new("RGB", (side, 20), "red").save(tmp_path / name)
        own = [["one two .", "one"], ["un deux trois quatre"], ["a b", "a b c", "a b c d"]]
        files = ["a.png", "b.png", "c.png", "c.png"]
        return CaptionedImages(tmp_path, files, [*own, ["once more"]], None)

    def test_overview_counts_images_captions_and_words(self, dataset):
        table = figures.overview(dataset, np.array(["train", "test", "train", "validation"]))
        assert list(table.columns) == ["part", "images", "captions", "words a caption"]
        assert table.astype(str).to_numpy().tolist() == [
            ["train", "2", "5", "2.6"],  # 3, 1, 2, 3 and 4 words
            ["validation", "1", "1", "2.0"],
            ["test", "1", "1", "4.0"],
        ]


class TestTables:
    def test_scores_and_captions_of_a_run(self, write):
        run = write(ids=[f"folder/of/{k}.jpg" for k in range(7)], variant="wide")
        spoken = Spoken(captions(ERRORS), people(7))
        shown = {metric: f"{value:.3f}" for metric, value in spoken.corpus().items()}
        scores = figures.score_table(run).set_index("metric")
        assert scores["resnet_lstm@wide"].to_dict() == shown
        table = figures.caption_table(run, 5)
        assert table["image"].tolist() == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg"]
        assert table["caption"].tolist() == captions(ERRORS)[:5]
        assert table["a reference"].tolist() == [own[0] for own in people(5)]
        assert table["CIDEr"].tolist() == [f"{v:.2f}" for v in spoken.by_image["CIDEr"][:5]]


class TestCurves:
    """The six curves of the slides, each against the step."""

    @pytest.mark.parametrize(("steps", "every"), [(1, 1), (200, 1), (201, 2), (401, 3)])
    def test_long_logs_are_thinned(self, write, steps, every):
        frame = figures.logged({"resnet_lstm": [write(seed=3, steps=steps)]}, "steps.csv")
        assert frame["step"].tolist() == list(range(1, steps + 1, every))
        assert frame["batch_loss"].tolist() == pytest.approx([4 / n for n in frame["step"]])
        assert (frame["system"] == "resnet_lstm").all()
        assert (frame["seed"] == 3).all()

    def test_each_has_a_panel(self, write):
        systems = {"resnet_lstm": [write(steps=5)]}
        wanted = {
            "training loss (nats a word)": [2.5, 1.8],
            "validation loss (nats a word)": [1.9, 1.5],
            "batch loss (nats a word)": [4 / n for n in range(1, 6)],
            "learning rate": [0.001] * 5,
            "gradient norm": [1 + 1 / n for n in range(1, 6)],
            "epoch": [0] * 5,
        }
        axes = [*figures.curves(systems).axes, *figures.curves(systems, "steps.csv").axes]
        assert [axis.get_ylabel().replace("\n", " ") for axis in axes] == list(wanted)
        for axis, values in zip(axes, wanted.values(), strict=True):
            (line,) = axis.lines
            assert axis.get_xlabel() == "step"
            assert line.get_color() == style("resnet_lstm").colour
            assert line.get_ydata().tolist() == pytest.approx(values)


class TestCases:
    def run(self, folder, cider, names=None):
        names = names or [f"{k}.jpg" for k in range(len(cider))]
        frame = pd.DataFrame({"id": names, "candidate": "a dog", "CIDEr": cider})
        frame.to_parquet(folder / "predictions.parquet")
        return LoadedRun(folder, {"model": "resnet_lstm", "variant": ""})

    def test_best_median_and_worst(self, tmp_path):
        run = self.run(tmp_path, [0.5, 0.1, 0.9, 0.3, 0.7, 0.2, 0.8, 0.0, 0.6])
        cases = figures.cases(run)
        assert {name: frame["CIDEr"].tolist() for name, frame in cases.items()} == {
            "best": [0.9, 0.8, 0.7],
            "median": [0.6, 0.5, 0.3],
            "worst": [0.2, 0.1, 0.0],
        }
        assert cases["best"]["id"].tolist() == ["2.jpg", "6.jpg", "4.jpg"]


class TestPictures:
    @pytest.fixture
    def photographs(self, sandbox, flickr8k_folder):
        names = [f"{k:03}.jpg" for k in range(12)]
        parts = {"test": names[:7], "validation": names[7:8], "train": names[8:]}
        given = dict(zip(names, people(12), strict=True))
        flickr8k_folder(sandbox / "data" / "flickr8k", given, parts, side=40)
        return {"source": {"name": "flickr8k", "splits": "official"}}

    def test_a_user_s_own_pictures(self, sandbox, write, weigh, photographs):
        run = write("clip_transformer", **photographs)
        weigh(run.folder)
        folder = sandbox / "data" / "flickr8k" / "Flicker8k_Dataset"
        files = [folder / name for name in ("000.jpg", "001.jpg")]
        assert titles(figures.describe(run, shown=2)) == run.model().describe(files)

    def test_attention_has_a_map_for_each_word(self, write, weigh, photographs):
        run = write(**photographs)
        weigh(run.folder)
        figure = figures.attention(run, "001.jpg", most=4)
        caption = captions(ERRORS)[1]
        assert titles(figure) == [caption, *caption.split()[:4]]
        pixels = [np.asarray(axis.images[0].get_array()) for axis in figure.axes]
        assert {one.shape for one in pixels} == {(192, 192, 3)}
        whole, *maps = (one.mean() for one in pixels)
        assert max(maps) <= whole  # nothing is lighter than in the picture itself
        heading, *drawn = figures.attended({"resnet_lstm": [run]})
        assert heading.text == "resnet_lstm"
        assert [titles(one)[0] for one in drawn] == [captions(ERRORS)[2], captions(ERRORS)[4]]

    def test_the_gallery_shows_what_people_said_of_the_same_picture(self, write, photographs):
        heading, best, *_, worst = figures.gallery({"resnet_lstm": [write(**photographs)]})
        assert heading.text == "resnet_lstm: best by CIDEr"
        assert best.html.count("data:image/jpeg") == worst.html.count("data:image/jpeg") == 3
        # the fifth caption is wholly wrong
        said = " / ".join(people(7)[4])
        assert f"two people with a ball (CIDEr 0.00). References: {said}" in worst.text
        assert "two people" not in best.text

    def test_photographs_that_are_gone(self, write, photographs, sandbox):
        run = write(ids=["other.jpg", *(f"{k}.jpg" for k in range(6))], **photographs)
        message = refused(figures.attention, run, "other.jpg")
        assert message.startswith(f"{run.folder} was tested on other.jpg, which ")
        (sandbox / "data").rename(sandbox / "away")
        for drawn in (figures.gallery, figures.attended):
            (shown,) = drawn({"resnet_lstm": [run], "clip_transformer": [run]})
            assert shown.text.startswith("Not shown here: ")
