"""`make study` refuses wrong options in one line, before anything is made."""

import pytest

from studies import __main__ as main
from studies.paths import StudyError

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


def test_a_file_that_is_not_named_for_what_it_says(monkeypatch, tmp_path):
    source = main.paths.REPOSITORY / "params" / "triplets" / "tiny"
    copy = tmp_path / "params" / "triplets" / "tiny"
    copy.mkdir(parents=True)
    (copy / "dataset.yaml").write_text((source / "dataset.yaml").read_text())
    (copy / "mine.yaml").write_text((source / "flexible.yaml").read_text())
    monkeypatch.setattr(main.paths, "REPOSITORY", tmp_path)
    with pytest.raises(StudyError, match=r"^params/triplets/tiny/mine.yaml: says dataset tiny and"):
        main.choose(["DATASET=tiny"])


def interrupted(*_):
    raise KeyboardInterrupt


def test_no_success_is_told_of_what_is_not_made(sandbox, monkeypatch):
    monkeypatch.setattr("sys.argv", ["studies", "DATASET=tiny", "MODEL=flexible"])
    monkeypatch.setattr(main, "make", lambda *_: None)
    with pytest.raises(SystemExit, match=r"2 files are missing.*flexible/seed0/model"):
        main.main()
    monkeypatch.setattr(main, "make", interrupted)
    with pytest.raises(SystemExit, match=r"^stopped; the same command goes on from here$"):
        main.main()
    monkeypatch.setenv("STUDIES_ROOT", str(sandbox / "{root}"))
    with pytest.raises(SystemExit, match="braces"):
        main.main()
