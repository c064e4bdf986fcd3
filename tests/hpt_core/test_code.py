"""Hashes of plug-in code: the changes and the modules that count."""

import ast
import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.protocols.base import ProtocolConfig
from benchmarks.publishers.base import PublisherConfig
from benchmarks.suite import Suite
from hpt_core.code import canonical, code_of, code_of_packages, source_file
from hpt_core.data.procedural.base import Family
from hpt_core.data.sources.base import SourceConfig
from hpt_core.gates.base import Gate
from hpt_core.gates.switch import Switch
from hpt_core.models.base import ModelSourceConfig
from hpt_core.plugins import KINDS
from hpt_core.prompts.base import PromptConfig
from hpt_core.rollout.base import EngineConfig
from hpt_core.trackers.base import TrackerConfig
from hpt_core.training.config import TrainConfig
from hpt_core.upge import parts
from hpt_core.upge.algorithm import Algorithm
from hpt_core.verifiers.base import Verifier

BASES = (
    *(parts.StabilizationMask, parts.ReferencePolicy, parts.Advantage, parts.LikelihoodGradient, parts.Aggregation),
    *(parts.Regularizer, Algorithm, Gate, EngineConfig, PromptConfig, ModelSourceConfig, SourceConfig, Family),
    *(Verifier, TrackerConfig, PublisherConfig, ProtocolConfig, Suite),
)
REQUIRED: dict[str, dict[str, Any]] = {
    "models.folder": {"path": "model"},
    "models.hub": {"repo": "owner/name"},
    "sources.jsonl": {"file": "rows.jsonl"},
    "sources.procedural": {"rows": 1, "seed": 1},
    "publishers.git_branch": {"remote": "origin"},
    "publishers.model_card": {"repo": "owner/name", "model": "train.hpt"},
    "publishers.huggingface": {"repo": "owner/name"},
    "publishers.s3": {"url": "s3://bucket/site"},
    "publishers.static_site": {"path": "site"},
}
"""Fields of the plug-ins that need some."""
ALL = [(base.plugin_kind.name, name) for base in BASES for name in base.plugin_kind.names]

PLAIN = '''
"""What the module is."""

from typing import ClassVar

from hpt_core.gates.base import Gate


class Mine(Gate):
    """What the class is."""

    needs_success_rate: ClassVar[bool] = True
    """What the class variable is."""

    gamma: float = 0.5
    """What the field is."""

    def coefficients(self, success_rate: float | None, has_demonstration: bool) -> dict[str, float]:
        """What the method does."""
        # Why it does so.
        limit = self.gamma * 2

        return {"rl": 1.0} if (success_rate or 0) > limit else {"sft": 1.0}  # no other
'''

Write = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def modules_of_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """`tmp_path` is searched for modules; the ones found there are forgotten after each test."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        module = sys.modules[name]
        places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
        if any(str(place).startswith(str(tmp_path)) for place in places):
            del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a module, by its dotted name, with the `__init__.py` of each of its packages where there is none."""
    versions = iter(range(1, 1000))

    def write(name: str, text: str) -> Path:
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in path.parents:
            if folder == tmp_path:
                break
            (folder / "__init__.py").touch()
        path.write_text(text)
        # A clock may be too coarse to tell two versions of a file apart.
        stamp = path.stat().st_mtime_ns + 10**9 * next(versions)
        os.utime(path, ns=(stamp, stamp))
        importlib.invalidate_caches()
        return path

    return write


def modules(reference: str, base: type[Any] = Gate) -> set[str]:
    """Modules whose code counts for a plug-in."""
    return set(code_of(base.from_value(reference)))


