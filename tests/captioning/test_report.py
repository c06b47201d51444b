"""Numbers, verdicts, sentences and files of a report, on run folders written by hand."""

import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from reported import Page, markdown_tables_are_whole, tidy
from spoken import IMAGES, Spoken, captions, people
from studies.captioning import judgements, report
from studies.captioning.judgements import COMPARED
from studies.captioning.report import ARCHITECTURES, Results, judged, read
from studies.reporting.bootstrap import draws
from studies.reporting.publish import publish

METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
IDS = ("bleu1", "bleu2", "bleu3", "bleu4", "meteor", "rouge_l", "cider")
FOUR = dict(zip(IDS[3:], METRICS[3:], strict=True))
RNG = np.random.default_rng(1)
PRETRAINED = {"name": "backbone", "weights": "somewhere", "trained": False}
FAIR = RNG.integers(0, 5, IMAGES).tolist()  # errors on each image, see `spoken.captions`


@pytest.fixture
def write(sandbox, write_run):
    def write(system, errors=FAIR, seed=0, dataset="made_up", **options):
        given = people(len(errors))
        return write_run(
            sandbox / "root", system, seed, captions(errors), given, dataset, **options
        )

    return write


class TestResults:
    def test_metrics_of_weights_are_those_of_the_images_drawn(self, write):
        write("resnet_lstm@narrow")
        results = read("made_up")
        weights = draws(range(IMAGES), 20)
        metrics = results.metrics(results.runs[0])
        values = {name: metric(weights.astype(float)) for name, metric in metrics.items()}
        spoken = Spoken(captions(FAIR), people())
        for place, times in enumerate(weights):
            wanted = spoken.corpus(np.repeat(np.arange(IMAGES), times).tolist())
            for name, metric in zip(IDS, METRICS, strict=True):
                assert values[name][place] == pytest.approx(wanted[metric])
        frame = results.tidy()
        assert frame["metric"].tolist() == list(IDS)
        assert frame["mean"].tolist() == pytest.approx([spoken.corpus()[one] for one in METRICS])
        assert (frame["n"] == IMAGES).all()

    @pytest.mark.parametrize("dataset", ["flickr8k", "flickr8k_lite", "flickr8k_scratch"])
    def test_published_values_stand_beside_their_system_and_data_only(self, write, dataset):
        trunk = PRETRAINED | {"weights": "package/x"} if dataset == "flickr8k_lite" else None
        for system in ("most_frequent", *ARCHITECTURES, "clip_transformer@trained"):
            write(system, dataset=dataset, trunk=trunk)
        results = read(dataset)
        frame = results.tidy().dropna(subset="published")
        assert ("are only for context" in report.note(results, results.tidy())) == bool(trunk)
        # slides of A. Kochetkov and D. Khoroshenko: BLEU-4, METEOR, ROUGE-L, CIDEr
        table = {
            "resnet_lstm": (0.194, 0.216, 0.461, 0.516),
            "resnet_transformer": (0.229, 0.232, 0.477, 0.613),
            "clip_transformer": (0.253, 0.245, 0.501, 0.684),
        }
        wanted = [
            [model, "", metric, value]
            for model, values in table.items()
            for metric, value in zip(FOUR, values, strict=True)
        ]
        rows = frame[["model", "variant", "metric", "published"]].to_numpy().tolist()
        assert rows == ([] if dataset == "flickr8k_scratch" else wanted)


GOOD, MIDDLE, POOR = (np.full(IMAGES, wrong) for wrong in (0, 2, 3))


class TestArchitectures:
    @pytest.fixture
    def judge(self, write):
        """Return a function: errors of the LSTM, the Transformer, CLIP -> what became of C1."""

        def judge(*errors, **options):
            rng = np.random.default_rng(0)
            for system, most in zip(ARCHITECTURES, errors, strict=True):
                for seed in range(5):
                    some = np.where(rng.random(IMAGES) < 0.1, 4, most)
                    write(system, some.tolist(), seed, **{"trunk": PRETRAINED, **options})
            first, second = judged(read("made_up"))
            assert (first.claim.id, second.claim.id) == ("C1", "C2")
            assert second.verdict.startswith("not tested here: ")
            return first

        return judge

    @pytest.mark.parametrize(
        ("errors", "steps", "verdict"),
        [
            ((POOR, MIDDLE, GOOD), ["holds"] * 3, "holds"),
            (
                (POOR, GOOD, MIDDLE),  # the outer pair holds
                ["does not hold", "holds", "holds"],
                "does not hold",
            ),
            ((GOOD, MIDDLE, POOR), ["does not hold"] * 3, "does not hold"),
        ],
    )
    def test_every_pair_decides(self, judge, errors, steps, verdict):
        outcome = judge(*errors)
        assert [f"{one.step.metric}: {one.step.relation}" for one in outcome.steps] == [
            f"{metric}: {pair}"
            for pair in (
                "clip_transformer > resnet_transformer",
                "clip_transformer > resnet_lstm",
                "resnet_transformer > resnet_lstm",
            )
            for metric in FOUR
        ]
        assert [step.verdict for step in outcome.steps if step.step.metric == "cider"] == steps
        assert outcome.verdict == verdict

    def test_from_scratch_it_is_another_question(self, judge):
        outcome = judge(POOR, MIDDLE, GOOD, trunk=None)
        assert outcome.verdict.startswith("not tested here: the encoders are from scratch")
        assert read("made_up").forests([outcome]) == []


