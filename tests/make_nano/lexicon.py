"""Names, words and values that nobody has seen before, from which nano learns to copy.

A model that has seen every value of its training thousands of times recalls instead of copying, so
most of what is drawn here is drawn letter by letter or syllable by syllable. And a token that was
never copied in training is copied wrongly, so ``wild_word`` is made of all pieces of the vocabulary
and of letters of many alphabets.
"""

from __future__ import annotations

import random
from pathlib import Path

from make_nano.words import NAMES, SETTINGS, SPELLED, THINGS

LETTERS = "abcdefghijklmnopqrstuvwxyz"
ALPHANUMERIC = LETTERS + "0123456789"


PIECES = tuple(Path(__file__).with_name("pieces.txt").read_text(encoding="utf-8").split())
ACCENTED = "äöüßéèêëáàâãåæçñóòôõøœíìîïúùûýšžčćđłńśźżőűğışțăÄÖÜÉÅØČŠŽ"
ALPHABETS = (
    "абвгдежзийклмнопрстуфхцчшщыьэюя",
    "αβγδεζηθικλμνξοπρστυφχψω",
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能"
    "下过子说产种面而方后多定行学法所民得经十三之进着等部度家电力里如水化高自二理起小物现实加"
    "量都两体制机当使点从业本去把性好应开它合还因由其些然前外天政四日那社义事平形相全表间样与"
    "关各重新线内数正心反你明看原又么利比或但质气第向道命此变条只没结解问意建月公无系军很情者"
    "最立代想已通并提直题党程展五果料象员革位入常文总次品式活设及管特件长求老头基资边流路级少"
    "图山统接知较将组见计别她手角期根论运农指几九区强放决西被干做必战先回则任取据处队南给色光"
    "门即保治北造百规热领七海口东导器压志世金增争济阶油思术极交受联什认六共权收证改清己美再采"
    "转更单风切打白教速花带安场身车例真务具万每目至达走积示议声报斗完类八离华名确才科张信马节"
    "话米整空元况今集温传土许步群广石记需段研界拉林律叫且究观越织装影算低持音众书布复容儿须际"
    "商非验连断深难近矿千周委素技备半办青省列习响约支般史感劳便团往酸历市克何除消构府称太准精"
    "值号率族维划选标写存候毛亲快效斯院查江型眼王按格养易置派层片始却专状育厂京识适属圆包火住"
    "调满县局照参红细引听该铁价严龙飞",
)


def _words(text: str) -> list[str]:
    return text.split()


