"""Whether a question is mathematical, so that R1's directive on step-by-step reasoning and
``\\boxed{}`` helps; and whether it is Chinese.

The rule, in five sentences:

1. It looks at the question alone, and says no when that is longer than a page, has ``\\boxed`` in
it already, looks like code, a log, a
   date or a telephone number, or has a word of another trade: write, translate, explain, why,
   prove, Python, version, should and so on.
2. A question is mathematical when it is nothing but numbers, operations and courtesies: "Hey, what
is 47 × 86?", "the sum of two and 3".
3. It is when it has a formula (``3 * 4``, LaTeX) and a verb that works on it (solve, simplify,
find), or is an equation in x, y or z,
   or wonders what something with symbols is.
4. It is when it asks for a mathematical thing (integral, remainder, area, probability) of numbers:
one where only mathematics knows
   the thing or the verb is calculate, two where ordinary speech has it as well.
5. It is when it tells a story with a number, then asks how many or how much, and has two numbers or
more that are no years, and the
   story is not the asker's own life.

A directive where none belongs does more harm than a missing one, so what is in doubt is not
mathematical: a proof has nothing to box.
"""

from __future__ import annotations

import re

PAGE = 3000  # characters

_IDEOGRAPH = "\u3400-\u9fff\uf900-\ufaff"
_KANA = re.compile(r"[\u3041-\u30ff]")

