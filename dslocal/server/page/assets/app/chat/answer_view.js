/** An answer on the page: reasoning, text, what happens, and what can be done with it. */

import { button } from "../dialogs.js";
import { copyFrom, element, icon, iconButton } from "../dom.js";
import { StreamedMarkdown } from "../text/streaming.js";
import { renderMarkdown } from "../text/markdown.js";
import { counted, duration, grouped } from "./words.js";

/** @typedef {import("../api.js").Snapshot} Snapshot */
/** @typedef {import("../api.js").Message} Message */
/** @typedef {import("../api.js").Figures} Figures */

const LATEST_LENGTH = 160; // characters of the reasoning that its closed line shows
const CUT_REASONS = { interrupted: "stopped", length: "cut: the limit of tokens, or the context" };

/**
 * @typedef {Object} AnswerActions What the last answer of a conversation offers.
 * @property {() => void} retry
 * @property {() => void} continueAnswer
 */

export class AnswerView {
  constructor() {
    this.text = element("div", { class: "text" });
    this.streamed = new StreamedMarkdown(this.text);
    this.reasoning = new ReasoningView();
    this.status = element("div", { class: "status", attributes: { hidden: true } });
    this.notices = element("div");
    this.calls = element("div", { class: "calls text" });
    this.footer = element("div", { class: "actions" });
    this.root = element(
      "article",
      { class: "answer", attributes: { "aria-label": "Answer" } },
      this.reasoning.root,
      this.text,
      this.calls,
      this.status,
      this.notices,
      this.footer,
    );
    this.source = "";
  }

  /**
   * Show an answer that is on its way.
   *
   * @param {Snapshot} answer
   */
  showLive(answer) {
    this.root.setAttribute("aria-busy", "true");
    const isReasoning = answer.state === "reasoning";
    this.reasoning.show(answer.reasoning, answer.reasoning_s, isReasoning);
    this.source = answer.text;
    this.streamed.update(answer.text);
    this.showCalls(answer.calls);
    const words = statusWords(answer);
    this.status.hidden = !words;
    this.status.textContent = words;
    this.showNotices(liveNotices(answer));
    this.footer.replaceChildren();
  }

  /**
   * Show an answer that has ended.
   *
   * @param {Message} message
   * @param {Figures | null} figures
   * @param {string[]} notices
   * @param {AnswerActions | null} actions Null for an answer that is not the last.
   */
  showWhole(message, figures, notices, actions) {
    this.root.removeAttribute("aria-busy");
    this.reasoning.show(message.reasoning, message.reasoning_s, false, figures?.reasoning_tokens);
    this.source = message.text;
    this.streamed.finish(message.text);
    this.showCalls(message.calls);
    this.status.hidden = true;
    this.showNotices([...notices, ...endNotices(message, figures)]);
    this.footer.replaceChildren(...this.footerParts(message, figures, actions));
  }

  /**
   * @param {Message} message
   * @param {Figures | null} figures
   * @param {AnswerActions | null} actions
   * @returns {Node[]}
   */
  footerParts(message, figures, actions) {
    /** @type {HTMLButtonElement} */
    const copy = iconButton("copy", "Copy the answer", () => copyFrom(copy, this.source));
    /** @type {Node[]} */
    const parts = message.text ? [copy] : [];
    if (actions) {
      parts.push(iconButton("retry", "Ask again", actions.retry));
      if (message.cut) parts.push(button("Continue", "button small", actions.continueAnswer));
    }
    if (figures) parts.push(element("span", { class: "figures", text: figureWords(figures) }));
    return parts;
  }

  /** @param {string[]} lines */
  showNotices(lines) {
    this.notices.replaceChildren(
      ...lines.map((text) => element("p", { class: "notice", text })),
    );
  }

  /** @param {{name: string, arguments: string}[]} calls */
  showCalls(calls) {
    this.calls.hidden = calls.length === 0;
    this.calls.replaceChildren(
      ...calls.map((call) => {
        const attributes = { tabindex: 0, role: "region", "aria-label": "Call" };
        return element("pre", { text: `${call.name}(${call.arguments})`, attributes });
      }),
    );
  }
}

