"""Secrets that are planted in the environment, in a config and on the server appear nowhere."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from flows.load import load_config
from hpt_core.errors import ConfigError
from tests.flows.pipelines import TINY

PLANTED = {
    "OPENAI_API_KEY": "planted-openai-4711",
    "OF_THE_JUDGE": "planted-judge-4712",
    "HF_TOKEN": "hf_plantedPLANTEDplanted4713",
    "AWS_ACCESS_KEY_ID": "AKIAPLANTEDPLANT4714",
    "AWS_SECRET_ACCESS_KEY": "planted/aws+secret4715",
    "WANDB_API_KEY": "planted-wandb-4716",
    "MLFLOW_TRACKING_PASSWORD": 'planted"mlflow\\4717',
    "SITE_LOGIN": "planted-site-4718",
    "SITE_DATABASE": "postgresql://me:planted-database-4719@nowhere/db",
}
FROM_BLOCK = "planted-block-4720"
ENDS = ("penai-4711", "judge-4712", "planted4713", "PLANT4714", "secret4715", "wandb-4716", "\\4717", "site-4718")
WORDS = [*ENDS, "database-4719", "block-4720", "planted-", "hf_planted"]
"""Parts of the secrets, none of which may appear anywhere. A number of four digits alone is in many files."""

KINDS = '''
"""A kind of stage that tells all it knows, wherever it can."""

import logging
import os
import sys

from hpt_core import worker
from hpt_core.artifacts import Cost
from hpt_core.base import Frozen
from hpt_core.errors import DataError
from hpt_core.files import write_text
from hpt_core.paths import UserAddress
from tasks.execution.artifact import Stage, Step
from tasks.execution.context import Notice
from tasks.execution.keys import Output
from tasks.execution.kind import NamedStages, StageConfig

NAMES = ("OPENAI_API_KEY", "OF_THE_JUDGE", "HF_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY",
         "MLFLOW_TRACKING_PASSWORD", "SITE_LOGIN", "SITE_DATABASE", "FROM_BLOCK")


def secrets():
    return " ".join(os.environ[name] for name in NAMES if name != "SITE_LOGIN")


class Config(StageConfig):
    """A stage that talks."""
    address: UserAddress
    """Part of the identity."""
    ends: str = "well"
    """How the stage ends."""


class Spec(Frozen):
    address: UserAddress
    ends: str


class Talk(Step):
    kind = "talk"
    produces = (Output("told", "told.txt"),)

    def __init__(self, stage, config):
        super().__init__(stage)
        self.config = config

    def targets(self, artifacts, context):
        return [self.target(self.config.identity(), {})]

    def make(self, jobs, artifacts, context):
        (job,) = jobs
        logging.getLogger("hpt.talk").warning("knows %s and %s", secrets(), self.config.address)
        context.notify(Notice(str(self.stage), "progress", secrets(), 1, 2))
        write_text(job.slot.output / "told.txt", "nothing")
        if self.config.ends == "here":
            raise RuntimeError(secrets() + self.config.address)
        return context.worker(self.stage, "talks", Spec(address=self.config.address, ends=self.config.ends), [job.slot])

    def facts(self, job):
        return {"all": secrets(), "at": self.config.address}


class Talks(NamedStages):
    """Stages that talk."""
    config = Config
    command = ("talk", "Talk")

    def stage(self, key, config, pipeline):
        return Stage(key, (), (Talk(key, config),))


TALKS = Talks()


def run(spec):
    assert spec.address == f"https://me:{os.environ['SITE_LOGIN']}@nowhere/x", "the worker gets the address"
    print("prints", secrets(), spec.address)
    print("prints", secrets(), spec.address, file=sys.stderr)
    logging.getLogger("hpt.talk").warning("logs %s %s", secrets(), spec.address)
    worker.emit("progress", done=1, total=2, unit="words", text=secrets())
    if spec.ends == "error":
        raise DataError(secrets(), spec.address)
    if spec.ends == "fault":
        raise RuntimeError(secrets() + spec.address)


if __name__ == "__main__":
    worker.main(Spec, run)
'''
CONFIG = (
    TINY
    + """
