"""Tools: known kinds, kinds that only tests use, and tools in which every word is invented.

A tool has a function schema, a maker of questions with the arguments that follow from them, and a maker of results with the sentence that
reports them. `novel` asks for invented names and values, `unseen` for those that training never shows.
"""
from dataclasses import dataclass

import words


@dataclass
class Parameter:
    """A parameter of a kind: possible names, JSON type, description, and a maker of values."""
    names: str
    type: str
    description: str
    make: object


@dataclass
class Kind:
    """A kind of tool. Questions have a slot for each parameter. `respond(rng, values)` returns (result, sentence)."""
    names: str
    descriptions: list
    parameters: list
    questions: list
    respond: object


@dataclass
class Tool:
    """A tool of one conversation. Two tools of one topic could be asked for in the same words."""
    topic: str
    schema: dict
    ask: object
    respond: object


def number(low, high):
    """A maker of whole numbers."""
    return lambda rng, novel, unseen: rng.randint(low, high)


def one_of(*values):
    """A maker that picks a value."""
    return lambda rng, novel, unseen: rng.choice(values)


def said(key, low, high, sentence):
    """A result with one number, and the sentence for it."""
    def respond(rng, values):
        found = rng.randint(low, high)
        return rng.choice([f'{{"{key}": {found}}}', f"{found}", f'{{"{key}": {found}, "ok": true}}']), sentence.format(*values, found=found)
    return respond


def done(sentence):
    """A result that only confirms."""
    return lambda rng, values: (rng.choice(["ok", "done", '{"ok": true}', '{"status": "ok"}']), sentence.format(*values))


def text(sentence, most=6):
    """A result that is a short text."""
    def respond(rng, values):
        found = words.phrase(rng, rng.random() < 0.4, False, most)
        return rng.choice([found, f'{{"text": "{found}"}}']), sentence.format(*values, found=found)
    return respond


def weather(rng, values):
    """A result with the temperature and the sky."""
    degrees, sky = rng.randint(-20, 40), rng.choice(["sunny", "rainy", "cloudy", "windy", "foggy", "snowy"])
    result = rng.choice([f'{{"temperature": {degrees}, "condition": "{sky}"}}', f"{degrees} degrees, {sky}", f'{{"condition": "{sky}", "temperature": {degrees}}}'])
    return result, f"It is {degrees} degrees and {sky} in {values[0]}."


def clock(rng, values):
    """A time of day."""
    time = f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"
    return rng.choice([time, f'{{"time": "{time}"}}']), f"It is {time} in {values[0]}."


def listing(sentence, separator):
    """A result that is a list."""
    def respond(rng, values):
        found = [words.file_name(rng, rng.random() < 0.3, False) for _ in range(rng.randint(1, 3))]
        result = separator.join(found) if rng.random() < 0.5 else words_json(found)
        return result, sentence.format(*values, found=", ".join(found))
    return respond


def words_json(found):
    """A JSON list of strings."""
    return "[" + ", ".join(f'"{item}"' for item in found) + "]"


def reported(rng, key, value):
    """The result of a tool that has no sentence of its own, and a sentence that says nothing beyond the result."""
    shown = f'"{value}"' if isinstance(value, str) else value
    return rng.choice([(f'{{"{key}": {shown}}}', f"The {key} is {value}."), ("ok", "Done."), (f"{value}", f"The result is {value}.")])


def told(key, make):
    """A result of one value, which the sentence repeats."""
    return lambda rng, values: reported(rng, key, make(rng, False, False))


def calculation(rng, novel, unseen):
    """An expression that the model cannot calculate without a tool."""
    return f"{rng.randint(100, 9999)} {rng.choice('+-*')} {rng.randint(100, 9999)}"


def calculated(rng, values):
    """The value of an expression."""
    left, operator, right = values[0].split()
    value = {"+": int(left) + int(right), "-": int(left) - int(right), "*": int(left) * int(right)}[operator]
    return rng.choice([f"{value}", f'{{"result": {value}}}']), f"{values[0]} = {value}."


def command(rng, novel, unseen):
    """A command line."""
    return rng.choice(["ls", "cat", "grep", "git", "cargo", "python", "make", "rm", "cp"]) + " " + rng.choice(["", "-l ", "-r ", "--all "]) + words.file_name(rng, novel, unseen)


