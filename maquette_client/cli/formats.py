"""`--as stl,obj,glb+draco`: the formats a job's asset is asked for in besides its own."""

from typing import NamedTuple

FORMATS = ("stl", "obj", "ply", "usdz", "glb", "zip")
_OPTIONS = {
    "draco": ("compression", "draco"),
    "meshopt": ("compression", "meshopt"),
    "webp": ("texture", "webp"),
    "jpeg": ("texture", "jpeg"),
    "png": ("texture", "png"),
}


class Format(NamedTuple):
    """One conversion: the service's name for it, its options, and the name of the file it makes."""

    to: str
    options: dict[str, str]
    filename: str


def formats(text: str) -> list[Format]:
    """The conversions named, for argparse.

    Raises:
        ValueError: one is unknown.
    """
    return [_format(part.strip().lower()) for part in text.split(",") if part.strip()]


def _format(text: str) -> Format:
    to, *names = text.split("+")
    if to not in FORMATS or any(name not in _OPTIONS for name in names) or (names and to != "glb"):
        raise ValueError(f"{text!r}; use {', '.join(FORMATS)}, and glb+ any of {', '.join(_OPTIONS)}")
    if to == "glb" and not names:
        raise ValueError("'glb'; that is what there is already. Say what should be different: glb+draco, glb+webp, …")
    options = dict(_OPTIONS[name] for name in names)
    if len(options) != len(names):
        raise ValueError(f"{text!r}; one compression and one texture format at most")
    if to == "obj":  # with its material and textures
        return Format(to, options, "output_obj.zip")
    return Format(to, options, ".".join(["output", *names, to]))
