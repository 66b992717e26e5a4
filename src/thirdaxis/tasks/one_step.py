"""One step of training without a trainer."""

from lightning.pytorch import LightningDataModule

from thirdaxis.tasks.module import RunModule


def one_step(module: RunModule, data: LightningDataModule) -> float:
    """Takes the first batch through loss, gradients and optimiser.

    Args:
        module: its network is changed.
        data: feeds it.

    Returns:
        The loss before the step.
    """
    (optimiser,), _ = module.configure_optimizers()
    module.on_train_epoch_start()
    loss = module.training_step(next(iter(data.train_dataloader())), 0)
    loss.backward()
    optimiser.step()
    return float(loss.detach())
