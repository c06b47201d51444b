"""A server that fails for a while, for ever, or says no; and the key, which it alone is told."""

import json
import logging
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from chats import SECRET, Chat, completion, expected, hang_up, raw, reply
from sentences import refused
from studies.inputs import web
from studies.inputs.web import Client, Failure
from studies.paths import StudyError

pytest_plugins = ["asking"]

PASSING = {
    "cut off": reply(200, completion("half")[:-20], length=len(completion("half"))),
    "hung up": hang_up,
    "no HTTP": raw("HELLO"),
    "HTML": reply(200, "<html>please log in</html>"),
    "deep": reply(200, "[" * 100_000),
    "not UTF-8": reply(200, completion("A").replace(b"A", b"\xff")),
    "an error": reply(200, '{"error": {"message": "overloaded"}}'),
    "no choices": reply(200, '{"choices": []}'),
    "empty": reply(200, completion("")),
    **{str(code): reply(code, "later") for code in (429, 503)},
}


def read(content):
    text = web.well_formed(content["choices"][0]["message"]["content"])
    return text or Failure("answered with an empty text", "ask for more")


@pytest.fixture
def ask(chat, slept):
    """Ask the server for the text of a completion."""

    def ask(url=chat.url, key="", **changed) -> str:
        rest = {"attempts": 3, "timeout": 30.0} | changed
        client = Client(f"cook at {url}", "check url and key", SecretStr(key), **rest)
        body = {"messages": [{"content": "pizza"}], "seed": 1}
        (answer,) = client.answers(
            ["?"],
            lambda _: None,
            lambda _: client.ask(read, "a text", method="POST", url=f"{url}/chat", json=body),
            "text",
        )
        return answer

    return ask


class TestAttempts:
    @pytest.mark.parametrize("fault", PASSING)
    def test_what_passes_is_tried_again_and_ends(self, chat, ask, slept, fault):
        chat.script = [PASSING[fault]]
        answer = ask()
        first, second = chat.asked
        assert first == second
        assert (answer, slept) == (expected(second), [1])
        slept.clear()
        chat.script = [PASSING[fault]] * 3
        message = refused(ask)
        assert message.startswith(f"cook at {chat.url} ")
        assert "attempt 3 of 3" in message
        assert message.isprintable()
        assert slept == [1, 2]

    def test_a_server_that_says_nothing(self, chat, ask, slept):
        chat.script = [chat.silent]
        assert ask(timeout=1) == expected(chat.asked[1])
        assert slept == [1]


class TestRetryAfter:
    @pytest.mark.parametrize("status", [429, 200])
    @pytest.mark.parametrize(("value", "seconds"), [("3600", 3600), ("-3", 1), ("soon", 1)])
    def test_seconds(self, chat, ask, slept, status, value, seconds, capsys):
        chat.script = [reply(status, completion(""), Retry_After=value)]
        ask()
        assert slept == [seconds]
        assert f"cook at {chat.url} " in capsys.readouterr().err  # who waits is told why

    @pytest.mark.parametrize("value", ["3601", "Fri, 31 Dec 9999 23:59:59 GMT"])
    def test_who_should_stay_away_does(self, chat, ask, slept, value):
        chat.script = [reply(429, "later", Retry_After=value)]
        assert "asks for a pause of" in refused(ask)
        assert (slept, len(chat.asked)) == ([], 1)

    def test_a_date(self):
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
        assert 90 < web.retry_after(date) <= 100

    @given(st.text() | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ [+-]?\d+"))
    def test_whatever_a_server_says(self, value):
        assert web.retry_after(value) >= 0


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "complaint"),
        [
            ('{"error": {"message": "no such model", "code": 7}}', "no such model"),
            ("\n  no such model\n\nat line 3", "no such model at line 3"),
            (b"\xff\xfe", "\ufffd\ufffd"),
            ("\x1b[31mred\x07", "[31mred"),
            ('{"error": "' + "x" * 100_000 + '"}', "x" * 200 + "…"),
        ],
    )
    def test_it_is_asked_once_and_says_why(self, chat, ask, slept, body, complaint):
        chat.script = [reply(404, body)]
        message = refused(ask)
        assert message.startswith(f"cook at {chat.url} answered 404 ({complaint})")
        assert message.isprintable()
        assert (len(chat.asked), slept) == (1, [])

    def test_a_wrong_key(self, chat, ask):
        chat.script = [reply(401, "no")]
        assert "check url and key" in refused(lambda: ask(key=SECRET))
        assert len(chat.asked) == 1

    @pytest.mark.parametrize("status", [302, 307])
    def test_redirects_are_not_followed(self, chat, ask, slept, status):
        other = Chat()
        try:
            chat.script = [reply(status, "", Location=f"{other.url}/chat")]
            refused(lambda: ask(key=SECRET))
            assert (len(other.asked), len(chat.asked), slept) == (0, 1, [])
        finally:
            other.close()


