"""Which files are photographs: the formats that are opened, their file names' endings, and why others are left out.

The only place that says so: readers of catalogues and whoever opens a photograph ask here. Formats that are no
photographs (PostScript, vector graphics, icons, …) are not opened although Pillow could: their decoders run programs or
have no business with strangers' files.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

#: Pillow's name of each format that is opened -> endings of its files, lower case.
_ENDINGS = {
    "JPEG": ".jpg .jpeg .jpe .jfif .mpo",  # Pillow opens a Multi-Picture file as a JPEG, and its first picture counts
    "PNG": ".png",
    "TIFF": ".tif .tiff",
    "BMP": ".bmp .dib",
    "GIF": ".gif",
    "WEBP": ".webp",
    "AVIF": ".avif .avifs",
    "JPEG2000": ".jp2 .j2k .jpx",
    "PPM": ".ppm .pgm .pbm .pnm",
    "HEIF": ".heic .heif .hif",
}
_FORMAT_OF = {ending: name for name, endings in _ENDINGS.items() for ending in endings.split()}
_RAW = ".3fr .arw .cr2 .cr3 .crw .dng .erf .iiq .mef .mos .mrw .nef .nrw .orf .pef .raf .rw2 .sr2 .srw"
_RAW_ENDINGS = frozenset(_RAW.split())
_OTHER_ENDINGS = frozenset((".jxl", ".jxr", ".psd", ".psb", ".xcf", ".tga"))


@cache
def pillow_formats() -> tuple[str, ...]:
    """Return the formats that may be opened here, as ``PIL.Image.open(..., formats=...)`` takes them.

    HEIF is among them where the package pillow-heif is installed (``pip install 'scarmatch[heic]'``), AVIF where this
    build of Pillow reads it.
    """
    from PIL import Image

    try:
        import pillow_heif
    except ImportError:
        pass
    else:
        pillow_heif.register_heif_opener()
    Image.init()
    return tuple(name for name in _ENDINGS if name in Image.OPEN)


def is_photo(path: Path) -> bool:
    """Return whether a file's name ends like a photograph's that can be read here.

    Hidden files such as ``._x.jpg`` are none. The name alone decides; whether the bytes hold what it says is found out
    when the photograph is opened.
    """
    return not path.name.startswith(".") and _FORMAT_OF.get(path.suffix.lower()) in pillow_formats()


def looks_like_photo(path: Path) -> bool:
    """Return whether a file's name ends like any photograph's, readable here or not."""
    ending = path.suffix.lower()
    return not path.name.startswith(".") and (
        ending in _FORMAT_OF or ending in _RAW_ENDINGS or ending in _OTHER_ENDINGS
    )


def why_left_out(path: Path) -> str | None:
    """Return why a file that looks like a photograph cannot be read here, and the way out (None if it can be)."""
    ending = path.suffix.lower()
    if is_photo(path) or not looks_like_photo(path):
        return None
    if _FORMAT_OF.get(ending) == "HEIF":
        return f"{ending} needs the package pillow-heif: pip install 'scarmatch[heic]', or save it as JPEG"
    if ending in _RAW_ENDINGS:
        return f"{ending} is a camera's raw format: export it as JPEG or TIFF"
    return f"{ending} cannot be read here: save it as JPEG, PNG or TIFF"
