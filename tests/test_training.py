"""Training that is stopped anywhere ends as if it had never been stopped."""

import math
import re
import shutil
from types import SimpleNamespace

import lightning
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from studies.learning import fit as loop
from studies.learning.compute import epoch_seed, seed_all
from studies.learning.fit import CHECKPOINT, fit, watched, write_atomic
from studies.paths import StudyError
from studies.reporting.tables import duration

EPOCHS, STEPS, SIZE = 6, 3, 4


class Numbers(Dataset):
    """Points in the plane, fetched a batch at a time, and a target."""

    def __init__(self, noise=0.0):
        self.noise = noise
        chance = torch.Generator().manual_seed(1)
        self.points = torch.randn(STEPS * SIZE, 2, generator=chance)

    def __getitem__(self, rows):
        points = self.points[rows] + self.noise * torch.randn(len(rows), 2)
        return points, points.sum(1, keepdim=True).sin()

    def __len__(self):
        return len(self.points)


class Order(Sampler):
    """Batches in an order that depends on the epoch."""

    epoch = None

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        chance = torch.Generator().manual_seed(100 + self.epoch)
        yield from torch.randperm(STEPS * SIZE, generator=chance).split(SIZE)

    def __len__(self):
        return STEPS


class Learner(lightning.LightningModule):
    """A small network; told what to score in each epoch, where to fail and when to stop."""

    def __init__(self, scores=None, fail_at=None, dropout=0.5, spoil=None, stop_after=None):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(2, 8), nn.Dropout(dropout), nn.Linear(8, 1))
        self.scores, self.fail_at, self.spoil = scores, fail_at, spoil
        self.stop_after = stop_after
        self.seeds, self.snapshots = {}, {}

    def configure_optimizers(self):
        return torch.optim.Adam(self.network.parameters(), lr=1.0)

    def on_train_epoch_start(self):
        self.seeds[self.current_epoch] = torch.initial_seed()
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate(self.current_epoch)

    def training_step(self, batch, number):
        if (self.current_epoch, number) == self.fail_at:
            raise RuntimeError("the machine fell over")
        points, target = batch
        loss = (self.network(points) - target).square().mean()
        if (self.current_epoch, number) == self.spoil:
            loss = loss * math.nan
        return loss

    def validation_step(self, batch, _):
        points, target = batch
        self.error = (self.network(points) - target).square().mean()

    def on_validation_epoch_end(self):
        epoch = self.current_epoch
        weights = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.snapshots[epoch] = weights
        score = self.scores[epoch] if self.scores else -float(self.error)
        self.log("validation_score", score)
        self.log("other", 1.0)
        if epoch + 1 == self.stop_after:
            self.stopped = "grew weary: let it rest"


def rate(epoch):
    return 0.1 if epoch < 3 else 0.01


def loaders(noise, workers):
    data = Numbers(noise)
    validation = [torch.arange(len(data))]
    return (
        DataLoader(data, sampler=Order(), batch_size=None, num_workers=workers),
        DataLoader(data, sampler=validation, batch_size=None),
    )


def start(folder, mode="max", epochs=EPOCHS, every=1, noise=0.0, workers=0, **settings):
    """Begin or go on with the run of a folder; return the module and the outcome."""
    seed_all(0)
    module = Learner(**settings)
    data = loaders(noise, workers)
    parameters = SimpleNamespace(seed=7, precision="32-true", epochs=epochs, validate_every=every)
    return module, fit(module, *data, folder, parameters, "validation_score", mode)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody stopped: folder, module, outcome."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, *start(folder)


@pytest.fixture
def in_a_log(monkeypatch):
    monkeypatch.setattr(loop, "watched", lambda: False)


def test_training_is_adam_on_the_batches_in_order(tmp_path):
    module, _ = start(tmp_path, dropout=0.0, scores=range(EPOCHS))
    seed_all(0)
    network = Learner(dropout=0.0).network
    adam, data, order = torch.optim.Adam(network.parameters()), Numbers(), Order()
    losses = []
    for epoch in range(EPOCHS):
        order.set_epoch(epoch)
        adam.param_groups[0]["lr"] = rate(epoch)
        losses.append([])
        for rows in order:
            points, target = data[rows]
            loss = (network(points) - target).square().mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses[-1].append(loss.item())
    assert same(module.network.state_dict(), network.state_dict())
    means = [sum(row) / STEPS for row in losses]
    assert pd.read_csv(tmp_path / "curves.csv")["train_loss"].tolist() == pytest.approx(means)


