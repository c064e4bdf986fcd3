"""vLLM in this process: the engine of training rollouts and of evaluation."""

import contextlib
import gc
import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import Field

from hpt_core.base import NOT_IDENTITY
from hpt_core.errors import EngineError
from hpt_core.rollout._kernels import check_installed, check_kernels
from hpt_core.rollout.base import (
    EngineConfig,
    FinishReason,
    Generation,
    Request,
    Rollout,
    RolloutEngine,
    Sampling,
    Stream,
)

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger("hpt.rollout.vllm")

GIB = 2**30
CPU_KV_CACHE_GIB = 1.0
"""Key-value cache on CPUs where the config leaves it open."""
CPU_BLOCK = 32
"""Tokens of a block of the cache on CPUs, the least that vLLM takes: only whole blocks of a prompt are shared."""
CPU_STEP_TOKENS = 4096
"""Tokens of one engine step on CPUs where the config leaves it open."""
ALONE, COLOCATED = 0.9, 0.45
"""Share of GPU memory that vLLM takes alone, and beside a trainer."""


class VLLM(EngineConfig):
    """vLLM, in process."""

    kv_cache_gib: Annotated[float | None, NOT_IDENTITY] = Field(None, gt=0)
    """Key-value cache in GiB; None takes 1 GiB on CPUs and what `gpu_memory_utilization` leaves on GPUs."""
    gpu_memory_utilization: Annotated[float | None, NOT_IDENTITY] = Field(None, gt=0, le=1)
    """Share of a GPU's memory for weights and cache; None takes 0.9 alone and 0.45 beside a trainer."""
    max_num_seqs: Annotated[int, NOT_IDENTITY] = Field(256, ge=1)
    """Sequences decoded together."""
    max_num_batched_tokens: Annotated[int | None, NOT_IDENTITY] = Field(None, ge=1)
    """Tokens of one engine step; None leaves it to vLLM."""
    enforce_eager: bool | None = None
    """Run without compiled graphs; None is true on CPUs, where compiling costs more than it gives, false on GPUs."""
    prefix_caching: bool = True
    """Read a prompt once for all its responses. In float32 on CPUs it moves no token that is sampled."""
    batch_invariant: bool = False
    """vLLM's batch-invariant kernels, so that the shape of the batch moves no bf16 result on GPUs; slower. It holds for
    the whole process, so every engine of a process must agree on it."""

    def cache_gib(self, on_gpu: bool) -> float:
        """See EngineConfig.cache_gib."""
        return self.kv_cache_gib or (0.0 if on_gpu else CPU_KV_CACHE_GIB)

    def check(self) -> None:
        """See EngineConfig.check."""
        check_installed()

    def open(self, model: Path, max_model_len: int, dtype: str, seed: int, **options: Any) -> "VLLMEngine":
        """Load `model`; see EngineConfig.open."""
        return VLLMEngine(self, model, max_model_len, dtype, seed, **options)


def _prepare_environment(batch_invariant: bool) -> None:
    """What vLLM reads from the environment at import; standard output stays free for a worker's events."""
    debug = logging.getLogger("hpt").isEnabledFor(logging.DEBUG)
    defaults = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "DEBUG" if debug else "ERROR",
        "VLLM_LOGGING_STREAM": "ext://sys.stderr",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "TOKENIZERS_PARALLELISM": "false",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    if not debug:
        # Some messages are logged before vLLM has read its own level.
        logging.getLogger("vllm").setLevel(logging.ERROR)
    os.environ["VLLM_BATCH_INVARIANT"] = "1" if batch_invariant else "0"


