"""The words of conversations: lists of known names, and invented words.

The checksum of an invented word decides whether it is held out. Training draws only words that are not held out, and tests of unseen names
draw only those that are.
"""
import zlib

PEOPLE = """Anna Ben Carla David Emma Fred Grace Henry Ida Jack Kate Leo Maria Nina Oscar Paul Rosa Sam Tina Victor Alice Bob Clara Daniel Eva
Frank Gina Hugo Irene John Karl Laura Max Nora Otto Peter Ruth Simon Tom Una Vera Walter Yara Zoe Adam Bella Chris Diana Erik Fiona""".split()
CITIES = """Paris Rome Madrid Lisbon Berlin Vienna Athens Oslo Stockholm Helsinki Copenhagen Warsaw Budapest Dublin Brussels Moscow Ankara Cairo
Nairobi Tokyo Beijing Tehran Lima Santiago Ottawa Canberra Bangkok Hanoi Sofia Belgrade Zagreb London Geneva Milan Turin Munich Hamburg Lyon
Bordeaux Porto Seville Boston Chicago Denver Seattle Toronto Sydney Perth Delhi Mumbai Osaka Kyoto Seoul Manila Jakarta Lagos Accra""".split()
NOUNS = """apple ball bear bird boat book bottle box bread bridge brother brush bucket button cake candle car castle cat chair cheese clock cloud
coat coin cow cup desk dog doll door dress drum duck eagle egg farm field finger fire fish flag flower forest fork friend frog garden gate
glass goat gold grass hammer hand hat hill horse house island jar key king kite ladder lake lamp lemon letter lion map market milk mirror moon
mountain nail needle nest night oven paper pencil phone picture pig pillow plate pond queen rabbit rain ring river road roof room rope rose sail
salt school sea ship shirt shoe shop silver sister snow sock song spoon star stone storm story street sugar sun table tent tiger town tower train
tree valley village wall watch water wheel wind window winter wolf wood yard""".split()
VERBS = """walk talk jump play work help call open close start stop clean cook count dance draw drive eat fall find fly give grow hold keep laugh
learn look love make move paint pull push read ride run sail sell send show sing sit sleep smile speak stand swim take teach think throw turn wait
wash watch write""".split()
ADJECTIVES = """big small old young red green blue white black brown happy sad quick slow warm cold dark light heavy soft hard loud quiet clean dry
wet rich poor strong weak tall short wide deep high low long new good kind""".split()
# English words for the tasks of tools, and for things that tools and their parameters are about, in addition to the lists above.
TASKS = """add apply approve archive assign attach block cancel change clear compare compress connect copy count crop cut deploy describe disable download edit
enable export extract fetch filter format generate get import install invite join kill load lock mark measure merge mount order pay ping plan post
print publish query queue rate refresh rename rent repair replace report request reset restart restore rotate save scan schedule select share ship show sign sort
split start stop submit subscribe swap sync tag test trace trim unlock update upload validate verify vote zip""".split()
THINGS = """account address alarm album amount answer area article backup balance bill branch brand budget bus camera card category channel chapter class client
colour comment commit company contact contract country course currency customer database date degree delay deposit description discount distance document domain
duration email employee engine entry error event exam file folder form format game group guide height history hotel hour humidity invoice issue item job keyword
label language length library limit line link list loan location log machine mass member memory meeting message method minute mode model module movie network note
number office option order owner package page parent password patient payment phrase plan planet player playlist policy post price printer priority process product
profile project query question queue radius rate reader record region reminder repository request result review rule salary sample score screen section sensor
server service session shape signal site size size source speed staff state station step stock student subject subscription symbol task taxi team temperature
term test theme ticket time timeout title token topic total tour traffic trip truck type unit user value version video visitor volume vote wallet warehouse
weight word worker zone""".split()
COLOURS = "red green blue white black brown yellow orange purple pink grey silver".split()
# Names that only tests use, where training uses the lists above.
HELD_OUT_PEOPLE = "Ingrid Matteo Priya Yusuf Sven Chloe Rafael Amara Dmitri Naomi Tobias Leila Marcus Sienna Gustav Odette".split()
HELD_OUT_CITIES = "Tampere Krakow Bergen Nagoya Quito Durban Leipzig Bilbao Utrecht Winnipeg Marseille Aarhus Cardiff Salzburg Nantes Cusco".split()

ONSETS = "b c d f g h j k l m n p qu r s t v w z br bl ch cl cr dr fl fr gl gr kl kr pl pr sh sk sl sn sp st th tr tw zh".split()
VOWELS = "a e i o u a e i o u ai ea ee ou oo ia".split()
CODAS = ["", "", "", "", "b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "x", "z", "nd", "rk", "st", "ck", "sh", "lt", "mp"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
RUDE = "fuc fuk shit cunt nig cock coc dick dic tit slut fag rap cum ass pus piss".split()


def share(text, parts):
    """A number below `parts` that depends on the text alone."""
    return zlib.crc32(text.encode()) % parts


def held_out(word):
    """Whether an invented word is held out for tests."""
    return share(word.lower(), 8) == 0


def invented(rng, unseen, syllables=(1, 2, 2, 3)):
    """An invented word in lower case, held out from training if `unseen`."""
    while True:
        if rng.random() < 0.12:
            word = "".join(rng.choice(LETTERS) for _ in range(rng.randint(3, 7)))
        else:
            word = "".join(rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(rng.choice(syllables)))
        if len(word) > 2 and held_out(word) == unseen and not any(rude in word for rude in RUDE):
            return word


def name(rng, unseen):
    """An invented word as a name."""
    word = invented(rng, unseen)
    return word.upper() if rng.random() < 0.05 else word.capitalize()


def person(rng, novel, unseen):
    """The name of a person, from the lists or, if `novel`, usually invented."""
    if novel:
        return name(rng, unseen) if not unseen or rng.random() < 0.6 else rng.choice(HELD_OUT_PEOPLE)
    return rng.choice(PEOPLE)


def city(rng, novel, unseen):
    """The name of a place, from the lists or, if `novel`, usually invented."""
    if novel:
        return name(rng, unseen) if not unseen or rng.random() < 0.6 else rng.choice(HELD_OUT_CITIES)
    return rng.choice(CITIES)


def name_of(rng, novel, unseen):
    """The name of a company or another thing. It is always invented, because no list of such names exists here."""
    return name(rng, unseen)


def noun(rng, novel, unseen):
    """A thing, from the lists or, if `novel`, invented."""
    return invented(rng, unseen) if novel else rng.choice(NOUNS)


def phrase(rng, novel, unseen, most=4):
    """A few words in a row."""
    lists = NOUNS + VERBS + ADJECTIVES
    return " ".join(invented(rng, unseen) if novel and rng.random() < 0.7 else rng.choice(lists) for _ in range(rng.randint(1, most)))


def file_name(rng, novel, unseen):
    """A path of one to three parts."""
    stem = lambda: noun(rng, novel, unseen)
    ending = rng.choice(["txt", "md", "py", "json", "csv", "rs", "log", "html"])
    folder = "/".join(stem() for _ in range(rng.choice([0, 0, 1, 2])))
    root = rng.choice(["", "", "", "/", "./"])
    return root + (folder + "/" if folder else "") + stem() + rng.choice(["", "", "_" + stem()]) + "." + ending
