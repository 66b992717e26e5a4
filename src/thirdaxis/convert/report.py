"""`report`: what of a converted network was lifted, what stayed 2D, what it costs."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from thirdaxis.convert.attention import why_depth_is_kept
from thirdaxis.convert.check import unlifted
from thirdaxis.convert.copies import copied
from thirdaxis.convert.entry import logged
from thirdaxis.convert.lift import Conversion, beside
from thirdaxis.convert.planting import own_parameters
from thirdaxis.convert.rules_conv import LIFTED, Executed
from thirdaxis.errors import UsageError

DEFAULT_PLANES, DEFAULT_DEPTH = (64, 224), 32


@dataclass(frozen=True)
class Report:
    """What `report` found.

    Attributes:
        conversion: the settings of the conversion.
        executed: spatial convolutions as they ran, in order.
        parameters: number of parameters.
        own_parameters: how many of them belong to operators, beside the kernels.
        shape: (N, C, D, H, W) of the volume that was run.
        macs: multiply-accumulates for that volume.
        trouble: why the network could not be run on that shape, if so.
        kept: why depth is kept unless the caller says otherwise, as with attention; else nothing.
        blocks: multiply-accumulates of the blocks that ran on planes of their own, by name.
    """

    conversion: Conversion
    executed: tuple[Executed, ...]
    parameters: int
    own_parameters: int
    shape: tuple[int, ...]
    macs: int
    trouble: str = ""
    kept: str = ""
    blocks: Mapping[str, int] = field(default_factory=dict)

    @property
    def lifted(self) -> int:
        """How many spatial convolutions look along depth."""
        return sum(run.status == LIFTED for run in self.executed)

    @property
    def lifted_share(self) -> float:
        """Share of the multiply-accumulates made in 3D, from 0 to 1.

        By lifted convolutions, and by blocks that work on planes with depth.
        """
        turned = {n for n in self.blocks if "D" in self.conversion.turns[n].plane}
        macs = sum(self.blocks[name] for name in turned)
        macs += sum(
            run.macs
            for run in self.executed
            if run.status == LIFTED and not inside(run.module, turned)
        )
        return min(1.0, macs / self.macs) if self.macs else 0.0

    def __str__(self) -> str:
        """The report for people."""
        done = self.conversion
        depth = "strided with the plane" if done.setting.depth_stride else "kept"
        depth += f" ({self.kept})" if self.kept and not done.setting.depth_stride else ""
        lines = [
            f"fusion:       {done.setting.fusion}",
            f"depth:        {depth}; statistics per {done.setting.statistics}",
        ]
        for name, setting in done.parts.items():
            depth = "strided" if setting.depth_stride else "kept"
            lines.append(f"  {name}: {setting.fusion}, depth {depth}, per {setting.statistics}")
        for name, rule in done.stems.items():
            lines.append(f"stem:         {name} adapted by {rule!r}")
        own = f", operators' own: {self.own_parameters:,}" if self.own_parameters else ""
        told = f"{self.parameters:,} (2D kernels: {done.parameters_2d:,}{own})"
        lines.append(f"parameters:   {told}")
        volume = " x ".join(map(str, self.shape))
        if self.trouble:
            lines.append(f"not run on {volume}: {self.trouble}")
            return "\n".join(lines)
        lines.append(f"convolutions: {self.lifted} of {len(self.executed)} spatial ones lifted")
        lines += unlifted(self.executed)
        lines += self._turned()
        lines.append(f"MACs:         {self.macs / 1e9:.2f} G for {volume}")
        what = (
            "are in blocks with depth or lifted convolutions"
            if done.turns
            else "are lifted convolutions"
        )
        lines.append(f"in 3D:        {self.lifted_share:.1%} of the MACs {what}")
        return "\n".join(lines)

    def _turned(self) -> list[str]:
        """A line on the blocks that work on planes of their own, if there are any."""
        turns = self.conversion.turns
        if not turns:
            return []
        counts = Counter(turns[name].plane for name in self.blocks)
        each = ", ".join(
            f"{plane} {count}" for plane, count in sorted(counts.items(), reverse=True)
        )
        names = list(turns)
        ran = f"{len(self.blocks)} of {len(turns)} ran ({names[0]} to {names[-1]})"
        return [f"blocks:       {ran}, on planes {each or 'none'}"]


def inside(name: str, parts: Collection[str]) -> bool:
    """Whether a module is one of these or lies in one of them."""
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def report(net: nn.Module, shape: tuple[int, int, int, int, int] | None = None) -> Report:
    """Reports on a converted network, by running its shapes through (no numbers are computed).

    Args:
        net: a network that `convert` returned.
        shape: (N, C, D, H, W) to count for; default: one volume of 32 slices, or of as many as its
            operators fix, of 64 x 64, or of 224 x 224 if the network does not take those.

    Raises:
        UsageError: the network was not converted.
    """
    done = getattr(net, "_thirdaxis", None)
    if not isinstance(done, Conversion):
        raise UsageError("report takes a network that thirdaxis.convert returned")
    if shape is not None:
        return _counted(net, done, shape)
    stem = next((m for m in net.modules() if isinstance(m, nn.Conv2d)), None)
    channels = stem.in_channels if stem is not None else 3
    depth = done.fixed_depth or DEFAULT_DEPTH
    for plane in DEFAULT_PLANES:
        found = _counted(net, done, (1, channels, depth, plane, plane))
        if not found.trouble:
            break
    return found


def _counted(net: nn.Module, done: Conversion, shape: tuple[int, ...]) -> Report:
    from torch.utils.flop_counter import FlopCounterMode  # brings triton, too heavy to import above

    counter = FlopCounterMode(display=False)
    trouble = ""
    twin = copied(net).to("meta").eval()
    dtype = next((p.dtype for p in net.parameters() if p.is_floating_point()), torch.float32)
    with torch.no_grad(), logged() as log, counter:
        try:
            volume = torch.empty(shape, device="meta", dtype=dtype)
            twin(volume, **beside(twin, volume))
        except Exception as error:  # a network may say in any way that it takes no such shape
            trouble = (str(error).strip() or type(error).__name__).splitlines()[0]
    parameters, names = sum(p.numel() for p in net.parameters()), own_parameters(net)
    own = sum(p.numel() for name, p in net.named_parameters() if name in names)
    macs = counter.get_total_flops() // 2
    kept = why_depth_is_kept(net)
    counted = {
        name.partition(".")[2]: sum(n.values()) // 2
        for name, n in counter.get_flop_counts().items()
    }
    blocks = {name: counted[name] for name in done.turns if name in counted}
    return Report(done, tuple(log), parameters, own, tuple(shape), macs, trouble, kept, blocks)
