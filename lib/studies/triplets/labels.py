"""Images with labels: a path in a label tree, or one label of each of several groups.

In a tree a class is its full path, `Fruit/Apple/Golden-Delicious`. Classes of unequal depth are
padded by repeating the lowest label, so every image has a label at each of the H levels. Groups
are independent of each other, such as colour and shape: level i then means group i, and a class is
a combination of labels, `red/round`.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class LabelledImages:
    """N images below `root` with labels at H levels.

    `files` are paths relative to `root`; `trees` the labels, one tuple of H an image, from the top
    level down or group by group; `official` the published part of each image (`train`,
    `validation` or `test`), if any; `nested` is whether the levels are those of a tree.
    """

    root: Path
    files: list[str]
    trees: list[tuple[str, ...]]
    official: np.ndarray | None
    nested: bool = True

    @property
    def paths(self) -> list[Path]:
        """Return the image files."""
        return [self.root / file for file in self.files]

    @cached_property
    def names(self) -> list[list[str]]:
        """Return for each level its label names, sorted.

        In a tree they are label paths: `["Fruit", ...], ["Fruit/Apple", ...]`; of groups the plain
        labels: `["green", "red"], ["long", "round"]`.
        """
        return [
            sorted({self._name(tree, level) for tree in self.trees})
            for level in range(len(self.trees[0]))
        ]

    @cached_property
    def labels(self) -> np.ndarray:
        """Return (N, H) int64: at each level the index of the image's label in `names`."""
        index = [{name: i for i, name in enumerate(level)} for level in self.names]
        return np.array(
            [
                [index[level][self._name(tree, level)] for level in range(len(tree))]
                for tree in self.trees
            ]
        )

    @cached_property
    def class_names(self) -> list[str]:
        """Return the name of each class, all its labels joined by `/`, sorted."""
        return sorted({"/".join(tree) for tree in self.trees})

    @cached_property
    def class_index(self) -> np.ndarray:
        """Return (N,) int64: the index of each image's class in `class_names`.

        In a tree it is the label of the lowest level; of groups it is that of their combination.
        """
        index = {name: i for i, name in enumerate(self.class_names)}
        return np.array([index["/".join(tree)] for tree in self.trees])

    @cached_property
    def classes(self) -> np.ndarray:
        """Return (C, H) int64: the labels of each class, by class index."""
        _, first = np.unique(self.class_index, return_index=True)
        return self.labels[first]

    @property
    def counts(self) -> dict[int, int]:
        """Return the images of each class in the whole dataset."""
        return dict(Counter(self.class_index.tolist()))

    def _name(self, tree: tuple[str, ...], level: int) -> str:
        return "/".join(tree[: level + 1]) if self.nested else tree[level]