class TestPeople:
    def test_experts_are_asked_once_and_every_step_decides(self, sandbox, write, monkeypatch):
        source = {"name": "flickr8k", "splits": "official"}
        write("most_frequent", [0, 1], dataset="flickr8k", source=source)
        write("most_frequent", [0, 1])
        asked, rng = [], np.random.default_rng(0)
        grades = rng.integers(1, 5, (150, 3))
        pairs = pd.DataFrame(grades, columns=["judge1", "judge2", "judge3"])
        for metric, noise in zip(COMPARED, (30, 1, 30, 0.1), strict=True):
            pairs[metric] = grades.mean(axis=1) + rng.normal(0, noise, 150)
        pairs["image"] = [f"{k // 5}.jpg" for k in range(150)]
        pairs["caption"] = [f"{k % 50}.jpg#0" for k in range(150)]

        def people(folder, judges):
            asked.append((folder, judges))
            return pairs

        monkeypatch.setattr(judgements, "judged", people)
        assert report.human_judgements(read("made_up")) == {}  # drawn captions have no judges
        for _ in range(2):
            _, outcome = judged(read("flickr8k"))
            assert outcome.verdict == "holds"
            assert {step.verdict for step in outcome.steps} == {"holds"}
        assert asked == [(sandbox / "data" / "flickr8k", one) for one in ("expert", "crowd")]
        assert len(read("flickr8k").forests([outcome])) == 1

        file = read("flickr8k").folder / "judgements_crowd.parquet"
        pairs.assign(METEOR=-pairs["METEOR"]).to_parquet(file)
        _, outcome = judged(read("flickr8k"))
        assert [step.verdict for step in outcome.steps] == ["holds"] * 7 + ["does not hold"]
        assert outcome.verdict == "does not hold"


def test_systems_that_do_not_beat_the_baselines_are_named():
    means = {  # of BLEU-4, METEOR, ROUGE-L, CIDEr
        "most_frequent": (0.1, 0.2, 0.3, 0.4),
        "nearest_neighbour": (0.2, 0.1, 0.2, 0.5),
        "aaa": (0.2, 0.21, 0.31, 0.51),  # as good as the better one is not better
        "bbb": (0.9,) * 4,
    }
    rows = [
        {"study": "captioning", "dataset": "x", "model": model, "metric": metric, "mean": mean}
        for model, values in means.items()
        for metric, mean in zip(FOUR, values, strict=True)
    ]

    def sentence(*systems):
        runs = {name: [SimpleNamespace(trained=len(name) == 3)] for name in systems}
        return report.beaten(Results("x", runs), tidy(rows))

    assert "aaa (BLEU-4)." in sentence(*means)
    assert sentence(*list(means)[:2], "bbb").startswith("Every trained system beats most_frequent")


HOSTILE = "<script>alert(1)</script> $x_1$ & <!-- \\ --> <img src=//evil.example/x.png>"


def test_the_page_and_the_files(sandbox, write_run, flickr8k_folder, weigh):
    """The report of photographs, made by its notebook, and again from its evidence alone."""
    ids = [f"{k:02}.jpg" for k in range(8)]
    album = dict(zip([*ids, "8.jpg", "9.jpg"], people(10), strict=True))
    parts = {"test": ids, "validation": ["8.jpg"], "train": ["9.jpg"]}
    flickr8k_folder(sandbox / "data" / "flickr8k", album, parts)
    source = {"name": "flickr8k", "splits": "official"}
    errors = {
        "most_frequent": [[4] * 8],
        "nearest_neighbour": [[3, 4, 1, 3, 3, 4, 3, 2]],
        "resnet_lstm": [[0, 1, 1, 3, 0, 2, 1, 0]],
        "clip_transformer": [[0, 0, 1, 0, 4, 0, 0, 1], [0, 0, 0, 0, 0, 1, 0, 0]],
    }
    for system, of_seeds in errors.items():
        for seed, one in enumerate(of_seeds):
            said = captions(one)
            if system == "resnet_lstm":
                said[3] = HOSTILE  # which is drawn in the gallery and over attention
            run = write_run(sandbox / "root", system, seed, said, people(8), ids=ids, source=source)
            if system in ARCHITECTURES:
                weigh(run)
    page = Page(publish("made_up", "captioning"))
    folder = page.file.parent
    gallery = Page(folder / "captioning_gallery.html")
    names = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert "4 systems, 8 test images; highest CIDEr: clip_transformer with " in page.text
    results = read("made_up")
    frame, tests = results.tidy(), results.tests()
    for row in frame[frame["metric"].isin([*FOUR])].itertuples():
        assert f"{row.mean:.3f}" in page.text
    assert frame["mean"].tolist() == pd.read_csv(folder / "captioning.csv")["mean"].tolist()
    written = pd.read_csv(folder / "captioning_tests.csv")
    pd.testing.assert_frame_equal(written, tests, check_dtype=False)
    for name in ("captioning.md", "claims/captioning.md"):
        markdown_tables_are_whole((folder / name).read_text(encoding="utf-8"))
    assert "captioning_gallery.html" in page.addresses

    assert "data:image/jpeg" not in page.source
    above, _, attention = gallery.source.rpartition("Attention")
    assert above.count("data:image/jpeg") == 2 * 3 * 3
    assert "data:image/jpeg" in attention
    assert f"{HOSTILE} (CIDEr 0.00). References: {' / '.join(people(8)[3])}" in gallery.text
    for other in (page, gallery):
        assert "<script" not in other.source
        assert "<img src=//" not in other.source

    before = {name: (folder / name).read_bytes() for name in names}
    shutil.rmtree(sandbox / "data")
    for weights in (sandbox / "root" / "runs").rglob("*.safetensors"):
        weights.unlink()
    publish("made_up", "captioning")
    again = {name: (folder / name).read_bytes() for name in names}
    assert {name for name in names if again[name] != before[name]} == {gallery.file.name}
    assert again[gallery.file.name].count(b"Not shown here: ") == 2
