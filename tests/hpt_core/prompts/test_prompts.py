"""Prompts: their text, one BOS, one EOS."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from hpt_core.errors import ModelError
from hpt_core.models.scratch import byte_tokenizer
from hpt_core.prompts import chat, plain
from hpt_core.prompts.base import PromptConfig

LLAMA = (
    "Question:\nWhat is 1 + 1?\nPlease reason step by step, and put your final answer within \\boxed{}.\nAnswer:\n"
    "Let's think step by step."
)


def tokenizer(template: str | None = None, adds_bos: bool = True) -> Any:
    """A tokenizer of bytes with <bos> and <eos>."""
    found = byte_tokenizer(256)
    if template is not None:
        found.chat_template = template
    if not adds_bos:
        from tokenizers import processors

        found.backend_tokenizer.post_processor = processors.ByteLevel()
    return found


def test_plain_is_the_llama_template_of_the_paper() -> None:
    assert plain.PlainText().bind(tokenizer()).render("What is 1 + 1?") == LLAMA


def test_chat_puts_the_instruction_after_the_question() -> None:
    text = chat.ChatTemplate().bind(tokenizer()).render("What is 1 + 1?")
    assert text == (
        "<bos>user: What is 1 + 1?\n"
        "Please reason step by step, and put your final answer within \\boxed{}.\n"
        "assistant: "
    )


def test_chat_sends_the_system_message_first() -> None:
    prompt = chat.ChatTemplate(system="Be brief.", instruction=None).bind(tokenizer())
    assert prompt.render("Hm?") == "<bos>system: Be brief.\nuser: Hm?\nassistant: "


@pytest.mark.parametrize("config", [chat.ChatTemplate(), plain.PlainText()])
def test_a_benchmark_replaces_or_removes_the_instruction(config: Any) -> None:
    prompt = config.bind(tokenizer())
    assert "Q?\nName the letter.\n" in prompt.render("Q?", "Name the letter.")
    assert "boxed" not in prompt.render("Q?", "Name the letter.")
    assert "boxed" not in prompt.render("Q?", "")
    assert prompt.render("Q?", None) == prompt.render("Q?")
    assert len(prompt.encode("Q?", "")) < len(prompt.encode("Q?"))


@given(question=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
@settings(max_examples=50, deadline=None)
def test_a_plain_prompt_contains_the_question_unchanged(question: str) -> None:
    prompt = plain.PlainText(template="Q: {question} {answer}", instruction="").bind(tokenizer())
    assert prompt.render(question) == f"Q: {question} {{answer}}"
    assert plain.PlainText().bind(tokenizer()).render("{question} {x} {}").count("{question}") == 1


@pytest.mark.parametrize("template", ["no place", "{question} {question}"])
def test_a_plain_template_has_one_place_for_the_question(template: str) -> None:
    with pytest.raises(ValidationError, match=r"\{question\} must stand in it exactly once"):
        plain.PlainText(template=template)


@pytest.mark.parametrize(
    ("template", "adds_bos", "expected"),
    [
        (None, True, 1),  # the template writes a BOS and the tokenizer adds one
        (None, False, 1),  # the template alone
        ("{{ messages[0]['content'] }}", True, 1),  # the tokenizer alone
        ("{{ bos_token }}{{ bos_token }}{{ messages[0]['content'] }}", True, 1),
        ("{{ messages[0]['content'] }}", False, 0),  # neither uses it
    ],
)
def test_the_prompt_has_one_bos_from_template_or_tokenizer(template: str | None, adds_bos: bool, expected: int) -> None:
    found = tokenizer(template, adds_bos)
    ids = chat.ChatTemplate().bind(found).encode("What is 1 + 1?")
    assert ids.count(found.bos_token_id) == expected
    assert ids.index(found.bos_token_id) == 0 if expected else True
    assert found.decode(ids, skip_special_tokens=True).startswith(("user: What", "What"))


def test_plain_has_one_bos() -> None:
    found = tokenizer()
    ids = plain.PlainText().bind(found).encode("What is 1 + 1?")
    assert ids.count(found.bos_token_id) == 1
    assert found.decode(ids[1:]) == LLAMA


def test_a_demonstration_has_no_bos_and_one_eos() -> None:
    found = tokenizer()
    prompt = chat.ChatTemplate().bind(found)
    ids = prompt.encode_demonstration("Q?", "2<eos>")
    assert ids == [*found("2", add_special_tokens=False).input_ids, found.eos_token_id]
    assert prompt.encode_demonstration("Q?", "2") == ids


@pytest.mark.parametrize(("end", "kept"), [("<think>\n", False), ("", True), ("<think>", True)])
def test_think_is_dropped_if_the_prompt_ends_with_it(end: str, kept: bool) -> None:
    found = tokenizer("{{ messages[0]['content'] }}" + end.replace("\n", "{{ '\\n' }}"))
    prompt = chat.ChatTemplate().bind(found)
    assert prompt.render("Q?").endswith(end)
    text = found.decode(prompt.encode_demonstration("Q?", "<think>\nhm</think> 2"), skip_special_tokens=True)
    assert text == ("<think>\nhm</think> 2" if kept else "hm</think> 2")


def test_a_tokenizer_without_chat_template_is_refused_with_the_remedy() -> None:
    found = tokenizer()
    found.chat_template = None
    with pytest.raises(ModelError, match=r'no chat template.*prompt = "plain"'):
        chat.ChatTemplate().bind(found)


def test_a_template_that_refuses_a_system_message_is_named() -> None:
    found = tokenizer("{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}x")
    chat.ChatTemplate().bind(found)
    with pytest.raises(ModelError, match="no system role"):
        chat.ChatTemplate(system="s").bind(found)


THINKING = (
    "{% if date %}Today is {{ date }}.\n{% endif %}{{ messages[-1]['content'] }}\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% else %}<think>\n{% endif %}"
)
"""A template that reads arguments, as those of reasoning models do."""


def test_arguments_reach_the_template() -> None:
    found = tokenizer(THINKING)
    plain = chat.ChatTemplate(instruction="").bind(found)
    assert plain.render("Q?") == "Q?\n<think>\n"
    arguments = {"enable_thinking": False, "date": "26 Jul 2024"}
    switched = chat.ChatTemplate(instruction="", template_arguments=arguments)
    assert switched.bind(found).render("Q?") == "Today is 26 Jul 2024.\nQ?\n<think></think>"
    assert switched.identity() != chat.ChatTemplate(instruction="").identity()
    assert "template_arguments" not in chat.ChatTemplate().identity(), "without any, the identity is as before"


def test_an_argument_that_the_template_does_not_read_is_an_error() -> None:
    arguments = {"enable_think": False}
    with pytest.raises(ModelError, match=r"reads no argument 'enable_think'.*remove it"):
        chat.ChatTemplate(template_arguments=arguments).bind(tokenizer(THINKING))


@pytest.mark.parametrize("name", ["messages", "tokenize", "add_generation_prompt"])
def test_what_the_prompt_itself_sets_is_no_argument(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name} is set by the prompt itself"):
        chat.ChatTemplate(template_arguments={name: 1})


def test_a_tokenizer_without_eos_is_refused() -> None:
    found = tokenizer()
    found.eos_token = None
    with pytest.raises(ModelError, match="no EOS token"):
        plain.PlainText().bind(found)


def test_configs_accept_a_bare_name() -> None:
    adapter = TypeAdapter(PromptConfig)
    assert adapter.validate_python("plain") == plain.PlainText()
    with pytest.raises(ValidationError, match="did you mean 'chat'"):
        adapter.validate_python("chatt")


def test_smollm2_prompts_end_where_the_assistant_begins() -> None:
    folder = Path(__file__).resolve().parents[3] / "models" / "smollm2-135m"
    if not folder.is_dir():
        pytest.skip("needs models/smollm2-135m: run `hpt models fetch smollm2-135m`")
    from transformers import AutoTokenizer

    found = AutoTokenizer.from_pretrained(folder)
    prompt = chat.ChatTemplate().bind(found)
    assert prompt.render("1 + 1?") == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\n1 + 1?\nPlease reason step by step, and put your final answer within \\boxed{}.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert found.decode(prompt.encode("1 + 1?")) == prompt.render("1 + 1?")
    assert found.decode(prompt.encode_demonstration("1 + 1?", "2")) == "2<|im_end|>"
