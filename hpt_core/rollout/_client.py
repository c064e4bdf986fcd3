"""The OpenAI client in an event loop of its own thread, what it finds at an endpoint, and its errors in our terms."""

import asyncio
import logging
import re
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpt_core.errors import EngineError

if TYPE_CHECKING:
    from openai import APIStatusError

Answer = dict[str, Any]

CONNECT_S = 20.0
"""Seconds to connect at most."""
ASK_S = 60.0
"""Seconds for an answer to a question that needs no model."""
CONTEXT = re.compile(
    r"context (length|size|window)|max_model_len|maximum (input )?length|too (long|large|many tokens)", re.I
)
"""What servers say where a prompt and its response do not fit."""


@dataclass(frozen=True, slots=True)
class Served:
    """What answers at an endpoint."""

    model: str
    """Its name there."""
    vllm: str | None
    """vLLM's version ("" where it does not tell); None where the server is another."""
    context: int | None
    """Tokens of the longest sequence that it takes; None where it does not tell."""


class Client:
    """Requests to one endpoint. Every method raises EngineError with the endpoint, the cause and the remedy, no key."""

    def __init__(self, url: str, key: str, key_name: str, retries: int, timeout_s: float, own: bool) -> None:
        """`own`: the server is this process's; proxies that the environment names are not for it."""
        import openai

        for name in ("httpx", "httpx2"):
            # A line of the log for each request.
            logging.getLogger(name).setLevel(logging.WARNING)
        self.url = url
        self._key, self._key_name = key, key_name
        self._retries, self._timeout_s = retries, timeout_s
        self._openai = openai.AsyncOpenAI(
            base_url=url,
            # The client insists on one.
            api_key=key or "none",
            max_retries=retries,
            timeout=openai.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s)),
            http_client=openai.DefaultAsyncHttpxClient(trust_env=False) if own else None,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hpt-endpoint", daemon=True)
        self._thread.start()

    def complete(self, body: Answer) -> "Future[object]":
        """The answer to a request for a completion, later; cancelling it gives the request up."""
        return self._later(self._openai.post("/completions", cast_to=object, body=body))

    def discover(self, wanted: str | None) -> Served:
        """What answers, under the name `wanted` or, where it is None, the only name there is."""
        answer = self._get("/models")
        models = answer.get("data") if isinstance(answer, dict) else None
        known = {m["id"]: m for m in models if isinstance(m, dict) and "id" in m} if isinstance(models, list) else {}
        listed = ", ".join(sorted(map(str, known))[:20])
        if not known:
            raise EngineError(f"{self.url} lists no models", "end the url with the API's path, usually /v1")
        if wanted is None and len(known) > 1:
            raise EngineError(f"{self.url} serves several models: {listed}", "set served_model to one of them")
        if wanted is not None and wanted not in known:
            raise EngineError(f"{self.url} does not serve {wanted!r}", f"set served_model to one of {listed}")
        model = known[wanted or next(iter(known))]
        context = model.get("max_model_len")
        vllm = self._vllm_version() if model.get("owned_by") == "vllm" else None
        return Served(str(model["id"]), vllm, context if isinstance(context, int) else None)

    def tokens_of(self, text: str, model: str) -> list[int] | None:
        """How a vLLM server cuts `text`; None where it does not tell."""
        body = {"model": model, "prompt": text, "add_special_tokens": False}
        try:
            answer = self._wait(self._quick().post(f"{self._root}/tokenize", cast_to=object, body=body))
        except EngineError:
            return None
        tokens = answer.get("tokens") if isinstance(answer, dict) else None
        return tokens if isinstance(tokens, list) else None

    def close(self) -> None:
        """Give up what is under way and end the thread; a second call does nothing."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @staticmethod
    def lost(error: BaseException) -> bool:
        """Whether the connection failed."""
        import openai

        return isinstance(error, openai.APIConnectionError)

    def explain(self, error: BaseException) -> EngineError:
        """An error of the client, in our terms."""
        import openai

        match error:
            case EngineError():
                return error
            case openai.APITimeoutError():
                cause = f"{self.url} did not answer within {self._timeout_s:g} s, {self._retries + 1} times"
                return EngineError(cause, "raise timeout_s, or lower concurrency or max_tokens")
            case openai.APIConnectionError():
                cause = f"{self.url} cannot be reached: {self._hide(str(error.__cause__ or error))}"
                return EngineError(cause, "start the server, or correct url")
            case openai.APIStatusError():
                return self._explain_status(error)
        return EngineError(
            f"{self.url} answered what cannot be read: {type(error).__name__}: {self._hide(str(error))}",
            "check that url is an OpenAI-compatible API",
        )

    def _explain_status(self, error: "APIStatusError") -> EngineError:
        code = error.status_code
        cause = f"{self.url} answered {code}: {self._said(error)}"
        if code in (401, 403):
            unset = "" if self._key else ", which is not set"
            return EngineError(cause, f"set the environment variable {self._key_name}{unset}, to a key that it takes")
        if code in (404, 405, 501):
            if error.request.url.path.endswith("/completions") and "model" not in cause.lower():
                remedy = "use a server that offers completions, such as vllm serve; chat would rewrite the prompts"
            elif error.request.url.path.endswith("/models"):
                remedy = "end the url with the API's path, usually /v1"
            else:
                remedy = "set served_model to a name that it lists"
            return EngineError(cause, remedy)
        if code == 413 or CONTEXT.search(cause):
            return EngineError(cause, "lower max_tokens, or serve the model with a longer context")
        if code == 429:
            return EngineError(f"{cause} ({self._retries + 1} times)", "lower concurrency or raise retries")
        if code >= 500:
            return EngineError(f"{cause} ({self._retries + 1} times)", "look at the server's log, or raise retries")
        return EngineError(cause, "use a server that takes prompts as token ids and the sampling that is asked for")

    def _said(self, error: "APIStatusError") -> str:
        body = error.body
        if isinstance(body, dict):
            body = body.get("message") or body.get("detail") or body
        return self._hide(str(body or "no message"))

    def _hide(self, text: str) -> str:
        text = text.replace(self._key, "***") if self._key else text
        return " ".join(text.split())[:300]

    @property
    def _root(self) -> str:
        """What vLLM serves beside its API."""
        return self.url.removesuffix("/v1")

    def _vllm_version(self) -> str:
        try:
            answer = self._get(f"{self._root}/version")
        except EngineError:
            return ""
        return str(answer.get("version", "")) if isinstance(answer, dict) else ""

    def _quick(self) -> Any:
        """The client for questions: an endpoint that does not answer them is not there."""
        return self._openai.with_options(max_retries=min(self._retries, 2), timeout=min(ASK_S, self._timeout_s))

    def _get(self, path: str) -> object:
        return self._wait(self._quick().get(path, cast_to=object))

    def _wait(self, request: Coroutine[Any, Any, object]) -> object:
        try:
            return self._later(request).result()
        except Exception as error:
            raise self.explain(error) from None

    def _later(self, request: Coroutine[Any, Any, object]) -> "Future[object]":
        return asyncio.run_coroutine_threadsafe(request, self._loop)

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._openai.close()
