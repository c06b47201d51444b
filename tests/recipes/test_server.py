"""Recipes from a server: what is asked, what is answered, and what is kept on disk."""

import json
import threading
from pathlib import Path

import pytest

from chats import SECRET, completion, expected, reply
from sentences import kept, refused
from studies.recipes.params import Parameters
from studies.runs.params import read_yaml, run_files

pytest_plugins = ["asking"]

MARKUP = "<h1>Soup</h1>\r\n<script>alert('1')</script>\x00\t&amp; ½ 🍕\u2028 </script>"


class TestWrite:
    def test_texts_stand_with_their_prompts(self, chat, writer):
        rows = writer().write(["pizza", "soup", "salad"], 2)
        assert [[text.split(",")[0] for text in row] for row in rows] == [
            ["pizza", "pizza"],
            ["soup", "soup"],
            ["salad", "salad"],
        ]
        assert [text for row in rows for text in row] == [expected(body) for body in chat.asked]
        assert len({text for row in rows for text in row}) == 6
        assert chat.paths == {"/v1/chat/completions"}
        assert len(chat.connections) == 1

    def test_what_is_sent(self, chat, writer):
        writer(model="big", temperature=0.25, max_tokens=7).write(["Dish: pizza\n½"], 1)
        (body,) = chat.asked
        own = body.pop("seed")
        assert type(own) is int
        assert 0 <= own < 2**31
        assert body == {
            "model": "big",
            "messages": [{"role": "user", "content": "Dish: pizza\n½"}],
            "temperature": 0.25,
            "max_tokens": 7,
            "stream": False,
        }

    def test_each_recipe_has_a_seed_of_its_own(self, chat, writer, tmp_path):
        writer().write(["pizza", "soup", "pizza"], 3)
        writer(seed=1).write(["pizza", "soup", "pizza"], 3)
        seeds = [body["seed"] for body in chat.asked]
        assert len(set(seeds)) == len(seeds) == 18
        writer(folder=tmp_path / "elsewhere").write(["pizza", "soup", "pizza"], 3)
        assert [body["seed"] for body in chat.asked[18:]] == seeds[:9]

    def test_no_prompts(self, chat, writer):
        assert writer().write([], 2) == []
        assert chat.asked == []

    def test_a_strangers_text_is_kept_as_it_is(self, chat, writer, tmp_path):
        chat.script = [reply(200, completion(MARKUP))]
        assert writer().write(["pizza"], 1) == [[MARKUP]]
        assert writer().write(["pizza"], 1) == [[MARKUP]]
        (file,) = (tmp_path / "answers").iterdir()
        assert json.loads(file.read_bytes())["answer"] == MARKUP
        assert len(chat.asked) == 1

    def test_a_text_that_max_tokens_cut_is_kept(self, chat, writer):
        chat.script = [reply(200, completion("1. Boil the", finish_reason="length"))]
        assert writer().write(["pizza"], 1) == [["1. Boil the"]]

    def test_what_utf8_cannot_hold(self, chat, writer):
        body = completion("A").replace(b'"A"', rb'"\ud83c\udf55 \ud83c and \udf55"')
        chat.script = [reply(200, body)]
        rows = writer().write(["caf\udce9"], 1)
        assert rows == [["🍕 \ufffd and \ufffd"]]
        assert chat.prompts() == ["caf\ufffd"]
        assert writer().write(["caf\udce9"], 1) == rows
        assert len(chat.asked) == 1


