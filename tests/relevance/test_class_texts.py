"""What of a page describes a class, and which classes a person should look at."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chats import reply
from sentences import refused
from studies.relevance.class_texts import class_text, collect, heading, sources
from studies.relevance.wikipedia import Wikipedia
from wikis import Clock, Wiki

PANDA = """The red panda (Ailurus fulgens) is a small mammal. It is not a bear.
It is native to the eastern Himalayas.
It has dense reddish-brown fur.
It is 51 to 63.5 cm long.
The tail has 12 rings."""
CLASSES = {"n02509815": "lesser panda", "n02012849": "crane", "n03126707": "crane"}
WORDS = st.text(st.sampled_from("ab é<&\u3000\t"), max_size=12)
TITLES = st.sampled_from(["Description", "description", "DESCRIPTION", "Diet", "Description of it"])
SECTIONS = st.lists(st.tuples(st.integers(1, 6), TITLES, st.lists(WORDS, max_size=3)), max_size=6)


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    site = Wiki()
    site.redirects["Lesser panda"] = ("Red panda", "")
    site.lists = {"Crane"}
    yield site
    site.close()


@pytest.fixture
def wiki(site, tmp_path, monkeypatch):
    Clock().stand_in(monkeypatch)
    return Wikipedia("curator@museum.net", site.api, folder=tmp_path, attempts=1)


class TestClassText:
    def test_lead_and_description_with_all_below(self, site):
        assert class_text(site.texts["Red panda"]) == PANDA

    @pytest.mark.parametrize(
        ("extract", "text"),
        [
            ("", ""),
            ("\n\n\n== Diet ==\nFish.", ""),
            ("A bird.", "A bird."),
            ("A bird.\n\n\n== Diet ==\nFish.", "A bird."),
            ("A bird.\n\n\n== Description ==\nGrey.", "A bird.\nGrey."),
            ("A bird.\n\n\n== DESCRIPTION  ==  \nGrey.", "A bird.\nGrey."),
            ("A bird.\n\n\n==Description==\nGrey.", "A bird.\nGrey."),
            ("== Description ==\nGrey.", "Grey."),
            ("A bird.\n== Description ==\n\n\n=== Size ===\nTall.", "A bird.\nTall."),
            ("A.\n== Description ==\nB.\n== Diet ==\nC.\n=== D ===\nE.", "A.\nB."),
            ("A.\n== Description ==\nB.\n= Diet =\nC.", "A.\nB."),
            ("A.\n== Description ==\nB.\n== Diet ==\nC.\n== Description ==\nD.", "A.\nB.\nD."),
            ("A.\n=== Description ===\nB.", "A."),
            ("A.\n== Diet ==\nB.\n=== Description ===\nC.", "A."),
            ("A.\n== Description and diet ==\nB.", "A."),
            ("A.\n== ==\nB.", "A."),
            ("1 == 1 and\nx ==\n== y\n==\nend", "1 == 1 and\nx ==\n== y\n==\nend"),
            ("A\xa0 b\u2028c\td \r\n\n\n e", "A b c d\ne"),
            ("<b>A &amp; B</b>\n{{x}} [1] ½ 🍕", "<b>A &amp; B</b>\n{{x}} [1] ½ 🍕"),
        ],
    )
    def test_by_hand(self, extract, text):
        assert class_text(extract) == text

    @given(st.lists(WORDS, max_size=3), SECTIONS)
    def test_any_page(self, lead, page):
        lines = list(lead)
        expected = list(lead)
        for place, (level, title, text) in enumerate(page):
            lines += ["", "", f"{'=' * level} {title} {'=' * level}", *text]
            # the section of level 1 or 2 that this one is in
            above = [(n, name) for n, name, _ in page[: place + 1] if n <= 2][-1:]
            if above and above[0][0] == 2 and above[0][1].lower() == "description":
                expected += text
        whole = [" ".join(line.split()) for line in expected]
        assert class_text("\n".join(lines)) == "\n".join(line for line in whole if line)

    @given(st.text(), st.integers(0, 9), st.integers(0, 9))
    def test_any_line(self, text, left, right):
        level, title = heading("=" * left + text + "=" * right)
        assert 0 <= level <= 6
        assert level or not title

    def test_a_long_line_takes_no_time(self):
        line = "== " + " " * 500_000 + "x" + "= " * 200_000 + "y"
        assert class_text(line) == " ".join(line.split())


class TestCollect:
    def test_texts_and_report(self, site, wiki):
        texts, report = collect(CLASSES, {}, wiki)
        assert texts == {"n02509815": PANDA}
        assert list(report.columns) == ["wnid", "class", "page", "problem", "reason"]
        assert report["wnid"].tolist() == ["n02012849", "n03126707"]
        assert report["problem"].tolist() == ["disambiguation"] * 2
        assert site.asked == ["lesser panda", "crane"]

    def test_overrides_win(self, site, wiki):
        site.texts |= {"Crane (bird)": "A tall bird.", "Panda": "Which?"}
        overrides = {"n02012849": "Crane (bird)", "n03126707": None, "n02509815": "Panda"}
        texts, report = collect(CLASSES, overrides, wiki)
        assert texts == {"n02012849": "A tall bird.", "n02509815": "Which?"}
        assert report.empty
        assert list(report.columns) == ["wnid", "class", "page", "problem", "reason"]
        assert sorted(site.asked) == ["Crane (bird)", "Panda"]

    def test_each_decision_in_one_sentence(self, site, wiki):
        site.texts["Empty"] = "\n\n\n== Diet ==\nFish."
        site.redirects |= {"Tail": ("Tailed", "Anatomy"), "Fire fox": ("Red panda", "")}
        classes = {
            "n00000001": "nowhere at all",
            "n00000002": "crane",
            "n00000003": "a|b",
            "n00000004": "de:Kranich",
            "n00000005": "empty",
            "n00000006": "tail",
            "n00000007": "fire fox",
            "n00000008": "lesser panda",
            "n00000009": "",
            "n00000010": "tailed",
        }
        site.texts |= {"Red panda": "A panda.", "Tailed": "A tail."}
        texts, report = collect(classes, {}, wiki)
        assert texts == {
            "n00000006": "A tail.",
            "n00000007": "A panda.",
            "n00000008": "A panda.",
            "n00000010": "A tail.",
        }
        assert dict(zip(report["wnid"], report["problem"], strict=True)) == {
            "n00000001": "missing",
            "n00000002": "disambiguation",
            "n00000003": "invalid",
            "n00000004": "elsewhere",
            "n00000005": "no text",
            "n00000006": "section",
            "n00000007": "shared",
            "n00000008": "shared",
            "n00000009": "invalid",
            "n00000010": "shared",
        }
        assert report["class"].tolist() == list(classes.values())
        for row in report.itertuples():
            assert f"{row.wnid}," in row.reason  # the line to write
            assert "override" in row.reason
            assert row.reason.isprintable()
            assert row.page == classes[row.wnid]
        reasons = dict(zip(report["wnid"], report["reason"], strict=True))
        assert "'nowhere at all' on 2" in reasons["n00000001"]
        assert "'Anatomy' of 'Tailed'" in reasons["n00000006"]
        assert "page of n00000008:" in reasons["n00000007"]

    def test_short_texts_are_left_out(self, site, wiki):
        site.texts |= {
            "One": "A bird.\n\n\n== Description ==\nA bird.",
            "Two": "A bird. It is grey.",
        }
        site.redirects["Uno"] = ("One", "")
        classes = {"n00000001": "one", "n00000002": "two", "n00000003": "uno", "n00000004": "none"}
        texts, report = collect(classes, {}, wiki, fewest=2)
        assert texts == {"n00000002": "A bird. It is grey."}
        assert report["wnid"].tolist() == ["n00000001", "n00000003", "n00000004"]
        assert report["problem"].tolist() == ["short", "short", "missing"]
        assert "'One' has fewer than the 2 sentences that are needed: name" in report["reason"][0]
        assert "n00000001," in report["reason"][0]

    def test_it_goes_on_where_it_stopped(self, site, wiki):
        site.texts["Crane"] = "A bird or a machine."
        site.lists = set()
        site.script = [
            reply(200, b'{"query": {"interwiki": []}}'),
            reply(500, "boom"),
        ]
        assert "answered 500" in refused(collect, CLASSES, {}, wiki)
        texts, report = collect(CLASSES, {}, wiki)
        assert texts == dict.fromkeys(["n02012849", "n03126707"], "A bird or a machine.")
        assert report["problem"].tolist() == ["elsewhere", "shared", "shared"]
        assert site.asked == ["lesser panda", "crane", "crane"]

    def test_no_classes(self, wiki):
        texts, report = collect({}, {}, wiki)
        assert texts == {}
        assert report.empty


def test_sources(site, wiki):
    collect(CLASSES, {}, wiki)
    table = sources(CLASSES, {}, wiki)
    (row,) = table.to_dict("records")
    date = row.pop("date")
    assert row == {
        "wnid": "n02509815",
        "class": "lesser panda",
        "title": "Red panda",
        "url": "https://en.wikipedia.org/wiki/Red_panda",
        "revision": site.page("Red panda")["lastrevid"],
    }
    assert date == wiki.pages(["lesser panda"])["lesser panda"].date
    assert len(site.asked) == 2
    assert list(sources({}, {}, wiki).columns) == list(table.columns)
