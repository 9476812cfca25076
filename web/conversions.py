"""`?as=`: a job's files in other formats, made when first asked for and kept beside the job."""

import contextlib
import hashlib
import io
import re
import shutil
import tempfile
import threading
import unicodedata
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from geometry.errors import UnreadableMesh
from geometry.export import EXPORTERS
from geometry.export.archive import entry
from geometry.export.glb import write_glb
from geometry.export.pictures import recode
from geometry.export.stl import LONGEST_SIDE_MM, write_stl
from geometry.mesh import Material, Mesh
from geometry.readers import READERS
from storage import Storage, StoredObject, keys
from storage.errors import ObjectNotFound, space
from web.errors import BadRequest, ConversionBusy
from web.validation import check

LARGEST_SOURCE_MB = 128
PATIENCE_S = 30.0
# One at a time in this process, and not all of its threads may be kept by those who wait for their turn.
_TURN = threading.Semaphore(1)
_WAITING_ROOM = threading.BoundedSemaphore(4)


class Options(BaseModel):
    """What a query may say beside `as`."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class GlbOptions(Options):
    compression: Literal["none", "draco", "meshopt"] = Field(default="none", description="how the geometry is stored")
    texture: Literal["keep", "webp", "jpeg", "png"] = Field(default="keep", description="which format the textures get")


class StlOptions(Options):
    size_mm: float = Field(default=LONGEST_SIDE_MM, ge=0.01, le=100_000, description="longest side, in millimetres")


def _write_glb(mesh: Mesh, material: Material, options: Any) -> bytes:
    if options.texture != "keep":
        material = recode(material, options.texture)
    return write_glb(mesh, material, options.compression)


def _write_stl(mesh: Mesh, material: Material, options: Any) -> bytes:
    return write_stl(mesh, material, options.size_mm)


@dataclass(frozen=True)
class Target:
    """A format one can ask for.

    Attributes:
        ending: how the name of the file ends that the client gets.
        write: None for the archive of all files, which needs no mesh.
    """

    ending: str
    write: Callable[[Mesh, Material, Any], bytes] | None
    options: type[Options] = Options


TARGETS: dict[str, Target] = {
    "glb": Target(".glb", _write_glb, GlbOptions),
    "stl": Target(".stl", _write_stl, StlOptions),
    "obj": Target("_obj.zip", lambda mesh, material, _: EXPORTERS["obj"](mesh, material)),
    "ply": Target(".ply", lambda mesh, material, _: EXPORTERS["ply"](mesh, material)),
    "usdz": Target(".usdz", lambda mesh, material, _: EXPORTERS["usdz"](mesh, material)),
    "zip": Target(".zip", None),
}
OPTIONS = {name: word for word, target in TARGETS.items() for name in target.options.model_fields}


@dataclass(frozen=True)
class Wish:
    """What a query asks for, checked."""

    word: str
    options: Options

    @property
    def target(self) -> Target:
        return TARGETS[self.word]

    @property
    def label(self) -> str:
        """Tells results of one source apart."""
        return "-".join(f"{value:g}" if isinstance(value, float) else value for _, value in self.options)

    @property
    def usual(self) -> bool:
        """Whether it is one of few: where any number may be given, only the default's result is kept."""
        return not isinstance(self.options, StlOptions) or self.options == StlOptions()


def wish(query: Mapping[str, str]) -> Wish | None:
    """What the query of an address asks for; None for the file as it is.

    Raises:
        BadRequest: a value cannot work, or an option does not go with the format.
    """
    given = sorted(OPTIONS.keys() & query.keys())
    if "as" not in query:
        if given:
            raise BadRequest(f"{given[0]} says how to convert, but not to what; add as={OPTIONS[given[0]]}")
        return None
    word = query["as"].lower()
    if word not in TARGETS:
        raise BadRequest(f"as is {query['as'][:80]!r}; use one of {', '.join(TARGETS)}")
    options = TARGETS[word].options
    for name in given:
        if name not in options.model_fields:
            raise BadRequest(f"{name} does not go with as={word}; it goes with as={OPTIONS[name]}")
    return Wish(word, check(options, query))


