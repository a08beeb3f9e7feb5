"""Values of every kind that files hold, drawn so that few are ever seen twice."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from make_nano import lexicon
from make_nano.fact_tables import CAPITALS
from make_nano.words import word_list

Draw = Callable[[random.Random], str]
COUNTRIES = tuple(each.removeprefix("the ") for each in CAPITALS)
COLORS = word_list("""
    red blue green black white grey gray yellow purple orange pink brown silver gold navy teal
    beige crimson turquoise ivory olive maroon violet
""")
LEVELS = ("debug", "info", "warn", "warning", "error", "high", "low", "medium", "critical", "INFO")
STATUSES = (
    "open",
    "closed",
    "done",
    "paid",
    "unpaid",
    "late",
    "new",
    "pending",
    "running",
    "stopped",
    "ready",
    "draft",
    "shipped",
    "failed",
    "ok",
    "in progress",
    "on hold",
    "cancelled",
    "active",
)
LICENSES = ("MIT", "GPL-3.0", "Apache-2.0", "BSD-3-Clause", "MPL-2.0", "ISC", "proprietary")
LANGUAGES = word_list("""
    English German French Spanish Italian Polish Dutch Swedish Turkish Hindi Arabic Korean
    Japanese Chinese Czech Danish Finnish Greek Português Español Deutsch Français en de fr es
    pt-BR en_US Python Rust Go C++ Java Kotlin Ruby JavaScript TypeScript Haskell Lua Perl Swift
""")
ENCODINGS = ("utf-8", "UTF-8", "latin-1", "ascii", "utf-16", "iso-8859-1", "cp1252")
PROTOCOLS = ("tcp", "udp", "http", "https", "ssh", "ftp", "smtp", "mqtt", "amqp", "grpc", "ws")
CURRENCIES = ("EUR", "USD", "GBP", "CHF", "JPY", "SEK", "INR", "euros", "dollars", "kr")
SIGNS = ("€", "$", "£")
ANIMALS = word_list("""
    cat dog horse parrot hamster rabbit turtle goldfish canary snake lizard goat sheep pony duck
""")
FOODS = word_list("""
    peanuts milk eggs wheat nuts fish soy penicillin pollen dust gluten shellfish apples pasta
    soup pizza curry rice salad bread cheese beans mushrooms lemonade juice cocoa cider
""")
ZONES = ("UTC", "CET", "GMT", "EST", "PST")
CITIES = word_list("""
    Lisbon Oslo Lagos Lima Kyoto Porto Graz Basel Ghent Turin Osaka Accra Quito Cork Bergen
    Leeds Malaga Leipzig Kraków Zürich Göteborg Tromsø Århus Łódź Genève Düsseldorf Córdoba
    Bogotá
""")
JOBS = word_list("""
    carpenter nurse pilot baker plumber teacher lawyer dentist farmer chef painter tailor
    librarian engineer gardener electrician waiter judge actor surgeon clerk driver
