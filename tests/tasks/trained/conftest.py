from collections.abc import Callable
from pathlib import Path

import pytest
from monai.bundle import ConfigWorkflow

from thirdaxis.tasks.trained.bundle import INFERENCE, METADATA


@pytest.fixture(scope="session")
def run_bundle() -> Callable[[Path, Path], Path]:
    """Runs a bundle on scans, or on a table of them, by MONAI's own workflow; its answers."""

    def ran(bundle: Path, inputs: Path) -> Path:
        workflow = ConfigWorkflow(
            config_file=str(bundle / INFERENCE),
            meta_file=str(bundle / METADATA),
            workflow_type="infer",
            bundle_root=str(bundle),
            dataset_dir=str(inputs),
        )
        workflow.initialize()
        assert workflow.check_properties() == []
        workflow.run()
        workflow.finalize()
        return bundle / "eval"

    return ran
