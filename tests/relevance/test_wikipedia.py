"""Pages from a MediaWiki: what is asked, what is kept, and what happens when it misbehaves."""

import json
from pathlib import Path

import pytest

from chats import reply
from sentences import kept, refused
from studies.relevance.wikipedia import Wikipedia
from wikis import LAG, PANDA, Clock, Wiki, body

CONTACT = "curator@museum.net"


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    site = Wiki()
    yield site
    site.close()


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    clock.stand_in(monkeypatch)
    return clock


@pytest.fixture
def client(site, clock, sandbox):
    """Make a client; all share `cache/wikipedia`."""
    return lambda **changed: Wikipedia(
        **{"contact": CONTACT, "api": site.api, "rate": 1e9} | changed
    )


@pytest.fixture
def root(sandbox):
    return sandbox / "root"


def page(client, title: str):
    return client().pages([title])[title]


class TestPages:
    def test_redirects(self, site, client):
        site.redirects = {
            "Lesser panda": ("Ailurus fulgens", "History"),
            "Ailurus fulgens": ("Red panda", ""),
            "Fire fox": ("Red panda", "Behaviour"),
        }
        one, other = client().pages(["lesser panda", "Fire fox"]).values()
        assert (one.asked, one.title, one.section) == ("lesser panda", "Red panda", "")
        assert (other.title, other.section) == ("Red panda", "Behaviour")
        assert one.extract == other.extract == PANDA
        assert one.url == "https://en.wikipedia.org/wiki/Red_panda"

    def test_no_page(self, site, client):
        site.lists = {"Crane"}
        site.redirects = {"Round": ("About", ""), "About": ("Round", "")}
        problems = {"Crane": "disambiguation", "100%25": "invalid", "Round": "missing"}
        pages = client().pages(problems)
        assert {title: found.problem for title, found in pages.items()} == problems
        assert {found.extract for found in pages.values()} == {""}
        assert pages["Crane"].url == "https://en.wikipedia.org/wiki/Crane"

    @pytest.mark.parametrize("title", ["", "Red panda|Crane", "C#", "a\x01b"])
    def test_what_is_no_title_is_not_asked_for(self, site, client, title):
        assert page(client, title).problem == "invalid"
        assert site.asked == []


class TestKept:
    def test_it_is_not_asked_for_again(self, site, client):
        site.lists = {"Crane"}
        titles = ["Red panda", "Crane", "Nowhere", "de:Kranich"]
        pages = client().pages(titles)
        site.texts["Nowhere"] = "It is there now."
        assert client().pages(titles) == pages
        assert site.asked == titles
        client().file("Nowhere").unlink()
        assert page(client, "Nowhere").extract == "It is there now."
        assert site.asked == [*titles, "Nowhere"]

    @pytest.mark.parametrize(
        "damage",
        [
            lambda whole: whole[: len(whole) // 2],
            lambda whole: whole.replace(b'"Red panda"', b'"Crane"'),
            lambda whole: json.dumps(json.loads(whole) | {"extract": 3}).encode(),
            lambda whole: whole.replace(b'"revision": ', b'"revision": 1'),
        ],
        ids=["half", "another", "type", "digit"],
    )
    def test_a_damaged_file_is_asked_for_again(self, site, client, damage):
        found = page(client, "Red panda")
        file = client().file("Red panda")
        whole = file.read_bytes()
        file.write_bytes(damage(whole))
        assert page(client, "Red panda") == found
        assert len(site.asked) == 2
        assert file.read_bytes() == whole

    def test_titles_that_are_no_file_names(self, site, client, root):
        titles = ["A/B", "A\\B", "A:B", "A*B", 'A"B', "A?B", "A B", "A.B", "a b", "A\u0301B", "ÁB"]
        titles += ["..", "../../x", "/etc/passwd", "NUL", ".", "ā" * 127, "ā" * 126 + "a"]
        site.texts = {title[0].upper() + title[1:]: f"of {title}" for title in titles}
        pages = client().pages(titles)
        names = [Path(name) for name in kept(root)]
        assert {name.parent for name in names} == {Path("cache/wikipedia")}
        assert len({name.name.casefold() for name in names}) == len(titles)
        assert max(len(name.name.encode()) for name in names) < 200
        again = client().pages(titles)
        assert again == pages
        for title in titles:
            assert again[title].extract == site.texts[title[0].upper() + title[1:]]
        assert site.asked == titles


OLD = {"pageid": 4, "title": "Red panda", "lastrevid": 1}
PASSING = {
    "no query": reply(200, '{"batchcomplete": true}'),
    "no extract": reply(200, body({"query": {"pages": [OLD]}})),
    "internal": reply(200, '{"error": {"code": "internal_api_error_DBQueryError", "info": "x"}}'),
    "limited": reply(200, '{"error": {"code": "ratelimited", "info": "too fast"}}'),
}


class TestAttempts:
    @pytest.mark.parametrize("fault", PASSING)
    def test_what_passes_is_tried_again(self, site, client, root, clock, fault):
        site.script = [PASSING[fault]]
        assert page(client, "Red panda").extract == PANDA
        assert site.asked == ["Red panda"] * 2
        assert clock.slept == [1]
        assert len(kept(root)) == 1

    def test_lagging_databases(self, site, client, clock):
        site.script = [reply(200, body(LAG), X_Database_Lag="8", Retry_After="9")]
        assert page(client, "Red panda").extract == PANDA
        assert clock.slept == [9]


def test_a_refusal_is_asked_once_and_says_why(site, client, clock):
    site.script = [reply(200, '{"error": {"code": "badvalue", "info": "Odd\\nvalue.\\u001b[31m"}}')]
    message = refused(client().pages, ["Red panda", "Crane"])
    assert message.startswith(f"{site.api} answered badvalue (Odd value. [31m)")
    assert message.isprintable()
    assert (clock.slept, site.asked) == ([], ["Red panda"])


class TestStart:
    @pytest.mark.parametrize(
        "contact",
        [
            *("", "@museum.net", "you@example.org", "https://www.example.com/me"),
            *("me@museum.net\r\nX: y", "me@museum.net (me)"),
        ],
    )
    def test_no_contact_no_requests(self, client, contact):
        assert "whom to write to" in refused(lambda: client(contact=contact))
