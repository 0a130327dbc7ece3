"""The facts that the model learns: several hundred, each in several wordings.

A relation has questions with `{k}` for the key, the topic for the reasoning, and the answer. Some pairs of a fact and a wording are held out
from training. `pairs(unseen=True)` returns those, `pairs(unseen=False)` all others.
"""
import re
from dataclasses import dataclass

from words import share


@dataclass
class Relation:
    """Facts of one kind."""
    name: str
    questions: list
    topic: str
    answer: str
    facts: dict


def table(text):
    """Parses `key:value, key:value` into a dict."""
    pairs = (item.split(":") for item in " ".join(text.split()).split(", "))
    return {key.strip(): value.strip() for key, value in pairs}


CAPITALS = table("""Afghanistan:Kabul, Albania:Tirana, Algeria:Algiers, Angola:Luanda, Argentina:Buenos Aires, Armenia:Yerevan, Australia:Canberra,
Austria:Vienna, Azerbaijan:Baku, Bahrain:Manama, Bangladesh:Dhaka, Barbados:Bridgetown, Belarus:Minsk, Belgium:Brussels, Belize:Belmopan,
Benin:Porto-Novo, Bhutan:Thimphu, Bolivia:Sucre, Bosnia:Sarajevo, Botswana:Gaborone, Brazil:Brasilia, Bulgaria:Sofia, Burundi:Gitega,
Cambodia:Phnom Penh, Cameroon:Yaounde, Canada:Ottawa, Chad:N'Djamena, Chile:Santiago, China:Beijing, Colombia:Bogota, Costa Rica:San Jose,
Croatia:Zagreb, Cuba:Havana, Cyprus:Nicosia, Denmark:Copenhagen, Djibouti:Djibouti, Ecuador:Quito, Egypt:Cairo, El Salvador:San Salvador,
Eritrea:Asmara, Estonia:Tallinn, Ethiopia:Addis Ababa, Fiji:Suva, Finland:Helsinki, France:Paris, Gabon:Libreville, Gambia:Banjul,
Georgia:Tbilisi, Germany:Berlin, Ghana:Accra, Greece:Athens, Grenada:St. George's, Guatemala:Guatemala City, Guinea:Conakry, Guyana:Georgetown,
Haiti:Port-au-Prince, Honduras:Tegucigalpa, Hungary:Budapest, Iceland:Reykjavik, India:New Delhi, Indonesia:Jakarta, Iran:Tehran, Iraq:Baghdad,
Ireland:Dublin, Israel:Jerusalem, Italy:Rome, Jamaica:Kingston, Japan:Tokyo, Jordan:Amman, Kazakhstan:Astana, Kenya:Nairobi, Kuwait:Kuwait City,
Kyrgyzstan:Bishkek, Laos:Vientiane, Latvia:Riga, Lebanon:Beirut, Lesotho:Maseru, Liberia:Monrovia, Libya:Tripoli, Lithuania:Vilnius,
Luxembourg:Luxembourg, Madagascar:Antananarivo, Malawi:Lilongwe, Malaysia:Kuala Lumpur, Mali:Bamako, Malta:Valletta, Mauritania:Nouakchott,
Mauritius:Port Louis, Mexico:Mexico City, Moldova:Chisinau, Monaco:Monaco, Mongolia:Ulaanbaatar, Montenegro:Podgorica, Morocco:Rabat,
Mozambique:Maputo, Myanmar:Naypyidaw, Namibia:Windhoek, Nepal:Kathmandu, Netherlands:Amsterdam, New Zealand:Wellington, Nicaragua:Managua,
Niger:Niamey, Nigeria:Abuja, North Korea:Pyongyang, Norway:Oslo, Oman:Muscat, Pakistan:Islamabad, Panama:Panama City, Paraguay:Asuncion,
Peru:Lima, Philippines:Manila, Poland:Warsaw, Portugal:Lisbon, Qatar:Doha, Romania:Bucharest, Russia:Moscow, Rwanda:Kigali, Saudi Arabia:Riyadh,
Scotland:Edinburgh, Senegal:Dakar, Serbia:Belgrade, Sierra Leone:Freetown, Singapore:Singapore, Slovakia:Bratislava, Slovenia:Ljubljana,
Somalia:Mogadishu, South Korea:Seoul, Spain:Madrid, Sudan:Khartoum, Sweden:Stockholm, Switzerland:Bern, Syria:Damascus, Taiwan:Taipei,
Tanzania:Dodoma, Thailand:Bangkok, Togo:Lome, Tunisia:Tunis, Turkey:Ankara, Uganda:Kampala, Ukraine:Kyiv, Uruguay:Montevideo, Uzbekistan:Tashkent,
Venezuela:Caracas, Vietnam:Hanoi, Wales:Cardiff, Yemen:Sanaa, Zambia:Lusaka, Zimbabwe:Harare""")
CONTINENTS = {country: continent for continent, countries in dict(
    Europe="France Germany Italy Spain Portugal Austria Greece Norway Sweden Finland Denmark Poland Hungary Ireland Belgium Romania Bulgaria Serbia",
    Africa="Egypt Kenya Ghana Nigeria Morocco Tunisia Libya Senegal Mali Chad Niger Angola Zambia Ethiopia Uganda Rwanda",
    Asia="Japan China India Iran Iraq Nepal Thailand Vietnam Mongolia Pakistan Jordan Yemen Oman Laos Malaysia",
    Oceania="Australia Fiji", **{"South America": "Peru Chile Brazil Argentina Colombia Ecuador Bolivia Uruguay Paraguay Venezuela",
                                 "North America": "Canada Mexico Cuba Panama Jamaica Honduras Guatemala"}).items() for country in countries.split()}
