"""Every setting of the service, read once: environment over `.env` over `configs/maquette.yaml` over default."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

PREFIX = "MAQUETTE_"
ROOT = Path(__file__).resolve().parent.parent


class SettingsError(ValueError):
    """A setting has a value that cannot work; the message names it and what is allowed."""


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda|cuda:\d+)$")]
Names = Annotated[tuple[str, ...], BeforeValidator(_split)]

Devices = Annotated[tuple[Device, ...], BeforeValidator(_split)]


class Settings(BaseModel):
    """The operator's choices; `MAQUETTE_` + the upper-cased field name is the environment's spelling."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bind: Names = Field(("0.0.0.0:6006",), description="addresses to listen on; port 0 picks a free one")
    data_dir: Path = Field(Path("data"), description="outputs, inputs, the private Redis's files, caches")
    redis_url: str | None = Field(None, pattern=r"^(rediss?|unix)://", description="none: a private server of our own")
    allow_volatile_redis: bool = Field(False, description="start on a Redis that may forget or evict jobs")
    storage: str = Field("", description="file:///folder; empty: the data folder")
    devices: Devices = Field(("auto",), description="auto, cpu, cuda:0, …: one AI worker each")
    pipelines: Names = Field(("auto",), description="which pipelines this machine's workers offer")
    plugins: Names = Field((), description="Python modules with a PIPELINES dict to serve besides our own")
    weights_dir: Path = Field(Path("data/weights"), description="weights of learned models, as <org>/<name>/ below it")
    low_vram: bool = Field(False, description="keep only the network that runs just now on the device")
    fallback: bool = Field(True, description="auto may answer with relief when the dialect's model cannot run")

    previews: bool = Field(True, description="make a rough shape of each picture while its job waits")

    api_keys: Names = Field((), description="when set, every request needs one, and the key is the client")
    trusted_proxies: int = Field(0, ge=0, le=16, description="proxies in front of us that append to X-Forwarded-For")
    outputs_access: Literal["link", "owner"] = Field(
        "link", description="link: the URL is enough; owner: only who sent it"
    )
    cors_origins: Names = Field(("*",), description="origins a browser may call from")
    allow_private_urls: bool = Field(False, description="image_url and webhooks may reach private addresses")

    webhook_secret: str | None = Field(
        None,
        pattern=r"^whsec_[A-Za-z0-9+/]{32,88}={0,2}$",
        description="signs webhooks; none: one is made and kept in Redis",
    )

    history_limit: int = Field(10, ge=1, le=100_000, description="finished requests kept per client")
    max_active: int = Field(10, ge=0, le=1_000_000, description="jobs a client may have waiting or running; 0: any")
    max_attempts: int = Field(3, ge=1, le=100, description="how often a job is tried when its process dies")
    retention_hours: float = Field(24, gt=0, le=100_000, description="hours after its end at which a job is removed")
    job_timeout_s: float = Field(3600, gt=0, le=10_000_000, description="seconds a job may run before it is stopped")
    lease_s: float = Field(12, ge=3, le=600, description="seconds of silence after which a worker is dead")
    stop_grace_s: float = Field(5, ge=0, description="seconds a running job gets when its worker must stop")

    max_image_mb: float = Field(20, gt=0, description="largest accepted picture, MiB")
    max_image_megapixels: float = Field(50, gt=0, description="largest accepted picture, million pixels")
    max_request_mb: float = Field(128, gt=0, description="largest accepted request, MiB, all its pictures together")
    max_images: int = Field(16, ge=1, le=256, description="pictures in one request")

    start_workers: bool = Field(True, description="gunicorn starts the AI workers too; 0: they run by themselves")
    web_workers: int = Field(2, ge=1, le=256, description="gunicorn processes")
    web_threads: int = Field(8, ge=1, le=256, description="requests each gunicorn process works on at the same time")
    web_waiting: int = Field(
        500,
        ge=1,
        le=10_000,
        description="requests in each gunicorn process that may wait for a job",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = Field("text", description="json: one object a line, with request and job ids")

    @model_validator(mode="before")
    @classmethod
    def _place_folders(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The data folder becomes absolute, and the storage and the weights follow it."""
        data = Path(values.get("data_dir") or "data").expanduser().resolve()
        return values | {
            "data_dir": data,
            "weights_dir": Path(values.get("weights_dir") or data / "weights").expanduser().resolve(),
            "storage": values.get("storage") or data.as_uri(),
        }

    @property
    def max_image_bytes(self) -> int:
        return int(self.max_image_mb * 2**20)

    @property
    def max_image_pixels(self) -> int:
        return int(self.max_image_megapixels * 1_000_000)


def env_file(path: Path) -> dict[str, str]:
    """`NAME=value` lines of a .env file; blank lines and # comments are passed over."""
    if not path.is_file():
        return {}
    pairs = (line.removeprefix("export ").partition("=") for line in path.read_text().splitlines() if "=" in line)
    return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs if not name.lstrip().startswith("#")}


def _yaml_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    values = yaml.safe_load(path.read_text()) or {}
    if not isinstance(values, dict):
        raise SettingsError(f"{path.name} holds a {type(values).__name__}; write one `name: value` line per setting")
    return values


def _from_names(names: Mapping[str, str]) -> dict[str, str]:
    """The settings among environment names; an empty value counts as not given."""
    fields = {PREFIX + name.upper(): name for name in Settings.model_fields}
    return {fields[name]: value for name, value in names.items() if name in fields and value != ""}


def load_settings(environ: Mapping[str, str] | None = None, folder: Path = ROOT) -> Settings:
    """The settings in force.

    Args:
        environ: the environment; the process's own by default.
        folder: where `.env` and `configs/maquette.yaml` are looked for.
    Raises:
        SettingsError: a value cannot work; the message names the setting.
    """
    environ = os.environ if environ is None else environ
    values = _yaml_file(folder / "configs" / "maquette.yaml")
    values |= _from_names(env_file(folder / ".env"))
    values |= _from_names(environ)
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError("; ".join(_sentence(problem) for problem in error.errors())) from None


def _sentence(problem: Any) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else "a setting"
    field = Settings.model_fields.get(name)
    if field is None:
        return f"{name} is not a setting; see configs/maquette.example.yaml"
    return f"{PREFIX}{name.upper()} is {problem['input']!r}: {problem['msg'].lower()} ({field.description or name})"
