"""Makes test sets, and tables of how many tests are answered exactly.

    evaluate.py tests DATA OUT.jsonl [--count 200]      writes the test set
    evaluate.py model CHECKPOINT DATA TESTS.jsonl       scores greedy answers of the trained model, and its draft block
    evaluate.py answers TESTS.jsonl ANSWERS.jsonl       scores the answers of another program: a line {"text": ...} for each test line
    evaluate.py draft DWARFSTAR DATA TESTS.jsonl        scores the bundled draft block in the engine, on --lines lines of each family

A test line asks for one assistant turn. A conversation is right when all its lines are. `expected` is the text after the prompt up to EOS,
including reasoning and markup. `dwarfstar run --batch TESTS.jsonl` answers such lines.
"""
import argparse
import json
import random
import re
import subprocess
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

import calls
import chat
import encoding
import recall
from checkpoint import load
from model import Config, Model

DISTANCES = (64, 256, 1024, 2048, 4096, 6000)
LENGTHS = (1024, 2304, 4352, 6400, 8192)


def families(folder, tokenizer):
    """For each family a function of (rng, thinking) that makes a conversation."""
    fillers = {unseen: recall.Filler(folder, "test" if unseen else "train", tokenizer) for unseen in (False, True)}
    size = lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
    out = {name: lambda rng, thinking, name=name: chat.conversation(rng, name, True, thinking) for name in chat.FAMILIES if name != "arithmetic"}
    out["arithmetic_think"] = lambda rng, thinking: chat.conversation(rng, "arithmetic", True, True)
    out["arithmetic_direct"] = lambda rng, thinking: chat.conversation(rng, "arithmetic", True, False)
    for name, world in (("tools_known", "known"), ("tools_invented", "novel"), ("tools_real", "real")):
        out[name] = lambda rng, thinking, world=world: calls.conversation(rng, world, True, thinking)
    for distance in DISTANCES:
        for name, novel in (("known", False), ("new", True)):
            out[f"recall_{name}_{distance}"] = lambda rng, thinking, d=distance, novel=novel: recall.conversation(rng, fillers[novel], d, size, novel, novel)
    return out


def lines_of(conversation, family, number):
    """Yields a test line for each assistant turn of a conversation."""
    for at, message in enumerate(conversation["messages"]):
        if message["role"] == "assistant":
            line = {"family": family, "conversation": number, "messages": conversation["messages"][:at], "thinking": conversation["thinking"],
                    "thinking_mode": "thinking" if conversation["thinking"] else "chat",
                    "expected": encoding.completion(message, conversation["thinking"])}
            yield line | ({"tools": conversation["tools"]} if conversation.get("tools") else {})


