"""A captioning system: one encoder and one decoder, either of which can be exchanged."""

from torch import Tensor, nn

from studies.captioning.decoder import Decoder
from studies.captioning.encoder import Encoder


class Captioner(nn.Module):
    """An encoder and a decoder; decode with `decoding.beam(captioner.decoder, memory, …)`."""

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, inputs: Tensor, tokens: Tensor, image: Tensor | None = None) -> Tensor:
        """Return logits (N, L, V) of the token after each of `tokens` (N, L).

        `inputs` are what the encoder takes, B images. `image` (N,) says which of them each caption
        describes, so that an image of several captions is encoded once; None: one caption each.
        """
        memory = self.encoder(inputs)
        return self.decoder(memory if image is None else memory[image], tokens)