def gate(*imports: str, base: str = "Gate", defined_in: str = "hpt_core.gates.base") -> str:
    """A module with the gate `Mine` and imports."""
    lines = [f"from {defined_in} import {base}", *imports, f"class Mine({base}):", "    gamma: float = 0.5"]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# Why it does so.", "# Another reason."),
        ("        # Why it does so.\n", ""),
        ("  # no other", ""),
        ('"""What the module is."""', '"""Something else.\n\nAt length."""'),
        ('"""What the module is."""\n', ""),
        ('    """What the class is."""\n\n', ""),
        ('"""What the field is."""', "'What the field is not.'"),
        ('    """What the field is."""\n', ""),
        ('"""What the class variable is."""', '"""More."""'),
        ('        """What the method does."""\n', ""),
        ('"""What the method does."""', '"""What the method does.\n\n        And why.\n        """'),
        ("limit = self.gamma * 2\n", "limit = (\n            self.gamma\n            * 2\n        )\n\n\n"),
        ('{"rl": 1.0}', "{'rl': 1.0,}"),
        ("\n\n\nclass", "\nclass"),
    ],
)
def test_comments_docstrings_and_layout_change_nothing(write: Write, old: str, new: str) -> None:
    write("mine", PLAIN)
    plugin = Gate.from_value("mine:Mine")
    before = code_of(plugin)
    assert old in PLAIN
    write("mine", PLAIN.replace(old, new))
    assert code_of(plugin) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self.gamma * 2", "self.gamma * 3"),
        ("gamma: float = 0.5", "gamma: float = 0.25"),
        ("(success_rate or 0) > limit", "(success_rate or 0) >= limit"),
        ('{"rl": 1.0}', '{"off": 1.0}'),
        ("class Mine", "import math\n\n\nclass Mine"),
        ("limit = self.gamma * 2", "limit = self.gamma * 2\n        'a' + 'b'"),
        ("class Mine", 'NOTE = """What the module is."""\n\n\nclass Mine'),
    ],
)
def test_a_change_of_code_changes_the_hash_and_back_again(write: Write, old: str, new: str) -> None:
    write("mine", PLAIN)
    plugin = Gate.from_value("mine:Mine")
    before = code_of(plugin)
    assert set(before) == {"mine"}
    assert len(before["mine"]) == 64
    assert old in PLAIN
    write("mine", PLAIN.replace(old, new))
    assert code_of(plugin) != before
    assert set(code_of(plugin)) == {"mine"}
    write("mine", PLAIN)
    assert code_of(plugin) == before


def test_a_program_has_one_text_in_every_version_of_python() -> None:
    """Python 3.12 quotes f-strings in another way, and functions have a list of type parameters since."""
    source = '''def f(x, *, y=None):\n    return f"{x!r:>{y}}: {{'a': \\"b\\"}}"'''
    assert canonical(ast.parse(source)) == (
        "Module(body=[FunctionDef(name='f',args=arguments(args=[arg(arg='x')],kwonlyargs=[arg(arg='y')],"
        "kw_defaults=[Constant()]),body=[Return(value=JoinedStr(values=[FormattedValue(value=Name(id='x',ctx=Load()),"
        "conversion=114,format_spec=JoinedStr(values=[Constant(value='>'),FormattedValue(value=Name(id='y',ctx=Load()),"
        "conversion=-1)])),Constant(value=': {\\'a\\': \"b\"}')]))])])"
    )
    assert canonical(ast.parse("u'a'")) == canonical(ast.parse("'a'")) != canonical(ast.parse("b'a'"))
    assert canonical(ast.parse("x = None")) != canonical(ast.parse("x = 0")) != canonical(ast.parse("x = False"))


def test_a_body_with_only_a_docstring_equals_an_empty_body(write: Write) -> None:
    write("mine", gate() + 'class Empty:\n    """It holds nothing."""\n\n\ndef nothing():\n    """Nothing."""\n')
    plugin = Gate.from_value("mine:Mine")
    before = code_of(plugin)
    write("mine", gate() + "class Empty:\n    pass\n\n\ndef nothing():\n    pass\n")
    assert code_of(plugin) == before


