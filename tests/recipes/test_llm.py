"""Recipes of local models: one whose next word is known, and one that pays attention."""

import shutil
from collections import Counter

import numpy as np
import pytest
import torch

import chains
from sentences import refused
from studies.recipes import llm
from studies.recipes.llm import LocalWriter

pytest_plugins = ["plates_made"]

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
def writer(folders):
    def make(model, batch=3, temperature=0.0, max_tokens=6, seed=0) -> LocalWriter:
        return LocalWriter(folders[model], batch, temperature, max_tokens, seed)

    return make


class TestGreedy:
    def test_the_likeliest_words_up_to_the_end(self, writer):
        assert writer("sure").write(PROMPTS, 1) == [
            ["salt pepper"],  # and not the egg behind the end
            ["salt pepper"],
            ["oil oil oil oil oil oil"],
            ["oil oil oil oil oil oil"],
            ["oil oil oil oil oil oil"],
        ]

    @pytest.mark.parametrize("most", [1, 4])
    def test_no_more_tokens_than_allowed(self, writer, most):
        (texts,) = writer("sure", max_tokens=most).write(["pizza"], 1)
        assert texts == [" ".join(["oil"] * most)]

    @pytest.mark.parametrize("batch", [2, 3, 5, 100])
    def test_batches_change_nothing(self, writer, batch):
        alone = writer("random", batch=1).write(PROMPTS, 1)
        assert len({text for (text,) in alone}) > 2
        assert writer("random", batch=batch).write(PROMPTS, 1) == alone

    def test_the_recipes_of_a_prompt_are_all_alike(self, writer):
        rows = writer("random").write(PROMPTS, 3)
        assert rows == [3 * row for row in writer("random").write(PROMPTS, 1)]

    def test_no_prompts(self, writer):
        assert writer("sure").write([], 2) == []


class TestSampling:
    def test_recipes_stand_with_their_prompt(self, writer):
        rows = writer("chance", batch=2, temperature=1.0).write(PROMPTS, 4)
        wanted = [{"salt", "pepper"}, {"salt", "pepper"}, {"oil", "egg"}, None, {"oil", "egg"}]
        for row, words in zip(rows, wanted, strict=True):
            assert len(row) == 4
            assert words is None or set(row) <= words

    @pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
    def test_words_are_as_frequent_as_the_temperature_says(self, writer, temperature):
        draws = 600
        (row,) = writer("chance", temperature=temperature, max_tokens=1).write(["soup"], draws)
        a, b = (share ** (1 / temperature) for share in CHANCE["soup"].values())
        share, spread = a / (a + b), np.sqrt(a * b) / (a + b)
        assert abs(Counter(row)["salt"] / draws - share) < 4 * spread / np.sqrt(draws)

    def test_it_depends_on_the_seed_and_is_the_same_again(self, writer):
        first = writer("chance", temperature=1.0).write(PROMPTS, 8)
        assert writer("chance", temperature=1.0).write(PROMPTS, 8) == first
        assert writer("chance", temperature=1.0, seed=1).write(PROMPTS, 8) != first

    def test_a_batch_does_not_depend_on_those_before_it(self, writer):
        asked = ["soup"] * 4
        rows = writer("chance", batch=2, temperature=1.0).write(asked, 8)
        others = writer("chance", batch=2, temperature=1.0).write(["pizza"] * 2 + asked[2:], 8)
        assert others[2:] == rows[2:]
        # nor are all batches one
        assert rows[:2] != rows[2:]


class TestFrames:
    def given(self, writer, prompts) -> list[str]:
        """What the model reads of prompts, padding left out."""
        generate, read = writer.model.generate, []

        def reading(**values):
            for row, mask in zip(values["input_ids"], values["attention_mask"], strict=True):
                read.append(writer.tokenizer.decode(row[mask.bool()]))
            return generate(**values)

        writer.model.generate = reading
        writer.write(prompts, 1)
        return read

    def test_without_a_chat_template_an_empty_line_ends_the_prompt(self, writer):
        assert writer("random").framed("soup") == f"soup{llm.BREAK}"
        assert self.given(writer("random"), ["soup", "egg pizza"]) == ["soup", "egg pizza"]

    def test_first_tokens_of_a_model_are_kept(self, writer):
        assert self.given(writer("begins"), ["soup"]) == [f"{chains.BEGIN} soup"]

    def test_a_chat_template_frames_it_and_begins_it_once(self, writer):
        framed = writer("chat").framed("soup")
        assert framed == f"{chains.BEGIN} user soup stir"
        said = self.given(writer("chat"), ["soup", "egg pizza"])
        assert said == [f"{chains.BEGIN} <unknown> {food} stir" for food in ("soup", "egg pizza")]


class TestLoad:
    def test_a_model_that_is_not_there(self, sandbox):
        message = refused(llm.load, str(sandbox / "none"))
        assert message.startswith(f"The language model {sandbox / 'none'} is neither in ")
        assert f"run `hf download {sandbox / 'none'} --local-dir " in message

    def test_a_model_below_the_data_folder(self, sandbox, folders):
        weights = sandbox / "data" / "weights" / "me"
        weights.mkdir(parents=True)
        (weights / "small").symlink_to(folders["sure"])
        model, tokenizer = llm.load("me/small")
        assert not model.training
        assert tokenizer.padding_side == "left"
        assert tokenizer.pad_token_id is not None

    def test_pickled_weights_are_refused(self, sandbox, folders):
        folder = sandbox / "pickled"
        shutil.copytree(folders["sure"], folder)
        (folder / "model.safetensors").unlink()
        torch.save({}, folder / "pytorch_model.bin")
        assert str(folder) in refused(llm.load, str(folder))


class TestRecipeWriter:
    def test_local(self, ordered, folders):
        asked = ordered("supervised").writing.model_dump()
        asked |= {"temperature": 0.3, "max_tokens": 5}
        asked["generator"] = {"name": "local", "model": str(folders["sure"]), "batch": 7}
        found = llm.recipe_writer(ordered("supervised", seed=4, writing=asked))
        assert isinstance(found, LocalWriter)
        assert (found.batch, found.temperature, found.max_tokens, found.seed) == (7, 0.3, 5, 4)

    def test_the_kitchens_own(self, ordered, folders, monkeypatch):
        from studies.recipes import writer

        trained = []

        def train(settings):
            trained.append(settings)
            return folders["sure"]

        monkeypatch.setattr(writer, "kitchen_writer", train)
        parameters = ordered("supervised", seed=2)
        found = llm.recipe_writer(parameters)
        assert trained == [parameters.writing.generator]
        assert (found.batch, found.seed) == (parameters.writing.generator.batch, 2)

    def test_a_server(self, ordered):
        from studies.recipes.server import ServerWriter

        asked = ordered("supervised").writing.model_dump()
        asked["generator"] = {
            **{"name": "server", "url": "http://127.0.0.1:9/v1", "model": "small"},
            **{"key_variable": "", "timeout": 1.0, "attempts": 1},
        }
        assert isinstance(llm.recipe_writer(ordered("naive", writing=asked)), ServerWriter)
