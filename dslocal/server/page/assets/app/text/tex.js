/**
 * TeX in Markdown: found by rules of markdown-it, drawn by KaTeX.
 *
 * Formulas are `$…$`, `$$…$$`, `\(…\)`, `\[…\]`, environments such as `align`, and a bare
 * `\boxed{…}`, with which DeepSeek's models end. KaTeX runs without trust: no links, no images, no
 * classes or styles of the model's own, sizes and expansions bounded.
 */

import { katex } from "./libraries.js";

const OPTIONS = {
  throwOnError: true,
  errorColor: "inherit", // of commands that need trust, which are shown by name
  trust: false,
  strict: "ignore",
  maxSize: 8, // em
  maxExpand: 500,
};
const MAX_LENGTH = 20_000; // characters of a formula
const ENVIRONMENTS = /^\\begin\{((?:equation|align|gather|multline|alignat|CD|[bpvBV]?matrix|cases|array|aligned|split)\*?)\}/;
// KaTeX writes these into a style attribute of their MathML, which the page's policy refuses.
const WITHOUT_MATHML = /\\(pmb|fcolorbox)/;

/**
 * Teach markdown-it to find formulas.
 *
 * @param {any} md
 */
export function addTexRules(md) {
  md.inline.ruler.before("escape", "tex", inlineTex);
  md.block.ruler.before("fence", "tex_block", blockTex, {
    alt: ["paragraph", "reference", "blockquote", "list"],
  });
  md.renderer.rules.tex = (/** @type {any[]} */ tokens, /** @type {number} */ place) => {
    const { content, meta } = tokens[place];
    const kind = meta.isDisplay ? "tex-block" : "tex";
    return `<span class="${kind}">${md.utils.escapeHtml(content)}</span>`;
  };
  md.renderer.rules.tex_block = (/** @type {any[]} */ tokens, /** @type {number} */ place) =>
    `<div class="tex-block">${md.utils.escapeHtml(tokens[place].content)}</div>\n`;
}

/**
 * Draw the formulas of a fragment, in which they stand as their source.
 *
 * @param {ParentNode} root
 */
export function drawTex(root) {
  for (const place of root.querySelectorAll(".tex, .tex-block")) {
    const source = place.textContent ?? "";
    if (place instanceof HTMLElement && place.classList.contains("tex-block")) {
      place.tabIndex = 0; // long formulas are scrolled by keyboard, too
      place.setAttribute("role", "group");
      place.setAttribute("aria-label", "Formula");
    }
    if (place.firstElementChild || !source) continue; // drawn already
    try {
      if (source.length > MAX_LENGTH) throw new RangeError("too long");
      katex.render(source, place, {
        ...OPTIONS,
        displayMode: place.classList.contains("tex-block"),
        output: WITHOUT_MATHML.test(source) ? "html" : "htmlAndMathml",
      });
    } catch {
      const shown = document.createElement("code");
      shown.className = "tex-source";
      shown.textContent = source;
      place.replaceChildren(shown);
    }
  }
}

/**
 * @param {any} state
 * @param {boolean} silent
 * @returns {boolean}
 */
function inlineTex(state, silent) {
  const found = inlineFormula(state.src, state.pos, state.posMax);
  if (!found) return false;
  if (!silent) {
    const token = state.push("tex", "span", 0);
    token.content = found.source;
    token.meta = { isDisplay: found.isDisplay };
  }
  state.pos = found.end;
  return true;
}

/**
 * @param {string} text
 * @param {number} start
 * @param {number} most
 * @returns {{source: string, end: number, isDisplay: boolean} | null}
 */
function inlineFormula(text, start, most) {
  if (text.startsWith("\\boxed{", start)) {
    const end = endOfBraces(text, start + 6, most);
    return end < 0 ? null : { source: text.slice(start, end), end, isDisplay: false };
  }
  for (const [open, close, isDisplay] of /** @type {[string, string, boolean][]} */ ([
    ["$$", "$$", true],
    ["\\(", "\\)", false],
    ["\\[", "\\]", true],
  ])) {
    if (!text.startsWith(open, start)) continue;
    const end = text.indexOf(close, start + open.length);
    if (end < 0 || end + close.length > most) return null;
    const source = text.slice(start + open.length, end).trim();
    return source ? { source, end: end + close.length, isDisplay } : null;
  }
  return text[start] === "$" ? dollarFormula(text, start, most) : null;
}

/**
 * A dollar opens a formula before anything but a blank, and closes it after anything but a blank and
 * not before a digit: "$5 and $10" are amounts.
 *
 * @param {string} text
 * @param {number} start
 * @param {number} most
 */
function dollarFormula(text, start, most) {
  if (/\s/.test(text[start + 1] ?? " ")) return null;
  for (let end = start + 1; end < most; end += 1) {
    if (text[end] === "\\") end += 1;
    else if (text[end] === "$") {
      if (/\s/.test(text[end - 1]) || /\d/.test(text[end + 1] ?? "")) return null;
      return { source: text.slice(start + 1, end), end: end + 1, isDisplay: false };
    }
  }
  return null;
}

/**
 * @param {string} text
 * @param {number} open Where the opening brace is.
 * @param {number} most
 * @returns {number} Behind the closing one; -1 without one.
 */
function endOfBraces(text, open, most) {
  let depth = 0;
  for (let place = open; place < most; place += 1) {
    if (text[place] === "\\") place += 1;
    else if (text[place] === "{") depth += 1;
    else if (text[place] === "}") {
      depth -= 1;
      if (depth === 0) return place + 1;
    }
  }
  return -1;
}

/**
 * @param {any} state
 * @param {number} startLine
 * @param {number} endLine
 * @param {boolean} silent
 * @returns {boolean}
 */
function blockTex(state, startLine, endLine, silent) {
  const lineAt = (/** @type {number} */ line) =>
    state.src.slice(state.bMarks[line] + state.tShift[line], state.eMarks[line]);
  if (state.sCount[startLine] - state.blkIndent >= 4) return false;
  const first = lineAt(startLine);
  const environment = ENVIRONMENTS.exec(first);
  let close = "";
  if (first.startsWith("$$")) close = "$$";
  else if (first.startsWith("\\[")) close = "\\]";
  else if (environment) close = `\\end{${environment[1]}}`;
  else return false;
  const opening = environment ? 0 : 2;
  /** @type {string[]} */
  const lines = [];
  for (let line = startLine; line < endLine; line += 1) {
    const text = line === startLine ? first.slice(opening) : lineAt(line);
    const end = text.indexOf(close);
    if (end < 0) {
      lines.push(text);
      continue;
    }
    if (text.slice(end + close.length).trim()) return false; // more follows: a formula in a line
    if (silent) return true;
    lines.push(text.slice(0, environment ? end + close.length : end));
    const token = state.push("tex_block", "div", 0);
    token.content = lines.join("\n").trim();
    token.block = true;
    token.map = [startLine, line + 1];
    state.line = line + 1;
    return true;
  }
  return false;
}