@pytest.mark.parametrize("places", [[(3, 1)], [(0, 2)], [(1, 0), (1, 2), (4, 1), (5, 2)]])
def test_a_resumed_run_is_the_run_that_was_never_stopped(whole, tmp_path, places):
    folder, module, outcome = whole
    for place in places:
        with pytest.raises(RuntimeError, match="fell over"):
            start(tmp_path, fail_at=place)
    resumed, again = start(tmp_path)
    assert same(resumed.network.state_dict(), module.network.state_dict())
    assert (tmp_path / "curves.csv").read_bytes() == (folder / "curves.csv").read_bytes()
    assert (again.best_epoch, again.best_score) == (outcome.best_epoch, outcome.best_score)
    last = places[-1][0]
    assert sorted(resumed.seeds) == list(range(last, EPOCHS))
    assert same(resumed.snapshots[EPOCHS - 1], module.snapshots[EPOCHS - 1])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_that_draws_random_numbers_resumes_too(tmp_path, workers):
    """Workers fetch ahead, and take their seeds when the iterator is made."""
    settings = {"noise": 0.1, "workers": workers, "epochs": 3}
    module, _ = start(tmp_path / "whole", **settings)
    with pytest.raises(RuntimeError, match="fell over"):
        start(tmp_path / "again", fail_at=(1, 1), **settings)
    again, _ = start(tmp_path / "again", **settings)
    assert same(again.network.state_dict(), module.network.state_dict())
    quiet, _ = start(tmp_path / "quiet", epochs=3)
    assert not same(quiet.network.state_dict(), module.network.state_dict())


def test_the_optimizer_resumes_too(whole, tmp_path):
    with pytest.raises(RuntimeError, match="fell over"):
        start(tmp_path, fail_at=(4, 0))
    start(tmp_path)
    one, other = (
        torch.load(place / CHECKPOINT, weights_only=True)["optimizer_states"][0]["state"]
        for place in (whole[0], tmp_path)
    )
    assert one.keys() == other.keys()
    assert all(same(one[key], other[key]) for key in one)


def test_a_run_killed_after_its_last_checkpoint_only_collects(whole, tmp_path):
    folder, module, outcome = whole
    (tmp_path / CHECKPOINT).parent.mkdir()
    shutil.copy(folder / CHECKPOINT, tmp_path / CHECKPOINT)
    resumed, again = start(tmp_path)
    assert resumed.seeds == {}
    assert again == outcome
    assert same(resumed.network.state_dict(), module.network.state_dict())


@pytest.mark.parametrize("killed", [None, (1, 1), (2, 2)])
def test_a_module_ends_its_training_and_it_stays_ended(tmp_path, capfd, in_a_log, killed):
    settings = {"scores": [0.1, 0.9, 0.3, 0.5, 1.0, 2.0], "stop_after": 3}
    if killed:
        with pytest.raises(RuntimeError, match="fell over"):
            start(tmp_path, fail_at=killed, **settings)
    module, outcome = start(tmp_path, **settings)
    assert outcome.stopped == "grew weary: let it rest"
    assert (outcome.best_epoch, outcome.best_score) == (2, pytest.approx(0.9))
    curves = (tmp_path / "curves.csv").read_bytes()
    assert pd.read_csv(tmp_path / "curves.csv")["epoch"].tolist() == [1, 2, 3]
    told = capfd.readouterr().out.splitlines()
    assert told.count("training stops: it grew weary: let it rest") == 1
    for _ in range(2):
        again, same_outcome = start(tmp_path, **settings)
        assert again.seeds == {}
        assert same_outcome == outcome
        assert same(again.network.state_dict(), module.network.state_dict())
        assert (tmp_path / "curves.csv").read_bytes() == curves
    whole, _ = start(tmp_path / "whole", epochs=3, scores=settings["scores"])
    assert same(module.network.state_dict(), whole.network.state_dict())


def test_a_training_that_is_not_ended_says_so(whole):
    assert whole[2].stopped == ""


def test_curves_are_whole_whenever_the_checkpoint_is(whole, tmp_path, monkeypatch):
    """Whichever of the two files is written last, a kill between them loses no row."""
    written = []

    def write(path, content):
        written.append(path.name)
        if len(written) == 2 * EPOCHS:
            raise KeyError("killed")
        real(path, content)

    real = write_atomic
    monkeypatch.setattr(loop, "write_atomic", write)
    with pytest.raises(KeyError, match="killed"):
        start(tmp_path)
    monkeypatch.undo()
    start(tmp_path)
    assert (tmp_path / "curves.csv").read_bytes() == (whole[0] / "curves.csv").read_bytes()


