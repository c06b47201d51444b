"""Features are computed once, and an extraction that was stopped ends with the same bits."""

import shutil

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

from sentences import refused
from studies.inputs.features import averaged, features
from studies.learning.backbones import Backbone, load_backbone

pytest_plugins = ["encoders"]
pytestmark = pytest.mark.usefixtures("places")


class Stop(Exception):
    pass


@pytest.fixture
def backbone(convnext) -> Backbone:
    return load_backbone(str(convnext))


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


def test_rows_are_those_of_the_backbone_one_image_at_a_time(backbone, album, tmp_path):
    for pooled in (True, False):
        got = features(album, tmp_path, backbone, 3, pooled)
        with torch.no_grad():
            rows = [backbone(backbone.preprocess(Image.open(path))[None], pooled) for path in album]
        assert np.abs(got - torch.cat(rows).numpy()).max() < 1e-5


def test_tokens_are_averaged_before_they_are_kept(backbone, album, tmp_path):
    whole = features(album, tmp_path, backbone, 3, pooled=False)
    side = round(whole.shape[1] ** 0.5)
    maps = whole.reshape(len(album), 2, side // 2, 2, side // 2, -1)
    small = features(album, tmp_path, backbone, 3, pooled=False, grid=2)
    np.testing.assert_allclose(small, maps.mean((2, 4)).reshape(len(album), 4, -1), atol=1e-5)
    assert "grid is 2, but" in refused(averaged, torch.zeros(1, 5, 3), 2)


def test_the_second_call_reads(backbone, album, tmp_path, monkeypatch):
    seen = forwards(backbone, monkeypatch)
    first = features(album, tmp_path, backbone, batch_size=4)
    assert seen == [4, 3]
    assert np.array_equal(features(album, tmp_path, backbone, batch_size=4), first)
    assert seen == [4, 3]
    assert isinstance(first, np.memmap)
    assert not first.flags.writeable
    features(album[::-1], tmp_path, backbone, batch_size=4)
    assert len(seen) == 4


def test_a_changed_image_or_changed_weights_compute_again(convnext, album, tmp_path):
    first = np.array(features(album, tmp_path, str(convnext)))
    Image.new("RGB", (50, 50), "red").save(album[2])
    second = features(album, tmp_path, str(convnext))
    same = np.isclose(first, second, atol=1e-6).all(1)
    assert same.tolist() == [True, True, False, True, True, True, True]
    state = load_file(convnext / "model.safetensors")
    state["convnext.layernorm.bias"][0] += 1
    save_file(state, convnext / "model.safetensors", {"format": "pt"})
    third = features(album, tmp_path, str(convnext))
    assert np.allclose(third[:, 0], second[:, 0] + 1, atol=1e-5)
    transformers.ConvNextImageProcessor(size={"shortest_edge": 96}).save_pretrained(convnext)
    assert not np.allclose(features(album, tmp_path, str(convnext)), third, atol=1e-5)


@pytest.mark.parametrize("stop_at", [0, 1, 2])
def test_a_stopped_extraction_goes_on(backbone, album, places, monkeypatch, stop_at):
    whole = np.array(features(album, places, backbone, batch_size=3))
    shutil.rmtree(places / "root")
    with monkeypatch.context() as patch:
        forwards(backbone, patch, stop_at)
        with pytest.raises(Stop):
            features(album, places, backbone, batch_size=3)
    assert list((places / "root/cache/features").glob("*.npy")) == []
    seen = forwards(backbone, monkeypatch)
    assert np.array_equal(features(album, places, backbone, batch_size=3), whole)
    assert seen == [3, 3, 1][stop_at:]


@pytest.mark.parametrize(
    ("left", "batches"), [(10, 3), (128, 3), (200, 3), (128 + 4 * 256 + 17, 2), (128 + 7 * 256, 0)]
)
def test_any_length_that_a_kill_can_leave(backbone, album, places, monkeypatch, left, batches):
    whole = np.array(features(album, places, backbone, batch_size=3))
    (file,) = (places / "root/cache/features").glob("*.npy")
    assert file.stat().st_size == 128 + 7 * 256
    file.with_name(file.name + ".partial").write_bytes(file.read_bytes()[:left])
    file.unlink()
    seen = forwards(backbone, monkeypatch)
    assert np.array_equal(features(album, places, backbone, batch_size=3), whole)
    assert len(seen) == batches


def test_what_a_user_can_mend_is_one_sentence(convnext, album, tmp_path, monkeypatch):
    backbone = load_backbone(str(convnext))
    assert "list of files is empty" in refused(features, [], tmp_path, backbone)
    forward = backbone.forward
    monkeypatch.setattr(backbone, "forward", lambda *a: forward(*a) * 1e6)
    assert "0.png" in refused(features, album, tmp_path, backbone, 32, True, "float16")

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(backbone, "forward", full)
    assert "lower batch_size" in refused(features, album, tmp_path, backbone)
    album[5].write_bytes(b"no image")
    assert "5.png cannot be read" in refused(features, album, tmp_path, backbone)
