"""Captions a second of batched beam search, against peers that decode the same number of steps.

`one by one` is beam search of the same decoder as a tutorial writes it: an image at a time, the
whole captions read again for each token. `generate` is that of transformers, on a MarianMT decoder
of the same layers, width, heads, dense units and vocabulary, cross-attending to the same memory.
64 images, 5 beams, 20 tokens (no eos, so that all do the same work), 49 places of memory. Peers
compute in fp32, ours also in bf16 where the processor multiplies in it. One thread, processor time,
medians of interleaved rounds.

Why 20 times the one-by-one search is hard to reach in fp32: counted from the sizes below, ours
saves 14 of 15 multiplications of the Transformer (1.56 of 23.4 billion an image are left) and 11 of
12 of the LSTM (0.84 of 10.2). Nine tenths of what is left are products of new tokens with the
weights, which no search can leave out. Beyond 15 and 12 a ratio comes from larger products being
faster.
"""

import numpy as np
import torch
from lines import heading, line
from torch import Tensor
from transformers import GenerationConfig, MarianConfig, MarianMTModel
from transformers.modeling_outputs import BaseModelOutput

from studies.captioning import beam as searching
from studies.captioning.beam import beam
from studies.captioning.decoders import Decoder, LstmDecoder, TransformerDecoder
from studies.captioning.encoder import Size
from studies.captioning.tokens import BOS, EOS, PAD
from studies.learning import compute
from studies.learning.compute import interleaved, threads

IMAGES, PLACES, BEAMS, STEPS, VOCABULARY = 64, 49, 5, 20, 8000
SIZE = Size(width=512, layers=3, heads=8, feed_forward=2048, dropout=0.1)
NEVER = (PAD, BOS, EOS)
SAMPLE, ROUNDS = 4, 5  # images that the slow peer describes in a round


@torch.inference_mode()
def one_by_one(decoder: Decoder, memory: Tensor) -> list[list[int]]:
    """Return the best caption of each image of memory (B, T, D)."""
    found = []
    for image in memory:
        tokens, total = torch.tensor([[BOS]]), torch.zeros(1)
        for _ in range(STEPS):
            logits = decoder.output(decoder(image.expand(len(tokens), -1, -1), tokens))[:, -1]
            logits[:, NEVER] = -torch.inf
            total = total[:, None] + logits.log_softmax(-1)
            total, place = total.flatten().topk(BEAMS)
            tokens = torch.cat([tokens[place // VOCABULARY], place[:, None] % VOCABULARY], 1)
        found.append(tokens[0, 1:].tolist())
    return found


def marian() -> MarianMTModel:
    """Return the peer's decoder; its encoder is never asked."""
    config = MarianConfig(
        vocab_size=VOCABULARY,
        d_model=SIZE.width,
        encoder_layers=1,
        decoder_layers=SIZE.layers,
        decoder_attention_heads=SIZE.heads,
        decoder_ffn_dim=SIZE.feed_forward,
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=BOS,
        forced_eos_token_id=None,
        max_position_embeddings=64,
    )
    return MarianMTModel(config).eval()


def in_bf16(decoder: Decoder, memory: Tensor) -> None:
    """Search in mixed precision."""
    with compute.autocast("bf16-mixed"):
        beam(decoder, memory, BEAMS, STEPS, 0.0)


def main() -> None:
    """Print the lines."""
    searching.NEVER = NEVER
    half = compute.resolve_precision("auto") == "bf16-mixed"
    torch.manual_seed(0)
    memory = torch.randn(IMAGES, PLACES, SIZE.width)
    transformer = TransformerDecoder(VOCABULARY, STEPS, SIZE).eval()
    lstm = LstmDecoder(VOCABULARY, SIZE.width, 512, 0.1).eval()
    peer = marian()
    settings = GenerationConfig(
        num_beams=BEAMS,
        min_new_tokens=STEPS,
        max_new_tokens=STEPS,
        length_penalty=0.0,
        decoder_start_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
        bad_words_ids=[[PAD], [BOS]],
    )

    def generate() -> None:
        given = BaseModelOutput(last_hidden_state=memory)
        rows = peer.generate(encoder_outputs=given, generation_config=settings)
        assert rows.shape == (IMAGES, 1 + STEPS)

    decoders = {"Transformer": transformer, "LSTM": lstm}
    contenders = {"generate": generate}
    for name, decoder in decoders.items():
        contenders[name] = lambda d=decoder: beam(d, memory, BEAMS, STEPS, 0.0)
        if half:
            contenders[f"{name} in bf16"] = lambda d=decoder: in_bf16(d, memory)
        contenders[f"{name}, one by one"] = lambda d=decoder: one_by_one(d, memory[:SAMPLE])
    with threads(1):
        seconds = interleaved(contenders, ROUNDS)

    def show(name: str, other: str, images: int, least: float) -> None:
        rates = IMAGES / seconds[name], images / seconds[other]
        mine, theirs = (f"{np.median(rate):.1f} /s" for rate in rates)
        line(
            f"{name} v. {other.partition(', ')[2] or other}",
            mine,
            theirs,
            float(np.median(rates[0] / rates[1])),
            least,
        )

    heading(f"captions a second, {IMAGES} images, {BEAMS} beams, {STEPS} tokens")
    for name in decoders:
        show(name, f"{name}, one by one", SAMPLE, 20)
        if half:
            show(f"{name} in bf16", f"{name}, one by one", SAMPLE, 20)
    show("Transformer", "generate", IMAGES, 1)


if __name__ == "__main__":
    main()
