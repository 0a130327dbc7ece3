"""Turns without tools: facts, small talk, arithmetic, counting, copying and other small work on lists.

Every family is a function of (rng, unseen) that returns (question, reasoning, answer). `unseen` asks for wordings, operands or contents that
are held out from training.
"""
import words
import world
from phrases import (STORIES, STORY_ANIMALS, STORY_QUESTIONS, SYSTEMS, TALK, UNKNOWN, VERSE_QUESTIONS, VERSES, WRAPPERS, with_article)

PAIRS = {unseen: world.pairs(unseen) for unseen in (True, False)}
TENTH = 10


def fresh(make, unseen, parts=TENTH):
    """Calls `make` until its text is held out (`unseen`) or not held out from training."""
    while True:
        made = make()
        if (words.share(repr(made), parts) == 0) == unseen:
            return made


def fact(rng, unseen):
    """A fact of the closed world."""
    relation, key, n = rng.choice(PAIRS[unseen])
    question, reasoning, answer = world.question(relation, key, n)
    return rng.choice(WRAPPERS).format(question), reasoning, answer


def talk(rng, unseen):
    """Small talk or a question about the program."""
    topic, questions, answer = rng.choice(TALK)
    question = questions[-1] if unseen else rng.choice(questions[:-1])
    return question, f"The user's message is about {topic}. I answer.", answer


def story(rng, unseen):
    """A story or a verse."""
    if rng.random() < 0.45:
        thing, n = fresh(lambda: (rng.choice(list(VERSES)), rng.randrange(len(VERSE_QUESTIONS))), unseen, 6)
        return VERSE_QUESTIONS[n].format(k=thing), f"The user wants a verse about {thing}.", VERSES[thing]
    animal, novel = rng.choice(STORY_ANIMALS), rng.random() < 0.5
    name = fresh(lambda: words.person(rng, novel, unseen), unseen, 6) if not novel else words.person(rng, True, unseen)
    plot = STORIES[STORY_ANIMALS.index(animal) % len(STORIES)]
    slots = dict(a=with_article(animal), k=animal, n=name)
    return rng.choice(STORY_QUESTIONS).format(**slots), f"The user wants a story about {name}.", plot.format(**slots)


def unknown(rng, unseen):
    """A question about a thing that does not exist in the closed world."""
    relation = rng.choice(world.RELATIONS[:8])
    thing = words.name(rng, unseen)
    asked = rng.choice([*relation.questions[:3], "Tell me about {k}.", "Who is {k}?", "What is {k}?", "Where is {k}?"])
    return asked.format(k=thing), f"I know nothing about {thing}.", UNKNOWN


def arithmetic(rng, unseen):
    """A sum, a difference or a small product."""
    if rng.random() < 0.15:
        return product(rng, unseen)
    operator = rng.choice("+-")
    draw = lambda: sorted((rng.randint(0, 99), rng.randint(0, 99)), reverse=True) if operator == "-" else [rng.randint(0, 99), rng.randint(0, 99)]
    a, b = fresh(lambda: draw() + [operator], unseen)[:2]
    value = a + b if operator == "+" else a - b
    equation = f"{a} {operator} {b} = {value}."
    if rng.random() < 0.12:
        return word_problem(rng, a, b, operator, value)
    forms = ["What is {a} {o} {b}?", "{a} {o} {b}", "{a} {o} {b} = ?", "Compute {a} {o} {b}.", "How much is {a} {o} {b}?", "Calculate {a} {o} {b}.", "{a}{o}{b}"]
    forms += ["What is {a} plus {b}?", "Add {a} and {b}."] if operator == "+" else ["What is {a} minus {b}?", "Subtract {b} from {a}."]
    return rng.choice(forms).format(a=a, o=operator, b=b), steps(a, b, operator) + f" So {equation}", equation


def steps(a, b, operator):
    """The reasoning of a sum or difference, digit by digit."""
    (tens_a, ones_a), (tens_b, ones_b) = divmod(a, 10), divmod(b, 10)
    if operator == "+":
        ones = ones_a + ones_b
        carry = ones // 10
        return f"Ones: {ones_a} + {ones_b} = {ones}. Tens: {tens_a} + {tens_b} + {carry} = {tens_a + tens_b + carry}."
    borrow = int(ones_a < ones_b)
    ones = ones_a + 10 * borrow
    return f"Ones: {ones} - {ones_b} = {ones - ones_b}. Tens: {tens_a} - {tens_b} - {borrow} = {tens_a - tens_b - borrow}."


def product(rng, unseen):
    """A product of the multiplication table to 12. Pairs of factors are held out together with a wording."""
    forms = ["What is {a} {o} {b}?", "{a} {o} {b}", "{a} {o} {b} = ?", "Compute {a} {o} {b}.", "What is {a} times {b}?", "Multiply {a} by {b}."]
    a, b, n = fresh(lambda: (rng.randint(0, 12), rng.randint(0, 12), rng.randrange(len(forms))), unseen)
    equation = f"{a} x {b} = {a * b}."
    return forms[n].format(a=a, b=b, o=rng.choice("x*")), f"This is in the table of {a}. {equation}", equation


def word_problem(rng, a, b, operator, value):
    """A sum or difference told as a story."""
    who, what = rng.choice(words.PEOPLE), rng.choice(["apples", "coins", "books", "eggs", "stamps", "cards", "shells", "pencils"])
    told = rng.choice(["gets {b} more", "finds {b} more", "buys {b} more"] if operator == "+" else ["gives away {b}", "loses {b}", "sells {b}"]).format(b=b)
    question = f"{who} has {a} {what} and {told}. How many {what} does {who} have now?"
    return question, steps(a, b, operator) + f" So {a} {operator} {b} = {value}.", f"{who} has {value} {what}."