class VLLMEngine(RolloutEngine):
    """One vLLM engine; see RolloutEngine."""

    def __init__(
        self,
        config: VLLM,
        model: Path,
        max_model_len: int,
        dtype: str,
        seed: int,
        colocated: bool = False,
        logprobs: bool = True,
    ) -> None:
        _prepare_environment(config.batch_invariant)
        self._asleep = False
        self._next_id = 0
        # 0: those of the token that is sampled and of no other. Without any, vLLM spares a pass over the vocabulary.
        self._logprobs = 0 if logprobs else None
        # As many again as are decoded together wait, so that a slot that falls free is filled at once.
        self._in_flight = 2 * config.max_num_seqs
        try:
            # Deprecations within vLLM and what it imports are its makers' to mend.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._load(config, model, max_model_len, dtype, seed, colocated)
        except ImportError as error:
            raise EngineError(f"vLLM cannot be imported: {error}", "run `hpt doctor`") from error
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(
                f"vLLM could not load {model}: {_first_line(error)}",
                "check the model folder; where memory is short lower kv_cache_gib or gpu_memory_utilization",
            ) from error
        self._engine = self._llm.llm_engine
        self._tokenizer = self._llm.get_tokenizer()

    def _load(self, config: VLLM, model: Path, max_model_len: int, dtype: str, seed: int, colocated: bool) -> None:
        import torch
        import torch._dynamo
        import vllm

        check_kernels()
        on_gpu = torch.cuda.is_available()
        eager = not on_gpu if config.enforce_eager is None else config.enforce_eager
        if eager and not on_gpu:
            # vLLM compiles a helper of its sampler even then: 12 s at the first token, for nothing.
            torch._dynamo.config.disable = True
        self.version = f"vllm {vllm.__version__}"
        self._sleeps = colocated and on_gpu
        kv_cache_gib = config.kv_cache_gib if on_gpu else config.kv_cache_gib or CPU_KV_CACHE_GIB
        optional: dict[str, Any] = {}
        if config.max_num_batched_tokens is not None:
            optional["max_num_batched_tokens"] = config.max_num_batched_tokens
        if not on_gpu:
            # A prompt that is read in pieces rewinds its seeded generator, which torch's CPU generator cannot do.
            optional["enable_chunked_prefill"] = False
            optional["block_size"] = CPU_BLOCK
            optional["max_num_batched_tokens"] = max(config.max_num_batched_tokens or CPU_STEP_TOKENS, max_model_len)
        if kv_cache_gib is not None:
            optional["kv_cache_memory_bytes"] = int(kv_cache_gib * GIB)
        if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
            # An engine of each rank's own, on the device of its local rank.
            optional["distributed_executor_backend"] = "external_launcher"
        self._llm = vllm.LLM(
            model=str(model),
            dtype=dtype,
            seed=seed,
            max_model_len=max_model_len,
            max_num_seqs=config.max_num_seqs,
            enforce_eager=eager,
            enable_prefix_caching=config.prefix_caching,
            gpu_memory_utilization=config.gpu_memory_utilization or (COLOCATED if colocated else ALONE),
            enable_sleep_mode=self._sleeps,
            logprobs_mode="processed_logprobs",
            disable_log_stats=True,
            use_tqdm_on_load=False,
            **optional,
        )

    def stream(self, requests: Iterable[Generation]) -> Stream:
        """Generation responses and yield them as they finish; see RolloutEngine."""
        if self._asleep:
            raise EngineError("the engine's memory was released", "sync the weights before the next rollouts")
        self._llm.reset_prefix_cache()
        waiting = enumerate(requests)
        under_way: dict[str, int] = {}
        try:
            while True:
                for index, (request, sampling) in islice(waiting, self._in_flight - len(under_way)):
                    under_way[self._add(request, sampling)] = index
                if not under_way:
                    return
                for output in self._step():
                    yield under_way.pop(output.request_id), self._rollout(output.outputs[0])
        finally:
            if under_way:
                self._engine.abort_request(list(under_way))

    def _step(self) -> list[Any]:
        """One step of the engine: the vllm.RequestOutput of what it finished."""
        with _as_engine_error():
            return [output for output in self._engine.step() if output.finished]

    def sync_weights(self, weights: Iterable[tuple[str, "Tensor"]]) -> None:
        """Take over the trainer's weights; see RolloutEngine."""
        try:
            if self._asleep:
                self._llm.wake_up(tags=["weights"])
            self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights)})
            if self._asleep:
                self._llm.wake_up(tags=["kv_cache"])
                self._asleep = False
        except Exception as error:
            raise EngineError(f"vLLM did not take the weights: {_first_line(error)}", "see the stage's log") from error
        self._llm.reset_prefix_cache()

    def release(self) -> None:
        """Drop weights and cache from the GPU until the next sync, where a trainer shares it."""
        if self._sleeps and not self._asleep:
            self._llm.sleep(level=2)
            self._asleep = True

    def close(self) -> None:
        """Free the model; a second call does nothing."""
        if not hasattr(self, "_llm"):
            return
        with contextlib.suppress(AttributeError):
            self._engine.engine_core.shutdown()
        del self._llm, self._engine
        gc.collect()

    def _add(self, request: Request, sampling: Sampling) -> str:
        from vllm import SamplingParams
        from vllm.sampling_params import RepetitionDetectionParams, RequestOutputKind

        request_id = str(self._next_id)
        self._next_id += 1
        stop = sampling.stop_repetition
        repetition = stop and RepetitionDetectionParams(
            max_pattern_size=stop.longest, min_pattern_size=stop.shortest, min_count=stop.times
        )
        params = SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            seed=request.seed,
            logprobs=self._logprobs,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
            repetition_detection=repetition,
        )
        with _as_engine_error():
            self._engine.add_request(request_id, {"prompt_token_ids": list(request.prompt_ids)}, params)
        return request_id

    def _rollout(self, output: Any) -> Rollout:
        """`output`: vllm.CompletionOutput, whose token_ids hold the stop token."""
        tokens = tuple(output.token_ids)
        if output.finish_reason not in get_args(FinishReason):
            raise EngineError(f"vLLM ended a request with {output.finish_reason!r}", "see the stage's log")
        steps = zip(tokens, output.logprobs, strict=True) if output.logprobs else ()
        logprobs = tuple(step[token].logprob for token, step in steps)
        text = self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Rollout(tokens, logprobs, text, output.finish_reason)


@contextlib.contextmanager
def _as_engine_error() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise EngineError(f"vLLM failed while it generated: {_first_line(error)}", "see the stage's log") from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"
