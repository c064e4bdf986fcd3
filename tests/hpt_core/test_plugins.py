"""Plug-ins: every way to name one, errors for unknown names, and the same meaning of a name everywhere."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from benchmarks.protocols.base import ProtocolConfig
from benchmarks.publishers.base import PublisherConfig
from benchmarks.suite import Suite
from hpt_core import plugins
from hpt_core.base import Frozen
from hpt_core.data.procedural.base import Family
from hpt_core.data.sources.base import SourceConfig
from hpt_core.errors import ConfigError
from hpt_core.gates.base import Gate
from hpt_core.gates.soft import Soft
from hpt_core.gates.switch import Switch
from hpt_core.models.base import ModelSourceConfig
from hpt_core.plugins import KINDS, Plugin, PluginConfig, add_folder, summary
from hpt_core.prompts.base import PromptConfig
from hpt_core.rollout.base import EngineConfig
from hpt_core.trackers.base import TrackerConfig
from hpt_core.training.config import TrainConfig
from hpt_core.upge import parts
from hpt_core.upge.algorithm import Algorithm
from hpt_core.verifiers.base import Verifier
from hpt_core.worker import read_spec

BASES: dict[str, type[Plugin]] = {
    "advantages": parts.Advantage,
    "aggregations": parts.Aggregation,
    "algorithms": Algorithm,
    "benchmarks": Suite,
    "engines": EngineConfig,
    "families": Family,
    "gates": Gate,
    "likelihood_gradients": parts.LikelihoodGradient,
    "models": ModelSourceConfig,
    "prompts": PromptConfig,
    "protocols": ProtocolConfig,
    "publishers": PublisherConfig,
    "reference_policies": parts.ReferencePolicy,
    "regularizers": parts.Regularizer,
    "sources": SourceConfig,
    "stabilization_masks": parts.StabilizationMask,
    "trackers": TrackerConfig,
    "verifiers": Verifier,
}
ROOT = Path(__file__).resolve().parents[2]
ALL = [(kind, name) for kind, base in BASES.items() for name in base.plugin_kind.names]

GATES = '''"""Gates of somebody else's. There is more than one."""

from hpt_core.gates.base import Gate
from hpt_core.gates.switch import Switch


class Steep(Switch):
    """A switch with one more field."""

    slope: float = 2.0


class Other:
    """No gate."""


class Shelf:
    """Holds a gate."""

    class Inner(Switch):
        """A gate within a class."""


QUARTER = Switch(gamma=0.25)
'''
FAMILIES = '''"""A problem family of somebody else's."""

from hpt_core.data.procedural.base import Family
from hpt_core.data.procedural.mirror import FAMILY as SHARED
from hpt_core.data.procedural.whole import Whole


class Mine(Whole):
    """The same under another name."""


MINE = Mine()
'''
TYPED = '''"""Typed plug-ins, and the configs that take them."""

import hpt_core as hpt
from hpt_core.algorithms.grpo import GRPO, Rollouts
from hpt_core.algorithms.hpt import HPT
from hpt_core.gates.switch import Switch
from hpt_core.training.config import Reward


class LeaveOneOut(hpt.Advantage):
    scale: float = 1.0

    def estimate(self, group: hpt.Group) -> hpt.Advantages:
        n, total = len(group.rewards), sum(group.rewards)
        return hpt.Advantages(tuple(self.scale * (n * r - total) / (n - 1) for r in group.rewards), demonstration=1.0)


class Contains(hpt.Verifier):
    def extract(self, response: str, question: str = "") -> str | None:
        return response or None

    def judge(self, gold: str, answer: str | None, question: str = "") -> hpt.Outcome | hpt.Judgment:
        return hpt.Outcome.CORRECT if answer and gold in answer else hpt.Judgment(hpt.Outcome.INCORRECT, 0.5)


class Steep(Switch):
    slope: float = 2.0


