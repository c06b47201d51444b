"""The parameters of a recipes run, with units and ranges."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from studies import paths
from studies.inputs.download import require, require_own
from studies.paths import StudyError
from studies.runs.blocks import Backbone, ImageParameters, Kitchen, Schedule, Server, Table, Widths
from studies.runs.params import Block, Count, Name, NotNegative, Positive, Seed, Share

# where published data lies below STUDIES_DATA
FOLDERS = {
    "food101": "food101/food-101",
    "uecfood256": "uecfood256/UECFOOD256",
    "ingredients101": "ingredients101",
    "recipes5k": "recipes5k",
}


class Food101(Block):
    """Food-101 in its published layout, below STUDIES_DATA."""

    name: Literal["food101"]
    ingredients: str  # typical, ingredients101, recipes5k, or a CSV file below STUDIES_DATA
    groups: bool = False  # whether prompts name a dish's broad group, and a plate its dish alone


class UecFood256(Block):
    """UEC Food-256 in its published layout, below STUDIES_DATA; pictures are cut to their boxes."""

    name: Literal["uecfood256"]
    ingredients: str  # a CSV file below STUDIES_DATA


class DenseNet(Block):
    """DenseNet of random weights; (32, [6, 12, 24, 16], 64) is DenseNet121."""

    name: Literal["densenet"]
    growth: Count  # channels that a layer adds
    blocks: Widths  # layers of each block
    stem: Count  # channels of the first convolution


class Network(Block):
    """CNN-1, which names the dish, and CNN-2, which names the ingredients."""

    trunk: Annotated[DenseNet | Backbone, Field(discriminator="name")]
    shared: bool  # one trunk with two heads, or two networks
    names: Literal["dish", "variant"]  # what the softmax is over
    ingredient_weight: NotNegative  # of equation (2); 0 leaves ingredients out
    hidden: Count = 512  # units of each trunk's layer on frozen features
    dropout: Share = 0.0  # of that layer
    grid: Count | None = None  # side of the map of places that attention pools; null: their mean
    triplet: NotNegative = 0.0  # margin; the five nearest training plates then say what is there

    @property
    def frozen(self) -> bool:
        """Whether it reads features of a frozen backbone instead of pixels."""
        return self.trunk.name == "backbone" and not self.trunk.trained


class Baseline(Block):
    """What can be said without looking at the picture, or by CNN-1 alone."""

    name: Literal["majority", "frequencies", "dish_implied"]  # of dishes, the others of ingredients


class Prompt(Block):
    """What a language model is told of a plate."""

    dish: Literal["seen", "actual"]
    ingredients: Literal["none", "seen", "actual", "another_plate", "typical", "implied"]
    perception: Name | None = None  # the network that is asked; null: as writing says
    echo: bool = False  # the list of ingredients itself is the recipe, without a language model


class Writer(Block):
    """A small language model trained on the kitchen's recipes, once, below cache/."""

    name: Literal["writer"]
    width: Count
    layers: Count
    heads: Count
    steps: Count
    batch: Count  # recipes, in training and in writing
    learning_rate: Positive
    seed: Seed


class Local(Block):
    """A causal language model of transformers."""

    name: Literal["local"]
    model: str  # package/smollm2, hub name or local folder
    batch: Count  # prompts at once


class Writing(Block):
    """How recipes are asked for."""

    perception: Annotated[list[Name], Field(min_length=1)]  # the best on validation data is asked
    generator: Annotated[Writer | Local | Server, Field(discriminator="name")]
    plates: Count | None  # test plates that get recipes; None for all
    recipes: Count  # of a plate
    temperature: NotNegative  # 0 is greedy
    repetition_penalty: Positive = 1.0  # of what stands in prompt or recipe; a server has its own
    max_tokens: Count  # of a recipe
    servings: Count
    language: str
    sure: Annotated[float, Field(ge=0, le=1)]  # probability from which on a dish is not in doubt


class Parameters(Schedule, ImageParameters):
    """Everything that decides a run of the study.

    A system is a network, which is trained; a trivial baseline; or a prompt, which is written from
    what a network saw.
    """

    study: ClassVar[str] = "recipes"

    source: Annotated[Kitchen | Food101 | UecFood256 | Table, Field(discriminator="name")]
    network: Network | None
    baseline: Baseline | None
    prompt: Prompt | None

    images: Count  # in a batch
    writing: Writing | None

    @property
    def by_chance(self) -> bool:
        """Whether another seed may give another result: recipes are sampled."""
        return self.baseline is None or self.looks

    @property
    def looks(self) -> bool:
        """Whether it is not trained, but asks a network what it sees."""
        return self.prompt is not None or getattr(self.baseline, "name", "") == "dish_implied"

    @property
    def after(self) -> list[str]:
        """Return the systems that must be evaluated before this one."""
        if not self.looks:
            return []
        asked = self.prompt and self.prompt.perception
        return [asked] if asked else self.writing.perception

    def builds_on(self) -> list[Self]:
        """Return the parameters of the networks that a prompt may ask what is on a plate.

        Raises StudyError for one that does not name both dishes and ingredients.
        """
        asked = super().builds_on()
        for one in asked:
            if not (one.trained and one.network.names == "dish" and one.network.ingredient_weight):
                raise StudyError(
                    f"writing.perception: `{one.system}` does not see both dishes and ingredients; "
                    "name networks that do"
                )
        return asked

    def require_data(self) -> None:
        """Raise StudyError when the data is not there, without reading any."""
        source, table = self.source.name, getattr(self.source, "ingredients", "typical")
        if source == "table":
            require_own(self.source.file)
        # Recipes5k has photographs of its own
        elif source != "kitchen" and (source, table) != ("food101", "recipes5k"):
            require(source, paths.data() / FOLDERS[source])
        if table in ("ingredients101", "recipes5k"):
            require(table, paths.data() / FOLDERS[table])
        elif table != "typical":
            require_own(table)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse, network, writing = self.refuse, self.network, self.writing
        kitchen = self.source.name == "kitchen"
        kinds = [one for one in (network, self.baseline, self.prompt) if one is not None]
        refuse(len(kinds) != 1, "a system is a network, a baseline or a prompt: set others to null")
        refuse(self.looks and not writing, f"{self.model} needs a network to ask: set writing")
        writer_seed = getattr(writing and writing.generator, "seed", None)
        refuse(
            kitchen and writer_seed == self.source.seed,
            "writing.generator.seed is that of source, so the writer would have read the recipes "
            "it is tested on: give it another",
        )
        if network is not None:
            self.refuse_augmentation(network.frozen)
            lost = network.grid is not None and not network.frozen
            refuse(lost, "network.grid: attention needs the places of a frozen backbone")
            variants = network.names == "variant" and self.source.name in FOLDERS
            refuse(variants, "network.names: published dishes have no variants")
            # the stem halves the side twice, and so does every block but the last once; a map of
            # one place would leave nothing to normalise by in a batch of one picture
            blocks = len(getattr(network.trunk, "blocks", ()))
            self.refuse_blocks("network.trunk.blocks", blocks, spare=2)
        return self