def convert(storage: Storage, owner: str, job_id: str, filename: str, key: str, asked: Wish) -> StoredObject:
    """The file as the wish has it.

    Args:
        filename: the file's name below the job's folder.
        key: where it rests.
    Raises:
        ObjectNotFound: there is no such file.
        UnreadableMesh: it holds no mesh that can be carried over.
        MissingLibrary, ConversionBusy, StorageFull: not now.
    """
    source = storage.open(key)
    with source.stream:
        if asked.word == "zip":
            return archive(storage, owner, job_id)
        suffix = filename.rpartition(".")[2].lower()
        if suffix not in READERS:
            raise UnreadableMesh(f"{filename[:200]!r} is no mesh; as={asked.word} works on .glb and .ply files")
        if suffix == asked.word and asked.options == asked.target.options():
            return storage.open(key)
        if source.size > LARGEST_SOURCE_MB * 2**20:
            size = source.size / 2**20
            raise UnreadableMesh(f"{filename[:200]!r} has {size:.0f} MiB; at most {LARGEST_SOURCE_MB} are converted")
        made = f"converted/{filename}/{asked.label or 'plain'}{asked.target.ending}"
        return _kept_or_made(
            storage, owner, job_id, made, source, lambda: _converted(source, suffix, asked), asked.usual
        )


def _kept_or_made(
    storage: Storage, owner: str, job_id: str, made: str, source: StoredObject, make: Callable[[], bytes], keep: bool
) -> StoredObject:
    key, manifest = keys.extras_key(owner, job_id, made), keys.output_key(owner, job_id, keys.MANIFEST)

    def told(found: StoredObject) -> StoredObject:
        # The same for every process, and for a result that was thrown away and made again.
        return replace(found, modified=source.modified, etag=f"{source.etag}-{_digest(made)}")

    with contextlib.suppress(ObjectNotFound):
        return told(storage.open(key))
    with _turn():
        with contextlib.suppress(ObjectNotFound):
            return told(storage.open(key))
        data = make()
        if keep and storage.exists(manifest):  # the source of a job that still runs may be replaced
            storage.put(key, data)
            if not storage.exists(manifest):
                # Deleted meanwhile; whoever did it cannot know of this.
                storage.delete(keys.extras_folder(owner, job_id))
                raise ObjectNotFound(f"request {job_id[:64]!r} has just been removed")
    return told(StoredObject(io.BytesIO(data), len(data), source.modified, ""))


def _converted(source: StoredObject, suffix: str, asked: Wish) -> bytes:
    assert asked.target.write is not None
    return asked.target.write(*READERS[suffix](source.stream.read()), asked.options)


def archive(
    storage: Storage, owner: str, job_id: str, wanted: Callable[[str], bool] = lambda name: True
) -> StoredObject:
    """A ZIP file of everything a job has published, stored as it is; the same files give the same bytes.

    Args:
        wanted: which of the names are to be packed.
    Raises:
        ObjectNotFound: the job has published nothing.
    """
    names = [name for name in storage.names(keys.output_folder(owner, job_id)) if wanted(name)]
    if not names:
        raise ObjectNotFound(f"request {job_id[:64]!r} has no files; it may not have ended yet")
    with _turn(), space():
        scratch = storage.scratch()
        try:
            stream = tempfile.TemporaryFile(dir=scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)  # the open file stays until it is closed
        try:
            tags, modified = [], 0.0
            with zipfile.ZipFile(stream, "w") as packed:
                for name in names:
                    found = storage.open(keys.output_key(owner, job_id, name))
                    info = entry(name)
                    info.file_size = found.size
                    with found.stream, packed.open(info, "w") as file:
                        shutil.copyfileobj(found.stream, file, 2**20)
                    tags.append(f"{name} {found.etag}")
                    modified = max(modified, found.modified)
            size = stream.tell()
            stream.seek(0)
            return StoredObject(stream, size, modified, _digest("\n".join(tags)))
        except BaseException:
            stream.close()
            raise


def attachment(name: str, ending: str) -> str:
    """The Content-Disposition of a file to be saved under this name, in ASCII and in full."""
    stem = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]+', "_", name).strip(" ._")[:80]
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().strip(" ._") or "model"
    full = f"; filename*=UTF-8''{quote(stem + ending)}" if stem and plain != stem else ""
    return f'attachment; filename="{plain}{ending}"{full}'


@contextlib.contextmanager
def _turn() -> Iterator[None]:
    """Waits until nobody else in this process converts.

    Raises:
        ConversionBusy: it takes too long, or too many wait already.
    """
    if not _TURN.acquire(blocking=False):
        if not _WAITING_ROOM.acquire(blocking=False):
            raise ConversionBusy("too many conversions wait already; try again in a few seconds")
        try:
            if not _TURN.acquire(timeout=PATIENCE_S):
                raise ConversionBusy("other conversions take long; try again in a few seconds")
        finally:
            _WAITING_ROOM.release()
    try:
        yield
    finally:
        _TURN.release()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
