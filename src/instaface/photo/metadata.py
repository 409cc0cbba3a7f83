"""EXIF and XMP: what a photo says about itself, brought in line with an edit."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

# IPTC Digital Source Type, http://cv.iptc.org/newscodes/digitalsourcetype/ . The vocabulary's
# `algorithmicallyEnhanced` is for what leaves the main content alone (sharpening, denoising); an edit of pose,
# expression or light does not, so one without a generative model is `humanEdits`: alteration by a person with
# non-generative tools.
_VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
HUMAN_EDITS = _VOCABULARY + "humanEdits"
GENERATIVE_EDITS = _VOCABULARY + "compositeWithTrainedAlgorithmicMedia"
_GENERATIVE = {
    _VOCABULARY + name
    for name in (
        "trainedAlgorithmicMedia",
        "compositeWithTrainedAlgorithmicMedia",
        "compositeSynthetic",
        "algorithmicMedia",
    )
}

_ORIENTATION, _IMAGE_WIDTH, _IMAGE_LENGTH = 274, 256, 257
_EXIF_IFD, _PIXEL_X, _PIXEL_Y = 34665, 40962, 40963
_FOCAL, _FOCAL_35MM, _PLANE_X, _PLANE_UNIT = 37386, 41989, 41486, 41488
_DIAGONAL_35MM = math.hypot(36, 24)  # millimetres; what FocalLengthIn35mmFilm refers to
# Tags of a TIFF that describe how its pixels lie in the file, or hold what is written in another place.
_LAYOUT_TAGS = frozenset(
    {*range(254, 260), *range(262, 267), 273, *range(277, 282), 284, *range(290, 294), 301, *range(317, 326), 330}
    | {*range(332, 342), 347, *range(512, 515), *range(529, 533), 700, 33723, 34377, 34675}
)


def upright_exif(image: Image.Image, size: tuple[int, int]) -> bytes | None:
    """The EXIF block of a picture that has been turned upright and is ``size`` = (width, height).

    The orientation is 1, the sizes are those of the pixels, and the thumbnail, which shows the picture before an
    edit, is left out. Everything else stays. None where there is no EXIF or it cannot be understood.
    """
    exif = image.getexif()
    for tag in _LAYOUT_TAGS:
        if tag in exif and tag not in (_IMAGE_WIDTH, _IMAGE_LENGTH):
            del exif[tag]
    details = exif.get_ifd(_EXIF_IFD)
    if not len(exif) and not details:
        return None
    exif[_ORIENTATION] = 1
    for tags, (tag_width, tag_height) in ((exif, (_IMAGE_WIDTH, _IMAGE_LENGTH)), (details, (_PIXEL_X, _PIXEL_Y))):
        if tag_width in tags or tag_height in tags:
            tags[tag_width], tags[tag_height] = size
    try:
        return exif.tobytes()
    except Exception:  # a block that Pillow reads but cannot write is of no use to other programs either
        return None


def focal_in_pixels(image: Image.Image) -> float | None:
    """Focal length in pixels of the picture, from EXIF, or None.

    From the equivalent focal length by the diagonal (43.3 mm for 36 x 24), else from the focal length in
    millimetres and the resolution of the sensor plane. A picture whose sides are not in the ratio that its EXIF
    gives has been cropped: its focal length is not known.
    """
    try:
        tags = image.getexif().get_ifd(_EXIF_IFD)
        return _focal_from_tags(tags, image.width, image.height)
    except (ValueError, TypeError, ZeroDivisionError, KeyError, SyntaxError, OSError):
        return None  # EXIF is written by anything and may hold anything


def _focal_from_tags(tags: dict[int, Any], width: int, height: int) -> float | None:
    short, long = sorted((width, height))
    taken_short, taken_long = sorted((int(tags.get(_PIXEL_X) or width), int(tags.get(_PIXEL_Y) or height)))
    if abs(taken_long * short / (taken_short * long) - 1) > 0.02:
        return None
    if equivalent := float(tags.get(_FOCAL_35MM) or 0):
        focal = equivalent / _DIAGONAL_35MM * math.hypot(width, height)
    else:
        millimetres = {2: 25.4, 3: 10.0, 4: 1.0}[int(tags.get(_PLANE_UNIT, 2))]
        focal = float(tags[_FOCAL]) * float(tags[_PLANE_X]) / millimetres * long / taken_long
    plausible = 0.2 < focal / long < 100
    return focal if plausible else None


def mark_xmp(xmp: bytes | None, source_type: str) -> bytes:
    """An XMP packet that names the IPTC digital source type, everything else in it kept.

    A picture that already says it comes from a generative model goes on saying so. What is out of line after an
    edit (orientation, thumbnails) is taken out. A packet that is not XML is replaced.

    Args:
        xmp: the packet that the picture had, or None.
        source_type: URI of the digital source type.
    """
    text = _parsable(xmp)
    found = re.search(r"DigitalSourceType\b[^>]*?(http://cv\.iptc\.org/[\w/]+)", text)
    if found and found[1] in _GENERATIVE:
        source_type = found[1]
    for pattern in (
        r"\s[\w-]+:DigitalSourceType\s*=\s*(\"[^\"]*\"|'[^']*')",
        r"<([\w-]+:DigitalSourceType)\b[^>]*(/>|>.*?</\1>)",
        r"\stiff:Orientation\s*=\s*(\"[^\"]*\"|'[^']*')",
        r"<(tiff:Orientation)>.*?</\1>",
        r"<([\w-]+:Thumbnails)\b[^>]*(/>|>.*?</\1>)",
        r"\sxmpNote:HasExtendedXMP\s*=\s*(\"[^\"]*\"|'[^']*')",
    ):
        text = re.sub(pattern, "", text, flags=re.DOTALL)
    note = (
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f'Iptc4xmpExt:DigitalSourceType="{source_type}"/>'
    )
    return text.replace("</rdf:RDF>", note + "</rdf:RDF>").encode()


def digital_source_type(xmp: bytes | None) -> str | None:
    """URI of the IPTC digital source type that an XMP packet names, or None."""
    found = re.search(rb"DigitalSourceType\b[^>]*?(http://cv\.iptc\.org/[\w/]+)", xmp or b"")
    return found[1].decode() if found else None


def _parsable(xmp: bytes | None) -> str:
    """The packet as text if it is XML with an ``rdf:RDF`` that is not empty, else an empty packet."""
    text = (xmp or b"").rstrip(b"\x00 \n").decode("utf-8", "replace")
    try:
        ElementTree.fromstring(text)
        if "</rdf:RDF>" in text:
            return text
    except (ElementTree.ParseError, ValueError):
        pass
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )
