"""What a system must beat: one caption for every image, and the caption of the nearest image."""

from collections import Counter

import numpy as np

from studies.captioning.data import CaptionedImages
from studies.captioning.params import NearestNeighbour
from studies.captioning.tokens import Words
from studies.inputs import images
from studies.inputs.features import features

BLOCK = 256  # test images compared with all training images at once


def most_frequent(captions: list[str], words: Words, longest: int) -> str:
    """Return the caption that is written most often, word for word; the first of several such."""
    rows = words.encode(captions, longest).tolist()
    said = Counter(words.decode(row) for row in rows)
    return said.most_common(1)[0][0]


def nearest_neighbour(known: np.ndarray, captions: list[list[str]], asked: np.ndarray) -> list[str]:
    """Return for each asked image the first caption of the most similar known one.

    Similarity is the cosine of features: `known` (N, F) with N lists of captions, `asked` (M, F).
    """
    known, found = unit(known), []
    for start in range(0, len(asked), BLOCK):
        similarity = unit(asked[start : start + BLOCK]) @ known.T
        found += [captions[row][0] for row in similarity.argmax(1)]
    return found


def unit(features: np.ndarray) -> np.ndarray:
    """Return features (N, F) as float32, of length 1 each."""
    features = np.asarray(features, dtype=np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def feature_space(
    dataset: CaptionedImages, baseline: NearestNeighbour, known: np.ndarray
) -> np.ndarray:
    """Return the features (N, F) in which images are near each other, in the order of `files`.

    Of a thumbnail's pixels their mean over the training images, the rows `known`, is taken.
    """
    space = baseline.features
    if space.name == "thumbnail":
        pixels = images.load(dataset.paths, space.side, dataset.root)
        flat = pixels.reshape(len(pixels), -1).astype(np.float32)
        return flat - flat[known].mean(0)
    return features(dataset.paths, dataset.root, space.weights)
