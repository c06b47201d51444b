"""Numbers, verdicts, sentences and files of a report, on run folders written by hand."""

import numpy as np
import pandas as pd
import pytest

from reported import Page, markdown_tables_are_whole
from sentences import refused
from spoken import IMAGES, Spoken, captions, people
from studies.captioning import data, judgements, report
from studies.captioning.judgements import CLAIMED, COMPARED, Judged
from studies.captioning.report import Results, paired_tests, read, summary
from studies.paths import StudyError
from studies.reporting import bootstrap
from studies.reporting.publish import publish
from studies.reporting.tables import BOOTSTRAP, rounded, tidy

METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
IDS = ("bleu1", "bleu2", "bleu3", "bleu4", "meteor", "rouge_l", "cider")
FOUR = dict(zip(IDS[3:], METRICS[3:], strict=True))
RNG = np.random.default_rng(1)
# errors of a system on each image, see `spoken.captions`
POOR, FAIR, GOOD = (RNG.integers(low, low + 3, IMAGES).tolist() for low in (2, 1, 0))


@pytest.fixture
def write(sandbox, write_run):
    def write(system, errors=FAIR, seed=0, dataset="made_up", **options):
        given = people(len(errors))
        return write_run(
            sandbox / "root", system, seed, captions(errors), given, dataset, **options
        )

    return write


def scores(*errors):
    return [Spoken(captions(one), people()) for one in errors]


@pytest.mark.usefixtures("few_resamples")
class TestSummary:
    @pytest.mark.parametrize("seeds", [1, 3])
    def test_seeds_are_averaged_and_images_drawn_and_scored_again(self, write, seeds):
        errors = [FAIR, GOOD, POOR][:seeds]
        for seed, one in enumerate(errors):
            write("resnet_lstm@narrow", one, 3 * seed)
        frame = summary(read("made_up")).set_index("metric")
        assert list(frame.index) == list(IDS)
        known = scores(*errors)
        for metric, name in zip(METRICS, IDS, strict=True):
            row, values = frame.loc[name], [one.corpus()[metric] for one in known]
            assert row["mean"] == pytest.approx(np.mean(values))
            assert seeds == 1 or row["std"] == pytest.approx(np.std(values, ddof=1))
            samples = bootstrap.bootstrap(
                lambda items, k, m=metric: known[k].corpus(items.tolist())[m], IMAGES, seeds
            )
            wanted = bootstrap.interval(samples)
            assert row[["ci_low", "ci_high"]].tolist() == pytest.approx(wanted, rel=1e-6)
        for column, value in {"model": "resnet_lstm", "variant": "narrow", "n": IMAGES}.items():
            assert (frame[column] == value).all()
        assert (frame["n_seeds"] == seeds).all()

    @pytest.mark.parametrize("dataset", ["flickr8k", "flickr8k_scratch", "demo"])
    def test_published_values_stand_beside_their_system_and_data_only(self, write, dataset):
        systems = ("most_frequent", *report.ARCHITECTURES, "clip_transformer@trained")
        for system in systems:
            write(system, dataset=dataset)
        frame = summary(read(dataset)).dropna(subset="published")
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
        assert rows == (wanted if dataset == "flickr8k" else [])


class TestRead:
    def test_baselines_come_first_and_variants_last(self, write):
        order = [
            *("most_frequent", "nearest_neighbour", *report.ARCHITECTURES, "aaa", "zzz"),
            *("nearest_neighbour@pooled", "resnet_lstm@a"),
        ]
        for system in sorted(order):
            write(system)
        write("resnet_lstm", seed=11)
        results = read("made_up")
        assert list(results.systems) == order
        assert list(results.trained) == [*order[2:7], order[8]]
        assert len(results.runs) == 10

    def test_no_run_and_other_test_images(self, write):
        assert "run `make study DATASET=made_up STUDY=captioning`" in refused(read, "made_up")
        write("resnet_lstm")
        (write("resnet_transformer") / "metrics.json").unlink()  # an unfinished run is no run
        assert list(read("made_up").systems) == ["resnet_lstm"]
        write("clip_transformer", FAIR[1:])
        assert "runs were tested on different images" in refused(read, "made_up")