P = Parameter
CITY = P("city location place town", "string", "The city", words.city)
PERSON = P("to recipient person name", "string", "The person", words.person)
PATH = P("path file file_path filename", "string", "Path of the file", words.file_name)
KINDS = [
    Kind("get_weather weather fetch_weather get_forecast current_weather", ["Weather for a place", "Get the current weather of a city"], [CITY],
         ["What is the weather in {0}?", "Weather in {0}, please.", "How is the weather in {0}?", "Tell me the weather in {0}.", "Is it warm in {0}?"], weather),
    Kind("get_weather get_temperature weather", ["Weather for a place in a unit", "Get the temperature of a city"],
         [CITY, P("unit units", "string", "celsius or fahrenheit", one_of("celsius", "fahrenheit"))],
         ["What is the weather in {0} in {1}?", "Weather in {0}, in {1}.", "Tell me the temperature in {0} in {1}."], weather),
    Kind("get_time clock local_time fetch_time current_time", ["Local time of a place", "Get the time in a city"], [CITY],
         ["What time is it in {0}?", "Tell me the time in {0}.", "Time in {0}?"], clock),
    Kind("calculator calculate compute eval_expression", ["Calculate an expression", "Evaluate a mathematical expression"],
         [P("expression formula expr", "string", "The expression", calculation)], ["What is {0}?", "Calculate {0}.", "Compute {0} with the tool."], calculated),
    Kind("add_numbers sum add plus", ["Calculate the sum of two numbers", "Add two numbers"], [P("a x first", "integer", "First number", number(0, 999)), P("b y second", "integer", "Second number", number(0, 999))],
         ["Add {0} and {1} with the tool.", "Use the tool to sum {0} and {1}."], lambda rng, values: (f"{values[0] + values[1]}", f"The sum is {values[0] + values[1]}.")),
    Kind("read_file open_file get_file cat_file", ["Read a file", "Read the content of a file"], [PATH],
         ["Read {0}", "What is in {0}?", "Show me {0}", "Open the file {0}"], text("The file {0} says: {found}")),
    Kind("write_file save_file create_file", ["Write a file", "Write text to a file"], [PATH, P("content text data", "string", "What to write", words.phrase)],
         ["Write to {0} the text: {1}", "Save into {0} this: {1}", "Create {0} with the content: {1}"], done("I wrote {0}.")),
    Kind("list_files ls list_dir read_dir", ["List the files of a folder", "List a directory"], [P("path folder dir directory", "string", "The folder", words.noun)],
         ["Which files are in {0}?", "List the folder {0}", "Show the files of {0}"], listing("The files in {0} are: {found}", "\n")),
    Kind("delete_file remove_file", ["Delete a file"], [PATH], ["Delete {0}", "Remove the file {0}"], done("I deleted {0}.")),
    Kind("run_command shell bash execute", ["Run a shell command", "Execute a command"], [P("command cmd", "string", "The command", command)],
         ["Run {0}", "Execute: {0}", "Run the command {0}"], text("The output is: {found}")),
    Kind("search web_search search_docs lookup find", ["Search for words", "Search the web"], [P("query q words term", "string", "What to search for", words.phrase)],
         ["Search for {0}", "Look up {0}", "Find pages about {0}"], text("I found: {found}")),
    Kind("search_files grep find_in_files", ["Search text in files", "Find text in files"], [P("pattern text query", "string", "Text to find", words.noun), P("path folder", "string", "Where to look", words.noun)],
         ["Find {0} in the folder {1}", "Search for {0} in {1}"], listing("I found it in: {found}", "\n")),
    Kind("send_message send_mail post_message write_message", ["Send a text to a person", "Send a message"], [PERSON, P("text body content message", "string", "The text", words.phrase)],
         ["Send {0} the text: {1}", "Tell {0} this: {1}", "Message to {0}: {1}"], done("I sent the message to {0}.")),
    Kind("set_timer start_timer create_timer", ["Start a timer", "Set a timer in minutes"], [P("minutes duration mins", "integer", "Minutes", number(1, 120))],
         ["Set a timer for {0} minutes.", "Wake me in {0} minutes.", "Start a timer of {0} minutes."], done("The timer runs for {0} minutes.")),
    Kind("create_event add_event new_meeting", ["Add an event to the calendar"], [P("title name", "string", "Title", words.phrase), P("hour time", "integer", "Hour of the day", number(0, 23))],
         ["Add the event {0} at {1} o'clock.", "Plan {0} for {1} o'clock."], done("I added {0} at {1} o'clock.")),
    Kind("translate translate_text", ["Translate text"], [P("text input", "string", "The text", words.phrase), P("language target to", "string", "Target language", one_of("German", "French", "Italian", "Spanish", "Polish"))],
         ["Translate {0} into {1}", "Say {0} in {1}"], text("In {1} that is: {found}", 3)),
    Kind("convert_currency exchange convert_money", ["Convert money"], [P("amount value", "integer", "Amount", number(1, 5000)), P("from source", "string", "From", one_of("EUR", "USD", "GBP", "JPY", "CHF")),
         P("to target", "string", "To", one_of("EUR", "USD", "GBP", "JPY", "CHF"))], ["Convert {0} {1} to {2}.", "How much is {0} {1} in {2}?"], said("amount", 1, 9999, "{0} {1} are {found} {2}.")),
    Kind("get_stock_price stock_price quote", ["Price of a share"], [P("symbol ticker company", "string", "The company", words.name_of)],
         ["What is the share price of {0}?", "Price of {0} shares?"], said("price", 1, 900, "The price of {0} is {found}.")),
    Kind("set_light light_switch switch_lights", ["Switch a light"], [P("room place", "string", "The room", one_of("kitchen", "hall", "garden", "office", "bedroom")), P("on enabled", "boolean", "true for on", one_of(True, False))],
         ["Switch the light in the {0}: {1}", "Set the {0} light to {1}"], done("The light in the {0} is set.")),
    Kind("play_music play_song play", ["Play a song"], [P("song title track", "string", "The song", words.phrase)], ["Play {0}", "Play the song {0}", "I want to hear {0}"], done("Now playing {0}.")),
    Kind("roll_dice random_number dice", ["A random number"], [P("sides max", "integer", "Highest number", number(2, 100))], ["Roll a die with {0} sides.", "Give me a random number up to {0}."],
         said("value", 1, 100, "The number is {found}.")),
    Kind("get_distance distance route", ["Distance between two places"], [P("from origin start", "string", "Start", words.city), P("to destination end", "string", "Destination", words.city)],
         ["How far is it from {0} to {1}?", "Distance from {0} to {1}?"], said("km", 5, 9000, "It is {found} km from {0} to {1}.")),
]
HELD_OUT_KINDS = [
    Kind("book_flight reserve_flight", ["Book a flight"], [P("departure airport", "string", "Where the flight starts", words.city), P("arrival landing", "string", "Where it ends", words.city)],
         ["Book a flight from {0} to {1}.", "I need a flight from {0} to {1}."], told("flight", words.name_of)),
    Kind("tide_level get_tide", ["Level of the tide at a harbour"], [P("harbour port", "string", "The harbour", words.city)], ["What is the tide level in {0}?", "Level of the tide at {0}?"],
         told("level", number(1, 900))),
    Kind("find_recipe cook_book", ["Find a recipe"], [P("dish meal", "string", "The dish", words.phrase)], ["Find a recipe for {0}", "Give me a recipe of {0}"], told("recipe", words.phrase)),
    Kind("reserve_table restaurant", ["Reserve a table in a restaurant"], [P("guests seats", "integer", "Number of guests", number(1, 20)), P("restaurant venue", "string", "The restaurant", words.name_of)],
         ["Reserve a table for {0} at {1}.", "Get a table with {0} seats at {1}."], told("table", number(1, 99))),
    Kind("track_parcel parcel_status", ["Where a parcel is"], [P("tracking parcel", "integer", "Number of the parcel", number(1000, 99999))], ["Where is the parcel {0}?", "Track parcel {0}."], told("place", words.city)),
    Kind("resize_image scale_picture", ["Change the width of an image"], [P("image picture", "string", "The image", words.file_name), P("width pixels", "integer", "New width", number(16, 4000))],
         ["Resize the image {0} to width {1}", "Make {0} {1} pixels wide"], told("image", words.file_name)),
    Kind("check_battery battery_level", ["Battery level of a device"], [P("device gadget", "string", "The device", words.noun)], ["How full is the battery of the {0}?", "Check the battery of {0}"],
         told("percent", number(1, 100))),
]


