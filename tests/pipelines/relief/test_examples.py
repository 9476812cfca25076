"""The example pictures are what examples/draw.py draws."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def test_the_toy_is_drawn_anew_to_the_same_bytes(tmp_path: Path) -> None:
    code = "from toy import duck_view; import sys; duck_view(90).save(sys.argv[1], optimize=True)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "left.png")], check=True, cwd=EXAMPLES)
    assert (tmp_path / "left.png").read_bytes() == (EXAMPLES / "views/left.png").read_bytes()


def test_no_example_is_large() -> None:
    pictures = [path for path in EXAMPLES.rglob("*") if path.suffix in (".png", ".jpg")]
    assert len(pictures) >= 10
    assert max(path.stat().st_size for path in pictures) < 300_000
