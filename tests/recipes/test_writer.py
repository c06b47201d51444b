"""The demo's language model: what it reads, what it learns, and the folder that holds it."""

import re
import resource
import socket
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import kitchen
from sentences import kept, refused
from studies import paths
from studies.recipes import llm, writer
from studies.recipes.params import Parameters, Writer
from studies.runs.params import read_yaml, run_files

SETTINGS = Writer(
    name="writer", width=8, layers=1, heads=2, steps=3, batch=4, learning_rate=0.01, seed=3
)


@pytest.fixture(autouse=True)
def few_plates(monkeypatch):
    monkeypatch.setattr(writer, "PLATES", 1)
    monkeypatch.setattr(writer, "WORDS", 300)


class TestExamples:
    @pytest.fixture
    def pairs(self):
        return writer.examples(SETTINGS)

    def test_every_form_of_prompt_comes_equally_often(self, pairs):
        forms = Counter()
        for prompt, _ in pairs:
            dish = re.search("^Dish: (.*)$", prompt, re.MULTILINE)[1]
            seen = re.search("^Visible ingredients: (.*)$", prompt, re.MULTILINE)
            forms["dish", "%" in dish] += 1
            forms["ingredients", seen is not None] += 1
            if seen:
                forms["shares", "%" in dish, "%" in seen[1]] += 1
        half, eighth = len(pairs) / 2, len(pairs) / 8
        assert forms == {
            **{(what, way): half for what in ("dish", "ingredients") for way in (True, False)},
            **{("shares", a, b): eighth for a in (True, False) for b in (True, False)},
        }

    def test_recipes_are_those_of_another_kitchen(self, pairs):
        plates = kitchen.plates(1, SETTINGS.seed)
        every = [recipe for _, recipe in pairs]
        assert every == [kitchen.recipe(plate, SETTINGS.seed) for plate in plates for _ in range(8)]
        assert not {*plates} & {*kitchen.plates(1, 0)}

    def test_prompts_tell_of_their_plate(self, pairs):
        for k, plate in enumerate(kitchen.plates(1, SETTINGS.seed)):
            for prompt, _ in pairs[8 * k : 8 * k + 8]:
                dishes = re.search("^Dish: (.*)$", prompt, re.MULTILINE)[1]
                named = re.sub(r" \(\d+%\)", "", dishes).split(" or ")
                assert plate.dish.replace("_", " ") in named
                assert len(set(named)) == len(named) == (3 if "%" in dishes else 1)
                seen = re.search("^Visible ingredients: (.*)$", prompt, re.MULTILINE)
                if seen:
                    told = re.sub(r" \(\d+%\)", "", seen[1]).split(", ")
                    assert sorted(told) == sorted(plate.ingredients)

    def test_doubts_are_shares_of_a_whole_below_the_limit(self, pairs):
        doubted = [p for p, _ in pairs if " or " in p.split("\n")[2]]
        for prompt in doubted:
            shares = [int(share) for share in re.findall(r"\((\d+)%\)", prompt.split("\n")[2])]
            assert len(shares) == 3
            assert 40 <= max(shares) <= 79
            assert sum(shares) == pytest.approx(100, abs=1.5)


tokens = st.lists(st.integers(1, 50), min_size=1, max_size=6)


@given(st.lists(st.tuples(tokens, tokens), min_size=1, max_size=4))
def test_only_recipes_are_learnt(pairs):
    given_, targets = writer.batch(pairs, 0)
    longest = max(len(prompt) + len(recipe) for prompt, recipe in pairs)
    assert given_.shape == targets.shape == (len(pairs), longest)
    for row, (prompt, recipe) in enumerate(pairs):
        for place in range(longest):
            inside = place < len(prompt) + len(recipe)
            token = [*prompt, *recipe][place] if inside else 0
            assert given_[row, place] == token
            assert targets[row, place] == (token if inside and place >= len(prompt) else -100)


