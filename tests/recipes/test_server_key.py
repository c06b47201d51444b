"""The key goes to the server alone, whatever the server does with it."""

import json
import logging
import traceback

import pytest

from chats import SECRET, Chat, completion, raw, reply
from sentences import kept, refused
from studies.paths import StudyError
from studies.recipes import server
from studies.recipes.params import Parameters
from studies.runs.params import read_yaml, run_files

pytest_plugins = ["asking"]

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
    ours = [frame.locals for frame in whole.stack if frame.filename == server.__file__]
    assert ours
    return "".join(traceback.format_exception(error)) + str(ours)


class TestKey:
    def test_it_is_sent(self, chat, writer, key):
        writer(**key).write(["pizza"], 1)
        assert chat.headers[0]["Authorization"] == f"Bearer {SECRET}"

    def test_a_line_end_after_it_is_not_sent(self, chat, writer, key, monkeypatch):
        monkeypatch.setenv("KITCHEN_KEY", f" {SECRET}\r\n")
        writer(**key).write(["pizza"], 1)
        assert chat.headers[0]["Authorization"] == f"Bearer {SECRET}"

    def test_what_netrc_has_is_not_sent(self, chat, writer, key, tmp_path, monkeypatch):
        (tmp_path / "netrc").write_text("default login me password hunter2\n")
        (tmp_path / "netrc").chmod(0o600)
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        writer(**key).write(["pizza"], 1)
        assert chat.headers[0]["Authorization"] == f"Bearer {SECRET}"
        writer().write(["soup"], 1)
        assert "Authorization" not in chat.headers[1]

    @pytest.mark.parametrize("value", [None, "", " \n"])
    def test_a_variable_that_is_not_set(self, writer, key, monkeypatch, value):
        monkeypatch.delenv("KITCHEN_KEY")
        if value is not None:
            monkeypatch.setenv("KITCHEN_KEY", value)
        assert "variable KITCHEN_KEY is not set" in refused(lambda: writer(**key))

    @pytest.mark.parametrize("spoilt", ["{} x", "“{}”", '"{}"', "{}\nX-More: 1", "{}\x7f"])
    def test_what_cannot_be_a_key_is_not_quoted(self, writer, key, monkeypatch, spoilt):
        monkeypatch.setenv("KITCHEN_KEY", spoilt.format(SECRET))
        with pytest.raises(StudyError, match="KITCHEN_KEY holds no key") as caught:
            writer(**key)
        assert not says_the_key(frames(caught.value))

    def test_a_key_in_place_of_its_variable_is_not_quoted(self):
        files = run_files("recipes", "tiny")["naive"]
        server = {"name": "server", "url": "https://host/v1", "model": "m", "key_variable": SECRET}
        writing = read_yaml(files[0])["writing"] | {
            "generator": {**server, "timeout": 1.0, "attempts": 1}
        }
        given = ["seed=0", f"writing={json.dumps(writing)}"]
        message = refused(Parameters.from_files, files, given)
        assert "should be the name of an environment variable" in message
        assert not says_the_key(message)

    @pytest.mark.parametrize("echo", ECHOES)
    def test_it_is_told_to_nobody(self, chat, writer, key, tmp_path, capfd, caplog, echo):
        caplog.set_level(logging.DEBUG)
        chat.script = [ECHOES[echo]] * 2
        mine = writer(**key, attempts=2)
        with pytest.raises(StudyError) as caught:
            mine.write(["pizza"], 1)
        assert chat.headers[0]["Authorization"] == f"Bearer {SECRET}"
        assert not says_the_key(frames(caught.value))
        assert caught.value.__cause__ is caught.value.__context__ is None
        assert not says_the_key(capfd.readouterr())
        assert not says_the_key(caplog.text)
        assert not says_the_key([repr(mine), vars(mine)])
        chat.script = []
        mine.write(["pizza"], 1)
        files = [file for file in tmp_path.rglob("*") if file.is_file()]
        assert files
        assert not any(says_the_key(file.read_text()) for file in files)

    def test_an_answer_that_holds_it(self, chat, writer, key, tmp_path):
        chat.script = [reply(200, completion(f"Add {SECRET} and salt"))]
        assert writer(**key).write(["pizza"], 1) == [["Add [key] and salt"]]
        assert not any(says_the_key((tmp_path / file).read_text()) for file in kept(tmp_path))

    def test_a_placeholder_may_be_a_word_of_a_recipe(self, chat, writer, key, monkeypatch):
        monkeypatch.setenv("KITCHEN_KEY", "none")
        chat.script = [reply(200, completion("Cheese: none"))]
        assert writer(**key).write(["pizza"], 1) == [["Cheese: none"]]

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_it_does_not_follow_a_redirect(self, chat, writer, key, slept, status):
        other = Chat()
        try:
            target = f"{other.url}/chat/completions"
            chat.script = [reply(status, "", Location=target)]
            message = refused(writer(**key).write, ["pizza"], 1)
            assert f"answered {status} (go to {target})" in message
            assert other.asked == []
            assert len(chat.asked) == 1
            assert slept == []
        finally:
            other.close()