@pytest.mark.usefixtures("few_resamples")
class TestPairedTests:
    def test_every_two_systems_with_a_seed_in_common(self, write):
        for system in ("clip_transformer", "most_frequent", "resnet_lstm@wide", "resnet_lstm"):
            write(system)
        write("resnet_transformer", seed=1)
        rows = paired_tests(read("made_up"))
        order = ["most_frequent", "resnet_lstm", "clip_transformer", "resnet_lstm@wide"]
        wanted = {(a, b, m) for k, a in enumerate(order) for b in order[k + 1 :] for m in FOUR}
        # a baseline stands against every seed
        wanted |= {("most_frequent", "resnet_transformer", metric) for metric in FOUR}
        found = list(rows[["first", "second", "metric"]].itertuples(index=False, name=None))
        assert set(found) == wanted
        assert len(found) == len(wanted)
        assert set(rows["test"]) == {BOOTSTRAP}

    def test_seeds_in_common_are_averaged_and_resampled(self, write):
        first = {0: POOR, 1: FAIR, 2: POOR[::-1]}
        second = {1: GOOD, 2: FAIR[::-1], 9: GOOD[::-1]}
        for system, errors in {"resnet_lstm": first, "clip_transformer": second}.items():
            for seed, one in errors.items():
                write(system, one, seed)
        rows = paired_tests(read("made_up")).set_index("metric")
        a, b = (scores(*(errors[seed] for seed in (1, 2))) for errors in (first, second))
        assert (rows["seeds"] == 2).all()
        for name, metric in FOUR.items():
            gaps = [y.corpus()[metric] - x.corpus()[metric] for x, y in zip(a, b, strict=True)]
            assert rows.loc[name, "difference"] == pytest.approx(np.mean(gaps))
            samples = bootstrap.bootstrap(
                lambda items, k, m=metric: (
                    b[k].corpus(items.tolist())[m] - a[k].corpus(items.tolist())[m]
                ),
                IMAGES,
                2,
            )
            wanted = bootstrap.interval(samples)
            interval = rows.loc[name, ["ci_low", "ci_high"]].tolist()
            assert interval == pytest.approx(wanted, rel=1e-6)
            assert rows.loc[name, "p"] == pytest.approx(bootstrap.bootstrap_p(samples))

    @pytest.mark.parametrize("baseline", ["most_frequent", "nearest_neighbour@pooled"])
    def test_a_baseline_stands_against_every_seed(self, write, baseline):
        # the plain one comes first in a pair, its variant second
        write(baseline, POOR)
        write("resnet_lstm", FAIR, 3)
        write("resnet_lstm", GOOD, 5)
        rows = paired_tests(read("made_up")).set_index("metric")
        (poor, fair, good), sign = scores(POOR, FAIR, GOOD), -1 if "@" in baseline else 1
        assert set(rows["second" if sign < 0 else "first"]) == {baseline}
        assert (rows["seeds"] == 2).all()
        for name, metric in FOUR.items():
            gap = np.mean([one.corpus()[metric] for one in (fair, good)]) - poor.corpus()[metric]
            assert rows.loc[name, "difference"] == pytest.approx(sign * gap)
            low, high = sorted(sign * rows.loc[name, ["ci_low", "ci_high"]])
            assert 0 < low < gap < high


# CLIP over ResNet, and the Transformer over the LSTM
STEPS = [("resnet_transformer", "clip_transformer"), ("resnet_lstm", "resnet_transformer")]
PRETRAINED = {"name": "backbone", "weights": "somewhere", "trained": False}
UP, DOWN, BOTH = (0.03, 0.05), (-0.05, -0.03), (-0.01, 0.03)


def one_test(first, second, interval, seeds=3, metric="cider"):
    low, high = interval
    return {
        **{"first": first, "second": second, "metric": metric, "test": BOOTSTRAP, "seeds": seeds},
        **{"difference": (low + high) / 2, "ci_low": low, "ci_high": high, "p": 0.04},
    }