def tool(rng, kind, renamed, novel, unseen):
    """Makes a tool of a known kind. With `renamed` the tool and its parameters have invented names."""
    properties, values = {}, [p.make for p in kind.parameters]
    described = renamed or rng.random() < 0.5
    for p in kind.parameters:
        name = rng.choice(p.names.split())
        while renamed and (name in properties or name in p.names.split()):
            name = words.invented(rng, unseen)
        name = f"{name}_2" if name in properties else name
        properties[name] = {"type": p.type, "description": p.description} if described else {"type": p.type}
    name = tool_name(rng, unseen) if renamed else rng.choice(kind.names.split())

    def ask(rng):
        found = [make(rng, novel, unseen) for make in values]
        shown = [("on" if v else "off") if v is True or v is False else v for v in found]
        return rng.choice(kind.questions).format(*shown), dict(zip(properties, found))
    topic = kind.descriptions[0].split()[0]
    return Tool(topic, schema(rng, name, rng.choice(kind.descriptions), properties), ask, kind.respond)


def tool_name(rng, unseen):
    """An invented name in one of the usual spellings."""
    stems = [words.invented(rng, unseen, (1, 2)) for _ in range(rng.choice([1, 2, 2, 3]))]
    spelling = rng.random()
    if spelling < 0.7:
        return "_".join(stems)
    return "-".join(stems) if spelling < 0.8 else stems[0] + "".join(s.capitalize() for s in stems[1:])


