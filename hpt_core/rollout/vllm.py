"""vLLM in this process: the engine of training rollouts and of evaluation."""

import contextlib
import gc
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, get_args

from pydantic import Field, ValidationError

from hpt_core.base import NOT_IDENTITY
from hpt_core.errors import EngineError, HPTError, explain
from hpt_core.model_folder import read_config
from hpt_core.rollout._kernels import check_installed, check_kernels, check_shape
from hpt_core.rollout.base import (
    Decoder,
    EngineConfig,
    FinishReason,
    Generation,
    Request,
    Rollout,
    RolloutEngine,
    Sampling,
    Stream,
    require_finite_logprobs,
)
from hpt_core.weights import require_weights

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger("hpt.rollout.vllm")

GIB = 2**30
CPU_KV_CACHE_GIB = 1.0
"""Default size of the key-value cache on CPUs."""
CPU_BLOCK = 32
"""Tokens per cache block on CPUs. 32 is vLLM's minimum; small blocks help because only whole blocks are shared."""
CPU_STEP_TOKENS = 4096
"""Default number of tokens per engine step on CPUs."""
ALONE, COLOCATED = 0.9, 0.45
"""Share of GPU memory that vLLM uses alone, and next to a trainer."""


class VLLM(EngineConfig):
    """vLLM in this process."""

    SHARES: ClassVar[bool] = True
    HONORS: ClassVar[frozenset[str]] = EngineConfig.HONORS | {
        *("top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty", "stop"),
    }

    kv_cache_gib: Annotated[float | None, NOT_IDENTITY] = Field(None, gt=0)
    """Key-value cache in GiB. None uses 1 GiB on CPUs, and on GPUs what `gpu_memory_utilization` leaves free."""
    gpu_memory_utilization: Annotated[float | None, NOT_IDENTITY] = Field(None, gt=0, le=1)
    """Share of a GPU's memory for weights and cache; None is 0.9 alone and 0.45 next to a trainer."""
    max_num_seqs: Annotated[int, NOT_IDENTITY] = Field(256, ge=1)
    """Maximum number of sequences decoded together."""
    max_num_batched_tokens: Annotated[int | None, NOT_IDENTITY] = Field(None, ge=1)
    """Maximum number of tokens per engine step. None uses vLLM's default on GPUs and 4096 on CPUs, where the value is
    at least the maximum sequence length."""
    enforce_eager: bool | None = None
    """Run without compiled graphs. None is true on CPUs, where compiling takes more time than it saves, and false on
    GPUs."""
    prefix_caching: bool = True
    """Process a prompt once for all its responses. In float32 on CPUs this does not change the sampled tokens."""
    batch_invariant: bool = False
    """Use vLLM's batch-invariant kernels, so that bf16 results on GPUs do not depend on the batch; slower. The setting
    applies to the whole process, so all engines of a process must use the same value."""

    def cache_gib(self, on_gpu: bool) -> float:
        """See EngineConfig.cache_gib."""
        return self.kv_cache_gib or (0.0 if on_gpu else CPU_KV_CACHE_GIB)

    def check(self) -> None:
        """See EngineConfig.check."""
        check_installed()

    def check_model(self, config: Mapping[str, Any]) -> None:
        """See EngineConfig.check_model."""
        check_shape(config)

    def open(self, model: Path, max_model_len: int, dtype: str, seed: int, **options: Any) -> "VLLMEngine":
        """Load `model`; see EngineConfig.open."""
        return VLLMEngine(self, model, max_model_len, dtype, seed, **options)


def engine_settings(
    config: VLLM, max_model_len: int, dtype: str, seed: int, on_gpu: bool, colocated: bool = False
) -> dict[str, Any]:
    """Arguments of a vLLM engine, in this process or in a server, by vLLM's names."""
    step_tokens = config.max_num_batched_tokens
    settings: dict[str, Any] = {
        "dtype": dtype,
        "seed": seed,
        "max_model_len": max_model_len,
        "max_num_seqs": config.max_num_seqs,
        "enforce_eager": not on_gpu if config.enforce_eager is None else config.enforce_eager,
        "enable_prefix_caching": config.prefix_caching,
        "gpu_memory_utilization": config.gpu_memory_utilization or (COLOCATED if colocated else ALONE),
        "logprobs_mode": "processed_logprobs",
        # Never a sampler or a length from the model's generation_config.json. Its EOS tokens count all the same.
        "generation_config": "vllm",
        "disable_log_stats": True,
    }
    if not on_gpu:
        # Chunked prefill rewinds a request's seeded generator, which torch's CPU generators cannot do.
        settings["enable_chunked_prefill"] = False
        settings["block_size"] = CPU_BLOCK
        step_tokens = max(step_tokens or CPU_STEP_TOKENS, max_model_len)
    if step_tokens is not None:
        settings["max_num_batched_tokens"] = step_tokens
    if kv_cache_gib := config.cache_gib(on_gpu):
        settings["kv_cache_memory_bytes"] = int(kv_cache_gib * GIB)
    return settings


def _remedy(refusal: str) -> str:
    """What to do about vLLM's reason to refuse a model."""
    _, quantized, dtypes = refusal.partition("is not supported for quantization method")
    if quantized and "bfloat16" in dtypes:
        return 'set dtype = "bfloat16"'
    return "choose a model that vLLM runs here without code of the model's own, or use engine = 'transformers'"


