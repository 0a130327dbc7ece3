"""Renders prompts of DeepSeek V4 in the same way as the engine (src/text/encoding), for training rows and for test sets.

A conversation is a dict with `messages`, `thinking`, and optionally `tools` and `effort`: "a" or "b" for one of the two texts that ask for
more reasoning. Messages follow the chat API: system, user, assistant (with `reasoning_content` and `tool_calls`), tool.
"""
import json
from pathlib import Path

BOS, EOS, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"
USER, ASSISTANT, THINK, THINK_END, DSML = "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>", "｜DSML｜"
TASKS = ["<｜action｜>", "<｜query｜>", "<｜authority｜>", "<｜domain｜>", "<｜title｜>", "<｜read_url｜>"]
SPECIALS = [BOS, EOS, PAD, USER, ASSISTANT, THINK, THINK_END, DSML, "<｜latest_reminder｜>", *TASKS]

TEXTS = Path(__file__).resolve().parents[2] / "src" / "text" / "encoding"
TOOLS_BEFORE = (TEXTS / "tools_before_schemas.txt").read_text(encoding="utf-8")
TOOLS_AFTER = (TEXTS / "tools_after_schemas.txt").read_text(encoding="utf-8")
EFFORTS = {word: (TEXTS / f"effort_{word}.txt").read_text(encoding="utf-8") for word in "ab"}


def dump(value):
    """JSON in the form of prompts: one line, with a space after each comma and colon."""
    return json.dumps(value, ensure_ascii=False)


def tools_block(tools):
    """The text that follows the system text where there are tools."""
    return "\n\n" + TOOLS_BEFORE + "\n".join(dump(tool["function"]) for tool in tools) + TOOLS_AFTER


def call_block(calls):
    """The markup of tool calls."""
    lines = [f"\n\n<{DSML}tool_calls>"]
    for call in calls:
        lines.append(f'<{DSML}invoke name="{call["function"]["name"]}">')
        arguments = json.loads(call["function"]["arguments"])
        parameters = []
        for key, value in arguments.items():
            is_string = isinstance(value, str)
            text = value if is_string else dump(value)
            parameters.append(f'<{DSML}parameter name="{key}" string="{"true" if is_string else "false"}">{text}</{DSML}parameter>')
        lines.append("\n".join(parameters))
        lines.append(f"</{DSML}invoke>")
    return "\n".join(lines) + f"\n</{DSML}tool_calls>"


def completion(message, thinking):
    """The text that the model generates for an assistant message, without EOS."""
    reasoning = message.get("reasoning_content", "") + THINK_END if thinking else ""
    calls = call_block(message["tool_calls"]) if message.get("tool_calls") else ""
    return reasoning + (message.get("content") or "") + calls


def parts(conversation):
    """The rendered conversation as (text, is_answer) pairs. Texts start and end at special tokens, so that each can be encoded separately.

    After a last user or tool message the text ends with the header of the answer.
    """
    messages, thinking, tools = conversation["messages"], conversation["thinking"], conversation.get("tools")
    last_user = max(i for i, m in enumerate(messages) if m["role"] in ("user", "tool"))
    dropping = thinking and not tools
    out = BOS + (EFFORTS[conversation["effort"]] if thinking and conversation.get("effort") else "")
    head, rest = (messages[0]["content"], messages[1:]) if messages[0]["role"] == "system" else ("", messages)
    skipped = len(messages) - len(rest)
    out += head + (tools_block(tools) if tools else "")
    result, pending = [], out
    for i, message in enumerate(rest, skipped):
        before, after = messages[i - 1]["role"] if i else "", messages[i + 1]["role"] if i + 1 < len(messages) else "assistant"
        if message["role"] == "assistant":
            result.append((pending, False))
            result.append((completion(message, thinking and not (dropping and i < last_user)) + EOS, True))
            pending = ""
            continue
        text = message["content"] if message["role"] == "user" else f"<tool_result>{message['content']}</tool_result>"
        pending += ("\n\n" if before in ("user", "tool") else USER) + text
        if after == "assistant":
            pending += ASSISTANT + (THINK if thinking and not (dropping and i < last_user) else THINK_END)
    if pending:
        result.append((pending, False))
    return result


def prompt(conversation):
    """The whole rendered text."""
    return "".join(text for text, _ in parts(conversation))


def user(text):
    """A user message."""
    return {"role": "user", "content": text}


def answer(text, reasoning="", calls=()):
    """An assistant message. `calls` are (name, arguments) pairs, which get numbered ids."""
    message = {"role": "assistant", "content": text, "reasoning_content": reasoning}
    if calls:
        message["tool_calls"] = [{"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": dump(arguments)}}
                                 for n, (name, arguments) in enumerate(calls)]
    return message


def result(text, number=0):
    """A tool message that answers call `number` of the previous turn."""
    return {"role": "tool", "tool_call_id": f"call_{number}", "content": text}
