"""Settings of the lesion detector: its backbone, how slices fuse, and the numbers of its heads."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from thirdaxis.convert.settings import Override
from thirdaxis.errors import UsageError
from thirdaxis.fusion.a3d import A3D
from thirdaxis.fusion.base import Fusion
from thirdaxis.fusion.by_block import ByBlock
from thirdaxis.fusion.table import resolve

PAPERS_BACKBONE = "densenet121"
PAPERS_PLACE = "@dense_layers"
STACKED = "stacked"


@dataclass(frozen=True)
class DetectorSettings:
    """What a `LesionDetector` is made of.

    Where nothing else is said, the numbers are those of the code of AlignShift (Yang et al.,
    MICCAI 2020), which its authors' papers on ACS (IEEE JBHI 2021) and A3D (MICCAI 2021) share.

    Args:
        backbone: ``"densenet121"``, the truncated network of the papers, or a classifier with maps
            at strides 4, 8 and 16, as ``"torchvision:resnet50"`` or ``"timm:NAME"``.
        fusion: an operator, by name or as settings, or ``"stacked"``: slices as the channels of a
            2D network, the "2.5D" of AlignShift.
        depth: slices D of a sample, odd; the key slice lies in the middle.
        context: further slices at each end of it, into which operators look, but of whose own maps
            nothing is judged: D slices in a row learn what it is like to have neighbours.
        place: pattern of the modules that get the operator, others being slicewise, as
            `thirdaxis.convert` takes it for overrides. None is ``"@dense_layers"`` in the papers'
            network, where they put it, and everywhere in others.
        overrides: of `thirdaxis.convert`, put on top.
        stem: how the RGB stem takes one channel; the papers' code takes ``"green"``.
        statistics: of `thirdaxis.convert`.
        masks: whether there is a mask head.
        width: channels of the 2D map.
        hidden: channels of the box head's two layers.
        mask_width: channels of the mask head.
        sizes: sides of square anchors in pixels.
        ratios: heights of anchors over their widths.
        anchor_overlaps: IoU from which an anchor is a lesion, below which it is background, and
            from which a lesion keeps the anchors nearest to it.
        anchors: anchors sampled from an image for the loss, and the share of lesions.
        proposals_before: proposals before suppression, in training and later.
        proposals_after: proposals after it, in training and later.
        proposal_overlap: IoU above which the worse of two proposals goes.
        region_overlap: IoU from which a proposal is a lesion; below it is background.
        regions: proposals sampled from an image for the loss, and the share of lesions.
        score_threshold: detections score more. The shipped configurations differ: 0.005 (stacked),
            0.001 (AlignShift), 0.00005 (TSM, A3D); it decides what is found at 8 and 16 false
            positives an image, so one for all is fair, and the lowest loses nothing.
        overlap: IoU above which the worse of two detections goes.
        most: detections of an image.
        mask_threshold: probability from which a pixel belongs to a lesion.

    Raises:
        UsageError: a depth that is not odd, or an unknown operator.
    """

    backbone: str = PAPERS_BACKBONE
    fusion: str | Fusion = "acs"
    depth: int = 7
    context: int = 0
    place: str | None = None
    overrides: Mapping[str, Override] | None = None
    stem: str = "green"
    statistics: str | None = None
    masks: bool = True
    width: int = 512
    hidden: int = 2048
    mask_width: int = 256
    sizes: tuple[int, ...] = (16, 24, 32, 48, 96, 192)
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    anchor_overlaps: tuple[float, float, float] = (0.7, 0.3, 0.3)
    anchors: tuple[int, float] = (32, 0.5)
    proposals_before: tuple[int, int] = (12000, 6000)
    proposals_after: tuple[int, int] = (2000, 300)
    proposal_overlap: float = 0.7
    region_overlap: float = 0.5
    regions: tuple[int, float] = (64, 0.25)
    score_threshold: float = 0.00005
    overlap: float = 0.5
    most: int = 50
    mask_threshold: float = 0.5

    def __post_init__(self) -> None:
        """Checks what the network would otherwise trip over late, or not at all."""
        if type(self.depth) is not int or self.depth < 1 or self.depth % 2 == 0:
            raise UsageError(
                f"depth is an odd number of slices, the key slice in the middle (1, 3, 5, 7, ...), "
                f"got {self.depth!r}"
            )
        if type(self.context) is not int or self.context < 0:
            raise UsageError(f"context is a number of slices, 0 or more, got {self.context!r}")
        if self.is_stacked:
            if self.context:
                raise UsageError(
                    "context: fusion 'stacked' is a 2D network, which looks into no further slices"
                )
            if self.overrides or self.place or self.statistics:
                raise UsageError(
                    "fusion 'stacked' is a 2D network, which takes no place, overrides or "
                    "statistics; leave these away, or choose an operator"
                )
        else:
            self.operator()

    @property
    def seen(self) -> int:
        """Slices of a sample with those around it."""
        return self.depth + 2 * self.context

    @property
    def is_stacked(self) -> bool:
        """Whether slices are the channels of a 2D network."""
        return self.fusion == STACKED

    def operator(self) -> Fusion:
        """The settings of the operator; `a3d` is told the number of slices.

        Raises:
            UsageError: an unknown operator.
        """
        fusion = resolve(self.fusion)
        return replace(fusion, depth=self.seen) if isinstance(fusion, A3D) else fusion

    def place_in(self, papers: bool) -> str | None:
        """The pattern of the modules that get the operator; None is all of them.

        Args:
            papers: whether the backbone is that of the papers.
        """
        # An operator on blocks takes no single convolutions.
        preset = papers and not self.is_stacked and not isinstance(self.operator(), ByBlock)
        return PAPERS_PLACE if self.place is None and preset else self.place