_NOT_MATHEMATICS = re.compile(
    r"""\\boxed | ``` | :// | @\w | </ | [=!]= | \+= | => | -> | ;\s*$ | \(\) | ::
    | \d{4}-\d\d?-\d\d? | \b\d\d?/\d\d?/\d\d | \d\d:\d\d:\d\d | (?<!\d)\d{3}-(?:\d{3}-)?\d{4}(?!\d) | \d\.\d+\.\d
    | \b(?:ERROR|WARN|WARNING|INFO|DEBUG|Traceback|Exception)\b
    | \b(?i:what\sis|what's|whats)\s(?:9/11|24/7|50/50|80/20|4/20)\b""",
    re.VERBOSE | re.MULTILINE,
)
_OTHER_TRADES = re.compile(
    r"""\b(?: code|coding|codes|program\w*|script\w*|algorithm\w*|python|java|javascript|typescript|rust|sql|bash|shell|regex|html|css
    | json|yaml|csv|xml|api|implement\w*|debug\w*|refactor\w*|compil\w*|error|errors|exception|bugs?|logs|files?|versions?|release\w*
    | server\w*|ram|cpu|gpu|databases?|tokens?|latex|markdown|typeset|function(?!\s+(?:[a-z]\s*\(|[a-z]\s*=))
    | translat\w*|summar\w*|write|writing|written|draft|rewrite|rephrase|essay|poem|poems|haiku|song|story|stories|email|e-mail|letters?
    | words?|sentences?|paragraphs?|bullet\w*|articles?|report|explain\w*|describ\w*|discuss|defin\w*|compar\w*|meaning|means|list|names?
    | recipes?|prov(?:e|en|ing)|proofs?|disprove|show\sthat|verify|histor\w*|weather|jokes?|should|recommend\w*|suggest\w*|advice|best|tips
    | opinion|why|who|whom|where|born|happened|world|population|president|episode|season|movie|film|chapter|page|book\sof|do\si\sneed
    | calories|salary|cost\sof\sliving|live\sin|flights?|hotel\w*|visa|difference\sbetween(?!\s+[\d(]))\b
    | ^\W*(?:when|how\sdo|how\sto|how\scan|how\sdoes|is\sthere|are\sthere)\b
    | 写|代码|编程|程序|脚本|算法|实现|翻译|总结|概括|解释|介绍|说明|证明|为什么|为何|如何|怎么|怎样|故事|诗|文章|作文|版本|日志|文件
    | 报错|错误|区别|推荐|建议|哪些|什么意思|是谁|历史|天气|人口|新闻|电话|号码|词|字""",
    re.VERBOSE | re.IGNORECASE,
)
_MANNER = re.compile(
    r"""(?:show\s(?:all\s)?(?:your|the)\s(?:work\w*|steps)|explain(?:\s(?:your|the)\s(?:answer|reasoning|steps|work\w*))?|think\sstep\sby\sstep
    |step\sby\sstep|just\sthe\s(?:number|answer|result)|answer\sbriefly|be\s(?:careful|brief|precise|quick)|thanks|thank\syou|请?一步一步\w*
    |(?:give|round)\s[^.?!]{0,40}\b(?:decimal|decimals|places|fraction|integer|cent|tenth|hundredth)\b[^.?!]{0,20})\s*[.!。！]*\s*$""",
    re.VERBOSE | re.IGNORECASE,
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NUMBER_WORDS = """
two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen
twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million dozen half twice thrice"""
_COURTESIES = _words("""
what whats what's s is are was be the a an of to by from in and or please can could would will you u tell me give i need want know
calculate compute evaluate find solve work out hey hi hello quick quickly how much many does do equal equals result answer value
determine simplify now that it this exactly ok okay so then which if one than number numbers hmm well just let let's get for us made
请 请问 问 计算 算 算一下 求 等于 是 几 多少 的 和 与 呢 结果 答案 一下 吗 帮我 我 你 你好 得 有 哪个 那么 值 为 等 从 到""")
_OPERATIONS = _words("""
plus minus times x multiplied divided over mod modulo sum difference product quotient add added subtract subtracted multiply divide
take away less power remainder percent percentage larger bigger greater smaller largest smallest average mean median gcd lcm
加 加上 减 减去 乘 乘以 除以 除 差 积 商 次方 百分之 大 小 更大 更小 余数 平均数 平均""")
_FUNCTIONS = _words("""
square root cube squared cubed sqrt factorial log ln sin cos tan cot arcsin arccos arctan abs double triple half
平方 平方根 立方 立方根 阶乘 的平方 开方 根号 一半""")
_NUMBERS = _words(_NUMBER_WORDS) | {"zero", "one", "pi"}
_CHINESE_WORDS = "|".join(
    sorted(
        (w for w in _COURTESIES | _OPERATIONS | _FUNCTIONS if not w.isascii()),
        key=len,
        reverse=True,
    )
)
_PIECE = re.compile(
    rf"(?P<number>\d+(?:,\d{{3}})*(?:\.\d+)?|π)|(?P<word>[A-Za-z]+(?:'[a-z]+)?|{_CHINESE_WORDS})|(?P<chinese>[零一二两三四五六七八九十百千万]+)"
    r"|(?P<sign>\*\*|[-+*/×÷^%−–·√²³!=<>⋅∗])|(?P<bracket>[()\[\]（）])|(?P<other>[\s?？.。,，:：!！]+)|(?P<strange>.)",
    re.DOTALL,
)
_TIGHT = re.compile(r"\s*\d[\d.,]*(?:[-/x–]\d[\d.,]*)+\s*[?？.!]*\s*")
_SIDE_BY_SIDE = re.compile(r"\d\s+\d")


_OPERAND = r"(?:\d+(?:\.\d+)?\s?[a-z]?|[a-z])"
_FORMULA = re.compile(
    rf"""\\(?:frac|int|sum|sqrt|lim|prod|binom|cdot|times|div|log|sin|cos|tan|pi|begin\{{[bp]?matrix)
    | \$[^$\n]{{0,200}}[\\^=+*<>][^$\n]{{0,200}}\$
    | \b{_OPERAND}(?:\^|\*\*)\(?-?{_OPERAND} | \b[a-z][²³] | \b(?:sin|cos|tan|ln|log|sqrt|exp)\s?\(?\s?[\dxyzt] | \b[fgh]\([xyzt]\)
    | (?<![\w.-]){_OPERAND}\s*[-+*×÷−]\s*{_OPERAND}(?![\w])(?:[^=\n]{{0,80}}=)?
    | (?<![\w.-])\d+(?:\.\d+)?\s*[-+*/×÷−]\s*\(?\d | \d\)\s*[-+*/×÷^] | √
    | (?<![\w.])\d+(?:\.\d+)?[xyz]\s*[=<>≤≥]""",
    re.VERBOSE,
)
_EQUATION = re.compile(
    r"\s*[-\d(]?[\dxyz\s.+*/^²³()−-]*(?:\d[xyz]|[xyz](?:\^|[²³]))[\dxyz\s.+*/^²³()−-]*=[\dxyz\s.+*/^²³()−-]+[?？]?\s*"
)
_TASK = re.compile(
    r"""\b(?:solve|simplify|factor|factori[sz]e|expand|differentiate|integrate|evaluate|calculate|compute|find|determine|work\sout|minimi[sz]e
    |maximi[sz]e)\b|求|解|计算|化简|因式分解|等于|多少|^\s*(?:\$|\\\(|\\\[|\\int|\\sum|\\frac|\\lim)""",
    re.VERBOSE | re.IGNORECASE,
)
_WONDER = re.compile(r"\b(?:what\s?i?'?s|what\sare|how\s(?:many|much))\b", re.IGNORECASE)
_SYMBOL = re.compile(
    r"\\[a-z]|\b(?:sin|cos|tan|ln|log|sqrt|exp)\b|\b\d*[b-hj-z]\b"
)  # not "a", not "I"
_ASKED = re.compile(
    r"\b(?:what\s?i?'?s|what are|find|calculate|compute|evaluate|determine|work out|how (?:much|many|large|big))\b|求|计算|多少|是几",
    re.IGNORECASE,
)
_COMPUTED = re.compile(
    r"\b(?:calculate|compute|work out|find the (?:sum|product|area|volume|perimeter|average|mean|median))\b|计算|求",
    re.IGNORECASE,
)
_ONLY_MATHEMATICS = re.compile(
    r"\b(?:derivatives?|antiderivative|integral|determinant|eigenvalues?|factorial|square root|cube root|gcd|lcm"
    r"|greatest common (?:divisor|factor)|least common multiple|logarithm|remainder when|prime factors?|prime factori[sz]ation"
    r"|hypotenuse|digits? of \d|arithmetic sequence"
    r"|geometric (?:sequence|series)|binomial coefficient)\b"
    r"|导数|积分|行列式|特征值|阶乘|平方根|立方根|最大公约数|最小公倍数|对数|质因数|余数|极限|斜边",
    re.IGNORECASE,
)
_ALSO_MATHEMATICS = re.compile(
    r"\b(?:area|volume|perimeter|circumference|diagonal|surface area|probability|average|mean|median|standard deviation|variance"
    r"|percent|percentage"
    r"|sum|product|total|interest|ratio|slope|distance between|how many (?:different )?ways|number of (?:ways|permutations|combinations))\b"
    r"|面积|体积|周长|概率|平均数|平均值|中位数|方差|百分之|利息|之和|总和|距离|斜率",
    re.IGNORECASE,
)
_QUANTITY = re.compile(
    rf"(?<![\w.\-/$#:])\$?\d+(?:,\d{{3}})*(?:\.\d+)?(?=(?:%|°|[ap]m|km|kg|cm|mm|mph|m|g|s|h|l)?(?![\w:]|\.\d|-\d))(?!\s*年)"
    rf"|(?<=[{_IDEOGRAPH}])\d+(?:\.\d+)?(?=[{_IDEOGRAPH}%]|[^\w:/.\-]|$)(?!\s*年)|(?<![\w.])\d+(?:\.\d+)?(?=[{_IDEOGRAPH}])(?!\s*年)"
    rf"|\b(?:{'|'.join(_NUMBER_WORDS.split())})\b|[两三四五六七八九十百千]+(?=[个只本条张块元斤米人天岁次头倍支辆棵件名位箱包瓶])",
    re.IGNORECASE,
)
_OWN_LIFE = re.compile(r"\b(?:i'm|i am|my|we are|we're|our)\b|我|大概|大约", re.IGNORECASE)
_YEAR = re.compile(r"1[5-9]\d\d|20\d\d")
_HOW_MANY = re.compile(
    r"\b(?:how (?:many|much|far|long|old|fast|tall|heavy)|what (?:is|was|are) (?:the|his|her|their|its) (?:\w+ ){0,2}"
    r"(?:total|number|price|cost|speed|age|profit|length|width|height|weight|distance|amount|percentage|probability|area|ratio|sum|product))\b"
    r"|多少|几[个只本条张块元斤米人天岁次头倍支辆棵件名位箱包瓶]|多大|多远|多久|多长",
    re.IGNORECASE,
)


def is_chinese(text: str) -> bool:
    """Whether ``text`` is Chinese, foreign words and formulas in it notwithstanding: more than two
    ideographs for every other word.
    """
    ideographs = len(re.findall(f"[{_IDEOGRAPH}]", text))
    words = len(re.findall(rf"(?:(?![{_IDEOGRAPH}])[^\W\d_]){{2,}}", text)) - len(
        re.findall(r"\\[A-Za-z]{2}", text)
    )
    return ideographs > 2 * words and not _KANA.search(text)


def is_mathematical(question: str) -> bool:
    """Whether ``question``, without the files that go with it, asks for a result that mathematics
    gives. The module says how.
    """
    if len(question) > PAGE:
        return False
    asked = _without_manner(question)
    if _NOT_MATHEMATICS.search(question) or _OTHER_TRADES.search(asked):
        return False
    return _is_calculation(asked) or _has_task(asked) or _wants_thing(asked) or _is_story(asked)


def _without_manner(question: str) -> str:
    """``question`` without the sentences at its end that say how to answer: "Show your work.
    Thanks!"
    """
    while (shorter := _MANNER.sub("", question)) != question:
        question = shorter
    return question


def _is_calculation(question: str) -> bool:
    """Nothing but numbers, operations and courtesies, and enough of the first two."""
    numbers = operations = functions = courtesies = 0
    for piece in _PIECE.finditer(question):
        text = piece[0].lower()
        match piece.lastgroup:
            case "number" | "chinese":
                numbers += 1
            case "sign":
                operations += text not in "=!"
                functions += text in "√²³!"
                courtesies += text == "="
            case "word" if text in _FUNCTIONS:
                functions += 1
            case "word" if text in _OPERATIONS:
                operations += 1
            case "word" if text in _NUMBERS:
                numbers += 1
            case "word" if text in _COURTESIES:
                courtesies += 1
            case "word" | "strange":
                return False
    if _SIDE_BY_SIDE.search(question) or (not courtesies and _TIGHT.fullmatch(question)):
        return False
    refers = bool(
        re.search(r"\b(?:add|subtract|multiply|divide)\b", question, re.IGNORECASE)
    ) and bool(re.search(r"\b(?:it|that)\b", question))
    return (numbers >= 2 and operations + functions > 0) or (
        numbers >= 1 and (functions > 0 or refers)
    )


def _has_task(question: str) -> bool:
    """A formula and a verb that works on it, or "what is" and symbols: "what is the 80/20 rule?"
    has none.
    """
    if not _FORMULA.search(question):
        return bool(_EQUATION.fullmatch(question))
    wonders = _WONDER.search(question) and _SYMBOL.search(question)
    return bool(_EQUATION.fullmatch(question) or _TASK.search(question) or wonders)


def _wants_thing(question: str) -> bool:
    if not _ASKED.search(question):
        return False
    quantities = _quantities(question)
    if _ONLY_MATHEMATICS.search(question):
        return bool(quantities or _FORMULA.search(question))
    return bool(_ALSO_MATHEMATICS.search(question)) and len(quantities) >= (
        1 if _COMPUTED.search(question) else 2
    )


def _is_story(question: str) -> bool:
    """A number, the end of a clause, then the question of quantity; or "how many" and an "if"; but
    nobody's own life.
    """
    how_many = _HOW_MANY.search(question)
    if how_many is None or len(_quantities(question)) < 2 or _OWN_LIFE.search(question):
        return False
    before = question[: how_many.start()]
    told = bool(_quantities(before)) and bool(re.search(r"[.,;:!。，；：！]", before))
    return told or bool(
        re.search(
            r"how (?:many|much)\b.*\bif\b", question[how_many.start() :], re.IGNORECASE | re.DOTALL
        )
    )


def _quantities(text: str) -> list[str]:
    return [found for found in _QUANTITY.findall(text) if not _YEAR.fullmatch(found)]
