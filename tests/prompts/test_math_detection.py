"""Proves which questions get R1's directive on mathematics, and, as a wrong directive is the worse
mistake, above all which do not.
"""

from __future__ import annotations

import pytest

from dslocal.prompts.language import is_chinese
from dslocal.prompts.math_detection import is_mathematical

MATHEMATICAL = """
What is 47 × 86?
what's 12 * (3 + 4)
12*(3+4)
9.11 or 9.9 which is larger
Which is larger, 9.11 or 9.9?
Is 9.11 bigger than 9.9?
Hey, what is 17 plus 25?
How much is 144 / 12?
Calculate 3.5 + 2.25
Compute 2^10
Compute 2 ** 10.
Work out 1,234 - 567
84 - 12
84+12
3 x 4 = ?
Can you compute 15 times 15, please?
Subtract 17 from 40.
the product of 12 and 13
What is the sum of 3, 4 and five?
What is the square root of 144?
What is 5 squared?
What is 15% of 80?
What is half of 86?
√144
12² + 5²
What is 7 divided by 2? Show your work. Explain.
What is 7 * 8? Think step by step. Just the number. Thanks!
Multiply it by 5
What is 10 factorial?
Solve 2x + 3 = 7
Solve for x: x^2 - 5x + 6 = 0
x^2 - 5x + 6 = 0
2x + 3 = 7
Solve x^2 + 3x = 7
integrate x^2
Find the derivative of x^3 sin(x).
What is the integral of x^2 from 0 to 1?
Simplify (x^2 - 1)/(x - 1)
Factor x^2 - 9
Expand (x+1)^3
Evaluate $\\int_0^1 x^2 dx$.
Compute \\frac{3}{4} + \\frac{5}{6}
Find all real $x$ such that $x^2 = 2x + 3$.
\\int_0^1 x^2 dx
What is the minimum of the function f(x) = x^2 - 4x + 7?
If f(x) = 2x + 1, what is f(3)?
What is the greatest common divisor of 48 and 36?
What is the remainder when 2^100 is divided by 7?
Calculate the area of a circle with radius 5.
What is the probability of rolling a sum of 7 with two dice?
Calculate the sum of the first 100 positive integers.
What is the average of 3, 9 and 12?
What is 2x + 3 when x = 4?
How many ways can 5 people sit in 3 chairs?
Find the perimeter of a rectangle with sides 4 and 7.
What percentage of 80 is 20?
Anna has 12 apples and buys 7 more. How many apples does Anna have now?
There are 5 boxes with 12 eggs each. How many eggs are there in total?
There are 12 books on one table and 30 on another. How many books are there in all?
A train travels 60 miles in 1.5 hours. How fast is it going?
If a shirt costs $20 and is discounted by 15%, what is the price?
How many apples are left if you have ten and eat three?
Tom is twice as old as Ben. In 5 years Tom will be 25. How old is Ben?
A rectangle has length 8 cm and width 3 cm. What is its area?
Natalia sold clips to 48 of her friends in April, and then she sold half \
as many clips in May. How many clips did she sell altogether?
3加5等于多少？
计算 12*7
请计算12 + 34
算一下 99 - 45
12乘以13是多少？
五加三等于几？
15除以3等于多少
解方程 2x+3=7
求 x^2 的导数
求 x^2 在 0 到 1 上的积分
16的平方根是多少？
求圆的面积，半径为5。
48和36的最大公约数是多少？
小明有5个苹果，小红有3个苹果，一共有多少个苹果？
一辆车每小时行驶60公里，3小时行驶多少公里？
9.11和9.9哪个大？
掷两个骰子，点数之和为7的概率是多少？
已知 $x^2 = 9$，求 $x$。
"""