class TestAddress:
    @pytest.mark.parametrize(
        "url",
        [
            "127.0.0.1:8000/v1",
            "http://[::1/v1",
            "http://host:123456/v1",
            "https://hunter2@host/v1",
            "https://host/v1?key=hunter2",
        ],
    )
    def test_what_is_none_is_not_quoted(self, url):
        message = refused(web.checked, url, "the.setting", "https://host/v1", False)
        assert "the.setting should be an address" in message
        assert "hunter2" not in message

    @pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:80"])
    def test_no_cipher_is_needed_on_this_machine(self, host):
        assert web.checked(f"http://{host}/v1", "", "", True) == f"http://{host}/v1"
        assert web.checked("http://host/v1", "", "", False) == "http://host/v1"  # no secret

    @pytest.mark.parametrize("host", ["host", "127.0.0.1.host", "localhost@host", "10.0.0.1"])
    def test_it_is_elsewhere(self, host):
        assert "https" in refused(web.checked, f"http://{host}/v1", "", "", True)


ECHOES = {
    "401": reply(401, json.dumps({"error": {"message": f"bad key Bearer {SECRET}!"}})),
    "401, slashes escaped": reply(401, json.dumps({"error": SECRET}).replace("/", "\\/")),
    "401, not JSON": reply(401, f"<p>{SECRET}</p>"),
    "400, deep inside": reply(400, json.dumps({"detail": [{"headers": [SECRET]}]})),
    "400, at the cut": reply(400, "x" * 190 + SECRET),
    "500": reply(500, f"Authorization: Bearer {SECRET}"),
    "429": reply(429, SECRET, Retry_After=SECRET),
    "no choices": reply(200, json.dumps({"headers": {"Authorization": SECRET}})),
    "malformed": reply(200, f"[{SECRET}"),
    "status line": raw(f"HTTP/1.1 {SECRET} OK"),
    "no HTTP": raw(SECRET),
    "redirect": reply(302, "", Location=f"/v2?key={SECRET}"),
    "broken redirect": reply(302, "", Location=f"http://[{SECRET}"),
    "bad length": reply(200, SECRET, length=10**6),
    "bad encoding": reply(200, SECRET, Content_Encoding="gzip"),
}


def says_the_key(text: object) -> bool:
    return any(SECRET[start : start + 6] in str(text) for start in range(len(SECRET) - 5))


def frames(error: BaseException) -> str:
    """The traceback with the local variables of our frames."""
    whole = traceback.TracebackException.from_exception(error, capture_locals=True)
    ours = [frame.locals for frame in whole.stack if frame.filename == web.__file__]
    assert ours
    return "".join(traceback.format_exception(error)) + str(ours)


class TestKey:
    def test_what_netrc_has_is_not_sent(self, chat, ask, tmp_path, monkeypatch):
        (tmp_path / "netrc").write_text("default login me password hunter2\n")
        (tmp_path / "netrc").chmod(0o600)
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        ask(key=SECRET)
        assert chat.headers[0]["Authorization"] == f"Bearer {SECRET}"
        ask()
        assert "Authorization" not in chat.headers[1]

    @pytest.mark.parametrize("value", [None, "", " \n"])
    def test_a_variable_that_is_not_set(self, monkeypatch, value):
        monkeypatch.delenv("KITCHEN_KEY", raising=False)
        if value is not None:
            monkeypatch.setenv("KITCHEN_KEY", value)
        assert "KITCHEN_KEY is not set" in refused(web.read_key, "KITCHEN_KEY", "the.setting")
        assert not web.read_key("", "the.setting")
        monkeypatch.setenv("KITCHEN_KEY", f" {SECRET}\r\n")
        assert web.read_key("KITCHEN_KEY", "").get_secret_value() == SECRET

    @pytest.mark.parametrize("spoilt", ["{} x", "“{}”", '"{}"', "{}\nX-More: 1", "{}\x7f"])
    def test_what_cannot_be_a_key_is_not_quoted(self, monkeypatch, spoilt):
        monkeypatch.setenv("KITCHEN_KEY", spoilt.format(SECRET))
        with pytest.raises(StudyError, match="KITCHEN_KEY holds no key") as caught:
            web.read_key("KITCHEN_KEY", "the.setting")
        assert not says_the_key(frames(caught.value))

    @pytest.mark.parametrize("echo", ECHOES)
    def test_it_is_told_to_nobody(self, chat, ask, capfd, caplog, echo):
        caplog.set_level(logging.DEBUG)
        chat.script = [ECHOES[echo]] * 2
        with pytest.raises(StudyError) as caught:
            ask(key=SECRET, attempts=2)
        assert chat.headers[0]["Authorization"] == f"Bearer {SECRET}"
        assert not says_the_key(frames(caught.value))
        assert caught.value.__cause__ is caught.value.__context__ is None
        assert not says_the_key(capfd.readouterr())
        assert not says_the_key(caplog.text)


@given(st.text())
def test_every_text_becomes_one_that_a_file_can_hold(text):
    formed = web.well_formed(text)
    assert formed.encode().decode() == formed
    assert len(formed) == len(text)
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    assert formed == text
