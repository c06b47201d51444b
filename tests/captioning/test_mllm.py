"""Multimodal models: the rule of cleaning, a tiny model of random weights, a server that chats."""

import base64
import io
import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import chains
from chats import Chat, completion, reply
from sentences import refused
from studies.captioning import data, evaluate
from studies.captioning.mllm import answers, asked, cleaned, load
from studies.captioning.params import Mllm
from studies.inputs import web
from studies.inputs.images import open_rgb
from studies.runs.folder import load_run

TEMPLATE = (
    "{% for one in messages %}{% for part in one['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %} stir{% endif %}"
)
TEST = [f"{k:02}.jpg" for k in range(4, 20, 5)]


@pytest.mark.parametrize(
    ("answer", "caption"),
    [
        ("A dog runs on grass.", "A dog runs on grass"),
        ("The image shows a dog on grass. It is brown.", "a dog on grass"),
        ('"This picture depicts two men."', "two men"),
        ("Sure! Here is a short caption: “A red bus.”\nAnything else?", "A red bus"),
        ("**Caption:** *A red bus*", "A red bus"),
        ("In the photo, there are three cats!", "three cats"),
        ("<think>A dog? The image shows.</think>\n\nA dog.", "A dog"),
        ("A man pays $2.50 at no. 5 for a hot dog", "A man pays $2.50 at no"),  # a rule has limits
        ("A child in front of\na house", "A child in front of"),
        ("A sign that says “Stop.” stands there.", "A sign that says “Stop"),
        ("The image shows", "The image shows"),
        ("Images show a way", "Images show a way"),
        ("...", "..."),
        ("", ""),
    ],
)
def test_the_rule_of_cleaning(answer, caption):
    assert cleaned(answer) == caption