def tests(folder, count, seed=2024, only=None):
    """All lines of the test set."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    out = []
    for family, make in families(folder, tokenizer).items():
        if only and family not in only:
            continue
        rng = random.Random(f"{seed} {family}")
        for number in range(count):
            made = make(rng, bool(number % 2))
            out += lines_of(made | {"effort": None}, family, number)
    return out


def probe_tests(folder, count):
    """A small set of short tests, which is scored during training."""
    only = {"fact", "copy", "lists", "arithmetic_think", "arithmetic_direct", "tools_known", "tools_invented", "tools_real",
            *(f"recall_{name}_{d}" for name in ("known", "new") for d in (64, 256))}
    return tests(folder, count, 77, only)


def encoded(tokenizer, line):
    """The ids of the prompt and those of the answer (with EOS) of a line."""
    ids = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    return sum((ids(text) for text, _ in encoding.parts(line)), []), ids(line["expected"] + encoding.EOS)


def score(model, tokenizer, lines, tokens, select=True, keep_grad=False):
    """For each family the share of right conversations, of correct tool markup, and of tokens that the draft block predicts.

    Every token is predicted from the right text before it. Where all predictions are right, greedy decoding gives exactly the expected text.
    With `keep_grad` the pieces that were compiled for training run without being compiled again.
    """
    pairs, by_length = [encoded(tokenizer, line) for line in lines], {}
    for n, (prompt, answer) in enumerate(pairs):
        length = next((s for s in LENGTHS if len(prompt) + len(answer) <= s), None)
        if length:
            by_length.setdefault(length, []).append(n)
    right, markup, drafted = {}, {}, {}
    special = torch.tensor([tokenizer.token_to_id(t) for t in (encoding.DSML, encoding.THINK_END, encoding.EOS)], device=model.device)
    for length, numbers in by_length.items():
        rows = max(1, tokens // length)
        for start in range(0, len(numbers), rows):
            chosen = numbers[start:start + rows]
            ids = torch.zeros(rows, length + 2, dtype=torch.int64)
            is_answer = torch.zeros(rows, length, dtype=torch.bool)
            for row, n in enumerate(chosen):
                prompt, answer = pairs[n]
                ids[row, :len(prompt) + len(answer)] = torch.tensor(prompt + answer)
                is_answer[row, len(prompt) - 1:len(prompt) + len(answer) - 1] = True
            ids, is_answer = ids.to(model.device), is_answer.to(model.device)
            targets = ids[:, 1:-1].contiguous()
            with torch.set_grad_enabled(keep_grad):
                out = model(ids[:, :-2].contiguous(), targets, None, select, None if keep_grad else ids[:, 2:].contiguous())
            hit = out["best"] == targets
            fits = (hit | ~is_answer).all(1)
            marked = (hit | ~is_answer | ~torch.isin(targets, special)).all(1) & (torch.isin(out["best"], special) <= torch.isin(targets, special) | ~is_answer).all(1)
            if not keep_grad:
                later = is_answer[:, 1:]
                foreseen = ((out["draft_best"][:, :-1] == targets[:, 1:]) & later).sum(1) / later.sum(1).clamp(min=1)
            for row, n in enumerate(chosen):
                right[n], markup[n] = bool(fits[row]), bool(marked[row])
                drafted[n] = 0.0 if keep_grad else float(foreseen[row])
    return table(lines, right, markup, drafted)


def table(lines, right, markup=None, drafted=None):
    """For each family the shares and counts of a table."""
    out = {}
    for family in dict.fromkeys(line["family"] for line in lines):
        numbers = [n for n, line in enumerate(lines) if line["family"] == family and n in right]
        conversations = {}
        for n in numbers:
            conversations.setdefault(lines[n]["conversation"], []).append(right[n])
        cell = {"right": sum(map(all, conversations.values())) / max(len(conversations), 1), "conversations": len(conversations), "lines": len(numbers)}
        for name, values in (("markup", markup), ("draft", drafted)):
            if values:
                cell[name] = sum(values[n] for n in numbers) / max(len(numbers), 1)
        out[family] = cell
    return out


def drafted(program, tokenizer, lines, count):
    """For each family the share of answer tokens, after the first of each line, that the engine's draft block predicts from the right text.

    Only the first `count` lines of each family are used.
    """
    shares, used = {}, {}
    for line in lines:
        family = line["family"]
        prompt, answer = encoded(tokenizer, line)
        if used.setdefault(family, 0) == count or len(answer) < 2:
            continue
        used[family] += 1
        with tempfile.TemporaryDirectory() as folder:
            tokens, out = Path(folder) / "tokens.json", Path(folder) / "out.safetensors"
            tokens.write_text(json.dumps(prompt + answer))
            subprocess.run([program, "logits", "--tokens", tokens, "-o", out, "--mtp", "bundled"], check=True, stderr=subprocess.DEVNULL)
            # Row i predicts token i + 2.
            best = load_file(out)["mtp_logits"].argmax(-1)[len(prompt) - 1:-1]
        shares.setdefault(family, []).append(float((best == torch.tensor(answer[1:])).float().mean()))
    return {family: dict(conversations=len(values), draft=sum(values) / len(values)) for family, values in shares.items()}


def well_formed(text):
    """Whether the tool calls in a text follow the markup."""
    if encoding.DSML not in text:
        return True
    name, d = r'"[^"\n]+"', re.escape(encoding.DSML)
    parameter = rf'<{d}parameter name={name} string="(?:true|false)">.*?</{d}parameter>'
    invoke = rf'<{d}invoke name={name}>\n(?:{parameter}(?:\n{parameter})*)?\n</{d}invoke>'
    return re.search(rf"\n\n<{d}tool_calls>\n{invoke}(?:\n{invoke})*\n</{d}tool_calls>$", text, re.DOTALL) is not None


def show(rows):
    """Prints the table."""
    print(f"{'family':<22}{'tests':>7}{'right':>9}{'markup':>9}{'draft':>9}")
    for family, cell in rows.items():
        others = "".join(f"{cell[key]:>9.1%}" if key in cell else f"{'-':>9}" for key in ("markup", "draft"))
        right = f"{cell['right']:>9.1%}" if "right" in cell else f"{'-':>9}"
        print(f"{family:<22}{cell['conversations']:>7}{right}{others}")


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    write = commands.add_parser("tests")
    write.add_argument("data", type=Path)
    write.add_argument("out", type=Path)
    write.add_argument("--count", type=int, default=200)
    run = commands.add_parser("model")
    run.add_argument("checkpoint", type=Path)
    run.add_argument("data", type=Path)
    run.add_argument("tests", type=Path)
    run.add_argument("--device", default="cuda")
    run.add_argument("--tokens", type=int, default=32768)
    run.add_argument("--save", type=Path)
    read = commands.add_parser("answers")
    read.add_argument("tests", type=Path)
    read.add_argument("answers", type=Path)
    draft = commands.add_parser("draft")
    draft.add_argument("program")
    draft.add_argument("data", type=Path)
    draft.add_argument("tests", type=Path)
    draft.add_argument("--lines", type=int, default=20)
    options = parser.parse_args()
    if options.command == "tests":
        lines = tests(options.data, options.count)
        options.out.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
        print(len(lines), "lines")
        return
    lines = [json.loads(line) for line in options.tests.read_text(encoding="utf-8").splitlines()]
    if options.command == "draft":
        show(drafted(options.program, Tokenizer.from_file(str(options.data / "tokenizer.json")), lines, options.lines))
        return
    if options.command == "answers":
        texts = [json.loads(line)["text"] for line in options.answers.read_text(encoding="utf-8").splitlines()]
        right = {n: text == line["expected"] for n, (line, text) in enumerate(zip(lines, texts))}
        show(table(lines, right, {n: well_formed(text) for n, text in enumerate(texts)}))
        return
    state = load(options.checkpoint, "cpu")
    model = Model(Config(**state["config"]), state["weights"], state["tables"], options.device)
    rows = score(model, Tokenizer.from_file(str(options.data / "tokenizer.json")), lines, options.tokens)
    show(rows)
    if options.save:
        options.save.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
