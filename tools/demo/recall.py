"""Long conversations with facts between filler text, and questions that need these facts much later.

Filler has whole lines. A text of whole lines has the same ids whether it is encoded line by line or at once.
"""
import json
from dataclasses import dataclass

import numpy as np

import encoding
import words
from phrases import SYSTEMS


@dataclass
class Memory:
    """A kind of fact: its topic, its wordings as statement, question and answer, and a maker of values."""
    topic: str
    told: list
    asked: list
    answer: str
    make: object


def digits(count):
    """A maker of numbers with `count` digits."""
    return lambda rng, novel, unseen: "".join(rng.choice("0123456789") for _ in range(count))


def phone(rng, novel, unseen):
    """A phone number."""
    return f"{rng.randint(100, 999)}-{rng.randint(1000, 9999)}"


def pick(*values):
    """A maker that picks a value."""
    return lambda rng, novel, unseen: rng.choice(values)


MEMORIES = [
    Memory("the code of {x}", ["The code of {x} is {v}.", "{x} has the code {v}.", "Code of {x}: {v}."],
           ["What is the code of {x}?", "Which code does {x} have?", "Tell me the code of {x}."], "The code of {x} is {v}.", digits(4)),
    Memory("the code of {x}", ["The code of {x} is {v}."], ["What is the code of {x}?"], "The code of {x} is {v}.", digits(4)),
    Memory("the password of {x}", ["The password of {x} is {v}.", "{x} uses the password {v}."], ["What is the password of {x}?", "Which password does {x} use?"],
           "The password of {x} is {v}.", words.noun),
    Memory("the home of {x}", ["{x} lives in {v}.", "The home of {x} is in {v}."], ["Where does {x} live?", "In which place does {x} live?"], "{x} lives in {v}.", words.city),
    Memory("the phone number of {x}", ["The phone number of {x} is {v}.", "You can call {x} at {v}."], ["What is the phone number of {x}?", "At which number can I call {x}?"],
           "The phone number of {x} is {v}.", phone),
    Memory("the colour of {x}", ["The colour of {x} is {v}.", "{x} is painted {v}."], ["What is the colour of {x}?", "Which colour does {x} have?"],
           "The colour of {x} is {v}.", pick(*words.COLOURS)),
    Memory("the age of {x}", ["{x} is {v} years old.", "The age of {x} is {v}."], ["How old is {x}?", "What is the age of {x}?"], "{x} is {v} years old.", digits(2)),
    Memory("the friend of {x}", ["The friend of {x} is {v}.", "{x} has a friend called {v}."], ["Who is the friend of {x}?", "What is the name of the friend of {x}?"],
           "The friend of {x} is {v}.", words.person),
]
NOTE = ["Remember this.", "Please remember all of this.", "Keep this in mind.", "Read this and remember it."]
NOTED = "I have noted it."


class Filler:
    """Lines of text from several sources, with their ids."""

    def __init__(self, folder, split, tokenizer):
        sources = json.loads((folder / "filler.json").read_text(encoding="utf-8"))[split]
        self.sources = []
        for lines in sources.values():
            ids = [e.ids for e in tokenizer.encode_batch([line + "\n" for line in lines], add_special_tokens=False)]
            ends = np.cumsum([0] + [len(i) for i in ids])
            self.sources.append((lines, np.concatenate([np.array(i, np.uint16) for i in ids]), ends))

    def take(self, rng, most):
        """Neighbouring lines of one source with at most `most` tokens."""
        lines, ids, ends = rng.choice(self.sources)
        first = rng.randrange(len(lines))
        last = max(first, int(np.searchsorted(ends, ends[first] + most, side="right")) - 1)
        return Lines(lines, ids, ends, first, min(last, len(lines)))


@dataclass
class Lines:
    """Neighbouring lines of filler."""
    lines: list
    all_ids: object
    ends: object
    first: int
    last: int

    @property
    def text(self):
        return "".join(line + "\n" for line in self.lines[self.first:self.last])

    @property
    def ids(self):
        return self.all_ids[self.ends[self.first]:self.ends[self.last]]


