"""What a picture's alpha says. This decodes the whole picture, which web/images.py does not."""

import io
import threading
from dataclasses import dataclass

from PIL import Image

from web.images import BadImage, NotAnImage

_TURNS = threading.Semaphore(2)  # a picture of 50 megapixels takes 250 MB meanwhile


@dataclass(frozen=True)
class Transparency:
    """How much of a picture is there.

    Attributes:
        coverage: share of the pixels that are not wholly transparent.
        opaque: the alpha tells nothing: there is none, or it is the same everywhere.
    """

    coverage: float
    opaque: bool


def transparency(data: bytes, name: str = "image") -> Transparency:
    """What the alpha of a checked picture says.

    Args:
        name: the request field it came in, for the messages.
    Raises:
        NotAnImage: its pixels are damaged.
    """
    try:
        with _TURNS, Image.open(io.BytesIO(data)) as picture:
            if not picture.has_transparency_data:
                return Transparency(1.0, True)
            picture.load()
            alpha = picture if "A" in picture.getbands() else picture.convert("RGBA")
            counts = alpha.getchannel("A").histogram()
    except Exception as error:  # Pillow's readers let IndexError, struct.error, SyntaxError and others through
        raise NotAnImage(f"{name} is damaged: it cannot be decoded; export it again and resend it") from error
    total = sum(counts)
    return Transparency(1 - counts[0] / total, total in counts and not counts[0])


def check_transparency(data: bytes, or_else: str) -> None:
    """Raises BadImage, in words SyncHuman's clients know, where a picture does not tell the object from its ground.

    Args:
        or_else: what lets an opaque picture pass; empty when it passes already.
    """
    found = transparency(data)
    if not found.coverage:
        raise BadImage("image is fully transparent; send a picture that shows something")
    if found.opaque and or_else:
        raise BadImage(
            "Input must include transparency: image is opaque; send a PNG with transparency around the person, "
            f"or {or_else} to have it cut out here"
        )
