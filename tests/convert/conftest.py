import pytest
import torch


@pytest.fixture
def repeatable() -> None:
    """Seeds torch."""
    torch.manual_seed(0)


@pytest.fixture
def volume() -> torch.Tensor:
    """Two volumes of three slices that most networks take."""
    return torch.randn(2, 3, 3, 64, 64)