[secrets]
OF_THE_JUDGE = "not-needed"
FROM_BLOCK = "planted"
["talks:TALKS".well]
address = "https://me:$SITE_LOGIN@nowhere/x"
"""
)
BLOCK = f"from prefect.blocks.system import Secret; Secret(value={FROM_BLOCK!r}).save('planted', overwrite=True)"


def leaks(*texts: str) -> list[str]:
    return [word for word in WORDS for text in texts if word in text]


def leaks_in(*folders: Path) -> list[str]:
    """Secrets in the names and contents of all files below the folders."""
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            for word in WORDS:
                if word.encode() in content or word in path.name:
                    at = content.find(word.encode())
                    found.append(f"{path}: {content[max(0, at - 80) : at + 40]!r}")
    return found


@pytest.fixture
def planted(fresh: Any) -> Any:
    fresh.python(BLOCK)
    fresh.environment |= PLANTED
    (fresh.folder / "talks.py").write_text(KINDS)
    fresh.write(CONFIG)
    return fresh


def test_planted_secrets_appear_nowhere(planted: Any) -> None:
    done = planted("run", "tiny.toml", "--debug")
    assert "talks:TALKS.well: done" in done.stderr
    (manifest,) = (json.loads(p.read_text()) for p in planted.store.glob("talk/*/manifest.json"))
    assert manifest["config"]["address"] == "https://me:${SITE_LOGIN}@nowhere/x"
    assert manifest["facts"]["all"].startswith("${OPENAI_API_KEY} ${OF_THE_JUDGE} ${HF_TOKEN}")
    (log,) = planted.store.glob("talk/*/log.txt")
    assert log.read_text().count("${FROM_BLOCK}") >= 3, "what the worker printed and logged is there, without secrets"

    said = [done.stdout, done.stderr]
    planted.environment["HPT_LOG"] = "json"
    # With --debug, an error ends the command with its traceback, and code 1.
    for ends, code, *debug in [("here", 1, "--debug"), ("error", 2), ("error", 1, "--debug"), ("fault", 1)]:
        failed = planted("run", "tiny.toml", "--set", f"talks:TALKS.well.ends={ends}", *debug, code=code)
        assert "${OPENAI_API_KEY}" in failed.stderr
        said += [failed.stdout, failed.stderr]
    shown = [("config", "show", "tiny.toml"), ("plan", "tiny.toml", "--json"), ("status", "tiny.toml", "--json")]
    shown += [("runs", "--json"), ("logs", "talks:TALKS.well"), ("why", "tiny.toml", "talks:TALKS.well")]
    for command in shown:
        found = planted.look(*command)
        said += [found.stdout, found.stderr]
    config = planted.look("config", "show", "tiny.toml", "--json").stdout
    assert json.loads(config)["talks:TALKS"]["well"]["address"] == "https://me:${SITE_LOGIN}@nowhere/x"
    assert leaks(*said) == []
    database = Path(planted.environment["PREFECT_HOME"])
    assert (database / "prefect.db").exists()
    assert leaks_in(planted.folder, planted.published, database) == []
    for run in planted.flow_runs():
        logs = planted.api("logs/filter", {"logs": {"flow_run_id": {"any_": [run["id"]]}}, "limit": 200})
        assert leaks(json.dumps(logs), json.dumps(run)) == []


def test_a_block_is_needed_only_without_its_variable(planted: Any) -> None:
    planted.write(CONFIG.replace('"planted"', '"no-such-block"'))
    failed = planted("run", "tiny.toml", code=2)
    assert "secrets.FROM_BLOCK = 'no-such-block': the block cannot be read" in failed.stderr
    del planted.environment["PREFECT_API_URL"]
    failed = planted("run", "tiny.toml", code=2)
    assert "FROM_BLOCK is not set, and a temporary Prefect server has no blocks" in failed.stderr
    planted.environment["FROM_BLOCK"] = FROM_BLOCK
    planted("plan", "tiny.toml")


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("store = 'https://me:planted-password@host'", "store"),
        ("[schedule]\nset = ['a.b=https://me:planted-password@host']", "schedule.set.0"),
        ("[[publish]]\nname = 'huggingface'\nrepo = 'a/b'\nendpoint = 'hf_planted67890123456789012345'", "publish.0"),
        ("[[publish]]\nname = 'huggingface'\nrepo = 'a/b'\ntoken_env = 'planted-token'", "publish.0.token_env"),
    ],
)
def test_a_secret_in_a_config_is_refused_and_not_shown(tmp_path: Path, line: str, field: str) -> None:
    text = TINY.replace("PUBLISHED", "public")
    text = re.sub(r"\[\[publish\]\].*", "", text, flags=re.DOTALL)
    config = tmp_path / "c.toml"
    config.write_text(f"{line}\n{text}" if line.startswith("store") else f"{text}\n{line}\n")
    with pytest.raises(ConfigError, match=field) as caught:
        load_config(config)
    assert "planted" not in str(caught.value)
    assert "variable" in str(caught.value)


def test_a_variable_in_an_address_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_LOGIN", PLANTED["SITE_LOGIN"])
    config = tmp_path / "c.toml"
    site = "[[publish]]\nname = 'huggingface'\nrepo = 'a/b'\nendpoint = 'https://me:$SITE_LOGIN@host'\n"
    config.write_text(TINY.replace("PUBLISHED", "public") + site)
    assert load_config(config).model_dump()["publish"][1]["endpoint"] == f"https://me:{os.environ['SITE_LOGIN']}@host"
