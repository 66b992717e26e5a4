"""Coded names of what a segment shows, from the tables that the DICOM standard itself keeps."""

import re
from typing import NamedTuple

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

SAID_OTHERWISE = {
    "tumor": "Neoplasm",
    "tumour": "Neoplasm",
    "cancer": "Neoplasm",
    "vessel": "BloodVessel",
    "oedema": "Edema",
    "urinarybladder": "Bladder",
}


class Coded(NamedTuple):
    """What DICOM calls segmented property category and type, and the side of the body if told."""

    category: Code
    kind: Code
    side: Code | None


def coded_name(name: str) -> Coded:
    """Finds the SNOMED CT codes for the name of a label.

    The name is sought among the property types of the standard (CID 7151), letter case, spaces
    and a leading `left` or `right` aside. Of a longer name that ends in a word for something
    abnormal (CID 7159: `liver tumour`, `lung nodule`) that word is taken. What is not found is
    coded as plain tissue, never as something near it; the segment's label keeps the full name.

    Args:
        name: such as `liver`, `left kidney` or `hepatic_vessel`.

    Returns:
        The codes.
    """
    words = re.findall(r"[^\W_]+", name.lower())
    sides = {"left": codes.SCT.Left, "right": codes.SCT.Right}
    side = sides.get(words[0]) if len(words) > 1 else None
    abnormal = {word.lower(): word for word in codes.cid7159.dir()}
    known = {word.lower(): word for word in codes.cid7151.dir()} | abnormal | SAID_OTHERWISE
    whole = known.get("".join(words))
    stem = whole or (known.get("".join(words[1:])) if side else None)
    if stem is None and words:
        last = SAID_OTHERWISE.get(words[-1], words[-1]).lower()
        stem = abnormal.get(last)
    if stem is None:
        return Coded(codes.SCT.Tissue, codes.SCT.Tissue, None)
    side = None if whole else side
    if stem.lower() in abnormal:
        return Coded(codes.SCT.MorphologicallyAbnormalStructure, _code(stem, 7159), side)
    return Coded(codes.SCT.AnatomicalStructure, _code(stem, 7151), side)


def _code(keyword: str, table: int) -> Code:
    found = getattr(getattr(codes, f"cid{table}"), keyword)
    assert isinstance(found, Code)
    return found
