"""The units of SyncHuman's second stage: name → comparison, with the tolerances of the reference set."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate

from geometry.axes import to_glb
from geometry.cameras import FIVE_VIEWS, orbit, perspective, sphere_views
from geometry.views import camera_view
from networks.ops.voxels import Voxels, Windows
from networks.samplers.flow_euler import Schedule, flow_euler, schedule
from networks.samplers.guidance import guided_velocity
from networks.synchuman.mv_decoders import (
    MODES,
    MVBlock,
    MVDecoder,
    MVGaussianDecoder,
    MVMeshDecoder,
    build,
    view_samples,
)
from pipelines.synchuman.views import BLANK, BODY, FACE, MultiView, feature_grid
from tests.meshes import Array
from tests.parity.unit import CannotCompare, Check, Unit, cut, thinned

_SIDE = 768
# Yaw and pitch of the cameras of front, right, back, left and face.
_FIVE = np.array([[-np.pi, 0], [-3 * np.pi / 2, 0], [0, 0], [-np.pi / 2, 0], [-np.pi, 0]])
_UPRIGHT = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])  # +Z up to +Y up
_NOTHING = np.zeros((1, 1, 3), np.uint8)


def sparse_block(unit: Unit) -> list[Check]:
    args, given = unit.config["init"], unit.floats
    width = 2 * len(MODES[args["mv_condition_mode"]]) * args["mv_dim"]
    block = MVBlock(args["channels"], args["num_heads"], args["mlp_ratio"], args["qk_rms_norm"], condition=width)
    condition = torch.cat([given["mv_normal"], given["mv_color"]], dim=1)
    windows = windows_of(args, Voxels(given["coords"]))
    return unit.relative(1e-4, {"out": unit.filled(block)(given["feats"], windows, condition)})


def windows_of(args: dict[str, Any], voxels: Voxels) -> Windows:
    """Those that a block attends in."""
    if args["attn_mode"] == "full":
        return Windows(torch.arange(len(voxels)), voxels.segments)
    shifts = set(args.get("shift_window") or [0])
    if args["attn_mode"] != "windowed" or len(shifts) > 1:
        raise CannotCompare(f"attn_mode is {args['attn_mode']!r}, shift_window {args.get('shift_window')}")
    return voxels.windows(args["window_size"], shifts.pop())


def decoder(unit: Unit, mv_features: int) -> MVDecoder:
    """Made from the unit's configuration and filled with its weights."""
    groups = {"group_norm_groups": unit.config["group_norm_groups"]} if "group_norm_groups" in unit.config else {}
    with torch.device("meta"):
        made = build({"name": unit.config["upstream_class"], "args": unit.config["init"] | groups})
        for name in ("input_layer_color", "input_layer_normal"):
            setattr(made, name, nn.Linear(mv_features, unit.config["init"]["mv_dim"]))
    return cast(MVDecoder, unit.filled(made))


def decoder_inputs(unit: Unit) -> dict[str, Tensor]:
    """The unit's own, and what it lacks from the unit that its configuration names."""
    missing = {"feats", "mv_color", "mv_normal"} - unit.inputs.keys()
    if not missing:
        return unit.floats
    words = str(unit.config["inputs"]).split()
    named = next(word for word in words if word.startswith("../"))
    return Unit((unit.folder / Path(named)).parent).floats | unit.floats


def decoder_gs(unit: Unit) -> list[Check]:
    given = decoder_inputs(unit)
    model = cast(MVGaussianDecoder, decoder(unit, given["mv_color"].shape[-1]))
    out = model(given["feats"], Voxels(given["coords"]), given["mv_color"], given["mv_normal"])
    return unit.relative(2e-4, {"out": out})


def decoder_mesh(unit: Unit) -> list[Check]:
    given = decoder_inputs(unit)
    model = cast(MVMeshDecoder, decoder(unit, given["mv_color"].shape[-1]))
    voxels, seen = Voxels(given["coords"]), {}
    model.upsample[0].register_forward_hook(lambda _module, args, out: seen.update(torso_out=args[0], up0_sub=out))
    out, fine = model(given["feats"], voxels, given["mv_color"], given["mv_normal"])
    views = MODES[unit.config["init"].get("mv_condition_mode", "4_view")]
    normal = torch.cat(list(view_samples(model.input_layer_normal(given["mv_normal"]), voxels, views)), dim=1)
    tables = {"sampled_normal": normal, "out_sub": out} | seen
    values = {name: thinned(table, unit.outputs[name]) for name, table in tables.items() if name in unit.outputs}
    if "out_coords_sub" in unit.outputs:
        # Matched by place: how the reference orders its rows is its own affair.
        rows = rows_of(fine.coords, unit.outputs["out_coords_sub"])
        values["out_sub"] = out[rows]
    return [*unit.checks(0, {"out_count": torch.tensor([len(fine)])}), *unit.relative(2e-4, values)]


