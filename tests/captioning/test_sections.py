"""The parts of the page and its sentences, on run folders written by hand."""

import re

import pytest

from spoken import captions, people
from studies.captioning import sections
from studies.captioning.comparisons import paired_tests
from studies.captioning.results import read, summary
from studies.reporting import tables
from studies.reporting.claims import Claim
from studies.reporting.tables import tidy

PLAIN = {"source": {"name": "flickr8k", "splits": "official"}}
IMAGES = 7
MEASURES = ("bleu4", "meteor", "rouge_l", "cider")


@pytest.fixture
def write(sandbox, write_run):
    def write(system, seed=0, errors=(0, 1, 2, 3, 4, 1, 0), dataset="made_up", **options):
        said, given = captions(list(errors)), people(len(errors))
        return write_run(sandbox / "root", system, seed, said, given, dataset, **options)

    return write


@pytest.fixture
def means(write):
    """Return a function: means of each system in the four measures -> results and tidy frame."""

    def means(**values):
        rows = []
        for name, scores in values.items():
            system = name.replace("__", "@")
            write(system)
            model, _, variant = system.partition("@")
            for metric, mean in zip(MEASURES, scores, strict=True):
                row = {"study": "captioning", "dataset": "made_up", "metric": metric}
                rows.append(row | {"model": model, "variant": variant, "mean": mean})
            # a measure that the sentence leaves out
            rows.append({**rows[-1], "metric": "bleu1", "mean": 0.0})
        return read("made_up"), tidy(rows)

    return means


class TestBeaten:
    LOW, HIGH = (0.1, 0.2, 0.3, 0.4), (0.2, 0.1, 0.2, 0.5)

    def test_every_system_beats_the_baselines(self, means):
        found = means(
            most_frequent=self.LOW,
            nearest_neighbour=self.HIGH,
            resnet_lstm=(0.21, 0.21, 0.31, 0.51),
            clip_transformer__wide=(0.9,) * 4,
        )
        assert sections.beaten(*found) == (
            "Every trained system beats most_frequent and nearest_neighbour in all four measures."
        )

    def test_one_baseline_is_not_called_two(self, means):
        found = means(nearest_neighbour=self.LOW, resnet_lstm=(0.9,) * 4)
        assert sections.beaten(*found) == (
            "Every trained system beats nearest_neighbour in all four measures."
        )

    def test_systems_that_do_not_are_named_with_their_measures(self, means):
        found = means(
            most_frequent=self.LOW,
            nearest_neighbour=self.HIGH,
            # as good as the better baseline is not better
            resnet_lstm=(0.2, 0.21, 0.31, 0.51),
            resnet_transformer=(0.9,) * 4,
            # above one baseline in each measure, above both in none
            clip_transformer__wide=(0.15, 0.15, 0.25, 0.45),
        )
        assert sections.beaten(*found) == (
            "Not better than the best trivial baseline: resnet_lstm (BLEU-4); "
            "clip_transformer@wide (BLEU-4, METEOR, ROUGE-L, CIDEr)."
        )

    def test_no_baseline(self, means):
        found = means(resnet_lstm=self.LOW)
        assert sections.beaten(*found) == "No trivial baseline was run."

    def test_nothing_else(self, means):
        found = means(most_frequent=self.LOW, nearest_neighbour=self.HIGH)
        assert sections.beaten(*found) == "Nothing but trivial baselines was run."

    def test_from_runs(self, write, few_resamples):
        write("most_frequent", errors=[4] * IMAGES)
        write("nearest_neighbour", errors=[3] * IMAGES)
        write("resnet_lstm", errors=[1] * IMAGES)
        write("clip_transformer", errors=[3] * IMAGES)
        results = read("made_up")
        assert sections.beaten(results, summary(results)) == (
            "Not better than the best trivial baseline: "
            "clip_transformer (BLEU-4, METEOR, ROUGE-L, CIDEr)."
        )