/** The reasoning of an answer: one line with its duration, which opens. */
class ReasoningView {
  constructor() {
    this.label = element("span", { class: "reasoning-label" });
    this.latest = element("span", { class: "reasoning-latest", attributes: { "aria-hidden": true } });
    this.body = element("div", { class: "reasoning-text" });
    this.root = element(
      "details",
      { class: "reasoning", attributes: { hidden: true }, on: { toggle: () => this.draw() } },
      element("summary", {}, icon("chevron"), this.label, this.latest),
      this.body,
    );
    this.source = "";
    this.isLive = false;
  }

  /**
   * @param {string} text
   * @param {number} seconds That it has taken.
   * @param {boolean} isLive Whether it goes on.
   * @param {number} [tokens]
   */
  show(text, seconds, isLive, tokens) {
    this.root.hidden = !text;
    this.root.classList.toggle("is-live", isLive);
    this.label.textContent = reasoningWords(seconds, isLive, tokens);
    this.latest.textContent = isLive ? lastWords(text) : "";
    if (text !== this.source || isLive !== this.isLive) {
      this.source = text;
      this.isLive = isLive;
      this.draw();
    }
  }

  /** Draw the text if it is to be seen: plain while it grows, as Markdown afterwards. */
  draw() {
    if (!this.root.open) return;
    this.body.classList.toggle("is-plain", this.isLive);
    this.body.classList.toggle("text", !this.isLive);
    if (this.isLive) this.body.textContent = this.source;
    else this.body.replaceChildren(renderMarkdown(this.source));
  }
}

/**
 * @param {number} seconds
 * @param {boolean} isLive
 * @param {number} [tokens]
 * @returns {string}
 */
function reasoningWords(seconds, isLive, tokens) {
  if (isLive) return `Reasoning for ${duration(seconds)}`;
  const took = seconds > 0 ? `Reasoned for ${duration(seconds)}` : "Reasoning";
  return tokens ? `${took}, ${counted(tokens, "token")}` : took;
}

/**
 * @param {string} text
 * @returns {string} Its last line, as far as it fits.
 */
function lastWords(text) {
  return text.slice(-LATEST_LENGTH).trim().split("\n").pop() ?? "";
}

/**
 * @param {Snapshot} answer
 * @returns {string} What is happening, where nothing is to be seen yet.
 */
function statusWords(answer) {
  const { done, total } = answer.prompt;
  switch (answer.state) {
    case "loading":
      return "Loading the model";
    case "waiting":
      return "Waiting for its turn";
    case "reading":
      return total ? `Reading ${grouped(done)} of ${counted(total, "token")}` : "Reading";
    default:
      return "";
  }
}

/**
 * @param {Snapshot} answer
 * @returns {string[]}
 */
export function liveNotices(answer) {
  const turns = answer.trimmed_turns;
  const left = turns === 1 ? "oldest turn is" : `oldest ${turns} turns are`;
  const trimmed = turns ? [`The context is full: the ${left} left out of what the model reads.`] : [];
  return [...trimmed, ...answer.notes];
}

/**
 * @param {Message} message
 * @param {Figures | null} figures
 * @returns {string[]} What was unusual about the end.
 */
function endNotices(message, figures) {
  const lines = [];
  if (figures?.loop) lines.push(`The model repeats itself: ${figures.loop}. A higher temperature helps.`);
  if (figures?.no_answer && !message.cut) lines.push(`No answer: ${figures.no_answer}.`);
  const reason = /** @type {Record<string, string>} */ (CUT_REASONS)[message.cut];
  if (reason) lines.push(`This answer was ${reason}.`);
  return lines;
}

/**
 * @param {Figures} figures
 * @returns {string}
 */
function figureWords(figures) {
  const tokens = counted(figures.completion_tokens, "token");
  const speed = figures.tokens_per_s ? `, ${grouped(Math.round(figures.tokens_per_s))} tokens/s` : "";
  return tokens + speed;
}
