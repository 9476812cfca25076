"""What the documents say is there: every route, every setting with its default, every field."""

import re
from pathlib import Path

import pytest
from flask import Flask

import pipelines
from configs.settings import ROOT, Settings
from web.dialects.synchuman import SyncHumanForm
from web.dialects.trellis import TrellisForm
from web.errors import ERRORS


def text(name: str) -> str:
    return (ROOT / name).read_text()


def test_every_route_is_documented(app: Flask) -> None:
    documented = text("docs/api.md")
    for rule in app.url_map.iter_rules():
        assert f"{rule.rule}`" in documented, f"{rule.rule} is not in docs/api.md"


def test_every_setting_is_documented_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `MAQUETTE_(\w+)` \| (.*?) \|", text("docs/settings.md"), re.M))
    assert set(rows) == {name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, bool | int | float):
            assert rows[name.upper()] == f"`{field.default + 0}`", name


@pytest.mark.parametrize("model", [TrellisForm, SyncHumanForm, *map(pipelines.params_class, pipelines.PIPELINES)])
def test_every_field_is_documented(model: type) -> None:
    documented = text("docs/api.md")
    for name, field in model.model_fields.items():  # type: ignore[attr-defined]
        assert f"`{field.alias or name}`" in documented, f"{name} is not in docs/api.md"


def test_every_error_code_is_documented() -> None:
    documented = text("docs/api.md")
    for status, code, _ in ERRORS.values():
        row = next(line for line in documented.splitlines() if line.startswith(f"| {status} |"))
        assert f"`{code}`" in row


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
    ],
)
def test_every_file_a_document_names_exists(name: str) -> None:
    for path in re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|md|lua|yaml|txt|png|jpg))`", text(name)):
        assert (ROOT / path).exists() or "<" in path or path in text(".gitignore"), f"{name} names {path}"
    for target in re.findall(r"\]\((?!http|#)([^)#]+)", text(name)):
        assert (Path(ROOT, name).parent / target).exists(), f"{name} links to {target}"
