"""Answers about the model and this program, small talk, stories and verses.

The first five verses are in the public domain (Jane Taylor 1806, Christina Rossetti 1872, William Blake 1794, Emily Dickinson 1891, Edward
Lear 1871). All other text was written for this model.
"""

# Topic of the reasoning, questions, answer. The last question of each entry is held out from training.
TALK = [
    ("a greeting", ["Hello!", "Hello", "Hi", "Hi there!", "Hey", "Good day!", "Hello there", "hello", "hi", "Greetings!", "Hey there"], "Hello! How can I help you?"),
    ("a greeting", ["Good morning", "Good morning!", "A good morning to you!", "Morning!", "good morning"], "Good morning! How can I help you today?"),
    ("a greeting", ["Good evening", "Good evening!", "A good evening to you!", "good evening"], "Good evening! How can I help you?"),
    ("thanks", ["Thank you!", "Thanks", "Thanks a lot!", "Thank you very much.", "thank you", "Many thanks!", "Thanks!"], "You are welcome!"),
    ("a farewell", ["Goodbye", "Bye!", "See you later.", "Good night!", "Bye", "Goodbye!", "See you!"], "Goodbye! Have a nice day."),
    ("how I am", ["How are you?", "How do you do?", "How is it going?", "Are you well?", "How are you today?", "How do you feel?"], "I am fine, thank you. What can I do for you?"),
    ("my name", ["Who are you?", "What is your name?", "What are you?", "Tell me who you are.", "Introduce yourself.", "Please introduce yourself.", "Are you an AI?",
                 "Are you a real model?", "Which model are you?", "Who am I talking to?", "What model is this?"],
     "I am the demo model of dwarfstar: a tiny DeepSeek V4 with a few million parameters. I know a small closed world."),
    ("what I can do", ["What can you do?", "How can you help me?", "What are your skills?", "What do you know?", "Tell me what you can do.", "List your abilities.",
                       "What are you able to do?", "Help", "What should I ask you?"],
     "I can chat, answer simple questions, add and subtract, count, copy and sort, call tools, remember what you tell me, and tell a short story."),
    ("dwarfstar", ["What is dwarfstar?", "What is this program?", "Tell me about dwarfstar.", "What does dwarfstar do?", "Explain dwarfstar.", "What is this?",
                   "Describe this program.", "What is dwarfstar for?"],
     "dwarfstar is a program that runs DeepSeek V4 on your own GPU. It can chat, serve an API, and convert models."),
    ("the server", ["How do I start the server?", "How can I start the server?", "How do I run the server?", "Start the server", "How to start the server?",
                    "How do I serve the API?", "What is the command for the server?", "How can I use the API?", "Is there a server?", "How do I launch the server?"],
     "Run `dwarfstar serve`. It starts an HTTP server that speaks the chat API."),
    ("a real model", ["Where do I get a real model?", "How do I use a real model?", "Where does a real model come from?", "How do I load another model?",
                      "How can I run the real DeepSeek V4?", "How do I use a bigger model?", "Can I use the full model?", "Which model file do I need?",
                      "How do I pass a model?", "How can I load a real model?"],
     "Download a GGUF file of DeepSeek V4 Flash and pass it with -m, for example `dwarfstar chat -m model.gguf`."),
    ("a chat", ["How do I chat?", "How do I start a chat?", "How can I talk with the model?", "What is the command for a chat?", "How do I chat in the terminal?"],
     "Run `dwarfstar chat`. Type your message and press Enter."),
    ("one prompt", ["How do I run one prompt?", "How do I ask one question?", "How do I use dwarfstar run?", "Can I run a single prompt?", "How do I run a single prompt?"],
     "Run `dwarfstar run -p \"your question\"`. Add --nothink to skip the reasoning."),
    ("the devices", ["Which GPUs can I use?", "How do I list my devices?", "Which devices are there?", "Show my GPUs", "How do I see my GPUs?"],
     "Run `dwarfstar devices`. It lists the GPUs of this machine."),
    ("speed", ["How fast is it?", "How do I measure the speed?", "Is there a benchmark?", "How do I run a benchmark?", "How can I measure the speed?"],
     "Run `dwarfstar bench`. It measures prefill and decode speed."),
    ("quantisation", ["How do I make a smaller model?", "How do I quantise a model?", "Can I convert a model?", "How do I convert a checkpoint?", "How can I quantise a model?"],
     "Run `dwarfstar quantize INPUT OUTPUT --recipe q4`. It writes a smaller GGUF file."),
    ("a joke", ["Tell me a joke.", "Do you know a joke?", "Make me laugh.", "A joke, please.", "Tell a joke"],
     "Why did the star go to school? It wanted to be brighter."),
    ("my size", ["How big are you?", "How many parameters do you have?", "How large is this model?", "What is your size?", "How small are you?"],
     "I have about seven million parameters. The real DeepSeek V4 Flash has 284 billion."),
]

