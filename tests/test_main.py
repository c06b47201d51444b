"""`make study` refuses wrong options in one line, before anything is made."""

import pytest

from commands import Command
from studies import __main__ as main
from studies.paths import StudyError


@pytest.fixture
def root(monkeypatch, tmp_path):
    monkeypatch.setenv("STUDIES_ROOT", str(tmp_path / "root"))
    return tmp_path / "root"


WRONG = [
    (["DATASET=tinny"], ["no dataset `tinny`", "did you mean `tiny`?"]),
    (["DATASET=tiny", "STUDY=triplet"], ["no study `triplet`; did you mean `triplets`?"]),
    (["DATASET=tiny", "STUDY=triplets,nothing"], ["no study `nothing`; there are: "]),
    (["DATASET=tiny", "MODEL=flexibel"], ["no model `flexibel` on tiny; did you mean `flexible`?"]),
    (["DATASET=tiny", "MODEL=flexible,gan"], ["no model `gan` on tiny; there are: ", "triplet"]),
    (["DATASET=tiny", "SEEDS=a"], ["SEEDS=a: give whole numbers"]),
    (["DATASET=tiny", "SEEDS=-1"], ["SEEDS=-1: give whole numbers"]),
    (["DATASET=tiny", "SEEDS=0,,1"], ["SEEDS=0,,1: give whole numbers"]),
    (["DATASET=tiny", "SEEDS=0,"], ["SEEDS=0,: give whole numbers"]),
    (["DATASET=tiny", "SEEDS=1.5"], ["SEEDS=1.5: give whole numbers"]),
    (["DATASET=tiny", "SEEDS=01"], ["SEEDS=01: give whole numbers"]),
    (["DATASET=tiny", "JOBS=0"], ["JOBS=0: give the number of processor cores"]),
    (["DATASET=tiny", "JOBS=two"], ["JOBS=two: "]),
    (["DATASET=tiny", "JOBS=-2"], ["JOBS=-2: "]),
    (["DATASETS=tiny"], ["unknown option `DATASETS`; did you mean `DATASET`?"]),
    (["tiny"], ["unknown option `tiny`; there are: DATASET, STUDY, MODEL, SEEDS, JOBS"]),
    (["--help-me"], ["unknown option `--help-me`"]),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=lambda given: given[-1])
def test_wrong_options(root, monkeypatch, capsys, arguments, words):
    monkeypatch.setattr("sys.argv", ["studies", *arguments])
    monkeypatch.setattr(main, "make", lambda _: pytest.fail("started"))
    with pytest.raises(SystemExit) as caught:
        main.main()
    message = caught.value.code  # text as an exit code is printed, and the status is 1
    assert message.startswith("error: ")
    assert "\n" not in message
    assert all(word in message for word in words), message
    assert capsys.readouterr().out == ""
    assert not root.exists()


def test_the_process_says_so_on_stderr_with_status_1(tmp_path):
    command = Command(tmp_path / "logs", tmp_path / "root", "studies", "DATASET=tinny")
    assert command.wait() == 1
    assert command.out == ""
    assert command.err.count("\n") == 1
    assert command.err.startswith("error: study captioning has no dataset `tinny`; did you mean")
    assert not (tmp_path / "root").exists()


def test_choices():
    chosen = main.choose(["DATASET=tiny", "MODEL=flexible,triplet", "SEEDS=0,1", "JOBS=4"])
    assert chosen["STUDY"].split(",")[-1] == "triplets"
    assert chosen["MODEL"] == "flexible,triplet"
    assert (chosen["SEEDS"], chosen["JOBS"]) == ("0,1", "4")
    assert main.choose(["MODEL=resnet_lstm"])["STUDY"] == "captioning"
    assert main.choose([])["DATASET"] == "demo"
    empty = main.choose(["DATASET=tiny", "MODEL=", "SEEDS=", "STUDY="])
    assert (empty["MODEL"], empty["SEEDS"]) == ("", "0")


def test_a_file_that_is_not_named_for_what_it_says(monkeypatch, tmp_path):
    source = main.paths.REPOSITORY / "params" / "triplets" / "tiny"
    copy = tmp_path / "params" / "triplets" / "tiny"
    copy.mkdir(parents=True)
    (copy / "dataset.yaml").write_text((source / "dataset.yaml").read_text())
    (copy / "mine.yaml").write_text((source / "flexible.yaml").read_text())
    monkeypatch.setattr(main.paths, "REPOSITORY", tmp_path)
    with pytest.raises(StudyError) as caught:
        main.choose(["DATASET=tiny"])
    assert str(caught.value) == (
        "params/triplets/tiny/mine.yaml: says dataset tiny and system flexible; they must be the "
        "names of its folder and file"
    )


def test_a_success_that_left_a_run_unmade_is_none(root, monkeypatch):
    monkeypatch.setattr(main, "make", lambda _: None)
    monkeypatch.setattr("sys.argv", ["studies", "DATASET=tiny", "MODEL=flexible"])
    with pytest.raises(SystemExit, match=r"2 files are missing.*flexible/seed0/model"):
        main.main()


def test_braces_in_the_path_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDIES_ROOT", str(tmp_path / "{root}"))
    monkeypatch.setattr("sys.argv", ["studies", "DATASET=tiny"])
    with pytest.raises(SystemExit, match="braces"):
        main.main()


def test_ctrl_c_is_one_line(root, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "make", interrupt)
    monkeypatch.setattr("sys.argv", ["studies", "DATASET=tiny"])
    with pytest.raises(SystemExit, match=r"^stopped; the same command goes on from here$"):
        main.main()
