"""Recipes of local models, whose next word is known, of a server, and of the demo's own model."""

import json
import re
import resource
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import chains
import kitchen
from chats import SECRET, completion, expected, reply
from sentences import kept, refused
from studies import paths
from studies.recipes import writers
from studies.recipes.params import Writer
from studies.recipes.writers import LocalWriter

pytest_plugins = ["plates_made", "asking"]

SURE = {
    "soup": {"salt": 1.0},
    "pizza": {"oil": 1.0},
    "salt": {"pepper": 1.0},
    "pepper": {chains.END: 1.0},
    chains.END: {"egg": 1.0},
    "oil": {"oil": 1.0},
}
CHANCE = {
    "soup": {"salt": 0.8, "pepper": 0.2},
    "pizza": {"oil": 0.5, "egg": 0.5},
    **{word: {chains.END: 1.0} for word in ("salt", "pepper", "oil", "egg")},
}
PROMPTS = ["soup", "stir salt egg soup", "egg pizza", "soup egg soup pizza stir oil", "pizza"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        "sure": chains.chain(folder / "sure", SURE),
        # a model's own settings are not those of the run
        "chance": chains.chain(folder / "chance", CHANCE, do_sample=True, top_k=1, top_p=0.1),
        "random": chains.random(folder / "random"),
        "chat": chains.random(folder / "chat", chains.CHAT, begins=True),
        "begins": chains.random(folder / "begins", begins=True),
    }


@pytest.fixture
def local(folders):
    def make(model, batch=3, temperature=0.0, max_tokens=6, seed=0) -> LocalWriter:
        return LocalWriter(folders[model], batch, temperature, max_tokens, seed)

    return make


class TestGreedy:
    def test_the_likeliest_words_up_to_the_end_or_the_limit(self, local):
        # and not the egg behind the end
        wanted = 2 * [["salt pepper"]] + 3 * [["oil oil oil oil oil oil"]]
        assert local("sure").write(PROMPTS, 1) == wanted
        assert local("sure", max_tokens=4).write(["pizza"], 1) == [["oil oil oil oil"]]
        assert local("sure").write([], 2) == []

    @pytest.mark.parametrize("batch", [2, 3, 100])
    def test_batches_change_nothing(self, local, batch):
        alone = local("random", batch=1).write(PROMPTS, 1)
        assert len({text for (text,) in alone}) > 2
        assert local("random", batch=batch).write(PROMPTS, 1) == alone
        assert local("random", batch=batch).write(PROMPTS, 3) == [3 * row for row in alone]


class TestPenalty:
    def test_what_was_said_is_less_likely_again(self, local):
        shares = []
        for penalty in (1.0, 100.0):  # of oil, which stands in the prompt, against egg
            writer = local("chance", temperature=1.0, max_tokens=1)
            writer.repetition_penalty = penalty
            (said,) = writer.write(["oil pizza"], 600)
            shares.append(said.count("oil") / 600)
        assert 0.43 < shares[0] < 0.57
        assert shares[1] < 0.4


class TestSampling:
    @pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
    def test_words_are_as_frequent_as_the_temperature_says(self, local, temperature):
        draws = 600
        (row,) = local("chance", temperature=temperature, max_tokens=1).write(["soup"], draws)
        a, b = (share ** (1 / temperature) for share in CHANCE["soup"].values())
        share, spread = a / (a + b), np.sqrt(a * b) / (a + b)
        assert abs(Counter(row)["salt"] / draws - share) < 4 * spread / np.sqrt(draws)

    def test_a_batch_depends_on_the_seed_and_its_place_alone(self, local):
        asked = ["soup"] * 4
        rows = local("chance", batch=2, temperature=1.0).write(asked, 8)
        others = local("chance", batch=2, temperature=1.0).write(["pizza"] * 2 + asked[2:], 8)
        assert others[2:] == rows[2:]
        assert rows[:2] != rows[2:]
        assert local("chance", batch=2, temperature=1.0, seed=1).write(asked, 8) != rows


