"""An OpenAI client that runs in its own thread, finds the model at an endpoint and raises EngineError."""

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
"""Maximum seconds to connect."""
ASK_S = 60.0
"""Maximum seconds for a request that does not run the model."""
CONTEXT = re.compile(
    r"context (length|size|window)|max_model_len|maximum (input )?length|too (long|large|many tokens)", re.I
)
"""Matches the error messages of servers if a prompt and its response exceed the context."""


@dataclass(frozen=True, slots=True)
class Served:
    """The model that an endpoint serves."""

    model: str
    """The model's name at the endpoint."""
    vllm: str | None
    """vLLM's version, "" if unknown; None for other servers."""
    context: int | None
    """Maximum sequence length in tokens; None if unknown."""


class Client:
    """Requests to one endpoint. Methods raise EngineError, whose message never contains the key."""

    def __init__(self, url: str, key: str, key_name: str, retries: int, timeout_s: float, own: bool) -> None:
        """`own` says that this process started the server. Then proxies from the environment are ignored."""
        import openai

        for name in ("httpx", "httpx2"):
            # They log every request at INFO.
            logging.getLogger(name).setLevel(logging.WARNING)
        self.url = url
        self._key, self._key_name = key, key_name
        self._retries, self._timeout_s = retries, timeout_s
        self._openai = openai.AsyncOpenAI(
            base_url=url,
            # The client requires a key.
            api_key=key or "none",
            max_retries=retries,
            timeout=openai.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s)),
            http_client=openai.DefaultAsyncHttpxClient(trust_env=False) if own else None,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hpt-endpoint", daemon=True)
        self._thread.start()

    def complete(self, body: Answer) -> "Future[object]":
        """Send a completion request. Canceling the future cancels the request."""
        return self._later(self._openai.post("/completions", cast_to=object, body=body))

    def discover(self, wanted: str | None) -> Served:
        """The served model named `wanted`, or the only one if `wanted` is None."""
        answer = self._get("/models")
        models = answer.get("data") if isinstance(answer, dict) else None
        known = {m["id"]: m for m in models if isinstance(m, dict) and "id" in m} if isinstance(models, list) else {}
        listed = ", ".join(sorted(map(str, known))[:20])
        if not known:
            raise EngineError(f"{self.url} lists no models", "add the API's path, usually /v1, to the url")
        if wanted is None and len(known) > 1:
            raise EngineError(f"{self.url} serves several models: {listed}", "set served_model to one of them")
        if wanted is not None and wanted not in known:
            raise EngineError(f"{self.url} does not serve {wanted!r}", f"set served_model to one of {listed}")
        model = known[wanted or next(iter(known))]
        context = model.get("max_model_len")
        vllm = self._vllm_version() if model.get("owned_by") == "vllm" else None
        return Served(str(model["id"]), vllm, context if isinstance(context, int) else None)

    def tokens_of(self, text: str, model: str) -> list[int] | None:
        """A vLLM server's token ids for `text`; None if the server does not return them."""
        body = {"model": model, "prompt": text, "add_special_tokens": False}
        try:
            answer = self._wait(self._quick().post(f"{self._root}/tokenize", cast_to=object, body=body))
        except EngineError:
            return None
        tokens = answer.get("tokens") if isinstance(answer, dict) else None
        return tokens if isinstance(tokens, list) else None

    def close(self) -> None:
        """Cancel running requests and end the thread. A second call does nothing."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @staticmethod
    def lost(error: BaseException) -> bool:
        """Whether `error` is a lost connection."""
        import openai

        return isinstance(error, openai.APIConnectionError)

    def explain(self, error: BaseException) -> EngineError:
        """Convert a client error to an EngineError."""
        import openai

        match error:
            case EngineError():
                return error
            case openai.APITimeoutError():
                cause = f"{self.url} did not answer within {self._timeout_s:g} s, {self._retries + 1} times"
                return EngineError(cause, "raise timeout_s, or lower concurrency or max_tokens")
            case openai.APIConnectionError():
                cause = f"cannot reach {self.url}: {self._hide(str(error.__cause__ or error))}"
                return EngineError(cause, "start the server, or correct url")
            case openai.APIStatusError():
                return self._explain_status(error)
        return EngineError(
            f"{self.url} sent an unreadable answer: {type(error).__name__}: {self._hide(str(error))}",
            "check that url is an OpenAI-compatible API",
        )

    def _explain_status(self, error: "APIStatusError") -> EngineError:
        code = error.status_code
        cause = f"{self.url} answered {code}: {self._said(error)}"
        if code in (401, 403):
            unset = "" if self._key else ", which is not set"
            return EngineError(cause, f"set the environment variable {self._key_name}{unset}, to a valid key")
        if code in (404, 405, 501):
            if error.request.url.path.endswith("/completions") and "model" not in cause.lower():
                remedy = "use a server that offers completions, such as vllm serve; chat would rewrite the prompts"
            elif error.request.url.path.endswith("/models"):
                remedy = "add the API's path, usually /v1, to the url"
            else:
                remedy = "set served_model to a model that the server lists"
            return EngineError(cause, remedy)
        if code == 413 or CONTEXT.search(cause):
            return EngineError(cause, "lower max_tokens, or serve the model with a longer context")
        if code == 429:
            return EngineError(f"{cause} ({self._retries + 1} times)", "lower concurrency or raise retries")
        if code >= 500:
            return EngineError(f"{cause} ({self._retries + 1} times)", "look at the server's log, or raise retries")
        return EngineError(cause, "use a server that accepts prompts as token ids and the requested sampling options")

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
        """Base address of vLLM's own routes, outside the OpenAI API."""
        return self.url.removesuffix("/v1")

    def _vllm_version(self) -> str:
        try:
            answer = self._get(f"{self._root}/version")
        except EngineError:
            return ""
        return str(answer.get("version", "")) if isinstance(answer, dict) else ""

    def _quick(self) -> Any:
        """The client for requests that do not run the model, with fewer retries and a shorter time limit."""
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
        await _cancel_all()
        await self._openai.close()
        await _cancel_all()


async def _cancel_all() -> None:
    """Cancel every other task of the loop, and what those start while they end, as a connection does."""
    while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