NOT_MATHEMATICAL = """
hello
Hi, how are you?
What can you do?
What is the capital of France?
Write a function that computes fibonacci numbers.
Write a Python function that computes the sum of 2 numbers.
Write a program to calculate 10 factorial
def add(a, b): return a + b
print(3 + 4)
x = 5
i += 1
Why does 0.1 + 0.2 == 0.3 give False?
Why is 0.1 + 0.2 not 0.3 in JavaScript?
Implement quicksort in 10 lines
Fix this bug: total = price * 3 + 4
What is the time complexity of binary search on 1000 items?
for (int i = 0; i < 10; i++) sum += i;
SELECT count(*) FROM users WHERE age > 18 AND age < 65
Which is newer, Python 3.11 or 3.9?
What changed between version 1.2.3 and 1.3.0?
Is llama.cpp 0.3.36 better than 0.3.35?
What is the difference between Python 2 and 3?
What is the difference between HTTP/1.1 and HTTP/2?
what happened in 1914
What happened between 1914 and 1918?
What happened on 9/11?
What is 9/11?
What is 24/7?
What day is 2024-05-01?
2024-05-01
12/25/2023
Who won the world cup in 1998?
How many people died in World War 2?
How many people live in Paris?
555-1234
555-123-4567
+49 170 1234567
My number is 555-1234, call me.
192.168.0.1
192.168.0.1/24
1920x1080
16:9
24/7
9-5
3
42
1, 2, 3
GPT-4
translate: three apples and two pears
Translate "3 plus 4 is 7" into French.
summarize the 3 points
Summarize the 3 main points in 2 sentences
explain the difference between TCP and UDP in 3 sentences
Explain 3 * 4
Explain Euler's identity e^{i\\pi} + 1 = 0
Explain $E = mc^2$
How do I write \\frac{a}{b} in Markdown?
What does \\sum mean?
What are $HOME and $PATH?
how many r's are in strawberry
How many letters are in the word banana?
how much does it cost to live in Paris
How much does it cost to live in Paris for 2 people for 3 months?
How much is a flight to Tokyo?
How much is the fish?
How long does it take to learn 2 languages in 3 years?
How old is the universe?
How many calories should a 30 year old man of 80 kg eat?
I weigh 80 kg and am 30 years old. How many calories should I eat?
My server has 16 cores and 64 GB of RAM. How many workers is that good for?
What is the average temperature in Paris in July 2023?
What is the population of China in 2020?
What is the area of Texas?
What is the probability of rain tomorrow?
What is the derivative of the moon?
Prove that the square root of 2 is irrational.
Prove that 1 + 2 + ... + n = n(n+1)/2.
Show that x^2 + 1 > 0 for all x.
Compare 3 phones under 500 dollars
Give me 5 ideas for dinner
Give me 3 names for 2 cats
List 10 facts about the number 7
Tell me a joke about 2 penguins
Write a story about 3 bears and 2 wolves. How many words is it?
write a poem in 4 lines of 8 syllables
Recipe for 4 people with 2 eggs and 300 g of flour
I have 2 eggs and 3 potatoes. What can I cook?
I have 2 cats and 1 dog. What should I name them?
What is 47 × 86? Put the answer in \\boxed{}.
Solve x^2 = 4. Please reason step by step, and put your final answer within \\boxed{}.
2024-05-01 12:30:45 ERROR worker 3 failed after 5 retries
[12:30:45] INFO 3 of 5 done
What is the port?
timeout = 30
Is 3 a good rating?
Room 101 or 102?
The meeting is from 3 to 5. Can you move it?
What is the 2 + 2 = 5 quote from?
What is the 80/20 rule?
What is 3/4 time in music?
I have a meeting at 10:30 and another at 14:00. How long is the gap between them?
How long do 2 eggs take to boil if the water is at 100 degrees?
My dog is 5 years old, weighs 20 kg. How much food does he get?
Solve the mystery
solve climate change
Find my keys
Evaluate the 3 main arguments against free will
Calculate my taxes
compute cluster with 8 nodes
Plus size clothing for 2 people
Top 10 movies of 2020
你好
你是谁？
写一个计算斐波那契数列的函数
用Python写一个计算3加5的程序
把"三加五等于八"翻译成英语
总结这3点
解释一下TCP和UDP的区别，用3句话
1914年发生了什么？
2023年和2024年的GDP分别是多少？
在巴黎生活要多少钱？
北京有多少人口？
证明根号2是无理数
证明 1+2+3=6
推荐3本书和2部电影
这个手机多少钱？
今天天气怎么样？
介绍一下三国演义
求职信
我25岁，体重70公斤，一天要吃多少？
3个人去巴黎玩5天，大概要花多少钱？
求求你帮帮我
请写一首四行的诗
版本1.2和1.3有什么区别
"""


def rows(table: str) -> list[str]:
    return table.strip().splitlines()


@pytest.mark.parametrize("question", rows(MATHEMATICAL))
def test_mathematical(question: str) -> None:
    assert is_mathematical(question)


@pytest.mark.parametrize("question", rows(NOT_MATHEMATICAL))
def test_not_mathematical(question: str) -> None:
    assert not is_mathematical(question)


def test_there_are_enough_of_both() -> None:
    assert len(rows(MATHEMATICAL)) >= 60
    assert len(rows(NOT_MATHEMATICAL)) >= 80


LONG = [
    "def f():\n    return 1 + 2\n\n\nWhat is 3 + 4?",
    "```\n3 + 4\n```\nWhat is it?",
    "Q1 12 apples\nQ2 30 pears\n" * 200 + "How many are there in total?",
    "",
    " \n",
    "?",
    "\x00",
    "\ud800 3 + 4",
]


@pytest.mark.parametrize("question", LONG)
def test_neither_code_nor_nothing(question: str) -> None:
    assert not is_mathematical(question)


@pytest.mark.parametrize(
    "piece",
    [
        "7",
        "7+",
        "(",
        "x^",
        "$",
        "\\frac{",
        "a ",
        " ",
        "1.",
        "1,",
        "九",
        "if 3, ",
        "= ",
        "what is ",
        "3 apples. ",
        "Thanks. ",
        "-1",
    ],
)
@pytest.mark.parametrize("length", [2_900, 1_000_000])
def test_hostile_lengths(piece: str, length: int) -> None:
    """Ends at once: beyond a page nothing is looked at, and within one no expression backtracks
    without bound.
    """
    text = piece * (length // len(piece))
    for question in (text, f"What is {text}", f"{text}?"):
        assert is_mathematical(question) in (True, False)
        assert is_chinese(question) is ("九" in piece)


CHINESE = [
    ("你好", True),
    ("用Python写一个快速排序", True),
    ("请解释TensorFlow和PyTorch的区别", True),
    ("求 \\frac{1}{2} 的值", True),
    ("解方程 2x+3=7", True),
    ("What does 你好 mean?", False),
    ("Translate 你好世界 into English", False),
    ("Hello", False),
    ("今日は天気がいいですね", False),
    ("오늘은 날씨가 좋다", False),
    ("Сколько будет 2 + 2?", False),
    ("3 + 4", False),
    ("", False),
]


@pytest.mark.parametrize(("text", "chinese"), CHINESE)
def test_chinese(text: str, chinese: bool) -> None:
    assert is_chinese(text) is chinese