def rows_of(coords: Tensor, wanted: Tensor) -> Tensor:
    """The row of each wanted voxel."""
    number = {tuple(place): row for row, place in enumerate(coords.tolist())}
    try:
        return torch.tensor([number[tuple(place)] for place in wanted.tolist()])
    except KeyError as error:
        raise CannotCompare(f"the reference has a voxel at {error}, and we have none") from None


def slat_sampler(unit: Unit) -> list[Check]:
    params, given = unit.config["params"], unit.floats
    interval = tuple(params["cfg_interval"])
    steps = schedule(params["steps"], params["rescale_t"], (interval[0], interval[1]))
    network = stand_in(given["weight"], given["cond"], steps)
    velocity = guided_velocity(network, steps, params["cfg_strength"])
    states = list(flow_euler(given["noise"], steps, velocity, unit.config["init"]["sigma_min"]))
    mean, std = (torch.tensor(unit.config["slat_normalization"][name]) for name in ("mean", "std"))
    sample = states[-1].x_t
    values = {"samples": sample, "pred_x_0_first": states[0].x_0, "denormalised": sample * std + mean}
    return [*unit.relative(1e-5, values), *model_calls(unit, steps)]


def stand_in(weight: Tensor, cond: Tensor, steps: Schedule) -> Callable[[Tensor, int, Any], list[Tensor]]:
    """tanh(x W^T + mean(cond) cos(t / 500)), in place of a network."""

    def predict(x: Tensor, step: int, views: list[int | None]) -> list[Tensor]:
        along = torch.tensor(steps.timesteps[step] / 500).cos()
        return [torch.tanh(x @ weight.T + (0 if view is None else cond.mean(dim=(0, 1))) * along) for view in views]

    return predict


def model_calls(unit: Unit, steps: Schedule) -> list[Check]:
    """Whether the network was asked as often, about the same times and in the same branches."""
    if "model_calls" not in unit.config:
        return []
    ours = [
        (t, seen) for t, twice in zip(steps.timesteps, steps.guided, strict=True) for seen in (True, False)[: 1 + twice]
    ]
    theirs = [(call["t"], call["conditional"]) for call in unit.config["model_calls"]]
    if [seen for _, seen in ours] != [seen for _, seen in theirs]:
        raise CannotCompare(f"the network is asked {len(ours)} times, the reference's {len(theirs)}, in other branches")
    return [Check("model_calls", max(abs(a - b) for (a, _), (b, _) in zip(ours, theirs, strict=True)), 1e-3)]


def two_stage_views(unit: Unit) -> list[Check]:
    """What the second stage makes of the first one's pictures, and what its texture is told."""
    given, slices = unit.floats, unit.config["slices"]
    pictures = drawn_pictures(unit)
    exact: dict[str, Tensor] = {}
    for view in range(FACE):
        colour, something = (torch.from_numpy(part.copy()) for part in pictures.seen(view))
        exact |= {f"obs_{view}": colour, f"mask_{view}": something}
    colour, normal = (face_canvas(kind[FACE]) for kind in (pictures.colour, pictures.normal))
    exact["obs_4"] = (colour * 255).byte().permute(1, 2, 0)
    exact["mask_4"] = (normal * 255 < BLANK).any(dim=0)
    exact = {name: value[every(slices, name)].byte() for name, value in exact.items() if name in unit.outputs}
    close = {"faces_img": colour, "faces_normal": normal}
    for name, kind in (("img", pictures.colour), ("normal", pictures.normal)):
        close[f"mv_{name}"] = torch.from_numpy(kind[BODY]).permute(0, 3, 1, 2) / 255
        close[f"feat_{name}"] = feature_grid(kind[BODY], lambda x: stand_in_tokens(given, x), unit.config["up_size"])
    close = {name: value[every(slices, name)] for name, value in close.items() if name in unit.outputs}
    close["glb_vertices"] = torch.from_numpy(to_glb(given["vertices"].numpy()))
    close["ortho_projection"] = orthographic_projection(unit.config["ortho"])
    return [*unit.checks(0, exact), *unit.relative(1e-4, close), *camera_checks(unit)]