class TestArchitectures:
    @pytest.fixture
    def judge(self, write):
        """Return a function: intervals of the two steps -> the row of C1."""

        def judge(*intervals, systems=report.ARCHITECTURES, dataset="made_up", seeds=(3, 3), **own):
            for system in systems:
                write(system, [0, 1], dataset=dataset, **{"trunk": PRETRAINED, **own})
            # other metrics and pairs do not decide
            rows = [one_test(*step, DOWN, metric="bleu4") for step in STEPS]
            rows.append(one_test("resnet_lstm", "clip_transformer", DOWN))
            steps = zip(STEPS, intervals, seeds, strict=False)
            rows += [one_test(*step, interval, count) for step, interval, count in steps]
            first, second = report.ledger(read(dataset), pd.DataFrame(rows))
            assert (first.id, second.id) == ("C1", "C2")
            assert second.verdict.startswith("not tested here: ")
            return first

        return judge

    @pytest.mark.parametrize(
        ("intervals", "word"),
        [
            ((UP, UP), "holds"),
            ((UP, DOWN), "does not hold"),
            ((DOWN, BOTH), "does not hold"),
            ((UP, BOTH), "inconclusive"),
            ((BOTH, UP), "inconclusive"),
            ((UP, (0.0, 0.02)), "inconclusive"),
        ],
    )
    def test_both_steps_decide(self, judge, intervals, word):
        claim = judge(*intervals)
        assert claim.verdict == f"{word} (3 seeds)"
        assert claim.figure.count("[") == 2

    @pytest.mark.parametrize(
        ("dataset", "seeds", "marks"),
        [
            ("made_up", (5, 2), "2 seeds"),  # the fewest
            ("made_up", (1, 1), "one seed"),
            ("demo", (1, 1), "one seed, synthetic"),
        ],
    )
    def test_seeds_and_drawn_data_are_named(self, judge, dataset, seeds, marks):
        assert judge(UP, UP, dataset=dataset, seeds=seeds).verdict == f"holds ({marks})"

    def test_from_scratch_it_is_another_question(self, judge, write):
        write("resnet_lstm", [0, 1])  # one encoder is enough
        claim = judge(UP, DOWN, systems=report.ARCHITECTURES[1:])
        assert claim.verdict.startswith("not tested here: the encoders are from scratch")
        assert "does not hold (3 seeds)" in claim.verdict
        assert "+0.040 [+0.030, +0.050]" in claim.figure

    def test_systems_that_were_not_run_or_share_no_seed(self, judge):
        claim = judge(UP, UP, systems=["resnet_transformer", "resnet_lstm@wide", "most_frequent"])
        assert "no run of resnet_lstm or clip_transformer on made_up" in claim.verdict
        claim = judge(UP, systems=["resnet_lstm", "clip_transformer"])
        assert claim.verdict == "not tested here: the systems have no seed in common"
        assert claim.figure == ""

    @pytest.mark.parametrize(
        ("levels", "word"), [((4, 2, 0), "holds"), ((2, 2, 0), "inconclusive")]
    )
    def test_from_runs(self, write, few_resamples, levels, word):
        for system, wrong in zip(report.ARCHITECTURES, levels, strict=True):
            write(system, [wrong] * IMAGES, trunk=PRETRAINED)
        results = read("made_up")
        claim = report.architectures(results, paired_tests(results))
        assert claim.verdict == f"{word} (one seed)"


def agreement(intervals, judges="expert"):
    """As `judgements.agreement` gives it: a row a metric, then one a claimed difference."""
    rows = [(metric, "", judges, 0.3, 0.28, 0.3214, np.nan, 5664) for metric in COMPARED]
    for pair, (low, high) in zip(CLAIMED, intervals, strict=True):
        rows.append((*pair, judges, (low + high) / 2, low, high, 0.04, 5664))
    columns = ["metric", "against", "judgements", "tau", "ci_low", "ci_high", "p", "pairs"]
    return pd.DataFrame(rows, columns=columns)


