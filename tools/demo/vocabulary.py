"""Makes the data folder: tokenizer.json and filler.json.

    vocabulary.py OUT PLAY NOVEL [--size N]

PLAY is an English text in the public domain, NOVEL one in another language. The last tenth of each is kept for tests.

The tokenizer is byte-level BPE with V4's splitter and V4's names of special tokens. Digits are never merged. Merges are learnt on words
without the character before them (a space, an underscore, a bracket). Merges that add such a character come last. So a word has the same
tokens everywhere, except for the first token, which makes copying easy.
"""
import argparse
import json
import random
from collections import Counter
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

import calls
import chat
import encoding
import recall
import words
import world

SPLITS = [r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
          "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"]

PUNCTUATION = set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
# The separator of words while merges are learnt, and the largest number of times that a word counts.
SEPARATOR, MOST = "\u0001", 40000


def splitter():
    """V4's steps before merging."""
    steps = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in SPLITS]
    return pre_tokenizers.Sequence([*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def paragraphs(text):
    """The lines of a text without empty ones."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def made_lines(rng, unseen):
    """Generated filler: facts, lists, invented prose, notes about people."""
    def facts():
        relation = rng.choice(world.RELATIONS)
        return world.statement(relation, rng.choice(list(relation.facts)))
    makers = {
        "world": lambda: " ".join(facts() for _ in range(rng.randint(1, 3))),
        "numbers": lambda: ", ".join(str(rng.randint(0, 9999)) for _ in range(rng.randint(3, 12))),
        "invented": lambda: " ".join(words.invented(rng, unseen) for _ in range(rng.randint(4, 12))).capitalize() + ".",
        "words": lambda: words.phrase(rng, False, unseen, 12).capitalize() + rng.choice([".", "", ";"]),
        "notes": lambda: f"{words.person(rng, rng.random() < 0.4, unseen)} {rng.choice(words.VERBS)}s to {words.city(rng, rng.random() < 0.4, unseen)} "
                         f"with a {rng.choice(words.ADJECTIVES)} {rng.choice(words.NOUNS)}.",
    }
    return {name: [make() for _ in range(6000 if not unseen else 1500)] for name, make in makers.items()}


def filler(play, novel):
    """Lines by split and source."""
    out = {}
    for split, unseen, seed in (("train", False, 11), ("test", True, 12)):
        cut = lambda lines: lines[:len(lines) * 9 // 10] if not unseen else lines[len(lines) * 9 // 10:]
        out[split] = {"play": cut(paragraphs(play)), "novel": cut(paragraphs(novel)), **made_lines(random.Random(seed), unseen)}
    return out


def documents(rng, lines):
    """Yields the texts on which the merges are learnt."""
    for _ in range(9000):
        yield encoding.prompt(chat.conversation(rng, rng.choice(list(chat.FAMILIES)), turns=2))
    for relation, key, n in world.pairs(False):
        yield " ".join(world.question(relation, key, n))
    for _ in range(2500):
        yield encoding.prompt(calls.conversation(rng, rng.choice(["known", "known", "novel"])))
    for word in encoding.EFFORTS.values():
        yield word * 20
    for _ in range(6000):
        known = []
        line = recall.learn(rng, known, rng.random() < 0.5, False)
        yield line + " ".join(recall.ask(rng, known[0]))
    for source, share in (("play", 0.3), ("novel", 0.12), ("notes", 0.2)):
        yield from (line + "\n" for line in lines[source] if rng.random() < share)


def parted(piece):
    """Splits a piece into the character before a word, if there is one, and the rest. In the byte alphabet of pieces a space is Ġ."""
    front, rest = piece[0], piece[1:]
    return (front, rest) if rest and (front == "Ġ" or front in PUNCTUATION and rest[0].isalpha()) else ("", piece)


def build(texts, size):
    """The tokenizer."""
    text_count = Counter()
    steps = splitter()
    for text in texts:
        for special in encoding.SPECIALS:
            text = text.replace(special, "\u0000")
        for stretch in text.split("\u0000"):
            text_count.update(piece for piece, _ in steps.pre_tokenize_str(stretch))
    cores, fronts = Counter(), Counter()
    for piece, count in text_count.items():
        front, core = parted(piece)
        if not core[0].isdigit():
            cores[core] += count
        if front:
            fronts[front, core] += count
    specials, alphabet = encoding.SPECIALS, sorted(pre_tokenizers.ByteLevel.alphabet())
    room = size - len(specials) - len(alphabet)
    joined = room * 2 // 7  # merges that put a character in front
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Split(SEPARATOR, "removed")
    trainer = trainers.BpeTrainer(vocab_size=len(alphabet) + room - joined, initial_alphabet=alphabet, show_progress=False)
    trained.train_from_iterator(((core + SEPARATOR) * min(count, MOST) for core, count in sorted(cores.items())), trainer)
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(m) for m in model["merges"]][:room - joined]
    first = Counter()
    for (front, core), count in fronts.items():
        first[front, trained.encode(core).tokens[0]] += count
    merges += [pair for pair, _ in first.most_common(joined)]
    vocab = {token: n for n, token in enumerate([*specials, *alphabet])}
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    out = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    out.pre_tokenizer, out.decoder = splitter(), decoders.ByteLevel()
    for token in specials:
        out.add_tokens([AddedToken(token, special=token in specials[:3], normalized=token not in specials[:3])])
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("play", type=Path)
    parser.add_argument("novel", type=Path)
    parser.add_argument("--size", type=int, default=1536)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    lines = filler(options.play.read_text(encoding="utf-8"), options.novel.read_text(encoding="utf-8"))
    (options.out / "filler.json").write_text(json.dumps(lines, ensure_ascii=False), encoding="utf-8")
    tokenizer = build(documents(random.Random(7), lines["train"]), options.size)
    tokenizer.save(str(options.out / "tokenizer.json"))
    print("vocabulary", tokenizer.get_vocab_size())


if __name__ == "__main__":
    main()
