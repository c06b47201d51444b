"""The names of ImageNet's classes, which come in the order of wnids."""

import os
import re
from pathlib import Path

import pytest

from sentences import refused
from studies import paths
from studies.relevance import overrides
from studies.relevance.classes import imagenet

SHARED = paths.REPOSITORY.parent / "shared" / "data"
NAMED = [Path(os.environ["STUDIES_DATA"])] if "STUDIES_DATA" in os.environ else []
FOUND = [base for base in [*NAMED, SHARED] if (base / overrides.CORRESPONDENCES).exists()]


def write(data: Path, count: int) -> Path:
    """Write correspondences of so many classes, in no order."""
    file = data / overrides.CORRESPONDENCES
    file.parent.mkdir()
    wnids = [f"n{number:08}" for number in range(count)]
    file.write_text("".join(f"{wnid}, -\n" for wnid in wnids[1::2] + wnids[::2]))
    return file


def test_names_stand_in_the_order_of_wnids(sandbox):
    write(sandbox / "data", 1000)
    names = imagenet()
    assert list(names) == [f"n{number:08}" for number in range(1000)]
    assert len(set(names.values())) == 1000
    assert names["n00000000"] == "tench"
    assert names["n00000999"] == "toilet tissue"


@pytest.mark.parametrize("count", [999, 1001])
def test_other_counts_are_refused(sandbox, count):
    file = write(sandbox / "data", count)
    message = refused(imagenet)
    assert message.startswith(f"{file}: has {count:,} classes, and ImageNet has 1,000")


def test_without_the_correspondences(sandbox):
    assert "`python -m studies.inputs.download imagenet_wiki`" in refused(imagenet)


@pytest.mark.skipif(not FOUND, reason="no imagenet_wiki/ below STUDIES_DATA or ../shared")
class TestRealWnids:
    @pytest.fixture(autouse=True)
    def real(self, sandbox, monkeypatch):
        monkeypatch.setenv("STUDIES_DATA", str(FOUND[0]))

    def test_as_wordnet_has_them(self):
        names = imagenet()
        by_hand = {
            "n01440764": "tench",
            "n02012849": "crane bird",
            "n02113186": "Cardigan",
            "n02509815": "lesser panda",
            "n02510455": "giant panda",
            "n02963159": "cardigan",
            "n03126707": "crane",
            "n03146219": "cuirass",
            "n03710637": "maillot",
            "n07753592": "banana",
            "n15075141": "toilet tissue",
        }
        assert {wnid: names[wnid] for wnid in by_hand} == by_hand

    def test_most_share_a_word_with_their_article(self):
        """A shift by one place would leave a handful."""
        names, pages = imagenet(), overrides.published(FOUND[0] / overrides.CORRESPONDENCES)
        words = [
            [set(re.findall(r"[a-z]+", text.lower())) for text in (names[wnid], page)]
            for wnid, page in pages.items()
        ]
        assert sum(bool(name & page) for name, page in words) > 0.8 * len(words)

    def test_only_two_differ_in_case_alone(self):
        names = imagenet()
        folded = [name.casefold() for name in names.values()]
        assert {name for name in folded if folded.count(name) > 1} == {"cardigan"}