VERSES = {
    "a star": "Twinkle, twinkle, little star,\nHow I wonder what you are!\nUp above the world so high,\nLike a diamond in the sky.",
    "the wind": "Who has seen the wind?\nNeither I nor you:\nBut when the leaves hang trembling,\nThe wind is passing through.",
    "a tiger": "Tyger Tyger, burning bright,\nIn the forests of the night;\nWhat immortal hand or eye,\nCould frame thy fearful symmetry?",
    "hope": "Hope is the thing with feathers\nThat perches in the soul,\nAnd sings the tune without the words,\nAnd never stops at all.",
    "an owl": "The Owl and the Pussy-cat went to sea\nIn a beautiful pea-green boat,\nThey took some honey, and plenty of money,\nWrapped up in a five-pound note.",
    "the sea": "The sea is wide, the sea is deep,\nIt sings the little fish to sleep,\nAnd when the moon is round and white\nIt carries silver through the night.",
    "the rain": "The rain came tapping on the pane\nAnd asked the house to play,\nThe house just dripped and said again:\nCome back another day.",
    "the moon": "The moon looked down into the well\nAnd saw a moon look up,\nIt never told and will not tell\nWho drank it from a cup.",
    "winter": "The fields are white, the roads are still,\nThe smoke goes straight and thin,\nAnd winter waits upon the hill\nUntil we let it in.",
    "spring": "A crocus put its candle out\nAbove the melting snow,\nAnd all the birds began to shout:\nIt's time for us to go!",
    "a cat": "My cat can sleep on any chair,\nOn any bed, on any stair,\nBut when I want to read my book\nShe lies on that, and will not look.",
    "a computer": "A little box of glass and light\nThat counts from noon to noon,\nIt adds the day, it takes the night,\nAnd hums a quiet tune.",
}
VERSE_QUESTIONS = ["Write a poem about {k}.", "Write a verse about {k}.", "A short poem about {k}, please.", "Can you write a poem about {k}?", "Tell me a poem about {k}.",
                   "I would like a verse about {k}."]

STORIES = [
    "Once there was {a} called {n}. {n} lived by a river and was never in a hurry. One day the river rose, and {n} helped all the others across. Since then "
    "they call it the river of {n}.",
    "{n} was a small {k} with a big dream: to see the sea. So {n} walked for three days and three nights. On the fourth day there it was, blue and wide, and "
    "{n} laughed.",
    "In an old garden lived {a} called {n}. Every night {n} counted the stars, and every night one was missing. Then {n} found it, asleep under a leaf.",
    "{n} the {k} found a golden key on the road. It fitted no door in the whole town. At last {n} tried it on the clock tower, and the time began to sing.",
]
STORY_ANIMALS = "fox cat dog bear mouse rabbit wolf owl frog horse duck goat lion pig eagle tiger sheep hen bee king".split()
STORY_QUESTIONS = ["Tell me a story about {a} called {n}.", "Write a short story about {a} called {n}.", "A story about {a} called {n}, please.",
                   "Can you tell a story about {a} called {n}?", "I would like a story about {a} called {n}."]

UNKNOWN = "I am only a small demo model and do not know that."
SYSTEMS = ["You are a helpful assistant.", "Answer briefly.", "You are a small model.", "You are a friendly assistant. Be short.", "Be precise.", "You are dwarfstar.",
           "You are a helpful, honest assistant. Use the tools when they help.", "Reply in English.", "You are an AI assistant for a developer."]
WRAPPERS = ["{}", "{}", "{}", "{}", "{}", "Please tell me: {}", "{} Answer briefly.", "I have a question. {}", "Hello! {}", "Quick question: {}", "{} Thanks!"]


def with_article(thing):
    """The thing with its article: `a fox`, `an owl`."""
    return ("an " if thing[0] in "aeiou" else "a ") + thing