@pytest.mark.parametrize(
    ("model", "framed", "read"),
    [
        ("random", f"soup{writers.BREAK}", "soup"),
        ("begins", f"soup{writers.BREAK}", f"{chains.BEGIN} soup"),
        ("chat", f"{chains.BEGIN} user soup stir", f"{chains.BEGIN} <unknown> soup stir"),
    ],
)
def test_a_prompt_is_framed_as_the_model_expects_and_begins_once(local, model, framed, read):
    writer, tokens = local(model), []
    generate = writer.model.generate

    def reading(**values):
        for row, mask in zip(values["input_ids"], values["attention_mask"], strict=True):
            tokens.append(writer.tokenizer.decode(row[mask.bool()]))
        return generate(**values)

    writer.model.generate = reading
    writer.write(["soup", "egg soup pizza"], 1)  # the shorter one is padded
    assert writer.framed("soup") == framed
    assert tokens[0] == read


class TestLoad:
    def test_a_model_that_is_not_there_or_is_pickled(self, sandbox, folders):
        message = refused(writers.load, str(sandbox / "none"))
        assert message.startswith(f"The weights of {sandbox / 'none'} cannot be read (")
        assert f"`hf download {sandbox / 'none'} --local-dir " in message
        folder = shutil.copytree(folders["sure"], sandbox / "pickled")
        (folder / "model.safetensors").unlink()
        torch.save({}, folder / "pytorch_model.bin")
        assert str(folder) in refused(writers.load, str(folder))


MARKUP = "<h1>Soup</h1>\r\n<script>alert('1')</script>\x00\t&amp; ½ 🍕\u2028 </script>"


THOUGHT = "<think>\nMaybe pizza with cheese?\n</think>\n\n"


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (f"{THOUGHT}Soup <3", "Soup <3"),
        (f"{THOUGHT.removeprefix('<think>')}Soup", "Soup"),  # it began in the prompt
        ("[THINK]a[/THINK] [think]b[/think]Soup\n", "Soup\n"),
        (f"Soup\n{THOUGHT}salt", "Soup\nsalt"),
        (f"{THOUGHT}Soup<THINKING>and n", "Soup"),
        ("Think of <b>soup</b>", "Think of <b>soup</b>"),
    ],
)
def test_what_is_thought_is_no_part_of_a_text(said, text):
    assert writers.without_thought(said) == text


def test_a_local_model_may_think_and_be_cut_off(local):
    thinking, said = local("sure"), iter([[f"{THOUGHT}salt", "oil"], ["but", "soup</think>salt"]])
    thinking.tokenizer.batch_decode = lambda *_, **__: next(said)
    assert thinking.write(["soup", "pizza"], 2) == [["salt"] * 2, ["oil"] * 2]
    assert thinking.remarks == {writers.CUT: 2}  # oil has no end
    thinking.framed = "{} <think>\n".format
    assert thinking.write(["soup", "soup"], 1) == [[""], ["salt"]]
    assert thinking.remarks == {writers.CUT: 2, writers.EMPTY: 1}


def unsupported(name, hint=""):
    """A server that takes no such parameter."""

    def answer(body):
        complaint = {"error": {"message": f"Unsupported parameter: '{name}'. {hint}"}}
        told = (400, json.dumps(complaint)) if name in body else (200, completion("Soup"))
        return reply(*told)

    return answer


