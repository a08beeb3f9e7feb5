"""The words that conversations are made of: people, things, settings, and what nano does not
answer.

Data only. Order and repetition count: a random choice takes the n-th entry, so a sorted list would
make another model.
"""

from __future__ import annotations


def _words(text: str) -> list[str]:
    return text.split()


def word_list(text: str) -> tuple[str, ...]:
    """Return the words of a text that holds nothing else."""
    return tuple(text.split())


def _phrases(text: str) -> list[str]:
    return [" ".join(phrase.split()) for phrase in text.split(";")]


NAMES = _words("""
    Anna Ben Clara David Emma Felix Grace Henry Iris Jack Kate Leo Mia Noah Olga Paul Rosa Sam Tina
    Victor Wei Ming Hua Yuki Omar Lina Tom Alice Bob Maria Ivan Priya
""")
THINGS = _words("""
    apples books coins marbles pencils cards stickers eggs cookies stamps balls tickets flowers
    shells cups bottles keys toys stones lamps oranges chairs pages miles points
""")
NUMBERS = _words("""
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen twenty
""")
SPELLED = _words("""
    strawberry raspberry blueberry cherry banana mango orange apple pear peach lemon melon grape
    carrot potato tomato onion pepper garlic butter cheese bread sugar coffee water mississippi
    tennessee alabama california london paris berlin summer winter spring autumn monday tuesday
    wednesday thursday friday saturday sunday january february march april june july august
    september october november december letter word sentence paragraph chapter library computer
    keyboard monitor memory model token attention transformer reasoning expert router tensor matrix
    vector number integer fraction balloon bottle coffee elephant giraffe kangaroo penguin dolphin
    butterfly spider rabbit horse tiger monkey parrot turtle mother father sister brother teacher
    doctor engineer artist yellow purple green orange silver golden happiness success address
    process committee necessary beginning tomorrow different difference possible science history
    mathematics geography language programming python terminal window
""")
SETTINGS = _words("""
    host port user path mode level color size name region timeout retries cache theme limit owner
    topic queue batch depth width height speed zone title id key count rate type status version date
    title author email url token format scale index offset start end min max
""")
SYSTEMS = _phrases("""
    You are a helpful assistant.; You are a calculator.; Answer briefly.; You are a careful
    mathematician.; Be concise and polite.; You are an expert programmer.; Always answer
    truthfully.; You are a friendly tutor for children.
""")
TOPICS = _phrases("""
    love; war; the moon; quantum physics; gravity; history; the Roman empire; music; football; cats;
    dogs; rain; the sea; autumn; winter; coffee; tea; cooking; bread; travel; economics; inflation;
    politics; religion; philosophy; art; painting; films; books; poetry; biology; evolution;
    photosynthesis; cells; DNA; chemistry; atoms; energy; climate change; computers; programming;
    Python; Rust; databases; networks; security; machine learning; neural networks; transformers;
    robots; space; black holes; stars; planets; time; dreams; health; sleep; sport; running; yoga;
    fashion; money; work; school; children; friendship; happiness; fear; death; life; water; fire;
    trees; flowers; birds; fish; insects; dinosaurs; cars; trains; planes; ships; cities; mountains;
    rivers; deserts; islands; languages; grammar; law; justice; freedom; democracy; science;
    mathematics; geometry; algebra; statistics; medicine; viruses; vaccines; cancer; the brain;
    memory; attention; emotions
""")
PEOPLE = _phrases("""
    Einstein; Newton; Napoleon; Caesar; Mozart; Shakespeare; Darwin; Cleopatra; Gandhi; Lincoln;
    Picasso; Plato; Tesla; Curie; Turing; Bach; Messi; the president; the king of Spain; my
    neighbour
""")
# {t} and {u} become topics, {p} a person, {c} a country
OFF_TOPIC = _phrases("""
    write a poem about {t}; write a haiku about {t}; write a story about {t}; write an essay on {t};
    write a song about {t}; explain {t}; explain {t} to a child; what is {t}; what are the main
    ideas of {t}; why is {t} important; tell me about {t}; tell me a joke about {t}; tell me a joke;
    summarize {t}; what do you think about {t}; how does {t} work; give me ideas about {t};
    translate {t} into French; translate this to German: {t}; who is {p}; who was {p}; when was {p}
    born; what did {p} say about {t}; who won the world cup; what is the weather today; what time is
    it; what day is it; recommend a book about {t}; how do i learn {t}; write code for {t}; write a
    python program about {t}; fix my code; debug this; plan my day; give me a recipe; what should i
    eat; is {t} good or bad; compare {t} and {u}; what is the difference between {t} and {u}; list
    five facts about {t}; what is the meaning of life; can you help me with {t}; I feel sad about
    {t}; do you like {t}; what is the population of {c}; what language do they speak in {c}; where
    is {c}; draw a picture of {t}; play a game with me; sing about {t}; generate an image of {t};
    solve x^2 + 3x = 7; integrate x^2; prove the theorem about {t}; what is the derivative of {t}
""")
