"""The loss of teacher forcing: the mean cross-entropy of every word given the true words before it.

L = −1/M Σ_c Σ_t log p(w_t | image, w_1 … w_{t−1}) over the M words of all captions c, the end of
each caption being its last word.
"""

from torch import Tensor
from torch.nn.functional import cross_entropy

from studies.captioning.captioner import Captioner
from studies.captioning.tokens import PAD

GROUPS = 4  # captions of like length are read together, so that little is computed on padding


def loss(
    network: Captioner, inputs: Tensor, captions: Tensor, owners: Tensor, smoothing: float
) -> Tensor:
    """Return the loss in nats a word, a scalar.

    Args:
        network: the system.
        inputs: what its encoder takes, B images.
        captions: (C, L) int64, each `<bos>`, its words, `<eos>`, then `<pad>`, not counted.
        owners: (C,) which of the B images each caption describes.
        smoothing: share of the true word's probability that is spread over all words, 0 for none.

    """
    memory = network.encoder(inputs)
    lengths = (captions != PAD).sum(1)
    total = memory.new_zeros(()).float()
    for rows in lengths.argsort(stable=True).chunk(GROUPS):
        read = captions[rows, : int(lengths[rows].max())]
        logits = network.decoder(memory[owners[rows]], read[:, :-1])
        total = total + cross_entropy(
            logits.float().flatten(0, 1),
            read[:, 1:].flatten(),
            ignore_index=PAD,
            label_smoothing=smoothing,
            reduction="sum",
        )
    return total / (lengths - 1).sum()
