"""One small call of each library, with a result that is known: `python -m doctor.probes NAME` makes it.

A probe returns what it wants said, raises where the library does not work, and raises NotHere where the machine lacks
what the library is for.
"""

import json
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple


class NotHere(Exception):
    """The library may well work, and this machine cannot show it."""


class Probe(NamedTuple):
    """A library and the call that shows that it works."""

    module: str
    purpose: str
    run: Callable[[], str]
    remedy: str
    required: bool = False


def _expect(found: Any, wanted: Any) -> None:
    if found != wanted:
        raise RuntimeError(f"it computes {found!r} where {wanted!r} is right")


def _cuda() -> Any:
    import torch

    if not torch.cuda.is_available():
        raise NotHere("needs a CUDA device, and torch sees none; not checked")
    return torch


def torch_computes() -> str:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    ones = torch.ones(64, 64, device=device)
    _expect(float((ones @ ones).sum()), 64.0**3)
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU"
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    where = f"computes on cuda ({', '.join(names)})" if names else "computes on the CPU"
    return f"{torch.__version__}, built for {built}, {where}"


def opencv() -> str:
    import cv2
    import numpy as np

    small = cv2.resize(np.full((8, 8, 3), 200, np.uint8), (4, 4), interpolation=cv2.INTER_AREA)
    _expect((small.shape, int(small.min()), int(small.max())), ((4, 4, 3), 200, 200))
    return f"{cv2.__version__} resizes"


def numba_compiles() -> str:
    import numba

    @numba.njit
    def total(count: int) -> int:
        found = 0
        for number in range(count):
            found += number
        return found

    _expect(total(5), 10)
    return f"{numba.__version__} compiles"


def simplification() -> str:
    import fast_simplification
    import trimesh

    ball = trimesh.creation.icosphere(3)
    _, faces = fast_simplification.simplify(ball.vertices, ball.faces, target_reduction=0.5)
    if not 0 < len(faces) <= len(ball.faces) * 0.6:
        raise RuntimeError(f"{len(ball.faces)} faces halved are {len(faces)}")
    return "halves a mesh"


def embreex() -> str:
    import numpy as np
    import trimesh
    from trimesh.ray.ray_pyembree import RayMeshIntersector

    caster: Any = RayMeshIntersector(trimesh.creation.box())
    hits = caster.intersects_any(np.array([[0, 0, 5.0], [5, 5, 5.0]]), [[0, 0, -1]] * 2)
    _expect(hits.tolist(), [True, False])
    return "casts rays"


def draco() -> str:
    import DracoPy
    import numpy as np

    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    found = DracoPy.decode(DracoPy.encode(points, faces=np.array([[0, 1, 2]], np.uint32)))
    _expect(np.asarray(found.faces).shape, (1, 3))
    return "packs and unpacks a triangle"


def open3d_works() -> str:
    import open3d

    _expect(open3d.geometry.TriangleMesh.create_box().is_watertight(), True)
    return f"{open3d.__version__} makes a closed box"


def torchvision_ops() -> str:
    import torch
    from torchvision.ops import nms

    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2]])
    _expect(nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist(), [0])
    return "its operators are there"


def xformers_attention() -> str:
    torch = _cuda()
    from xformers.ops import memory_efficient_attention

    return _as_torch(torch, memory_efficient_attention)


def flash_attention() -> str:
    torch = _cuda()
    from flash_attn import flash_attn_func

    return _as_torch(torch, flash_attn_func)


def _as_torch(torch: Any, attention: Any) -> str:
    """Attention over (B, L, H, D), beside torch's own over (B, H, L, D)."""
    query, key, value = torch.randn(3, 1, 32, 4, 64, device="cuda", dtype=torch.float16)
    plain = torch.nn.functional.scaled_dot_product_attention(*(part.transpose(1, 2) for part in (query, key, value)))
    apart = (attention(query, key, value) - plain.transpose(1, 2)).abs().max().item()
    if apart > 1e-2:
        raise RuntimeError(f"its attention differs from torch's by {apart:.3g}")
    return "its attention agrees with torch's"


