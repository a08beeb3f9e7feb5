/**
 * Markdown that grows. Blocks that are whole are drawn once and stay; only the last one, which may
 * still change, is drawn again with every update. So the cost of an update does not grow with the
 * length of the answer.
 */

import { element } from "../dom.js";
import { lastBlock, renderMarkdown } from "./markdown.js";

const REFERENCE = /^ {0,3}\[[^\]\n]+\]:/m; // which may change what stands before

export class StreamedMarkdown {
  /** @param {HTMLElement} root Where the text is shown. */
  constructor(root) {
    this.stable = element("div", { class: "stable" });
    this.tail = element("div", { class: "tail" });
    this.stableLength = 0;
    this.shown = "";
    root.replaceChildren(this.stable, this.tail);
  }

  /**
   * Show the text so far.
   *
   * @param {string} text
   */
  update(text) {
    if (text === this.shown) return;
    if (!text.startsWith(this.shown.slice(0, this.stableLength))) this.reset();
    this.shown = text;
    const open = text.slice(this.stableLength);
    const whole = lastBlock(open);
    if (whole > 0) {
      this.stable.append(renderMarkdown(open.slice(0, whole)));
      this.stableLength += whole;
    }
    this.tail.replaceChildren(renderMarkdown(open.slice(whole), false));
  }

  /**
   * Show the text as it has ended.
   *
   * @param {string} text
   */
  finish(text) {
    this.update(text);
    if (REFERENCE.test(text)) this.reset();
    this.tail.replaceChildren(renderMarkdown(text.slice(this.stableLength)));
    this.shown = text;
  }

  reset() {
    this.stable.replaceChildren();
    this.stableLength = 0;
  }
}
