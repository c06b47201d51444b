"""`make study` refuses wrong options in one line, before anything is made."""

import itertools
import os
from types import SimpleNamespace

import pytest
import yaml

from studies import __main__ as main
from studies.paths import StudyError
from studies.runs.params import run_files, studies_on
from studies.triplets.params import Parameters

HIDDEN = ["._flexible.yaml", ".#flexible.yaml", ".DS_Store"]
WRONG = [
    (["DATASET=tinny"], "no dataset `tinny`"),
    (["DATASET=tiny", "STUDY=triplet"], "no study `triplet`; did you mean `triplets`?"),
    (["DATASET=tiny", "STUDY=triplets,nothing"], "no study `nothing`; there are: "),
    (["DATASET=tiny", "MODEL=flexible,gan"], "no model `gan` on tiny; there are: "),
    (["DATASET=tiny", "SEEDS=0,"], "SEEDS=0,: "),
    (["DATASET=tiny", "JOBS=0"], "JOBS=0: give the number of processor cores"),
    (["DATASETS=tiny"], "unknown option `DATASETS`; did you mean `DATASET`?"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=lambda given: given[-1])
def test_wrong_options(sandbox, monkeypatch, capsys, arguments, words):
    monkeypatch.setattr("sys.argv", ["studies", *arguments])
    monkeypatch.setattr(main, "make", lambda *_: pytest.fail("started"))
    with pytest.raises(SystemExit) as caught:
        main.main()
    message = caught.value.code  # text as an exit code is printed, and the status is 1
    assert message.startswith("error: ")
    assert "\n" not in message
    assert words in message
    assert capsys.readouterr().out == ""
    assert not (sandbox / "root").exists()


def test_choices():
    chosen = main.choose(["DATASET=tiny", "MODEL=flexible,triplet", "SEEDS=0,1", "JOBS=4"])
    assert chosen["STUDY"].split(",")[-1] == "triplets"
    assert chosen["MODEL"] == "flexible,triplet"
    assert (chosen["SEEDS"], chosen["JOBS"]) == ("0,1", "4")
    assert main.choose(["MODEL=resnet_lstm"])["STUDY"] == "captioning"
    assert main.choose([])["DATASET"] == "demo"
    empty = main.choose(["DATASET=tiny", "MODEL=", "SEEDS=", "STUDY="])
    assert (empty["MODEL"], empty["SEEDS"]) == ("", "0")


@pytest.fixture
def copied(monkeypatch, tmp_path):
    """Copy a dataset of triplets and its flexible margin under other names; `params/` is that."""
    source = main.paths.REPOSITORY / "params" / "triplets" / "tiny"
    monkeypatch.setattr(main.paths, "REPOSITORY", tmp_path)

    def copy(dataset, system):
        folder = tmp_path / "params" / "triplets" / dataset
        folder.mkdir(parents=True)
        shared = (source / "dataset.yaml").read_text()
        (folder / "dataset.yaml").write_text(shared.replace(": tiny", f': "{dataset}"'))
        own = (source / "flexible.yaml").read_text()
        (folder / f"{system}.yaml").write_text(own.replace("model: flexible", f'model: "{system}"'))
        return folder

    return copy


def test_a_file_that_is_not_named_for_what_it_says(copied):
    folder = copied("tiny", "flexible")
    (folder / "flexible.yaml").rename(folder / "mine.yaml")
    with pytest.raises(StudyError, match=r"^params/triplets/tiny/mine.yaml: says dataset tiny and"):
        main.choose(["DATASET=tiny"])


@pytest.mark.parametrize("name", ["2024", "007", "1_0", "no", "null", "infinity"])
def test_names_that_would_not_stay_text_are_refused_first(copied, name):
    copied(name, "flexible")
    with pytest.raises(StudyError, match=rf"{name}/dataset.yaml: parameter `dataset` .* '{name}'$"):
        main.choose([f"DATASET={name}"])
    copied("mine", name)
    with pytest.raises(StudyError, match=rf"mine/{name}.yaml: parameter `model` .* '{name}'$"):
        main.choose(["DATASET=mine"])
    # as papermill's `-p dataset 2024` gives it
    named = {"dataset": yaml.safe_load(name), "system": "flexible", "seed": 0}
    with pytest.raises(StudyError, match="dataset"):
        Parameters.from_names(named, "here")


def test_hidden_files_are_no_parameters(copied):
    folder = copied("mine", "flexible")
    for place, name in itertools.product((folder, folder.parent, folder.parent.parent), HIDDEN):
        (place / name).write_bytes(b"\0")
    for place in (folder, folder.parent, folder.parent.parent):
        checkpoints = place / ".ipynb_checkpoints"
        checkpoints.mkdir()
        (checkpoints / "dataset.yaml").write_text((folder / "dataset.yaml").read_text())
    assert main.choose(["DATASET=mine"])["STUDY"] == "triplets"
    assert list(run_files("triplets", "mine")) == ["flexible"]
    assert studies_on() == ["triplets"]
    with pytest.raises(StudyError, match=r"no dataset `other`; there are: mine$"):
        main.choose(["DATASET=other"])
    with pytest.raises(StudyError, match=r"no study `other`; there are: triplets$"):
        main.choose(["STUDY=other"])


def test_what_became_of_each_run(sandbox, capsys):
    folder, pages = main.paths.runs() / "demo" / "recipes", main.paths.reports() / "demo"
    names = ["majority", "two_networks", "shared_backbone", "naive", "oracle"]
    runs = [folder / name / "seed0" / "metrics.json" for name in names]
    files = [*runs, pages / "recipes.html"]
    for place in (*(run.parent for run in runs), pages):
        place.mkdir(parents=True)
    runs[0].touch()
    os.utime(runs[0], (0, 0))
    stale = folder / "report.error"
    stale.write_text("of another day")
    progress = main.Progress(files)
    assert not stale.exists()
    progress.emit(SimpleNamespace(event="job_finished"))
    assert capsys.readouterr().out == ""
    runs[1].touch()
    progress.emit(SimpleNamespace(event="job_finished"))
    assert capsys.readouterr().out.startswith("2 of 6 runs and reports, about 0 s left")
    runs[2].with_name("train.error").write_text("no memory;\nbuy some\n")
    progress.emit(SimpleNamespace(event="job_error"))
    assert capsys.readouterr().out.startswith("3 of 6 ")
    blocked = "not made, as it builds on shared_backbone (failed: no memory; buy some)"
    assert list(map(progress.outcome, files)) == [
        "made before",
        "made now",
        "failed: no memory; buy some",
        blocked,
        blocked,
        "not made",
    ]


def interrupted(*_):
    raise KeyboardInterrupt


def test_no_success_is_told_of_what_is_not_made(sandbox, monkeypatch):
    monkeypatch.setattr("sys.argv", ["studies", "DATASET=tiny", "MODEL=flexible"])
    monkeypatch.setattr(main, "make", lambda *_: None)
    with pytest.raises(SystemExit, match=r"^error: 2 of 2 runs and reports could not be made"):
        main.main()
    monkeypatch.setattr(main, "make", interrupted)
    with pytest.raises(SystemExit, match=r"^stopped; the same command goes on from here$"):
        main.main()
    monkeypatch.setenv("STUDIES_ROOT", str(sandbox / "{root}"))
    with pytest.raises(SystemExit, match="braces"):
        main.main()
