"""Put web-search results before a question, in the templates of DeepSeek-R1's README.

Results come from a JSON file: a list of objects, or what SearXNG, Tavily (``results``), Brave
(``web.results``) and DuckDuckGo's clients (a list) return. The templates say that every result
stands between ``[webpage X begin]`` and ``[webpage X end]``, X counted from 1, but not what is
between. dslocal writes the title, the address and the date on lines of their own, then the text
unchanged, whatever it spells. The templates stand there under "Official Prompts".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from dslocal.errors import UsageError

from .files import read_text
from .language import is_chinese

MAX_RESULTS = 100  # DeepSeek's own search gives 50
MAX_TEXT = 1 << 20  # characters of all results; far above any context

_TITLE = ("title",)
_ADDRESS = ("url", "href", "link")
_DATE = ("date", "publishedDate", "published_date", "page_age", "age")
_CONTENT = ("content", "snippet", "description", "body")

ENGLISH = """\
# The following contents are the search results related to the user's message:
{search_results}
In the search results I provide to you, each result is formatted as [webpage X begin]...[webpage \
X end], where X represents the numerical index of each article. Please cite the context at the \
end of the relevant sentence when appropriate. Use the citation format [citation:X] in the \
corresponding part of your answer. If a sentence is derived from multiple contexts, list all \
relevant citation numbers, such as [citation:3][citation:5]. Be sure not to cluster all citations \
at the end; instead, include them in the corresponding parts of the answer.
When responding, please keep the following points in mind:
- Today is {cur_date}.
- Not all content in the search results is closely related to the user's question. You need to \
evaluate and filter the search results based on the question.
- For listing-type questions (e.g., listing all flight information), try to limit the answer to \
10 key points and inform the user that they can refer to the search sources for complete \
information. Prioritize providing the most complete and relevant items in the list. Avoid \
mentioning content not provided in the search results unless necessary.
- For creative tasks (e.g., writing an essay), ensure that references are cited within the body \
of the text, such as [citation:3][citation:5], rather than only at the end of the text. You need \
to interpret and summarize the user's requirements, choose an appropriate format, fully utilize \
the search results, extract key information, and generate an answer that is insightful, creative, \
and professional. Extend the length of your response as much as possible, addressing each point \
in detail and from multiple perspectives, ensuring the content is rich and thorough.
- If the response is lengthy, structure it well and summarize it in paragraphs. If a \
point-by-point format is needed, try to limit it to 5 points and merge related content.
- For objective Q&A, if the answer is very brief, you may add one or two related sentences to \
enrich the content.
- Choose an appropriate and visually appealing format for your response based on the user's \
requirements and the content of the answer, ensuring strong readability.
- Your answer should synthesize information from multiple relevant webpages and avoid repeatedly \
citing the same webpage.
- Unless the user requests otherwise, your response should be in the same language as the user's \
question.

# The user's message is:
{question}"""

CHINESE = """\
# 以下内容是基于用户发送的消息的搜索结果:
{search_results}
在我给你的搜索结果中，每个结果都是[webpage X begin]...[webpage X end]格式的，X代表每篇文章的数字索引。\
请在适当的情况下在句子末尾引用上下文。\
请按照引用编号[citation:X]的格式在答案中对应部分引用上下文。如果一句话源自多个上下文，请列出所有相关的引用编号，例如[citation:3][citation:5]，\
切记不要将引用集中在最后返回引用编号，而是在答案对应部分列出。
在回答时，请注意以下几点：
- 今天是{cur_date}。
- 并非搜索结果的所有内容都与用户的问题密切相关，你需要结合问题，对搜索结果进行甄别、筛选。
- 对于列举类的问题（如列举所有航班信息），尽量将答案控制在10个要点以内，并告诉用户可以查看搜索来源、获得完整信息。\
优先提供信息完整、最相关的列举项；如非必要，不要主动告诉用户搜索结果未提供的内容。
- 对于创作类的问题（如写论文），请务必在正文的段落中引用对应的参考编号，例如[citation:3][citation:5]，不能只在文章末尾引用。\
你需要解读并概括用户的题目要求，选择合适的格式，充分利用搜索结果并抽取重要信息，生成符合用户要求、极具思想深度、富有创造力与专业性的答案。\
你的创作篇幅需要尽可能延长，对于每一个要点的论述要推测用户的意图，给出尽可能多角度的回答要点，且务必信息量大、论述详尽。
- 如果回答很长，请尽量结构化、分段落总结。如果需要分点作答，尽量控制在5个点以内，并合并相关的内容。
- 对于客观类的问答，如果问题的答案非常简短，可以适当补充一到两句相关信息，以丰富内容。
- 你需要根据用户要求和回答内容选择合适、美观的回答格式，确保可读性强。
- 你的回答应该综合多个相关网页来回答，不能重复引用一个网页。
- 除非用户要求，否则你回答的语言需要和用户提问的语言保持一致。

