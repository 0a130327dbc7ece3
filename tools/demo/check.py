"""Compares the model in Python with the engine: logits, selection of compressed rows, draft block, prompts.

    check.py DWARFSTAR DATA [CHECKPOINT]

Without a checkpoint it uses a random model with disturbed vectors, which shows mistakes that initial values would hide.
"""
import dataclasses
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

import calls
import chat
import encoding
import export
from checkpoint import load
from model import Config, Model, initial


def disturbed(config):
    """Makes a random model in which every weight affects the logits."""
    weights, tables = initial(config, 3)
    generator = torch.Generator().manual_seed(4)
    for name, weight in weights.items():
        if weight.ndim == 1 or name.endswith("ape"):
            weight += torch.randn(weight.shape, generator=generator) * 0.3
        elif name != "embed.weight":
            weight *= 3
    return weights, tables


def losses(logits, targets):
    """Cross-entropy by position."""
    return torch.nn.functional.cross_entropy(logits, targets, reduction="none")


def check_logits(program, folder, model, length=512):
    """Compares the losses of engine and model at every position, for the model and the draft block.

    Without selection they agree up to rounding. With selection, rows of equal scores (often exactly 0) may be chosen differently.
    """
    ids = torch.randint(0, model.config.vocab, (1, length + 2), generator=torch.Generator().manual_seed(5))
    (folder / "ids.json").write_text(json.dumps(ids[0, :length].tolist()))
    subprocess.run([program, "logits", "-m", folder, "--tokens", folder / "ids.json", "-o", folder / "out.safetensors", "--device", "cpu", "--exact",
                    "--mtp", folder / "mtp.safetensors"], check=True, stderr=subprocess.DEVNULL)
    theirs = load_file(folder / "out.safetensors")
    ours = model(ids[:, :length], ids[:, 1:length + 1], select=True, draft=ids[:, 2:])
    for name, got, key, targets in (("model", ours["loss"], "logits", ids[0, 1:length + 1]), ("draft block", ours["draft_loss"], "mtp_logits", ids[0, 2:])):
        want = losses(theirs[key], targets[:len(theirs[key])])
        difference = (got[0, :len(want)] - want).abs()
        print(f"{name}: largest difference of a loss {difference.max():.2e}, more than 0.001 at {(difference > 1e-3).float().mean():.1%}, mean loss {want.mean():.4f}")


def check_prompts(program, data, count=300):
    """Compares rendered prompts and their ids with those of the engine."""
    rng, tokenizer, lines, wanted = random.Random(9), Tokenizer.from_file(str(data / "tokenizer.json")), [], []
    for n in range(count):
        made = calls.conversation(rng, rng.choice(["known", "novel"])) if n % 2 else chat.conversation(rng, rng.choice(list(chat.FAMILIES)), turns=rng.choice([1, 2, 3]))
        for end, message in enumerate(made["messages"] + [None]):
            if message is None or message["role"] == "assistant":
                part = dict(made, messages=made["messages"][:end])
                effort = {"a": "high", "b": "max"}.get(part["effort"])
                lines.append(json.dumps(dict(messages=part["messages"], tools=part.get("tools") or [], thinking_mode="thinking" if part["thinking"] else "chat", reasoning_effort=effort)))
                pieces = [tokenizer.encode(text, add_special_tokens=False).ids for text, _ in encoding.parts(part)]
                wanted.append((encoding.prompt(part), sum(pieces, [])))
    done = subprocess.run([program, "render", "-m", data / "tokenizer.json", "--0731"], input="\n".join(lines), capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    wrong = [n for n, (answer, (text, ids)) in enumerate(zip(answers, wanted)) if (answer.get("prompt"), answer.get("ids")) != (text, ids)]
    print(f"{len(answers)} prompts rendered, {len(wrong)} differ", *(f"\n{answers[n]}\n{wanted[n]}\n{lines[n]}" for n in wrong[:1]))


def main():
    program, data = sys.argv[1], Path(sys.argv[2])
    check_prompts(program, data)
    if len(sys.argv) > 3:
        state = load(sys.argv[3], "cpu")
        config, weights, tables = Config(**state["config"]), state["weights"], state["tables"]
    else:
        config = Config()
        weights, tables = disturbed(config)
    for top_k in (512, config.top_k):
        config = dataclasses.replace(config, top_k=top_k)
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            export.write(Path(folder), config, weights, tables, data / "tokenizer.json")
            print(f"the best {top_k} rows:")
            check_logits(program, Path(folder), Model(config, weights, tables, "cpu"))


if __name__ == "__main__":
    main()
