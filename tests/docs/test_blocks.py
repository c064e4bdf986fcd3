"""Everything that code in the documents names exists: commands, options, config fields, files, classes."""

import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from flows import graph as graphs
from flows.cli import app
from flows.commands.config import sections
from flows.load import load_config
from hpt_core import hub
from hpt_core.training.config import TrainConfig
from tests.docs.documents import DOCUMENTS, ROOT, Block, inline, name, split

PLACEHOLDERS = {"CONFIG": "configs/demo.toml", "STAGE": "train.hpt", "N": "1", "S": "1"}
"""What stands for something in the documents -> an example of it."""
OF_A_STAGE = set(TrainConfig.model_fields)
"""Fields that an example may give without the head of its table."""
GUIDE = ROOT / "docs" / "guides" / "own_data.md"


def commands(document: Path) -> list[str]:
    """Command lines of `hpt` in code blocks and in inline code, without what explains them."""
    blocks, _ = split(document)
    lines = [line for block in blocks if block.language in ("", "sh") for line in block.text.splitlines()]
    found = [re.split(r"\s+#|\s{2,}", line.strip())[0] for line in [*lines, *inline(document)]]
    found = [re.sub(r"^(?:[A-Z_]+=\S+ )+", "", line) for line in found]
    return list(dict.fromkeys(line for line in found if re.match(r"hpt [a-z]", line)))


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if commands(d)], ids=name)
def test_commands_exist(document: Path) -> None:
    for line in commands(document):
        try:
            check(line)
        except Exception as error:
            raise AssertionError(f"{name(document)}: {line}: {error}") from error


def check(line: str) -> None:
    """Parse a command line as `hpt` itself does, and load its config, if it is one of ours, with its overrides."""
    words = [PLACEHOLDERS.get(word.strip("[]"), word.strip("[]")) for word in shlex.split(line)[1:]]
    command: Any = typer.main.get_command(app)
    path = ""
    while hasattr(command, "commands"):
        path, command, words = command.resolve_command(command.make_context("hpt", list(words)), words)
    if not words:
        return  # a name alone
    parameters = command.make_context(path, words).params
    config = parameters.get("config")
    if config is None or not (ROOT / config).is_file():
        return
    loaded = load_config(ROOT / config, parameters.get("overrides") or ())
    for stage in filter(None, [parameters.get("from_stage"), parameters.get("stage")]):
        assert graphs.match(graphs.build(loaded), stage if "NAME" not in stage else "train.hpt")


def examples(document: Path) -> list[Block]:
    """Configs, and parts of them."""
    return [block for block in split(document)[0] if block.language == "toml"]


@pytest.mark.parametrize(
    "document", [d for d in DOCUMENTS if examples(d) and d != GUIDE and d.name != "algorithms.md"], ids=name
)
def test_configs_load(document: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Something for the patterns to match.
    monkeypatch.chdir(tmp_path)
    checkpoint = tmp_path / "ckpts" / "hpt" / "step-00100"
    shutil.copytree(tiny_model, checkpoint)
    for path in checkpoint.iterdir():
        os.utime(path, (1e9, 1e9))
    monkeypatch.setattr(hub, "model_refs", lambda repo: {"step-100": "0" * 40})
    for number, block in enumerate(examples(document)):
        file = tmp_path / f"{number}.toml"
        file.write_text(completed(block.text, ROOT / "configs" / "demo.toml"), encoding="utf-8")
        load_config(file)


def completed(text: str, base: Path) -> str:
    """A whole config: the text over `base`, if it is a part of one."""
    fields = set(re.findall(r"^(\w+) = ", text.partition("\n[")[0], re.MULTILINE))
    if "extends" in fields:
        # The bases have no model; a config that extends them does.
        return text.replace("base/paper.toml", str(ROOT / "configs" / "qwen2.5-math-7b.toml"))
    if "name" in fields and not text.startswith("["):
        return text
    head = "[train.hpt]\n" if fields and fields <= OF_A_STAGE and not text.startswith("[") else ""
    return f'extends = "{base}"\n{head}{text}'


def test_the_guide_to_own_data_fits_together(tmp_path: Path) -> None:
    """Its files, made one after the other; the last part of a config over its config."""
    blocks, _ = split(GUIDE)
    files = {block.title: block.text for block in blocks if block.title}
    for file, text in files.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    parts = [block.text for block in blocks if block.language == "toml" and not block.title]
    for number, text in enumerate(parts):
        (tmp_path / f"part-{number}.toml").write_text(completed(text, tmp_path / "sums.toml"), encoding="utf-8")
    subprocess.run([sys.executable, "make_data.py"], cwd=tmp_path, check=True, timeout=60)
    code = (
        "from pathlib import Path\n"
        "from flows.graph import build\n"
        "from flows.load import load_config\n"
        "for file in sorted(Path().glob('*.toml')):\n"
        "    config = load_config(file)\n"
        "    assert len(config.evaluate.suites[0].load(None)) == 50\n"
        "    print(file, *build(config))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    built = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert "train.hpt" in built["sums.toml"]
    assert "evaluate.loo" in built["part-0.toml"]


PATHS = re.compile(
    r"(?<![\w/.-])(?:hpt_core|tasks|flows|benchmarks|configs|tests|examples|docs|scripts|requirements|bench)/[\w./-]*"
)
DOTTED = re.compile(r"(?:hpt_core|tasks|flows|benchmarks)(?:\.\w+)+")
OF_TABLES = re.compile(r"(?:resources|report|evaluate)(?:\.[a-z_]+)+")


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_paths_and_names_exist(document: Path) -> None:
    codes = [*(block.text for block in split(document)[0]), *inline(document)]
    paths = {path.rstrip(".") for code in codes for path in PATHS.findall(code)}
    # Neither names with a placeholder, nor hidden folders that a command makes.
    whole = [path for path in sorted(paths) if not re.search(r"[A-Z]{4}|/\.", path)]
    gone = [path for path in whole if not (ROOT / path).exists()]
    assert gone == []
    for code in inline(document):
        if DOTTED.fullmatch(code):
            pkgutil.resolve_name(code)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_fields_exist(document: Path) -> None:
    known = {f"{heading.strip('[]')}.{field.name}" for heading, fields in sections() for field in fields} | {
        "evaluate.budget"
    }
    named = {code for code in inline(document) if OF_TABLES.fullmatch(code) and not code.endswith(".py")}
    assert sorted(named - known) == []
