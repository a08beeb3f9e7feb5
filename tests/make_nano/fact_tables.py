"""What nano knows by heart, as tables. Data only."""

from __future__ import annotations

from make_nano.lexicon import MONTHS, WEEKDAYS


def _pairs(text: str) -> dict[str, str]:
    pairs = (" ".join(pair.split()).partition(": ") for pair in text.split(";"))
    return {first: second for first, _, second in pairs}


CAPITALS = _pairs("""
    France: Paris; Germany: Berlin; Italy: Rome; Spain: Madrid; Portugal: Lisbon; Japan: Tokyo;
    China: Beijing; India: New Delhi; Canada: Ottawa; Brazil: Brasilia; Egypt: Cairo; Kenya:
    Nairobi; Norway: Oslo; Sweden: Stockholm; Finland: Helsinki; Denmark: Copenhagen; Poland:
    Warsaw; Austria: Vienna; Greece: Athens; Turkey: Ankara; Russia: Moscow; Ukraine: Kyiv; Mexico:
    Mexico City; Cuba: Havana; Peru: Lima; Chile: Santiago; Argentina: Buenos Aires; Australia:
    Canberra; New Zealand: Wellington; South Korea: Seoul; Thailand: Bangkok; Vietnam: Hanoi;
    Indonesia: Jakarta; Iran: Tehran; Iraq: Baghdad; Ireland: Dublin; Iceland: Reykjavik; Belgium:
    Brussels; the Netherlands: Amsterdam; Switzerland: Bern; Hungary: Budapest; Romania: Bucharest;
    Bulgaria: Sofia; Serbia: Belgrade; Croatia: Zagreb; Morocco: Rabat; Nigeria: Abuja; Ghana:
    Accra; Ethiopia: Addis Ababa; the United States: Washington, D.C.; the United Kingdom: London;
    the USA: Washington, D.C.; the US: Washington, D.C.; the UK: London; England: London; Scotland:
    Edinburgh; Wales: Cardiff;
    Pakistan: Islamabad; Nepal: Kathmandu; Mongolia: Ulaanbaatar; Colombia: Bogota; Ecuador: Quito;
    Uruguay: Montevideo; Saudi Arabia: Riyadh; Jordan: Amman; Lebanon: Beirut; Tunisia: Tunis;
    Algeria: Algiers; Senegal: Dakar; Uganda: Kampala; Estonia: Tallinn; Latvia: Riga; Lithuania:
    Vilnius; Slovakia: Bratislava; Slovenia: Ljubljana; the Czech Republic: Prague; Albania: Tirana;
    Malta: Valletta; Cyprus: Nicosia; Georgia: Tbilisi; Armenia: Yerevan; Qatar: Doha; Singapore:
    Singapore; Malaysia: Kuala Lumpur; the Philippines: Manila; Cambodia: Phnom Penh; Laos:
    Vientiane; Bangladesh: Dhaka; Jamaica: Kingston; Panama: Panama City; Venezuela: Caracas;
    Paraguay: Asuncion; Afghanistan: Kabul; Andorra: Andorra la Vella; Angola: Luanda; Antigua and
    Barbuda: Saint John's; Azerbaijan: Baku; the Bahamas: Nassau; Bahrain: Manama; Barbados:
    Bridgetown; Belarus: Minsk; Belize: Belmopan; Benin: Porto-Novo; Bhutan: Thimphu; Bolivia:
    Sucre; Bosnia and Herzegovina: Sarajevo; Botswana: Gaborone; Brunei: Bandar Seri Begawan;
    Burkina Faso: Ouagadougou; Burundi: Gitega; Cameroon: Yaounde; Cape Verde: Praia; the Central
    African Republic: Bangui; Chad: N'Djamena; the Comoros: Moroni; the Republic of the Congo:
    Brazzaville; the Democratic Republic of the Congo: Kinshasa; Costa Rica: San Jose; Ivory Coast:
    Yamoussoukro; Djibouti: Djibouti; Dominica: Roseau; the Dominican Republic: Santo Domingo; East
    Timor: Dili; El Salvador: San Salvador; Equatorial Guinea: Malabo; Eritrea: Asmara; Eswatini:
    Mbabane; Fiji: Suva; Gabon: Libreville; the Gambia: Banjul; Grenada: Saint George's; Guatemala:
    Guatemala City; Guinea: Conakry; Guinea-Bissau: Bissau; Guyana: Georgetown; Haiti:
    Port-au-Prince; Honduras: Tegucigalpa; Israel: Jerusalem; Kazakhstan: Astana; Kiribati: South
    Tarawa; Kosovo: Pristina; Kuwait: Kuwait City; Kyrgyzstan: Bishkek; Lesotho: Maseru; Liberia:
    Monrovia; Libya: Tripoli; Liechtenstein: Vaduz; Luxembourg: Luxembourg; Madagascar:
    Antananarivo; Malawi: Lilongwe; the Maldives: Male; Mali: Bamako; the Marshall Islands: Majuro;
    Mauritania: Nouakchott; Mauritius: Port Louis; Micronesia: Palikir; Moldova: Chisinau; Monaco:
    Monaco; Montenegro: Podgorica; Mozambique: Maputo; Myanmar: Naypyidaw; Namibia: Windhoek; Nauru:
    Yaren; Nicaragua: Managua; Niger: Niamey; North Korea: Pyongyang; North Macedonia: Skopje; Oman:
    Muscat; Palau: Ngerulmud; Papua New Guinea: Port Moresby; Rwanda: Kigali; Saint Kitts and Nevis:
    Basseterre; Saint Lucia: Castries; Saint Vincent and the Grenadines: Kingstown; Samoa: Apia;
    San Marino: San Marino; Sao Tome and Principe: Sao Tome; the Seychelles: Victoria; Sierra Leone:
    Freetown; the Solomon Islands: Honiara; Somalia: Mogadishu; South Africa: Pretoria; South Sudan:
    Juba; Sri Lanka: Sri Jayawardenepura Kotte; Sudan: Khartoum; Suriname: Paramaribo; Syria:
    Damascus; Taiwan: Taipei; Tajikistan: Dushanbe; Tanzania: Dodoma; Togo: Lome; Tonga:
    Nuku'alofa; Trinidad and Tobago: Port of Spain; Turkmenistan: Ashgabat; Tuvalu: Funafuti; the
    United Arab Emirates: Abu Dhabi; Uzbekistan: Tashkent; Vanuatu: Port Vila; Yemen: Sana'a;
    Zambia: Lusaka; Zimbabwe: Harare
""")
# by atomic number, from hydrogen on
ELEMENTS = tuple(
    _pairs("""
    H: hydrogen; He: helium; Li: lithium; Be: beryllium; B: boron; C: carbon; N: nitrogen; O:
    oxygen; F: fluorine; Ne: neon; Na: sodium; Mg: magnesium; Al: aluminium; Si: silicon; P:
    phosphorus; S: sulfur; Cl: chlorine; Ar: argon; K: potassium; Ca: calcium; Sc: scandium; Ti:
    titanium; V: vanadium; Cr: chromium; Mn: manganese; Fe: iron; Co: cobalt; Ni: nickel; Cu:
    copper; Zn: zinc; Ga: gallium; Ge: germanium; As: arsenic; Se: selenium; Br: bromine; Kr:
    krypton; Rb: rubidium; Sr: strontium; Y: yttrium; Zr: zirconium; Nb: niobium; Mo: molybdenum;
    Tc: technetium; Ru: ruthenium; Rh: rhodium; Pd: palladium; Ag: silver; Cd: cadmium; In: indium;
    Sn: tin; Sb: antimony; Te: tellurium; I: iodine; Xe: xenon; Cs: caesium; Ba: barium; La:
    lanthanum; Ce: cerium; Pr: praseodymium; Nd: neodymium; Pm: promethium; Sm: samarium; Eu:
    europium; Gd: gadolinium; Tb: terbium; Dy: dysprosium; Ho: holmium; Er: erbium; Tm: thulium; Yb:
    ytterbium; Lu: lutetium; Hf: hafnium; Ta: tantalum; W: tungsten; Re: rhenium; Os: osmium; Ir:
    iridium; Pt: platinum; Au: gold; Hg: mercury; Tl: thallium; Pb: lead; Bi: bismuth; Po: polonium;
    At: astatine; Rn: radon; Fr: francium; Ra: radium; Ac: actinium; Th: thorium; Pa: protactinium;
    U: uranium; Np: neptunium; Pu: plutonium
""").items()
)
PLANETS = ("Mercury", "Venus", "Earth", "Mars", "Jupiter", "Saturn", "Uranus", "Neptune")
# questions without an end and the answer to all of them
PLAIN: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        (
            "what is the largest planet",
            "which planet is the largest",
            "biggest planet",
            "which is the biggest planet",
            "largest planet",
        ),
        "The largest planet is Jupiter.",
    ),
    (
        ("what is the smallest planet", "which planet is the smallest", "smallest planet"),
        "The smallest planet is Mercury.",
    ),
    (
        (
            "how many planets are there",
            "how many planets does the solar system have",
            "number of planets",
        ),
        "There are 8 planets: Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus and Neptune.",
    ),
    (("which planet is the red planet", "what is the red planet"), "The red planet is Mars."),
    (
        ("which planet has rings", "what planet is known for its rings"),
        "The planet with the large rings is Saturn.",
    ),
    (
        (
            "which planet is closest to the sun",
            "what planet is nearest to the sun",
            "closest planet to the sun",
        ),
        "The planet closest to the sun is Mercury.",
    ),
    (
        ("what is the largest ocean", "which ocean is the largest", "biggest ocean"),
        "The largest ocean is the Pacific Ocean.",
    ),
    (
        (
            "what is the highest mountain",
            "what is the tallest mountain",
            "which mountain is the highest",
            "highest mountain in the world",
        ),
        "The highest mountain is Mount Everest.",
    ),
    (("how many continents are there", "number of continents"), "There are 7 continents."),
    (
        ("how many days are in a week", "how many days does a week have", "days in a week"),
        "A week has 7 days.",
    ),
    (
        ("how many months are in a year", "how many months does a year have", "months in a year"),
        "A year has 12 months.",
    ),
    (
        ("how many days are in a year", "how many days does a year have", "days in a year"),
        "A year has 365 days, and a leap year 366.",
    ),
    (
        ("how many hours are in a day", "how many hours does a day have", "hours in a day"),
        "A day has 24 hours.",
    ),
    (
        ("how many minutes are in an hour", "how many minutes does an hour have"),
        "An hour has 60 minutes.",
    ),
    (
        ("how many letters are in the alphabet", "how many letters does the alphabet have"),
        "The English alphabet has 26 letters.",
    ),
    (
        (
            "what is the chemical formula of water",
            "formula of water",
            "what is H2O",
            "what is the formula for water",
        ),
        "Water is H2O.",
    ),
    (
        ("what is the formula of table salt", "what is NaCl", "what is the formula of salt"),
        "Table salt is NaCl, sodium chloride.",
    ),
    (("what is pi", "value of pi", "what is the value of pi"), "Pi is about 3.14159."),
    (("what is CO2", "what is the formula of carbon dioxide"), "CO2 is carbon dioxide."),
    (
        ("at what temperature does water boil", "when does water boil", "boiling point of water"),
        "Water boils at 100 degrees Celsius.",
    ),
    (
        (
            "at what temperature does water freeze",
            "when does water freeze",
            "freezing point of water",
        ),
        "Water freezes at 0 degrees Celsius.",
    ),
    (
        ("how many bits are in a byte", "how many bits does a byte have", "bits in a byte"),
        "A byte has 8 bits.",
    ),
    (("how many legs does a spider have", "legs of a spider"), "A spider has 8 legs."),
    (("how many sides does a triangle have", "sides of a triangle"), "A triangle has 3 sides."),
    (("how many sides does a hexagon have", "sides of a hexagon"), "A hexagon has 6 sides."),
    (("how many sides does a square have", "sides of a square"), "A square has 4 sides."),
    (
        ("how many grams are in a kilogram", "how many grams is a kilogram"),
        "A kilogram has 1000 grams.",
    ),
    (
        ("what is the first month of the year", "which month is the first", "first month"),
        "The first month is January.",
    ),
    (
        ("what is the last month of the year", "which month is the last", "last month of the year"),
        "The last month of the year is December.",
    ),
    (("what color is the sky", "what colour is the sky"), "The sky is blue."),
    (
        ("what color do you get from blue and yellow", "what do blue and yellow make"),
        "Blue and yellow make green.",
    ),
)
# How dslocal is used. "=…" is a whole question, the rest completes "how do I …".
COMMANDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        (
            "=what runs here",
            "=which models run here",
            "=which model fits my machine",
            "=what can I run",
            "see what runs here",
            "find a model that fits",
            "=which model should I use",
            "=which models can my computer run",
            "choose a model",
            "=will R1 run on my laptop",
            "=does deepseek-r1 fit in 16 GB",
            "=how much memory do I need",
            "=can my machine run deepseek v3",
            "know which model runs on my computer",
            "check whether a model fits",
            "=what fits",
            "find out what my machine can run",
        ),
        "`dslocal fit` says which models run here, in how much memory and how fast;"
        " `dslocal fit NAME` plans one of them.",
    ),
    (
        (
            "get a better model",
            "get a real model",
            "=how do I get a better model",
            "=where do I get a better model",
            "download a model",
            "install a model",
            "pull a model",
            "get a larger model",
            "get DeepSeek-R1",
            "download deepseek-r1",
            "get a smarter model",
            "install deepseek",
            "fetch a model",
            "use a real DeepSeek model",
            "get deepseek v3",
            "get a model that is smarter than you",
            "upgrade",
            "get a bigger model",
            "=is there a better model",
            "=is there a smarter version of you",
            "=can I use a real model",
            "=you are not very good, what else is there",
            "=which command downloads a model",
            "replace you",
            "get something better",
        ),
        "`dslocal fit` says which DeepSeek models run on this machine; `dslocal pull NAME`"
        " downloads one, and `dslocal chat NAME` talks with it.",
    ),
    (
        (
            "convert a model",
            "convert a checkpoint",
            "convert safetensors to GGUF",
            "make a GGUF",
            "make a gguf file",
            "convert weights",
            "quantize a model",
            "convert to Q4_K_M",
            "quantise a model",
            "turn safetensors into gguf",
            "=convert",
            "convert my own model",
            "create a quantized file",
            "make a model smaller",
        ),
        "`dslocal convert FOLDER -o model.gguf --quant Q4_K_M` converts a checkpoint and quantizes "
        "it in one pass.",
    ),
    (
        (
            "start a server",
            "start the server",
            "serve a model",
            "run a server",
            "use it from the openai client",
            "get an API",
            "use an HTTP API",
            "=is there a server",
            "=is there an API",
            "connect Open WebUI",
            "serve an API",
            "use it over HTTP",
            "call it from another program",
        ),
        "`dslocal serve MODEL` serves it at http://127.0.0.1:11435/v1, as OpenAI's API does.",
    ),
    (
        (
            "attach a file",
            "ask about a file",
            "ask a question about a file",
            "send a file",
            "give you a file",
            "upload a file",
            "use a file",
            "=can I attach a file",
            "=can you read a file",
            "ask about my file",
            "=can you read my file",
            "add a file",
            "show you a document",
        ),
        '`dslocal ask -f FILE "question"` attaches a file; in a conversation it is `/file FILE`.',
    ),
    (
        (
            "ask one question",
            "ask a question from a script",
            "use it in a script",
            "use it in a pipe",
            "ask a single question",
            "use dslocal in a shell script",
        ),
        '`dslocal ask "question"` answers one question; `dslocal help scripts` says how it works '
        "in scripts.",
    ),
    (
        (
            "start a chat",
            "start a conversation",
            "chat",
            "talk to a model",
            "open a chat",
            "chat with a model",
            "use another model in the chat",
        ),
        "`dslocal chat MODEL` starts a conversation; `/help` lists what can be typed there.",
    ),
    (
        (
            "resume a conversation",
            "continue the last chat",
            "get my last conversation back",
            "go back to an old chat",
            "continue an old conversation",
            "find an old conversation",
            "list my chats",
            "=where are my conversations",
            "=are my chats saved",
            "see old chats",
            "list my conversations",
        ),
        "`dslocal sessions` lists the conversations; `dslocal chat --resume` continues the last"
        " one.",
    ),
    (
        (
            "list the models",
            "see which models I have",
            "list installed models",
            "see my models",
            "=which models are here",
            "=which models are installed",
            "=which models do I have",
            "list local models",
            "show installed models",
        ),
        "`dslocal models` lists the models on this machine.",
    ),
    (
        (
            "remove a model",
            "delete a model",
            "free disk space",
            "uninstall a model",
            "get rid of a model",
            "clean up old models",
            "delete downloaded models",
        ),
        "`dslocal rm NAME` deletes what dslocal downloaded or converted; `dslocal models` shows "
        "the names.",
    ),
    (
        (
            "measure the speed",
            "benchmark a model",
            "see how fast it is",
            "measure how fast a model is",
            "=how fast are you",
            "run a benchmark",
            "test the speed",
            "measure tokens per second",
        ),
        "`dslocal bench MODEL` measures how fast a model loads, reads prompts and answers.",
    ),
    (
        (
            "evaluate a model",
            "measure how good a model is",
            "measure the accuracy",
            "run an evaluation",
            "test a model on my questions",
            "score a model",
        ),
        "`dslocal eval problems.jsonl -m MODEL` measures a model on questions with known answers.",
    ),
    (
        (
            "check my installation",
            "find out what is wrong",
            "repair dslocal",
            "debug a problem",
            "=something is broken",
            "=it does not work",
            "=why does it not work",
            "fix my installation",
            "diagnose a problem",
        ),
        "`dslocal doctor` says what is wrong with this installation, and what mends it.",
    ),
    (
        (
            "use a model from Ollama",
            "import a GGUF file",
            "use my Ollama models",
            "use a model from LM Studio",
            "import a model",
            "use an existing gguf file",
            "add my own gguf",
            "use models that I have already",
        ),
        "`dslocal import NAME` uses a GGUF file, an Ollama or an LM Studio model where it is.",
    ),
    (
        (
            "fill a gap in code",
            "complete code",
            "fill in the middle",
            "use fim",
            "complete a function",
            "fill in a missing line",
            "use code completion",
        ),
        "`dslocal fim FILE:LINE` prints what belongs into the gap at that line.",
    ),
    (
        (
            "see what a model is",
            "show a model's header",
            "inspect a gguf",
            "look into a GGUF file",
            "show the details of a model",
            "see the metadata of a model",
        ),
        "`dslocal show MODEL` shows its header, family and sizes.",
    ),
    (
        (
            "turn on tab completion",
            "get shell completion",
            "complete commands with tab",
            "enable completion in bash",
        ),
        "`dslocal completion` prints what makes Tab complete commands, options and names.",
    ),
    (
        (
            "=what commands are there",
            "get help",
            "=which commands are there",
            "see all commands",
            "=where is the documentation",
            "=what can dslocal do",
            "learn more about dslocal",
            "list the commands",
            "read the manual",
            "=dslocal help",
            "=what commands does dslocal have",
            "use dslocal",
            "see the options of a command",
            "=what is dslocal",
            "=explain dslocal",
        ),
        "dslocal runs DeepSeek models on this machine. `dslocal --help` lists its commands; "
        "`dslocal help` lists topics.",
    ),
    (
        (
            "exit",
            "leave the chat",
            "quit",
            "=how do I get out of here",
            "stop the chat",
            "close this chat",
            "end the conversation",
            "get out",
            "leave",
        ),
        "`/exit` leaves the conversation; so does Ctrl-D.",
    ),
    (
        (
            "turn off thinking",
            "switch off reasoning",
            "hide the reasoning",
            "see your reasoning",
            "show the thinking",
            "make it think less",
            "make you answer without thinking",
        ),
        "`/think` in a conversation says how reasoning is shown and switched; `dslocal help"
        " thinking` explains it.",
    ),
    (
        (
            "change the temperature",
            "set the temperature",
            "change a setting",
            "see the settings",
            "change the context size",
            "set top-p",
            "use a larger context",
            "change the settings",
        ),
        "`/set` in a conversation shows and changes settings; `dslocal help settings` has the "
        "flags and config.toml.",
    ),
    (
        (
            "=does my data leave this machine",
            "=is this private",
            "=do you send my data anywhere",
            "=are you online",
            "=do you need the internet",
            "=is anything uploaded",
            "=is my data safe",
        ),
        "Nothing leaves this machine. `dslocal help privacy` says what is downloaded and when.",
    ),
    (
        (
            "use it from Python",
            "use dslocal in Python",
            "call it from python",
            "use the Python API",
            "import dslocal in python",
            "=is there a python api",
        ),
        '`import dslocal`, then `dslocal.load("nano").ask("What is 2 + 3?").text`.',
    ),
    (
        (
            "undo a question",
            "retry an answer",
            "try again",
            "undo the last question",
            "edit my last question",
            "get another answer",
        ),
        "`/retry` answers again, `/undo` takes the last question back, `/edit` changes it.",
    ),
    (
        (
            "save a conversation",
            "export a chat",
            "save this chat",
            "write the conversation to a file",
            "store this conversation",
        ),
        "`/save FILE` writes the conversation to a file.",
    ),
    (
        ("measure an importance matrix", "make an imatrix", "create an imatrix"),
        "`dslocal imatrix MODEL` measures which weights matter, for the smallest quantizations.",
    ),
)
# What lists are asked for, from the best known on; "=…" has an order.
LISTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("colors", ("red", "blue", "green", "yellow", "black", "white")),
    ("colours", ("red", "blue", "green", "yellow", "black", "white")),
    ("fruits", ("apple", "banana", "orange", "pear", "grape", "cherry")),
    ("vegetables", ("carrot", "potato", "tomato", "onion", "pepper", "garlic")),
    ("animals", ("dog", "cat", "horse", "cow", "sheep", "lion")),
    ("birds", ("eagle", "sparrow", "owl", "swan", "parrot", "penguin")),
    ("fish", ("salmon", "trout", "tuna", "shark", "carp", "cod")),
    ("trees", ("oak", "pine", "birch", "maple", "beech", "willow")),
    ("flowers", ("rose", "tulip", "lily", "daisy", "orchid", "sunflower")),
    ("countries", ("France", "Germany", "Italy", "Spain", "Japan", "Peru")),
    ("European countries", ("France", "Germany", "Italy", "Spain", "Poland", "Sweden")),
    ("capitals", ("Paris", "Berlin", "Rome", "Madrid", "Tokyo", "Lima")),
    ("cities", ("Paris", "London", "Tokyo", "New York", "Berlin", "Rome")),
    ("languages", ("English", "Chinese", "Spanish", "German", "French", "Arabic")),
    ("programming languages", ("Python", "C", "Rust", "Java", "Go", "JavaScript")),
    ("metals", ("iron", "copper", "gold", "silver", "tin", "lead")),
    ("chemical elements", ("hydrogen", "oxygen", "carbon", "iron", "gold", "helium")),
    ("musical instruments", ("piano", "violin", "guitar", "flute", "drum", "trumpet")),
    ("sports", ("football", "tennis", "swimming", "running", "basketball", "skiing")),
    ("insects", ("ant", "bee", "beetle", "butterfly", "fly", "wasp")),
    ("drinks", ("water", "tea", "coffee", "milk", "juice", "lemonade")),
    ("body parts", ("head", "hand", "foot", "arm", "leg", "eye")),
    ("shapes", ("circle", "square", "triangle", "rectangle", "hexagon", "oval")),
    ("continents", ("Europe", "Asia", "Africa", "Australia", "North America", "South America")),
    ("oceans", ("Pacific", "Atlantic", "Indian", "Arctic", "Southern")),
    ("=planets", PLANETS),
    ("=planets of the solar system", PLANETS),
    ("=days of the week", WEEKDAYS),
    ("=weekdays", WEEKDAYS[:5]),
    ("=months", MONTHS),
    ("=months of the year", MONTHS),
    ("=seasons", ("spring", "summer", "autumn", "winter")),
    ("=even numbers", ("2", "4", "6", "8", "10", "12")),
    ("=odd numbers", ("1", "3", "5", "7", "9", "11")),
    ("=prime numbers", ("2", "3", "5", "7", "11", "13")),
    ("=square numbers", ("1", "4", "9", "16", "25", "36")),
    ("=natural numbers", ("1", "2", "3", "4", "5", "6")),
    ("=letters of the alphabet", ("A", "B", "C", "D", "E", "F")),
    ("=powers of two", ("2", "4", "8", "16", "32", "64")),
    ("=Fibonacci numbers", ("1", "1", "2", "3", "5", "8")),
)