'''
ACCEPTED = (
    "Rollouts(advantage=LeaveOneOut(scale=2.0))",
    "Reward(verifier=Contains(), weight=0.5)",
    "hpt.Estimator(HPT(gate=Steep(slope=3.0)), max_length=16)",
    "GRPO(rl=Rollouts(advantage=LeaveOneOut()))",
)
REFUSED = (
    "Rollouts(advantage=Contains())",
    "Reward(verifier=LeaveOneOut())",
    "HPT(gate=LeaveOneOut())",
    "LeaveOneOut(scale='twice')",
    "Steep(steepness=1.0)",
)
STRICT = """
[mypy]
strict = true
follow_imports = silent
# Nothing in the plug-ins depends on these, and reading them takes most of the time.
[mypy-torch.*,prefect.*,numpy.*,pandas.*,pyarrow.*,rich.*,typer.*,httpx.*,huggingface_hub.*,fsspec.*,transformers.*]
follow_imports = skip
ignore_missing_imports = true
"""

WriteModule = Callable[[str, str], Path]


class Holder(Frozen):
    """A config with plug-ins."""

    gate: Gate = Field(default="soft", validate_default=True)
    others: tuple[Gate, ...] = ()
    engine: EngineConfig | None = None
    family: Family = Field(default="mirror", validate_default=True)


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Modules, folders and caches are as before after each test."""
    caches = (plugins.modules, plugins._entry_points)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("HPT_PLUGINS", "")
    for registry in ("_ENTRIES", "_REFERENCES"):
        monkeypatch.setattr(plugins, registry, dict(getattr(plugins, registry)))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def write_module(tmp_path: Path) -> WriteModule:
    """Writes a module into a folder of plug-ins."""
    add_folder(tmp_path / "plugins")

    def write(name: str, text: str) -> Path:
        path = tmp_path / "plugins" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        importlib.invalidate_caches()
        return path

    return write


@pytest.fixture
def install(tmp_path: Path) -> Callable[[str], None]:
    """Installs a distribution that holds GATES as `fake_gates`, FAMILIES as `fake_families`, and the entry points."""

    def install(entry_points: str) -> None:
        site = tmp_path / "site"
        (site / "fake-1.0.dist-info").mkdir(parents=True)
        (site / "fake-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: fake\nVersion: 1.0\n")
        (site / "fake-1.0.dist-info" / "entry_points.txt").write_text(entry_points)
        (site / "fake_gates.py").write_text(GATES)
        (site / "fake_families.py").write_text(FAMILIES)
        # `as_before` takes it out again; monkeypatch's own way would put back what others had added by then.
        sys.path.insert(0, str(site))
        importlib.invalidate_caches()
        plugins.modules.cache_clear()
        plugins._entry_points.cache_clear()

    return install


def run_python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `code` in a process of its own, elsewhere."""
    paths = os.pathsep.join([str(ROOT), *environment.pop("path", "").split(os.pathsep)])
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_kind_is_known() -> None:
    assert {name: kind.base for name, kind in KINDS.items() if name in BASES} == BASES
    ours = {name for name, kind in KINDS.items() if kind.package.startswith(("hpt_core", "benchmarks"))}
    assert ours == set(BASES)


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_name_loads_a_plugin_of_that_name(kind: str, name: str) -> None:
    base = BASES[kind]
    found = base.plugin_kind.load(name)
    if issubclass(base, PluginConfig):
        assert issubclass(found, base)
        assert plugins.reference_of(found) == name
        assert found.__module__ == f"{base.plugin_kind.package}.{name}"
    else:
        assert isinstance(found, base)
        assert found.reference == name
        assert base.from_value(name) is found
        assert found.module == f"{base.plugin_kind.package}.{name}"
    assert summary(found)
    assert "\n" not in summary(found)


def test_a_summary_outside_our_packages_is_that_of_the_class(write_module: WriteModule) -> None:
    write_module("mine", GATES)
    write_module("families", FAMILIES)
    undescribed = "from hpt_core.gates.switch import Switch\n\nclass Plain(Switch):\n    slope: float = 2.0\n"
    write_module("undescribed", f'"""One gate. And no more."""\n{undescribed}')
    expected = {
        "mine:Steep": "A switch with one more field",
        "mine:Shelf.Inner": "A gate within a class",
        "undescribed:Plain": "One gate",
    }
    assert {path: summary(Gate.plugin_kind.load(path)) for path in expected} == expected
    assert summary(Family.plugin_kind.load("families:MINE")) == "The same under another name"


def test_a_file_without_a_plugin_is_not_a_name() -> None:
    assert Gate.plugin_kind.names == ("always", "gate_off", "soft", "switch")
    assert not {"base", "pool", "options", "references", "_worker"} & set(Verifier.plugin_kind.names)


def test_a_plugin_is_named_by_its_file() -> None:
    assert Holder.model_validate({"gate": "switch"}).gate == Switch()
    assert Gate.from_value("switch") == TypeAdapter(Gate).validate_python("switch") == Switch()
    assert Gate.plugin_kind.load("switch") is Switch
    assert (Switch().name, Switch().reference, Switch().module) == ("switch", "switch", "hpt_core.gates.switch")


def test_a_table_sets_fields_beside_the_name() -> None:
    holder = Holder.model_validate({"gate": {"name": "switch", "gamma": 0.5}, "others": ["soft", {"name": "always"}]})
    assert holder.gate == Switch(gamma=0.5)
    assert [gate.name for gate in holder.others] == ["soft", "always"]


def test_an_instance_is_taken_as_it_is() -> None:
    gate = Switch(gamma=0.5)
    assert Holder(gate=gate).gate is gate
    assert Gate.from_value(gate) is gate
    assert Holder(gate="switch") == Holder(gate=Switch()) == Holder(gate={"name": "switch"})


def test_a_table_without_a_name_gets_the_default_name() -> None:
    holder = Holder.model_validate({"gate": {"gamma_low": 0.5}})
    assert holder.gate == Soft(gamma_low=0.5)
    train = TrainConfig.model_validate({"steps": 1, "algorithm": {"name": "hpt", "gate": {"gamma": 0.5}}})
    assert train.algorithm.gate == Switch(gamma=0.5)
    vllm = TrainConfig.model_validate({"steps": 1, "algorithm": "hpt", "engine": {"kv_cache_gib": 0.5}}).engine
    assert (vllm.name, vllm.model_dump()["kv_cache_gib"]) == ("vllm", 0.5)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("swich", "unknown name 'swich' in gates; did you mean 'switch'? known: always, gate_off, soft, switch"),
        ({"name": "gateoff"}, "unknown name 'gateoff' in gates; did you mean 'gate_off'?"),
        ({"gamma": 1}, "a name is missing; known: always, gate_off, soft, switch"),
        ({}, "a name is missing; known: always"),
        ("", "'' is not a name; known: always"),
        (3, "3 is not a name; known: always"),
        (["switch"], "['switch'] is not a name; did you mean 'switch'?"),
        ({"name": "switch", "gama": 1}, "unknown field; did you mean 'gamma'? known: gamma, above, otherwise"),
        ("mine:Other", "'mine:Other' is not one of gates; name a subclass of hpt_core.gates.base:Gate"),
        ("json:dumps", "'json:dumps' is not one of gates"),
        ("hpt_core.gates.base:Gate", "'hpt_core.gates.base:Gate' is not one of gates"),
        ("hpt_core.prompts.plain:PlainText", "'hpt_core.prompts.plain:PlainText' is not one of gates"),
        ("mine:Steap", "'mine:Steap': mine has no 'Steap'; did you mean 'Steep'?"),
        ("mine:Shelf.Outer", "'mine:Shelf.Outer': mine has no 'Shelf.Outer'"),
        ("mine:", "'mine:': mine has no ''"),
        ("mine.gates:Steep", "'mine.gates:Steep' cannot be imported: ModuleNotFoundError"),
        (":Steep", "':Steep' cannot be imported: ValueError"),
        (
            "nowhere:Gate",
            "'nowhere:Gate' cannot be imported: ModuleNotFoundError: No module named 'nowhere'; check the",
        ),
        ("mien:Steep", "No module named 'mien'; did you mean 'mine'? check the path"),
        ("minee.gates:Steep", "No module named 'minee'; did you mean 'mine'? check the path"),
        ("broken:Gate", "'broken:Gate' cannot be imported: ZeroDivisionError: division by zero; check the path"),
        ("wrong:Gate", "'wrong:Gate' cannot be imported: SyntaxError"),
        ({"name": "mine:QUARTER", "gamma": 1}, "'mine:QUARTER' has no field 'gamma'; give only its name"),
    ],
)
def test_an_unknown_plugin_is_an_error_with_a_remedy(write_module: WriteModule, value: object, message: str) -> None:
    write_module("mine", GATES)
    write_module("broken", "1 / 0\n")
    write_module("wrong", "class Gate(:\n")
    with pytest.raises(ValidationError) as caught:
        Holder.model_validate({"others": ["switch", value]})
    (error,) = caught.value.errors()
    assert error["loc"] == ("others", 1)
    assert message in error["msg"]


def test_load_raises_config_errors_with_a_remedy(write_module: WriteModule) -> None:
    write_module("mine", GATES)
    with pytest.raises(ConfigError, match=r"unknown name 'swich' in gates\. Remedy: did you mean 'switch'"):
        Gate.plugin_kind.load("swich")
    with pytest.raises(ConfigError, match=r"'mine:Other' is not one of gates\. Remedy: name a subclass of"):
        Gate.plugin_kind.load("mine:Other")
    with pytest.raises(ConfigError, match="config's folder or in a folder listed in HPT_PLUGINS"):
        Gate.plugin_kind.load("nowhere:Gate")
    write_module("misnamed", "from benchmarks.suite import Suite\nSUITE = Suite(name='../x')\n")
    with pytest.raises(ConfigError, match=r"'misnamed:SUITE' cannot be imported: ValidationError: name: ") as caught:
        Suite.plugin_kind.load("misnamed:SUITE")
    assert "https://" not in str(caught.value)


def test_folders_of_plugins_may_have_variables(
    write_module: WriteModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_module("in_a_variable", GATES)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(tmp_path / "plugins")])
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HPT_PLUGINS", "~/missing:~/plugins")
    with pytest.raises(ConfigError, match=rf"HPT_PLUGINS; {tmp_path}/missing in it is not a folder"):
        Gate.plugin_kind.load("nowhere:Gate")
    assert Gate.from_value("in_a_variable:Steep").name == "in_a_variable:Steep"
    monkeypatch.delenv("UNSET", raising=False)
    monkeypatch.setenv("HPT_PLUGINS", "$UNSET/plugins")
    with pytest.raises(ConfigError, match=r"HPT_PLUGINS = '\$UNSET/plugins': \$UNSET is not set"):
        add_folder(tmp_path)


def test_a_plugin_is_named_by_its_import_path(write_module: WriteModule) -> None:
    write_module("mine", GATES)
    holder = Holder.model_validate({"gate": {"name": "mine:Steep", "gamma": 0.5, "slope": 3}})
    assert (holder.gate.name, holder.gate.module) == ("mine:Steep", "mine")
    assert holder.gate.model_dump() == {"name": "mine:Steep", "gamma": 0.5, "above": ("rl",), "otherwise": ("sft",)} | {
        "slope": 3.0
    }
    assert "mine:Steep" not in Gate.plugin_kind.names
    assert Gate.from_value("mine:Shelf.Inner").name == "mine:Shelf.Inner"
    # An instance that a module holds is a name for its fields.
    assert Holder(gate="mine:QUARTER").gate.model_dump()["gamma"] == 0.25
    assert Holder(gate="mine:QUARTER").gate.name == "switch"


def test_the_import_path_of_a_shipped_plugin_becomes_its_name() -> None:
    assert Gate.from_value("hpt_core.gates.switch:Switch").name == "switch"
    assert Family.from_value("hpt_core.data.procedural.double:FAMILY").name == "double"
    assert Family.from_value("double").name == "double"


def test_an_instance_has_its_own_name_in_every_module(write_module: WriteModule) -> None:
    write_module("families", FAMILIES)
    code = (
        "import families\n"
        "from hpt_core.data.procedural.base import Family\n"
        "print(families.SHARED.name, families.MINE.name, families.MINE.module)\n"
        "print(Family.from_value('families:MINE') is families.MINE)\n"
        "print(Family.from_value('families:SHARED').name)\n"
    )
    done = run_python(code, path=os.environ["HPT_PLUGINS"])
    assert done.stdout.split() == ["mirror", "families:MINE", "families", "True", "mirror"], done.stderr


def test_a_class_is_refused_if_the_kinds_plugins_are_instances(write_module: WriteModule) -> None:
    write_module("families", FAMILIES)
    assert Holder(family="families:MINE").family.name == "families:MINE"
    with pytest.raises(ValidationError, match="'families:Mine' is not one of families; name an instance of hpt_core"):
        Holder(family="families:Mine")
    with pytest.raises(ConfigError, match=r"not one of benchmarks.*an instance of benchmarks\.suite:Suite"):
        Suite.plugin_kind.load("benchmarks.suite:Suite")


def test_an_instance_outside_any_module_cannot_be_named(write_module: WriteModule) -> None:
    write_module("families", FAMILIES)
    module = importlib.import_module("families")
    with pytest.raises(ConfigError, match=r"cannot be imported by other processes\. Remedy: assign it to a name"):
        _ = module.Mine().name


def test_a_plugin_is_named_by_its_entry_point(install: Callable[[str], None]) -> None:
    install("[hpt_pipelines.gates]\nsteep = fake_gates:Steep\n\n[hpt_pipelines.families]\nmine = fake_families:MINE\n")
    assert Gate.plugin_kind.names == ("always", "gate_off", "soft", "steep", "switch")
    assert "fake_gates" not in sys.modules
    holder = Holder.model_validate({"gate": {"name": "steep", "slope": 3}, "family": "mine"})
    assert holder.gate.model_dump()["slope"] == 3
    assert (holder.gate.name, holder.gate.module) == ("steep", "fake_gates")
    assert (holder.family.name, holder.family.module) == ("mine", "fake_families")
    with pytest.raises(ConfigError, match="did you mean 'steep'"):
        Gate.plugin_kind.load("step")
    assert "steep" not in PromptConfig.plugin_kind.names


def test_a_plugin_of_an_entry_point_always_has_its_name(install: Callable[[str], None]) -> None:
    install("[hpt_pipelines.gates]\nsteep = fake_gates:Steep\n\n[hpt_pipelines.families]\nmine = fake_families:MINE\n")
    module = importlib.import_module("fake_gates")
    assert module.Steep().name == "steep"
    assert Gate.from_value("fake_gates:Steep").name == "steep"
    assert importlib.import_module("fake_families").MINE.name == "mine"
    assert Family.from_value("fake_families:MINE").name == "mine"


def test_an_entry_point_may_point_to_a_reexported_class(install: Callable[[str], None]) -> None:
    install("[hpt_pipelines.gates]\nsteep = fake_gates_too:Steep\n")
    Path(sys.path[0], "fake_gates_too.py").write_text("from fake_gates import Steep\n")
    gate = Gate.from_value("steep")
    assert gate.name == "steep"
    assert Holder.model_validate_json(Holder(gate=gate).model_dump_json()).gate == gate


def test_an_entry_point_without_a_target_is_an_error(install: Callable[[str], None]) -> None:
    install("[hpt_pipelines.gates]\na = fake_gates:Nothing\nb = nowhere:Gate\nc = fake_gates:Other\n")
    expected = {"a": "fake_gates has no 'Nothing'", "b": "'nowhere:Gate' cannot be imported", "c": "'c' is not one of"}
    for name, message in expected.items():
        with pytest.raises(ConfigError, match=message):
            Gate.plugin_kind.load(name)


def test_a_name_that_two_packages_offer_is_ambiguous(install: Callable[[str], None], tmp_path: Path) -> None:
    install("[hpt_pipelines.gates]\nsteep = fake_gates:Steep\n")
    other = tmp_path / "site" / "other-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (other / "entry_points.txt").write_text("[hpt_pipelines.gates]\nsteep = other_gates:Steep\n")
    plugins._entry_points.cache_clear()
    with pytest.raises(ConfigError, match=r"'steep' is ambiguous in gates: it names .*_gates:Steep and .*_gates:Steep"):
        Gate.plugin_kind.load("steep")
    assert Holder.model_validate({"gate": "fake_gates:Steep"}).gate.name == "fake_gates:Steep"


def test_an_entry_point_with_one_of_our_names_is_ambiguous(install: Callable[[str], None]) -> None:
    install("[hpt_pipelines.gates]\nswitch = fake_gates:Steep\n")
    message = "'switch' is ambiguous in gates: it names a built-in plug-in and fake_gates:Steep; use an import"
    with pytest.raises(ValidationError, match=message):
        Holder(gate="switch")
    theirs = Holder.model_validate({"gate": {"name": "fake_gates:Steep", "slope": 3}})
    ours = Holder.model_validate({"gate": {"name": "hpt_core.gates.switch:Switch", "gamma": 0.5}})
    assert type(ours.gate) is Switch
    for holder in (theirs, ours):
        with pytest.raises(ConfigError, match="ambiguous"):
            Gate.plugin_kind.load("switch")
        assert ":" in holder.gate.name
        assert Holder.model_validate_json(holder.model_dump_json()) == holder


def test_a_config_round_trips_through_json(write_module: WriteModule, install: Callable[[str], None]) -> None:
    write_module("mine", GATES)
    write_module("families", FAMILIES)
    install("[hpt_pipelines.gates]\nsteep = fake_gates:Steep\n")
    holder = Holder.model_validate(
        {
            "gate": {"name": "mine:Steep", "slope": 3},
            "others": ["switch", {"name": "steep", "slope": 4}, Soft(gamma_low=0.5), "mine:Shelf.Inner"],
            "engine": {"name": "scripted"},
            "family": "families:MINE",
        }
    )
    written = holder.model_dump_json()
    assert Holder.model_validate_json(written) == holder
    assert Holder.model_validate(holder.model_dump()) == holder
    table = json.loads(written)
    assert list(table["gate"]) == ["name", "gamma", "above", "otherwise", "slope"]
    assert [gate["name"] for gate in table["others"]] == ["switch", "steep", "soft", "mine:Shelf.Inner"]
    assert table["family"] == "families:MINE"
    assert holder.identity() == table


def test_a_concrete_class_accepts_only_its_own_name() -> None:
    assert Switch.model_validate({"name": "switch", "gamma": 0.5}) == Switch(gamma=0.5)
    assert Switch.model_validate({"name": "hpt_core.gates.switch:Switch"}) == Switch()
    assert Switch.model_validate_json(Switch().model_dump_json()) == Switch()
    with pytest.raises(ValidationError, match=r"the name of hpt_core\.gates\.switch:Switch is 'switch', not 'soft'"):
        Switch.model_validate({"name": "soft"})
    with pytest.raises(ValidationError, match="unknown name 'swich' in gates; did you mean 'switch'"):
        Switch.model_validate({"name": "swich"})


def test_the_name_is_not_a_field() -> None:
    for kind, base in BASES.items():
        if issubclass(base, PluginConfig):
            for name in base.plugin_kind.names:
                assert "name" not in base.plugin_kind.load(name).model_fields, (kind, name)
    with pytest.raises((ValidationError, AttributeError)):
        Switch().name = "soft"  # type: ignore[misc]


def test_a_class_that_no_other_process_can_import_has_no_name() -> None:
    class Local(Switch):
        """A gate of this function's."""

    message = r"Local cannot be imported by worker processes. Remedy: move the class to the top level"
    assert Holder(gate=Local(gamma=0.5)).gate.coefficients(1.0, True) == {"rl": 1.0}
    with pytest.raises(ConfigError, match=message):
        _ = Local().name
    with pytest.raises(Exception, match="cannot be imported by worker processes"):
        Holder(gate=Local()).model_dump_json()
    code = (
        "from hpt_core.errors import ConfigError\n"
        "from hpt_core.gates.switch import Switch\n"
        "class Local(Switch): pass\n"
        "try:\n"
        "    Local().name\n"
        "except ConfigError as error:\n"
        "    print(error)\n"
    )
    done = run_python(code)
    assert done.stdout.startswith("__main__:Local cannot be imported by worker processes"), done.stderr


def test_the_json_schema_offers_a_bare_name_and_a_table() -> None:
    schema = Holder.model_json_schema()
    bare, table = schema["properties"]["gate"]["anyOf"]
    assert bare == {"type": "string", "examples": ["always", "gate_off", "soft", "switch"]}
    assert table["type"] == "object"
    assert schema["properties"]["gate"]["default"] == "soft"
    assert schema["properties"]["others"]["items"]["anyOf"][0]["type"] == "string"
    for base in BASES.values():
        assert TypeAdapter(base).json_schema()["anyOf"][0]["examples"] == list(base.plugin_kind.names)
    assert Holder.model_json_schema(mode="serialization")


@pytest.mark.parametrize(
    ("model", "table", "loc", "new"),
    [
        (TrainConfig, {"steps": 1, "algorithm": "hpt", "optimiser": {}}, (), "optimizer"),
        (TrainConfig, {"steps": 1, "algorithm": {"name": "hpt", "regularisers": []}}, ("algorithm",), "regularizers"),
        (TrainConfig, {"steps": 1, "algorithm": {"name": "hpt", "normalisation": 1}}, ("algorithm",), "normalization"),
    ],
)
def test_an_earlier_name_of_a_field_gives_the_new_one(
    model: type[BaseModel], table: dict[str, Any], loc: tuple[str, ...], new: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(table)
    (error,) = caught.value.errors()
    assert (error["type"], error["loc"]) == ("unknown_field", loc)
    assert error["msg"] == f"unknown field; it is called {new!r} now"


def test_an_earlier_name_without_a_successor_is_an_unknown_field() -> None:
    with pytest.raises(ValidationError, match=r"unknown field; .*known: gate, others, engine, family"):
        Holder.model_validate({"optimiser": 1})


def test_a_spec_with_an_unknown_field_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text('{"gate": {"name": "switch", "gama": 1}}')
    with pytest.raises(ConfigError, match=r"spec\.json: gate\.gama: unknown field; did you mean 'gamma'"):
        read_spec(Holder, tmp_path / "spec.json")
    (tmp_path / "spec.json").write_text('{"gate": "swich"}')
    with pytest.raises(ConfigError, match=r"spec\.json: gate: unknown name 'swich' in gates; did you mean 'switch'"):
        read_spec(Holder, tmp_path / "spec.json")


def test_folders_of_plugins_reach_child_processes(
    write_module: WriteModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_module("mine", GATES)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "others.py").write_text(GATES)
    monkeypatch.chdir(tmp_path)
    add_folder(Path("more"))
    add_folder(Path("more"))
    folders = [str(tmp_path / "plugins"), str(tmp_path / "more")]
    assert os.environ["HPT_PLUGINS"].split(os.pathsep) == folders
    assert sys.path[-2:] == folders
    holder = Holder.model_validate({"gate": {"name": "mine:Steep", "slope": 3}, "others": ["others:Steep"]})
    code = (
        "import sys\n"
        "from hpt_core.gates.base import Gate\n"
        "from pydantic import TypeAdapter\n"
        "gates = TypeAdapter(tuple[Gate, ...]).validate_json(sys.argv[1])\n"
        "print(*(f'{gate.name} {gate.slope}' for gate in gates))\n"
    )
    written = f"[{holder.gate.model_dump_json()}, {holder.others[0].model_dump_json()}]"
    done = run_python(code, written)
    assert done.stdout.split() == ["mine:Steep", "3.0", "others:Steep", "2.0"], done.stderr


def test_a_folder_of_plugins_hides_no_module(write_module: WriteModule) -> None:
    write_module("colorsys", "class Gate: pass\n")
    assert not str(importlib.import_module("colorsys").__file__).startswith(os.environ["HPT_PLUGINS"])


@pytest.mark.slow
def test_type_checker_and_run_time_accept_the_same_instances(write_module: WriteModule, tmp_path: Path) -> None:
    """A user's subclass is accepted wherever its base is, and nothing else is."""
    lines = [*TYPED.splitlines(), *ACCEPTED, *REFUSED]
    file = write_module("typed_parts", "\n".join(lines))
    (tmp_path / "mypy.ini").write_text(STRICT)
    command = [sys.executable, "-m", "mypy", "--config-file=mypy.ini", str(file)]
    environment = os.environ | {"MYPYPATH": str(ROOT)}
    checked = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    wrong = {int(line.split(":")[1]) for line in checked.stdout.splitlines() if ": error: " in line}
    assert [lines[number - 1] for number in sorted(wrong)] == list(REFUSED), checked.stdout + checked.stderr

    write_module("typed_parts", TYPED)
    module = vars(importlib.import_module("typed_parts"))
    for line in ACCEPTED:
        eval(line, module)
    for line in REFUSED:
        with pytest.raises(ValidationError):
            eval(line, module)