ONSETS = _words("""
    b c d f g h j k l m n p r s t v w z br ch cl cr dr fl fr gl gr kn pl pr qu sc sh sk sl sm sn sp
    st str th tr tw wh
""")
VOWELS = _words("a e i o u a e i o u ai au ea ee ei ia ie io oa oo ou y")
CODAS = [
    "",
    "",
    "",
    *_words(
        "b d f g k l m n p r s t x ck ft ld ll lt mp nd ng nk nt rd rk rm rn rt sh sk ss st th"
    ),
]
COMMON = _words("""
    access account action active address admin agent alert alias amount anchor api app archive area
    array asset audio auth author auto backend backup badge balance bank bar base batch beta bind
    bit block blue board body book boot border bot box branch brand bridge browser bucket budget
    buffer bug build bus button byte cable cache call camera capacity card cart case cell center
    chain channel chart chat check child city class client clock cloud cluster code color column
    command commit company config connect console contact container content context control cookie
    copy core cost count country course cpu credit cron currency cursor custom daemon daily dark
    dashboard data database date day debug default delay delete delta demo deploy depth desk detail
    dev device dialog digest direct directory disk display distance docker document domain door
    double down download draft drive driver due duration east edge editor email enable encoding end
    endpoint energy engine entry env error event exit expiry export extension external failover
    farm feature feed field file filter final fire firewall first flag floor folder font footer
    force format forward frame frequency front full gain game garden gate gateway general global
    gold goal grade grant graph green grid group guard guest guide handler hard hash header heap
    heart heat height hidden hint history holder home hook horizon host hot hotel hour house icon id
    idle image import index info initial inner input install instance int interface internal
    interval invoice item job journal json jump keep kernel key kind label lake lamp language large
    last latency latitude layer layout lead lease left legacy length letter level library license
    life light limit line link list live load local locale location lock log login logo long loop
    machine mail main manager manual map margin mark master match max media meeting member memory
    menu message method metric middle min minute mirror mode model module monitor month motor mount
    mouse name nation net network next night node normal north note notice number object office
    offset old online open option orange order origin outer output owner pack package page panel
    parent park parser part partner pass password patch path pattern pause payment peer permission
    phone pilot pipe pixel place plan plant platform player plugin point policy poll pool port power
    prefix premium price print priority private process product profile program project prompt
    protocol proxy public pulse quality queue quick quiet quota radius random range rank rate ratio
    raw reader record red redirect region release remote repeat replica reply report request reserve
    reset resource response result retention retries return review right ring river road robot role
    room root rotation route router row rule run runtime safe sale sample sandbox scale scan
    schedule schema scope score screen script scroll search season seat second secret section seed
    segment sender sensor serial server service session setting shadow shape share shelf shell ship
    shop shutdown side signal silver site size sky slot small smart socket soft sound source south
    space speed spring stack staff stage standard star start state station status step stock stop
    storage store stream street strict string strong style subject suffix sum summer supplier
    support surface switch sync system table tag target task tax team temperature template tenant
    term test text theme thread threshold ticket tier time timeout timezone title token tool topic
    total touch tower town trace track trade traffic train transport tree trial trigger type unit
    update upload uptime url usage user vacuum value vendor verbose version video view village
    visitor voice volume wait wall warehouse watch water wave weight west wheel white wide width
    window winter wire word worker workers workspace year yellow yield zone zoom
""")
TLDS = ("com", "org", "net", "io", "de", "dev", "example", "eu", "local")
FOLDERS = ("srv", "var", "etc", "opt", "usr", "home", "data", "tmp", "mnt", "lib", "log", "share")
EXTENSIONS = ("txt", "log", "csv", "json", "db", "py", "md", "png", "pdf", "tar", "conf", "yaml")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def syllables(r: random.Random) -> str:
    """Return a word that could exist."""
    return "".join(
        r.choice(ONSETS) + r.choice(VOWELS) + r.choice(CODAS) for _ in range(r.choice((1, 2, 2, 3)))
    )


def letters(r: random.Random, shortest: int = 2, longest: int = 8) -> str:
    return "".join(r.choices(LETTERS, k=r.randint(shortest, longest)))


def code(r: random.Random, shortest: int = 3, longest: int = 10) -> str:
    """Return letters and digits, as in a token or an id."""
    return "".join(r.choices(ALPHANUMERIC, k=r.randint(shortest, longest)))


def word(r: random.Random) -> str:
    """Return a word: common, invented, or mere letters."""
    way = r.random()
    if way < 0.5:
        return r.choice(COMMON)
    if way < 0.6:
        return r.choice(SPELLED if r.random() < 0.6 else SETTINGS)
    if way < 0.65:
        return r.choice(THINGS)
    if way < 0.9:
        return syllables(r)
    return letters(r)


def wild_word(r: random.Random) -> str:
    """Return a word of any pieces of the vocabulary, in any case, or in other letters."""
    way = r.random()
    if way < 0.35:
        return r.choice(PIECES)
    if way < 0.7:
        return "".join(r.choice(PIECES) for _ in range(r.choice((2, 2, 3))))
    if way < 0.8:
        return r.choice(PIECES) + r.choice(ACCENTED) + r.choice(("", r.choice(PIECES).lower()))
    if way < 0.88:
        word = syllables(r)
        at = r.randrange(len(word))
        return word[:at] + r.choice(ACCENTED) + word[at + 1 :]
    if way < 0.93:
        return "".join(r.choices(r.choice(ALPHABETS), k=r.randint(1, 6)))
    text = r.choice(PIECES)
    return r.choice((text.upper(), text.capitalize(), text.lower()))


def any_word(r: random.Random) -> str:
    """Return a word, every third one wild."""
    return wild_word(r) if r.random() < 0.33 else word(r)


def name(r: random.Random) -> str:
    """Return a person's name."""
    way = r.random()
    if way < 0.3:
        return r.choice(NAMES)
    return syllables(r).capitalize() if way < 0.75 else wild_word(r).capitalize()


