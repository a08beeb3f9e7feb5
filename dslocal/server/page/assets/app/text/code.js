/** Blocks of code: their language, a button that copies them, and colours. */

import { copyFrom, element, icon } from "../dom.js";
import { DOMPurify, hljs } from "./libraries.js";

const MAX_HIGHLIGHTED = 60_000; // characters
const SPANS = { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true };

/**
 * Give every block of code of a fragment its head.
 *
 * @param {ParentNode} root
 * @param {boolean} isWhole Whether the code has ended: it is then highlighted.
 */
export function finishCode(root, isWhole) {
  for (const pre of root.querySelectorAll("pre")) {
    const code = pre.querySelector("code") ?? pre;
    const language = languageOf(code);
    if (isWhole) highlight(code, language);
    pre.tabIndex = 0; // long lines are scrolled by keyboard, too
    pre.setAttribute("role", "region");
    pre.setAttribute("aria-label", language ? `Code, ${language}` : "Code");
    const box = element("div", { class: "code-block" });
    pre.replaceWith(box);
    box.append(head(code, language), pre);
  }
}

/**
 * @param {Element} code
 * @param {string} language
 * @returns {HTMLElement}
 */
function head(code, language) {
  /** @type {HTMLButtonElement} */
  const copy = element(
    "button",
    {
      class: "code-copy",
      attributes: { type: "button" },
      on: { click: () => copyFrom(copy, (code.textContent ?? "").replace(/\n$/, "")) },
    },
    icon("copy"),
    element("span", { text: "Copy" }),
  );
  return element("div", { class: "code-head" }, element("span", { text: language || "text" }), copy);
}

/**
 * @param {Element} code
 * @param {string} language
 */
function highlight(code, language) {
  const source = code.textContent ?? "";
  if (!hljs.getLanguage(language) || source.length > MAX_HIGHLIGHTED) return;
  const { value } = hljs.highlight(source, { language, ignoreIllegals: true });
  code.replaceChildren(DOMPurify.sanitize(value, SPANS));
}

/**
 * @param {Element} code
 * @returns {string}
 */
function languageOf(code) {
  const named = [...code.classList].find((name) => name.startsWith("language-"));
  return named ? named.slice("language-".length).toLowerCase() : "";
}