def drawn_pictures(unit: Unit) -> MultiView:
    """Those that the unit's rule makes of its cells."""
    cells, faces = unit.inputs["lowres"], unit.inputs["face_cells"]
    if f"x{_SIDE // cells.shape[-1]} " not in unit.config["rule"]:
        raise CannotCompare(f"the pictures are {unit.config['rule']!r}, which we do not understand")
    body = enlarged(cells, _SIDE // cells.shape[-1])
    face = enlarged(faces, unit.config["face_cell"])
    return MultiView(*(torch.cat([body[4 * i : 4 * i + 4], face[i : i + 1]]).numpy() for i in range(2)))


def enlarged(cells: Tensor, times: int) -> Tensor:
    """(V, S, S, 3) of (V, 3, s, s) cells."""
    wide = cells.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3)
    return wide[:, :, :_SIDE, :_SIDE].permute(0, 2, 3, 1)


def face_canvas(face: Array) -> Tensor:
    """(3, 1536, 1536) the face picture where the front view has it, on white, twice as large as the front view."""
    canvas = torch.ones(3, 2 * _SIDE, 2 * _SIDE)
    small = interpolate(torch.from_numpy(face).permute(2, 0, 1)[None] / 255, (512, 512), mode="bilinear")
    canvas[:, :512, 512:1024] = small[0]
    return canvas


def every(slices: dict[str, str], name: str) -> tuple[slice, ...]:
    """Which part of one of our values the file keeps, as the configuration has it in words."""
    kind, _, view = name.partition("_")
    text = {"faces": "faces", "feat": "features", "mv": "mv"}.get(kind, "observations")
    words = slices[text]
    if text == "observations":
        words = words.split("view 4")[int(view) == FACE]
    return cut(words)


def stand_in_tokens(given: dict[str, Tensor], pixels: Tensor) -> list[Tensor]:
    """A convolution for each layer, in place of the image encoder."""
    pairs = zip(given["conv_weight"], given["conv_bias"], strict=True)
    return [conv2d(pixels, weight, bias, stride=weight.shape[-1]).flatten(2).mT for weight, bias in pairs]


def orthographic_projection(box: dict[str, float]) -> Tensor:
    """(4, 4) from view space to clip space, the first row of pixels at -1."""
    wide, tall = box["right"] - box["left"], box["top"] - box["bottom"]
    deep = box["far"] - box["near"]
    matrix = torch.diag(torch.tensor([2 / wide, -2 / tall, -2 / deep, 1.0]))
    matrix[0, 3] = -(box["right"] + box["left"]) / wide
    matrix[1, 3] = -(box["top"] + box["bottom"]) / tall
    matrix[2, 3] = -(box["far"] + box["near"]) / deep
    return matrix


def camera_checks(unit: Unit) -> list[Check]:
    """The five pictures' cameras and the first of those around."""
    count, radius = unit.config["nviews"], unit.config["camera_radius"]
    angles = np.concatenate([_FIVE, sphere_views(count - len(_FIVE))])
    extrinsics = torch.from_numpy(orbit(angles, radius)[: len(unit.outputs["extrinsics"])])
    lens = torch.from_numpy(perspective(np.radians(unit.config["fov_deg"])))
    same = lens.expand(len(unit.outputs["intrinsics"]), -1, -1)
    # And those that our own texture looks through: the same turns, a little nearer or farther.
    turns = np.stack([camera_view(_NOTHING, camera).extrinsics for camera in FIVE_VIEWS[:4]]) @ _UPRIGHT
    ours = Check("turns of FIVE_VIEWS", float(np.abs(turns[:, :3, :3] - extrinsics[:4, :3, :3].numpy()).max()), 1e-5)
    return [*unit.checks(1e-5, {"extrinsics": extrinsics}), *unit.relative(1e-4, {"intrinsics": same}), ours]


UNITS = {
    "two_stage_views": two_stage_views,
    "sparse_block_mv_4_view": sparse_block,
    "sparse_block_mv_front_back": sparse_block,
    "slat_decoder_gs": decoder_gs,
    "slat_decoder_mesh": decoder_mesh,
    "slat_sampler": slat_sampler,
}
