"""The endpoint engine, against a stand-in for an OpenAI server and against a real `vllm serve`."""

import asyncio
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import ValidationError

from hpt_core.errors import EngineError, ModelError
from hpt_core.model_folder import load_tokenizer
from hpt_core.rollout._client import Client
from hpt_core.rollout.base import Request, Sampling, StopRepetition
from hpt_core.rollout.endpoint import PROBE, Endpoint, EndpointEngine
from hpt_core.rollout.vllm import VLLM as Serve
from hpt_core.rollout.vllm import VLLMEngine

KEY = "sk-a-secret-that-nobody-may-see"
REQUESTS = [Request((1, *range(40, 43 + i)), seed=i) for i in range(12)]
SAMPLING = Sampling(max_tokens=24, temperature=0.8, top_p=0.9)

Reply = tuple[int, dict[str, str], Any]
"""Status, headers, body."""


class FakeEndpoint(ThreadingHTTPServer):
    """An endpoint whose answer says its prompt's last token and its seed; `replies` go before its own."""

    daemon_threads = True
    # A connection that is closed while its handler still answers is no failure of a test.
    handle_error = staticmethod(lambda *_: None)

    def __init__(self, tokenizer: Any) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.tokenizer = tokenizer
        self.vllm = True
        self.models = ["tiny"]
        self.replies: list[Reply] = []
        self.change: Callable[[dict[str, Any]], object] = lambda answer: None
        self.seconds: Callable[[int], float] = lambda seed: 0.0
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.lock = threading.Lock()
        self.at_once = self.most_at_once = self.given_up = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def open(self, model: Path, **fields: Any) -> EndpointEngine:
        return Endpoint(url=self.url, **fields).open(model, max_model_len=160, dtype="float32", seed=0)

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        tokens = [body["prompt"][-1], 60 + body["seed"], 2]
        choice: dict[str, Any] = {"text": self.tokenizer.decode(tokens[:-1]), "finish_reason": "stop", "index": 0}
        if self.vllm and body.get("return_token_ids"):
            choice |= {"token_ids": tokens, "logprobs": {"token_logprobs": [-0.5, -0.25, -1.0]}}
        usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": 3}
        answer = {"object": "text_completion", "choices": [choice], "usage": usage}
        self.change(answer)
        return answer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeEndpoint

    def do_GET(self) -> None:
        self.server.keys.add(self.headers.get("authorization"))
        owner = "vllm" if self.server.vllm else "somebody"
        if self.path == "/v1/models":
            models = [{"id": name, "owned_by": owner, "max_model_len": 160} for name in self.server.models]
            self.reply(200, {}, {"object": "list", "data": models})
        elif self.path == "/version" and self.server.vllm:
            self.reply(200, {}, {"version": "0.32.0"})
        else:
            self.reply(404, {}, {"error": "nothing here"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.keys.add(self.headers.get("authorization"))
        if self.path == "/tokenize":
            self.reply(200, {}, {"tokens": self.server.tokenizer(body["prompt"], add_special_tokens=False).input_ids})
            return
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
            reply = self.server.replies.pop(0) if self.server.replies else None
        gone = self.wait(self.server.seconds(body["seed"]))
        with self.server.lock:
            self.server.at_once -= 1
            self.server.given_up += gone
        if not gone:
            self.reply(*(reply or (200, {}, self.server.answer(body))))

    def wait(self, seconds: float) -> bool:
        """Whether the client hangs up before that."""
        end = time.monotonic() + seconds
        self.connection.setblocking(False)
        try:
            while time.monotonic() < end:
                try:
                    if not self.connection.recv(1):
                        return True
                except BlockingIOError:
                    time.sleep(0.01)
            return False
        finally:
            self.connection.setblocking(True)

    def reply(self, status: int, headers: dict[str, str], body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEndpoint]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = FakeEndpoint(load_tokenizer(tiny_model))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def opened(endpoint: FakeEndpoint, tiny_model: Path) -> Iterator[Callable[..., EndpointEngine]]:
    """Opens engines at `endpoint`, and closes them."""
    engines: list[EndpointEngine] = []

    def open_engine(**fields: Any) -> EndpointEngine:
        engines.append(endpoint.open(tiny_model, **fields))
        return engines[-1]

    yield open_engine
    for engine in engines:
        engine.close()


Opened = Callable[..., EndpointEngine]


def failure(engine: EndpointEngine, sampling: Sampling = SAMPLING) -> str:
    with pytest.raises(EngineError) as caught:
        engine.generate(REQUESTS[:2], sampling)
    return str(caught.value)


def test_prompts_go_as_token_ids_and_come_back_as_rollouts(endpoint: FakeEndpoint, opened: Opened) -> None:
    engine = opened()
    rollouts = engine.generate(REQUESTS, SAMPLING)
    for request, rollout in zip(REQUESTS, rollouts, strict=True):
        assert rollout.token_ids == (request.prompt_ids[-1], 60 + request.seed, 2)
        assert rollout.logprobs == (-0.5, -0.25, -1.0)
        assert rollout.text == endpoint.tokenizer.decode(rollout.token_ids[:2])
    assert engine.version == "endpoint vllm 0.32.0"
    body = next(b for b in endpoint.bodies if b["seed"] == 3)
    assert body == {
        "model": "tiny",
        "prompt": list(REQUESTS[3].prompt_ids),
        "seed": 3,
        "temperature": 0.8,
        "top_p": 0.9,
        "max_tokens": 24,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "return_token_ids": True,
        "logprobs": 0,
    }
    assert endpoint.keys == {f"Bearer {KEY}"}


def test_another_server_gives_only_text(endpoint: FakeEndpoint, opened: Opened) -> None:
    endpoint.vllm = False
    engine = opened()
    (rollout,) = engine.generate(REQUESTS[:1], SAMPLING)
    assert engine.version == f"endpoint tiny at 127.0.0.1:{endpoint.server_port}"
    assert rollout.token_ids == (REQUESTS[0].prompt_ids[-1], 60, 2)
    assert len(rollout.logprobs) == 3 and all(math.isnan(value) for value in rollout.logprobs)
    assert endpoint.bodies[0].keys().isdisjoint({"return_token_ids", "logprobs", "repetition_detection"})


def test_runaway_repetition_stops_only_on_vllm(endpoint: FakeEndpoint, opened: Opened) -> None:
    stop = Sampling(max_tokens=24, stop_repetition=StopRepetition(times=3, shortest=2, longest=9))
    opened().generate(REQUESTS[:1], stop)
    expected = {"max_pattern_size": 9, "min_pattern_size": 2, "min_count": 3}
    assert endpoint.bodies.pop()["repetition_detection"] == expected
    endpoint.vllm = False
    assert "remove stop_repetition" in failure(opened(), stop)
    assert not endpoint.bodies


@pytest.mark.slow
def test_temporary_errors_are_retried(endpoint: FakeEndpoint, opened: Opened) -> None:
    endpoint.replies = [(429, {"retry-after": "1"}, {}), (500, {}, {}), (503, {}, {})]
    started = time.monotonic()
    assert len(opened(concurrency=1).generate(REQUESTS[:2], SAMPLING)) == 2
    assert time.monotonic() - started > 1 + 0.7 + 1.4
    assert len(endpoint.bodies) == 5


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, {"error": {"message": "the kernel of {key} died"}}, ["500", "the kernel of *** died", "server's log"]),
        (429, {"error": "slow down"}, ["slow down", "lower concurrency"]),
        (401, {"error": "wrong key {key}"}, ["401", "wrong key ***", "OPENAI_API_KEY"]),
        (404, {"error": {"message": "The model `tiny` does not exist"}}, ["served_model"]),
        (404, {"detail": "Not Found"}, ["completions", "chat would rewrite"]),
        (405, {"detail": "Method Not Allowed"}, ["completions"]),
        (400, {"error": {"message": "maximum context length is 8"}}, ["lower max_tokens"]),
        (422, {"error": {"message": "prompt must be a string"}}, ["prompt must be a string", "token ids"]),
    ],
)
def test_permanent_errors_name_the_remedy(
    endpoint: FakeEndpoint, opened: Opened, status: int, body: Any, said: list[str]
) -> None:
    endpoint.replies = [(status, {}, json.loads(json.dumps(body).replace("{key}", KEY)))] * 9
    text = failure(opened(retries=1, concurrency=1))
    assert len(endpoint.bodies) == (2 if status in (429, 500) else 1)
    for part in [endpoint.url, *said]:
        assert part in text
    assert KEY not in text