class TestPlain:
    def test_variants_are_left_out(self, means):
        _, frame = means(resnet_lstm=[0.1] * 4, clip_transformer__wide=[0.2] * 4)
        table = sections.headline(frame)
        assert table["system"].tolist() == ["resnet_lstm"]
        assert list(table.columns) == ["system", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr"]
        assert set(tables.systems(frame)) == {"resnet_lstm", "clip_transformer@wide"}

    def test_variants_alone_are_shown(self, means):
        _, frame = means(clip_transformer__wide=[0.2] * 4)
        assert sections.headline(frame)["system"].tolist() == ["clip_transformer@wide"]


@pytest.mark.usefixtures("few_resamples")
class TestSections:
    LEDGER = (Claim("C1", "one is better", "both", "+0.1 [0, 0.2]", "inconclusive (one seed)"),)

    def parts(self, dataset="made_up"):
        results = read(dataset)
        frame, tests = summary(results), paired_tests(results)
        found = sections.sections(results, frame, tests, list(self.LEDGER))
        return {part.title: "".join(map(str, part.body)) for part in found}

    def test_the_table_comes_first(self, write):
        for system in ("most_frequent", "resnet_lstm", "resnet_lstm@wide"):
            write(system)
        parts = self.parts()
        assert list(parts) == ["Results", "Claims", "Differences", "Training"]
        assert "most_frequent</td>" in parts["Results"]
        assert "@wide</td>" not in parts["Results"]
        assert "inconclusive (one seed)" in parts["Claims"]
        assert "resnet_lstm@wide − most_frequent" in parts["Differences"]
        # of what was trained: curves and costs
        assert parts["Training"].count("<svg") == 2
        assert "resnet_lstm@wide" in parts["Training"]
        assert "most_frequent" not in parts["Training"]

    @pytest.mark.parametrize(("dataset", "said"), [("flickr8k", True), ("made_up", False)])
    def test_hollow_marks_are_explained_where_there_are_any(
        self, write, dataset, said, monkeypatch
    ):
        monkeypatch.setattr(sections, "training", lambda _: [])  # which takes seconds to draw
        write("clip_transformer", dataset=dataset)
        results = self.parts(dataset)["Results"]
        assert ("; hollow: published." in results) == said
        assert ("CIDEr published" in results) == said

    def test_baselines_alone(self, write):
        for system in ("most_frequent", "nearest_neighbour"):
            write(system)
        assert list(self.parts()) == ["Results", "Claims", "Differences"]


class TestPictures:
    @pytest.fixture
    def photographs(self, sandbox, flickr8k_folder):
        """Flickr8k's layout with seven images in test, and as many elsewhere."""
        names = [f"{k:03}.jpg" for k in range(2 * IMAGES)]
        parts = {"test": names[:IMAGES], "validation": names[-1:], "train": names[IMAGES:-1]}
        given = dict(zip(names, people(2 * IMAGES), strict=True))
        flickr8k_folder(sandbox / "data" / "flickr8k", given, parts)
        return sandbox / "data" / "flickr8k" / "Flicker8k_Dataset"

    @pytest.fixture
    def results(self, write):
        for system in ("most_frequent", "resnet_lstm", "clip_transformer"):
            write(system, dataset="flickr8k", **PLAIN)
        return read("flickr8k")

    def test_the_gallery_shows_the_best_median_and_worst(self, photographs, results):
        parts = [str(part) for part in sections.gallery(results)]
        titles = [part for part in parts if part.startswith("<h3>")]
        assert titles == [
            f"<h3>{system}: {case} by CIDEr</h3>"
            for system in ("resnet_lstm", "clip_transformer")
            for case in ("best", "median", "worst")
        ]
        best, _, worst = (parts[k] for k in (1, 3, 5))
        assert best.count("data:image/jpeg") == worst.count("data:image/jpeg") == 3
        # the fifth caption is wholly wrong, and what people said stands beside it
        assert "<p>two people with a ball (CIDEr 0.00)" in worst
        assert ": a old bird is walking on the grass / the bird is walking near grass</p>" in worst
        assert "two people with a ball" not in best

    def test_attention_of_trained_systems(self, photographs, write, weigh, monkeypatch):
        monkeypatch.setattr(sections, "ATTENDED", 1)
        write("most_frequent", dataset="flickr8k", **PLAIN)
        weigh(write("resnet_lstm", dataset="flickr8k", **PLAIN))
        (drawn,) = sections.attention(read("flickr8k"))
        assert "<figcaption>resnet_lstm: the picture" in drawn
        # of seven images the one in the middle: the picture, and a map for each word
        said = captions([0] * 3 + [3])[3].split()
        assert drawn.count("<image") == 1 + len(said)
        words = re.findall(r"<!-- (\w+) -->", drawn)
        assert words == said

    def test_without_photographs_it_is_said(self, results):
        parts = sections.pictures(results)
        assert [part.title for part in parts] == ["Captions", "Attention"]
        for part in parts:
            (said,) = part.body
            assert said.startswith("Not shown here: ")
            assert "flickr8k" in said
            assert said.endswith(".")
            assert not said.endswith("..")

    def test_baselines_show_none(self, write):
        write("most_frequent")
        assert sections.pictures(read("made_up")) == []

    def test_a_broken_photograph_stops_no_page(self, photographs, results):
        (photographs / "004.jpg").write_bytes(b"no picture")
        drawn = "".join(map(str, sections.gallery(results)))
        assert drawn.count("no picture: 004.jpg") == 2

    def test_captions_are_escaped(self, photographs, write):
        write("resnet_lstm", errors=[0], dataset="flickr8k", **PLAIN)
        frame = read("flickr8k").runs[0].predictions
        file = read("flickr8k").runs[0].folder / "predictions.parquet"
        frame["candidate"] = ["<script>alert(1)</script>"]
        frame["references"] = [["<img src=x onerror=alert(1)>", "&amp;"]]
        frame.to_parquet(file)
        drawn = "".join(map(str, sections.gallery(read("flickr8k"))))
        assert "<script" not in drawn
        assert "<img src=x" not in drawn
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in drawn
        assert "&lt;img src=x onerror=alert(1)&gt; / &amp;amp;" in drawn
