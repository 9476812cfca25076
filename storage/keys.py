"""The one place that spells out keys: `inputs/<job>/…`, `outputs/<client>/<job>/<file>`, and beside those
`extras/<client>/<job>/<file>` for what was made of a job outside its one publication: previews, conversions, and in
`kept/` the results that its next attempt can go on from."""

from storage.errors import BadKey

MANIFEST = "manifest.json"
PREVIEW = "preview.glb"
STRUCTURE = "stage1_output/latent.npz"
_LONGEST_PART = 255  # bytes; what file systems take
_LONGEST_KEY = 1024


def input_folder(job_id: str) -> str:
    return f"inputs/{job_id}"


def input_key(job_id: str, index: int, suffix: str) -> str:
    return f"{input_folder(job_id)}/{index:02d}{suffix}"


def output_folder(client: str, job_id: str) -> str:
    return f"outputs/{client}/{job_id}"


def output_key(client: str, job_id: str, filename: str) -> str:
    return f"{output_folder(client, job_id)}/{filename}"


def extras_folder(client: str, job_id: str) -> str:
    return f"extras/{client}/{job_id}"


def extras_key(client: str, job_id: str, filename: str) -> str:
    return f"{extras_folder(client, job_id)}/{filename}"


def kept_folder(client: str, job_id: str) -> str:
    return f"{extras_folder(client, job_id)}/kept"


def kept_key(client: str, job_id: str, name: str) -> str:
    return f"{kept_folder(client, job_id)}/{name}"


def checked(key: str) -> str:
    """The key itself, when it is a plain relative path.

    Raises:
        BadKey: it is absolute, climbs, is too long, or has an empty, hidden or unprintable part.
    """
    parts = key.split("/")
    if len(key) > _LONGEST_KEY or any(len(part.encode(errors="replace")) > _LONGEST_PART for part in parts):
        raise BadKey(f"a key of {len(key)} characters is too long; use at most {_LONGEST_KEY}, {_LONGEST_PART} a part")
    if any(not part or part.startswith(".") or "\\" in part or not part.isprintable() for part in parts):
        raise BadKey(f"{key!r} is not a key; use printable names joined by single slashes")
    return key
