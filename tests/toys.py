"""Small decoders of captions: random ones, and ones that say what a test wants."""

import torch
from torch import nn

from studies.captioning.decoders import LstmDecoder, TransformerDecoder
from studies.captioning.encoder import Size

PAD, BOS, EOS = 0, 1, 2
WIDTH, PLACES = 8, 4


def make(kind, vocabulary=5, sharp=4.0, seed=0, length=12):
    """Return a random decoder; `sharp` scales its logits."""
    torch.manual_seed(seed)
    if kind == "lstm":
        decoder = LstmDecoder(vocabulary, WIDTH, 10, 0.3)
    else:
        decoder = TransformerDecoder(vocabulary, length, Size(WIDTH, 2, 2, 16, 0))
    with torch.no_grad():
        for parameter in decoder.output.parameters():
            parameter *= sharp
    return decoder.eval()


def about(images, seed=0):
    return torch.randn(images, PLACES, WIDTH, generator=torch.Generator().manual_seed(seed))


def log_p(decoder, memory, tokens):
    """Log p of tokens (L,) as the decoder reads the whole caption."""
    with torch.no_grad():
        states = decoder(memory[None], torch.tensor([[BOS, *tokens]]))
        rows = decoder.output(states).log_softmax(-1)[0]
    return sum(rows[place, token].item() for place, token in enumerate(tokens))


class Script(nn.Module):
    """A decoder whose next token depends on the image and the step alone, not on the beam."""

    def __init__(self, logits):
        super().__init__()
        self.logits, self.output = logits, nn.Identity()  # (B, S, V)

    def start(self, memory, beams, steps):
        return Told(self.logits[memory[:, 0, 0].long()])

    def step(self, tokens, state):
        state.place += 1
        return state.logits[:, None, state.place - 1].repeat(1, tokens.shape[1], 1)

    def forward(self, memory, tokens):
        return self.logits[memory[:, 0, 0].long(), : tokens.shape[1]]


class Told:
    def __init__(self, logits):
        self.logits, self.place = logits, 0

    def select(self, parents):
        pass

    def keep(self, images):
        self.logits = self.logits[images]


def script(probabilities):
    """A decoder with given probabilities (B, S, V), and the memory that asks for each image."""
    logits = torch.tensor(probabilities).log()
    return Script(logits), torch.arange(len(logits)).float()[:, None, None]


class Chain(Script):
    """A decoder whose next token depends on the last one alone, by a table (V, V)."""

    def step(self, tokens, state):
        return self.logits[tokens]

    def forward(self, memory, tokens):
        return self.logits[tokens]