def count(rng, unseen):
    """Counting up or down."""
    def draw():
        step, length = rng.choice([1, 1, 1, 2, 5, 10]), rng.randint(3, 10)
        first = rng.randint(0, max(0, 100 - step * length))
        return first, first + step * length, step, rng.random() < 0.25
    first, last, step, down = fresh(draw, unseen)
    numbers = list(range(first, last + 1, step))
    numbers = numbers[::-1] if down else numbers
    forms = ["Count from {} to {}", "Please count from {} to {}", "List the numbers from {} to {}"] if not down else ["Count down from {} to {}", "Count backwards from {} to {}"]
    question = rng.choice(forms).format(numbers[0], numbers[-1]) + (f" in steps of {step}." if step > 1 else ".")
    return question, f"I count {'down' if down else 'up'} in steps of {step}.", ", ".join(map(str, numbers)) + "."


def items(rng, unseen, least, most, novel=0.5):
    """`least` to `most` different words, known or invented. `novel` is the probability of a list with invented words."""
    found = []
    length = rng.randint(least, most)
    novel = rng.random() < novel
    while len(found) < length:
        word = words.noun(rng, novel and rng.random() < 0.7, unseen)
        if word not in found:
            found.append(word)
    return found


def copy(rng, unseen):
    """A text to repeat exactly."""
    def draw():
        kind = rng.random()
        if kind < 0.6:
            return " ".join(items(rng, unseen, 1, 9))
        if kind < 0.75:
            return "".join(rng.choice("0123456789") for _ in range(rng.randint(3, 12)))
        if kind < 0.9:
            return ", ".join(items(rng, unseen, 2, 6))
        return words.phrase(rng, True, unseen, 6).capitalize() + rng.choice(".!?")
    text = fresh(draw, unseen)
    form = rng.choice(["Repeat: {}", "Copy these words: {}", "Say this back: {}", "Repeat after me: {}", "Echo: {}", "Write exactly this: {}"])
    return form.format(text), "I copy the text.", text


def lists(rng, unseen):
    """A task on a list: sort, reverse, pick or change."""
    kind = rng.choice(["sort", "sort", "extreme", "reverse", "reverse", "upper", "pick", "plural", "length"])
    if kind in ("sort", "extreme"):
        numbers = fresh(lambda: rng.sample(range(100), rng.randint(3, 6)), unseen)
        shown = ", ".join(map(str, numbers))
        if kind == "extreme":
            big = rng.random() < 0.5
            value = max(numbers) if big else min(numbers)
            word = rng.choice(["largest", "biggest"] if big else ["smallest", "lowest"])
            return f"Which number is the {word}: {shown}?", f"The {'largest' if big else 'smallest'} is {value}.", f"{value}"
        down = rng.random() < 0.3
        form = rng.choice(["Sort from high to low: {}", "Sort in descending order: {}"] if down else ["Sort: {}", "Sort these numbers: {}", "Sort in ascending order: {}", "Order these numbers: {}"])
        return form.format(shown), f"I sort from {'high to low' if down else 'low to high'}.", ", ".join(map(str, sorted(numbers, reverse=down)))
    known = kind in ("upper", "plural")
    given = fresh(lambda: items(rng, unseen, 2, 6, 0 if known else 0.5), unseen)
    shown = ", ".join(given)
    if kind == "reverse":
        form = rng.choice(["Reverse the list: {}", "Reverse: {}", "Give this list backwards: {}"])
        return form.format(shown), "I go from the last to the first.", ", ".join(given[::-1])
    if kind == "upper":
        form = rng.choice(["Write in capital letters: {}", "Uppercase: {}", "Put into upper case: {}"])
        return form.format(shown), "I write capital letters.", shown.upper()
    if kind == "plural":
        form = rng.choice(["Give the plurals: {}", "Put into the plural: {}", "Plurals of: {}"])
        return form.format(shown), "I write the plurals.", ", ".join(map(plural, given))
    if kind == "length":
        form = rng.choice(["How many words are in this list: {}?", "Count the words: {}"])
        return form.format(shown), f"I count {len(given)} words.", f"{len(given)}"
    place = rng.choice(["first", "last", "second"])
    value = given[{"first": 0, "last": -1, "second": 1}[place]]
    return f"What is the {place} word: {shown}?", f"The {place} word is {value}.", value


def plural(noun):
    """The plural of a word of words.NOUNS."""
    if noun in world.PLURALS:
        return world.PLURALS[noun]
    if noun.endswith(("s", "sh", "ch", "x")):
        return noun + "es"
    return noun[:-1] + "ies" if noun.endswith("y") and noun[-2] not in "aeiou" else noun + "s"


FAMILIES = dict(fact=fact, talk=talk, story=story, unknown=unknown, arithmetic=arithmetic, count=count, copy=copy, lists=lists)


def conversation(rng, family, unseen=False, thinking=None, turns=1, others=tuple(FAMILIES)):
    """Makes a conversation whose last turn is of `family`. The turns before it are of the families `others`."""
    thinking = rng.random() < 0.5 if thinking is None else thinking
    messages = [{"role": "system", "content": rng.choice(SYSTEMS)}] if rng.random() < 0.25 else []
    for n in range(turns, 0, -1):
        question, reasoning, answer = FAMILIES[family if n == 1 else rng.choice(others)](rng, unseen if n == 1 else False)
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer, "reasoning_content": reasoning}]
    effort = rng.choice(["a", "a", "a", "b"]) if thinking and rng.random() < 0.1 else None
    return {"messages": messages, "thinking": thinking, "effort": effort}
