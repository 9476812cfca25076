"""Where settings come from, and what a bad one is told."""

from pathlib import Path

import pytest

from configs.settings import Settings, SettingsError, load_settings


def test_the_environment_wins_over_dot_env_over_yaml_over_default(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "maquette.yaml").write_text("history_limit: 1\nmax_active: 1\nmax_attempts: 1\n")
    (tmp_path / ".env").write_text("# ours\nMAQUETTE_HISTORY_LIMIT=2\nexport MAQUETTE_MAX_ACTIVE='2'\nOTHER=x\n")
    found = load_settings({"MAQUETTE_HISTORY_LIMIT": "3"}, tmp_path)
    assert (found.history_limit, found.max_active, found.max_attempts, found.web_threads) == (3, 2, 1, 8)


def test_the_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    found = load_settings({}, tmp_path)
    assert found.bind == ("0.0.0.0:6006",) and found.redis_url is None and found.devices == ("auto",)
    assert (found.history_limit, found.max_active, found.max_attempts, found.retention_hours) == (10, 10, 3, 24)
    assert found.trusted_proxies == 0 and found.outputs_access == "link" and found.cors_origins == ("*",)
    assert found.data_dir == Path("data").resolve()
    assert found.storage == f"file://{found.data_dir}" and found.fallback and not found.allow_private_urls
    assert found.max_image_bytes == 20 * 2**20 and found.max_image_pixels == 50_000_000 and found.max_images == 16


def test_an_empty_value_counts_as_not_given(tmp_path: Path) -> None:
    assert load_settings({"MAQUETTE_MAX_ACTIVE": "", "MAQUETTE_API_KEYS": ""}, tmp_path).max_active == 10


def test_lists_and_switches_are_read_from_text(tmp_path: Path) -> None:
    found = load_settings({"MAQUETTE_BIND": "6006, 8000 ,[::1]:7860", "MAQUETTE_FALLBACK": "off"}, tmp_path)
    assert found.bind == ("6006", "8000", "[::1]:7860") and found.fallback is False


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MAX_ATTEMPTS", "0", "MAQUETTE_MAX_ATTEMPTS is '0'.*greater than or equal to 1"),
        ("OUTPUTS_ACCESS", "everyone", "MAQUETTE_OUTPUTS_ACCESS is 'everyone'.*'link' or 'owner'"),
        ("REDIS_URL", "localhost:6379", "MAQUETTE_REDIS_URL is 'localhost:6379'"),
        ("TRUSTED_PROXIES", "many", "MAQUETTE_TRUSTED_PROXIES is 'many'"),
    ],
)
def test_a_bad_value_is_named(tmp_path: Path, name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load_settings({f"MAQUETTE_{name}": value}, tmp_path)


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    path = tmp_path / "configs" / "maquette.yaml"
    path.write_text("historylimit: 3")
    with pytest.raises(SettingsError, match="historylimit is not a setting"):
        load_settings({}, tmp_path)
    path.write_text("- a list")
    with pytest.raises(SettingsError, match="maquette.yaml holds a list"):
        load_settings({}, tmp_path)


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    found = load_settings({}, tmp_path)
    with pytest.raises(ValueError):
        found.max_active = 5
    assert isinstance(found, Settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [("DEVICES", "gpu0"), ("RETENTION_HOURS", "inf"), ("RETENTION_HOURS", "nan"), ("LEASE_S", "0.1")],
)
def test_values_that_would_break_later_are_refused_now(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"MAQUETTE_{name}"):
        load_settings({f"MAQUETTE_{name}": value}, tmp_path)
