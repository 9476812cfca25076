"""A dense, noisy, coloured mesh made small and textured: our chain beside the usual recipe's own CPU parts.

`python -m benchmarks.mesh [--json] [--faces N] [--noise A] [--seed S] [--mode fast|pbr|best] [--rounds R]`

Ours: simplify, repair, remove hidden parts, unwrap, bake the texture, write the GLB. Theirs: VTK's quadric decimation,
MeshFix's hole filling, xatlas' parametrisation; their baking and writing are left out. Numba compiles on a small mesh
before any clock runs, and the fastest of a few rounds counts. Distances are measured alike for both, both ways, between
surface samples (and all dense vertices) and the exact nearest place of the other surface. Exit status 1: the GLB is not
closed, or its texture is off.

`speedup` is their seconds over ours; `mean_error_ratio` and `hausdorff_ratio` are ours over theirs.
"""

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import pymeshfix
import pyvista
import xatlas

from benchmarks.knot import knot
from geometry import bvh
from geometry.export.glb import write_glb
from geometry.export.pictures import pixels
from geometry.finish import Finished, FinishMode, finish
from geometry.inspect import inspect_glb
from geometry.mesh import Floats, Ints, Mesh, face_normals
from geometry.sample import sample

TARGET = 30_000
TEXTURE = 1024
SAMPLES = 400_000  # of each surface
LEAST_PSNR = 30.0
HOLE_EDGES = 55  # int(250 * sqrt(0.05)), what the recipe fills at this ratio
Result = TypeVar("Result")


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began


def recipe(dense: Mesh) -> tuple[Floats, Ints, dict[str, float]]:
    """The mesh that the usual recipe's decimation and hole filling give, and the seconds of each part."""
    share = 1 - TARGET / len(dense.faces)
    surface = pyvista.PolyData.from_regular_faces(dense.vertices, dense.faces)
    small, decimate = timed(lambda: surface.decimate(share))
    vertices, faces = np.asarray(small.points, np.float64), np.asarray(small.regular_faces, np.int32)

    def filled() -> tuple[Floats, Ints]:
        mender = pymeshfix.PyTMesh()
        mender.set_quiet(True)
        mender.load_array(vertices, faces)
        mender.fill_small_boundaries(nbe=HOLE_EDGES, refine=True)
        return mender.return_arrays()

    with silenced():
        (vertices, faces), repair = timed(filled)
    vertices, faces = vertices.astype(np.float32), faces.astype(np.uint32)
    _, unwrap = timed(lambda: xatlas.parametrize(vertices, faces))
    return vertices, faces.astype(np.int32), {"decimate": decimate, "repair": repair, "unwrap": unwrap}