class TestServer:
    """What is asked and kept; how a server is asked is looked at in test_web.py."""

    def test_texts_stand_with_their_prompts_and_have_seeds_of_their_own(
        self, chat, writer, tmp_path
    ):
        rows = writer().write(["pizza", "soup", "pizza"], 3)
        assert [[text.split(",")[0] for text in row] for row in rows] == [
            ["pizza"] * 3,
            ["soup"] * 3,
            ["pizza"] * 3,
        ]
        assert [text for row in rows for text in row] == [expected(body) for body in chat.asked]
        writer(seed=1).write(["pizza", "soup", "pizza"], 3)
        seeds = [body["seed"] for body in chat.asked]
        assert len(set(seeds)) == len(seeds) == 18
        assert all(0 <= seed < 2**31 for seed in seeds)
        assert writer(folder=tmp_path / "else").write(["pizza", "soup", "pizza"], 3) == rows
        assert [body["seed"] for body in chat.asked[18:]] == seeds[:9]
        assert chat.paths == {"/v1/chat/completions"}
        assert writer().write([], 2) == []

    def test_a_strangers_text_is_kept_as_it_is(self, chat, writer, tmp_path):
        utf8_cannot = completion("A").replace(b'"A"', rb'"\ud83c\udf55 \ud83c and \udf55"')
        texts = [completion(MARKUP), completion("1. Boil the", finish_reason="length"), utf8_cannot]
        chat.script = [reply(200, text) for text in texts]
        rows = writer().write(["pizza", "soup", "caf\udce9"], 1)
        assert rows == [[MARKUP], ["1. Boil the"], ["🍕 \ufffd and \ufffd"]]
        assert chat.prompts()[-1] == "caf\ufffd"
        assert writer().write(["pizza", "soup", "caf\udce9"], 1) == rows
        assert len(chat.asked) == 3

    @pytest.mark.parametrize(
        ("answer", "text", "remarks"),
        [
            (completion(f"{THOUGHT}Soup"), "Soup", {}),
            (
                completion([{"type": "text", "text": "So"}, {"type": "text", "text": "up"}]),
                "Soup",
                {},
            ),
            (completion([{"type": "thinking"}, {"type": "text", "text": "Soup"}]), "Soup", {}),
            (completion("Soup: 1 c", finish_reason="length"), "Soup: 1 c", {writers.CUT: 1}),
        ],
    )
    def test_texts_of_all_forms(self, chat, writer, answer, text, remarks):
        chat.script = [reply(200, answer)]
        for one in (writer(), writer()):  # from the server, from disk
            assert one.write(["soup"], 1) == [[text]]
            assert one.remarks == remarks
        assert len(chat.asked) == 1

    @pytest.mark.parametrize(
        ("message", "reason", "problem", "remedy"),
        [
            ({"content": THOUGHT[:20]}, "length", "cut off before", "raise writing.max_tokens"),
            ({"content": None}, "length", "cut off before", "raise writing.max_tokens"),
            (
                {"content": None, "refusal": "I cannot."},
                "stop",
                "write (I cannot.)",
                "another model",
            ),
            ({"content": ""}, "content_filter", "refused to write", "another model"),
            ({"content": {}}, "stop", "an empty text", "raise writing.max_tokens"),
            ({"content": 3}, "stop", "without a text", "check url, model and key"),
        ],
    )
    def test_no_text_is_called_what_it_is(self, chat, writer, message, reason, problem, remedy):
        answer = {"choices": [{"message": message, "finish_reason": reason}]}
        chat.script = [reply(200, json.dumps(answer))] * 3
        told = refused(writer().write, ["soup"], 1)
        assert problem in told
        assert remedy in told

    @pytest.mark.parametrize("name", ["max_tokens", "seed", "temperature", "stream"])
    @pytest.mark.parametrize("instead", ["", "max_completion_tokens"])
    def test_a_parameter_that_is_refused_by_name_is_left_out(self, chat, writer, name, instead):
        chat.usual = unsupported(name, f"Use '{instead}' instead" if instead else "")
        one, renamed = writer(attempts=1), bool(instead) and name == "max_tokens"
        assert one.write(["soup"], 3) == [["Soup"] * 3]
        first, *others = chat.asked
        assert len(others) == 3
        wanted = {key: value for key, value in first.items() if key not in (name, "seed")}
        wanted |= {instead: 50} if renamed else {}
        assert [{k: v for k, v in body.items() if k != "seed"} for body in others] == [wanted] * 3
        assert list(one.remarks.values()) == [3]
        assert name in next(iter(one.remarks))
        again = writer()
        assert again.write(["soup"], 3) == [["Soup"] * 3]
        assert again.remarks == one.remarks

    @pytest.mark.parametrize(
        "complaint", ["max_tokens is too large: 50; at most 20", "Unknown model: seed-1"]
    )
    def test_other_refusals_stay_what_they_are(self, chat, writer, complaint):
        chat.usual = lambda _: reply(400, json.dumps({"error": {"message": complaint}}))
        told = refused(writer().write, ["soup"], 1)
        assert complaint in told
        assert "check url, model and key" in told

    def test_an_answer_is_not_asked_for_again(self, chat, writer, tmp_path):
        seen = []
        chat.before = lambda: seen.append(len(kept(tmp_path)))
        rows = writer().write(["pizza", "soup"], 2)
        assert seen == [0, 1, 2, 3]  # each is kept before the next is asked for
        assert writer().write(["pizza", "soup"], 2) == rows
        assert writer().write(["soup", "salad", "pizza"], 2)[::2] == rows[::-1]
        assert chat.prompts()[4:] == ["salad"] * 2
        assert writer(url=chat.url + "/").write(["pizza"], 3)[0][:2] == rows[0]
        assert len(chat.asked) == 7
        others = [{"model": "big"}, {"temperature": 0.8}, {"max_tokens": 51}, {"seed": 1}]
        for count, changed in enumerate([*others, {"url": chat.url.replace("v1", "v2")}], 8):
            writer(**changed).write(["pizza"], 1)
            assert len(chat.asked) == count

    def test_a_failure_loses_nothing(self, chat, writer, tmp_path):
        chat.script = [reply(200, completion(text)) for text in ("one", "two")]
        chat.script += [reply(200, completion(" \n"))] * 3
        message = refused(writer().write, ["pizza", "soup"], 2)
        assert message.startswith(f"small at {chat.url} ")
        assert "raise writing.max_tokens" in message
        assert len(kept(tmp_path)) == 2
        rows = writer().write(["pizza", "soup"], 2)
        assert rows[0] == ["one", "two"]
        assert chat.prompts()[5:] == ["soup", "soup"]
        (tmp_path / "file").touch()
        assert "cannot write" in refused(writer(folder=tmp_path / "file/answers").write, ["a"], 1)

    @pytest.mark.parametrize(
        "damage",
        [
            lambda whole: whole[: len(whole) // 2],
            lambda whole: whole.replace(b"pizza", b"pasta"),
            lambda whole: whole.replace(b'"answer": "', b'"answer": "X'),
        ],
        ids=["half", "another", "letter"],
    )
    def test_a_damaged_file_is_asked_for_again(self, chat, writer, tmp_path, damage):
        rows = writer().write(["pizza"], 1)
        (file,) = (tmp_path / "answers").iterdir()
        whole = file.read_bytes()
        file.write_bytes(damage(whole))
        assert writer().write(["pizza"], 1) == rows
        assert len(chat.asked) == 2
        assert file.read_bytes() == whole

    def test_the_key_is_sent_in_cipher_and_kept_nowhere(
        self, chat, writer, key, tmp_path, monkeypatch
    ):
        assert "https" in refused(lambda: writer(**key, url="http://host/v1"))
        assert "writing.generator.url" in refused(lambda: writer(url="https://hunter2@host/v1"))
        chat.script = [reply(200, completion(f"Add {SECRET} and salt"))]
        mine = writer(**key)
        assert mine.write(["pizza"], 1) == [["Add [key] and salt"]]
        assert chat.headers[0]["Authorization"] == f"Bearer {SECRET}"
        assert not any(SECRET in (tmp_path / file).read_text() for file in kept(tmp_path))
        assert SECRET not in str([repr(mine), vars(mine), vars(mine.client)])
        monkeypatch.setenv("KITCHEN_KEY", "none")  # which may be a word of a recipe
        chat.script = [reply(200, completion("Cheese: none"))]
        assert writer(**key).write(["soup"], 1) == [["Cheese: none"]]


SETTINGS = Writer(
    name="writer", width=8, layers=1, heads=2, steps=3, batch=4, learning_rate=0.01, seed=3
)


@pytest.fixture
def few_plates(monkeypatch):
    monkeypatch.setattr(writers, "PLATES", 1)
    monkeypatch.setattr(writers, "WORDS", 300)


@pytest.mark.usefixtures("few_plates")
def test_examples_are_prompts_of_every_form_of_another_kitchen():
    pairs, forms = writers.examples(SETTINGS), Counter()
    plates = kitchen.plates(1, SETTINGS.seed)
    assert len(pairs) == 8 * len(plates)
    assert not {*plates} & {*kitchen.plates(1, 0)}
    for k, (prompt, recipe) in enumerate(pairs):
        plate = plates[k // 8]
        assert recipe == kitchen.recipe(plate, SETTINGS.seed)
        dishes = re.search("^Dish: (.*)$", prompt, re.MULTILINE)[1]
        seen = re.search("^Visible ingredients: (.*)$", prompt, re.MULTILINE)
        shares = [int(share) for share in re.findall(r"\((\d+)%\)", dishes)]
        if shares:  # doubts are shares of a whole, below the limit
            assert 40 <= max(shares) <= 79
            assert sum(shares) == pytest.approx(100, abs=1.5)
        assert plate.dish.replace("_", " ") in re.sub(r" \(\d+%\)", "", dishes).split(" or ")
        told = re.sub(r" \(\d+%\)", "", seen[1]).split(", ") if seen else plate.ingredients
        assert sorted(told) == sorted(plate.ingredients)
        forms[bool(shares), bool(seen)] += 1
    assert set(forms.values()) == {len(pairs) / 4}


tokens = st.lists(st.integers(1, 50), min_size=1, max_size=6)


@given(st.lists(st.tuples(tokens, tokens), min_size=1, max_size=4))
def test_only_recipes_are_learnt(pairs):
    inputs, targets = writers.batch(pairs, 0)
    longest = max(len(prompt) + len(recipe) for prompt, recipe in pairs)
    assert inputs.shape == targets.shape == (len(pairs), longest)
    for row, (prompt, recipe) in enumerate(pairs):
        rest = longest - len(prompt) - len(recipe)
        assert inputs[row].tolist() == [*prompt, *recipe, *([0] * rest)]
        assert targets[row].tolist() == [-100] * len(prompt) + recipe + [-100] * rest


@pytest.mark.usefixtures("few_plates")
class TestKitchenWriter:
    def test_the_same_settings_give_the_same_bits_and_others_another_folder(
        self, tmp_path, sandbox, monkeypatch
    ):
        for k, name in enumerate(("one", "two")):
            torch.manual_seed(k)  # what was drawn before does not matter
            torch.rand(k + 1)
            writers.train(SETTINGS, tmp_path / name)
        one, two = (
            {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()}
            for name in ("one", "two")
        )
        assert one == two
        assert {"model.safetensors", "tokenizer.json"} <= set(one)
        monkeypatch.setattr(writers, "train", lambda _, folder: folder.mkdir())
        others = [SETTINGS, *(SETTINGS.model_copy(update=u) for u in ({"steps": 4}, {"seed": 4}))]
        assert len({writers.kitchen_writer(one) for one in others}) == 3

    @pytest.mark.parametrize("library", ["PreTrainedModel", "PreTrainedTokenizerFast"])
    def test_a_full_disk_is_one_sentence(self, sandbox, monkeypatch, library):
        """The size limit of a process makes writes fail, as a full disk does."""
        import transformers

        paths.cache().mkdir(parents=True)
        whole, limits = getattr(transformers, library), resource.getrlimit(resource.RLIMIT_FSIZE)

        def save(*values, original=whole.save_pretrained, **options):
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
            try:
                return original(*values, **options)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)

        with monkeypatch.context() as patch:
            patch.setattr(whole, "save_pretrained", save)
            message = refused(writers.kitchen_writer, SETTINGS)
        assert message.startswith(f"cannot write {paths.cache()}/writer-")
        assert "File too large" in message
        assert not [path for path in paths.cache().iterdir() if path.suffix == ""]
        assert (writers.kitchen_writer(SETTINGS) / "tokenizer.json").exists()
