/** The libraries that others wrote; vendor/libraries.json says which versions they are. */

import DOMPurifyModule from "../../vendor/dompurify/purify.es.mjs";
import hljsModule from "../../vendor/highlight/highlight.min.js";
import "../../vendor/katex/katex.min.js"; // a classic script, which sets a global
import MarkdownItModule from "../../vendor/markdown-it/markdown-it.esm.min.mjs";

/** @type {any} */
export const DOMPurify = DOMPurifyModule;
/** @type {any} */
export const hljs = hljsModule;
/** @type {any} */
export const katex = /** @type {any} */ (globalThis).katex;
/** @type {any} */
export const MarkdownIt = MarkdownItModule;
