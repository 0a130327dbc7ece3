"""Conversations with tools: one call, two at once, results used in the answer, and turns that need no tool or find none.

Four worlds: `known` names and values, `novel` ones (invented), `english` ones (tools made of English words, training only), and `real`, English
tools that training never shows (tests only).
"""
import chat
import encoding
import kinds
from phrases import SYSTEMS

NO_TOOL = "I have no tool for that."
PLAIN = ["talk", "fact", "copy", "unknown", "count"]


def toolbox(rng, world, unseen):
    """One to four tools with different names."""
    count, tools = rng.choice([1, 2, 2, 3, 3, 4]), []
    while len(tools) < count:
        if world == "known":
            made = kinds.tool(rng, rng.choice(kinds.KINDS), False, False, False)
        elif world == "english":
            made = kinds.english_tool(rng)
        elif world == "real":
            made = kinds.tool(rng, rng.choice(kinds.HELD_OUT_KINDS), False, True, True)
        else:
            style = rng.random()
            if style < 0.5:
                made = kinds.invented_tool(rng, unseen)
            else:
                made = kinds.tool(rng, rng.choice(kinds.KINDS), style < 0.8, True, unseen)
        if not any(same_use(made, tool) for tool in tools):
            tools.append(made)
    return tools


def same_use(a, b):
    """Whether a question could mean either tool."""
    return a.topic == b.topic or a.schema["function"]["name"] == b.schema["function"]["name"]


def outcome(rng, tool, arguments):
    """What a call returns, and the sentence about it."""
    if rng.random() < 0.08:
        problem = rng.choice(["not found", "no permission", "timeout", "bad value"])
        return rng.choice([f"error: {problem}", f'{{"error": "{problem}"}}']), f"The tool failed: {problem}."
    return tool.respond(rng, list(arguments.values()))


def wanted(rng, tools):
    """One or two (tool, arguments) pairs, and the question for them."""
    first = rng.choice(tools)
    question, arguments = first.ask(rng)
    calls = [(first, arguments)]
    if rng.random() < 0.25:
        second = first if rng.random() < 0.5 or len(tools) == 1 else rng.choice([t for t in tools if t is not first])
        more, arguments = second.ask(rng)
        if (second, arguments) != calls[0]:
            calls.append((second, arguments))
            question += rng.choice([" ", "\n", " And then: ", " Also: "]) + more
    return question, calls


def turn(rng, tools, world, unseen, unfit):
    """The messages of one turn; `unfit` is the share of turns for which no tool is there."""
    kind = rng.random()
    if kind < 0.10:
        question, _, text = chat.FAMILIES[rng.choice(PLAIN)](rng, False)
        return [encoding.user(question), encoding.answer(text, "No tool is needed.")]
    if kind < 0.10 + unfit:
        other = toolbox(rng, world, unseen)[0]
        if not any(same_use(other, tool) for tool in tools):
            return [encoding.user(other.ask(rng)[0]), encoding.answer(NO_TOOL, "No tool fits.")]
    question, calls = wanted(rng, tools)
    named = [(tool.schema["function"]["name"], arguments) for tool, arguments in calls]
    reasoning = "I call " + " and ".join(name for name, _ in named) + "."
    messages = [encoding.user(question), encoding.answer("", reasoning, named)]
    if rng.random() < 0.75:
        outcomes = [outcome(rng, tool, arguments) for tool, arguments in calls]
        messages += [encoding.result(text, n) for n, (text, _) in enumerate(outcomes)]
        messages.append(encoding.answer(" ".join(sentence for _, sentence in outcomes), "I have the result."))
    return messages


def conversation(rng, world, unseen=False, thinking=None, unfit=0.05):
    """A conversation with tools. After a call without results it ends, as then the program is on."""
    thinking = rng.random() < 0.5 if thinking is None else thinking
    tools = toolbox(rng, world, unseen)
    messages = [{"role": "system", "content": rng.choice(SYSTEMS)}] if rng.random() < 0.4 else []
    for _ in range(rng.choice([1, 1, 2, 2, 3])):
        messages += turn(rng, tools, world, unseen, unfit)
        if messages[-1].get("tool_calls"):
            break
    effort = rng.choice(["a", "a", "a", "b"]) if thinking and rng.random() < 0.1 else None
    return {"messages": messages, "tools": [tool.schema for tool in tools], "thinking": thinking, "effort": effort}
