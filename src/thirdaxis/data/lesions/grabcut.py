"""Outlines of lesions from their diameters and boxes, by GrabCut."""

import numpy as np

QUADRILATERAL = [0, 2, 1, 3]
"""Ends of the diameters in the order long, short, long, short: around the lesion."""

SURE_BACKGROUND, SURE, PROBABLE = 0, 1, 3  # OpenCV's numbers; foreground is odd


def grabcut(
    pixels: np.ndarray, box: np.ndarray, recist: np.ndarray | None = None, iterations: int = 3
) -> np.ndarray:
    """The outline of one lesion.

    GrabCut (Rother et al., SIGGRAPH 2004) as Zlocha et al. use it for DeepLesion ("Improving
    RetinaNet for CT lesion detection with dense masks from weak RECIST labels", MICCAI 2019):
    what lies outside the box is background, the quadrilateral of the ends of both
    diameters is the lesion, and the rest of the box is decided. Where GrabCut fails, the
    quadrilateral is the outline.

    Without diameters an ellipse of half the box's extent is taken as sure, and where GrabCut fails
    the ellipse that fills the box is the outline; of a box thinner than a pixel it is the box.

    Args:
        pixels: ``(H, W)`` uint8, 0 to 255 of a window of HU.
        box: ``(4,)``, x1, y1, x2, y2.
        recist: ``(8,)``, x and y of the ends of the long, then of the short diameter.
        iterations: of GrabCut.

    Returns:
        ``(H, W)`` bool, never empty, none of it beyond the box by more than a pixel.
    """
    import cv2

    inside: np.ndarray = np.zeros(pixels.shape, np.uint8)
    sure: np.ndarray = inside.copy()
    x1, y1, x2, y2 = np.rint(np.asarray(box, dtype=np.float64)).astype(int).tolist()
    cv2.rectangle(inside, (x1, y1), (x2, y2), 1, thickness=-1)
    if recist is not None and np.isfinite(recist).all():
        ends = np.rint(np.reshape(recist, (4, 2))[QUADRILATERAL]).astype(np.int32)
        cv2.fillPoly(sure, [ends], 1)
    rest = sure > 0
    if not sure.any():
        sure, rest = _ellipse(pixels.shape, box, 0.5), _ellipse(pixels.shape, box, 1.0)
    if not sure.any():  # thinner than a pixel
        sure = rest = inside > 0
    marks = np.where(inside, PROBABLE, SURE_BACKGROUND).astype(np.uint8)
    marks[sure > 0] = SURE
    colours = np.repeat(pixels[..., None], 3, axis=2)
    cv2.setRNGSeed(0)  # the first clusters are drawn
    try:
        models = np.zeros((2, 1, 65))
        cv2.grabCut(colours, marks, None, models[0], models[1], iterations, cv2.GC_INIT_WITH_MASK)
    except cv2.error:  # a box over the whole image leaves no background to learn from
        return rest
    return marks % 2 == 1


def _ellipse(shape: tuple[int, ...], box: np.ndarray, part: float) -> np.ndarray:
    x1, y1, x2, y2 = np.asarray(box, dtype=np.float64).tolist()
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    across = (columns - (x1 + x2) / 2) / max(part * (x2 - x1) / 2, 0.5)
    down = (rows - (y1 + y2) / 2) / max(part * (y2 - y1) / 2, 0.5)
    return across**2 + down**2 <= 1