def subject(rng, novel, unseen):
    """The person or thing that a fact is about."""
    return words.person(rng, novel, unseen) if rng.random() < 0.6 else words.noun(rng, novel, unseen)


def learn(rng, known, novel, unseen):
    """Adds a new fact to `known` and returns the line that states it."""
    while True:
        memory = rng.choice(MEMORIES)
        x = rng.choice(known)[1] if known and rng.random() < 0.15 else subject(rng, novel, unseen)
        if not any(x == other and memory.topic == m.topic for m, other, _ in known):
            break
    value = memory.make(rng, novel, unseen)
    known.append((memory, x, value))
    return rng.choice(memory.told).format(x=x, v=value) + "\n"


def ask(rng, fact):
    """Question, reasoning and answer for a known fact."""
    memory, x, value = fact
    fill = lambda text: text.format(x=x, v=value)
    return fill(rng.choice(memory.asked)), f"The user asks for {fill(memory.topic)}. It is {value}.", fill(memory.answer)


def row(rng, filler, length, size):
    """Pieces (text or Lines, is_answer) of a training row of about `length` tokens. `size` returns the number of tokens of a text."""
    novel, thinking = rng.random() < 0.6, rng.random() < 0.4
    mean = rng.choice([40, 100, 250, 600, 1500])
    pieces, known, used = [], [], 0

    def put(piece, is_answer=False):
        nonlocal used
        pieces.append((piece, is_answer))
        used += len(piece.ids) if isinstance(piece, Lines) else size(piece)

    def fill():
        room = min(int(rng.expovariate(1 / mean)), length - used - 130)
        if room > 8:
            put(filler.take(rng, room))
    put(encoding.BOS + (rng.choice(SYSTEMS) if rng.random() < 0.25 else ""))
    while True:
        put(encoding.USER)
        for _ in range(rng.choice([1, 1, 2, 3, 4])):
            fill()
            put(learn(rng, known, novel, False))
        fill()
        if rng.random() < 0.15:
            put(rng.choice(NOTE) + encoding.ASSISTANT + encoding.THINK_END)
            put(NOTED + encoding.EOS, True)
            put(encoding.USER)
        for n in range(rng.choice([1, 2, 3])):
            question, reasoning, text = ask(rng, rng.choice(known) if rng.random() < 0.8 else known[-1])
            last = used > length - 150
            put((encoding.USER if n else "") + question + encoding.ASSISTANT + (encoding.THINK if thinking and last else encoding.THINK_END))
            put((reasoning + encoding.THINK_END if thinking and last else "") + text + encoding.EOS, True)
            if last:
                return pieces


def conversation(rng, filler, distance, size, novel=False, unseen=False, thinking=None):
    """A test: a fact, other facts and filler of about `distance` tokens, and the question for the first fact."""
    thinking = rng.random() < 0.25 if thinking is None else thinking
    known, lines = [], [filler.take(rng, rng.randint(20, 200)).text]
    lines.append(learn(rng, known, novel, unseen))
    left = distance - 12
    for n in range(3 if distance >= 128 else 1):
        room = rng.randint(0, max(0, left // 2 - 20))
        lines += [filler.take(rng, room).text if room > 8 else "", learn(rng, known, novel, unseen)]
        left -= size(lines[-1]) + size(lines[-2])
    while left > 20:
        lines.append(filler.take(rng, left).text)
        if not lines[-1]:
            break
        left -= size(lines[-1])
    question, reasoning, text = ask(rng, known[0])
    said = "".join(lines)
    if rng.random() < 0.5:
        messages = [encoding.user(said + rng.choice(NOTE)), encoding.answer(NOTED, "The user wants me to remember."), encoding.user(question)]
    else:
        messages = [encoding.user(said + question)]
    messages.append(encoding.answer(text, reasoning))
    return {"messages": messages, "thinking": thinking}
