"""The `maquette` command as its users have it: a process of its own, on a terminal or in a script."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from maquette_client import MaquetteClient
from maquette_client.cli import COMMANDS
from maquette_client.service import ROOT, LocalService
from storage.keys import STRUCTURE
from tests.client.wire import server

pytestmark = pytest.mark.service

PROBE = ["--pipeline", "probe"]


def environment(url: str = "") -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAQUETTE_")}
    return inherited | {"PYTHONPATH": str(ROOT)} | ({"MAQUETTE_URL": url} if url else {})


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "maquette_client", *map(str, words)]


class Maquette:
    """Runs `maquette …` against one service, in a folder of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        self.folder = folder
        self.env = environment(url)
        self._begun: list[subprocess.Popen[str]] = []

    def __call__(self, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*words), env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=120
        )

    def begin(self, *words: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command(*words), env=self.env, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._begun.append(process)
        return process

    def end(self) -> None:
        """Nothing that was begun outlives its test."""
        for process in self._begun:
            with process:
                process.kill()


@pytest.fixture
def maquette(service: LocalService, tmp_path: Path) -> Iterator[Maquette]:
    found = Maquette(service.url, tmp_path)
    yield found
    found.end()


@pytest.fixture
def pictures(tmp_path: Path, png: bytes) -> list[Path]:
    """More than the service takes of one client at a time."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(7):
        (folder / f"{number}.png").write_bytes(png)
    (folder / "notes.txt").write_text("not a picture")
    return sorted(folder.glob("*.png"))


def test_one_picture_becomes_files_in_the_folder(maquette: Maquette, picture: Path) -> None:
    ran = maquette("generate", picture, "-o", "out", "--pipeline", "relief", "--set", "texture_size=256")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "out/output.glb\n"
    assert (maquette.folder / "out" / "output.glb").read_bytes()[:4] == b"glTF"
    assert "cat.png: complete by relief" in ran.stderr and "\x1b" not in ran.stderr


def test_a_folder_is_one_job_a_picture_however_many_the_service_takes(
    maquette: Maquette, remote: MaquetteClient, pictures: list[Path]
) -> None:
    ran = maquette("generate", "pictures", *PROBE, "--set", "seconds=0.3", "--json")
    assert ran.returncode == 0, ran.stderr
    told = [json.loads(line) for line in ran.stdout.splitlines()]
    assert {Path(one["pictures"][0]).name for one in told} == {picture.name for picture in pictures}
    assert len({one["request_id"] for one in told}) == len(pictures)
    assert {one["status"] for one in told} == {"complete"}
    for picture in pictures:
        assert (maquette.folder / "out" / picture.stem / "manifest.json").exists()
    waited = maquette("generate", *pictures[:4], *PROBE, "--set", "seconds=0.5", "-o", "again")
    assert "3 is the most" in waited.stderr and waited.returncode == 0


def test_sides_are_one_job(maquette: Maquette, remote: MaquetteClient) -> None:
    views = ROOT / "examples" / "views"
    sides = [views / "front.png", views / "back.png"]
    ran = maquette("generate", *sides, "--views", "front,back", "--pipeline", "relief", "--set", "texture_size=256")
    assert ran.returncode == 0, ran.stderr
    manifest = json.loads((maquette.folder / "out" / "manifest.json").read_text())
    assert manifest["params"]["views"] == ["front", "back"]


def test_the_second_stage_is_run_again_on_an_earlier_jobs_structure(
    maquette: Maquette, remote: MaquetteClient, picture: Path
) -> None:
    done = maquette("generate", picture, "--pipeline", "staged", "--stage", "stage1", "-o", "first")
    assert done.returncode == 0, done.stderr
    token = (maquette.folder / "first" / STRUCTURE).read_text()
    assert not (maquette.folder / "first/result.txt").exists()
    (job, *_) = [job for job in remote.jobs() if job.pipeline == "staged"]
    again = maquette("generate", "--from", job.id, "--seed", 7, "-o", "second")
    assert again.returncode == 0, again.stderr
    assert (maquette.folder / "second/result.txt").read_text().startswith(f"{token},")
    (made, *_) = [job for job in remote.jobs() if job.pipeline == "staged"]
    assert made.told["made_from"] == job.id and made.told["params"]["seed"] == 7


def test_what_is_done_can_be_left_out(maquette: Maquette, remote: MaquetteClient, pictures: list[Path]) -> None:
    assert maquette("generate", *pictures[:1], pictures[2], *PROBE).returncode == 0
    ran = maquette("generate", *pictures[:3], *PROBE, "--skip-done", "--json")
    assert [json.loads(line)["pictures"] for line in ran.stdout.splitlines()] == [[str(pictures[1])]]


def test_a_repeated_command_with_a_key_finds_its_job(maquette: Maquette, picture: Path) -> None:
    words = ["generate", picture, *PROBE, "--no-wait", "--key", "night run"]
    first, again = maquette(*words), maquette(*words)
    assert first.stdout == again.stdout != ""
    other = maquette(*words, "--set", "steps=3")
    assert other.stdout not in ("", first.stdout), "another parameter makes another job"


def test_waiting_can_be_left_to_later(maquette: Maquette, picture: Path) -> None:
    ran = maquette("generate", picture, *PROBE, "--set", "seconds=5", "--no-wait")
    job_id = ran.stdout.strip()
    assert ran.returncode == 0 and len(job_id) == 32
    told = json.loads(maquette("status", job_id, "--json").stdout)
    assert told["request_id"] == job_id and told["status"] in ("queued", "processing")
    ran = maquette("download", job_id, "-o", "got")
    assert ran.returncode == 0, ran.stderr
    assert {path.name for path in (maquette.folder / "got").iterdir()} == {"manifest.json", "result.txt"}
    listed = maquette("status")
    assert job_id in listed.stdout and "\tcomplete\t" in listed.stdout and "cat.png" in listed.stdout
    assert maquette("status", job_id).returncode == 0


def test_a_job_that_fails_is_status_1(maquette: Maquette, picture: Path) -> None:
    ran = maquette("generate", picture, *PROBE, "--set", "deed=bad_input")
    assert (ran.returncode, ran.stdout) == (1, "") and "nothing in this picture" in ran.stderr
    assert not list(maquette.folder.rglob("result.txt"))


def test_one_bad_picture_does_not_keep_the_others(maquette: Maquette, pictures: list[Path]) -> None:
    pictures[1].write_bytes(b"no picture")
    ran = maquette("generate", *pictures[:3], *PROBE, "--json")
    told = {Path(one["pictures"][0]).name: one for one in map(json.loads, ran.stdout.splitlines())}
    assert ran.returncode == 2 and "not an image" in told["1.png"]["error"]
    assert told["0.png"]["status"] == told["2.png"]["status"] == "complete"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing.png"], "there is no picture 'nothing.png'"),
        (["."], "holds no picture"),
        ([], "name a picture, or an earlier job with --from"),
        (["--stage", "stage2"], "name it with --from"),
        (["PICTURE", "--from", "0"], "--from takes no pictures"),
        (["--from", "0", "--stage", "stage1"], "no other --stage than stage2"),
        (["--from", "0"], "there is no request '0' of yours"),
        (["PICTURE", "--set", "texture_size"], "write it as name=value"),
        (["PICTURE", "--set", "texture_size=abc"], "texture_size is 'abc'"),
        (["PICTURE", "--views", "front,back"], "names 2 side(s) and there are 1 picture(s)"),
        (["PICTURE", "--as", "fbx"], "'fbx'; use stl, obj"),
        (["PICTURE", "--as", "stl+draco"], "'stl+draco'; use stl"),
        (["PICTURE", "--pipeline", "magic"], "'magic'"),
        (["PICTURE", "--url", "localhost"], "'localhost'; write it as http://host:port"),
        (["PICTURE", "--parallel", "0"], "use a whole number from 1"),
    ],
)
def test_wrong_usage_is_status_2_and_named(maquette: Maquette, picture: Path, words: Sequence[str], said: str) -> None:
    ran = maquette("generate", *[picture if word == "PICTURE" else word for word in words])
    assert ran.returncode == 2 and said in ran.stderr, ran.stderr
    assert "Traceback" not in ran.stderr


def test_an_unknown_job_is_status_2(maquette: Maquette) -> None:
    for words in (["status"], ["cancel"], ["download"]):
        ran = maquette(*words, "0" * 32)
        assert ran.returncode == 2 and "no request" in ran.stderr, words


def test_nobody_there_is_status_3(tmp_path: Path) -> None:
    ran = Maquette("http://127.0.0.1:1", tmp_path)("status")
    assert ran.returncode == 3
    assert ran.stderr == (
        "maquette: http://127.0.0.1:1/ does not answer: Connection refused (another address: --url or MAQUETTE_URL)\n"
    )


def test_somebody_else_there_is_status_3(tmp_path: Path) -> None:
    def page(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "2")
        request.end_headers()
        request.wfile.write(b"hi")

    with server(page) as url:
        ran = Maquette(url, tmp_path)("workers")
    assert ran.returncode == 3 and "not as Maquette does" in ran.stderr


def test_what_a_service_says_does_not_command_the_terminal(tmp_path: Path) -> None:
    def hostile(request: BaseHTTPRequestHandler) -> None:
        body = json.dumps({"error": "\x1b[2J\x1b]0;owned\x07 hi", "code": "bad_parameter"}).encode()
        request.send_response(400)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    with server(hostile) as url:
        ran = Maquette(url, tmp_path)("status")
    assert ran.returncode == 2 and " hi" in ran.stderr and "\x1b" not in ran.stderr and "\x07" not in ran.stderr


def test_a_missing_key_is_status_4(tmp_path: Path, picture: Path) -> None:
    settings = {"MAQUETTE_API_KEYS": "open sesame", "MAQUETTE_PIPELINES": "relief", "MAQUETTE_DEVICES": "cpu"}
    with LocalService(tmp_path / "service", settings) as service:
        maquette = Maquette(service.url, tmp_path)
        ran = maquette("status")
        assert ran.returncode == 4 and "MAQUETTE_API_KEY" in ran.stderr
        assert maquette("status", "--api-key", "open sesame").returncode == 0
        maquette.env["MAQUETTE_API_KEY"] = "open sesame"
        assert maquette("status").returncode == 0


def test_cancelling_leaves_what_has_ended(maquette: Maquette, remote: MaquetteClient, picture: Path) -> None:
    job = remote.submit(picture, pipeline="probe", seconds=60)
    ran = maquette("cancel", job.id)
    assert ran.returncode == 0 and job.id in ran.stdout
    assert [found.status for found in remote.follow(job.id)][-1] == "cancelled"
    assert maquette("status", job.id).returncode == 1
    done = remote.wait(remote.submit(picture, pipeline="probe").id)
    ran = maquette("cancel", done.id)
    assert ran.returncode == 1 and "ended already (complete)" in ran.stderr
    assert remote.read(done, "result.txt")
    assert maquette("cancel", done.id, "--delete").returncode == 0
    assert done.id not in {found.id for found in remote.jobs()}


def follow_until(process: subprocess.Popen[str], pattern: str) -> None:
    """Reads what it says until a line matches."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if re.search(pattern, line):
            return
    raise AssertionError(f"it never said {pattern!r}; it said {said}")


def test_ctrl_c_leaves_the_job_and_says_how_to_fetch_it(
    maquette: Maquette, remote: MaquetteClient, picture: Path
) -> None:
    process = maquette.begin("generate", picture, *PROBE, "--set", "seconds=3", "-o", "later")
    follow_until(process, "work [1-5]/10")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=10)
    assert process.returncode == 130 and stdout == "" and "Traceback" not in stderr
    (line,) = [line for line in stderr.splitlines() if "fetch it:" in line]
    words = line.split("maquette ")[1].split()
    assert words[0] == "download" and words[2:] == ["-o", "later"]
    assert maquette(*words).returncode == 0
    assert (maquette.folder / "later" / "result.txt").exists()