def invented_tool(rng, unseen):
    """Makes a tool whose verb, thing, name and parameters are all invented."""
    verb, thing = words.invented(rng, unseen, (1, 2)), words.invented(rng, unseen, (1, 2))
    name = f"{verb}_{thing}" if rng.random() < 0.35 else tool_name(rng, unseen)
    makers = [("string", lambda rng: words.noun(rng, True, unseen)), ("string", lambda rng: words.city(rng, True, unseen)), ("integer", lambda rng: rng.randint(0, 9999)),
              ("string", lambda rng: words.phrase(rng, True, unseen, 3)), ("string", lambda rng: words.file_name(rng, True, unseen)), ("string", lambda rng: rng.choice(words.CITIES))]
    chosen = [rng.choice(makers) for _ in range(rng.choice([1, 1, 2, 2, 3]))]
    properties = {words.invented(rng, unseen, (1, 2)): {"type": kind} for kind, _ in chosen}
    chosen = chosen[:len(properties)]
    for key in properties if rng.random() < 0.3 else ():
        properties[key]["description"] = f"The {key}"
    form = rng.choice(["{verb} the {thing}", "use {name}", "call {name}", "{verb} the {thing}", "{verb} a {thing}"])

    def ask(rng):
        found = [make(rng) for _, make in chosen]
        start = form.format(verb=verb, thing=thing, name=name)
        start = rng.choice(["{}", "Please {}", "I want you to {}", "Can you {}"]).format(start)
        style = rng.random()
        if style < 0.35 and len(found) == 1:
            told = f"{start} of {found[0]}" if "the" in form else f"{start} for {found[0]}"
        else:
            link = rng.choice(["{k} {v}", "{k} = {v}", "{k}: {v}", "{k} is {v}"])
            told = f"{start} with " + rng.choice([" and ", ", "]).join(link.format(k=k, v=v) for k, v in zip(properties, found))
        return told[0].upper() + told[1:], dict(zip(properties, found))

    def respond(rng, values):
        key = words.invented(rng, unseen, (1, 2))
        return reported(rng, key, rng.choice([rng.randint(0, 999), rng.randint(0, 999), words.invented(rng, unseen)]))
    return Tool(verb, schema(rng, name, rng.choice(["{v} the {t}", "{v} a {t}", "To {v} the {t}"]).format(v=verb, t=thing).capitalize(), properties), ask, respond)


