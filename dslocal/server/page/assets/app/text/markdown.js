/**
 * From a model's Markdown to elements. What a model writes is hostile.
 *
 * markdown-it runs without HTML, so that every tag in the text is text. What it makes goes through
 * DOMPurify with a short list of elements, attributes and classes. Images are not loaded, links ask
 * first, formulas and code are drawn afterwards.
 */

import { DOMPurify, MarkdownIt } from "./libraries.js";
import { finishCode } from "./code.js";
import { addTexRules, drawTex } from "./tex.js";

const ELEMENTS = [
  "a", "blockquote", "br", "code", "del", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr",
  "li", "ol", "p", "pre", "s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
];
const CLASSES = /^(tex|tex-block|not-loaded|align-(left|center|right)|language-[\w+#.-]{1,40})$/;
const SAFE_LINK = /^(https?|mailto):/i;
export const CONFIG = {
  ALLOWED_TAGS: ELEMENTS,
  ALLOWED_ATTR: ["class", "href", "start"],
  ALLOWED_URI_REGEXP: SAFE_LINK,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

const md = new MarkdownIt({ html: false, linkify: true, typographer: false, breaks: false });
md.linkify.set({ fuzzyLink: false, fuzzyEmail: false });
md.validateLink = (/** @type {string} */ url) => SAFE_LINK.test(url.trim());
addTexRules(md);

md.renderer.rules.image = (/** @type {any[]} */ tokens, /** @type {number} */ place) => {
  const { content, attrs } = tokens[place];
  const source = new Map(attrs).get("src") ?? "";
  const shown = md.utils.escapeHtml(`image not loaded: ${content || source}`);
  return `<span class="not-loaded">${shown}</span>`;
};
for (const cell of ["th_open", "td_open"]) {
  md.renderer.rules[cell] = (/** @type {any[]} */ tokens, /** @type {number} */ place) => {
    const align = /text-align:(left|center|right)/.exec(tokens[place].attrGet("style") ?? "");
    return `<${tokens[place].tag}${align ? ` class="align-${align[1]}"` : ""}>`;
  };
}

DOMPurify.addHook("afterSanitizeAttributes", (/** @type {Node} */ node) => {
  if (!(node instanceof Element)) return;
  const classes = [...node.classList].filter((name) => CLASSES.test(name) || isHighlighting(name));
  if (classes.length) node.setAttribute("class", classes.join(" "));
  else node.removeAttribute("class");
  if (node.tagName === "A" && node.hasAttribute("href")) {
    node.setAttribute("rel", "noopener noreferrer nofollow");
    node.setAttribute("target", "_blank");
  }
});

/**
 * @param {string} name A class.
 * @returns {boolean}
 */
function isHighlighting(name) {
  return /^hljs-[\w-]{1,30}$/.test(name);
}

/**
 * Return the elements of a Markdown text.
 *
 * @param {string} text
 * @param {boolean} [isWhole] Whether the text has ended: code is then highlighted.
 * @returns {DocumentFragment}
 */
export function renderMarkdown(text, isWhole = true) {
  const fragment = DOMPurify.sanitize(md.render(text), CONFIG);
  for (const table of fragment.querySelectorAll("table")) {
    const box = document.createElement("div");
    box.className = "table-box";
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", "Table");
    table.replaceWith(box);
    box.append(table);
  }
  drawTex(fragment);
  finishCode(fragment, isWhole);
  return fragment;
}

/**
 * Return where the last block of a text begins, which may still grow: what stands before is whole.
 *
 * @param {string} text
 * @returns {number} An offset; 0 where there is one block.
 */
export function lastBlock(text) {
  let line = 0;
  for (const token of md.parse(text, {})) {
    if (token.level === 0 && token.map && token.nesting >= 0) line = token.map[0];
  }
  let offset = 0;
  for (; line > 0; line -= 1) offset = text.indexOf("\n", offset) + 1;
  return offset;
}