def _prepare_environment(batch_invariant: bool) -> None:
    """Set what vLLM reads from the environment at import. Standard output is reserved for the worker's events."""
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
        # vLLM logs some messages before it reads its own level.
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
        config.check_model(read_config(model))
        require_weights(model)
        _prepare_environment(config.batch_invariant)
        self._asleep = False
        self._next_id = 0
        # Twice the number decoded together, so that a free slot is filled at once.
        self._in_flight = 2 * config.max_num_seqs
        try:
            # vLLM's import and start emit deprecation warnings that users cannot act on.
            with warnings.catch_warnings(), _without_collections():
                warnings.simplefilter("ignore")
                self._load(config, model, max_model_len, dtype, seed, colocated)
        except ImportError as error:
            raise EngineError(f"importing vLLM failed: {error}", "run `hpt doctor`") from error
        except HPTError:
            raise
        except ValidationError as error:
            cause = explain(error)
            raise EngineError(f"vLLM refuses {model}: {cause}", _remedy(cause)) from error
        except Exception as error:
            raise EngineError(
                f"vLLM cannot load {model}: {explain(error)}",
                "check the model folder; if memory is short, lower kv_cache_gib or gpu_memory_utilization",
            ) from error
        self._engine = self._llm.llm_engine
        self._tokenizer = self._llm.get_tokenizer()
        self._decode = Decoder(self._tokenizer)
        try:
            require_finite_logprobs(self, self._tokenizer, model, max_model_len)
        except BaseException:
            self.close()
            raise
        self.logprobs = logprobs

    def _load(self, config: VLLM, model: Path, max_model_len: int, dtype: str, seed: int, colocated: bool) -> None:
        import torch
        import torch._dynamo
        import vllm

        check_kernels()
        on_gpu = torch.cuda.is_available()
        settings = engine_settings(config, max_model_len, dtype, seed, on_gpu, colocated)
        if settings["enforce_eager"] and not on_gpu:
            # Even then vLLM compiles a sampler helper, which delays the first token by 12 s without a benefit.
            torch._dynamo.config.disable = True
        self.version = f"vllm {vllm.__version__}"
        self._sleeps = colocated and on_gpu
        if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
            # Each rank has its own engine, on the device of its local rank.
            settings["distributed_executor_backend"] = "external_launcher"
        create = vllm.LLM  # imports most of vLLM
        gc.freeze()
        self._llm = create(model=str(model), enable_sleep_mode=self._sleeps, use_tqdm_on_load=False, **settings)

    def stream(self, requests: Iterable[Generation]) -> Stream:
        """Generate responses and yield them as they finish; see RolloutEngine."""
        if self._asleep:
            raise EngineError("the engine's memory was released", "sync the weights before the next rollouts")
        self._llm.reset_prefix_cache()
        waiting = enumerate(requests)
        under_way: dict[str, tuple[int, Sampling]] = {}
        try:
            while True:
                for index, (request, sampling) in islice(waiting, self._in_flight - len(under_way)):
                    under_way[self._add(request, sampling)] = index, sampling
                if not under_way:
                    return
                for output in self._step():
                    index, sampling = under_way.pop(output.request_id)
                    yield index, self._rollout(output.outputs[0], sampling)
        finally:
            if under_way:
                self._engine.abort_request(list(under_way))

    def _step(self) -> list[Any]:
        """Run one engine step. Returns the finished requests (vllm.RequestOutput)."""
        with _as_engine_error():
            return [output for output in self._engine.step() if output.finished]

    def sync_weights(self, weights: Iterable[tuple[str, "Tensor"]]) -> None:
        """Load the trainer's weights; see RolloutEngine."""
        try:
            if self._asleep:
                self._llm.wake_up(tags=["weights"])
            self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights)})
            if self._asleep:
                self._llm.wake_up(tags=["kv_cache"])
                self._asleep = False
        except Exception as error:
            raise EngineError(f"vLLM cannot load the weights: {explain(error)}", "see the stage's log") from error
        self._llm.reset_prefix_cache()

    def release(self) -> None:
        """Remove weights and cache from the GPU until the next sync, if a trainer shares the GPU."""
        if self._sleeps and not self._asleep:
            self._llm.sleep(level=2)
            self._asleep = True

    def close(self) -> None:
        """Free the model. A second call does nothing."""
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
        rule = sampling.stop_repetition
        repetition = rule and RepetitionDetectionParams(
            max_pattern_size=rule.longest, min_pattern_size=rule.shortest, min_count=rule.times
        )
        params = SamplingParams(
            **sampling.numbers,
            stop=list(sampling.stop) or None,
            stop_token_ids=sampling.stop_ids(self._tokenizer) or None,
            seed=request.seed,
            # 0 returns only the sampled token's. None saves vLLM a pass over the vocabulary.
            logprobs=0 if self.logprobs else None,
            # Stop texts are looked for in the text.
            detokenize=bool(sampling.stop),
            output_kind=RequestOutputKind.FINAL_ONLY,
            repetition_detection=repetition,
        )
        with _as_engine_error():
            self._engine.add_request(request_id, {"prompt_token_ids": list(request.prompt_ids)}, params)
        return request_id

    def _rollout(self, output: Any, sampling: Sampling) -> Rollout:
        """Convert a vllm.CompletionOutput, whose token_ids include the stop token or text."""
        tokens = tuple(output.token_ids)
        if output.finish_reason not in get_args(FinishReason):
            raise EngineError(f"vLLM ended a request with {output.finish_reason!r}", "see the stage's log")
        steps = zip(tokens, output.logprobs, strict=True) if output.logprobs else ()
        logprobs = tuple(step[token].logprob for token, step in steps)
        return Rollout(tokens, logprobs, sampling.cut(self._decode(tokens)), output.finish_reason)


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Pause garbage collection, and let vLLM's own explicit collections skip what gc.freeze() was called on.

    Importing and starting vLLM creates a million objects that stay. Scanning them repeatedly takes 2 of 10 s.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.enable()


@contextlib.contextmanager
def _as_engine_error() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise EngineError(f"vLLM failed during generation: {explain(error)}", "see the stage's log") from error
