"""A served model as a judge: does a response give the gold answer?

It is a column of `hpt audit`, to find verdicts that deserve a look. It never changes a verdict, a score or a reward.
"""

import json
import logging
import re
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from hpt_core.artifacts.known import cache_folder
from hpt_core.errors import ConfigError, EngineError
from hpt_core.files import sha256_json
from hpt_core.rollout.endpoint import CONCURRENCY, Endpoint, connect
from hpt_core.verifiers._extract import after_thinking
from hpt_core.verifiers.base import Outcome
from hpt_core.verifiers.pool import Item

if TYPE_CHECKING:
    from hpt_core.rollout._client import Client

logger = logging.getLogger("hpt.evaluation.judge")

PROMPT = "judge-1"
"""Name and version of the prompt below with its limits. Raise it with any change: answers to another one are not used.
"""
_TEXT = """\
Decide whether a response gives the reference answer to a question. Look only at the response's final answer, not at its
reasoning. Equal values in another notation, order or unit are the same answer. For multiple choice, an option's letter
and its text are the same answer. A response without a final answer, or with several that differ, is incorrect.
Reply with one word: correct or incorrect.

[question]
What is one half of 7?
[reference answer]
\\frac{7}{2}
[response]
Half of 7 is 7/2, so the answer is \\boxed{3.5}.
[verdict]
correct

[question]
Which metal is liquid at room temperature?
A) iron
B) mercury
[reference answer]
B
[response]
It could be mercury, but I choose A.
[verdict]
incorrect

"""
_QUESTION, _RESPONSE = 6000, 3000
"""Most characters of a question, and of a response's end, that the judge reads."""
_TOKENS = 8
"""Tokens of the judge's answer."""
_VERDICT = re.compile(r"\W*(correct|incorrect)\b(?!\W*(?:(?:or|and)\W+)?(?:in)?correct\b)", re.IGNORECASE)
"""The first word, unless both are named."""
UNPARSEABLE, FAILED = "unparseable", "failed"
"""The judge answered something other than a verdict; the endpoint gave no answer. Neither is a verdict."""


class JudgeAnswer(NamedTuple):
    """What the judge says of one response."""

    outcome: str
    """CORRECT or INCORRECT of Outcome, UNPARSEABLE or FAILED."""
    known: bool
    """Whether the answer was remembered from an earlier audit."""


class Judge:
    """Asks one endpoint. Answers are remembered by the whole request, so an interrupted audit continues."""

    def __init__(self, config: Endpoint, memory: Path | None = None) -> None:
        """Connect. `memory` is a file in the user's caches by default. Raises EngineError if the model is not served,
        and ConfigError for a config without `url`."""
        self._client = _client(config)
        try:
            served = self._client.discover(config.served_model)
        except BaseException:
            self._client.close()
            raise
        self.model, self.url = served.model, self._client.url
        self.server = "unknown" if served.vllm is None else f"vllm {served.vllm}".strip()
        self._concurrency = config.concurrency or CONCURRENCY
        self._memory = memory or cache_folder() / "judge.jsonl"
        self._lock = threading.Lock()
        self._answers = _read(self._memory)
        self._problems: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @property
    def identity(self) -> dict[str, str]:
        """The model, its server and the prompt's version."""
        return {"model": self.model, "url": self.url, "server": self.server, "prompt": PROMPT}

    def judge(self, items: Sequence[Item], progress: Callable[[int], None] | None = None) -> list[JudgeAnswer]:
        """A verdict on every item, in order. `progress(done)` counts items. A failed request is a verdict of its own;
        the log has each cause once."""
        found: list[JudgeAnswer] = []
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="hpt-judge") as threads:
            try:
                for judged in threads.map(self._ask, items):
                    found.append(judged)
                    if progress is not None:
                        progress(len(found))
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                self._client.close()  # ends the requests that the threads wait for
                raise
        return found

    def _ask(self, item: Item) -> JudgeAnswer:
        body = self._body(item)
        key = sha256_json(body)
        with self._lock:
            answer = self._answers.get(key)
        if answer is not None:
            return JudgeAnswer(_verdict(answer), True)
        try:
            answer = _said(self._client.complete(body).result())
        except Exception as error:
            self._report(self._client.explain(error))
            return JudgeAnswer(FAILED, False)
        self._remember(key, answer)
        return JudgeAnswer(_verdict(answer), False)

    def _body(self, item: Item) -> dict[str, Any]:
        return {
            "model": self.model,
            "prompt": _TEXT + _asked(item),
            "temperature": 0.0,
            "top_p": 1.0,
            "seed": 0,
            "max_tokens": _TOKENS,
        }

    def _remember(self, key: str, answer: str) -> None:
        with self._lock:
            self._answers[key] = answer
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            with self._memory.open("a", encoding="utf-8") as file:
                # The line break comes first, so that a line that a crash cut off does not take this one along.
                file.write("\n" + json.dumps({"asked": key, "answer": answer}))

    def _report(self, error: EngineError) -> None:
        with self._lock:
            self._problems[str(error)] += 1
            first = self._problems[str(error)] == 1
        if first:
            logger.warning("the judge gave no verdict: %s", error)


def _client(config: Endpoint) -> "Client":
    if config.url is None:
        raise ConfigError("the judge has no url", "set the address of a server, such as http://HOST:8000/v1")
    return connect(config, config.url.rstrip("/"))


def _asked(item: Item) -> str:
    response = after_thinking(item.response)[-_RESPONSE:]
    parts = {"question": item.question[:_QUESTION], "reference answer": item.gold, "response": response}
    # A response must not look as if its verdict followed.
    shown = {name: re.sub(r"^\[", " [", text.strip(), flags=re.MULTILINE) for name, text in parts.items()}
    return "".join(f"[{name}]\n{text}\n" for name, text in shown.items()) + "[verdict]\n"


def _said(answer: object) -> str:
    assert isinstance(answer, dict)
    (choice,) = answer["choices"]
    return str(choice["text"])


def _verdict(answer: str) -> str:
    match = _VERDICT.match(answer)
    return str(Outcome(match.group(1).lower())) if match else UNPARSEABLE


def _read(memory: Path) -> dict[str, str]:
    """The remembered answers. A line that a crash cut off is skipped."""
    found: dict[str, str] = {}
    try:
        lines = memory.read_text(encoding="utf-8").splitlines()
    except OSError:
        return found
    for line in lines:
        try:
            row = json.loads(line)
            found[row["asked"]] = row["answer"]
        except (ValueError, KeyError, TypeError):
            continue
    return found
