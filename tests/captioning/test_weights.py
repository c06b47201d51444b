"""What is said when data or published weights are missing, or do not fit the parameters."""

import pytest

from sentences import kept, refused
from studies import __main__ as main
from studies.captioning.evaluate import evaluate
from studies.captioning.model import build
from studies.captioning.params import Parameters
from studies.runs.params import run_files

RESNETS = ["resnet_lstm", "resnet_transformer"]
CLIPS = ["clip_transformer", "clip_transformer@fine_tuned"]


@pytest.fixture
def alone(sandbox, flickr8k_folder, monkeypatch, no_network):
    """Flickr8k, but neither weights nor a network; what was tried to reach."""
    flickr8k_folder(sandbox / "data" / "flickr8k")
    monkeypatch.setenv("TORCH_HOME", str(sandbox / "torch"))
    monkeypatch.setenv("HF_HUB_CACHE", str(sandbox / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with no_network() as reached:
        yield reached


@pytest.fixture
def clip(squares, backbones):
    """Return a function that gives parameters with a tiny CLIP, frozen or trained on."""

    def make(trained: bool, grid: int | None = None, **changes) -> Parameters:
        source = {"name": "backbone", "weights": str(backbones["clip"]), "trained": trained}
        return squares("clip_transformer", {"source": source, "grid": grid}, **changes)

    return make


def shipped(system: str) -> Parameters:
    return Parameters.from_files(run_files("captioning", "flickr8k")[system], ["seed=0"])


class TestMissing:
    def test_data(self, sandbox):
        message = refused(main.choose, ["DATASET=flickr8k", "STUDY=captioning"])
        assert str(sandbox / "data" / "flickr8k") in message
        assert "fetch it with `python -m studies.inputs.download flickr8k`" in message
        assert kept(sandbox) == []

    @pytest.mark.parametrize("system", RESNETS)
    def test_weights_of_torchvision(self, alone, sandbox, system):
        from studies.captioning.train import train

        message = refused(train, shipped(system))
        assert "fetch https://download.pytorch.org/models/resnet50-" in message
        assert str(sandbox / "torch") in message
        assert alone  # it was tried

    @pytest.mark.parametrize("system", CLIPS)
    def test_weights_of_the_hub(self, alone, sandbox, system):
        from studies.captioning.train import train

        message = refused(train, shipped(system))
        place = sandbox / "data/weights/openai/clip-vit-base-patch32"
        assert f"`hf download openai/clip-vit-base-patch32 --local-dir {place}`" in message

    def test_weights_of_a_baseline(self, alone):
        message = refused(evaluate, shipped("nearest_neighbour"))
        assert "fetch https://download.pytorch.org/models/resnet50-" in message


class TestMisfit:
    def test_pictures_of_another_size_than_the_model_takes(self, clip):
        message = refused(build, clip(True, image_size=48), 11, (3, 48, 48))
        assert message.startswith("image_size 48 does not fit ")
        assert "(Input image size (48*48)" in message
        assert message.endswith("set image_size to the model's own")

    @pytest.mark.parametrize(("trained", "shape"), [(False, (17, 16)), (True, (3, 32, 32))])
    def test_a_grid_for_a_vision_transformer(self, clip, trained, shape):
        message = refused(build, clip(trained, grid=4), 11, shape)
        assert message.startswith("network.encoder.grid is 4, but the encoder gives 17 tokens")
        assert "set grid to null" in message