@given(st.text(st.sampled_from("aB .!\n\"*“'"), max_size=30))
def test_cleaning_adds_nothing_and_leaves_something(answer):
    assert cleaned(answer) in answer
    assert bool(cleaned(answer)) == bool(answer.strip())


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder of a LLaVA as published, but tiny and of random weights."""
    import transformers

    folder = tmp_path_factory.mktemp("models") / "llava"
    tokenizer = chains.tokenizer(TEMPLATE)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    vision |= {"num_attention_heads": 2, "image_size": 16, "patch_size": 8}
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 1, "vocab_size": len(tokenizer), "eos_token_id": 0}
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**vision, initializer_factor=3.0),
        text_config=transformers.LlamaConfig(**text, initializer_range=0.6),
        image_token_index=len(tokenizer) - 1,
        vision_feature_layer=-1,
    )
    torch.manual_seed(0)
    transformers.LlavaForConditionalGeneration(config).save_pretrained(folder)
    crop = {"height": 16, "width": 16}
    pictures = transformers.CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=crop)
    transformers.LlavaProcessor(
        pictures,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    return folder


def settings(model, clean=True):
    """Those of a folder, or of a server, as a block."""
    asked = model if isinstance(model, dict) else {"name": "local", "model": str(model), "batch": 3}
    values = {"name": "mllm", "model": asked, "prompt": "soup egg", "max_tokens": 5}
    return Mllm.model_validate(values | {"clean": clean})


@pytest.fixture
def server(chat):
    place = {"name": "server", "url": chat.url, "model": "sees", "key_variable": ""}
    return place | {"timeout": 30.0, "attempts": 3}


@pytest.fixture
def chat(monkeypatch, sandbox):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(web, "sleep", lambda _: None)
    chat = Chat()
    yield chat
    chat.close()


@pytest.fixture
def pictures(tmp_path):
    files = [tmp_path / f"{k}.png" for k in range(4)]
    for k, file in enumerate(files):
        pixels = np.random.default_rng(k).integers(0, 256, (16, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
    return files


class TestLocal:
    def test_it_writes_the_likeliest_words_of_each_picture(self, model, pictures):
        """As a loop over the logits says; a batch changes nothing."""
        chosen = settings(model)
        network, processor = load(str(model))
        wanted = []
        for file in pictures:
            text = "<image> soup egg stir"
            given = processor(images=open_rgb(file), text=text, return_tensors="pt")
            tokens = given["input_ids"]
            assert (tokens == network.config.image_token_index).sum() == 4
            begin = tokens.shape[1]
            for _ in range(5):
                with torch.no_grad():
                    logits = network(input_ids=tokens, pixel_values=given["pixel_values"]).logits
                tokens = torch.cat([tokens, logits[:, -1:].argmax(-1)], 1)
                if tokens[0, -1] == 0:
                    break
            wanted.append(processor.decode(tokens[0, begin:], skip_special_tokens=True).strip())
        said, remarks = answers(pictures, chosen, beams=1)
        assert said == wanted
        assert len(set(wanted)) > 1
        assert remarks == ({"empty": wanted.count("")} if "" in wanted else {})
        alone = [text for file in pictures for text in asked(network, processor, [file], chosen, 1)]
        assert alone == wanted

    def test_a_model_without_a_template_or_that_is_not_there(self, sandbox, model):
        plain = shutil.copytree(model, sandbox / "plain")
        for file in plain.glob("chat_template*"):
            file.unlink()
        for file in plain.glob("*config.json"):
            content = json.loads(file.read_text())
            file.write_text(json.dumps({k: v for k, v in content.items() if k != "chat_template"}))
        assert refused(load, str(plain)).startswith(f"{plain} has no chat template")
        assert f"The weights of {sandbox / 'none'} cannot be read" in refused(
            load, str(sandbox / "none")
        )


class TestServer:
    def test_pictures_are_sent_and_answers_kept(self, chat, server, pictures):
        said = ["The image shows a cat.", "<think>a dog?</think>A dog.", "C", "D"]
        parts = [{"type": "text", "text": "C"}]  # as some servers answer
        script = [completion(text) for text in (said[0], said[1], parts, said[3])]
        chat.script = [reply(503, "busy"), *(reply(200, one) for one in script)]
        chosen = settings(server)
        first, remarks = answers(pictures, chosen, beams=1)
        assert [cleaned(text) for text in first] == ["a cat", "A dog", "C", "D"]
        assert remarks == {}
        for body, file in zip(chat.asked[1:], pictures, strict=True):
            assert (body["model"], body["temperature"], body["max_tokens"]) == ("sees", 0.0, 5)
            [message] = body["messages"]
            text, picture = message["content"]
            assert text == {"type": "text", "text": "soup egg"}
            head, _, sent = picture["image_url"]["url"].partition(",")
            assert head == "data:image/jpeg;base64"
            seen, own = np.asarray(Image.open(io.BytesIO(base64.b64decode(sent)))), open_rgb(file)
            assert seen.shape == (16, 20, 3)
            assert np.abs(seen.mean((0, 1)) - np.asarray(own).mean((0, 1))).max() < 4
        assert answers(pictures, chosen, beams=1)[0] == first
        assert len(chat.asked) == 5

    def test_a_server_that_takes_no_pictures_or_is_cut_off(self, chat, server, pictures):
        chosen = settings(server)
        chat.script = [reply(400, '{"error": {"message": "image_url is not supported"}}')]
        message = refused(answers, pictures, chosen, 1)
        assert "image_url is not supported" in message
        assert "check url, model and key of baseline.model" in message
        chat.script = [reply(200, completion(None, finish_reason="length"))] * 3
        assert "raise baseline.max_tokens" in refused(answers, pictures, chosen, 1)


def test_a_run_keeps_both_forms(few, squares, unscored, chat, server):
    """And is tested on what the others are."""
    chat.usual = lambda _: reply(200, completion("The image shows a wall. It is red."))
    for variant, clean in (("", True), ("raw", False)):
        block = settings(server, clean).model_dump()
        chosen = squares("most_frequent", model="mllm", variant=variant, baseline=block)
        run = load_run(evaluate.evaluate(chosen))
        assert run.predictions["id"].tolist() == TEST
        assert set(run.predictions["answer"]) == {"The image shows a wall. It is red."}
        wanted = "a wall" if clean else "The image shows a wall. It is red."
        assert set(run.predictions["candidate"]) == {wanted}
        assert run.provenance["remarks"] == {}
        assert data.split(data.read(chosen), chosen).tolist().count("test") == 4
    assert len(chat.asked) == len(TEST)  # once for both