# 用户消息为：
{question}"""


SHAPE = "a JSON list of objects with title, url, date and content"


@dataclass(frozen=True, slots=True)
class _Webpage:
    title: str
    address: str
    date: str
    content: str

    def __str__(self) -> str:
        heads = (" ".join(head.split()) for head in (self.title, self.address, self.date))
        return "\n".join(part for part in (*heads, self.content.strip()) if part)


def with_results(path: Path, question: str, today: date) -> str:
    """Return ``question`` after the search results of a file, in the question's language.

    Args:
        path: The JSON file.
        question: The question.
        today: The date that the template names.

    Raises:
        NotFoundError: If the file does not exist.
        UsageError: If it is not as it must be; it names the result and the key.
    """
    pages = [_webpage(result, f"{path}: {where}") for where, result in _results(_parse(path), path)]
    results = "\n".join(
        f"[webpage {n} begin]\n{page}\n[webpage {n} end]" for n, page in enumerate(pages, 1)
    )
    if len(results) > MAX_TEXT:
        raise UsageError(
            f"{path}: has {len(results):,} characters of results, and {MAX_TEXT:,} can be used"
        )
    if is_chinese(question):
        return CHINESE.format(
            search_results=results,
            cur_date=f"{today.year}年{today.month}月{today.day}日",
            question=question,
        )
    return ENGLISH.format(search_results=results, cur_date=today.isoformat(), question=question)


def _parse(path: Path) -> Any:
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as e:
        raise UsageError(
            f"{path}: is not JSON: line {e.lineno}, column {e.colno}: {e.msg}", hint=SHAPE
        ) from None
    except (ValueError, RecursionError):  # a number of thousands of digits, thousands of brackets
        raise UsageError(f"{path}: is JSON that is too large or too deep", hint=SHAPE) from None


def _results(found: Any, path: Path) -> list[tuple[str, Any]]:
    """Return every result with where it is in the file."""
    where = ""
    for key in ("web", "results"):  # Brave has both, SearXNG and Tavily the second
        if isinstance(found, dict) and key in found:
            found, where = found[key], f"{where}.{key}".removeprefix(".")
    if not isinstance(found, list):
        raise UsageError(
            f"{path}: {where + ' ' if where else ''}is {_kind(found)}",
            hint='write a list, or {"results": a list}',
        )
    if not found:
        raise UsageError(f"{path}: has no results")
    if len(found) > MAX_RESULTS:
        raise UsageError(f"{path}: has {len(found):,} results, and {MAX_RESULTS} can be used")
    return [(f"{where}[{index}]", result) for index, result in enumerate(found)]


def _webpage(result: Any, where: str) -> _Webpage:
    if not isinstance(result, dict):
        raise UsageError(
            f"{where}: is {_kind(result)}, not an object",
            hint="a result has title, url, date and content",
        )
    content = _field(result, _CONTENT, where)
    if content is None:
        raise UsageError(f"{where}: has no content", hint=f"the key may be {', '.join(_CONTENT)}")
    return _Webpage(
        title=_field(result, _TITLE, where) or "",
        address=_field(result, _ADDRESS, where) or "",
        date=_field(result, _DATE, where) or "",
        content=content,
    )


def _field(result: dict[str, Any], keys: tuple[str, ...], where: str) -> str | None:
    """Return the text of the first of ``keys`` that is there; null counts as absent."""
    for key in keys:
        value = result.get(key)
        if value is None:
            continue
        if not isinstance(value, str):
            raise UsageError(f"{where}.{key}: is {_kind(value)}, not text")
        # JSON can spell half a surrogate pair
        return value.encode("utf-8", "replace").decode("utf-8")
    return None


def _kind(value: Any) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        type(None): "null",
    }
    return names[type(value)]