HELD_OUT_WORDS = {word for kind in HELD_OUT_KINDS for name in [*kind.names.split(), *(n for p in kind.parameters for n in p.names.split())] for word in name.split("_")}
TASKS = [word for word in words.TASKS + words.VERBS if word not in HELD_OUT_WORDS]
THINGS = [word for word in words.THINGS + words.NOUNS if word not in HELD_OUT_WORDS]


def english_tool(rng):
    """Makes a tool of English words: a task, a thing and parameters. Values may be invented, names are not."""
    task, thing, side = rng.choice(TASKS), *rng.sample(THINGS, 2)
    name = rng.choice([f"{task}_{thing}", f"{task}_{thing}", f"{thing}_{side}", f"get_{thing}", thing, f"{task}{thing.capitalize()}", f"{task}_{side}_{thing}"])
    novel = rng.random() < 0.7
    makers = [("string", lambda rng: words.noun(rng, novel, False)), ("string", lambda rng: words.city(rng, novel, False)), ("string", lambda rng: words.city(rng, novel, False)),
              ("string", lambda rng: words.person(rng, novel, False)), ("string", lambda rng: words.name_of(rng, True, False)), ("string", lambda rng: words.phrase(rng, novel, False)),
              ("string", lambda rng: words.file_name(rng, novel, False)), ("string", lambda rng: str(rng.randint(0, 10 ** rng.randint(2, 6)))),
              *[("integer", lambda rng: rng.randint(0, 10 ** rng.randint(1, 6)))] * 4]
    chosen = [rng.choice(makers) for _ in range(rng.choice([1, 1, 1, 2, 2, 2, 3]))]
    keys = rng.sample([word for word in THINGS if word not in (thing, side)], len(chosen))
    described = rng.choice([None, "The {k}", "Name of the {k}", "Which {k}", "The {k} of the {t}"])
    properties = {key: {"type": kind} | ({"description": described.format(k=key, t=thing)} if described else {}) for key, (kind, _) in zip(keys, chosen)}
    if rng.random() < 0.5:
        description = rng.choice([f"{task} a {thing}", f"{task} the {side} of a {thing}", f"{task} {thing} and {side}"]).capitalize()
    else:
        description = rng.choice([f"{thing} {side}", f"{side} of a {thing}", f"Get the {thing}", f"Where a {thing} is"]).capitalize()
    starts = [f"{task} the {thing}", f"{task} a {thing}", f"I want to {task} the {thing}", f"{thing} {side}", f"what is the {thing}", f"what is the {side} of the {thing}",
              f"give me the {thing}", f"how {rng.choice(words.ADJECTIVES)} is the {thing}", f"I need a {thing}", f"where is the {thing}", f"{task} {side} {thing}"]
    links = [["of", "of the", "in", "at", "for", "", "called", "with"], ["to", "with", "and", "at", "in", ",", "for", "to {k}"], ["and", "with", ", {k}", "by", "on"]]

    def ask(rng):
        found = [make(rng) for _, make in chosen]
        link = [rng.choice(options) for options in links]
        if len(found) > 1 and rng.random() < 0.3:
            link[0] = rng.choice(["from", "of {k}", "with {k}"])
        if rng.random() < 0.15:
            link = ["with {k}", "and {k}", "and {k}"]
        question = rng.choice(starts) + "".join(f"{'' if l.startswith(',') else ' '}{l.format(k=k)}{' ' if l else ''}{v}" for l, k, v in zip(link, keys, found))
        return question[0].upper() + question[1:] + rng.choice(["", ".", "?", " please", "."]), dict(zip(properties, found))

    key, kind = rng.choice(THINGS), rng.choice(makers)
    return Tool(thing, schema(rng, name, description, properties), ask, lambda rng, values: reported(rng, key, kind[1](rng)))


def schema(rng, name, description, properties):
    """The function object in the form that clients send."""
    parameters = {"type": "object", "properties": properties}
    if rng.random() < 0.85:
        parameters["required"] = list(properties)
    if rng.random() < 0.15:
        parameters["additionalProperties"] = False
    function = {"name": name, "description": description, "parameters": parameters}
    if rng.random() < 0.08:
        function["strict"] = rng.random() < 0.5
    return {"type": "function", "function": function}
