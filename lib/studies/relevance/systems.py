"""The parameters of systems: what reads captions or looks at images, and what it is for."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from studies.runs.params import Block, Count, Name, Share


class Roberta(Block):
    """RoBERTa of random weights, with a tokenizer learnt from the captions and class texts."""

    name: Literal["roberta"]
    width: Count
    layers: Count
    heads: Count
    vocabulary: Annotated[int, Field(ge=300)]  # tokens


class Bag(Block):
    """A vector for each token and nothing else, so that a text is a bag of tokens."""

    name: Literal["bag"]
    width: Count
    vocabulary: Annotated[int, Field(ge=300)]  # tokens


class Published(Block):
    """A published encoder of text, fine-tuned."""

    name: Literal["published"]
    weights: str  # hub name or local folder


class Pixels(Block):
    """Images, and the scratch network of the triplets study."""

    name: Literal["pixels"]
    size: Count  # pixels a side
    widths: Annotated[list[Count], Field(min_length=1)]  # channels of each convolution

    @model_validator(mode="after")
    def _room(self) -> "Pixels":
        # a map of one pixel would leave batch norm a single value of a single image
        least = 2 ** (len(self.widths) + 1) - 1
        if self.size < least:
            raise ValueError(
                f"size is too small for {len(self.widths)} widths, each of which halves the image: "
                f"make it at least {least}, or give fewer widths"
            )
        return self


class Features(Block):
    """Images, and a published vision model that stays as it is: its features are kept on disk."""

    name: Literal["features"]
    weights: str  # hub name, local folder, or torchvision/<model>


Reading = Roberta | Bag | Published
Seeing = Pixels | Features


class Predictor(Block):
    """Says of every class how probable it is that a caption describes it."""

    encoder: Annotated[Reading, Field(discriminator="name")]
    dropout: Share
    append_sentences: bool  # false: the same examples, each with its caption alone
    epoch_share: Annotated[float, Field(gt=0, le=1)]  # of the training examples


class Downstream(Block):
    """A classifier of captions, or of the images they were found with, trained on some of them."""

    encoder: Annotated[Reading | Seeing, Field(discriminator="name")]
    dropout: Share
    scores: Name  # the predictor whose filter says what is kept
    captions: Literal["all", "kept", "weighted", "random"]  # random: as many as kept, by lot


class Baseline(Block):
    """What can be said of a caption without training."""

    name: Literal["name_match", "tfidf"]


class Clip(Block):
    """Similarity of caption and class name in the text space of a published CLIP."""

    name: Literal["clip"]
    weights: str  # hub name or local folder
    batch: Count  # texts at once
