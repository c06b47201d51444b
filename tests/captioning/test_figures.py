"""Tables and figures that notebooks and reports show, from runs of known content."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sentences import refused
from spoken import Spoken, captions, people
from studies.captioning import figures
from studies.captioning.captions import CaptionedImages
from studies.captioning.comparisons import paired_tests
from studies.captioning.results import read, summary
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


def drawn_titles(figure):
    return [axis.get_title().replace("\n", " ") for axis in figure.axes]


class TestDataset:
    @pytest.fixture
    def dataset(self, tmp_path):
        for name, side in (("a.png", 20), ("b.png", 30), ("c.png", 40)):
            Image.new("RGB", (side, 20), "red").save(tmp_path / name)
        given = [["one two .", "one"], ["un deux trois quatre"], ["a b", "a b c", "a b c d"]]
        files = ["a.png", "b.png", "c.png", "c.png"]
        return CaptionedImages(tmp_path, files, [*given, ["once more"]], None)

    def test_overview_counts_images_captions_and_words(self, dataset):
        table = figures.overview(dataset, np.array(["train", "test", "train", "validation"]))
        assert list(table.columns) == ["part", "images", "captions", "words a caption"]
        assert table.astype(str).to_numpy().tolist() == [
            ["train", "2", "5", "2.6"],  # 3, 1, 2, 3 and 4 words
            ["validation", "1", "1", "2.0"],
            ["test", "1", "1", "4.0"],
        ]

    def test_a_sample_is_of_all_parts_of_the_dataset(self, dataset):
        assert drawn_titles(figures.sample(dataset, 2)) == ["one two .", "once more"]
        assert drawn_titles(figures.sample(dataset, 4))[1:3] == ["un deux trois quatre", "a b"]


class TestTables:
    def test_scores_of_a_run(self, write):
        table = figures.score_table(write(variant="wide"))
        wanted = Spoken(captions(ERRORS), people(len(ERRORS))).corpus()
        shown = {metric: f"{value:.3f}" for metric, value in wanted.items()}
        assert table.set_index("metric")["resnet_lstm@wide"].to_dict() == shown

    def test_captions_stand_beside_what_people_said(self, write):
        ids = [f"folder/of/{k}.jpg" for k in range(len(ERRORS))]
        table = figures.caption_table(write(ids=ids), 5)
        assert table["image"].tolist() == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg"]
        assert table["caption"].tolist() == captions(ERRORS)[:5]
        assert table["a reference"].tolist() == [given[0] for given in people(5)]
        cider = Spoken(captions(ERRORS), people(len(ERRORS))).by_image["CIDEr"]
        assert table["CIDEr"].tolist() == [f"{value:.2f}" for value in cider[:5]]

    def test_paired_tests_are_one_row_a_pair(self, write, few_resamples):
        write("resnet_lstm", errors=[3] * 7)
        write("clip_transformer", errors=[0] * 7)
        table = figures.test_table(paired_tests(read("made_up")))
        assert table["difference"].tolist() == ["clip_transformer − resnet_lstm"]
        names = ["BLEU-4", "METEOR", "ROUGE-L", "CIDEr"]
        assert list(table.columns[1:]) == [cell for one in names for cell in (one, f"p ({one})")]
        assert table.loc[0, "BLEU-4"].startswith("+1.000 [")

    def test_cost_of_several_seeds(self, write):
        first = {"seconds": 60.0, "best_epoch": 3, "peak_memory_mib": 1500, "words": 2994}
        second = {"seconds": 7260.0, "best_epoch": 12, "peak_memory_mib": 900, "words": 2994}
        runs = [
            write("clip_transformer", seed, facts=facts | {"parameters_trained": 12345678})
            for seed, facts in ((0, first), (4, second))
        ]
        table = figures.cost({"clip_transformer": runs, "resnet_lstm": [write()]})
        assert table.to_dict("records")[0] == {
            "system": "clip_transformer",
            "trained parameters": "12,345,678",
            "training time": "61 min",
            "peak memory (MiB)": "1,500",
            "device": "cpu",
            "words": "2,994",
            "epoch kept": "3, 12",
            "seeds": "0, 4",
        }
        assert table.loc[1, ["system", "training time", "seeds"]].tolist() == [
            "resnet_lstm",
            "12 s",
            "0",
        ]


class TestAgreement:
    TAUS = pd.DataFrame(
        {
            "metric": ["METEOR", "CIDEr"] * 2,
            "judgements": ["expert"] * 2 + ["crowd"] * 2,
            "tau": [0.418, 0.4391, -0.01, 0.2],
            "ci_low": [0.4, 0.42, -0.02, 0.1],
            "ci_high": [0.43, 0.45, 0.01, 0.3],
            "pairs": [5664] * 2 + [47830] * 2,
        }
    )

    def test_one_panel_for_each_kind_of_judge(self):
        figure = figures.agreement(self.TAUS)
        labels = [axis.get_xlabel() for axis in figure.axes]
        assert labels == ["Kendall's τ_c, expert (−1 to 1)", "Kendall's τ_c, crowd (−1 to 1)"]
        ticks = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
        assert ticks == ["METEOR", "CIDEr"]
        for axis, values in zip(figure.axes, ([0.418, 0.4391], [-0.01, 0.2]), strict=True):
            lines = [line.get_xdata() for line in axis.lines]
            assert [line[0] for line in lines if len(line) == 1] == values

    def test_table(self):
        table = figures.agreement_table(self.TAUS)
        assert list(table.columns) == ["metric", "judgements", "τ_c", "pairs"]
        assert table.loc[1].tolist() == ["CIDEr", "expert", "+0.439 [+0.420, +0.450]", 5664]

    def test_table_of_differences(self):
        frame = pd.DataFrame(
            [("CIDEr", "METEOR", "expert", 0.02, -0.001, 0.04, 0.0004)],
            columns=["first", "second", "judgements", "difference", "ci_low", "ci_high", "p"],
        )
        assert figures.agreement_table(frame).to_dict("records") == [
            {
                "first": "CIDEr",
                "second": "METEOR",
                "judgements": "expert",
                "difference in τ_c": "+0.020 [−0.001, +0.040]",
                "p": "< 0.001",
            }
        ]


class TestLogged:
    @pytest.mark.parametrize(
        ("steps", "every"), [(1, 1), (200, 1), (201, 2), (399, 2), (400, 2), (401, 3), (12345, 62)]
    )
    def test_long_logs_are_thinned(self, write, steps, every):
        run = write(seed=3, steps=steps)
        frame = figures.logged({"resnet_lstm": [run]}, "steps.csv")
        assert frame["step"].tolist() == list(range(1, steps + 1, every))
        assert len(frame) <= 200
        assert frame["step"].iloc[0] == 1
        assert steps - frame["step"].iloc[-1] < every
        assert frame["batch_loss"].tolist() == pytest.approx([4 / n for n in frame["step"]])
        assert (frame["system"] == "resnet_lstm").all()
        assert (frame["seed"] == 3).all()

    def test_runs_stand_below_each_other(self, write):
        systems = {"a": [write("a", 0), write("a", 1)], "b": [write("b", 0)]}
        frame = figures.logged(systems, "curves.csv")
        assert frame[["system", "seed", "epoch"]].to_numpy().tolist() == [
            ["a", 0, 1],
            ["a", 0, 2],
            ["a", 1, 1],
            ["a", 1, 2],
            ["b", 0, 1],
            ["b", 0, 2],
        ]


class TestCurves:
    """The six curves of the slides, each against the step."""

    def test_losses(self, write):
        figure = figures.curves({"resnet_lstm": [write()]})
        training, validation = figure.axes
        labels = [axis.get_ylabel().replace("\n", " ") for axis in figure.axes]
        assert labels == ["training loss (nats a word)", "validation loss (nats a word)"]
        assert [axis.get_xlabel() for axis in figure.axes] == ["step", "step"]
        for axis, values in ((training, [2.5, 1.8]), (validation, [1.9, 1.5])):
            (line,) = axis.lines
            assert line.get_color() == style("resnet_lstm").colour
            assert line.get_xydata().tolist() == [[10, values[0]], [20, values[1]]]

    def test_what_happened_in_each_step(self, write):
        figure = figures.steps({"resnet_lstm": [write(steps=5)]})
        labels = [axis.get_ylabel().replace("\n", " ") for axis in figure.axes]
        assert labels == ["batch loss (nats a word)", "learning rate", "gradient norm", "epoch"]
        assert all(axis.get_xlabel() == "step" for axis in figure.axes)
        wanted = {0: [4 / n for n in range(1, 6)], 2: [1 + 1 / n for n in range(1, 6)]}
        for panel, values in wanted.items():
            (line,) = figure.axes[panel].lines
            assert line.get_xdata().tolist() == [1, 2, 3, 4, 5]
            assert line.get_ydata().tolist() == pytest.approx(values)
        assert [axis.get_yscale() for axis in figure.axes] == ["linear", "linear", "log", "linear"]

    def test_without_a_system_there_is_nothing_to_draw(self):
        assert figures.curves({}) is None

    def test_scores_with_their_units(self, write, few_resamples):
        write("most_frequent", errors=[3, 4] * 4)
        write("resnet_lstm", errors=[0, 1] * 4)
        frame = summary(read("made_up"))
        figure = figures.score_figure(frame)
        names = ("BLEU-4 (0–1)", "METEOR (0–1)", "ROUGE-L (0–1)", "CIDEr (0–10)")
        assert tuple(axis.get_xlabel() for axis in figure.axes) == names
        dots = [line.get_xdata()[0] for line in figure.axes[3].lines if len(line.get_xdata()) == 1]
        cider = frame[frame["metric"] == "cider"]["mean"]
        assert sorted(dots) == pytest.approx(sorted(cider))


class TestCases:
    def run(self, folder, cider, names=None):
        names = names or [f"{k}.jpg" for k in range(len(cider))]
        frame = pd.DataFrame({"id": names, "candidate": "a dog", "CIDEr": cider})
        frame.to_parquet(folder / "predictions.parquet")
        return LoadedRun(folder, {"model": "resnet_lstm", "variant": ""})

    def test_best_median_and_worst(self, tmp_path):
        cider = [0.5, 0.1, 0.9, 0.3, 0.7, 0.2, 0.8, 0.0, 0.6]
        found = dict(figures.cases(self.run(tmp_path, cider)))
        assert {name: frame["CIDEr"].tolist() for name, frame in found.items()} == {
            "best": [0.9, 0.8, 0.7],
            "median": [0.6, 0.5, 0.3],
            "worst": [0.2, 0.1, 0.0],
        }
        assert found["best"]["id"].tolist() == ["2.jpg", "6.jpg", "4.jpg"]
        one = dict(figures.cases(self.run(tmp_path, cider), shown=1))
        assert [frame["CIDEr"].item() for frame in one.values()] == [0.9, 0.5, 0.0]

    def test_equal_scores_stand_by_name(self, tmp_path):
        names = ["d.jpg", "a.jpg", "c.jpg", "b.jpg", "e.jpg", "f.jpg"]
        found = dict(figures.cases(self.run(tmp_path, [0.0] * 5 + [0.1], names)))
        assert found["best"]["id"].tolist() == ["f.jpg", "a.jpg", "b.jpg"]
        assert found["worst"]["id"].tolist() == ["c.jpg", "d.jpg", "e.jpg"]

    @pytest.mark.parametrize("images", [1, 2, 3])
    def test_few_images_stand_under_each_heading(self, tmp_path, images):
        for _, frame in figures.cases(self.run(tmp_path, list(range(images)))):
            assert frame["CIDEr"].tolist() == list(range(images))[::-1]


class TestPictures:
    @pytest.fixture
    def photographs(self, sandbox, flickr8k_folder):
        names = [f"{k:03}.jpg" for k in range(12)]
        parts = {"test": names[:7], "validation": names[7:8], "train": names[8:]}
        given = dict(zip(names, people(12), strict=True))
        flickr8k_folder(sandbox / "data" / "flickr8k", given, parts, side=40)
        return {"source": {"name": "flickr8k", "splits": "official"}}

    def test_cases_with_their_scores(self, write, photographs):
        run = write(**photographs)
        titles = drawn_titles(figures.case_pictures(run))
        assert [title.partition(":")[0] for title in titles] == [
            *(["best"] * 3 + ["median"] * 3 + ["worst"] * 3)
        ]
        assert titles[8] == "worst: two people with a ball (0.00)"

    @pytest.mark.parametrize("system", ["resnet_lstm", "clip_transformer"])
    def test_a_user_s_own_pictures(self, sandbox, write, weigh, photographs, system):
        run = write(system, **photographs)
        weigh(run.folder)
        figure = figures.describe(run, shown=2)
        folder = sandbox / "data" / "flickr8k" / "Flicker8k_Dataset"
        files = [folder / name for name in ("000.jpg", "001.jpg")]
        assert drawn_titles(figure) == run.model().describe(files)

    def test_attention_has_a_map_for_each_word(self, write, weigh, photographs):
        run = write(**photographs)
        weigh(run.folder)
        figure = figures.attention(run, "001.jpg", most=4)
        said = captions(ERRORS)[1]
        assert drawn_titles(figure) == [said, *said.split()[:4]]
        pixels = [np.asarray(axis.images[0].get_array()) for axis in figure.axes]
        assert {one.shape for one in pixels} == {(192, 192, 3)}
        whole, *maps = (one.mean() for one in pixels)
        # nothing is lighter than in the picture itself
        assert max(maps) <= whole

    def test_attention_to_an_image_that_is_gone(self, write, photographs):
        run = write(ids=["other.jpg", *(f"{k}.jpg" for k in range(6))], **photographs)
        message = refused(figures.attention, run, "other.jpg")
        assert message.startswith(f"{run.folder} was tested on other.jpg, which ")

    @pytest.mark.parametrize("system", ["most_frequent", "nearest_neighbour@pooled"])
    def test_a_baseline_looks_nowhere(self, write, system):
        run = write(system)
        assert figures.attention(run, "000.jpg") is None
        assert figures.describe(run) is None

    def test_the_picture_is_light_where_the_weights_are_large(self):
        image = Image.new("RGB", (40, 40), (200, 200, 200))
        weights = np.array([[0.0, 0.0], [0.0, 0.4]])
        found = np.asarray(figures.overlaid(image, weights)).mean(axis=2)
        assert found[-1, -1] == 200
        assert found[0, 0] < 100
        assert (np.asarray(figures.overlaid(image, np.full((2, 2), 0.1))) == 200).all()
