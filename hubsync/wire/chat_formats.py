"""Chat formats: from the Jinja template in a GGUF file to the Go template of Ollama.

The two languages are not translated: a known *format* is recognised by the marks
it puts around messages, and has a Go template written for it.  What is recognised
as none, or as two, gets none: no template is better than a wrong one, which would
spoil every answer in silence.  System, user and assistant messages are covered;
tools and thinking are not.
"""

from dataclasses import dataclass

TEMPLATE_CHARS_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """*marks* are all in a template of this format, and none of *others* is.

    *eos*: the token that ends an answer, where the template writes it by name.
    """

    name: str
    marks: tuple[str, ...]
    template: str
    stop: tuple[str, ...]
    others: tuple[str, ...] = ()
    eos: str | None = None


# A system message is in ``.Messages`` too.  Formats without a place for it put it
# before the first thing that the user says.
_SYSTEM_FIRST = '{{- $system := .System }}{{ range .Messages }}{{ if eq .Role "user" }}'
_SYSTEM_ONCE = '{{ if $system }}%s{{ $system = "" }}{{ end }}{{ .Content }}'
_THEN_ASSISTANT = '{{ else if eq .Role "assistant" }}'
_END = "{{ end }}{{ end }}"

FORMATS = (
    ChatFormat(
        "chatml",
        ("<|im_start|>", "<|im_end|>"),
        "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n"
        "{{ end }}<|im_start|>assistant\n",
        ("<|im_start|>", "<|im_end|>"),
        others=("<|im_sep|>", "<|im_middle|>"),
    ),
    ChatFormat(
        "llama3",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "{{- range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n"
        "{{ .Content }}<|eot_id|>{{ end }}"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    ChatFormat(
        "gemma",
        ("<start_of_turn>", "<end_of_turn>"),
        _SYSTEM_FIRST
        + "<start_of_turn>user\n"
        + _SYSTEM_ONCE % "{{ $system }}\n\n"
        + "<end_of_turn>\n"
        + _THEN_ASSISTANT
        + "<start_of_turn>model\n{{ .Content }}<end_of_turn>\n"
        + _END
        + "<start_of_turn>model\n",
        ("<start_of_turn>", "<end_of_turn>"),
    ),
    ChatFormat(
        "phi3",
        ("<|user|>", "<|assistant|>", "<|end|>"),
        "{{- range .Messages }}<|{{ .Role }}|>\n{{ .Content }}<|end|>\n{{ end }}"
        "<|assistant|>\n",
        ("<|end|>", "<|user|>", "<|assistant|>"),
        others=("<|endofprompt|>",),
    ),
    ChatFormat(
        "zephyr",
        ("<|user|>", "<|assistant|>", "eos_token"),
        "{{- range .Messages }}<|{{ .Role }}|>\n{{ .Content }}</s>\n{{ end }}"
        "<|assistant|>\n",
        ("<|system|>", "<|user|>", "<|assistant|>", "</s>"),
        others=("<|end|>", "[gMASK]", "<|observation|>"),
        eos="</s>",
    ),
    ChatFormat(
        "llama2",
        ("[INST]", "[/INST]", "<<SYS>>"),
        _SYSTEM_FIRST
        + "[INST] "
        + _SYSTEM_ONCE % "<<SYS>>\n{{ $system }}\n<</SYS>>\n\n"
        + " [/INST]"
        + _THEN_ASSISTANT
        + " {{ .Content }} </s><s>"
        + _END,
        ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"),
        eos="</s>",
    ),
    ChatFormat(
        "mistral",
        ("[INST]", "[/INST]"),
        _SYSTEM_FIRST
        + "[INST] "
        + _SYSTEM_ONCE % "{{ $system }}\n\n"
        + " [/INST]"
        + _THEN_ASSISTANT
        + " {{ .Content }}</s>"
        + _END,
        ("[INST]", "[/INST]"),
        others=("<<SYS>>", "[SYSTEM_PROMPT]"),
        eos="</s>",
    ),
    ChatFormat(
        "command-r",
        ("<|START_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
        "{{- range .Messages }}<|START_OF_TURN_TOKEN|>"
        '{{ if eq .Role "system" }}<|SYSTEM_TOKEN|>'
        '{{ else if eq .Role "user" }}<|USER_TOKEN|>'
        "{{ else }}<|CHATBOT_TOKEN|>{{ end }}{{ .Content }}<|END_OF_TURN_TOKEN|>"
        "{{ end }}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
        others=("<|START_RESPONSE|>",),
    ),
)


def chat_format(jinja: str, eos: str | None) -> ChatFormat | None:
    """The one format that a model's own template writes, if it is a known one.

    *eos* is the text of the model's token for the end of an answer.
    """
    if len(jinja) > TEMPLATE_CHARS_MAX:
        return None
    found = [
        one
        for one in FORMATS
        if one.eos in (None, eos)
        and all(mark in jinja for mark in one.marks)
        and not any(other in jinja for other in one.others)
    ]
    return found[0] if len(found) == 1 else None
