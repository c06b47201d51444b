"""Decoders: whole captions against steps, and each against a literal reading of its formulas."""

import math

import pytest
import torch
from torch import nn

from studies.captioning.decoders import LstmDecoder, TransformerDecoder
from studies.captioning.encoder import Size

VOCABULARY, WIDTH, LENGTH, IMAGES, PLACES = 13, 16, 9, 3, 5


def make(kind):
    torch.manual_seed(0)
    if kind == "lstm":
        return LstmDecoder(VOCABULARY, WIDTH, 10, 0.3).eval()
    return TransformerDecoder(VOCABULARY, LENGTH, Size(WIDTH, 2, 4, 32, 0.3)).eval()


@pytest.fixture(params=["lstm", "transformer"])
def decoder(request):
    return make(request.param)


def given(images=IMAGES):
    generator = torch.Generator().manual_seed(1)
    memory = torch.randn(images, PLACES, WIDTH, generator=generator)
    return memory, torch.randint(1, VOCABULARY, (images, LENGTH), generator=generator)


class TestBoth:
    @torch.inference_mode()
    def test_beams_that_change_places_equal_whole_captions(self, decoder):
        generator = torch.Generator().manual_seed(2)
        memory, _ = given(images=4)
        beams, images = 3, torch.arange(4)
        state, written = decoder.start(memory, beams, LENGTH), None
        for step in range(LENGTH):
            rows = len(images), beams if step else 1
            tokens = torch.randint(1, VOCABULARY, (*rows, 1), generator=generator)
            written = tokens if written is None else torch.cat([written, tokens], 2)
            logits = decoder.step(tokens[..., 0], state)
            for beam in range(rows[1]):
                whole = decoder.output(decoder(memory[images], written[:, beam])[:, -1])
                assert torch.allclose(logits[:, beam], whole, atol=1e-5)
            parents = torch.randint(0, rows[1], (len(images), beams), generator=generator)
            written = written.gather(1, parents[..., None].expand(-1, -1, step + 1))
            state.select(parents)
            if step in (2, 5):
                stay = torch.tensor([0, 2, 3] if step == 2 else [1, 2])
                state.keep(stay)
                images, written = images[stay], written[stay]
        assert images.tolist() == [2, 3]

    def test_every_parameter_learns(self, decoder):
        memory, tokens = given()
        memory.requires_grad_()
        decoder.output(decoder.train()(memory, tokens)).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in decoder.parameters())
        assert memory.grad.abs().sum() > 0


class TestTransformer:
    def test_it_equals_the_layers_of_torch(self):
        decoder = make("transformer")
        peer = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(
                WIDTH, 4, 32, activation="gelu", batch_first=True, norm_first=True
            ),
            2,
            decoder.norm,
        ).eval()
        for theirs, ours in zip(peer.layers, decoder.layers, strict=True):
            own, cross = theirs.self_attn, theirs.multihead_attn
            own.in_proj_weight.data, own.in_proj_bias.data = ours.own.weight, ours.own.bias
            own.out_proj.load_state_dict(ours.own_out.state_dict())
            for name in ("weight", "bias"):
                parts = [getattr(part, name) for part in (ours.query, ours.key_value)]
                getattr(cross, f"in_proj_{name}").data = torch.cat(parts)
            cross.out_proj.load_state_dict(ours.read_out.state_dict())
            theirs.linear1.load_state_dict(ours.dense[0].state_dict())
            theirs.linear2.load_state_dict(ours.dense[3].state_dict())
            for number, norm in enumerate(ours.norms, 1):
                getattr(theirs, f"norm{number}").load_state_dict(norm.state_dict())
        looked = []
        last = peer.layers[-1].multihead_attn
        memory, tokens = given()
        embedded = decoder.positions(decoder.embedding(tokens) * math.sqrt(WIDTH))
        mask = nn.Transformer.generate_square_subsequent_mask(LENGTH)
        last.register_forward_pre_hook(lambda _, inputs: looked.append(inputs))
        hidden = peer(embedded, memory, tgt_mask=mask)
        assert torch.allclose(decoder(memory, tokens), hidden, atol=1e-5)
        weights = last(*looked[0], average_attn_weights=True)[1]
        assert torch.allclose(decoder.attend(memory, tokens), weights, atol=1e-5)


def test_the_lstm_is_the_formulas_step_by_step():
    decoder, (memory, tokens) = make("lstm"), given(images=1)
    wanted, looked = [], []
    places = memory[0]
    hidden, cell = torch.tanh(decoder.first(places.mean(0))).chunk(2)
    attention = decoder.attention
    for token in tokens[0]:
        scores = [
            attention.score(torch.tanh(attention.keys(m) + attention.query(hidden))) for m in places
        ]
        weights = torch.cat(scores).softmax(0)
        context = sum(w * m for w, m in zip(weights, places, strict=True))
        context = torch.sigmoid(decoder.gate(hidden)) * context
        entered = torch.cat([decoder.embedding.weight[token], context])
        gates = decoder.cell.weight_ih @ entered + decoder.cell.bias_ih
        gates = gates + decoder.cell.weight_hh @ hidden + decoder.cell.bias_hh
        take, forget, new, show = gates.chunk(4)
        cell = forget.sigmoid() * cell + take.sigmoid() * new.tanh()
        hidden = show.sigmoid() * cell.tanh()
        linear, norm = decoder.deep
        read = linear.weight @ torch.cat([entered, hidden]) + linear.bias
        read = (read - read.mean()) / (read.var(correction=0) + norm.eps).sqrt()
        wanted.append(norm.weight * read + norm.bias)
        looked.append(weights)
    assert torch.allclose(decoder(memory, tokens)[0], torch.stack(wanted), atol=1e-5)
    assert torch.allclose(decoder.attend(memory, tokens)[0], torch.stack(looked), atol=1e-5)
