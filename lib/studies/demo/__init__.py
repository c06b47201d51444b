"""The demo kitchen: a small world of plated food, drawn from seeds, for all four studies.

A `Plate` is the whole truth about one picture. The studies read it so:

- triplets: `category`, `dish`, `variant`, the three levels of the label tree;
- captioning: `dish`, `variant`, `ingredients`, `table`, `plate_shape`, `plate_colour` and
  `distractors`, everything that a person would mention;
- recipes: `dish`, `variant` and `ingredients`, which are those *visible*: a variant has its usual
  ones, its plates leave one out or add a garnish;
- relevance: `variant`, which `article` describes, and the rest for what the `web` says of its
  picture: the class, or beside the point.

Each study draws its own words from its own random stream, `default_rng([seed, stream, ...])`, where
stream 0 is that of the plates: adding a study never changes a plate nor another study. The plates
are frozen (`tests/test_demo.py` holds their digest): changing them changes every demo result.
"""

from studies.demo.articles import article
from studies.demo.captions import captions
from studies.demo.drawing import draw
from studies.demo.folder import kitchen
from studies.demo.judges import judged
from studies.demo.recipes import recipe
from studies.demo.web import WebText, web
from studies.demo.world import INGREDIENTS, TREE, Plate, plates

__all__ = [
    "INGREDIENTS",
    "TREE",
    "Plate",
    "WebText",
    "article",
    "captions",
    "draw",
    "judged",
    "kitchen",
    "plates",
    "recipe",
    "web",
]