def spconv_convolves() -> str:
    torch = _cuda()  # its CPU kernels give wrong numbers with more than one thread
    import spconv.pytorch as spconv

    where = torch.tensor([[0, 1, 1, 1], [0, 1, 1, 2]], dtype=torch.int32, device="cuda")
    layer = spconv.SubMConv3d(1, 1, 3, bias=False).cuda()
    torch.nn.init.ones_(layer.weight)
    grid = spconv.SparseConvTensor(torch.ones(2, 1, device="cuda"), where, [4, 4, 4], 1)
    _expect(layer(grid).features.flatten().tolist(), [2.0, 2.0])
    return "convolves two neighbours"


def kaolin_works() -> str:
    import kaolin
    import torch

    corners = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    area = kaolin.ops.mesh.face_areas(corners, torch.tensor([[0, 1, 2]]))
    _expect(float(area), 0.5)
    return "measures a triangle"


def nvdiffrast_draws() -> str:
    torch = _cuda()
    import nvdiffrast.torch as dr

    corners = torch.tensor([[[-1.0, -1, 0, 1], [3, -1, 0, 1], [-1, 3, 0, 1]]], device="cuda")
    faces = torch.tensor([[0, 1, 2]], dtype=torch.int32, device="cuda")
    drawn, _ = dr.rasterize(dr.RasterizeCudaContext(), corners, faces, resolution=[16, 16])
    _expect(int((drawn[..., 3] > 0).sum()), 256)
    return "draws a triangle over a whole picture"


_GPU = "./setup.sh --gpu"
PROBES: dict[str, Probe] = {
    "torch": Probe("torch", "models run on it", torch_computes, "./setup.sh", required=True),
    "opencv": Probe("cv2", "pictures are cut out and scaled with it", opencv, "./setup.sh", required=True),
    "numba": Probe("numba", "compiles the geometry's kernels", numba_compiles, "./setup.sh", required=True),
    "fast-simplification": Probe(
        "fast_simplification", "thins out meshes", simplification, "./setup.sh", required=True
    ),
    "embreex": Probe("embreex", "casts rays on the CPU; only tests use it", embreex, "pip install embreex"),
    "draco": Probe("DracoPy", "?as=glb&compression=draco", draco, "./setup.sh"),
    "open3d": Probe(
        "open3d", "nothing here needs it yet", open3d_works, "pip install open3d-cpu, apt install libusb-1.0-0"
    ),
    "torchvision": Probe("torchvision", "some learned models use it", torchvision_ops, _GPU),
    "xformers": Probe("xformers", "faster attention on NVIDIA cards", xformers_attention, _GPU),
    "flash-attn": Probe("flash_attn", "faster attention on NVIDIA cards", flash_attention, "pip install flash-attn"),
    "spconv": Probe("spconv", "faster sparse convolution on NVIDIA cards", spconv_convolves, _GPU),
    "kaolin": Probe(
        "kaolin", "mesh operations of some models", kaolin_works, "NVIDIA's wheels; the one on PyPI is a placeholder"
    ),
    "nvdiffrast": Probe(
        "nvdiffrast", "draws meshes on NVIDIA cards", nvdiffrast_draws, "build it from NVIDIA's source"
    ),
}


def main(name: str) -> None:
    """Makes one call and prints a line of JSON about it."""
    try:
        told = {"level": "ok", "said": PROBES[name].run()}
    except NotHere as error:
        told = {"level": "note", "said": str(error)}
    except Exception as error:
        told = {"level": "broken", "said": f"{type(error).__name__}: {error}".strip()}
    try:
        told["version"] = version(name)
    except PackageNotFoundError:
        pass  # some are known to pip by another name
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
