"""A converted network as a graph of ordinary operations on volumes, checked against itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from thirdaxis.atomic import atomic_path
from thirdaxis.convert.carrier import ConversionError
from thirdaxis.convert.check import ROUGH, TOLERANCE, tensors
from thirdaxis.convert.copies import copied
from thirdaxis.convert.entry import is_converted
from thirdaxis.convert.private import for_any_size
from thirdaxis.errors import UsageError, did_you_mean
from thirdaxis.export.files import WRITERS, Run

AXES = {"batch": 0, "depth": 2, "height": 3, "width": 4}


def export(
    net: nn.Module,
    example: Tensor,
    path: str | Path | None = None,
    *,
    dynamic: Sequence[str] = tuple(AXES),
    metadata: Mapping[str, str] | None = None,
) -> ExportedProgram:
    """Turns a converted network into a plain graph of operations on (N, C, D, H, W).

    The graph holds what the network computes in eval mode, in ATen operations that know nothing of
    thirdaxis. Before it is handed out it is run against the network, at the example's size and at
    two others; so is the file, where one is written.

    Args:
        net: a network that `convert` returned, or one that holds such networks.
        example: volumes (N, C, D, H, W) of any content, of a size that the network takes.
        path: a file to write as well: ``.pt2`` for `torch.export.load`, ``.onnx`` for ONNX, which
            needs ``pip install 'thirdaxis[export]'``. It appears whole or not at all.
        dynamic: axes whose size may differ later, of ``batch``, ``depth``, ``height``, ``width``.
            Networks made for one picture size, like most transformers, allow the first two.
        metadata: texts by name to keep in the file: the model's properties of an ``.onnx``, the
            extra files of a ``.pt2``.

    Returns:
        The graph; its ``module()`` can be called.

    Raises:
        UsageError: not a converted network, not volumes, an unknown axis or ending, an axis along
            which the network itself has one size, a missing package.
        ConversionError: the graph differs from the network, or is bound to the example's size.
        OSError: the file cannot be written.
    """
    _check_arguments(net, example, path, dynamic)
    frozen = copied(net).eval()
    with torch.no_grad():
        volumes = [_stretched(example, size) for size in _sizes(example, dynamic)]
        answers = [_answer(frozen, volume, volumes[0]) for volume in volumes]
        program = _traced(frozen, volumes[0], dynamic)
        module = program.module()
        _compare("the graph", lambda x: tensors(module(x)), volumes, answers)
        if path is not None:
            with atomic_path(path) as draft:
                names = {str(_input_shape(program)[AXES[axis]]): axis for axis in dynamic}
                run = WRITERS[draft.suffix](program, draft, names, metadata or {})
                _compare(Path(path).name, run, volumes, answers)
    return program


def _check_arguments(
    net: nn.Module, example: Tensor, path: str | Path | None, dynamic: Sequence[str]
) -> None:
    if not isinstance(net, nn.Module) or not any(map(is_converted, net.modules())):
        raise UsageError("export takes a network that thirdaxis.convert returned")
    done = [vars(module)["_thirdaxis"] for module in net.modules() if "_thirdaxis" in vars(module)]
    if any(conversion.needs_thickness for conversion in done):
        raise UsageError(
            "export takes volumes alone, and an operator of the network asks for the thickness of "
            "slices: torch.export.export(net, (volume,), {'thickness': ...}, strict=False) takes it"
        )
    if not isinstance(example, Tensor) or example.dim() != 5:
        came = tuple(example.shape) if isinstance(example, Tensor) else type(example).__name__
        raise UsageError(f"export takes an example (N, C, D, H, W), got {came}")
    for axis in dynamic:
        if axis not in AXES:
            raise UsageError(f"export: unknown axis {axis!r}{did_you_mean(str(axis), AXES)}")
    if path is not None and Path(path).suffix not in WRITERS:
        endings = " or ".join(WRITERS)
        raise UsageError(f"export writes files that end in {endings}, got {str(path)!r}")


def _sizes(example: Tensor, dynamic: Sequence[str]) -> list[list[int]]:
    """The example's size, at least 2 along each axis that may differ, and two other sizes."""
    free = [index in {AXES[axis] for axis in dynamic} for index in range(5)]

    def where_free(wished: Sequence[int]) -> list[int]:
        return [b if c else a for a, b, c in zip(example.shape, wished, free, strict=True)]

    n, channels, d, h, w = where_free([max(size, 2) for size in example.shape])
    others = [n + 1, channels, d + 3, 2 * h, w], [1, channels, 1, h, 2 * w]
    return [[n, channels, d, h, w], *map(where_free, others)]


def _stretched(volume: Tensor, size: Sequence[int]) -> Tensor:
    """The volume repeated or cut to a size along each axis."""
    for axis, length in enumerate(size):
        index = torch.arange(length, device=volume.device) % volume.shape[axis]
        volume = volume.index_select(axis, index)
    return volume


def _answer(net: nn.Module, volume: Tensor, first: Tensor) -> list[Tensor]:
    try:
        return tensors(net(volume))
    except (RuntimeError, ValueError, AssertionError) as error:
        advice = "give an example of a size that it takes"
        if volume is not first:
            advice = "leave the axes along which it has one size out of dynamic"
        raise UsageError(
            f"export: the network itself does not take volumes {tuple(volume.shape)} "
            f"({_line(error)}): {advice}"
        ) from error


def _traced(net: nn.Module, volume: Tensor, dynamic: Sequence[str]) -> ExportedProgram:
    shapes = {AXES[axis]: Dim.AUTO for axis in dynamic}
    try:
        with for_any_size():
            program = torch.export.export(net, (volume,), dynamic_shapes=(shapes,), strict=False)
    except Exception as error:  # torch raises errors of many classes of its own
        raise ConversionError(f"export: the network cannot be traced: {_line(error)}") from error
    shape = _input_shape(program)
    bound = [axis for axis in dynamic if isinstance(shape[AXES[axis]], int)]
    if bound:
        raise ConversionError(
            f"export: the graph is bound to the example's {' and '.join(bound)}: leave out of "
            "dynamic what may not differ"
        )
    return program


def _input_shape(program: ExportedProgram) -> torch.Size:
    names = program.graph_signature.user_inputs
    return next(node.meta["val"].shape for node in program.graph.nodes if node.name in names)


def _compare(
    name: str, run: Run, volumes: Sequence[Tensor], answers: Sequence[list[Tensor]]
) -> None:
    """Runs a graph or a file of it on volumes, against the network's answers."""
    for volume, answer in zip(volumes, answers, strict=True):
        shape = tuple(volume.shape)
        try:
            got = run(volume)
        except Exception as error:  # a guard of the graph, or onnxruntime's own classes
            raise ConversionError(
                f"export: {name} does not take volumes {shape}: {_line(error)}; a newer torch may "
                "help, or fewer axes in dynamic"
            ) from error
        for one, other in zip(got, answer, strict=True):
            if one.shape != other.shape:
                raise ConversionError(
                    f"export: {name} returns {tuple(one.shape)} for volumes {shape}, the network "
                    f"{tuple(other.shape)}"
                )
            gap = (one - other).abs().max() / other.abs().max().clamp(min=1e-30)
            if not gap <= TOLERANCE.get(other.dtype, ROUGH):
                raise ConversionError(
                    f"export: {name} differs from the network by {gap:.1e} of its largest value "
                    f"for volumes {shape}; please report the network"
                )


def _line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