def test_ctrl_c_can_cancel(maquette: Maquette, remote: MaquetteClient, pictures: list[Path]) -> None:
    process = maquette.begin(
        "generate", *pictures[:2], *PROBE, "--set", "seconds=60", "--cancel-on-interrupt", "--set", "steps=600"
    )
    follow_until(process, "1: queued")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130, stderr
    assert "0: cancelled" in stderr and "1: cancelled" in stderr
    assert all(job.ended for job in remote.jobs())


def on_terminal(words: list[str], env: dict[str, str], folder: Path) -> tuple[int, str]:
    """The exit status and all that a terminal of 120 columns would have been sent."""
    main, end = pty.openpty()
    env = env | {"TERM": "xterm-256color", "COLUMNS": "120"}
    process = subprocess.Popen(words, env=env, cwd=folder, stdin=end, stdout=end, stderr=end, close_fds=True)
    os.close(end)
    shown = b""
    while True:
        try:
            more = os.read(main, 65536)
        except OSError:  # the other end is closed
            break
        if not more:
            break
        shown += more
    os.close(main)
    return process.wait(), shown.decode(errors="replace")


def test_a_terminal_shows_bars(maquette: Maquette, remote: MaquetteClient, pictures: list[Path]) -> None:
    words = command("generate", *pictures[:2], *PROBE, "--set", "seconds=1", "-o", "out")
    status, shown = on_terminal(words, maquette.env, maquette.folder)
    assert status == 0
    for expected in ("\x1b[", "━", "work ", "queued, position 1", "s left", "1: complete by probe", "all"):
        assert expected in shown, expected
    assert "out/0" in shown, "the results are there too"