@pytest.mark.parametrize(
    "line",
    [
        "from mine_package.gates import helper",
        "from mine_package.gates.helper import VALUE",
        "import mine_package.gates.helper",
        "from . import helper",
        "from .helper import VALUE",
        "from ..gates.helper import VALUE",
    ],
)
def test_imports_from_the_same_package_count(write: Write, line: str) -> None:
    write("mine_package.gates.own", gate(line))
    write("mine_package.gates.helper", "from ..far import deep\nVALUE = 1\n")
    write("mine_package.far.deep", "DEPTH = 2\n")
    write("mine_package.far.unused", "UNUSED = 3\n")
    plugin = Gate.from_value("mine_package.gates.own:Mine")
    before = code_of(plugin)
    assert {"mine_package.gates.own", "mine_package.gates.helper", "mine_package.far.deep"} <= set(before)
    assert "mine_package.far.unused" not in before
    write("mine_package.far.deep", "DEPTH = 3\n")
    changed = code_of(plugin)
    assert {name for name in before if before[name] != changed[name]} == {"mine_package.far.deep"}


@pytest.mark.parametrize("indent", ["if True:\n    ", "def late():\n    "])
def test_an_import_counts_anywhere_in_a_module_and_is_not_executed(write: Write, indent: str) -> None:
    write("mine_package.own", gate(f"{indent}from mine_package.helper import Part"))
    write("mine_package.helper", "from mine_package.more import VALUE\nclass Part: pass\n")
    write("mine_package.more", "VALUE = 1\n")
    assert {"mine_package.own", "mine_package.helper", "mine_package.more"} <= modules("mine_package.own:Mine")


def test_to_find_code_imports_nothing(write: Write) -> None:
    write("own", gate("def late():\n    import torch.nn.functional\n    from boom.part import VALUE"))
    write("mine_package.own", gate("def late():\n    from mine_package.boom.part import VALUE"))
    for package in ("boom", "mine_package.boom"):
        write(f"{package}.__init__", "raise RuntimeError('imported')\n")
        write(f"{package}.part", "raise RuntimeError('imported')\n")
    code = (
        "import sys\n"
        "from hpt_core.code import code_of\n"
        "from hpt_core.gates.base import Gate\n"
        "print(*code_of(Gate.from_value('own:Mine'), Gate.from_value('mine_package.own:Mine')))\n"
        "assert not {'torch', 'boom'} & set(sys.modules)\n"
    )
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{source_file('own').parent}"}  # type: ignore[union-attr]
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.split() == ["boom.part", "mine_package.boom.part", "mine_package.own", "own"], done.stderr


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("import helper", {"helper", "further"}),
        ("from helper import VALUE", {"helper", "further"}),
        ("import helpers.part", {"helpers.part", "further"}),
        ("from helpers import part", {"helpers", "helpers.part", "further"}),
        ("from helpers.part import VALUE", {"helpers.part", "further"}),
        ("from bare.part import VALUE", {"bare.part"}),
    ],
)
def test_files_beside_a_module_without_a_package_count(
    write: Write, tmp_path: Path, line: str, found: set[str]
) -> None:
    write("own", gate(line))
    write("helper", "import further\nVALUE = 1\n")
    write("helpers.part", "import further\nVALUE = 1\n")
    write("further", "import json\n")
    write("unused", "VALUE = 1\n")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "part.py").write_text("VALUE = 1\n")
    importlib.invalidate_caches()
    assert modules("own:Mine") == {"own"} | found


def test_a_plugin_that_is_a_package_counts_all_its_modules(write: Write) -> None:
    write("mine_package.__init__", gate("from mine_package.sub import part", "from .other import VALUE"))
    write("mine_package.sub.part", "VALUE = 1\n")
    write("mine_package.other", "VALUE = 1\n")
    write("beside", "VALUE = 1\n")
    found = modules("mine_package:Mine")
    assert found == {"mine_package", "mine_package.sub", "mine_package.sub.part", "mine_package.other"}