def test_curves(whole):
    curves = pd.read_csv(whole[0] / "curves.csv")
    names = ["epoch", "step", "learning_rate", "train_loss", "validation_score"]
    assert list(curves.columns) == names
    assert curves["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert curves["step"].tolist() == [3, 6, 9, 12, 15, 18]
    assert curves["learning_rate"].tolist() == [0.1] * 3 + [0.01] * 3
    assert curves.notna().all(axis=None)


def test_every_epoch_has_random_numbers_of_its_own(whole):
    _, module, _ = whole
    assert module.seeds == {epoch: epoch_seed(7, epoch) for epoch in range(EPOCHS)}
    seeds = [epoch_seed(seed, epoch) for seed in range(20) for epoch in range(50)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert type(seeds[0]) is int


@pytest.mark.parametrize(
    ("mode", "scores", "best"),
    [
        ("max", [0.1, 0.5, 0.3, 0.5], 2),
        ("max", [0.0, 0.0, 0.0, 0.0], 1),
        ("max", [-3.0, -2.0, -1.0, 0.0], 4),
        ("min", [3.0, 1.0, 2.0, 1.0], 2),
        ("min", [0.5, 0.4, 0.6, 0.3], 4),
        ("min", [-1.0, 0.0, 1.0, 2.0], 1),
        ("max", [math.nan, 0.1, math.nan, 0.0], 2),
    ],
)
def test_validation_chooses_the_earliest_best_epoch(tmp_path, mode, scores, best):
    module, outcome = start(tmp_path, mode, epochs=4, scores=scores)
    assert outcome.best_epoch == best
    assert outcome.best_score == pytest.approx(scores[best - 1])
    assert same(module.network.state_dict(), module.snapshots[best - 1])
    if best < 4:
        assert not same(module.network.state_dict(), module.snapshots[3])


def test_the_best_epoch_may_lie_before_the_stop(tmp_path):
    scores = [0.1, 0.9, 0.3, 0.5, 0.9, 0.2]
    with pytest.raises(RuntimeError, match="fell over"):
        start(tmp_path, scores=scores, fail_at=(3, 0))
    module, outcome = start(tmp_path, scores=scores)
    assert outcome.best_epoch == 2
    assert not same(module.network.state_dict(), module.snapshots[EPOCHS - 1])
    whole_module, _ = start(tmp_path / "whole", scores=scores)
    assert same(module.network.state_dict(), whole_module.network.state_dict())


def test_validation_every_second_epoch(tmp_path):
    module, outcome = start(tmp_path, every=2, epochs=5, scores=[9.0, 0.1, 9.0, 0.2, 9.0])
    curves = pd.read_csv(tmp_path / "curves.csv")
    assert curves["validation_score"].notna().tolist() == [False, True, False, True, False]
    assert sorted(module.snapshots) == [1, 3]
    assert outcome.best_epoch == 4
    with pytest.raises(RuntimeError, match="fell over"):
        start(tmp_path / "again", every=2, epochs=5, scores=range(5), fail_at=(3, 1))
    again, _ = start(tmp_path / "again", every=2, epochs=5, scores=range(5))
    assert same(again.network.state_dict(), module.network.state_dict())


@pytest.mark.parametrize("step", [0, STEPS - 1])
def test_a_loss_that_is_no_number_stops_before_it_is_scored(tmp_path, step):
    with pytest.raises(StudyError) as caught:
        start(tmp_path, spoil=(2, step))
    message = str(caught.value)
    assert message == f"{tmp_path}: training diverged in epoch 3 (loss nan); lower learning_rate"
    kept = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert all(value.isfinite().all() for value in kept["state_dict"].values())
    assert len(pd.read_csv(tmp_path / "curves.csv")) == 2


def test_weights_that_are_no_numbers_stop_too(tmp_path, monkeypatch):
    def spoil(self, *_):
        if self.current_epoch == 1:
            with torch.no_grad():
                self.network[0].weight[0, 0] = math.inf

    monkeypatch.setattr(Learner, "on_train_batch_end", spoil)
    monkeypatch.setattr(Learner, "training_step", lambda self, batch, _: zero(self))
    with pytest.raises(StudyError, match=r"diverged in epoch 2 \(loss 0\); lower learning_rate$"):
        start(tmp_path)


def zero(module):
    return 0.0 * module.network[2].weight.sum()


def damaged(content: bytes) -> dict[str, bytes]:
    middle = len(content) // 2
    return {
        "empty": b"",
        "cut": content[:middle],
        "noise": b"this is no checkpoint" * 50,
        "overwritten": b"\x00" * middle + content[middle:],
    }


@pytest.mark.parametrize("kind", ["empty", "cut", "noise", "overwritten"])
def test_a_damaged_checkpoint_is_one_sentence(whole, tmp_path, kind):
    folder, module, _ = whole
    file = tmp_path / CHECKPOINT
    file.parent.mkdir()
    file.write_bytes(damaged((folder / CHECKPOINT).read_bytes())[kind])
    with pytest.raises(StudyError) as caught:
        start(tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{file}: the checkpoint cannot be read (")
    assert "delete it" in message
    file.unlink()
    again, _ = start(tmp_path)
    assert same(again.network.state_dict(), module.network.state_dict())


def test_the_checkpoint_holds_no_code(whole):
    content = torch.load(whole[0] / CHECKPOINT, weights_only=True)
    assert content["epoch"] == EPOCHS - 1
    keeper = content["callbacks"]["Keeper"]
    assert len(keeper["rows"]) == EPOCHS
    assert keeper["best"]["epoch"] == whole[2].best_epoch


def test_a_full_disk_is_one_sentence_and_the_old_checkpoint_stands(whole, tmp_path):
    """The size limit of a process makes writes fail halfway, as a full disk does."""
    import resource

    with pytest.raises(RuntimeError, match="fell over"):
        start(tmp_path, fail_at=(3, 0))
    before = (tmp_path / CHECKPOINT).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(StudyError) as caught:
            start(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(caught.value).startswith(f"cannot write {tmp_path / CHECKPOINT}: File too large; ")
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert list((tmp_path / "checkpoint").iterdir()) == [tmp_path / CHECKPOINT]
    again, _ = start(tmp_path)
    assert same(again.network.state_dict(), whole[1].network.state_dict())


def test_nothing_is_written_beside_the_run_folder(tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    folder = tmp_path / "run"
    start(folder)
    assert list(elsewhere.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "run"]
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert files == {"curves.csv", CHECKPOINT}


def test_a_log_has_one_line_an_epoch(tmp_path, capfd, in_a_log):
    with pytest.raises(RuntimeError, match="fell over"):
        start(tmp_path, fail_at=(2, 0))
    first = capfd.readouterr()
    start(tmp_path)
    second = capfd.readouterr()
    lines = first.out.splitlines() + second.out.splitlines()
    assert lines.pop(2) == "resumed after epoch 2 of 6"
    assert len(lines) == EPOCHS
    rows = pd.read_csv(tmp_path / "curves.csv")
    for epoch, line in enumerate(lines, 1):
        pattern = rf"epoch {epoch}/6  train_loss (\S+)  validation_score (\S+)  \d+ s left"
        loss, score = re.fullmatch(pattern, line).groups()
        assert float(loss) == pytest.approx(rows["train_loss"][epoch - 1], rel=1e-3)
        assert float(score) == pytest.approx(rows["validation_score"][epoch - 1], rel=1e-3)
    assert lines[-1].endswith("  0 s left")
    assert first.err == second.err == ""


def test_where_someone_watches_there_is_a_bar(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(loop, "watched", lambda: True)
    start(tmp_path)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert f"{EPOCHS * STEPS}/{EPOCHS * STEPS}" in printed.err
    assert re.search(r"epoch 6/6: 100%.*train loss [\d.]+  score", printed.err)


def test_the_bar_of_a_resumed_run_starts_where_it_was(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(loop, "watched", lambda: True)
    with pytest.raises(RuntimeError, match="fell over"):
        start(tmp_path, fail_at=(4, 0))
    capfd.readouterr()
    start(tmp_path)
    printed = capfd.readouterr()
    assert printed.out == "resumed after epoch 4 of 6\n"
    counts = [int(n) for n in re.findall(r"(\d+)/18", printed.err)]
    assert (min(counts), max(counts)) == (12, 18)


def test_who_watches(monkeypatch):
    for name in ("JPY_SESSION_NAME", "VSCODE_PID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.stderr", SimpleNamespace(isatty=lambda: False))
    assert not watched()
    monkeypatch.setenv("JPY_SESSION_NAME", "notebooks/train.ipynb")
    assert watched()
    monkeypatch.delenv("JPY_SESSION_NAME")
    monkeypatch.setattr("sys.stderr", SimpleNamespace(isatty=lambda: True))
    assert watched()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (3600, "60 min"), (5400, "1 h 30 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_lightning_speaks_again_afterwards(tmp_path):
    import logging

    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    with pytest.raises(RuntimeError, match="fell over"):
        start(tmp_path, fail_at=(0, 0))
    assert logger.level == before
