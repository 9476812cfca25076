"""How long a finished asset takes to come in another format: when first asked for, and again.

`python -m benchmarks.conversions [--json]`. Every answer is checked: as many triangles as the GLB has, the same bytes
twice.
"""

import argparse
import io
import json
import struct
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import requests
import trimesh

from configs.settings import ROOT
from maquette_client.service import LocalService

WISHES = {
    "stl": "as=stl",
    "ply": "as=ply",
    "usdz": "as=usdz",
    "obj": "as=obj",
    "glb webp": "as=glb&texture=webp",
    "glb draco": "as=glb&compression=draco",
    "glb draco webp": "as=glb&compression=draco&texture=webp",
    "glb meshopt": "as=glb&compression=meshopt",
    "glb meshopt webp": "as=glb&compression=meshopt&texture=webp",
}


def triangles(data: bytes, word: str) -> int:
    """Triangles of a file, by readers of others where they read the format, else by what the file says of itself."""
    if word in ("stl", "ply"):
        return len(trimesh.load_mesh(io.BytesIO(data), file_type=word, process=False).faces)
    if word in ("obj", "usdz"):
        archive = zipfile.ZipFile(io.BytesIO(data))
        text = next(archive.read(name).decode() for name in archive.namelist() if name.endswith((".obj", ".usda")))
        if word == "obj":
            return sum(line.startswith("f ") for line in text.splitlines())
        return text.partition("faceVertexCounts = [")[2].partition("]")[0].count(",") + 1
    (length,) = struct.unpack_from("<I", data, 12)
    told = json.loads(data[20 : 20 + length])
    return int(told["accessors"][told["meshes"][0]["primitives"][0]["indices"]]["count"]) // 3


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """For each format: KiB, milliseconds when first asked for and again; the fastest of several jobs."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(dir=".") as folder, LocalService(Path(folder, "data")) as service:
        client, session = service.client(), requests.Session()
        for seed in range(rounds):
            job = client.wait(client.submit(ROOT / "examples" / "mug.png", seed=seed).id)
            address = service.url + job.files["output.glb"]
            wanted = triangles(session.get(address, timeout=30).content, "glb")
            for name, query in WISHES.items():
                (first, first_ms), (again, again_ms) = (_timed(session, f"{address}?{query}") for _ in range(2))
                assert first == again, f"{name}: two answers differ"
                assert triangles(first, name.split()[0]) == wanted, f"{name}: not {wanted} triangles"
                known = found.get(name, {"first_ms": first_ms, "again_ms": again_ms})
                found[name] = {
                    "kib": round(len(first) / 1024),
                    "first_ms": min(known["first_ms"], first_ms),
                    "again_ms": min(known["again_ms"], again_ms),
                }
    return found


def _timed(session: requests.Session, address: str) -> tuple[bytes, float]:
    began = time.perf_counter()
    answer = session.get(address, timeout=60)
    answer.raise_for_status()
    return answer.content, round((time.perf_counter() - began) * 1000, 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    parser.add_argument("--rounds", type=int, default=3, help="jobs to convert")
    args = parser.parse_args()
    found = measure(args.rounds)
    if args.json:
        print(json.dumps(found))
    else:
        for name, one in found.items():
            print(f"{name:<18} {one['kib']:>6} KiB  first {one['first_ms']:>7.1f} ms  again {one['again_ms']:>6.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