LANGUAGES = table("""France:French, Germany:German, Italy:Italian, Spain:Spanish, Portugal:Portuguese, Greece:Greek, Norway:Norwegian, Sweden:Swedish,
Finland:Finnish, Denmark:Danish, Poland:Polish, Hungary:Hungarian, Russia:Russian, Turkey:Turkish, Egypt:Arabic, Japan:Japanese, China:Chinese,
Iran:Persian, Brazil:Portuguese, Mexico:Spanish, Austria:German, Romania:Romanian, Bulgaria:Bulgarian, Vietnam:Vietnamese, Thailand:Thai""")
CURRENCIES = table("""Japan:yen, India:rupee, Russia:rouble, China:yuan, Poland:zloty, Sweden:krona, Norway:krone, Denmark:krone, Switzerland:franc,
Mexico:peso, Brazil:real, Turkey:lira, Thailand:baht, Hungary:forint, Israel:shekel, France:euro, Germany:euro, Italy:euro, Kenya:shilling,
Vietnam:dong, Canada:Canadian dollar, Australia:Australian dollar""")
SYMBOLS = table("""hydrogen:H, helium:He, lithium:Li, beryllium:Be, boron:B, carbon:C, nitrogen:N, oxygen:O, fluorine:F, neon:Ne, sodium:Na,
magnesium:Mg, aluminium:Al, silicon:Si, phosphorus:P, sulphur:S, chlorine:Cl, argon:Ar, potassium:K, calcium:Ca, titanium:Ti, chromium:Cr,
manganese:Mn, iron:Fe, cobalt:Co, nickel:Ni, copper:Cu, zinc:Zn, bromine:Br, silver:Ag, tin:Sn, iodine:I, tungsten:W, platinum:Pt, gold:Au,
mercury:Hg, lead:Pb, radium:Ra, uranium:U""")
NUMBERS = {element: str(n) for n, element in enumerate(list(SYMBOLS)[:20], 1)}
OPPOSITES = table("""hot:cold, big:small, tall:short, fast:slow, old:young, happy:sad, light:dark, day:night, up:down, left:right, open:closed,
hard:soft, rich:poor, strong:weak, wet:dry, clean:dirty, early:late, full:empty, good:bad, high:low, in:out, long:brief, loud:quiet, near:far,
new:used, north:south, east:west, on:off, over:under, push:pull, right:wrong, rough:smooth, safe:dangerous, sharp:blunt, sweet:sour, thick:thin,
true:false, warm:cool, wide:narrow, win:lose, love:hate, begin:end, buy:sell, give:take, laugh:cry, remember:forget, rise:fall, summer:winter,
arrive:leave, brave:afraid, deep:shallow, first:last, friend:enemy, heavy:weightless, inside:outside, many:few, more:less, simple:complex""")
PLURALS = table("""child:children, man:men, woman:women, foot:feet, tooth:teeth, goose:geese, mouse:mice, ox:oxen, sheep:sheep, fish:fish, leaf:leaves,
knife:knives, wife:wives, life:lives, wolf:wolves, half:halves, shelf:shelves, loaf:loaves, thief:thieves, city:cities, baby:babies, lady:ladies,
story:stories, berry:berries, box:boxes, bus:buses, church:churches, dish:dishes, fox:foxes, glass:glasses, hero:heroes, potato:potatoes,
tomato:tomatoes, person:people, cactus:cacti, crisis:crises, house:houses, tree:trees, book:books, car:cars""")
PASTS = table("""go:went, see:saw, eat:ate, run:ran, come:came, take:took, give:gave, write:wrote, speak:spoke, drink:drank, sing:sang, swim:swam,
fly:flew, know:knew, grow:grew, think:thought, buy:bought, bring:brought, teach:taught, catch:caught, sleep:slept, keep:kept, feel:felt, find:found,
hold:held, stand:stood, tell:told, sell:sold, make:made, say:said, break:broke, choose:chose, drive:drove, ride:rode, rise:rose, fall:fell,
begin:began, walk:walked, talk:talked, play:played""")
YOUNG = table("""dog:puppy, cat:kitten, cow:calf, horse:foal, sheep:lamb, pig:piglet, goat:kid, hen:chick, duck:duckling, goose:gosling, lion:cub,
bear:cub, deer:fawn, frog:tadpole, swan:cygnet, kangaroo:joey, seal:pup, owl:owlet, eagle:eaglet, hare:leveret""")
SOUNDS = table("""dog:barks, cat:meows, cow:moos, horse:neighs, sheep:bleats, pig:grunts, duck:quacks, lion:roars, wolf:howls, owl:hoots, bee:buzzes,
snake:hisses, frog:croaks, mouse:squeaks, crow:caws, donkey:brays, elephant:trumpets, turkey:gobbles""")
LEGS = table("""dog:4, cat:4, horse:4, hen:2, duck:2, ant:6, bee:6, fly:6, beetle:6, spider:8, scorpion:8, snake:0, fish:0, crab:10, ostrich:2, cow:4""")
CLASSES = table("""whale:mammal, bat:mammal, dolphin:mammal, eagle:bird, penguin:bird, ostrich:bird, frog:amphibian, newt:amphibian, shark:fish, salmon:fish,
cobra:reptile, lizard:reptile, crocodile:reptile, turtle:reptile, ant:insect, bee:insect, butterfly:insect, spider:arachnid, scorpion:arachnid,
lion:mammal, mouse:mammal, owl:bird, trout:fish, beetle:insect""")
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
LENGTHS = dict(zip(MONTHS, "31 28 31 30 31 30 31 31 30 31 30 31".split()))
PLANETS = "Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune".split()
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
SIDES = table("triangle:3, square:4, rectangle:4, pentagon:5, hexagon:6, heptagon:7, octagon:8, nonagon:9, decagon:10")
ROMANS = dict(zip("1 2 3 4 5 6 7 8 9 10 11 12 15 20 40 50 100 500 1000".split(), "I II III IV V VI VII VIII IX X XI XII XV XX XL L C D M".split()))
WORDS = dict(enumerate("""zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty""".split()))
UNITS = table("""seconds in a minute:60, minutes in an hour:60, hours in a day:24, days in a week:7, months in a year:12, days in a year:365,
years in a century:100, years in a decade:10, grams in a kilogram:1000, metres in a kilometre:1000, centimetres in a metre:100,
millimetres in a centimetre:10, inches in a foot:12, items in a dozen:12, bits in a byte:8, degrees in a circle:360, cards in a deck:52,
letters in the alphabet:26, players in a football team:11, strings on a violin:4, keys on a piano:88, weeks in a year:52, legs on a spider:8""")
AUTHORS = table("""Hamlet:William Shakespeare, Faust:Goethe, Don Quixote:Miguel de Cervantes, The Divine Comedy:Dante, War and Peace:Leo Tolstoy,
Oliver Twist:Charles Dickens, Emma:Jane Austen, Moby Dick:Herman Melville, The Odyssey:Homer, Dracula:Bram Stoker, Frankenstein:Mary Shelley,
Treasure Island:Robert Louis Stevenson, The Betrothed:Alessandro Manzoni, Les Miserables:Victor Hugo, Peter Pan:J. M. Barrie,
Alice in Wonderland:Lewis Carroll, Jane Eyre:Charlotte Bronte, The Raven:Edgar Allan Poe, Robinson Crusoe:Daniel Defoe, Pinocchio:Carlo Collodi""")
INVENTORS = table("""the telephone:Alexander Graham Bell, the light bulb:Thomas Edison, dynamite:Alfred Nobel, the steam engine:James Watt,
the printing press:Johannes Gutenberg, the radio:Guglielmo Marconi, the battery:Alessandro Volta, the diesel engine:Rudolf Diesel,
the World Wide Web:Tim Berners-Lee, the barometer:Evangelista Torricelli, the lightning rod:Benjamin Franklin""")
YEARS = table("""the French Revolution begin:1789, the First World War begin:1914, the First World War end:1918, the Second World War begin:1939,
the Second World War end:1945, Columbus reach America:1492, the Berlin Wall fall:1989, people first land on the Moon:1969, the Titanic sink:1912,
the Great Fire of London happen:1666, the battle of Hastings happen:1066, the battle of Waterloo happen:1815, Shakespeare die:1616, Mozart die:1791,
Newton publish the Principia:1687, Darwin publish the Origin of Species:1859, Sputnik fly:1957, the Magna Carta appear:1215,
the United States declare independence:1776, Magellan set sail:1519, Einstein publish relativity:1905, the first modern Olympics happen:1896""")
COLOURS = table("""grass:green, snow:white, blood:red, the sky:blue, a banana:yellow, coal:black, a carrot:orange, a lemon:yellow, milk:white,
an elephant:grey, a ripe tomato:red, chocolate:brown, a flamingo:pink, a raven:black, the sea:blue, an emerald:green, a ruby:red, a sapphire:blue""")
SCIENCE = table("""the largest planet:Jupiter, the smallest planet:Mercury, the planet nearest to the Sun:Mercury, the hottest planet:Venus,
the red planet:Mars, the star nearest to the Earth:the Sun, the largest ocean:the Pacific, the longest river:the Nile, the highest mountain:Everest,
the largest animal:the blue whale, the fastest land animal:the cheetah, the tallest animal:the giraffe, the largest bird:the ostrich,
the hardest natural material:diamond, the lightest element:hydrogen, the gas that we breathe in:oxygen, the gas that plants take in:carbon dioxide,
the force that pulls things down:gravity, the largest continent:Asia, the smallest continent:Australia, the largest desert:Antarctica,
the largest country:Russia, the boiling point of water:100 degrees, the freezing point of water:0 degrees, the chemical formula of water:H2O,
the chemical formula of table salt:NaCl, the centre of an atom:the nucleus, the organ that pumps blood:the heart, the largest organ:the skin,
the powerhouse of the cell:the mitochondrion, the study of living things:biology, the study of stars:astronomy, the study of the past:history,
the study of rocks:geology, the metal that is liquid:mercury, the unit of force:the newton, the unit of power:the watt, the unit of energy:the joule,
the unit of electric current:the ampere, the unit of frequency:the hertz, the square root of 144:12, the square root of 81:9, the value of pi:3.14159,
the first even prime number:2, the closest galaxy:Andromeda, the natural satellite of the Earth:the Moon, the frozen form of water:ice""")
CITY_COUNTRIES = {capital: country for country, capital in CAPITALS.items() if country not in ("Djibouti", "Luxembourg", "Monaco", "Singapore")}

