"""ImageNet's 1,000 classes by name, without a download of ImageNet."""

from studies import paths
from studies.inputs.download import require
from studies.paths import StudyError
from studies.relevance.overrides import CORRESPONDENCES, correspondences


def imagenet() -> dict[str, str]:
    """Return the names of the classes by wnid, in ImageNet's order, which is that of wnids.

    The wnids are those of the published correspondences; the names are torchvision's, which tell
    apart what ImageNet calls `crane` twice. No two are equal, but `Cardigan` is a dog and
    `cardigan` a jacket. Raises StudyError when the correspondences are not there or not whole.
    """
    # imported late: torchvision takes seconds
    from torchvision.models import ResNet50_Weights

    names = ResNet50_Weights.IMAGENET1K_V2.meta["categories"]
    file = require("imagenet_wiki", paths.data() / CORRESPONDENCES)
    wnids = sorted(correspondences(file))
    if len(wnids) != len(names):
        raise StudyError(
            f"{file}: has {len(wnids):,} classes, and ImageNet has {len(names):,}; bring the file "
            "as it was published"
        )
    return dict(zip(wnids, names, strict=True))
