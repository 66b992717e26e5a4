import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from thirdaxis.errors import UsageError
from thirdaxis.tasks.engine import Display, fit, last_checkpoint, steps_of
from thirdaxis.tasks.hardware import check_launch
from thirdaxis.tasks.keep import read_checkpoint, read_history
from thirdaxis.tasks.module import RunModule
from thirdaxis.tasks.run_folder import Run
from thirdaxis.tasks.settings import RunSettings

SCORES = [0.3, 0.5, 0.4, 0.5, 0.2, 0.1]


class NoPlan:
    def plain(self):
        return {}


class Lines(RunModule):
    """Learns a line, and says beforehand how well it does after each epoch."""

    score_name = "Fit"

    def training_step(self, batch, batch_idx):
        x, y = batch
        return self.noted(((self.net(x) - y) ** 2).mean())

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.seen.append((self.global_step, self.net.weight.detach().clone()))

    def validation_step(self, batch, batch_idx):
        self.epoch_score = SCORES[self.current_epoch]


class Points(LightningDataModule):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(6, 1, generator=generator)
        self.points = TensorDataset(x, 3 * x)

    def train_dataloader(self):
        return DataLoader(self.points, batch_size=2)

    def val_dataloader(self):
        return DataLoader(self.points, batch_size=6)


def run_of(folder, **values):
    folder.mkdir(exist_ok=True)
    common = {"task": "test", "data": "d", "accelerator": "cpu", "optimiser": "sgd"}
    common |= {"epochs": 6, "learning_rate": 0.05, "clip": None}
    return Run(folder, RunSettings(**common | values), NoPlan(), (), ())


def trained(run, stop_after=None):
    """Trains, or goes on; breaks off as the epoch after `stop_after` is told."""

    def say(line):
        if stop_after is not None and line.startswith(f"epoch {stop_after + 1}/"):
            raise KeyboardInterrupt

    torch.manual_seed(1)
    module = Lines(nn.Linear(1, 1, bias=False), run.settings, run.plan, steps_of(run.settings, 3))
    module.seen = []
    last, over = last_checkpoint(run)
    assert not over
    fit(run, module, Points(), Display(say=say), last, (1,))
    return module


def weights_in(run, name="last.ckpt"):
    return read_checkpoint(run.folder / name)["state_dict"]["net.weight"]


def test_epochs_are_kept_with_their_score(tmp_path):
    run = run_of(tmp_path / "run")
    trained(run)
    rows = read_history(tmp_path / "run" / "metrics.csv")
    assert [row["val_fit"] for row in rows] == SCORES
    assert [row["step"] for row in rows] == [3, 6, 9, 12, 15, 18]
    assert read_checkpoint(tmp_path / "run" / "best.ckpt")["epoch"] == 1
    assert last_checkpoint(run) == (tmp_path / "run" / "last.ckpt", True)


@pytest.mark.parametrize(
    "values", [{}, {"ema": 0.8}, {"accumulate": 2}, {"ema": 0.8, "accumulate": 2, "patience": 4}]
)
def test_a_broken_run_goes_on_to_the_same_end(tmp_path, values):
    whole, broken = (run_of(tmp_path / name, **values) for name in ("whole", "broken"))
    trained(whole)
    with pytest.raises(KeyboardInterrupt):
        trained(broken, stop_after=2)
    assert read_checkpoint(broken.folder / "last.ckpt")["epoch"] == 1
    trained(broken)
    for name in ("last.ckpt", "best.ckpt"):
        assert torch.equal(weights_in(whole, name), weights_in(broken, name))
    tables = [read_history(run.folder / "metrics.csv") for run in (whole, broken)]
    for one, other in zip(*tables, strict=True):
        assert one | {"seconds": 0} == other | {"seconds": 0}


def test_the_average_of_the_weights_is_what_is_kept(tmp_path):
    run = run_of(tmp_path / "run", ema=0.8)
    module = trained(run)
    average = module.seen[0][1]
    for _, weight in module.seen[1:]:
        average = 0.8 * average + 0.2 * weight
    torch.testing.assert_close(weights_in(run), average)
    assert not torch.allclose(weights_in(run), module.seen[-1][1])


def test_gradients_of_several_batches_make_one_step(tmp_path):
    together = run_of(tmp_path / "together", accumulate=3, schedule="constant", warmup=0)
    module = trained(together)
    x, y = Points().points.tensors
    weight = module.seen[0][1].clone()  # before the first step, which the third batch takes
    assert [step for step, _ in module.seen[:6]] == [0, 0, 1, 1, 1, 2]
    settings = together.settings
    # Nesterov's first step is (1 + momentum) times the gradient, of all six points at once.
    slope = (2 * (x * weight - y) * x).mean() + settings.weight_decay * weight
    expected = weight - settings.learning_rate * 1.9 * slope
    torch.testing.assert_close(module.seen[2][1], expected)
    assert steps_of(settings, 3) == 6 and steps_of(settings, 4) == 12


@pytest.mark.parametrize(("patience", "epochs"), [(1, 3), (2, 4), (3, 5), (4, 6), (None, 6)])
def test_training_stops_when_the_score_no_longer_rises(tmp_path, patience, epochs):
    run = run_of(tmp_path / "run", patience=patience)
    trained(run)
    assert len(read_history(tmp_path / "run" / "metrics.csv")) == epochs
    assert last_checkpoint(run)[1]  # nothing is left to train


def test_deterministic_algorithms_are_asked_for(tmp_path):
    before = torch.are_deterministic_algorithms_enabled()
    try:
        trained(run_of(tmp_path / "run", deterministic=True))
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(before)


def test_torchrun_and_settings_agree(monkeypatch):
    check_launch(1, 1)
    check_launch(2, 1)  # spawned by the run itself
    with pytest.raises(UsageError, match="2 nodes were asked for; start the run on each"):
        check_launch(1, 2)
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WORLD_SIZE", "4")
    check_launch(2, 2)
    for devices, nodes in ((1, 1), (4, 1), (1, 4), (2, 1)):
        with pytest.raises(UsageError, match="started 4 processes, 2 of them here"):
            check_launch(devices, nodes)


class Orders(nn.Module):
    """Notes in which order of memory volumes arrive."""

    def forward(self, image):
        self.last = image.is_contiguous(memory_format=torch.channels_last_3d)
        return 2 * image


@pytest.mark.parametrize("channels_last", [False, True])
def test_volumes_arrive_in_the_order_of_memory_that_was_told(tmp_path, channels_last):
    run = run_of(tmp_path / "run", channels_last=channels_last)
    module = Lines(Orders(), run.settings, run.plan, 1)
    volumes = torch.randn(2, 3, 4, 5, 6)
    assert torch.equal(module(volumes), 2 * volumes)
    assert module.net.last == channels_last


def test_norms_are_shared_by_graphics_cards_alone(tmp_path):
    run = run_of(tmp_path / "run", devices=2, batch=2, sync_norms=True)
    module = Lines(nn.Linear(1, 1, bias=False), run.settings, run.plan, 1)
    with pytest.raises(UsageError, match="sync_norms needs graphics cards"):
        fit(run, module, Points(), Display(), None, (1,))
