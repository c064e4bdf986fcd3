from hpt_core.artifacts import KnownFiles, Store
from hpt_core.data.config import DataConfig
from hpt_core.prompts.plain import PlainText as Plain
from tasks.context import Context
from tasks.part import Made
from tasks.prepare import PreparePart


def unit_of(tmp_path, strict):
    config = DataConfig.model_validate({"source": {"name": "procedural", "rows": 8, "seed": 1}, "model": "model.m"})
    context = Context(store=Store(str(tmp_path)), known=KnownFiles(), strict=strict)
    made = {"model.m": Made("model.m", "model", "0" * 64, str(tmp_path), {"tokenizer": "1" * 64}, reused=True)}
    (unit,) = PreparePart("data.d", config, Plain()).units(made, context)
    return unit


def test_an_output_made_without_strict_is_no_answer_to_strict(tmp_path):
    assert unit_of(tmp_path, True).fingerprint != unit_of(tmp_path, False).fingerprint
