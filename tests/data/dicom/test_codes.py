import pytest

from thirdaxis.data.dicom.codes import coded_name

ANATOMY, ABNORMAL, TISSUE = "91723000", "49755003", "85756007"

# SNOMED CT numbers as the standard's own lists print them (DICOM PS3.16, CID 7151 and 7159).
EXPECTED = {
    "liver": (ANATOMY, "10200004", None),
    "Spleen": (ANATOMY, "78961009", None),
    "hippocampus": (ANATOMY, "5366008", None),
    "left atrium": (ANATOMY, "82471001", None),
    "LeftKidney": (TISSUE, TISSUE, None),
    "left kidney": (ANATOMY, "64033007", "7771000"),
    "right_lung": (ANATOMY, "39607008", "24028007"),
    "portal vein": (ANATOMY, "32764006", None),
    "lung nodule": (ABNORMAL, "27925004", None),
    "Tumour": (ABNORMAL, "108369006", None),
    "non-enhancing tumor": (ABNORMAL, "108369006", None),
    "edema": (ABNORMAL, "79654002", None),
    "not liver": (TISSUE, TISSUE, None),
    "posterior": (TISSUE, TISSUE, None),
    "left": (TISSUE, TISSUE, None),
    "7": (TISSUE, TISSUE, None),
    "": (TISSUE, TISSUE, None),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_names_become_the_codes_of_the_standard(name):
    coded = coded_name(name)
    side = coded.side.value if coded.side else None
    assert (coded.category.value, coded.kind.value, side) == EXPECTED[name]
    assert coded.kind.scheme_designator == "SCT"