def test_a_terminal_for_the_bars_leaves_a_file_its_results(maquette: Maquette, picture: Path) -> None:
    words = command("generate", picture, *PROBE)
    script = f"{' '.join(words)} >result.txt"
    status, shown = on_terminal(["/bin/sh", "-c", script], maquette.env, maquette.folder)
    assert status == 0 and "complete by probe" in shown
    assert (maquette.folder / "result.txt").read_text() == "out\n"


def test_watching_ends_with_the_jobs(maquette: Maquette, remote: MaquetteClient, picture: Path) -> None:
    job = remote.submit(picture, pipeline="probe", seconds=1)
    status, shown = on_terminal(command("status", job.id, "--watch"), maquette.env, maquette.folder)
    assert status == 0 and job.id in shown and "complete" in shown


def test_the_service_dying_under_a_command_is_lived_through(
    service: LocalService, maquette: Maquette, remote: MaquetteClient, picture: Path
) -> None:
    process = maquette.begin("generate", picture, *PROBE, "--set", "seconds=4")
    follow_until(process, "work [1-5]/10")
    for pid in service.pids("gunicorn"):
        os.kill(pid, signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (0, "out\n"), stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(tmp_path: Path, name: str) -> None:
    ran = Maquette("", tmp_path)(name, "--help")
    assert ran.returncode == 0 and "exit status:" in ran.stdout and "--url" in ran.stdout


def test_the_client_alone_needs_only_what_its_requirements_name() -> None:
    """Looked at from a fresh process: what it loads from outside the standard library."""
    code = (
        "import sys, maquette_client.cli, maquette_client.webhooks;"
        "print(*{getattr(m, '__file__', '') or '' for m in list(sys.modules.values()) if 'site-packages' in"
        " (getattr(m, '__file__', '') or '')})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    ).stdout
    packages = {path.split("site-packages/")[1].split("/")[0].split(".")[0] for path in loaded.split()}
    theirs = {"urllib3", "certifi", "idna", "charset_normalizer", "chardet", "pygments", "markdown_it", "mdurl"}
    hooks = {name for name in packages if name.startswith("_")}  # what pip itself puts in, such as an editable install
    assert packages - theirs - hooks <= {"requests", "rich"}


def test_time_has_a_limit_of_ones_own(maquette: Maquette, remote: MaquetteClient, picture: Path) -> None:
    started = time.monotonic()
    ran = maquette("generate", picture, *PROBE, "--set", "seconds=30", "--timeout", "1", "--json")
    assert ran.returncode == 1 and time.monotonic() - started < 10
    told = json.loads(ran.stdout)
    assert "has not ended after 1 s" in told["error"]
    remote.cancel(told["request_id"])


def test_other_formats_come_too(maquette: Maquette, picture: Path) -> None:
    wanted = "stl,obj,glb+draco,zip"
    words = ["generate", picture, "--pipeline", "relief", "--set", "texture_size=256", "--files", "output.glb"]
    ran = maquette(*words, "--as", wanted)
    assert ran.returncode == 0, ran.stderr
    out = maquette.folder / "out"
    assert {path.name for path in out.iterdir()} == {
        "output.glb", "output.stl", "output_obj.zip", "output.draco.glb", "output.zip"
    }  # fmt: skip
    assert (out / "output.draco.glb").stat().st_size < (out / "output.glb").stat().st_size
    assert "output.glb" in zipfile.ZipFile(out / "output.zip").namelist()
    assert any(name.endswith(".obj") for name in zipfile.ZipFile(out / "output_obj.zip").namelist())
    assert len((out / "output.stl").read_bytes()) % 50 == 84 % 50, "a binary STL"
