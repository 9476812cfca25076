"""The private Redis: started, shared, started again after kill -9, stopped by the last to leave."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from configs.settings import load_settings
from jobs.errors import UnsafeRedis
from jobs.server import PrivateServer, check, connect, find_server, serving
from storage import open_storage
from tests.waiting import until


def pid_of(url: str) -> int:
    return int(connect(url).info("server")["process_id"])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_it_keeps_its_data_and_refuses_to_evict(tmp_path: Path) -> None:
    with serving(load_settings({"MAQUETTE_DATA_DIR": str(tmp_path)})) as url:
        client = connect(url)
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        client.set("kept", "yes")
        pid = pid_of(url)
    until(lambda: not is_alive(pid))
    with serving(load_settings({"MAQUETTE_DATA_DIR": str(tmp_path)})) as url:
        assert connect(url).get("kept") == "yes"


def test_after_kill_9_it_is_there_again_with_every_acknowledged_write(tmp_path: Path) -> None:
    with serving(load_settings({"MAQUETTE_DATA_DIR": str(tmp_path)})) as url:
        client = connect(url, retry_s=10)
        for number in range(500):
            client.rpush("list", number)
        pid = pid_of(url)
        os.kill(pid, signal.SIGKILL)
        assert client.llen("list") == 500
        assert pid_of(url) != pid


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
# The first user leaves the server running, on purpose.
def test_two_users_share_one_server_and_the_last_one_stops_it(tmp_path: Path) -> None:
    first, second = PrivateServer(tmp_path), PrivateServer(tmp_path)
    assert first.open() == second.open()
    pid = pid_of(first.url)
    first.close()
    assert is_alive(pid) and connect(second.url).ping()
    os.kill(pid, signal.SIGKILL)
    until(lambda: second._answers())  # the one that stayed keeps it now
    pid = pid_of(second.url)
    second.close()
    until(lambda: not is_alive(pid))


def test_a_fork_that_ends_leaves_the_server_alone(tmp_path: Path) -> None:
    server = PrivateServer(tmp_path)
    server.open()
    pid = pid_of(server.url)
    fork = os.fork()
    if not fork:
        server.close()
        os._exit(0)
    assert os.waitpid(fork, 0)[1] == 0
    assert is_alive(pid) and connect(server.url).ping()
    server.close()
    until(lambda: not is_alive(pid))


def test_four_processes_that_start_at_once_get_one_server(tmp_path: Path) -> None:
    code = (
        "import sys; from configs.settings import load_settings; from jobs.server import serving, connect\n"
        "with serving(load_settings()) as url:\n"
        "    print(connect(url).info('server')['process_id'], flush=True); sys.stdin.read()"
    )
    env = {**os.environ, "MAQUETTE_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    users = [subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(4)]
    try:
        pids = {int(user.stdout.readline()) for user in users if user.stdout}
        assert len(pids) == 1
        pid = pids.pop()
    finally:
        for user in users:
            user.communicate()
    until(lambda: not is_alive(pid))


def test_a_folder_with_a_long_name_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    with serving(load_settings({"MAQUETTE_DATA_DIR": str(deep)})) as url:
        assert connect(url).ping()


def test_a_server_that_would_forget_or_evict_is_refused(tmp_path: Path) -> None:
    with serving(load_settings({"MAQUETTE_DATA_DIR": str(tmp_path)})) as url:
        client = connect(url)
        assert check(client, allow_volatile=False) == []
        client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(UnsafeRedis, match="allkeys-lru.*MAQUETTE_ALLOW_VOLATILE_REDIS"):
            check(client, allow_volatile=False)
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("appendonly", "no")
        with (
            pytest.raises(UnsafeRedis, match="append-only file is off"),
            serving(load_settings({"MAQUETTE_REDIS_URL": url})),
        ):
            pass
        assert len(check(client, allow_volatile=True)) == 1


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "redis" / "appendonlydir").mkdir(parents=True)
    (tmp_path / "redis" / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense")
    server = PrivateServer(tmp_path)
    with pytest.raises(UnsafeRedis, match="does not start"):
        server.open()
    server.close()


def test_there_is_a_server_program_here() -> None:
    answer = subprocess.run([find_server(), "--version"], capture_output=True, text=True, check=True)
    assert "v=" in answer.stdout


def test_one_redis_serves_one_storage(tmp_path: Path) -> None:
    with serving(load_settings({"MAQUETTE_DATA_DIR": str(tmp_path / "a")})) as url:
        same = {"MAQUETTE_REDIS_URL": url, "MAQUETTE_DATA_DIR": str(tmp_path / "a")}
        with serving(load_settings(same)):
            pass
        other = {"MAQUETTE_REDIS_URL": url, "MAQUETTE_DATA_DIR": str(tmp_path / "b")}
        connect(url).zadd("maquette:waiting:cpu", {"job": 1})
        with pytest.raises(UnsafeRedis, match="already serves a storage other than.*MAQUETTE_STORAGE"):
            with serving(load_settings(other)):
                pass
        connect(url).delete("maquette:waiting:cpu")
        with serving(load_settings(other)):  # nobody works there any more: it may serve another
            pass
        assert connect(url).get("maquette:storage") == open_storage(f"file://{tmp_path}/b").identity()


@pytest.mark.parametrize("name", ["with space", "per%cent", "hash#mark", "quest?ion", "ünïcode"])
def test_a_folder_with_an_odd_name_works(tmp_path: Path, name: str) -> None:
    with serving(load_settings({"MAQUETTE_DATA_DIR": str(tmp_path / name)})) as url:
        assert connect(url).ping()
    assert (tmp_path / name / "storage.id").exists()


def test_a_folder_one_cannot_write_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnsafeRedis, match="MAQUETTE_DATA_DIR is .*file.*cannot write there"):
        with serving(load_settings({"MAQUETTE_DATA_DIR": str(tmp_path / "file" / "data")})):
            pass
