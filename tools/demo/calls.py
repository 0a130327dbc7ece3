"""Conversations with tools. A turn may have one call or two at once, use results in the answer, need no tool, or find no fitting one.

A conversation belongs to one of four worlds: `known` has the names and values of the lists, `novel` has invented ones, `english` has tools
made of English words (training only), and `real` has English tools that training never shows (tests only).
"""
import chat
import encoding
import kinds
from phrases import SYSTEMS

NO_TOOL = "I have no tool for that."
PLAIN = ["talk", "fact", "copy", "unknown", "count"]


def toolbox(rng, world, unseen):
    """Makes one to four tools with different names and topics."""
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
    """Whether one question could mean either tool."""
    return a.topic == b.topic or a.schema["function"]["name"] == b.schema["function"]["name"]


def outcome(rng, tool, arguments):
    """Makes the result of a call, and the sentence with which the answer reports it."""
    if rng.random() < 0.08:
        problem = rng.choice(["not found", "no permission", "timeout", "bad value"])
        return rng.choice([f"error: {problem}", f'{{"error": "{problem}"}}']), f"The tool failed: {problem}."
    return tool.respond(rng, list(arguments.values()))


def wanted(rng, tools):
    """Makes a question, and the one or two (tool, arguments) pairs that answer it."""
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
    """Makes the messages of one turn. `unfit` is the share of turns for which no tool fits."""
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
    """Makes a conversation with tools. It ends after a call without results, because then the program must act."""
    thinking = rng.random() < 0.5 if thinking is None else thinking
    tools = toolbox(rng, world, unseen)
    messages = [{"role": "system", "content": rng.choice(SYSTEMS)}] if rng.random() < 0.4 else []
    for _ in range(rng.choice([1, 1, 2, 2, 3])):
        messages += turn(rng, tools, world, unseen, unfit)
        if messages[-1].get("tool_calls"):
            break
    effort = rng.choice(["a", "a", "a", "b"]) if thinking and rng.random() < 0.1 else None
    return {"messages": messages, "tools": [tool.schema for tool in tools], "thinking": thinking, "effort": effort}
