import pytest

from thirdaxis.data.lidc.xml import Outline, read_lidc_xml
from thirdaxis.errors import InputError

# The form of the collection's own files, shortened.
OFFICIAL = """<?xml version="1.0" encoding="UTF-8"?>
<LidcReadMessage uid="1.3.6.1.4.1.14519.5.2.1.6279.6001.1307390687803.0"
    xmlns="http://www.nih.gov" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    xsi:schemaLocation="http://www.nih.gov http://troll.rad.med.umich.edu/lidc/LidcReadMessage.xsd">
<ResponseHeader>
<Version>1.8.1</Version>
<TaskDescription>Second unblinded read</TaskDescription>
<SeriesInstanceUid>1.3.6.1.4.1.14519.5.2.1.6279.6001.179</SeriesInstanceUid>
<StudyInstanceUID>1.3.6.1.4.1.14519.5.2.1.6279.6001.298</StudyInstanceUID>
</ResponseHeader>
<readingSession>
<annotationVersion>3.12</annotationVersion>
<servicingRadiologistID>540461523</servicingRadiologistID>
<unblindedReadNodule>
<noduleID>Nodule 001</noduleID>
<characteristics>
<subtlety>5</subtlety>
<internalStructure>1</internalStructure>
<calcification>6</calcification>
<sphericity>3</sphericity>
<margin>3</margin>
<lobulation>0</lobulation>
<spiculation>4</spiculation>
<texture>5</texture>
<malignancy>5</malignancy>
</characteristics>
<roi>
<imageZposition>-125.000000 </imageZposition>
<imageSOP_UID>1.3.6.1.4.1.14519.5.2.1.6279.6001.110</imageSOP_UID>
<inclusion>TRUE</inclusion>
<edgeMap><xCoord>312</xCoord><yCoord>355</yCoord></edgeMap>
<edgeMap><xCoord>311</xCoord><yCoord>356</yCoord></edgeMap>
<edgeMap><xCoord>312</xCoord><yCoord>355</yCoord></edgeMap>
</roi>
<roi>
<imageZposition>-122.500000 </imageZposition>
<imageSOP_UID>1.3.6.1.4.1.14519.5.2.1.6279.6001.111</imageSOP_UID>
<inclusion>FALSE</inclusion>
<edgeMap><xCoord>315</xCoord><yCoord>350</yCoord></edgeMap>
</roi>
</unblindedReadNodule>
<unblindedReadNodule>
<noduleID>9</noduleID>
<roi>
<imageZposition>-90.0</imageZposition>
<imageSOP_UID>1.3.6.1.4.1.14519.5.2.1.6279.6001.120</imageSOP_UID>
<inclusion>TRUE</inclusion>
<edgeMap><xCoord>100</xCoord><yCoord>101</yCoord></edgeMap>
</roi>
</unblindedReadNodule>
<nonNodule>
<nonNoduleID>2241</nonNoduleID>
<imageZposition>-77.5</imageZposition>
<imageSOP_UID>1.3.6.1.4.1.14519.5.2.1.6279.6001.130</imageSOP_UID>
<locus><xCoord>215</xCoord><yCoord>312</yCoord></locus>
</nonNodule>
</readingSession>
<readingSession>
<annotationVersion>3.12</annotationVersion>
<servicingRadiologistID>2</servicingRadiologistID>
<unblindedReadNodule>
<noduleID>IL001</noduleID>
<characteristics><malignancy>2</malignancy></characteristics>
<roi>
<inclusion>TRUE</inclusion>
<edgeMap><xCoord>1</xCoord><yCoord>2</yCoord></edgeMap>
<edgeMap><xCoord>2</xCoord><yCoord>3</yCoord></edgeMap>
</roi>
</unblindedReadNodule>
</readingSession>
</LidcReadMessage>
"""


@pytest.fixture
def read(tmp_path):
    def parse(text):
        (tmp_path / "069.xml").write_text(text, encoding="utf-8")
        return read_lidc_xml(tmp_path / "069.xml")

    return parse


def test_the_official_form_is_read(read):
    reads = read(OFFICIAL)
    assert reads.series == "1.3.6.1.4.1.14519.5.2.1.6279.6001.179"
    assert (reads.small, reads.non_nodules) == (1, 1)
    first, second = reads.readings
    assert (first.reader, first.nodule) == (0, "Nodule 001")
    assert (second.reader, second.nodule) == (1, "IL001")
    assert first.ratings == {
        **{"subtlety": 5, "internalStructure": 1, "calcification": 6, "sphericity": 3},
        **{"margin": 3, "spiculation": 4, "texture": 5, "malignancy": 5},
    }
    uid = "1.3.6.1.4.1.14519.5.2.1.6279.6001.11"
    assert first.outlines == (
        Outline(f"{uid}0", -125.0, True, ((312, 355), (311, 356), (312, 355))),
        Outline(f"{uid}1", -122.5, False, ((315, 350),)),
    )
    assert second.outlines == (Outline("", None, True, ((1, 2), (2, 3))),)


def test_files_about_something_else_are_passed_over(read):
    assert read('<IdriReadMessage xmlns="http://www.nih.gov/idri"/>') is None
    assert read("<note/>") is None


BOMB = (
    '<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">'
    + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]><LidcReadMessage><ResponseHeader><SeriesInstanceUid>&i;</SeriesInstanceUid>"
    "</ResponseHeader></LidcReadMessage>"
)
FOREIGN = (
    '<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/hostname">]><LidcReadMessage><ResponseHeader>'
    "<SeriesInstanceUid>&x;</SeriesInstanceUid></ResponseHeader></LidcReadMessage>"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "damaged or unsafe XML"),
        ("hello", "damaged or unsafe XML"),
        (OFFICIAL[:900], "damaged or unsafe XML"),
        (BOMB, r"damaged or unsafe XML \(DTDForbidden\)"),
        (FOREIGN, r"damaged or unsafe XML \(DTDForbidden\)"),
        (OFFICIAL.replace("SeriesInstanceUid", "Series"), "no ResponseHeader/SeriesInstanceUid"),
        (
            OFFICIAL.replace("<xCoord>311", "<xCoord>311.5"),
            "'Nodule 001' of reading session 1: xCoord is a whole number, not '311.5'",
        ),
        (OFFICIAL.replace("<yCoord>356</yCoord>", ""), "yCoord is a whole number, not ''"),
        (OFFICIAL.replace("<texture>5", "<texture>solid"), "texture is a whole number"),
        (OFFICIAL.replace("FALSE", "no"), "inclusion is TRUE or FALSE, not 'NO'"),
        (OFFICIAL.replace("-125.000000 ", "above"), "imageZposition is a number, not 'above'"),
        (
            OFFICIAL.replace("<edgeMap><xCoord>315</xCoord><yCoord>350</yCoord></edgeMap>", ""),
            "an outline without points",
        ),
    ],
)
def test_damaged_files_are_named_in_one_line(read, tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read(text)
    assert str(caught.value).startswith(str(tmp_path / "069.xml"))
    assert "\n" not in str(caught.value)