def ours(dense: Mesh, mode: FinishMode) -> tuple[Finished, bytes, dict[str, float]]:
    """What our chain makes, its GLB, and the seconds of each part; "rest" is what lies between the parts."""
    finished, whole = timed(lambda: finish(dense, target=TARGET, texture_size=TEXTURE, mode=mode))
    data, writing = timed(lambda: write_glb(finished.mesh, finished.material))
    rest = whole - sum(finished.timings.values())
    return finished, data, {**finished.timings, "write": writing, "rest": rest}


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """MeshFix prints its progress past Python, where only JSON should go."""
    sys.stdout.flush()
    kept = os.dup(1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def surface_points(vertices: Floats, faces: Ints, seed: int) -> Floats:
    """(SAMPLES, 3) points evenly spread over a surface."""
    random = np.random.default_rng(seed)
    total = np.cumsum(np.sqrt((face_normals(vertices, faces) ** 2).sum(axis=1)))
    face = np.minimum(np.searchsorted(total, random.random(SAMPLES) * total[-1]), len(faces) - 1)
    root, along = np.sqrt(random.random((SAMPLES, 1))), random.random((SAMPLES, 1))
    a, b, c = (vertices[faces[face, k]] for k in range(3))
    points = (a * (1 - root) + b * root * (1 - along) + c * root * along).astype(np.float32)
    return points[np.argsort(bvh.morton(points))]


class Distances:
    """Mean and greatest distance of any surface from one dense one, and the other way."""

    def __init__(self, dense: Mesh) -> None:
        self.tree = bvh.build(dense.vertices, dense.faces)
        spread = surface_points(dense.vertices, dense.faces, 0)
        self.points = np.concatenate([spread, dense.vertices[np.argsort(bvh.morton(dense.vertices))]])

    def of(self, vertices: Floats, faces: Ints) -> tuple[float, float]:
        there = bvh.nearest(bvh.build(vertices, faces), self.points).distance
        back = bvh.nearest(self.tree, surface_points(vertices, faces, 1)).distance
        return float(there.mean() + back.mean()) / 2, float(max(there.max(), back.max()))


def psnr(dense: Mesh, finished: Finished) -> float:
    """Decibels between the dense mesh's colours and the encoded texture where the result is nearest to each vertex."""
    mesh, picture = finished.mesh, finished.material.base_colour
    assert mesh.uv is not None and picture is not None and dense.colours is not None
    order = np.argsort(bvh.morton(dense.vertices))
    hit = bvh.nearest(bvh.build(mesh.vertices, mesh.faces), dense.vertices[order])
    share = np.column_stack([hit.bary, 1 - hit.bary.sum(axis=1)])
    uv = (mesh.uv[mesh.faces[hit.face]] * share[..., None]).sum(axis=1)
    image = pixels(picture)
    seen = sample(image.astype(np.float32), uv[:, 0] * image.shape[1] - 0.5, (1 - uv[:, 1]) * image.shape[0] - 0.5)
    return float(10 * np.log10(255**2 / ((seen - dense.colours[order].astype(np.float32)) ** 2).mean()))


def compare(faces: int, noise: float, seed: int, mode: FinishMode, rounds: int) -> dict[str, object]:
    """All figures; times are of the fastest of `rounds` runs, ours and theirs taking turns."""
    small = knot(30_000, noise, seed)
    ours(small, mode)
    dense = knot(faces, noise, seed)
    chain, parts = {"": np.inf}, {"": np.inf}
    for _ in range(rounds):
        finished, data, seconds = ours(dense, mode)
        chain = min(chain, seconds, key=lambda steps: sum(steps.values()))
        their_vertices, their_faces, seconds = recipe(dense)
        parts = min(parts, seconds, key=lambda steps: sum(steps.values()))
    took, theirs = sum(chain.values()), sum(parts.values())
    distances = Distances(dense)
    mean, greatest = distances.of(finished.whole.vertices, finished.whole.faces)
    their_mean, their_greatest = distances.of(their_vertices, their_faces)
    report = inspect_glb(data)
    return {
        "speedup": round(theirs / took, 2),
        "mean_error_ratio": round(mean / their_mean, 4),
        "hausdorff_ratio": round(greatest / their_greatest, 4),
        "psnr_db": round(psnr(dense, finished), 2),
        "watertight": report.watertight and report.sound,
        "seconds": round(took, 3),
        "reference_seconds": round(theirs, 3),
        "steps": {name: round(seconds, 3) for name, seconds in chain.items()},
        "reference_steps": {name: round(seconds, 3) for name, seconds in parts.items()},
        "mean_error": mean,
        "hausdorff": greatest,
        "input_triangles": len(dense.faces),
        "triangles": report.triangles,
        "reference_triangles": len(their_faces),
        "glb_kib": round(len(data) / 1024),
        "mode": mode,
        "noise": noise,
        "seed": seed,
        "problems": report.problems,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    parser.add_argument("--faces", type=int, default=600_000, help="of the dense mesh, about")
    parser.add_argument("--noise", type=float, default=0.1, help="of its vertices, in cells")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mode", choices=["fast", "pbr", "best"], default="fast")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each; the fastest counts")
    args = parser.parse_args()
    found = compare(args.faces, args.noise, args.seed, args.mode, args.rounds)
    if args.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:<18} {value}")
    return 0 if found["watertight"] and found["psnr_db"] >= LEAST_PSNR else 1  # type: ignore[operator]


if __name__ == "__main__":
    sys.exit(main())
