"""The parameters of a relevance run, with units and ranges."""

from operator import attrgetter
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from studies import paths
from studies.inputs.download import require, require_own
from studies.paths import StudyError
from studies.relevance.filter import Filter, Unit
from studies.relevance.sentences import Choice
from studies.runs.blocks import Kitchen, Schedule, Table, Widths
from studies.runs.params import Block, Count, Name, RunParameters, Seed, Share

FILE = Path("imagenet_captions", "imagenet_captions.json")  # below STUDIES_DATA
FLICKR8K = Path("flickr8k", "Flickr8k_text", "Flickr8k.token.txt")
TEXTS, SOURCES = "class_texts.csv", "class_sources.csv"  # beside it, from Wikipedia
CLASSES = "classes.csv"  # beside a table of a user's own


class ImagenetCaptions(Block):
    """ImageNet-Captions in its published layout, below STUDIES_DATA.

    The class texts are what `python -m studies.relevance.collect` brought from Wikipedia.
    """

    name: Literal["imagenet_captions"]
    images: str | None  # folder below STUDIES_DATA with <wnid>/<file>; null without images


class Flickr8kNoise(Block):
    """Flickr8k with wrong captions among the right ones, see `captions.flickr8k_noise`."""

    name: Literal["flickr8k_noise"]
    named: Annotated[int, Field(ge=1, le=4)]  # captions of an image that name its class, at least
    text_images: Count  # whose first captions are the text of their class, and nothing else
    noise: Unit  # share of captions that are replaced in training and validation
    tested_noise: Unit  # in test
    masked: bool  # whether words that name a class are taken out of all captions and class texts
    seed: Seed


class Sentences(Block):
    """Which sentences of a class text go with the captions of the class."""

    fewest: Count  # a class with fewer has no text
    most: Count
    choice: Choice
    seed: Seed  # of a random choice


class Rare(Block):
    """What a class of few captions has in both parts whatever the lot says."""

    captions: Annotated[int, Field(ge=0)]  # at most so many make a class rare
    train: Unit  # share of them in training, at least
    test: Unit


class Training(Schedule):
    """How a network is trained."""

    batch: Count  # texts or images


class Bag(Block):
    """A vector for each token and nothing else, so that a text is a bag of tokens."""

    name: Literal["bag"]
    width: Count
    vocabulary: Annotated[int, Field(ge=300)]  # tokens


class Roberta(Bag):
    """RoBERTa of random weights, with a tokenizer learnt from the captions and class texts."""

    name: Literal["roberta"]
    layers: Count
    heads: Count


class Published(Block):
    """A published encoder of text, fine-tuned."""

    name: Literal["published"]
    weights: str  # hub name or local folder, or package/minilm
    frozen: Annotated[int, Field(ge=0)] = 0  # lowest layers that stay as they are, and embeddings


class Pixels(Block):
    """Images, and the scratch network of the triplets study."""

    name: Literal["pixels"]
    size: Count  # pixels a side
    widths: Widths  # channels of each convolution

    @model_validator(mode="after")
    def _room(self) -> Self:
        # a map of one pixel would leave batch norm a single value of a single image
        blocks, least = len(self.widths), 2 ** (len(self.widths) + 1) - 1
        problem = f"size is too small for {blocks} widths, each of which halves the image: make it"
        self.refuse(self.size < least, f"{problem} at least {least}, or give fewer widths")
        return self


class Features(Block):
    """Images, and a published vision model that stays as it is: its features are kept on disk."""

    name: Literal["features"]
    weights: str  # hub name, local folder, or torchvision/<model>


class Ridge(Block):
    """Retrieval: the features of images are mapped to the vectors of their captions, linearly."""

    name: Literal["ridge"]
    images: str  # weights of a vision model, as of Features
    texts: str  # of an encoder of text, as of Published


Reading = Roberta | Bag | Published
Seeing = Pixels | Features


class Predictor(Block):
    """Says of every class how probable it is that a caption describes it."""

    encoder: Annotated[Reading, Field(discriminator="name")]
    dropout: Share
    append_sentences: bool  # false: the same examples, each with its caption alone
    # wrong: a sentence of another class, by lot; apart: every other time the sentence alone, and
    # else the caption alone
    appended: Literal["own", "wrong", "name", "apart"] = "own"
    sentences_each: Count | None = None  # so many of a caption's examples, by lot; null for all
    epoch_share: Annotated[float, Field(gt=0, le=1)]  # of the training examples
    exclusive: bool = False  # softmax and cross-entropy, so that P > .5 is a loss below ln 2
    fold: Literal[0, 1] | None = None  # half of the training captions that is not trained on


