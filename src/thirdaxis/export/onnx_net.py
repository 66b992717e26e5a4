"""An ONNX file as a network, with what was written beside its graph."""

from pathlib import Path

import torch
from torch import Tensor, nn

from thirdaxis.errors import InputError, UsageError


class OnnxNet(nn.Module):
    """An exported network, run by onnxruntime on the CPU.

    Args:
        path: a file that `thirdaxis.export.program.export` wrote.

    Attributes:
        metadata: the texts that the file holds beside its graph, by name.

    Raises:
        InputError: no such file, or not an ONNX graph of one input and one output.
        UsageError: onnxruntime is missing.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            import onnxruntime
        except ImportError as error:
            raise UsageError(
                f"{path}: needs the package {error.name!r}: pip install 'thirdaxis[export]'"
            ) from error
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        try:
            self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises classes of its own
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{path}: not an ONNX graph that can be run ({reason})") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise InputError(
                f"{path}: has {len(inputs)} inputs and {len(outputs)} outputs, expected one of each"
            )
        self._input = inputs[0].name
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def forward(self, volume: Tensor) -> Tensor:
        """Answers as the exported network does.

        Args:
            volume: (N, C, D, H, W).

        Returns:
            The graph's output, on the volume's device.
        """
        (answer,) = self._session.run(None, {self._input: volume.detach().cpu().float().numpy()})
        return torch.from_numpy(answer).to(volume.device)