class TestFolder:
    def test_transformers_reads_it_without_a_network(self, sandbox, monkeypatch):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = writer.kitchen_writer(SETTINGS)
        assert folder.parent == paths.cache()

        def refuse(*_):
            raise AssertionError("asked for the network")

        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        monkeypatch.setattr(socket.socket, "connect", refuse)
        model = AutoModelForCausalLM.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        for prompt, recipe in writer.examples(SETTINGS)[:8]:
            text = prompt + llm.BREAK + recipe
            assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
        (end,) = tokenizer(writer.END)["input_ids"]
        assert end == tokenizer.eos_token_id == tokenizer.pad_token_id == model.config.eos_token_id
        assert tokenizer.padding_side == "left"
        assert not list(folder.glob("*.bin"))

    def test_it_is_trained_once(self, sandbox, monkeypatch):
        folder = writer.kitchen_writer(SETTINGS)
        monkeypatch.setattr(writer, "train", None)
        assert writer.kitchen_writer(SETTINGS) == folder

    def test_the_same_settings_give_the_same_bits(self, tmp_path):
        for k, name in enumerate(("one", "two")):
            torch.manual_seed(k)  # what was drawn before does not matter
            torch.rand(k + 1)
            writer.train(SETTINGS, tmp_path / name)
        one, two = (
            {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()}
            for name in ("one", "two")
        )
        assert one == two
        assert {"model.safetensors", "tokenizer.json"} <= set(one)

    def test_other_settings_have_a_folder_of_their_own(self, sandbox, monkeypatch):
        monkeypatch.setattr(writer, "train", lambda _, folder: folder.mkdir())
        others = [SETTINGS, *(SETTINGS.model_copy(update=u) for u in ({"steps": 4}, {"seed": 4}))]
        assert len({writer.kitchen_writer(one) for one in others}) == 3

    def test_one_that_was_stopped_half_way_leaves_no_folder(self, sandbox, monkeypatch):
        from transformers import PreTrainedTokenizerFast

        def stop(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(PreTrainedTokenizerFast, "save_pretrained", stop)
            with pytest.raises(KeyboardInterrupt):
                writer.kitchen_writer(SETTINGS)
        assert not [name for name in kept(paths.cache()) if name.endswith("model.safetensors")]
        folder = writer.kitchen_writer(SETTINGS)
        assert (folder / "tokenizer.json").exists()
        assert not list(paths.cache().glob("*.partial"))

    @pytest.mark.parametrize("library", ["PreTrainedModel", "PreTrainedTokenizerFast"])
    def test_a_full_disk_is_one_sentence(self, sandbox, monkeypatch, library):
        """The size limit of a process makes writes fail, as a full disk does."""
        import transformers

        paths.cache().mkdir(parents=True)
        whole, limits = getattr(transformers, library), resource.getrlimit(resource.RLIMIT_FSIZE)

        def save(*given, original=whole.save_pretrained, **options):
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
            try:
                return original(*given, **options)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)

        with monkeypatch.context() as patch:
            patch.setattr(whole, "save_pretrained", save)
            message = refused(writer.kitchen_writer, SETTINGS)
        assert message.startswith(f"cannot write {paths.cache()}/writer-")
        assert "File too large" in message
        assert not [path for path in paths.cache().iterdir() if path.suffix == ""]
        assert (writer.kitchen_writer(SETTINGS) / "tokenizer.json").exists()

    def test_it_learns(self, tmp_path):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        losses = []
        for steps in (1, 60):
            folder = tmp_path / str(steps)
            writer.train(SETTINGS.model_copy(update={"steps": steps}), folder)
            model = AutoModelForCausalLM.from_pretrained(folder)
            tokenizer = AutoTokenizer.from_pretrained(folder)
            prompt, recipe = (tokenizer(t)["input_ids"] for t in writer.examples(SETTINGS)[0])
            given_, targets = writer.batch([(prompt, recipe)], tokenizer.pad_token_id)
            with torch.no_grad():
                losses.append(model(input_ids=given_, labels=targets).loss.item())
        assert losses[0] == pytest.approx(np.log(300), rel=0.1)  # of 300 tokens each alike
        assert losses[1] < 0.9 * losses[0]


def test_a_writer_that_read_the_plates_of_the_study_is_refused():
    values = {"seed": 0}
    for file in run_files("recipes", "tiny")["supervised"]:
        values |= read_yaml(file)
    values["writing"]["generator"]["seed"] = values["source"]["seed"]
    message = refused(Parameters.check, values, {"": "mine.yaml"})
    assert message.startswith("mine.yaml")
    assert "writing.generator.seed is that of source" in message
    values["writing"]["generator"]["seed"] += 1
    assert Parameters.check(values, {}).writing.generator.seed == values["source"]["seed"] + 1
