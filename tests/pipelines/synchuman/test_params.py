"""Parameters of SyncHuman: what is taken, and what is refused."""

import pytest
from pydantic import ValidationError

from pipelines.synchuman.params import SyncHumanParams


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stage", "stage3"), ("seed", -1), ("stage1_steps", 0), ("stage2_steps", 1001), ("guidance_scale", "nan"),
        ("cfg_interval", "1,0.5"), ("cfg_interval", "0.5"), ("cfg_interval", "0,1.5"), ("texture_size", 100),
        ("simplify", 1.0), ("views", 6),
    ],
)  # fmt: skip
def test_bad_parameters_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        SyncHumanParams(**{field: value})


@pytest.mark.parametrize("written", ["0.25,0.75", "[0.25, 0.75]", "(0.25, 0.75)", (0.25, 0.75), ["0.25", "0.75"]])
def test_an_interval_may_be_one_text(written: object) -> None:
    assert SyncHumanParams(cfg_interval=written).cfg_interval == (0.25, 0.75)


@pytest.mark.parametrize(("stage", "said"), [("both", "one picture"), ("stage2", "one structure")])
def test_there_is_one_input(stage: str, said: str) -> None:
    SyncHumanParams(stage=stage).check_images(1)
    with pytest.raises(ValueError, match=f"given 2 times; SyncHuman takes {said}"):
        SyncHumanParams(stage=stage).check_images(2)