def test_works_without_a_key(endpoint: FakeEndpoint, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    engine = opened(concurrency=1)
    engine.generate(REQUESTS[:1], SAMPLING)
    assert endpoint.keys == {"Bearer none"}
    endpoint.replies = [(401, {}, {"error": "Unauthorized"})]
    assert "OPENAI_API_KEY, which is not set" in failure(engine)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.update(choices=[]), "unreadable answer"),
        (lambda a: a["choices"][0].update(finish_reason="abort"), "'abort'"),
        (lambda a: a["usage"].update(prompt_tokens=77), "counted 77 prompt tokens, but 4 were sent"),
        (lambda a: a["choices"][0].update(finish_reason="length"), "after 3 of 24 tokens"),
    ],
)
def test_wrong_answers_of_the_server_are_refused(
    endpoint: FakeEndpoint, opened: Opened, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    endpoint.change = change
    assert said in failure(opened(concurrency=1))


def test_at_most_concurrency_requests_run_at_once(endpoint: FakeEndpoint, opened: Opened) -> None:
    endpoint.seconds = lambda seed: 0.05
    taken = yielded = 0

    def draws() -> Iterator[tuple[Request, Sampling]]:
        nonlocal taken
        for request in REQUESTS:
            assert taken - yielded < 3
            taken += 1
            yield request, SAMPLING

    for _ in opened(concurrency=3).stream(draws()):
        yielded += 1
    assert (yielded, endpoint.most_at_once) == (len(REQUESTS), 3)


def test_the_stream_yields_responses_as_they_finish(endpoint: FakeEndpoint, opened: Opened) -> None:
    endpoint.seconds = lambda seed: 1.0 if seed == 0 else 0.1 * seed
    order = [index for index, _ in opened().stream((request, SAMPLING) for request in REQUESTS[:4])]
    assert order == [1, 2, 3, 0]


def test_closing_the_stream_cancels_running_requests(endpoint: FakeEndpoint, opened: Opened) -> None:
    endpoint.seconds = lambda seed: 0.0 if seed == 0 else 30.0
    engine = opened()
    stream = engine.stream((request, SAMPLING) for request in REQUESTS[:4])
    assert next(stream)[0] == 0
    stream.close()
    deadline = time.monotonic() + 5
    while endpoint.given_up < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert endpoint.given_up == 3
    endpoint.seconds = lambda seed: 0.0
    assert len(engine.generate(REQUESTS, SAMPLING)) == len(REQUESTS)


def test_closing_the_engine_cancels_running_requests(endpoint: FakeEndpoint, opened: Opened) -> None:
    endpoint.seconds = lambda seed: 0.0 if seed == 0 else 30.0
    engine = opened()
    stream = engine.stream((request, SAMPLING) for request in REQUESTS[:4])
    next(stream)
    engine.close()
    engine.close()
    stream.close()
    with pytest.raises(EngineError, match="closed"):
        engine.generate(REQUESTS, SAMPLING)


def test_a_slow_server_is_a_timeout(endpoint: FakeEndpoint, opened: Opened) -> None:
    endpoint.seconds = lambda seed: 5.0
    text = failure(opened(timeout_s=0.3, retries=0))
    assert "within 0.3 s" in text and "raise timeout_s" in text


def test_errors_list_the_served_models(endpoint: FakeEndpoint, tiny_model: Path) -> None:
    endpoint.models = ["one", "two"]
    with pytest.raises(EngineError, match=r"several models: one, two\. Remedy: set served_model"):
        endpoint.open(tiny_model)
    with pytest.raises(EngineError, match=r"does not serve 'three'\. Remedy: set served_model to one of one, two"):
        endpoint.open(tiny_model, served_model="three")
    endpoint.open(tiny_model, served_model="two").close()


def test_a_server_that_does_not_fit_is_refused_at_once(endpoint: FakeEndpoint, tiny_model: Path) -> None:
    with pytest.raises(EngineError, match=r"only 160 tokens, but 161 are needed\. Remedy: .*--max-model-len 161"):
        Endpoint(url=endpoint.url).open(tiny_model, max_model_len=161, dtype="float32", seed=0)
    with pytest.raises(EngineError, match="add the API's path"):
        Endpoint(url=endpoint.url + "/v2").open(tiny_model, max_model_len=160, dtype="float32", seed=0)
    endpoint.tokenizer = lambda text, **_: type("Cut", (), {"input_ids": [len(PROBE)]})
    with pytest.raises(EngineError, match=r"tokenizer of .* differs from the model folder's"):
        endpoint.open(tiny_model)
    with pytest.raises(ModelError, match="there is no model folder"):
        endpoint.open(tiny_model / "nothing")


def test_a_missing_server_is_an_error(tiny_model: Path) -> None:
    with pytest.raises(EngineError, match=r"cannot reach http://127.0.0.1:9/v1.*start the server"):
        Endpoint(url="http://127.0.0.1:9/v1").open(tiny_model, max_model_len=160, dtype="float32", seed=0)


def test_the_engine_accepts_no_weights(opened: Opened) -> None:
    engine = opened()
    engine.release()
    with pytest.raises(EngineError, match='engine = "vllm"'):
        engine.sync_weights([])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"url": "ftp://host/v1"}, "http or https"),
        ({"url": "host:8000/v1"}, "http or https"),
        ({"url": f"http://me:{KEY}@host/v1"}, "api_key_env"),
        ({"url": f"http://host/v1?key={KEY}"}, "api_key_env"),
        ({"api_key_env": KEY}, "put the key into a variable"),
        ({"served_model": "tiny"}, "set url"),
        ({"url": "http://host/v1", "serve": {"max_num_seqs": 8}}, "remove one of them"),
    ],
)
def test_wrong_configs_fail_at_load(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        Endpoint(**fields)
    assert KEY not in caught.value.errors()[0]["msg"]


def test_identity_depends_on_the_served_model_not_on_the_url() -> None:
    there, elsewhere = Endpoint(url="http://a/v1", served_model="m"), Endpoint(url="https://b/v1", served_model="m")
    assert there.identity() == elsewhere.identity() == {"name": "endpoint", "served_model": "m", "serve": None}
    own = Endpoint(serve=Serve(prefix_caching=False), concurrency=3)
    assert own.identity() == Endpoint(serve=Serve(prefix_caching=False, max_num_seqs=2)).identity()
    assert own.identity()["serve"]["prefix_caching"] is False


@pytest.fixture(scope="module")
def own_server(tiny_model: Path) -> Iterator[EndpointEngine]:
    """An engine with a server of our own; the module's last test kills it."""
    config = Endpoint(serve=Serve(kv_cache_gib=0.25))
    engine = config.open(tiny_model, max_model_len=160, dtype="float32", seed=0)
    yield engine
    engine.close()


@pytest.mark.parametrize(
    "sampling",
    [
        SAMPLING,
        Sampling(max_tokens=120),
        Sampling(max_tokens=24, temperature=0),
        Sampling(max_tokens=120, temperature=0, stop_repetition=StopRepetition(times=2, shortest=1, longest=40)),
    ],
)
def test_our_server_gives_the_same_samples_as_the_vllm_engine(
    own_server: EndpointEngine, vllm_engine: VLLMEngine, sampling: Sampling
) -> None:
    theirs, ours = vllm_engine.generate(REQUESTS, sampling), own_server.generate(REQUESTS, sampling)
    for a, b in zip(theirs, ours, strict=True):
        assert (a.token_ids, a.text, a.finish_reason) == (b.token_ids, b.text, b.finish_reason)
        assert b.logprobs == pytest.approx(a.logprobs, abs=1e-5)
    reasons = {rollout.finish_reason for rollout in ours}
    assert reasons <= {"stop", "length"} if sampling.stop_repetition is None else "repetition" in reasons
    assert own_server.version == "endpoint " + vllm_engine.version


def test_closing_cancels_what_canceled_requests_start() -> None:
    client = Client("http://127.0.0.1:9/v1", "", "KEY", 0, 1.0, own=True)
    started: list[asyncio.Task[None]] = []

    async def request() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            started.append(asyncio.get_running_loop().create_task(asyncio.sleep(60)))
            raise

    future = client._later(request())
    client.close()
    assert future.cancelled()
    assert [task.cancelled() for task in started] == [True]


@pytest.mark.slow
def test_a_killed_server_is_an_error_and_leaves_nothing(own_server: EndpointEngine) -> None:
    supervisor = next(p for p in psutil.Process().children() if any("supervisor.py" in part for part in p.cmdline()))
    below = supervisor.children(recursive=True)
    (server,) = supervisor.children()
    assert len(below) > 1
    key = server.environ()["VLLM_API_KEY"]
    assert len(key) > 30 and not any(key in part for p in [supervisor, *below] for part in p.cmdline())
    stream = own_server.stream((request, Sampling(max_tokens=120)) for request in REQUESTS * 50)
    next(stream)
    server.send_signal(signal.SIGKILL)
    with pytest.raises(EngineError, match="vllm serve ended with code 137"):
        list(stream)
    own_server.close()
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in [supervisor, *below])
