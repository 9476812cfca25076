"""Where the hubs' own environment variables say that weights lie."""

from pathlib import Path

from configs.hub import ENDPOINT, load_hub


def test_the_caches_are_where_their_tools_keep_them(tmp_path: Path) -> None:
    found = load_hub({"XDG_CACHE_HOME": str(tmp_path)}, tmp_path)
    assert found.caches == (tmp_path / "huggingface" / "hub",)
    assert found.torch_cache == tmp_path / "torch" / "hub" / "checkpoints"
    assert found.endpoint == ENDPOINT and found.token == "" and not found.offline


def test_each_name_moves_what_its_tool_would_move(tmp_path: Path) -> None:
    home = {"HF_HOME": str(tmp_path / "home"), "TORCH_HOME": str(tmp_path / "torch")}
    assert load_hub(home, tmp_path).caches == (tmp_path / "home" / "hub",)
    assert load_hub(home, tmp_path).torch_cache == tmp_path / "torch" / "hub" / "checkpoints"
    assert load_hub({**home, "HF_HUB_CACHE": str(tmp_path / "cache")}, tmp_path).caches == (tmp_path / "cache",)


def test_the_root_folder_wins_over_the_hubs_own(tmp_path: Path) -> None:
    root = tmp_path / "root"
    found = load_hub({"HF_ROOT_FOLDER": str(root), "HF_HOME": str(tmp_path)}, tmp_path)
    assert found.caches == (root, root / "hub", tmp_path / "hub")


def test_dot_env_counts_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HF_TOKEN=hf_file\nHF_ENDPOINT=http://127.0.0.1:1/\nHF_HUB_OFFLINE=1\n")
    found = load_hub({"HF_TOKEN": "hf_environment"}, tmp_path)
    assert found.token == "hf_environment" and found.endpoint == "http://127.0.0.1:1" and found.offline
    assert not load_hub({"HF_HUB_OFFLINE": "0"}, tmp_path).offline


def test_a_token_is_never_shown(tmp_path: Path) -> None:
    assert "hf_secret" not in repr(load_hub({"HF_TOKEN": "hf_secret"}, tmp_path))