def test_other_packages_do_not_count(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = ("import json", "import numpy.linalg", "from pydantic import Field", "import elsewhere", "import beside")
    write("mine_package.own", gate(*others))
    write("beside", "VALUE = 1\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "elsewhere.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(elsewhere)
    assert modules("mine_package.own:Mine") == {"mine_package.own"}
    write("own", gate(*others))
    assert modules("own:Mine") == {"own", "beside"}


def test_files_beside_an_installed_module_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "installed.py").write_text(gate("import beside"))
    (site / "beside.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(site)
    assert modules("installed:Mine") == {"installed"}


def test_a_plugin_that_derives_from_a_shipped_one_counts_both(write: Write) -> None:
    write("own", gate("import helper", base="Switch", defined_in="hpt_core.gates.switch"))
    write("helper", "VALUE = 1\n")
    assert modules("own:Mine") == {"own", "helper", "hpt_core.gates.switch"}
    algorithm = gate(base="HPT", defined_in="hpt_core.algorithms.hpt")
    write("algorithm", algorithm)
    mine = code_of(Algorithm.from_value("algorithm:Mine"))
    assert {"algorithm", *code_of(Algorithm.from_value("hpt"))} == set(mine)
    write("families", "from hpt_core.data.procedural.whole import Whole\nclass Mine(Whole): pass\nMINE = Mine()\n")
    assert modules("families:MINE", Family) == {"families", *modules("whole", Family)}


def test_a_plugin_that_derives_from_an_installed_one_counts_both(write: Write) -> None:
    write("theirs.gates", gate("from theirs.helper import VALUE"))
    write("theirs.helper", "VALUE = 1\n")
    write("own", "from theirs.gates import Mine as Theirs\nclass Mine(Theirs): pass\n")
    assert modules("own:Mine") == {"own", "theirs.gates", "theirs.helper"}


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_shipped_plugin_counts_its_own_module(kind: str, name: str) -> None:
    required = REQUIRED.get(f"{kind}.{name}")
    code = code_of(KINDS[kind].base.from_value({"name": name, **required} if required else name))
    assert f"{KINDS[kind].package}.{name}" in code
    packages = {base.plugin_kind.package for base in BASES}
    assert {module.rpartition(".")[0] for module in code} <= packages
    assert not [module for module in code if module.endswith((".base", "._base"))]


def test_plugins_in_a_config_count_and_other_shipped_ones_do_not() -> None:
    config = TrainConfig.model_validate({"algorithm": "hpt", "steps": 1, "engine": "transformers"})
    found = code_of(config)
    expected = {"hpt_core.algorithms.hpt", "hpt_core.gates.switch", "hpt_core.rollout.transformers"}
    assert expected <= set(found)
    assert {"hpt_core.upge.aggregation.fixed_length", "hpt_core.upge.stabilization_mask.clip"} <= set(found)
    assert not [name for name in found if name.startswith(("hpt_core.training", "hpt_core.rollout.base", "pydantic"))]
    assert list(found) == sorted(found)


def test_plugins_that_do_not_affect_the_result_do_not_count() -> None:
    config = TrainConfig.model_validate({"algorithm": "sft", "steps": 1, "engine": "transformers"})
    assert "hpt_core.rollout.transformers" not in code_of(config)


def test_plugins_are_found_in_nested_values() -> None:
    alone = code_of(Switch())
    assert alone == code_of([Switch()]) == code_of({"a": (Switch(),)}) == code_of(None, "switch", 3, Switch())
    assert code_of() == code_of("switch", None) == {}


def test_the_file_of_a_module_is_found() -> None:
    assert source_file("hpt_core.gates.switch") == Path(sys.modules[Switch.__module__].__file__ or "")
    assert str(source_file("json")).endswith("json/__init__.py")
    for nothing in ("sys", "json.decoder.JSONDecoder", "json.nothing", "nothing.at.all", "", ".json"):
        assert source_file(nothing) is None


def test_packages_are_hashed_with_their_other_files_and_without_comments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "shown"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "table.py").write_text("WIDTH = 1\n")
    (package / "page.html").write_text("<p>")
    monkeypatch.syspath_prepend(tmp_path)
    before = code_of_packages("shown")
    (package / "table.py").write_text("# Narrow.\nWIDTH = 1\n")
    assert code_of_packages("shown") == before
    (package / "table.py").write_text("WIDTH = 2\n")
    changed = code_of_packages("shown")
    (package / "page.html").write_text("<b>")
    assert len({before, changed, code_of_packages("shown")}) == 3
