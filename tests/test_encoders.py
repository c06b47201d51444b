import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
import transformers
from PIL import Image
from torch import nn

from studies.inputs.features import features
from studies.learning.backbones import Backbone, load_backbone
from studies.learning.networks import Dense, FineTuned, ScratchCNN
from studies.paths import StudyError


@pytest.fixture(autouse=True)
def _sandbox(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDIES_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("STUDIES_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def album(tmp_path) -> list[Path]:
    folder = tmp_path / "album"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(7):
        pixels = rng.integers(0, 256, (40 + k, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """Tiny random models in the layout of save_pretrained."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 1, 1])
    convnext = transformers.ConvNextForImageClassification(config)
    # The initial layer scale of 1e-6 would hide every block's output from the comparison.
    for name, parameter in convnext.named_parameters():
        if "layer_scale" in name:
            nn.init.normal_(parameter)
    convnext.save_pretrained(folder / "convnext")
    transformers.ConvNextImageProcessor(size={"shortest_edge": 64}).save_pretrained(
        folder / "convnext"
    )
    tower = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "projection_dim": 8,
    }
    clip = transformers.CLIPModel(
        transformers.CLIPConfig(
            vision_config=tower | {"image_size": 32, "patch_size": 8},
            text_config=tower | {"vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2},
            projection_dim=8,
        )
    )
    clip.save_pretrained(folder / "clip")
    transformers.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    ).save_pretrained(folder / "clip")
    vit = transformers.ViTForImageClassification(
        transformers.ViTConfig(
            image_size=32,
            patch_size=8,
            **{k: v for k, v in tower.items() if k != "projection_dim"},
        )
    )
    vit.save_pretrained(folder / "vit")
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder / "vit")
    return folder


@pytest.fixture
def convnext(weights, tmp_path) -> Path:
    return shutil.copytree(weights / "convnext", tmp_path / "convnext")


def one_by_one(folder: Path, kind: type, album: list[Path]) -> list:
    """What transformers itself says, one image at a time."""
    model = kind.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    with torch.no_grad():
        return [
            model(processor(images=Image.open(path), return_tensors="pt")["pixel_values"])
            for path in album
        ]


def total(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


def norms_of(network: ScratchCNN) -> list[tuple[torch.Tensor, nn.BatchNorm2d]]:
    """The kernel and the norm of each block."""
    modules = list(network.blocks)
    kernels = [module.weight for module in modules if isinstance(module, nn.Conv2d)]
    norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
    return list(zip(kernels, norms, strict=True))


def convolved(images: torch.Tensor, kernel: torch.Tensor, stride: int) -> torch.Tensor:
    """The convolution as a sum of shifted images, with zeros around them."""
    width = kernel.shape[-1]
    padded = nn.functional.pad(images, (width // 2,) * 4)
    side = (images.shape[-1] - 1) // stride + 1
    total = 0
    for i in range(width):
        for j in range(width):
            end = stride * (side - 1) + 1
            part = padded[:, :, i : i + end : stride, j : j + end : stride]
            total = total + torch.einsum("bchw,oc->bohw", part, kernel[:, :, i, j])
    return total


class TestNetworks:
    def test_parameter_counts_at_full_size(self):
        assert total(Dense(2048), nn.Linear(256, 81)) == 545_361
        assert total(Dense(2048), nn.Linear(256, 128)) == 557_440
        convolutions = 25 * 3 * 32 + 9 * (32 * 64 + 64 * 128 + 128 * 256)
        norms = 2 * (32 + 64 + 128 + 256)
        dense = (6 * 6 * 256 + 1) * 256
        assert total(ScratchCNN()) == convolutions + norms + dense
        assert total(ScratchCNN(), nn.Linear(256, 81)) == 2_770_801

    @pytest.mark.parametrize(
        ("size", "widths"),
        [(100, (4, 4, 8, 8)), (32, (4, 8)), (17, (4,)), (33, (4, 4, 4)), (16, (4, 4, 4, 4))],
    )
    def test_shapes(self, size, widths):
        network = ScratchCNN(size, widths, 16)
        out = network(torch.rand(2, 3, size, size))
        assert out.shape == (2, network.out_features) == (2, 16)
        assert out.min() >= 0

    @pytest.mark.parametrize(("size", "widths"), [(20, (4, 6, 8)), (17, (4,)), (16, (4, 5))])
    @pytest.mark.parametrize("training", [True, False])
    def test_it_is_convolution_pooling_norm_and_relu_block_by_block(self, size, widths, training):
        torch.manual_seed(0)
        network, pixels = ScratchCNN(size, widths, 16), torch.rand(6, 3, size, size)
        for _, norm in norms_of(network):
            nn.init.normal_(norm.weight)  # also negative, so that the order of the steps shows
            nn.init.normal_(norm.bias)
            norm.running_mean.normal_()
        network.train(training)
        got, wanted = network(pixels), pixels
        for number, (kernel, norm) in enumerate(norms_of(network)):
            first, last = number == 0, number == len(widths) - 1
            assert kernel.shape[2:] == ((5, 5) if first else (3, 3))
            wanted = convolved(wanted, kernel, 2 if first else 1)
            if not last:
                side = wanted.shape[2] // 2
                corners = [wanted[:, :, i::2, j::2][:, :, :side, :side] for i, j in CORNERS]
                wanted = torch.stack(corners).amax(0)
            if training:
                mean = wanted.mean((0, 2, 3), keepdim=True)
                spread = wanted.var((0, 2, 3), correction=0, keepdim=True)
            else:
                mean = norm.running_mean[:, None, None]
                spread = norm.running_var[:, None, None]
            wanted = (wanted - mean) / (spread + norm.eps).sqrt()
            wanted = wanted * norm.weight[:, None, None] + norm.bias[:, None, None]
            wanted = wanted.clamp_min(0)
        dense = network.dense.layers[0]
        wanted = (wanted.flatten(1) @ dense.weight.T + dense.bias).clamp_min(0)
        assert torch.allclose(got, wanted, atol=1e-5)

    def test_every_parameter_learns(self):
        network = ScratchCNN(32, (4, 4, 8, 8))
        network(torch.rand(4, 3, 32, 32)).sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


class TestTransformers:
    def test_convnext_equals_transformers_one_image_at_a_time(self, convnext, album, tmp_path):
        truth = one_by_one(convnext, transformers.ConvNextModel, album)
        got = features(album, tmp_path, str(convnext), batch_size=3)
        assert isinstance(got, np.memmap)
        assert got.dtype == np.float32
        assert got.shape == (7, 64)
        assert np.abs(got - np.stack([o.pooler_output[0].numpy() for o in truth])).max() < 1e-5
        tokens = features(album, tmp_path, str(convnext), batch_size=3, pooled=False)
        maps = np.stack([o.last_hidden_state[0].numpy() for o in truth])
        assert tokens.shape == (7, 4, 64)
        assert np.abs(tokens[:, 1] - maps[:, :, 0, 1]).max() < 1e-5
        assert np.abs(tokens[:, 2] - maps[:, :, 1, 0]).max() < 1e-5

    def test_clip_gives_its_vision_tower_only(self, weights, album, tmp_path):
        truth = one_by_one(weights / "clip", transformers.CLIPVisionModel, album)
        backbone = load_backbone(str(weights / "clip"))
        assert backbone.out_features == 16
        assert not any("text" in name for name, _ in backbone.named_parameters())
        got = features(album, tmp_path, backbone)
        assert np.abs(got - np.stack([o.pooler_output[0].numpy() for o in truth])).max() < 1e-5
        tokens = features(album, tmp_path, backbone, pooled=False)
        assert tokens.shape == (7, 1 + 16, 16)
        hidden = np.stack([o.last_hidden_state[0].numpy() for o in truth])
        assert np.abs(tokens - hidden).max() < 1e-5

    def test_a_pooler_that_was_never_published_is_not_made_up(self, weights, album, tmp_path):
        truth = one_by_one(weights / "vit", transformers.ViTModel, album)
        one, two = (load_backbone(str(weights / "vit")) for _ in range(2))
        assert one.digest() == two.digest()
        got = features(album, tmp_path, one)
        hidden = np.stack([o.last_hidden_state[0, 0].numpy() for o in truth])
        assert np.abs(got - hidden).max() < 1e-5

    def test_frozen_and_trainable(self, convnext):
        backbone = load_backbone(str(convnext))
        model = nn.Sequential(backbone, Dense(backbone.out_features)).train()
        assert not any(p.requires_grad for p in backbone.parameters())
        assert not any(module.training for module in backbone.modules())
        assert sum(p.numel() for p in model.parameters() if p.requires_grad) == total(model[1])
        free = load_backbone(str(convnext), trainable=True).train()
        assert all(p.requires_grad for p in free.parameters())
        assert free.model.training

    def test_random_weights_for_a_run_folder_to_fill(self, convnext):
        known, blank = (load_backbone(str(convnext), pretrained=p) for p in (True, False))
        assert known.digest() != blank.digest()
        blank.load_state_dict(known.state_dict())
        assert known.digest() == blank.digest()

    def test_normalise_agrees_with_the_processor(self, convnext):
        backbone = load_backbone(str(convnext))
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (73, 73, 3), np.uint8))
        scaled = (backbone.preprocess(image) * backbone.std + backbone.mean)[None]
        assert torch.allclose(backbone.normalise(scaled)[0], backbone.preprocess(image), atol=1e-6)
        assert -0.01 <= scaled.min() < scaled.max() <= 1.01

    def test_a_name_is_looked_up_below_the_data_folder(self, convnext, tmp_path):
        shutil.copytree(convnext, tmp_path / "data/weights/someone/tiny")
        named = load_backbone("someone/tiny")
        assert named.digest() == load_backbone(str(convnext)).digest()

    def test_plain_tensors_in_an_old_file_are_read(self, convnext):
        before = load_backbone(str(convnext))
        torch.save(before.model.state_dict(), convnext / "pytorch_model.bin")
        (convnext / "model.safetensors").unlink()
        assert load_backbone(str(convnext)).digest() == before.digest()


class Trap:
    def __reduce__(self):
        return os.mkdir, (os.environ["TRAP"],)


class TestBadWeights:
    @pytest.fixture(autouse=True)
    def _trap(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TRAP", str(tmp_path / "trap"))
        yield
        assert not (tmp_path / "trap").exists()

    def test_a_pickle_is_refused_and_not_run(self, convnext):
        (convnext / "model.safetensors").unlink()
        torch.save({"embeddings.weight": Trap()}, convnext / "pytorch_model.bin")
        with pytest.raises(StudyError, match=r"pickle .* safetensors version\.$"):
            load_backbone(str(convnext))

    def test_a_pickle_for_torchvision_is_refused_and_not_run(self, tmp_path):
        folder = tmp_path / "torch/hub/checkpoints"
        folder.mkdir(parents=True)
        torch.save({"fc.weight": Trap()}, folder / "resnet18-f37072fd.pth")
        with pytest.raises(StudyError, match="pickle"):
            load_backbone("torchvision/resnet18")

    def test_missing_folder(self, tmp_path):
        for name in (str(tmp_path / "nowhere"), "./nowhere", "a/b/c"):
            with pytest.raises(StudyError, match=f"no folder {name} with weights"):
                load_backbone(name)

    def test_no_network(self, monkeypatch, tmp_path):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        with pytest.raises(StudyError) as caught:
            load_backbone("facebook/convnext-xlarge-384-22k-1k")
        message = str(caught.value)
        assert "\n" not in message
        assert "hf download facebook/convnext-xlarge-384-22k-1k --local-dir" in message
        assert str(tmp_path / "data/weights/facebook/convnext-xlarge-384-22k-1k") in message

    def test_torchvision_out_of_reach(self, monkeypatch, tmp_path):
        def refuse(*_, **__):
            raise OSError("Name or service not known")

        monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
        with pytest.raises(StudyError, match=r"fetch https://\S+/resnet18-f37072fd\.pth on"):
            load_backbone("torchvision/resnet18")

    def test_an_unknown_torchvision_model(self):
        with pytest.raises(StudyError, match="did you mean torchvision/densenet121"):
            load_backbone("torchvision/densnet121")

    @pytest.mark.parametrize("part", ["config.json", "preprocessor_config.json"])
    def test_an_incomplete_folder(self, convnext, part):
        (convnext / part).unlink()
        with pytest.raises(StudyError, match="no complete vision model"):
            load_backbone(str(convnext))

    def test_damaged_weights(self, convnext):
        content = (convnext / "model.safetensors").read_bytes()
        (convnext / "model.safetensors").write_bytes(content[: len(content) // 2])
        with pytest.raises(StudyError, match="no complete vision model"):
            load_backbone(str(convnext))

    def test_weights_that_lack_a_layer(self, convnext):
        from safetensors.torch import load_file, save_file

        state = load_file(convnext / "model.safetensors")
        gone = next(key for key in state if "stages.1" in key)
        del state[gone]
        save_file(state, convnext / "model.safetensors", {"format": "pt"})
        with pytest.raises(StudyError, match=r"lack or misfit .*stages\.1"):
            load_backbone(str(convnext))


class TestTorchvision:
    """Random weights put where torchvision keeps what it has downloaded."""

    @pytest.fixture
    def resnet(self, tmp_path) -> nn.Module:
        torch.manual_seed(0)
        model = torchvision.models.resnet18().eval()
        folder = tmp_path / "torch/hub/checkpoints"
        folder.mkdir(parents=True)
        torch.save(model.state_dict(), folder / "resnet18-f37072fd.pth")
        return model

    def test_features_are_what_the_classifier_reads(self, resnet, album, tmp_path):
        preprocess = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
        read: list[torch.Tensor] = []
        resnet.fc.register_forward_pre_hook(lambda _, given: read.append(given[0][0]))
        with torch.no_grad():
            for path in album[:3]:
                resnet(preprocess(Image.open(path))[None])
        got = features(album[:3], tmp_path, "torchvision/resnet18", batch_size=2)
        assert got.shape == (3, 512)
        assert np.abs(got - torch.stack(read).numpy()).max() < 1e-4
        tokens = features(album[:3], tmp_path, "torchvision/resnet18", pooled=False)
        assert tokens.shape == (3, 49, 512)
        assert np.abs(tokens.mean(1) - got).max() < 1e-4

    def test_densenet_with_its_old_names(self, tmp_path):
        torch.manual_seed(0)
        model = torchvision.models.densenet121().eval()
        folder = tmp_path / "torch/hub/checkpoints"
        folder.mkdir(parents=True)
        old = {}
        for key, value in model.state_dict().items():
            for layer in ("norm1", "norm2", "conv1", "conv2"):
                if ".denselayer" in key:
                    key = key.replace(f".{layer}.", f".{layer[:-1]}.{layer[-1]}.")
            old[key] = value
        assert "features.denseblock1.denselayer1.norm.1.weight" in old
        url = torchvision.models.DenseNet121_Weights.DEFAULT.url
        torch.save(old, folder / url.rsplit("/", 1)[-1])
        backbone = load_backbone("torchvision/densenet121")
        assert backbone.out_features == 1024
        images = torch.rand(1, 3, 64, 64)
        with torch.no_grad():
            assert torch.allclose(
                model.classifier(backbone(images)), model(images), atol=1e-5, rtol=1e-4
            )
            tokens = backbone(images, pooled=False)
            assert torch.allclose(tokens.mean(1), backbone(images), atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize(
        ("name", "width"),
        [("resnet50", 2048), ("mobilenet_v3_small", 1024), ("convnext_tiny", 768)],
    )
    def test_widths_of_other_families(self, name, width):
        backbone = load_backbone(f"torchvision/{name}", pretrained=False)
        assert backbone.out_features == width
        with torch.no_grad():
            assert backbone(torch.rand(1, 3, 64, 64)).shape == (1, width)


class Stop(Exception):
    pass


def forwards(backbone: Backbone, monkeypatch, stop_at: int | None = None) -> list[int]:
    """Count the batches that a backbone sees; raise at one of them if told so."""
    seen: list[int] = []
    forward = backbone.forward

    def spy(images, pooled=True):
        if len(seen) == stop_at:
            raise Stop
        seen.append(len(images))
        return forward(images, pooled)

    monkeypatch.setattr(backbone, "forward", spy)
    return seen


class TestCache:
    def test_the_second_call_reads(self, convnext, album, tmp_path, monkeypatch):
        backbone = load_backbone(str(convnext))
        seen = forwards(backbone, monkeypatch)
        first = features(album, tmp_path, backbone, batch_size=4)
        assert seen == [4, 3]
        assert np.array_equal(features(album, tmp_path, backbone, batch_size=4), first)
        assert seen == [4, 3]
        assert not first.flags.writeable
        features(album[::-1], tmp_path, backbone, batch_size=4)
        assert len(seen) == 4

    def test_another_kind_of_file_is_another_entry(self, convnext, album, tmp_path):
        backbone = load_backbone(str(convnext))
        full = features(album, tmp_path, backbone)
        half = features(album, tmp_path, backbone, dtype="float16")
        assert half.dtype == np.float16
        assert np.array_equal(half, full.astype(np.float16))

    def test_a_changed_image_or_changed_weights_compute_again(self, convnext, album, tmp_path):
        first = np.array(features(album, tmp_path, str(convnext)))
        Image.new("RGB", (50, 50), "red").save(album[2])
        second = features(album, tmp_path, str(convnext))
        same = np.isclose(first, second, atol=1e-6).all(1)
        assert same.tolist() == [True, True, False, True, True, True, True]
        from safetensors.torch import load_file, save_file

        state = load_file(convnext / "model.safetensors")
        state["convnext.layernorm.bias"][0] += 1
        save_file(state, convnext / "model.safetensors", {"format": "pt"})
        third = features(album, tmp_path, str(convnext))
        assert np.allclose(third[:, 0], second[:, 0] + 1, atol=1e-5)
        transformers.ConvNextImageProcessor(size={"shortest_edge": 96}).save_pretrained(convnext)
        assert not np.allclose(features(album, tmp_path, str(convnext)), third, atol=1e-5)

    @pytest.mark.parametrize("stop_at", [0, 1, 2])
    def test_a_stopped_extraction_goes_on_and_ends_with_the_same_bits(
        self, convnext, album, tmp_path, monkeypatch, stop_at
    ):
        backbone = load_backbone(str(convnext))
        whole = np.array(features(album, tmp_path, backbone, batch_size=3))
        shutil.rmtree(tmp_path / "root")
        with monkeypatch.context() as patch:
            forwards(backbone, patch, stop_at)
            with pytest.raises(Stop):
                features(album, tmp_path, backbone, batch_size=3)
        assert list((tmp_path / "root/cache/features").glob("*.npy")) == []
        seen = forwards(backbone, monkeypatch)
        assert np.array_equal(features(album, tmp_path, backbone, batch_size=3), whole)
        assert seen == [3, 3, 1][stop_at:]

    @pytest.mark.parametrize("left", [10, 128, 200, 128 + 4 * 256 + 17, 128 + 7 * 256])
    def test_any_length_that_a_kill_can_leave(self, convnext, album, tmp_path, monkeypatch, left):
        backbone = load_backbone(str(convnext))
        whole = np.array(features(album, tmp_path, backbone, batch_size=3))
        (file,) = (tmp_path / "root/cache/features").glob("*.npy")
        assert file.stat().st_size == 128 + 7 * 256
        file.with_name(file.name + ".partial").write_bytes(file.read_bytes()[:left])
        file.unlink()
        seen = forwards(backbone, monkeypatch)
        assert np.array_equal(features(album, tmp_path, backbone, batch_size=3), whole)
        assert len(seen) == {10: 3, 128: 3, 200: 3, 128 + 4 * 256 + 17: 2}.get(left, 0)

    def test_a_bad_image_stops_it_and_what_was_done_stays(
        self, convnext, album, tmp_path, monkeypatch
    ):
        backbone = load_backbone(str(convnext))
        album[5].write_bytes(b"no image")
        with pytest.raises(StudyError, match=r"5\.png is not an image"):
            features(album, tmp_path, backbone, batch_size=2)
        assert list((tmp_path / "root/cache/features").glob("*.npy")) == []

    def test_values_beyond_float16_are_an_error(self, convnext, album, tmp_path, monkeypatch):
        backbone = load_backbone(str(convnext))
        forward = backbone.forward
        monkeypatch.setattr(backbone, "forward", lambda *a: forward(*a) * 1e6)
        with pytest.raises(StudyError, match=r"float16 cannot hold .*0\.png"):
            features(album, tmp_path, backbone, dtype="float16")

    def test_too_little_memory_is_one_sentence(self, convnext, album, tmp_path, monkeypatch):
        def full(*_):
            raise torch.OutOfMemoryError("CUDA out of memory")

        backbone = load_backbone(str(convnext), trainable=True).train()
        monkeypatch.setattr(backbone, "forward", full)
        with pytest.raises(StudyError, match="lower batch_size"):
            features(album, tmp_path, backbone)
        assert backbone.training

    def test_no_images(self, tmp_path):
        with pytest.raises(StudyError, match="list of files is empty"):
            features([], tmp_path, "torchvision/resnet18")


@pytest.mark.parametrize("pooled", [True, False])
class TestFineTuned:
    def test_it_normalises_and_learns(self, pooled):
        backbone = load_backbone("torchvision/resnet18", trainable=True, pretrained=False)
        trunk, images = FineTuned(backbone, pooled).eval(), torch.rand(2, 3, 64, 64)
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        scaled = (images - mean[:, None, None]) / std[:, None, None]
        seen = trunk(images)
        assert seen.shape == ((2, 512) if pooled else (2, 4, 512))
        assert torch.allclose(seen, backbone(scaled, pooled=pooled), atol=1e-5)
        seen.sum().backward()
        assert all(p.grad is not None for p in backbone.parameters())

    def test_it_has_no_weights_that_many_models_lack(self, weights, pooled):
        backbone = load_backbone(str(weights / "clip"), trainable=True, pretrained=False)
        assert FineTuned(backbone, pooled).out_features == backbone.out_features
        random = transformers.ViTModel(
            transformers.ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
        )
        assert any("pooler" in name for name in random.state_dict())
        backbone.model = random
        assert not any("pooler" in name for name in FineTuned(backbone, pooled).state_dict())
