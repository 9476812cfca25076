"""Every example of the documents of SyncHuman's two servers; only addresses, paths and pictures are put in.

`EXAMPLES` runs against any service, whichever pipeline answers: a `Desk` says what may be expected of it.
"""

import functools
import http.server
import io
import json
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from PIL import Image

from geometry.inspect import inspect_glb

FILES1 = {f"{kind}_{number}": f"{kind}_{number}.png" for kind in ("color", "normal") for number in range(5)}
FILES1 |= {"input": "input.png", "latent": "latent.npz"}
MORE1 = {"concat": "concat.png", "voxel": "voxel.ply"}  # which SyncHuman itself writes, and no document shows
FILES2 = {"output.glb": "output.glb", "output_mesh.ply": "output_mesh.ply"}
OFFICIAL1 = {
    "seed": 43,
    "guidance_scale": 3.0,
    "num_inference_steps": 50,
    "mv_img_wh": [768, 768],
    "num_views": 5,
    "background_color": "white",
}
OFFICIAL2 = {
    "num_steps": 25,
    "cfg_strength": 5.0,
    "cfg_interval": [0.5, 1.0],
    "texture_size": 1024,
    "simplify": 0.7,
    "up_size": 896,
}


@dataclass(frozen=True)
class Desk:
    """Where somebody sits who works through the documents.

    Attributes:
        url: of the service.
        folder: holds image.png, which has transparency, and is written to.
        images: the address under which the folder is served.
        pipeline: which one will answer.
        view_side: pixels of its views.
    """

    url: str
    folder: Path
    images: str
    pipeline: str
    view_side: int = 768

    @property
    def files1(self) -> dict[str, str]:
        """The first stage's files."""
        return FILES1 | MORE1 if self.pipeline == "synchuman" else FILES1

    def curl(self, *words: str) -> str:
        """What curl prints, called in the folder."""
        command = ["curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "300", *words]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def generate(self, *fields: str) -> dict[str, Any]:
        """The answer to `curl -X POST …/generate` with these fields."""
        told: dict[str, Any] = json.loads(self.curl("-X", "POST", f"{self.url}/generate", *_forms(fields)))
        return told

    def packed(self, *fields: str) -> set[str]:
        """The names in the ZIP that `curl … --output results.zip` brings; all of them can be unpacked."""
        self.curl("-X", "POST", f"{self.url}/generate", *_forms(fields), "--output", "results.zip")
        return unzipped((self.folder / "results.zip").read_bytes())

    def file(self, told: dict[str, Any], stage: str, name: str) -> bytes:
        answer = requests.get(f"{self.url}/outputs/{told[stage]['output_dir']}/{name}", timeout=60)
        assert answer.status_code == 200
        return answer.content


def _forms(fields: tuple[str, ...]) -> list[str]:
    return [word for field in fields for word in ("-F", field)]


def unzipped(data: bytes) -> set[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        assert packed.testzip() is None
        return set(packed.namelist())


def check_stage1(desk: Desk, told: dict[str, Any], steps: int = 50) -> None:
    """The answer has what the documents show of the first stage, and the files are there."""
    stage = told["stage1"]
    assert told["status"] == stage["status"] == "completed" and told["pipeline"] == desk.pipeline
    assert 0 < told["alpha_coverage"] < 1 and stage["files"] == desk.files1
    assert stage["output_dir"].endswith(f"{told['job_id']}/stage1_output")
    for name in ("color_0.png", "normal_4.png", "input.png"):
        with Image.open(io.BytesIO(desk.file(told, "stage1", name))) as picture:
            assert picture.size == (desk.view_side, desk.view_side)
    if desk.pipeline == "synchuman":
        assert stage["steps"] == steps and stage["parameters"] == OFFICIAL1 | {"num_inference_steps": steps}
    else:
        assert stage["steps"] == 0 and "no learned model was used" in told["approach"] + told["warnings"][0]


def check_stage2(desk: Desk, told: dict[str, Any]) -> None:
    """The same of the second."""
    stage = told["stage2"]
    assert stage["status"] == "completed" and stage["files"] == FILES2
    assert stage["output_dir"].endswith(f"{told['job_id']}/stage2_output")
    assert inspect_glb(desk.file(told, "stage2", "output.glb")).sound
    assert desk.file(told, "stage2", "output_mesh.ply").startswith(b"ply\n")
    if desk.pipeline == "synchuman":
        assert stage["parameters"] == OFFICIAL2


def check_archive(desk: Desk, names: set[str], *stages: str) -> None:
    """The ZIP has the files of these stages and the manifest."""
    wanted = {"stage1": desk.files1, "stage2": FILES2}
    for stage, files in wanted.items():
        found = {name.partition("/")[2] for name in names if name.startswith(f"{stage}_output/")}
        assert found == (set(files.values()) if stage in stages else set()), stage
    assert {name for name in names if "/" not in name} == {"manifest.json"}, "no file comes twice"


# --- the complete server ---


def listing(desk: Desk) -> None:
    told = json.loads(desk.curl(f"{desk.url}/"))
    assert told["title"] == "SyncHuman Complete API"
    assert {"GET /health", "GET /info", "POST /generate"} <= set(told["endpoints"])


def health(desk: Desk) -> None:
    told = json.loads(desk.curl(f"{desk.url}/health"))
    can = desk.pipeline == "synchuman"
    assert told["status"] == "ok" and told["service"] and told["version"] and told["approach"]
    assert told["stage1"] is told["stage2"] is can


def info(desk: Desk) -> None:
    told = json.loads(desk.curl(f"{desk.url}/info"))
    assert told["api_version"] and {"available", "device", "memory_mb"} <= set(told["gpu_info"])
    for stage in ("stage1", "stage2"):
        entry = told["stages"][stage]
        assert entry["available"] is (desk.pipeline == "synchuman")
        assert entry["available"] or entry["remedy"] == "python -m pipelines.weights get synchuman"
        assert entry["description"] and entry["time_estimate"] and entry["requires_kaolin"] is False and entry["note"]
    assert told["configuration"] == {"stage1": OFFICIAL1, "stage2": OFFICIAL2}


def first_stage(desk: Desk) -> None:
    told = desk.generate("image=@image.png", "stage=stage1", "stage1_steps=50")
    check_stage1(desk, told)
    assert "stage2" not in told


def first_stage_in_python(desk: Desk) -> None:
    with open(desk.folder / "image.png", "rb") as f:
        files = {"image": ("image.png", f, "image/png")}
        data = {"stage": "stage1", "stage1_steps": "50"}
        response = requests.post(f"{desk.url}/generate", files=files, data=data)  # noqa: S113
        results = response.json()
    check_stage1(desk, results)


def both_stages(desk: Desk) -> None:
    told = desk.generate("image=@image.png", "stage=both", "stage1_steps=50", "stage2_steps=25")
    check_stage1(desk, told)
    check_stage2(desk, told)


def first_stage_as_zip(desk: Desk) -> None:
    check_archive(desk, desk.packed("image=@image.png", "stage=stage1", "download=true"), "stage1")


def first_stage_as_zip_in_python(desk: Desk) -> None:
    with open(desk.folder / "image.png", "rb") as f:
        files = {"image": ("image.png", f)}
        data = {"stage": "stage1", "download": "true"}
        response = requests.post(f"{desk.url}/generate", files=files, data=data)  # noqa: S113
    check_archive(desk, unzipped(response.content), "stage1")


def fast_preview(desk: Desk) -> None:
    check_stage1(desk, desk.generate("image=@image.png", "stage=stage1", "stage1_steps=30"), steps=30)


def maximum_quality(desk: Desk) -> None:
    check_stage1(desk, desk.generate("image=@image.png", "stage=stage1", "stage1_steps=75"), steps=75)


def first_stage_by_address(desk: Desk) -> None:
    check_stage1(desk, desk.generate(f"image_url={desk.images}/image.png", "stage=stage1"))


def swagger_page(desk: Desk) -> None:
    assert "swagger" in desk.curl(f"{desk.url}/docs")
    document = requests.get(f"{desk.url}/openapi.json", timeout=30).json()
    form = document["paths"]["/generate"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["image"]["items"]["format"] == "binary" and form["properties"]["stage"]["enum"]


def integration(desk: Desk) -> None:
    def generate_3d_model(image_path: Path, stage: str = "stage1") -> Any:
        with open(image_path, "rb") as f:
            files = {"image": (Path(image_path).name, f, "image/png")}
            data = {"stage": stage, "stage1_steps": "50", "stage2_steps": "25"}
            response = requests.post(f"{desk.url}/generate", files=files, data=data, timeout=600)
            if response.status_code == 200:
                return response.json()
            raise Exception(f"API error: {response.status_code}")

    results = generate_3d_model(desk.folder / "image.png", stage="stage1")
    check_stage1(desk, results)


def batch(desk: Desk) -> None:
    (desk.folder / "images").mkdir(exist_ok=True)
    for name in ("a.png", "b.png"):
        (desk.folder / "images" / name).write_bytes((desk.folder / "image.png").read_bytes())
    seen = set()
    for image_file in (desk.folder / "images").glob("*.png"):
        with open(image_file, "rb") as f:
            files = {"image": (image_file.name, f, "image/png")}
            data = {"stage": "stage1", "stage1_steps": "50"}
            response = requests.post(f"{desk.url}/generate", files=files, data=data, timeout=600)
        results = response.json()
        seen |= {results["job_id"], results["stage1"]["output_dir"]}
    assert len(seen) == 4


def opaque_picture(desk: Desk) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 30, 30)).save(buffer, "PNG")
    for pipeline in ("auto", desk.pipeline):
        answer = requests.post(
            f"{desk.url}/generate", files={"image": buffer.getvalue()}, data={"pipeline": pipeline}, timeout=60
        )
        assert answer.status_code == 400
        for key in ("error", "detail"):
            assert answer.json()[key].startswith("Input must include transparency")


# --- the official server ---


def official(desk: Desk) -> None:
    told = desk.generate("image=@image.png")
    check_stage1(desk, told)
    check_stage2(desk, told)
    if desk.pipeline == "synchuman":
        assert told["approach"] == "Official SyncHuman two-stage pipeline (MAXIMUM QUALITY)"


def official_as_zip(desk: Desk) -> None:
    check_archive(desk, desk.packed("image=@image.png", "download=true"), "stage1", "stage2")


def official_by_address(desk: Desk) -> None:
    desk.curl("-L", f"{desk.images}/image.png", "-o", "dussehra.png")
    told = desk.generate(f"image_url={desk.images}/dussehra.png")
    check_stage1(desk, told)
    check_stage2(desk, told)


def official_in_python(desk: Desk) -> None:
    def generate_3d(image_path: str) -> Any:
        with open(image_path, "rb") as f:
            files = {"image": (image_path.split("/")[-1], f, "image/png")}
            response = requests.post(f"{desk.url}/generate", files=files, timeout=600)
            if response.status_code == 200:
                return response.json()
            raise Exception(f"API error: {response.status_code} - {response.text}")

    result = generate_3d(str(desk.folder / "image.png"))
    assert result["job_id"] and result["status"] == "completed" and result["stage1"]["output_dir"]
    glb = f"{result['stage2']['output_dir']}/output.glb"
    assert inspect_glb(requests.get(f"{desk.url}/outputs/{glb}", timeout=60).content).sound


ASKING: dict[str, Callable[[Desk], None]] = {
    "listing": listing,
    "health": health,
    "info": info,
    "swagger page": swagger_page,
    "opaque picture": opaque_picture,
}
# Each makes one job, the batch two.
MAKING: dict[str, Callable[[Desk], None]] = {
    "first stage": first_stage,
    "first stage in Python": first_stage_in_python,
    "both stages": both_stages,
    "first stage as ZIP": first_stage_as_zip,
    "first stage as ZIP in Python": first_stage_as_zip_in_python,
    "fast preview": fast_preview,
    "maximum quality": maximum_quality,
    "first stage by address": first_stage_by_address,
    "integration": integration,
    "batch": batch,
    "official": official,
    "official as ZIP": official_as_zip,
    "official by address": official_by_address,
    "official in Python": official_in_python,
}
EXAMPLES = ASKING | MAKING


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which the folder's files can be fetched. The service needs MAQUETTE_ALLOW_PRIVATE_URLS=1."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""
