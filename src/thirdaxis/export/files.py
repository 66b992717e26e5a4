"""Files of exported graphs; each writer returns what runs the file again, to check it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from thirdaxis.convert.check import tensors
from thirdaxis.errors import UsageError

Run = Callable[[Tensor], list[Tensor]]


def write_pt2(
    program: ExportedProgram, path: Path, axes: Mapping[str, str], metadata: Mapping[str, str]
) -> Run:
    """Writes a graph for `torch.export.load`, which gives `metadata` back as its extra files."""
    torch.export.save(program, path, extra_files=dict(metadata))
    module = torch.export.load(path).module()
    return lambda volume: tensors(module(volume))


def write_onnx(
    program: ExportedProgram, path: Path, axes: Mapping[str, str], metadata: Mapping[str, str]
) -> Run:
    """Writes a graph as ONNX, with names for its input ``volume``, its outputs and its axes.

    Args:
        program: the graph.
        path: the file.
        axes: names of the sizes that may differ, by the graph's own symbols.
        metadata: texts by name, kept as the model's properties.

    Returns:
        What runs the file by onnxruntime.

    Raises:
        UsageError: onnxscript or onnxruntime is missing.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # torch asks for it too late and at length
    except ImportError as error:
        raise UsageError(
            f"ONNX needs the package {error.name!r}: pip install 'thirdaxis[export]'"
        ) from error
    count = len(program.graph_signature.user_outputs)
    outputs = ["output"] if count == 1 else [f"output_{i}" for i in range(count)]
    graph: Any = torch.onnx.export(
        program, (), None, dynamo=True, verbose=False, input_names=["volume"], output_names=outputs
    )
    if hasattr(graph, "rename_axes"):  # not in older torch
        graph.rename_axes(axes)
    graph.model.metadata_props.update(metadata)
    graph.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(volume: Tensor) -> list[Tensor]:
        answers = session.run(None, {"volume": volume.cpu().numpy()})
        return [torch.from_numpy(answer).to(volume.device) for answer in answers]

    return run


WRITERS = {".pt2": write_pt2, ".onnx": write_onnx}
