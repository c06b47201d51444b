"""What every decoder does.

Training reads whole captions at once. Decoding goes step by step, without gradients, with a state
that keeps what was computed. For W beams of each of B images, tokens are (B, W) and logits
(B, W, V): what belongs to the image, its memory, is kept once and not once a beam.
"""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class State(ABC):
    """What a decoder remembers of the captions begun, B images with W beams each."""

    @abstractmethod
    def select(self, parents: Tensor) -> None:
        """Make beam w of image b go on from what was beam `parents[b, w]`, (B, W') int64."""

    @abstractmethod
    def keep(self, images: Tensor) -> None:
        """Forget all images but these, (B',) int64 in rising order."""


class Decoder(nn.Module, ABC):
    """Writes a caption about a memory (B, T, D), token by token."""

    @abstractmethod
    def forward(self, memory: Tensor, tokens: Tensor) -> Tensor:
        """Return logits (B, L, V) of the token after each of `tokens` (B, L) int64."""

    @abstractmethod
    def attend(self, memory: Tensor, tokens: Tensor) -> Tensor:
        """Return (B, L, T): how much each place counts, summing to 1, for the token after each."""

    @abstractmethod
    def start(self, memory: Tensor, beams: int, steps: int) -> State:
        """Return the state before the first token: one beam, with room for `beams` and `steps`."""

    @abstractmethod
    def step(self, tokens: Tensor, state: State) -> Tensor:
        """Append `tokens` (B, W) to the captions, one a beam, and return logits (B, W, V)."""
