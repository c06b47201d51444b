"""The network against transformers called directly and loops over tokens; its file to the bit."""

import numpy as np
import pytest
import torch

from sentences import refused
from studies.relevance.examples import padded, words
from studies.relevance.model import Reader, build
from studies.runs.folder import claim, load_run

GIVEN = ["the cat sat", "a", "soup on a plate of salad and the cat sat on my pizza", "一只 猫"]
WNIDS, NAMES = ["n1", "n2", "n3"], ["cat", "soup", "pizza"]
KINDS = ["roberta", "bag", "published"]


@pytest.fixture
def networks(small, roberta):
    """Return a function that gives parameters, tokenizer and a fresh network of a kind."""

    def make(kind, **changes):
        encoders = {
            "roberta": small().predictor.encoder.model_dump(),
            "bag": {"name": "bag", "width": 16, "vocabulary": 300},
            "published": {"name": "published", "weights": str(roberta)},
        }
        changes = {"predictor.encoder": encoders[kind], "max_tokens": 30, **changes}
        parameters = small(changes=changes)
        tokenizer = words(parameters.encoder, GIVEN * 3)
        torch.manual_seed(3)
        return parameters, tokenizer, build(parameters, 3, tokenizer).eval()

    return make


class TestNetwork:
    @pytest.mark.parametrize("kind", KINDS)
    def test_what_fills_up_changes_nothing(self, networks, kind):
        _, tokenizer, network = networks(kind)
        texts = tokenizer.tokens(GIVEN)
        with torch.no_grad():
            together = network(*padded(tokenizer, texts, 30))
            for row, text in enumerate(texts):
                alone, real = padded(tokenizer, [text], 30)
                assert real.all()
                assert torch.allclose(network(alone, real)[0], together[row], atol=1e-6)
        assert together.std(0).min() > 1e-4  # texts differ at all

    def test_roberta_is_that_of_transformers(self, networks):
        import transformers

        parameters, tokenizer, network = networks("roberta")
        config, wanted = network.encoder.model.config, parameters.encoder
        found = config.hidden_size, config.num_hidden_layers, config.num_attention_heads
        assert found == (wanted.width, wanted.layers, wanted.heads)
        direct = transformers.RobertaModel(config, add_pooling_layer=False).eval()
        direct.load_state_dict(network.encoder.model.state_dict())
        tokens, real = padded(tokenizer, tokenizer.tokens([*GIVEN, "x" * 200]), 30)
        assert tokens.shape[1] == 30  # the longest that may come
        with torch.no_grad():
            wanted = direct(input_ids=tokens, attention_mask=real.long()).last_hidden_state
            found = network.encoder(tokens, real)
            mean = torch.stack(
                [one[: n.sum()].mean(0) for one, n in zip(wanted, real, strict=True)]
            )
            logits = mean @ network.dense.weight.T + network.dense.bias
            assert torch.equal(found[real], wanted[real])
            assert torch.allclose(network(tokens, real), logits, atol=1e-6)


class TestPublished:
    def test_its_weights_are_loaded(self, networks, roberta):
        import transformers

        _, tokenizer, network = networks("published")
        direct = transformers.RobertaModel.from_pretrained(roberta).eval()
        whole = transformers.AutoTokenizer.from_pretrained(roberta)
        with torch.no_grad():
            for text in GIVEN:
                found = network.encoder(*padded(tokenizer, tokenizer.tokens([text]), 30))
                wanted = direct(**whole(f" {text}", return_tensors="pt")).last_hidden_state
                assert torch.allclose(found, wanted, atol=1e-5)
        assert not any("pooler" in name for name, _ in network.named_parameters())

    def test_more_tokens_than_it_reads(self, networks, roberta):
        assert networks("published", max_tokens=30)  # 32 places, two before the first
        told = refused(lambda: networks("published", max_tokens=31))
        assert told == f"max_tokens is 31, and {roberta} reads up to 30; lower max_tokens"


@pytest.fixture
def saved(networks, sandbox):
    """Return a function that saves a network of a kind as that of a run."""

    def save(kind):
        parameters, tokenizer, network = networks(kind)
        reader = Reader(network, tokenizer, WNIDS, NAMES, parameters)
        with claim(parameters) as folder:
            reader.save(folder / "model.safetensors")
        return reader, load_run(folder)

    return save


class TestFile:
    @pytest.mark.parametrize("kind", KINDS)
    def test_it_says_the_same_to_the_bit(self, saved, kind, roberta, monkeypatch):
        import transformers

        before, run = saved(kind)
        # what was published is not asked again
        for one in (transformers.AutoModel, transformers.AutoTokenizer):
            monkeypatch.setattr(one, "from_pretrained", lambda *_, **__: pytest.fail("asked"))
        after = run.model()
        assert (after.wnids, after.names) == (WNIDS, NAMES)
        assert after.parameters == before.parameters
        assert not after.network.training
        assert np.array_equal(after.logits(GIVEN), before.logits(GIVEN))