class Downstream(Block):
    """A classifier of captions, or of the images they were found with, trained on some of them."""

    encoder: Annotated[Reading | Seeing | Ridge, Field(discriminator="name")]
    dropout: Share
    scores: Name  # the predictor whose filter says what is kept
    crossed: bool = False  # of its variants @fold0 and @fold1, the one that was not trained on it
    # random: as many as are kept, by lot; clean: those that describe their class
    captions: Literal["all", "kept", "weighted", "random", "clean"]


class Baseline(Block):
    """What can be said of a caption without training."""

    name: Literal["name_match", "tfidf"]


class Similarity(Block):
    """Similarity of caption and class text, by a published encoder of text as it is."""

    name: Literal["similarity"]
    weights: str  # as of Published


class Clip(Block):
    """Similarity of caption and class name in the text space of a published CLIP."""

    name: Literal["clip"]
    weights: str  # hub name or local folder
    batch: Count  # texts at once


class Parameters(RunParameters):
    """Everything that decides a run of the study.

    A system is the predictor, a baseline in its place, or a downstream classifier, which is
    trained on what the predictor keeps.
    """

    study: ClassVar[str] = "relevance"

    source: Annotated[
        Kitchen | ImagenetCaptions | Flickr8kNoise | Table, Field(discriminator="name")
    ]
    characters: Count  # of a caption; what is longer is cut
    max_tokens: Annotated[int, Field(ge=8)]  # of an example, its ends included
    sentences: Sentences
    split_seed: Seed
    test_share: Annotated[float, Field(gt=0, lt=1)]
    validation_share: Annotated[float, Field(gt=0, lt=1)]  # of the training captions
    rare: Rare
    filter: Filter

    predictor: Predictor | None
    baseline: Annotated[Baseline | Clip | Similarity, Field(discriminator="name")] | None
    downstream: Downstream | None
    training: Training | None

    @property
    def trained(self) -> bool:
        """Whether the system has a network of its own."""
        return self.baseline is None and self.encoder.name != "ridge"

    @property
    def by_chance(self) -> bool:
        """Whether another seed may give another result."""
        return self.trained or bool(self.after)

    @property
    def after(self) -> list[str]:
        """Return the systems that must be evaluated before this one."""
        plan = self.downstream
        if plan is None or plan.captions in ("all", "clean"):
            return []
        return [f"{plan.scores}@fold{fold}" for fold in (0, 1)] if plan.crossed else [plan.scores]

    @property
    def encoder(self) -> Reading | Seeing | Ridge:
        """Return the encoder of a system with a network."""
        return (self.predictor or self.downstream).encoder

    @property
    def sees_images(self) -> bool:
        """Whether the system looks at images, and has no tokenizer."""
        return self.downstream is not None and self.encoder.name in ("pixels", "features", "ridge")

    # what `learning.fit` asks of a run
    epochs = property(attrgetter("training.epochs"))
    validate_every = property(attrgetter("training.validate_every"))

    def require_data(self) -> None:
        """Raise StudyError when the data is not there, without reading any."""
        if self.source.name == "table":
            require_own(self.source.file)
            require_own(str(Path(self.source.file).with_name(CLASSES)))
        if self.source.name == "flickr8k_noise":
            require("flickr8k", paths.data() / FLICKR8K)
        if self.source.name != "imagenet_captions":
            return
        captions = require("imagenet_captions", paths.data() / FILE)
        texts = captions.with_name(TEXTS)
        if not texts.is_file():
            raise StudyError(
                f"{texts}: no such file; bring the class texts from Wikipedia first: "
                "python -m studies.relevance.collect --contact <your mail address or web page>"
            )
        if self.source.images:
            require_own(self.source.images)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse, systems = self.refuse, (self.predictor, self.baseline, self.downstream)
        one = "a system is a predictor, a baseline or downstream: set the others to null"
        refuse(systems.count(None) != 2, one)
        networks = "training belongs to networks: a baseline has null, others need it"
        refuse((self.training is None) == self.trained, networks)
        refuse(self.sentences.fewest > self.sentences.most, "sentences.fewest is above most")
        refuse(self.rare.train + self.rare.test > 1, "rare.train + rare.test is above 1")
        none = self.source.name == "imagenet_captions" and self.source.images is None
        folder = "set source.images to the folder of images, or take an encoder of text"
        refuse(self.sees_images and none, f"downstream.encoder looks at images: {folder}")
        return self
