"""Images are varied by no more than was asked for, and by the given chance alone."""

import pytest
import torch

from studies.inputs.images import augment, recolour


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestAugment:
    @pytest.fixture
    def batch(self) -> torch.Tensor:
        return torch.randint(0, 256, (6, 3, 20, 20), dtype=torch.uint8, generator=seeded(5))

    def test_no_strength_gives_back_the_input(self, batch):
        same = augment(batch, seeded(0), flip=0, shift=0, zoom=0, colour=0)
        assert same.dtype == torch.float32
        assert torch.equal(same, batch / 255)
        assert torch.equal(augment(batch / 255, seeded(0), 0, 0, 0, 0), batch / 255)

    def test_only_the_generator_decides(self, batch):
        torch.manual_seed(1)
        one = augment(batch, seeded(3))
        torch.manual_seed(2)
        assert torch.equal(augment(batch, seeded(3)), one)
        assert not torch.equal(augment(batch, seeded(4)), one)

    def test_the_input_is_left_alone_and_the_range_is_kept(self, batch):
        values = batch / 255
        before = values.clone()
        out = augment(values, seeded(0), colour=0.9)
        assert torch.equal(values, before)
        assert out.min() >= 0
        assert out.max() <= 1
        assert out.shape == batch.shape

    def test_flips_mirror_each_image_or_leave_it(self, batch):
        many = batch.repeat(100, 1, 1, 1) / 255
        out = augment(many, seeded(0), flip=0.5, shift=0, zoom=0, colour=0)
        mirrored = (out == many.flip(-1)).flatten(1).all(1)
        kept = (out == many).flatten(1).all(1)
        assert (mirrored ^ kept).all()
        assert 0.44 < mirrored.float().mean() < 0.56
        always = augment(batch, seeded(0), flip=1, shift=0, zoom=0, colour=0)
        assert torch.equal(always, batch.flip(-1) / 255)

    def test_mirroring_while_moving_is_mirroring(self, batch):
        tiny = {"shift": 1e-7, "zoom": 0, "colour": 0}
        out = augment(batch, seeded(0), flip=1, **tiny)
        assert torch.allclose(out, batch.flip(-1) / 255, atol=1e-4)

    def test_shift_moves_by_at_most_its_part_of_the_side(self):
        dots = torch.zeros(400, 3, 41, 41)
        dots[:, :, 20, 20] = 1
        out = augment(dots, seeded(0), flip=0, shift=0.1, zoom=0, colour=0)[:, 0]
        weight = out / out.sum((1, 2), keepdim=True)
        axis = torch.arange(41.0)
        for profile in (weight.sum(1), weight.sum(2)):
            moved = profile @ axis - 20
            assert moved.abs().max() <= 4.1 + 1e-3
            assert moved.max() > 3.5
            assert moved.min() < -3.5

    def test_zoom_scales_about_the_centre(self):
        square = torch.zeros(400, 3, 80, 80)
        square[:, :, 30:50, 30:50] = 1
        out = augment(square, seeded(0), flip=0, shift=0, zoom=0.2, colour=0)
        side = out[:, 0].sum((1, 2)).sqrt() / 20
        assert 0.79 < side.min() < 0.83
        assert 1.17 < side.max() < 1.21
        assert torch.allclose(out, out.flip(-1), atol=1e-4)

    def test_colour_equals_the_three_steps_of_torchvision_one_by_one(self, monkeypatch):
        from torchvision.transforms.v2 import functional as tv

        # Values kept away from 0 and 1: torchvision clips after each step, this once at the end.
        batch = 0.35 + 0.2 * torch.rand(5, 3, 16, 16, generator=seeded(0))
        gain = torch.rand(5, 3, generator=seeded(1)) * 0.4 + 0.8
        out = recolour(batch, *gain.unbind(1))
        for image, got, (brightness, contrast, saturation) in zip(
            batch, out, gain.tolist(), strict=True
        ):
            step = tv.adjust_brightness(image, brightness)
            step = tv.adjust_contrast(step, contrast)
            step = tv.adjust_saturation(step, saturation)
            # torchvision rounds its weights of grey to four digits.
            assert torch.allclose(got, step, atol=2e-4)
        changed = augment(batch, seeded(0), flip=0, shift=0, zoom=0, colour=0.2)
        assert not torch.allclose(changed, batch, atol=0.01)

    def test_images_vary_one_by_one(self):
        same = torch.rand(1, 3, 20, 20, generator=seeded(0)).repeat(8, 1, 1, 1)
        out = augment(same, seeded(0))
        assert len({tuple(image.flatten()[:50].tolist()) for image in out}) == 8