""")
COMPANY_ENDS = ("Ltd", "Inc", "GmbH", "AG", "Corp", "& Sons", "Brothers", "Group", "Labs", "S.A.")
STREETS = ("Street", "Road", "Lane", "Avenue", "Square", "Hill", "Way")
PLACES = (
    "behind the {}",
    "under the {}",
    "next to the {}",
    "in the {}",
    "on the {} floor",
    "opposite the {}",
    "near the {}",
    "to the left of the {}",
    "at the end of the {}",
)
SYSTEMS = ("Linux", "Windows 11", "macOS 14", "Ubuntu 24.04", "Debian 12", "Fedora", "FreeBSD")


def place_name(r: random.Random) -> str:
    way = r.random()
    if way < 0.3:
        return r.choice(CITIES)
    if way < 0.5:
        return r.choice(list(CAPITALS.values()))
    return lexicon.syllables(r).capitalize()


def person(r: random.Random) -> str:
    way = r.random()
    if way < 0.45:
        return f"{lexicon.name(r)} {lexicon.name(r)}"
    if way < 0.85:
        return lexicon.name(r)
    title = r.choice(["Dr.", "Mr.", "Mrs.", "Ms.", "Prof.", "Dr", "Captain", "Sister"])
    return f"{title} {lexicon.name(r)}"


def _number(low: int, high: int) -> Draw:
    return lambda r: str(r.randint(low, high))


def _unit(low: int, high: int, *units: str) -> Draw:
    """Return what draws a number with a unit, now and then without one."""

    def draw(r: random.Random) -> str:
        number = str(r.randint(low, high))
        if r.random() < 0.2:
            number += f".{r.randint(1, 9)}"
        unit = r.choice(units)
        space = " " if len(unit) > 2 else r.choice(["", " "])
        return number if r.random() < 0.25 else f"{number}{space}{unit}"

    return draw


def _money(r: random.Random) -> str:
    amount = f"{r.randint(0, 9999) // 10 ** r.randint(0, 3)}"
    if r.random() < 0.6:
        amount += f".{r.randint(0, 99):02}"
    way = r.random()
    if way < 0.4:
        return amount
    return f"{r.choice(SIGNS)}{amount}" if way < 0.55 else f"{amount} {r.choice(CURRENCIES)}"


def _color(r: random.Random) -> str:
    way = r.random()
    if way < 0.4:
        return "#" + "".join(r.choices("0123456789abcdef", k=r.choice([3, 6, 6])))
    if way < 0.5:
        return "#" + "".join(r.choices("0123456789ABCDEF", k=6))
    return r.choice(COLORS) if way < 0.9 else f"{r.choice(['dark', 'light'])} {r.choice(COLORS)}"


def _phone(r: random.Random) -> str:
    def digits(count: int) -> str:
        return "".join(r.choices("0123456789", k=count))

    return r.choice(
        [
            f"555-{digits(4)}",
            f"+{r.randint(1, 99)} {digits(3)} {digits(6)}",
            f"0{digits(3)}/{digits(6)}",
            f"({digits(3)}) {digits(3)}-{digits(4)}",
            f"0{digits(9)}",
            digits(r.randint(4, 9)),
        ]
    )


def _identifier(r: random.Random) -> str:
    way = r.random()
    if way < 0.3:
        return lexicon.code(r)
    if way < 0.5:
        return "".join(r.choices("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789", k=r.randint(4, 8)))
    if way < 0.7:
        return str(r.randrange(10 ** r.randint(2, 6)))
    letters = "".join(r.choices("ABCDEFGHKLMNPRSTUVWXabcdefgh", k=r.randint(1, 3)))
    return f"{letters}{r.choice('---_/')}{r.randint(1, 9999):0{r.randint(1, 4)}}"


def _title(r: random.Random) -> str:
    words = [lexicon.any_word(r) for _ in range(r.choice([1, 2, 2, 3]))]
    return " ".join(word[0].upper() + word[1:] for word in words)


def _words(r: random.Random) -> str:
    drawn = [lexicon.any_word(r) for _ in range(r.randint(2, 4))]
    text = r.choice([", ", ", ", ",", " and "]).join(drawn)
    return f"[{', '.join(drawn)}]" if r.random() < 0.12 else text


def _schedule(r: random.Random) -> str:
    way = r.random()
    if way < 0.4:
        return f"{r.randint(0, 59)} {r.randint(0, 23)} * * {r.choice(['*', '1', '0', '1-5'])}"
    day = r.choice([*lexicon.WEEKDAYS, "day", "night", "week", "hour"])
    return f"every {day}" if way < 0.7 else f"{day} {lexicon.clock(r)}"


def _where(r: random.Random) -> str:
    return r.choice(PLACES).format(lexicon.any_word(r))


def _image(r: random.Random) -> str:
    tag = r.choice([lexicon.version(r), f"{r.randint(1, 30)}", "latest", f"{r.randint(1, 30)}.04"])
    registry = r.choice(["", "", "", f"{lexicon.word(r)}.io/", f"{lexicon.word(r)}/"])
    return f"{registry}{lexicon.word(r)}{r.choice(':::-')}{tag}"


def _address(r: random.Random) -> str:
    ip = ".".join(str(r.randint(0, 255)) for _ in range(4))
    if r.random() < 0.15:
        ip = r.choice(["0.0.0.0", "127.0.0.1", "localhost", "::1"])
    return r.choice([ip, ip, f"{ip}:{r.randint(80, 9999)}", f"{ip}/{r.choice([8, 16, 24])}"])


def _date(r: random.Random) -> str:
    way = r.random()
    if way < 0.5:
        return lexicon.date(r)
    day, month = r.randint(1, 28), r.randint(1, 12)
    year = r.randint(1950, 2035)
    name = lexicon.MONTHS[month - 1]
    weekday = r.choice(lexicon.WEEKDAYS)
    return r.choice(
        [
            str(year),
            f"{day:02}.{month:02}.{year}",
            f"{month}/{day}/{year}",
            f"{name} {day}, {year}",
            f"{name[:3]} {day}",
            f"{name} {year}",
            weekday,
            f"{weekday} at {lexicon.clock(r)}",
            f"{weekday}, {day} {name}",
            f"next {weekday}",
        ]
    )


def _clock(r: random.Random) -> str:
    way = r.random()
    if way < 0.6:
        return lexicon.clock(r)
    hour, minute = r.randint(1, 12), r.randint(0, 59)
    end = r.choice(["am", "pm", " am", " pm", "", "h", " o'clock"])
    if way < 0.75:
        return f"{r.randint(1, 11)}-{hour}{end}"
    if end in ("h", " o'clock"):
        return f"{hour}{end}"
    return f"{hour}:{minute:02}{end}"


def _place(r: random.Random) -> str:
    """Return a gate, a seat, a room."""
    letter = r.choice("ABCDEFGHK")
    return r.choice(
        [
            f"{letter}{r.randint(1, 99)}",
            f"{r.randint(1, 99)}",
            f"{r.randint(1, 40)}{letter}",
            f"{letter}{r.randint(0, 9)}.{r.randint(10, 99)}",
            f"room {r.randint(1, 400)}",
        ]
    )


def _command(r: random.Random) -> str:
    program = r.choice([lexicon.word(r), lexicon.path(r), f"./{lexicon.word(r)}.sh", "python -m"])
    options = [f"--{lexicon.word(r)}", f"-{r.choice('abcdfv')}", lexicon.word(r), lexicon.path(r)]
    return " ".join([program, *r.sample(options, r.randint(1, 3))])


def _rate(r: random.Random) -> str:
    return r.choice([f"0.{r.randint(1, 999):04}", f"{r.randint(1, 9)}e-{r.randint(2, 6)}"])


def _flight(r: random.Random) -> str:
    letters = "".join(r.choices("ABCDEIKLMSTU", k=2))
    return f"{letters}{r.choice(['', ' '])}{r.randint(1, 9999)}"


def _isbn(r: random.Random) -> str:
    parts = (r.randint(0, 9), r.randint(1000, 9999), r.randint(1000, 9999), r.randint(0, 9))
    return "-".join(["978", *map(str, parts)])


def _one_of(choices: Sequence[str]) -> Draw:
    return lambda r: r.choice(choices)


KINDS: dict[str, Draw] = {
    "port": _number(20, 65535),
    "host": lexicon.host,
    "address": _address,
    "login": lambda r: r.choice([lexicon.any_word, lexicon.name, lexicon.hyphenated])(r),
    "code": _identifier,
    "word": lambda r: r.choice([lexicon.any_word, lexicon.any_word, lexicon.hyphenated])(r),
    "duration": _unit(1, 900, "s", "ms", "min", "minutes", "seconds", "hours", "days", "h", "m"),
    "small": _number(1, 64),
    "number": lexicon.number,
    "size": _unit(1, 999, "MB", "GB", "KB", "m", "mb", "GiB", "TB", "k", "M", "G"),
    "level": _one_of(LEVELS),
    "path": lexicon.path,
    "url": lexicon.url,
    "version": lambda r: lexicon.version(r) + r.choice(["", "", "", "-beta", "-rc1", ".0", "+1"]),
    "license": _one_of(LICENSES),
    "person": person,
    "email": lexicon.email,
    "phrase": lexicon.phrase,
    "title": _title,
    "language": _one_of(LANGUAGES),
    "country": _one_of(COUNTRIES),
    "city": place_name,
    "region": lambda r: r.choice([lexicon.hyphenated(r), f"{lexicon.word(r)}-{r.randint(1, 9)}"]),
    "street": lambda r: f"{r.randint(1, 200)} {_title(r)} {r.choice(STREETS)}",
    "phone": _phone,
    "age": _number(1, 99),
    "date": _date,
    "weight": _unit(1, 500, "kg", "g", "t", "pounds", "lb"),
    "height": _unit(1, 300, "cm", "m", "feet"),
    "lengths": _unit(1, 5000, "m", "km", "cm", "mm", "meters", "miles"),
    "distance": _unit(1, 900, "km", "m", "miles"),
    "speed": _unit(1, 900, "km/h", "mph", "m/s", "Mbit/s", "knots", "rpm"),
    "temperature": _unit(-20, 260, "°C", "C", "degrees", "°F", "°"),
    "percent": lambda r: f"{r.randint(0, 100)}" + r.choice(["%", "%", " %", "", " percent"]),
    "color": _color,
    "pixels": _unit(1, 64, "px", "pt", "em", "rem"),
    "money": _money,
    "currency": _one_of(CURRENCIES),
    "company": lambda r: f"{_title(r)} {r.choice(COMPANY_ENDS)}",
    "job": lambda r: r.choice(JOBS) if r.random() < 0.6 else lexicon.any_word(r),
    "words": _words,
    "animal": lambda r: r.choice(ANIMALS) if r.random() < 0.6 else lexicon.any_word(r),
    "food": lambda r: r.choice(FOODS) if r.random() < 0.6 else lexicon.phrase(r),
    "blood": lambda r: r.choice(["A", "B", "AB", "0"]) + r.choice("+-"),
    "dose": _unit(1, 500, "mg", "ml", "drops", "tablets"),
    "amount": _unit(1, 900, "g", "kg", "ml", "l", "cups", "spoons", "pieces"),
    "status": _one_of(STATUSES),
    "switch": lexicon.switch,
    "encoding": _one_of(ENCODINGS),
    "extension": lambda r: r.choice(lexicon.EXTENSIONS),
    "protocol": _one_of(PROTOCOLS),
    "mac": lambda r: ":".join("".join(r.choices("0123456789abcdef", k=2)) for _ in range(6)),
    "domain": lambda r: f"{lexicon.word(r)}.{r.choice(lexicon.TLDS)}",
    "image": _image,
    "schedule": _schedule,
    "rate": _rate,
    "fraction": lambda r: f"0.{r.randint(1, 99)}",
    "score": lambda r: r.choice([lexicon.decimal(r), str(r.randint(0, 100)), r.choice("ABCDF")]),
    "clock": _clock,
    "flight": _flight,
    "gate": _place,
    "isbn": _isbn,
    "coordinate": lambda r: f"{r.choice(['', '-'])}{r.randint(0, 179)}.{r.randint(0, 9999)}",
    "resolution": lambda r: f"{r.randint(3, 40) * 100}x{r.randint(2, 30) * 100}",
    "timezone": lambda r: r.choice([r.choice(ZONES), f"Europe/{place_name(r)}"]),
    "system": _one_of(SYSTEMS),
    "place": lambda r: r.choice([_where(r), place_name(r), lexicon.phrase(r)]),
    "where": _where,
    "year": _number(1900, 2040),
    "command": _command,
    "any": lexicon.value,
}  # fmt: skip


def value(r: random.Random, kind: str) -> str:
    """Return a value of a kind; now and then of another, since files hold surprises."""
    return KINDS[kind](r) if r.random() < 0.93 else lexicon.value(r)
