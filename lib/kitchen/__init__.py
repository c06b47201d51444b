"""The kitchen: a small world of plated food, drawn from seeds, with all that is said of it.

A `Plate` is the whole truth about one picture: its labels in a tree of three levels (`category`,
`dish`, `variant`), its *visible* `ingredients` (a variant has its usual ones; a plate may leave one
out or add a garnish), and everything else that a person would mention. From it come:

- `draw`: the picture;
- `captions`: what five people say of it;
- `recipe`: what a cook writes of it, naming every visible ingredient;
- `web`: what people write beside such a photograph, relevant to its class or beside the point;
- `article`: what an encyclopaedia says of its variant.

Each kind of text has a random stream of its own, `default_rng([seed, stream, ...])`, where stream 0
is that of the plates: adding one never changes a plate nor another text. Words and looks are YAML
beside the code. All of it is frozen to the byte, as `tests/kitchen` holds: another plate or word
would change every result that was ever reached in this world.
"""

from kitchen.drawing import draw, write_images
from kitchen.texts import WebText, article, captions, recipe, web, write_judgements
from kitchen.world import INGREDIENTS, TREE, Plate, plates
