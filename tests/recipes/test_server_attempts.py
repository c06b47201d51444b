"""A server that fails for a while, for ever, or says no."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chats import Chat, completion, expected, hang_up, raw, reply
from sentences import kept, refused
from studies.recipes import server

pytest_plugins = ["asking"]

PASSING = {
    "cut off": reply(200, completion("half")[:-20], length=len(completion("half"))),
    "cut off between lines": reply(200, "", length=100),
    "hung up": hang_up,
    "no HTTP": raw("HELLO"),
    "malformed": reply(200, completion("half")[:-20]),
    "HTML": reply(200, "<html>please log in</html>"),
    "deep": reply(200, "[" * 100_000),
    "not UTF-8": reply(200, completion("A").replace(b"A", b"\xff")),
    "null": reply(200, "null"),
    "an error": reply(200, '{"error": {"message": "overloaded"}}'),
    "no choices": reply(200, '{"choices": []}'),
    "no message": reply(200, '{"choices": [{"text": "old"}]}'),
    "no content": reply(200, completion(None)),
    "no string": reply(200, completion(["soup"])),
    "empty": reply(200, completion("", finish_reason="length")),
    "blank": reply(200, completion(" \n")),
    **{str(code): reply(code, "later") for code in (408, 429, 500, 502, 503, 504, 529)},
}


class TestAttempts:
    @pytest.mark.parametrize("fault", PASSING)
    def test_what_passes_is_tried_again(self, chat, writer, tmp_path, slept, fault):
        chat.script = [PASSING[fault]]
        rows = writer().write(["pizza"], 1)
        first, second = chat.asked
        assert first == second
        assert rows == [[expected(second)]]
        assert slept == [1]
        assert len(kept(tmp_path)) == 1

    def test_a_server_that_says_nothing(self, chat, writer, slept):
        chat.script = [chat.silent]
        rows = writer(timeout=1).write(["pizza"], 1)
        assert rows == [[expected(chat.asked[1])]]
        assert slept == [1]
        chat.script = [chat.silent]
        message = refused(writer(timeout=0.1, attempts=1).write, ["soup"], 1)
        assert "Timeout" in message
        assert chat.url in message

    def test_pauses_grow_and_attempts_end(self, chat, writer, tmp_path, slept):
        chat.script = [reply(500, '{"error": {"message": "boom"}}')] * 5
        message = refused(writer(attempts=5).write, ["pizza", "soup"], 1)
        assert slept == [1, 2, 4, 8]
        assert len(chat.asked) == 5
        assert kept(tmp_path) == []
        for part in ("small", chat.url, "500 (boom)", "attempt 5 of 5", "same command"):
            assert part in message

    def test_no_pause_is_endless(self, chat, writer, slept):
        chat.script = [reply(500, "boom")] * 14
        refused(writer(attempts=14).write, ["pizza"], 1)
        assert slept == [min(2**n, 300) for n in range(13)]

    def test_each_recipe_has_all_attempts(self, chat, writer):
        fault = reply(500, "boom")
        chat.script = [fault, fault, reply(200, completion("one")), fault, fault]
        rows = writer().write(["pizza"], 2)
        assert rows == [["one", expected(chat.asked[-1])]]

    def test_an_empty_text_for_ever(self, chat, writer, tmp_path):
        chat.script = [reply(200, completion(""))] * 3
        assert "raise writing.max_tokens" in refused(writer().write, ["pizza"], 1)
        assert kept(tmp_path) == []

    def test_nothing_listens(self, writer):
        idle = Chat()
        idle.close()
        message = refused(writer(url=idle.url).write, ["pizza"], 1)
        assert idle.url in message
        assert "ConnectionError" in message

    def test_who_waits_is_told_why(self, chat, writer, capsys):
        chat.script = [reply(429, '{"error": "slowly"}', Retry_After="7")]
        writer().write(["pizza"], 1)
        assert f"small at {chat.url} answered 429 (slowly); next attempt in 7 s\n" in (
            capsys.readouterr().err
        )


class TestRetryAfter:
    @pytest.mark.parametrize("status", [429, 503])
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("7", 7),
            ("2.5", 2.5),
            ("0", 1),
            ("-3", 1),
            ("99999999", 300),
            ("9" * 400, 300),
            ("nan", 1),
            ("soon", 1),
            ("Wed, 21 Oct 2015 07:28:00 GMT", 1),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 300),
        ],
    )
    def test_seconds(self, chat, writer, slept, status, value, seconds):
        chat.script = [reply(status, "later", Retry_After=value)]
        writer().write(["pizza"], 1)
        assert slept == [seconds]

    @pytest.mark.parametrize("zone", ["GMT", "-0000", "+0000"])
    def test_a_date(self, zone):
        moment = datetime.now(UTC) + timedelta(seconds=100)
        date = format_datetime(moment, usegmt=True).replace("GMT", zone)
        assert 90 < server.retry_after(date) <= 100

    @given(st.text() | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ [+-]?\d+"))
    def test_whatever_a_server_says(self, value):
        assert 0 <= server.retry_after(value) <= 300


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ('{"error": {"message": "no such model", "code": 7}}', "(no such model)"),
            ('{"error": "no such model"}', "(no such model)"),
            ('{"object": "error", "message": "no such model"}', "(no such model)"),
            ('{"detail": "Not Found"}', "(Not Found)"),
            ('{"detail": [{"msg": "wrong"}]}', '([{"msg": "wrong"}])'),
            ("\n  no such model\nat line 3", "(no such model)"),
            ("<html><b>Bad</b></html>", "(<html><b>Bad</b></html>)"),
            ("", "(no reason given)"),
            (b"\xff\xfe", "(\ufffd\ufffd)"),
            ("\x1b[31mred\x07", "([31mred)"),
        ],
    )
    @pytest.mark.parametrize("status", [400, 404, 422])
    def test_it_is_asked_once_and_says_why(self, chat, writer, slept, status, body, said):
        chat.script = [reply(status, body)]
        message = refused(writer().write, ["pizza", "soup"], 1)
        assert message.startswith(f"small at {chat.url} answered {status} {said}: check")
        assert message.isprintable()
        assert "the same command goes on" in message
        assert len(chat.asked) == 1
        assert slept == []

    def test_a_long_complaint_is_cut(self, chat, writer):
        chat.script = [reply(400, '{"error": "' + "x" * 100_000 + '"}')]
        assert 150 < refused(writer().write, ["pizza"], 1).count("x") < 250

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_wrong_key(self, chat, writer, key, status):
        chat.script = [reply(status, '{"error": {"message": "Incorrect API key"}}')]
        message = refused(writer(**key).write, ["pizza"], 1)
        assert "(Incorrect API key): check the key" in message
        assert "KITCHEN_KEY" in message
        assert len(chat.asked) == 1

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "127.0.0.1:8000/v1",
            "localhost:8000/v1",
            "ftp://host/v1",
            "http://",
            "http://[::1/v1",
            "http://host:123456/v1",
            "https://me:hunter2@host/v1",
            "https://hunter2@host/v1",
            "https://host/v1?key=hunter2",
            "https://host/v1#hunter2",
        ],
    )
    def test_what_is_no_address(self, writer, url):
        message = refused(lambda: writer(url=url))
        assert "writing.generator.url should be an address" in message
        assert "hunter2" not in message

    def test_a_last_slash_makes_no_difference(self, chat, writer):
        writer().write(["pizza"], 1)
        writer(url=chat.url + "/").write(["pizza", "soup"], 1)
        assert chat.prompts() == ["pizza", "soup"]
        assert chat.paths == {"/v1/chat/completions"}
