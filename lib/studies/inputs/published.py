"""The public datasets: where each is published, and what it becomes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One published file and what it becomes.

    Attributes:
        url: where it is published.
        lands: the folder (of an archive) or file that it becomes, below `STUDIES_DATA`.
        holds: a path that is in that folder when it is right; an archive may have a top folder
            of any name around it. Empty for a single file.
        sha256: None where the publisher gives none; then the first download is noted, and later
            ones are compared with it.

    """

    url: str
    lands: str
    holds: str = ""
    sha256: str | None = None


@dataclass(frozen=True)
class Source:
    """One dataset: `register` says where to get what cannot be fetched freely."""

    name: str
    folder: str
    licence: str
    size: str
    parts: tuple[Part, ...] = ()
    register: str | None = None


SOURCES = {
    source.name: source
    for source in (
        Source(
            name="grocery",
            folder="grocery",
            licence="MIT",
            size="5,421 photographs",
            parts=(
                Part(
                    "https://github.com/marcusklasson/GroceryStoreDataset/archive/refs/heads/master.zip",
                    lands="grocery",
                    holds="dataset/train.txt",
                ),
            ),
        ),
        Source(
            name="hyperkvasir",
            folder="hyperkvasir",
            licence="CC BY 4.0",
            size="3.9 GB, 10,662 photographs",
            parts=(
                Part(
                    "https://datasets.simula.no/downloads/hyper-kvasir/hyper-kvasir-labeled-images.zip",
                    lands="hyperkvasir/labeled-images",
                    holds="lower-gi-tract",
                ),
                Part(
                    "https://raw.githubusercontent.com/simula/hyper-kvasir/master/official_splits/2_fold_split.csv",
                    lands="hyperkvasir/2_fold_split.csv",
                ),
            ),
        ),
        Source(
            name="flickr8k",
            folder="flickr8k",
            licence="research use",
            size="1.1 GB, 8,091 photographs",
            # its makers sent addresses on request; these copies are in common use
            parts=(
                Part(
                    "https://github.com/jbrownlee/Datasets/releases/download/Flickr8k/Flickr8k_Dataset.zip",
                    lands="flickr8k/Flicker8k_Dataset",
                    holds="1000268201_693b08cb0e.jpg",
                ),
                Part(
                    "https://github.com/jbrownlee/Datasets/releases/download/Flickr8k/Flickr8k_text.zip",
                    lands="flickr8k/Flickr8k_text",
                    holds="Flickr8k.token.txt",
                ),
            ),
        ),
        Source(
            name="food101",
            folder="food101",
            licence="research use",
            size="5.0 GB, 101,000 photographs",
            parts=(
                Part(
                    "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
                    lands="food101/food-101",
                    holds="meta/classes.txt",
                    sha256="d97d15e438b7f4498f96086a4f7e2fa42a32f2712e87d3295441b2b6314053a4",
                ),
            ),
        ),
        Source(
            name="uecfood256",
            folder="uecfood256",
            licence="research use",
            size="4 GB, photographs of 256 dishes",
            parts=(
                Part(
                    "http://foodcam.mobi/dataset256.zip",
                    lands="uecfood256/UECFOOD256",
                    holds="category.txt",
                ),
            ),
        ),
        # the publisher of the next two names pages, not archives
        Source(
            name="ingredients101",
            folder="ingredients101",
            licence="research use",
            size="ingredients of 101 dishes",
            register=(
                "get the archive from http://www.ub.edu/cvub/ingredients101/ and move its folder "
                "annotations/ to ingredients101/annotations/ below STUDIES_DATA."
            ),
        ),
        Source(
            name="recipes5k",
            folder="recipes5k",
            licence="research use",
            size="4,826 photographs with ingredients",
            register=(
                "get the archive from http://www.ub.edu/cvub/recipes5k/ and move its folders "
                "annotations/ and images/ to recipes5k/annotations/ and recipes5k/images/ below "
                "STUDIES_DATA."
            ),
        ),
        Source(
            name="imagenet_captions",
            folder="imagenet_captions",
            licence="no licence named; the texts are those of Flickr's users",
            size="texts of 463,622 photographs",
            parts=(
                Part(
                    "https://github.com/mlfoundations/imagenet-captions/raw/5cf98361f5e67661fd5b2c6ee219567484440da9/imagenet_captions.zip",
                    lands="imagenet_captions",
                    holds="imagenet_captions.json",
                ),
            ),
        ),
        Source(
            name="imagenet_wiki",
            folder="imagenet_wiki",
            licence="CC BY-SA 3.0",
            size="24 kB, the Wikipedia pages of 1,000 classes",
            parts=(
                Part(
                    "https://raw.githubusercontent.com/sebastianbujwid/ImageNet-Wiki_dataset/df1c748b3c698bedb83f3358f3932a5d403ebba9/class_article_correspondences/class_article_correspondences_trainval.csv",
                    lands="imagenet_wiki/class_article_correspondences_trainval.csv",
                    sha256="356b349ac65f5e37651ba06c54842207466c20cd09132185656ff2128f32d8bd",
                ),
            ),
        ),
    )
}
