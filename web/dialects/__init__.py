"""Every HTTP API we speak, by name: each stands at the root and again below its name."""

from flask import Blueprint

from web.dialects.synchuman import blueprint as synchuman
from web.dialects.trellis import blueprint as trellis

DIALECTS: dict[str, Blueprint] = {
    "trellis": trellis,
    "synchuman": synchuman,
}