class TestKept:
    def test_an_answer_is_not_asked_for_again(self, chat, writer):
        rows = writer().write(["pizza", "soup"], 2)
        assert writer().write(["pizza", "soup"], 2) == rows
        assert len(chat.asked) == 4
        assert writer().write(["soup", "salad", "pizza"], 2)[::2] == rows[::-1]
        assert chat.prompts()[4:] == ["salad"] * 2

    def test_more_recipes_of_a_prompt_go_on_from_those_there_are(self, chat, writer):
        first = writer().write(["pizza"], 2)
        assert writer().write(["pizza"], 3)[0][:2] == first[0]
        assert len(chat.asked) == 3

    @pytest.mark.parametrize(
        "changed",
        [{"model": "big"}, {"temperature": 0.8}, {"max_tokens": 51}, {"seed": 1}, {"url": ...}],
        ids=lambda changed: next(iter(changed)),
    )
    def test_another_question_is_asked(self, chat, writer, changed):
        if "url" in changed:
            changed = {"url": chat.url.replace("v1", "v2")}
        writer().write(["pizza"], 1)
        writer(**changed).write(["pizza"], 1)
        assert len(chat.asked) == 2

    def test_it_is_kept_before_the_next_is_asked_for(self, chat, writer, tmp_path):
        seen = []
        chat.before = lambda: seen.append(kept(tmp_path))
        writer().write(["pizza"], 4)
        assert [len(files) for files in seen] == [0, 1, 2, 3]
        assert all(file.endswith(".json") for file in kept(tmp_path))

    def test_a_failure_loses_nothing(self, chat, writer, tmp_path):
        chat.script = [reply(200, completion(text)) for text in ("one", "two")]
        chat.script += [reply(500, "boom")] * 3
        refused(writer().write, ["pizza", "soup"], 2)
        assert len(kept(tmp_path)) == 2
        rows = writer().write(["pizza", "soup"], 2)
        assert rows[0] == ["one", "two"]
        assert chat.prompts()[5:] == ["soup", "soup"]
        assert rows[1] == [expected(body) for body in chat.asked[5:]]

    def test_what_a_file_says(self, chat, writer, tmp_path):
        writer().write(["pizza"], 1)
        (file,) = (tmp_path / "answers").iterdir()
        content = json.loads(file.read_bytes())
        assert content == {
            "request": {
                "url": chat.url,
                "model": "small",
                "temperature": 0.7,
                "max_tokens": 50,
                "seed": 0,
                "prompt": "pizza",
                "number": 0,
            },
            "answer": expected(chat.asked[0]),
        }

    @pytest.mark.parametrize(
        "damage",
        [
            lambda whole: b"",
            lambda whole: whole[: len(whole) // 2],
            lambda whole: b"\xff" + whole,
            lambda whole: b"[" * 100_000,
            lambda whole: b"null",
            lambda whole: b"[1]",
            lambda whole: whole.replace(b"pizza", b"pasta"),
            lambda whole: json.dumps(json.loads(whole) | {"answer": 3}).encode(),
            lambda whole: json.dumps(json.loads(whole) | {"answer": ""}).encode(),
        ],
        ids=["empty", "half", "binary", "deep", "null", "list", "another", "number", "textless"],
    )
    def test_a_damaged_file_is_asked_for_again(self, chat, writer, tmp_path, damage):
        rows = writer().write(["pizza"], 1)
        (file,) = (tmp_path / "answers").iterdir()
        whole = file.read_bytes()
        file.write_bytes(damage(whole))
        assert writer().write(["pizza"], 1) == rows
        assert len(chat.asked) == 2
        assert file.read_bytes() == whole

    def test_by_default_below_cache(self, chat, writer, sandbox):
        writer(folder=None).write(["pizza"], 1)
        (file,) = kept(sandbox / "root")
        assert Path(file).parent == Path("cache/answers")

    def test_a_folder_that_cannot_be_written(self, chat, writer, tmp_path):
        (tmp_path / "file").touch()
        message = refused(writer(folder=tmp_path / "file" / "answers").write, ["pizza"], 3)
        assert "cannot write" in message
        assert len(chat.asked) == 1

    def test_two_writers_at_once(self, chat, writer, tmp_path):
        prompts, rows = [f"dish {number}" for number in range(15)], {}
        writers = [writer(), writer()]
        together = threading.Barrier(2)

        def work(number: int) -> None:
            together.wait()
            rows[number] = writers[number].write(prompts, 2)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert rows[0] == rows[1]
        assert [row[0].split(",")[0] for row in rows[0]] == prompts
        assert len(kept(tmp_path)) == 30
        before = len(chat.asked)
        assert writer().write(prompts, 2) == rows[0]
        assert len(chat.asked) == before


class TestServer:
    def test_an_empty_text_for_ever(self, chat, writer, tmp_path):
        chat.script = [reply(200, completion(" \n"))] * 3
        message = refused(writer().write, ["pizza"], 1)
        assert message.startswith(f"small at {chat.url} ")
        assert "raise writing.max_tokens" in message
        assert kept(tmp_path) == []

    def test_a_last_slash_makes_no_difference(self, chat, writer):
        writer().write(["pizza"], 1)
        writer(url=chat.url + "/").write(["pizza", "soup"], 1)
        assert chat.prompts() == ["pizza", "soup"]
        assert chat.paths == {"/v1/chat/completions"}

    @pytest.mark.parametrize("url", ["host/v1", "https://hunter2@host/v1"])
    def test_what_is_no_address(self, writer, url):
        assert "writing.generator.url" in refused(lambda: writer(url=url))

    def test_the_key_is_sent_in_cipher_or_not_at_all(self, chat, writer, key, monkeypatch):
        writer(**key).write(["pizza"], 1)
        assert chat.headers[0]["Authorization"] == f"Bearer {SECRET}"
        writer(**key, url="https://host/v1")
        writer(url="http://host/v1")
        assert "https" in refused(lambda: writer(**key, url="http://host/v1"))
        monkeypatch.setenv("KITCHEN_KEY", "none")
        writer(**key, url="http://host/v1")

    def test_an_answer_that_holds_the_key(self, chat, writer, key, tmp_path):
        chat.script = [reply(200, completion(f"Add {SECRET} and salt"))]
        mine = writer(**key)
        assert mine.write(["pizza"], 1) == [["Add [key] and salt"]]
        assert not any(SECRET in (tmp_path / file).read_text() for file in kept(tmp_path))
        assert SECRET not in str([repr(mine), vars(mine), vars(mine.client)])

    def test_a_placeholder_may_be_a_word_of_a_recipe(self, chat, writer, key, monkeypatch):
        monkeypatch.setenv("KITCHEN_KEY", "none")
        chat.script = [reply(200, completion("Cheese: none"))]
        assert writer(**key).write(["pizza"], 1) == [["Cheese: none"]]

    def test_a_key_in_place_of_its_variable_is_not_quoted(self):
        files = run_files("recipes", "tiny")["naive"]
        server = {"name": "server", "url": "https://host/v1", "model": "m", "key_variable": SECRET}
        writing = read_yaml(files[0])["writing"] | {
            "generator": {**server, "timeout": 1.0, "attempts": 1}
        }
        message = refused(
            Parameters.from_files, files, ["seed=0", f"writing={json.dumps(writing)}"]
        )
        assert "should be the name of an environment variable" in message
        assert SECRET not in message
