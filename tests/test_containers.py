"""The containers, as far as they can be tried without an engine.

The image's files are laid out as the Dockerfile copies them, and each service's own command runs there as a process
with the environment of the compose file: the file system read only but for what the compose file makes writable, and
no capability left.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from configs.settings import ROOT
from jobs.server import find_server
from maquette_client import MaquetteClient

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OURS = ("web", "ai", "ai-gpu")
PORT, KERNELS = "6006", "/var/cache/maquette"
STOPPED = (0, 128 + signal.SIGTERM)


def tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def copied() -> list[tuple[list[str], str]]:
    """(sources, target) of each COPY out of the folder of the Dockerfile."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.M)
    return [(words[:-1], words[-1]) for words in map(shlex.split, lines)]


def test_the_dockerfile_is_sound() -> None:
    ran = subprocess.run([tool("hadolint"), "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout


def test_the_compose_file_is_what_the_specification_says() -> None:
    command = [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = {source for names, _ in copied() for source in names}
    assert sources == kept, "the build sees what it copies and nothing else"
    for source in sources:
        assert (ROOT / source).exists(), source


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_container_is_locked_down(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["healthcheck"]["test"] and service["stop_grace_period"]
    assert service.get("user") == "redis" or re.search(r"^USER 10001:10001$", DOCKERFILE, re.M)


@pytest.mark.parametrize("name", OURS)
def test_ours_wait_for_redis_and_read_their_settings(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert service["env_file"] == [{"path": ".env", "required": False}]
    assert service["environment"]["MAQUETTE_REDIS_URL"] == "redis://redis:6379/0"


def test_only_the_web_tier_is_reached_from_outside() -> None:
    assert [name for name, service in COMPOSE["services"].items() if "ports" in service] == ["web"]


def test_the_card_is_reserved_for_its_profile_alone() -> None:
    assert COMPOSE["services"]["ai-gpu"]["profiles"] == ["gpu"]
    (device,) = COMPOSE["services"]["ai-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia" and device["capabilities"] == ["gpu"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class Image:
    """What the Dockerfile builds from our own files: the tree, which nobody may write, and the compiled kernels."""

    def __init__(self, folder: Path) -> None:
        self.app = folder / "app"
        self.kernels = folder / "kernels"
        for sources, target in copied():
            for source in sources:
                self._copy(ROOT / source, self.app / (source if target == "./" else target))
        env = os.environ | {"NUMBA_CACHE_DIR": str(self.kernels)}
        for command in re.findall(r"^RUN python (-m compileall .+|-c .+)$", DOCKERFILE, re.M):
            subprocess.run([sys.executable, *shlex.split(command)], cwd=self.app, env=env, check=True)
        for path in [self.app, *self.app.rglob("*")]:
            path.chmod(path.stat().st_mode & ~0o222)

    def _copy(self, source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    found = Image(tmp_path_factory.mktemp("image"))
    files = stamps(found.app)
    yield found
    assert files == stamps(found.app), "nothing wrote into the image"
    for path in [found.app, *found.app.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o200)


def stamps(folder: Path, pattern: str = "*") -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob(pattern)}


class Host:
    """Stands in for the engine.

    Attributes:
        writable: what the compose file mounts for writing, by its place in the container.
    """

    def __init__(self, folder: Path, image: Image) -> None:
        self.app = image.app
        self.writable = {"/data": folder / "data", KERNELS: folder / "kernels", "/tmp": folder / "tmp"}
        self.ports = {"6379": free_port(), PORT: free_port()}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._folder = folder
        for path in self.writable.values():
            path.mkdir()
        # An engine fills a new volume with what the image has there.
        shutil.copytree(image.kernels, self.writable[KERNELS], dirs_exist_ok=True)

    def _here(self, text: str) -> str:
        """A value from inside a container, for this machine."""
        text = text.replace("redis:6379", f"127.0.0.1:{self.ports['6379']}")
        text = text.replace(f":{PORT}", f":{self.ports[PORT]}").replace("0.0.0.0", "127.0.0.1")
        places = "|".join(map(re.escape, self.writable))
        return re.sub(rf"({places})(?![\w-])", lambda found: str(self.writable[found[1]]), text)

    def environment(self, name: str) -> dict[str, str]:
        (block,) = re.findall(r"^ENV PATH=\S+ \\\n((?:    .*\n)+)", DOCKERFILE, re.M)
        env = dict(line.strip(" \\").split("=", 1) for line in block.splitlines())
        assert {"MAQUETTE_DATA_DIR", "NUMBA_CACHE_DIR"} <= set(env)
        env |= {key: str(value) for key, value in COMPOSE["services"][name].get("environment", {}).items()}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        env = {key: self._here(value) for key, value in env.items()}
        return env | {"PATH": path, "TMPDIR": str(self.writable["/tmp"]), "HOME": str(self.writable["/tmp"])}

    def _locked(self, command: list[str]) -> list[str]:
        """The command without capabilities and, where we may, on a file system that is read only but for volumes."""
        if os.getuid() != 0:
            return command
        drop = ["setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
        if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
            return [*drop, *command]
        volumes = [shlex.quote(str(path)) for path in self.writable.values()]
        mounts = [*(f"mount --bind {path} {path}" for path in volumes), "mount -o remount,bind,ro /", 'exec "$@"']
        return ["unshare", "-m", "sh", "-ec", " && ".join(mounts), "sh", *drop, *command]

    def start(self, name: str) -> None:
        """Runs a service's command as its container would."""
        command = [self._here(word) for word in COMPOSE["services"][name]["command"]]
        env = self.environment(name)
        if name == "redis":
            # Its own folder, port and address come from the image and the network.
            command[0] = find_server()
            command += ["--dir", str(self.writable["/data"]), "--port", str(self.ports["6379"]), "--bind", "127.0.0.1"]
        self.launch(name, command, env)

    def launch(self, name: str, command: list[str], env: dict[str, str]) -> None:
        """Runs any command as a container would."""
        with open(self._folder / f"{name}.log", "wb") as log:
            locked = self._locked(command)
            self.running[name] = subprocess.Popen(locked, env=env, cwd=self.app, stdout=log, stderr=log)

    def well(self, name: str) -> bool:
        """What the container's health check says."""
        kind, *words = COMPOSE["services"][name]["healthcheck"]["test"]
        assert kind == "CMD"
        return self.succeeds([self._here(word) for word in words], self.environment(name))

    def succeeds(self, command: list[str], env: dict[str, str]) -> bool:
        """Whether a command inside the container ends with 0."""
        ran = subprocess.run(self._locked(command), env=env, cwd=self.app, capture_output=True, timeout=20)
        return ran.returncode == 0

    def log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(errors="replace")[-3000:]

    def stop(self, name: str) -> int:
        """Stops it as the engine would, within its grace period; the exit status."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(int(COMPOSE["services"][name]["stop_grace_period"].removesuffix("s")))


@pytest.fixture
def host(tmp_path: Path, image: Image) -> Iterator[Host]:
    found = Host(tmp_path, image)
    yield found
    for process in found.running.values():
        process.kill()
        process.wait()


def until(condition: Callable[[], bool], host: Host, name: str, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, host.log(name)
        time.sleep(0.2)


@pytest.mark.service
def test_the_containers_do_a_job_on_a_read_only_file_system(host: Host) -> None:
    built = stamps(host.writable[KERNELS], "*.nbi")
    host.start("redis")
    host.start("web")
    until(lambda: host.well("web"), host, "web")
    assert not host.well("ai"), "nobody works yet"
    host.start("ai")
    until(lambda: host.well("ai"), host, "ai")

    client = MaquetteClient(f"http://127.0.0.1:{host.ports[PORT]}")
    job = client.wait(client.submit(ROOT / "examples" / "mug.png", texture_size=256).id)
    assert client.read(job, "output.glb")[:4] == b"glTF"
    assert json.loads(client.read(job, "manifest.json"))["device"] == "cpu"
    assert list(host.writable["/data"].glob("appendonlydir/*")), "Redis writes what it is told"
    assert built and built == stamps(host.writable[KERNELS], "*.nbi"), "the image's kernels were used as they are"

    assert host.stop("ai") in STOPPED, host.log("ai")
    until(lambda: not host.well("ai"), host, "ai", 20)
    assert host.stop("web") in STOPPED, host.log("web")
    assert not host.well("web")
    assert host.stop("redis") == 0, host.log("redis")


@pytest.mark.service
def test_the_image_alone_is_the_whole_service(host: Host) -> None:
    """Its own CMD and HEALTHCHECK, with the private Redis and the workers in it, as `docker run` has them."""
    command = json.loads(re.findall(r"^CMD (\[.+\])$", DOCKERFILE, re.M)[-1])
    check = json.loads(re.findall(r"HEALTHCHECK .*\\\n    CMD (\[.+\])$", DOCKERFILE, re.M)[-1])
    check = [word.replace(PORT, str(host.ports[PORT])) for word in check]
    compose = ("MAQUETTE_REDIS_URL", "MAQUETTE_START_WORKERS", "MAQUETTE_STORAGE")
    env = {name: value for name, value in host.environment("web").items() if name not in compose}
    env["MAQUETTE_DEVICES"] = "cpu"
    host.launch("web", command, env)
    until(lambda: host.succeeds(check, env), host, "web")
    client = MaquetteClient(f"http://127.0.0.1:{host.ports[PORT]}")
    assert client.wait(client.submit(ROOT / "examples" / "mug.png", texture_size=256).id).status == "complete"
    assert host.stop("web") in STOPPED, host.log("web")