def number(r: random.Random) -> str:
    return str(r.randrange(10 ** r.randint(1, 5)))


def host(r: random.Random) -> str:
    way = r.random()
    if way < 0.25:
        return ".".join(str(r.randint(0, 255)) for _ in range(4))
    if way < 0.5:
        return f"{word(r)}{r.randint(1, 99)}"
    if way < 0.6:
        return "localhost"
    return f"{word(r)}.{word(r)}.{r.choice(TLDS)}" if way < 0.8 else f"{word(r)}.{r.choice(TLDS)}"


def path(r: random.Random) -> str:
    parts = [r.choice(FOLDERS), *(any_word(r) for _ in range(r.randint(1, 3)))]
    ending = f".{r.choice(EXTENSIONS)}" if r.random() < 0.4 else ""
    root = r.choice(["/", "/", "/", "./", "~/", ""])
    return root + "/".join(parts) + ending


def email(r: random.Random) -> str:
    user = r.choice([word(r), f"{name(r).lower()}.{word(r)}", name(r).lower()])
    return f"{user}@{word(r)}.{r.choice(TLDS)}"


def url(r: random.Random) -> str:
    end = r.choice(["", f"/{word(r)}", f":{r.randint(80, 9999)}", f"/{word(r)}/{word(r)}"])
    return f"http{r.choice(['', 's'])}://{host(r)}{end}"


def date(r: random.Random) -> str:
    year, month = r.randint(1990, 2035), r.randint(1, 12)
    day = r.randint(1, 28)
    if r.random() < 0.6:
        return f"{year}-{month:02}-{day:02}"
    return f"{day} {MONTHS[month - 1]}" + r.choice(["", f" {year}"])


def clock(r: random.Random) -> str:
    if r.random() < 0.5:
        return f"{r.randint(0, 23):02}:{r.randint(0, 59):02}"
    return f"{r.randint(1, 12)} {r.choice(['am', 'pm'])}"


def phrase(r: random.Random) -> str:
    """Return two to four words."""
    return " ".join(any_word(r) for _ in range(r.randint(2, 4)))


def switch(r: random.Random) -> str:
    return r.choice(["true", "false", "on", "off", "yes", "no", "True", "False", "enabled"])


def decimal(r: random.Random) -> str:
    return f"{r.randint(0, 99)}.{r.randint(0, 99)}"


def version(r: random.Random) -> str:
    return r.choice(["", "v"]) + ".".join(str(r.randint(0, 20)) for _ in range(3))


def size(r: random.Random) -> str:
    unit = r.choice(["MB", "GB", "KB", "ms", "s", "min", "%", "px", " MB", "k", "h", " days"])
    return f"{r.randint(1, 999)}{unit}"


def hyphenated(r: random.Random) -> str:
    return f"{any_word(r)}{r.choice('--_.')}{r.choice([any_word(r), str(r.randint(1, 99))])}"


def wild(r: random.Random) -> str:
    """Return signs, letters and digits without any order, as in a password."""
    signs = "!#$%&*+-./:;<=>?@^_|~"
    found = r.choices((ALPHANUMERIC + LETTERS.upper() + signs), k=r.randint(4, 12))
    return "".join(found)


def value(r: random.Random) -> str:
    """Return what may stand on the right of a setting."""
    return r.choice(VALUES)(r)


VALUES = (
    number,
    number,
    number,
    word,
    word,
    word,
    code,
    code,
    switch,
    switch,
    host,
    host,
    path,
    path,
    email,
    url,
    date,
    clock,
    phrase,
    decimal,
    version,
    size,
    hyphenated,
    hyphenated,
    name,
    letters,
    wild_word,
    wild_word,
    wild_word,
    wild,
)


def mistyped(r: random.Random, text: str) -> str:
    """Return ``text`` with one slip of the keyboard, which always changes it."""
    while True:
        at = r.randrange(len(text) - 1)
        way = r.random()
        if way < 0.35:
            other = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        elif way < 0.6:
            other = text[:at] + text[at + 1 :]
        elif way < 0.8:
            other = text[:at] + text[at] + text[at:]
        else:
            other = text[:at] + r.choice(LETTERS) + text[at + 1 :]
        if other.lower() != text.lower():
            return other
