"""Generates training rows: conversations of all families, packed into rows of token ids with loss weights and family numbers.

    generate.py DATA        prints the speed of one worker and the shares of the families
"""
import multiprocessing as mp
import random
import sys
import time
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

import calls
import chat
import encoding
import recall

# For each family its share of draws among rows of its kind, and the weight of its answers in the loss.
CHAT = {"fact": (0.28, 1), "talk": (0.05, 1), "story": (0.04, 1), "unknown": (0.05, 1), "arithmetic": (0.30, 2), "count": (0.06, 1), "copy": (0.09, 2), "lists": (0.13, 1)}
TOOLS = {"known": (0.2, 2), "novel": (0.4, 3), "english": (0.4, 3)}
FAMILIES = [*CHAT, *TOOLS, "recall"]
RECALL_WEIGHT = 6
CONTEXT_WEIGHT = 0.02
# Factor on the weight of an answer's first token where there are tools, because that token decides whether one is called. The second number
# is the share of turns for which no tool fits.
DECISION, UNFIT = 8, 0.1
# Share of recall draws that are short conversations instead of whole rows.
SHORT_RECALL = 0.6
# Batches in the queue for each worker.
QUEUED_BATCHES = 2


class Rows:
    """Makes rows. The same seed and the same sequence of requests give the same rows."""

    def __init__(self, folder, seed):
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.filler = recall.Filler(folder, "train", self.tokenizer)
        self.rng = random.Random(seed)
        self.boost = {family: 1.0 for family in FAMILIES}
        before, _ = encoding.tools_block([]).rsplit(encoding.TOOLS_AFTER, 1)
        self.before, self.before_ids = before, self.ids(before)

    def seed(self, seed):
        """Restarts the random numbers from another seed."""
        self.rng.seed(seed)

    def ids(self, text):
        """The ids of a text that starts and ends at special tokens."""
        return np.array(self.tokenizer.encode(text, add_special_tokens=False).ids, np.uint16)

    def prompt_ids(self, text):
        """Like `ids`, but with the constant part of the tools block encoded once only."""
        at = text.find(self.before)
        if at < 0:
            return self.ids(text)
        end = at + len(self.before)
        return np.concatenate([self.ids(text[:at]), self.before_ids, self.ids(text[end:])])

    def encoded(self, conversation, family, weight):
        """Ids, weights and family numbers of a conversation."""
        return self.joined([(self.prompt_ids(text), is_answer) for text, is_answer in encoding.parts(conversation)], family, weight)

    def joined(self, pieces, family, weight):
        """Joins (ids, is_answer) pieces. Tokens of answers get the weight and the family's number, others 0."""
        number = FAMILIES.index(family) + 1
        ids = np.concatenate([piece for piece, _ in pieces])
        marks = np.concatenate([np.full(len(piece), is_answer, np.uint8) for piece, is_answer in pieces])
        return ids, marks * np.uint8(weight), marks * np.uint8(number)

    def drawn(self, families):
        """Draws one of `families` by its share and its present boost."""
        return self.rng.choices(list(families), [share * self.boost[family] for family, (share, _) in families.items()])[0]

    def chat(self):
        """A conversation without tools."""
        family = self.drawn(CHAT)
        made = chat.conversation(self.rng, family, turns=self.rng.choice([1, 1, 1, 2, 3]), others=[self.drawn(CHAT) for _ in range(2)])
        return self.encoded(made, family, CHAT[family][1])

    def tools(self):
        """A conversation with tools."""
        family = self.drawn(TOOLS)
        ids, weights, families = self.encoded(calls.conversation(self.rng, family, unfit=UNFIT), family, TOOLS[family][1])
        first = np.flatnonzero(np.diff(weights.astype(np.int8), prepend=0) > 0)
        weights[first] *= DECISION
        return ids, weights, families

    def recall(self, length):
        """A conversation about remembered facts: a long one with many facts, or one like those of the tests.

        The latter sometimes ends where the model notes the fact.
        """
        if self.rng.random() < SHORT_RECALL:
            novel, distance = self.rng.random() < 0.6, int(64 * (max(length - 400, 64) / 64) ** self.rng.random())
            made = recall.conversation(self.rng, self.filler, distance, lambda text: len(self.ids(text)), novel, thinking=self.rng.random() < 0.5)
            if len(made["messages"]) > 2 and self.rng.random() < 0.5:
                made["messages"] = made["messages"][:2]
            return self.encoded(made | {"effort": None}, "recall", RECALL_WEIGHT)
        pieces = recall.row(self.rng, self.filler, length, lambda text: len(text) // 3)
        return self.joined([(piece.ids if isinstance(piece, recall.Lines) else self.ids(piece), is_answer) for piece, is_answer in pieces], "recall", RECALL_WEIGHT)

    def batch(self, length, rows, shares):
        """Ids, weights and families [rows, length + 1]. `shares` are those of recall and of tool rows; all other rows are chat."""
        out = [np.zeros((rows, length + 1), kind) for kind in (np.uint16, np.uint8, np.uint8)]
        for row in range(rows):
            at, draw = 0, self.rng.random()
            kind = "recall" if draw < shares[0] else "tools" if draw < shares[0] + shares[1] else "chat"
            while at < length + 1:
                if kind == "recall" and length + 1 - at > 200:
                    made = self.recall(min(length + 1 - at, length))
                elif kind == "tools" and self.rng.random() < 0.85:
                    made = self.tools()
                else:
                    made = self.chat()
                count = min(len(made[0]), length + 1 - at)
                for array, values in zip(out, made):
                    array[row, at:at + count] = values[:count]
                at += count
        return out


class Workers:
    """Processes that keep a queue of batches full."""

    def __init__(self, folder, count, tokens, seed):
        context = mp.get_context("fork")
        self.tokens, self.rows = tokens, Rows(folder, seed)
        self.queue = context.Queue(count * QUEUED_BATCHES)
        self.request = context.Array("d", [0.0, 0.0, 0.0, *[1.0] * len(FAMILIES)], lock=False)
        self.processes = [context.Process(target=self.work, args=(seed * 1000 + n,), daemon=True) for n in range(count)]
        for process in self.processes:
            process.start()

    def work(self, seed):
        """A worker's loop."""
        self.rows.seed(seed)
        while True:
            length, *shares = self.request[:3]
            if not length:
                time.sleep(0.02)
                continue
            self.rows.boost = dict(zip(FAMILIES, self.request[3:]))
            length = int(length)
            self.queue.put((length, self.rows.batch(length, self.tokens // length, shares)))

    def ask(self, length, shares):
        """Tells the workers which batches to make from now on."""
        self.request[1:3] = shares
        self.request[0] = length

    def favour(self, boosts):
        """Sets the factor by which each family is drawn more often than planned."""
        self.request[3:] = [boosts[family] for family in FAMILIES]

    def next(self, length):
        """Returns a batch of this length. Batches of older requests are dropped."""
        while True:
            made, batch = self.queue.get()
            if made == length:
                return batch

    def stop(self):
        """Ends the processes."""
        for process in self.processes:
            process.terminate()


def main():
    rows = Rows(Path(sys.argv[1]), 1)
    for length, count, shares in ((1024, 32, (0.22, 0.48)), (8192, 4, (0.4, 0.35))):
        started = time.time()
        batches = [rows.batch(length, count, shares) for _ in range(4)]
        seconds = time.time() - started
        families = np.concatenate([families.ravel() for _, _, families in batches])
        weights = np.concatenate([weights.ravel() for _, weights, _ in batches])
        print(f"length {length}: {len(families) / seconds:.0f} tokens/s")
        for n, family in enumerate(FAMILIES, 1):
            print(f"  {family:<12}{(families == n).mean():7.2%} of tokens are its answers, {weights[families == n].sum() / weights.sum():6.1%} of the weight")


if __name__ == "__main__":
    main()
