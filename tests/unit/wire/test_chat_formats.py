"""A Go template writes what the model's own Jinja template writes.

Go is not at hand: the few words of its template language that ours use are
interpreted here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hubsync.wire.chat_formats import FORMATS, TEMPLATE_CHARS_MAX, chat_format
from tests.gguf_files import CHATML

Node = str | tuple[str, list[tuple[str, list["Node"]]]]
Message = Mapping[str, str]


def parse(tokens: Iterator[str]) -> tuple[list[Node], str]:
    """Nodes up to an ``else`` or ``end``, and that."""
    nodes: list[Node] = []
    for token in tokens:
        if not token.startswith("{{"):
            nodes.append(token)
            continue
        action = token.strip("{}").removeprefix("- ").strip()
        word = action.split()[0]
        if word in ("else", "end"):
            return nodes, action
        if word not in ("range", "if"):
            nodes.append((action, []))
            continue
        branches, rest = [], action
        while True:
            body, end = parse(tokens)
            branches.append((rest, body))
            if end == "end":
                break
            rest = end
        nodes.append((word, branches))
    return nodes, ""


def go(template: str, messages: Sequence[Message]) -> str:
    """What Ollama sends to the model."""
    assert "{{- " not in template[3:]  # trims what is before it: nothing
    tokens = iter([one for one in re.split(r"(\{\{.*?\}\})", template) if one])
    system = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    return "".join(run(parse(tokens)[0], {"System": system}, messages, {}))


def value(text: str, dot: Mapping[str, str], names: Mapping[str, str]) -> str:
    if text.startswith("."):
        return dot[text[1:]]
    return names[text] if text.startswith("$") else text.strip('"')


def is_true(test: str, dot: Mapping[str, str], names: Mapping[str, str]) -> bool:
    words = test.removeprefix("else").strip().removeprefix("if").split()
    if words[:1] == ["eq"]:
        return value(words[1], dot, names) == value(words[2], dot, names)
    return not words or bool(value(words[0], dot, names))


def run(
    nodes: Sequence[Node],
    dot: Mapping[str, str],
    messages: Sequence[Message],
    names: dict[str, str],
) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, str):
            yield node
            continue
        action, branches = node
        if action == "range":
            assert branches[0][0] == "range .Messages"
            for one in messages:
                here = {"Role": one["role"], "Content": one["content"]}
                yield from run(branches[0][1], here, messages, names)
        elif action == "if":
            chosen = next(
                (body for test, body in branches if is_true(test, dot, names)), []
            )
            yield from run(chosen, dot, messages, names)
        elif found := re.fullmatch(r"(\$\w+) :?= (.+)", action):
            names[found[1]] = value(found[2], dot, names)
        else:
            yield value(action, dot, names)


def jinja(template: str, messages: Sequence[Message], eos: str) -> str:
    """What the model's makers send to it, but for the first token."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    more: dict[str, Any] = {"bos_token": "", "eos_token": eos}
    found = environment.from_string(template)
    return found.render(messages=messages, add_generation_prompt=True, **more)


LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    "+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{% set first = messages[0]['content'] + '\n\n' %}{% set rest = messages[1:] %}"
    "{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}"
    "{% for message in rest %}{% if message['role'] == 'assistant' %}"
    "{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + (first if loop.first else '') }}"
    "{{ message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
PHI3 = (
    "{% for message in messages %}{% if message['role'] == 'system' %}"
    "{{ '<|system|>\n' + message['content'] + '<|end|>\n' }}"
    "{% elif message['role'] == 'user' %}"
    "{{ '<|user|>\n' + message['content'] + '<|end|>\n' }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ '<|assistant|>\n' + message['content'] + '<|end|>\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}"
    "{% else %}{{ eos_token }}{% endif %}"
)
ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n"
    "{{ '<|user|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'system' %}\n"
    "{{ '<|system|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n"
    "{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
    "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n"
    "{% endif %}\n{% endfor %}"
)
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}"
    "{% set system = messages[0]['content'] %}{% else %}{% set rest = messages %}"
    "{% set system = false %}{% endif %}{% for message in rest %}"
    "{% if loop.index0 == 0 and system != false %}"
    "{% set content = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ (bos_token if loop.first else '<s>') + "
    "'[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ ' ' + message['content'] + eos_token}}{% endif %}{% endfor %}"
)
COMMAND_R = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}"
    "{{ '<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>' + message['content'] "
    "+ '<|END_OF_TURN_TOKEN|>' }}{% elif message['role'] == 'user' %}"
    "{{ '<|START_OF_TURN_TOKEN|><|USER_TOKEN|>' + message['content'] "
    "+ '<|END_OF_TURN_TOKEN|>' }}{% elif message['role'] == 'assistant' %}"
    "{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' + message['content'] "
    "+ '<|END_OF_TURN_TOKEN|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif %}"
)
KNOWN = {
    "chatml": (CHATML, "<|im_end|>"),
    "llama3": (LLAMA3, "<|eot_id|>"),
    "gemma": (GEMMA, "<end_of_turn>"),
    "phi3": (PHI3, "<|endoftext|>"),
    "zephyr": (ZEPHYR, "</s>"),
    "llama2": (LLAMA2, "</s>"),
    "mistral": (MISTRAL, "</s>"),
    "command-r": (COMMAND_R, "<|END_OF_TURN_TOKEN|>"),
}
USER = {"role": "user", "content": "How are you?"}
ASSISTANT = {"role": "assistant", "content": "Fine."}
SYSTEM = {"role": "system", "content": "Be short."}
TALKS = {
    "one question": [USER],
    "a talk": [USER, ASSISTANT, {"role": "user", "content": "And\nnow?"}],
    "by rules": [SYSTEM, USER],
    "a talk by rules": [SYSTEM, USER, ASSISTANT, USER, ASSISTANT, USER],
}


def test_every_format_is_compared() -> None:
    assert {one.name for one in FORMATS} == set(KNOWN)


@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize("name", KNOWN)
def test_both_templates_write_the_same(name: str, talk: str) -> None:
    template, eos = KNOWN[name]
    found = chat_format(template, eos)
    assert found is not None
    assert found.name == name
    if name == "mistral" and SYSTEM in TALKS[talk]:
        pytest.skip("this one drops the system's message; ours puts it first")
    assert go(found.template, TALKS[talk]) == jinja(template, TALKS[talk], eos)


@pytest.mark.parametrize(
    "template",
    ["", "{{ messages }}", "<|im_start|>", CHATML + LLAMA3, GEMMA + PHI3,
     "<|im_start|><|im_sep|><|im_end|>", "[gMASK]<|user|><|assistant|>eos_token",
     CHATML + " " * TEMPLATE_CHARS_MAX],
)  # fmt: skip
def test_what_is_none_or_two_is_unknown(template: str) -> None:
    assert chat_format(template, "</s>") is None


def test_an_end_of_another_name_is_another_format() -> None:
    """StableLM writes zephyr's marks, and ends with a token of its own."""
    assert chat_format(ZEPHYR, "<|endoftext|>") is None
    assert chat_format(ZEPHYR, None) is None


@given(st.text(), st.none() | st.text())
def test_no_template_breaks_the_guess(template: str, eos: str | None) -> None:
    chat_format(template, eos)