RELATIONS = [
    Relation("capital", ["What is the capital of {k}?", "Tell me the capital of {k}.", "Which city is the capital of {k}?", "Name the capital city of {k}.",
                         "Capital of {k}?", "What is {k}'s capital?"], "the capital of {k}", "The capital of {k} is {v}.", CAPITALS),
    Relation("country", ["Of which country is {k} the capital?", "{k} is the capital of which country?", "Which country has the capital {k}?",
                         "Name the country whose capital is {k}."], "the country of {k}", "{k} is the capital of {v}.", CITY_COUNTRIES),
    Relation("continent", ["On which continent is {k}?", "Which continent is {k} in?", "Where in the world is {k}?", "Name the continent of {k}."],
             "the continent of {k}", "{k} is in {v}.", CONTINENTS),
    Relation("language", ["Which language do people speak in {k}?", "What is the language of {k}?", "What do they speak in {k}?", "Name the language of {k}."],
             "the language of {k}", "People in {k} speak {v}.", LANGUAGES),
    Relation("currency", ["What is the currency of {k}?", "Which money do they use in {k}?", "Name the currency of {k}.", "How do people pay in {k}?"],
             "the currency of {k}", "The currency of {k} is the {v}.", CURRENCIES),
    Relation("symbol", ["What is the chemical symbol of {k}?", "Symbol of {k}?", "Which symbol stands for {k}?", "How do chemists write {k}?",
                        "Give the symbol of the element {k}."], "the symbol of {k}", "The chemical symbol of {k} is {v}.", SYMBOLS),
    Relation("element", ["Which element has the symbol {k}?", "What element is {k}?", "Name the element with the symbol {k}.", "What does {k} stand for in chemistry?"],
             "the element {k}", "{k} is the symbol of {v}.", {v: k for k, v in SYMBOLS.items()}),
    Relation("number", ["What is the atomic number of {k}?", "Atomic number of {k}?", "How many protons does {k} have?", "Give the atomic number of {k}."],
             "the atomic number of {k}", "The atomic number of {k} is {v}.", NUMBERS),
    Relation("opposite", ["What is the opposite of {k}?", "Opposite of {k}?", "Give me the opposite of {k}.", "Name the opposite of {k}.",
                          "Which word is the opposite of {k}?"], "the opposite of {k}", "The opposite of {k} is {v}.", OPPOSITES),
    Relation("plural", ["What is the plural of {k}?", "Plural of {k}?", "Give the plural of {k}.", "One {k}, two what?", "How do you write {k} in the plural?"],
             "the plural of {k}", "The plural of {k} is {v}.", PLURALS),
    Relation("past", ["What is the past tense of {k}?", "Past tense of {k}?", "Give the past tense of {k}.", "Put {k} into the past tense."],
             "the past tense of {k}", "The past tense of {k} is {v}.", PASTS),
    Relation("young", ["What is a young {k} called?", "What do you call a baby {k}?", "Name the young of a {k}.", "How is the young of a {k} called?"],
             "the young of a {k}", "A young {k} is called a {v}.", YOUNG),
    Relation("sound", ["What sound does a {k} make?", "Which sound does the {k} make?", "How does a {k} sound?", "What does a {k} do to be heard?"],
             "the sound of a {k}", "A {k} {v}.", SOUNDS),
    Relation("legs", ["How many legs does a {k} have?", "Number of legs of a {k}?", "Count the legs of a {k}.", "On how many legs does a {k} walk?"],
             "the legs of a {k}", "A {k} has {v} legs.", LEGS),
    Relation("class", ["What kind of animal is a {k}?", "Which class of animals does the {k} belong to?", "Classify the {k}.", "Is a {k} a bird, a fish or what?"],
             "the class of the {k}", "The {k} is of the class {v}.", CLASSES),
    Relation("day after", ["Which day comes after {k}?", "What day follows {k}?", "Name the day after {k}.", "If today is {k}, what is tomorrow?"],
             "the day after {k}", "The day after {k} is {v}.", dict(zip(DAYS, DAYS[1:] + DAYS[:1]))),
    Relation("day before", ["Which day comes before {k}?", "What day precedes {k}?", "Name the day before {k}.", "If today is {k}, what was yesterday?"],
             "the day before {k}", "The day before {k} is {v}.", dict(zip(DAYS, DAYS[-1:] + DAYS[:-1]))),
    Relation("month after", ["Which month comes after {k}?", "What month follows {k}?", "Name the month after {k}.", "What comes after the month of {k}?"],
             "the month after {k}", "The month after {k} is {v}.", dict(zip(MONTHS, MONTHS[1:] + MONTHS[:1]))),
    Relation("month length", ["How many days does {k} have?", "Days in {k}?", "How long is {k}?", "Give the number of days in {k}."],
             "the days of {k}", "{k} has {v} days.", LENGTHS),
    Relation("month order", ["Which is the {k} month of the year?", "Name the {k} month.", "What is the {k} month called?", "Tell me the {k} month of the year."],
             "the {k} month", "The {k} month of the year is {v}.", dict(zip(ORDINALS, MONTHS))),
    Relation("planet order", ["Which is the {k} planet from the Sun?", "Name the {k} planet.", "What is the {k} planet called?", "Tell me the {k} planet from the Sun."],
             "the {k} planet", "The {k} planet from the Sun is {v}.", dict(zip(ORDINALS, PLANETS))),
    Relation("sides", ["How many sides does a {k} have?", "Number of sides of a {k}?", "How many corners does a {k} have?", "Count the sides of a {k}."],
             "the sides of a {k}", "The number for a {k} is {v}.", SIDES),
    Relation("roman", ["Write {k} in Roman numerals.", "What is {k} as a Roman numeral?", "Roman numeral for {k}?", "How did the Romans write {k}?"],
             "the Roman numeral of {k}", "{k} in Roman numerals is {v}.", ROMANS),
    Relation("number word", ["Write {k} as a word.", "How do you spell the number {k}?", "Which word is {k}?", "Put the number {k} into words."],
             "the word for {k}", "The number {k} is {v}.", {str(n): word for n, word in WORDS.items()}),
    Relation("units", ["How many {k}?", "Tell me how many {k}.", "What is the number of {k}?", "Do you know how many {k} there are?"],
             "the number of {k}", "The number of {k} is {v}.", UNITS),
    Relation("author", ["Who wrote {k}?", "Who is the author of {k}?", "Name the author of {k}.", "By whom is {k}?"],
             "the author of {k}", "{k} was written by {v}.", AUTHORS),
    Relation("inventor", ["Who invented {k}?", "Who is the inventor of {k}?", "Name the inventor of {k}.", "Whose invention is {k}?"],
             "the inventor of {k}", "The inventor of {k} is {v}.", INVENTORS),
    Relation("year", ["In which year did {k}?", "When did {k}?", "In what year did {k}?", "Give the year: when did {k}?"],
             "the year", "That was in {v}.", YEARS),
    Relation("colour", ["What colour is {k}?", "Which colour has {k}?", "Tell me the colour of {k}.", "Colour of {k}?"],
             "the colour of {k}", "The colour of {k} is {v}.", COLOURS),
    Relation("science", ["What is {k}?", "Name {k}.", "Tell me {k}.", "Do you know {k}?", "Which is {k}?"], "{k}", "It is {v}.", SCIENCE),
]


def fill(text, key, value):
    """Inserts key and value into a text, and turns `a` into `an` before a vowel."""
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text.format(k=key, v=value))


def statement(relation, key):
    """A fact as a sentence."""
    return fill(relation.answer, key, relation.facts[key])


def pairs(unseen):
    """All (relation, key, wording) that are held out from training, or all others."""
    return [(relation, key, n) for relation in RELATIONS for key in relation.facts for n in range(len(relation.questions))
            if is_held_out(relation, key, n) == unseen]


def is_held_out(relation, key, n):
    """Whether a wording of a fact is held out. That is one wording of three facts in five."""
    count = len(relation.questions)
    return share(f"{relation.name}/{key}", count * 5 // 3) == n


def question(relation, key, n):
    """Wording `n` of the question for a fact, its reasoning and its answer."""
    value = relation.facts[key]
    reasoning = f"The user asks for {relation.topic}. It is {{v}}."
    return fill(relation.questions[n], key, value), fill(reasoning, key, value), fill(relation.answer, key, value)
