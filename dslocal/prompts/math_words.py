"""The words by which :mod:`.math_detection` knows what a question is about.

Entries are separated by white space and are regular expressions, in which ``_`` stands for a space.
English entries are found as whole words, Chinese ones anywhere.
"""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """Return the entries of ``text``."""
    return frozenset(text.split())


def any_of(english: str, chinese: str = "") -> str:
    """Return a regular expression for any entry of ``english`` or ``chinese``."""
    whole = "|".join(english.split()).replace("_", " ")
    return "|".join([rf"\b(?:{whole})\b", *chinese.split()])


# ---- words of another trade: a question that has one is not mathematical

OTHER_TRADES = r"""
code coding codes program\w* script\w* algorithm\w* implement\w* debug\w* refactor\w* compil\w*
python java javascript typescript rust sql bash shell regex html css json yaml csv xml api
error errors exception bugs? logs files? versions? release\w* server\w* ram cpu gpu databases?
tokens? latex markdown typeset function(?!\s+(?:[a-z]\s*\(|[a-z]\s*=))
translat\w* summar\w* write writing written draft rewrite rephrase
essay poem poems haiku song story stories email e-mail letters? words? sentences? paragraphs?
bullet\w* articles? report list names? recipes?
explain\w* describ\w* discuss defin\w* compar\w* meaning means
prov(?:e|en|ing) proofs? disprove show\sthat verify
histor\w* weather jokes? should recommend\w* suggest\w* advice best tips opinion
why who whom where born happened
world population president episode season movie film chapter page book\sof do\si\sneed
calories salary cost\sof\sliving live\sin flights? hotel\w* visa
difference\sbetween(?!\s+[\d(])
"""
OTHER_TRADES_CHINESE = """
写 代码 编程 程序 脚本 算法 实现 翻译 总结 概括 解释 介绍 说明 证明
为什么 为何 如何 怎么 怎样 故事 诗 文章 作文 版本 日志 文件 报错 错误 区别
推荐 建议 哪些 什么意思 是谁 历史 天气 人口 新闻 电话 号码 词 字
"""
OTHER_BEGINNINGS = r"""
when how\sdo how\sto how\scan how\sdoes is\sthere are\sthere
"""

# ---- what a bare calculation is made of

NUMBER_WORDS = """
two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety
hundred thousand million dozen half twice thrice
"""
COURTESIES = words("""
what whats what's s is are was be the a an of to by from in and or please can could would will
you u tell me give i need want know calculate compute evaluate find solve work out
hey hi hello quick quickly how much many does do equal equals result answer value
determine simplify now that it this exactly ok okay so then which if one than number numbers
hmm well just let let's get for us made
请 请问 问 计算 算 算一下 求 等于 是 几 多少 的 和 与 呢 结果 答案 一下 吗 帮我 我 你 你好 得
有 哪个 那么 值 为 等 从 到
""")
OPERATIONS = words("""
plus minus times x multiplied divided over mod modulo sum difference product quotient
add added subtract subtracted multiply divide take away less power remainder percent percentage
larger bigger greater smaller largest smallest average mean median gcd lcm
加 加上 减 减去 乘 乘以 除以 除 差 积 商 次方 百分之 大 小 更大 更小 余数 平均数 平均
""")
FUNCTIONS = words("""
square root cube squared cubed sqrt factorial log ln sin cos tan cot arcsin arccos arctan
abs double triple half
平方 平方根 立方 立方根 阶乘 的平方 开方 根号 一半
""")
NUMBERS = words(NUMBER_WORDS) | {"zero", "one", "pi"}

# ---- what asks for a result

ASKING = r"""
what\s?i?'?s what_are find calculate compute evaluate determine work_out
how_(?:much|many|large|big)
"""
ASKING_CHINESE = "求 计算 多少 是几"
WONDERING = r"what\s?i?'?s what\sare how\s(?:many|much)"
COMPUTING = """
calculate compute work_out find_the_(?:sum|product|area|volume|perimeter|average|mean|median)
"""
COMPUTING_CHINESE = "计算 求"
FORMULA_TASKS = r"""
solve simplify factor factori[sz]e expand differentiate integrate evaluate calculate compute
find determine work\sout minimi[sz]e maximi[sz]e
"""
FORMULA_TASKS_CHINESE = "求 解 计算 化简 因式分解 等于 多少"

# ---- mathematical things

ONLY_MATHEMATICS = r"""
derivatives? antiderivative integral determinant eigenvalues? factorial square_root cube_root
gcd lcm greatest_common_(?:divisor|factor) least_common_multiple logarithm remainder_when
prime_factors? prime_factori[sz]ation hypotenuse digits?_of_\d arithmetic_sequence
geometric_(?:sequence|series) binomial_coefficient
"""
ONLY_MATHEMATICS_CHINESE = """
导数 积分 行列式 特征值 阶乘 平方根 立方根 最大公约数 最小公倍数 对数 质因数 余数 极限 斜边
"""
ALSO_MATHEMATICS = """
area volume perimeter circumference diagonal surface_area probability average mean median
standard_deviation variance percent percentage sum product total interest ratio slope
distance_between how_many_(?:different_)?ways number_of_(?:ways|permutations|combinations)
"""
ALSO_MATHEMATICS_CHINESE = """
面积 体积 周长 概率 平均数 平均值 中位数 方差 百分之 利息 之和 总和 距离 斜率
"""

# ---- stories

MEASURES = """
total number price cost speed age profit length width height weight distance amount percentage
probability area ratio sum product
"""
HOW_MANY_CHINESE = "多少 几[个只本条张块元斤米人天岁次头倍支辆棵件名位箱包瓶] 多大 多远 多久 多长"
COUNTERS_CHINESE = "个只本条张块元斤米人天岁次头倍支辆棵件名位箱包瓶"
OWN_LIFE = "i'm i_am my we_are we're our"
OWN_LIFE_CHINESE = "我 大概 大约"