class TestMetrics:
    @pytest.mark.parametrize(
        ("intervals", "word"),
        [
            ((UP, UP, UP, UP), "holds"),
            ((UP, UP, UP, BOTH), "inconclusive"),
            ((UP, UP, UP, DOWN), "does not hold"),
            ((DOWN, BOTH, UP, UP), "does not hold"),
        ],
    )
    def test_every_claimed_difference_of_the_experts_decides(self, intervals, word):
        both = [agreement([DOWN] * 4, "crowd"), agreement(intervals)]
        claim = report.metrics(pd.concat(both, ignore_index=True))
        assert claim.id == "C2"
        assert claim.verdict == f"{word} (5,664 pairs)"
        taus, *gaps = claim.figure.split("; ")
        assert taus == ", ".join(f"{metric} 0.300 [0.280, 0.321]" for metric in COMPARED)
        assert [gap.partition(" −")[0] for gap in gaps] == [first for first, _ in CLAIMED]

    def test_experts_are_asked_once(self, sandbox, write, monkeypatch):
        source = {"name": "flickr8k", "splits": "official"}
        write("most_frequent", [0, 1], dataset="flickr8k", source=source)
        write("most_frequent", [0, 1])
        asked, rng = [], np.random.default_rng(0)
        levels = rng.integers(0, 4, (150, 3))
        noise = {"BLEU-4": 9, "METEOR": 2, "ROUGE-L": 9, "CIDEr": 0.1}
        values = {m: levels.mean(axis=1) + rng.normal(0, s, 150) for m, s in noise.items()}

        def judged(folder, judges):
            asked.append((folder, judges))
            return Judged(judges, np.arange(150) // 5, levels, pd.DataFrame(values))

        monkeypatch.setattr(judgements, "judged", judged)
        assert report.human_agreement(read("made_up")) is None  # drawn captions have no judges
        frame = report.human_agreement(read("flickr8k"))
        again = report.human_agreement(read("flickr8k"))
        assert asked == [(sandbox / "data" / "flickr8k", "expert")]
        pd.testing.assert_frame_equal(again, frame)
        assert report.metrics(frame).verdict == "holds (150 pairs)"

    def test_without_the_files_they_are_left_out(self, write, monkeypatch, capsys):
        def missing(folder, judges):
            raise StudyError(f"{folder}: no such file")

        source = {"name": "flickr8k", "splits": "official"}
        write("most_frequent", [0, 1], dataset="flickr8k", source=source)
        monkeypatch.setattr(judgements, "judged", missing)
        assert report.human_agreement(read("flickr8k")) is None
        assert "flickr8k: no such file" in capsys.readouterr().out


class TestSentences:
    LOW, HIGH = (0.1, 0.2, 0.3, 0.4), (0.2, 0.1, 0.2, 0.5)

    @pytest.mark.parametrize(
        ("means", "sentence"),
        [
            ({"most_frequent": LOW, "nearest_neighbour": HIGH}, "Nothing but trivial baselines"),
            ({"resnet_lstm": LOW}, "No trivial baseline was run."),
            (
                {"most_frequent": LOW, "nearest_neighbour": HIGH, "aaa": (0.21, 0.21, 0.31, 0.51)},
                "Every trained system beats most_frequent and nearest_neighbour in all four",
            ),
            (
                # as good as the better one is not better; above one in each is above both in none
                {
                    **{"most_frequent": LOW, "nearest_neighbour": HIGH},
                    **{"aaa": (0.2, 0.21, 0.31, 0.51), "bbb": (0.9,) * 4},
                    "clip_transformer@wide": (0.15, 0.15, 0.25, 0.45),
                },
                "Not better than the best trivial baseline: aaa (BLEU-4); "
                "clip_transformer@wide (BLEU-4, METEOR, ROUGE-L, CIDEr).",
            ),
        ],
    )
    def test_systems_that_do_not_beat_the_baselines_are_named(self, means, sentence):
        rows = []
        for system, values in means.items():
            model, _, variant = system.partition("@")
            names = {"study": "captioning", "dataset": "x", "model": model, "variant": variant}
            # a measure that the sentence leaves out
            for metric, mean in zip(("bleu1", *FOUR), (0.0, *values), strict=True):
                rows.append({**names, "metric": metric, "mean": mean})
        results = Results("x", {system: [] for system in means})
        assert report.beaten(results, tidy(rows)).startswith(sentence)

    def test_the_main_table_leaves_variants_out_unless_they_are_alone(self, write, few_resamples):
        write("clip_transformer@wide")
        assert "| clip_transformer@wide |" in report.headline(summary(read("made_up"))).text
        write("resnet_lstm")
        shown = report.headline(summary(read("made_up"))).text
        assert "| resnet_lstm |" in shown
        assert "@wide" not in shown


HOSTILE = "<script>alert(1)</script> $x_1$ & <!-- \\ --> <img src=//evil.example/x.png>"


def test_the_page_and_the_files(sandbox, write_run, plates, weigh, monkeypatch):
    """The report of photographs, made by its notebook."""
    monkeypatch.setenv("STUDIES_ROOT", str(sandbox / "root"))
    ids = sorted(data.read(plates()).files)[:8]
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
            run = write_run(sandbox / "root", system, seed, said, people(8), "made_up", ids)
            if system in report.ARCHITECTURES:
                weigh(run)
    page = Page(publish("made_up", "captioning"))
    folder = page.file.parent
    gallery = Page(folder / "captioning_gallery.html")
    names = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    ends = (".csv", "_tests.csv", ".md", ".tex", ".json", ".html", "_gallery.html")
    assert names == {*(f"captioning{end}" for end in ends), "claims/captioning.md"}

    for heading in ("Results", "Claims", "Differences", "Training", "How this was made"):
        assert f">{heading}</h2>" in page.source
    assert "4 systems, 8 test images; highest CIDEr: clip_transformer with " in page.text
    assert "SEEDS=0,1 MODEL=clip_transformer" in page.text
    results = read("made_up")
    frame, tests = summary(results), rounded(paired_tests(results))
    for row in frame[frame["metric"].isin([*FOUR])].itertuples():
        assert f"{row.mean:.3f}" in page.text
    assert frame["mean"].tolist() == pd.read_csv(folder / "captioning.csv")["mean"].tolist()
    written = pd.read_csv(folder / "captioning_tests.csv")
    pd.testing.assert_frame_equal(written, tests, check_dtype=False)
    for name in ("captioning.md", "claims/captioning.md"):
        markdown_tables_are_whole((folder / name).read_text(encoding="utf-8"))
    assert "captioning_gallery.html" in page.addresses

    assert "data:image/jpeg" not in page.source
    assert gallery.source.count("data:image/jpeg") == 2 * 3 * 3
    assert f"{HOSTILE} (CIDEr 0.00)" in gallery.text
    for other in (page, gallery):
        assert "<script" not in other.source
        assert "<img src=//" not in other.source
