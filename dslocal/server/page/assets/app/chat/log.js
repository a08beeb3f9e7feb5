/** The conversation on the page: its turns, the empty page, and where it is scrolled to. */

import { button } from "../dialogs.js";
import { byId, element } from "../dom.js";
import { AnswerView, liveNotices } from "./answer_view.js";
import { questionView } from "./question_view.js";

/** @typedef {import("../api.js").Message} Message */
/** @typedef {import("../api.js").Snapshot} Snapshot */

const NEAR_END = 96; // pixels from the end within which the page follows the answer
const EXAMPLES = [
  "What is 47 × 86?",
  "What is the capital of Peru?",
  "How do I see what runs on this machine?",
];

/**
 * @typedef {Object} LogActions
 * @property {(text: string) => void} ask
 * @property {(place: number, text: string) => void} edit
 * @property {() => void} retry
 * @property {() => void} continueAnswer
 */

export class Log {
  /** @param {LogActions} actions */
  constructor(actions) {
    this.actions = actions;
    this.root = byId("log");
    this.scroller = byId("scroll");
    this.toEnd = byId("to-end");
    this.follows = true;
    /** @type {AnswerView | null} */
    this.live = null;
    this.scroller.addEventListener("scroll", () => this.noteScroll(), { passive: true });
    this.toEnd.addEventListener("click", () => this.scrollToEnd());
    new ResizeObserver(() => this.follow()).observe(this.root);
  }

  /**
   * Show the empty page.
   *
   * @param {string} model
   * @param {string} about
   */
  showEmpty(model, about) {
    this.live = null;
    this.root.replaceChildren(
      element(
        "section",
        { class: "empty" },
        element("div", { class: "empty-mark", attributes: { "aria-hidden": true } }),
        element("h2", { text: model ? `Ask ${model}` : "Ask a model" }),
        element("p", { text: about }),
        element("ul", { class: "examples" }, ...EXAMPLES.map((text) => this.example(text))),
      ),
    );
  }

  /**
   * Show a conversation.
   *
   * @param {Message[]} messages
   * @param {Snapshot | null} ended The answer that has ended last, for its figures and its error.
   */
  show(messages, ended) {
    this.live = null;
    this.draw(messages, ended, false);
    const last = messages[messages.length - 1];
    if (ended?.error) {
      const isNew = ended.question && messages.length === ended.first_message;
      if (isNew && ended.question) this.addTurn(ended.question, messages.length, false);
      this.showFailure(ended.error.message);
    } else if (last?.role === "user") {
      this.showFailure("This question has no answer yet.");
    }
    this.markLast();
  }

  /**
   * Show an answer that is on its way, behind the messages before it.
   *
   * @param {Message[]} messages
   * @param {Snapshot} answer
   */
  showLive(messages, answer) {
    this.draw(messages, null, true);
    if (answer.question) this.addTurn(answer.question, answer.first_message, false);
    this.live = this.addAnswer();
    this.live.showLive(answer);
    this.markLast();
  }

  /**
   * Show the answer that was on its way as it has ended; what the user opened stays open.
   *
   * @param {Message[]} messages
   * @param {Snapshot} ended
   */
  endLive(messages, ended) {
    const [question, answer] = messages.slice(-2);
    const turn = this.root.lastElementChild;
    if (ended.question) {
      turn?.querySelector(".question")?.replaceWith(this.question(question, messages.length - 2));
    }
    this.live?.showWhole(answer, ended.figures ?? null, liveNotices(ended), this.actions);
    this.live = null;
  }

  /**
   * @param {Message[]} messages
   * @param {Snapshot | null} ended
   * @param {boolean} hasMore Whether another answer follows: only the last one can be asked again.
   */
  draw(messages, ended, hasMore) {
    this.root.replaceChildren();
    messages.forEach((message, place) => {
      if (message.role === "user") this.addTurn(message, place, true);
      if (message.role !== "assistant") return;
      const isLast = !hasMore && place === messages.length - 1;
      const figures = isLast ? (ended?.figures ?? null) : null;
      const notices = isLast && ended ? liveNotices(ended) : [];
      this.addAnswer().showWhole(message, figures, notices, isLast ? this.actions : null);
    });
  }

  /**
   * Say what went wrong, below the last turn.
   *
   * @param {string} text
   */
  showFailure(text) {
    const retry = button("Ask again", "button small", () => this.actions.retry());
    const failure = element("div", { class: "failure", attributes: { role: "alert" } });
    failure.append(element("p", { text }), retry);
    (this.root.lastElementChild ?? this.root).append(failure);
    this.follow();
  }

  /** Go to the end, and follow the answer from there. */
  scrollToEnd() {
    this.follows = true;
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.toEnd.hidden = true;
  }

  /** Stay at the end, if the user is there. */
  follow() {
    if (this.follows) this.scroller.scrollTop = this.scroller.scrollHeight;
    else this.noteScroll();
  }

  noteScroll() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    const distance = scrollHeight - scrollTop - clientHeight;
    this.follows = distance < NEAR_END;
    this.toEnd.hidden = distance < 2 * NEAR_END;
  }

  /**
   * @param {Message} message
   * @param {number} place Where it stands in the conversation.
   * @param {boolean} canEdit
   */
  addTurn(message, place, canEdit) {
    const question = canEdit ? this.question(message, place) : questionView(message, null);
    this.root.append(element("section", { class: "turn" }, question));
  }

  /**
   * @param {Message} message
   * @param {number} place
   * @returns {HTMLElement} A question that can be edited.
   */
  question(message, place) {
    return questionView(message, (text) => this.actions.edit(place, text));
  }

  /** @returns {AnswerView} */
  addAnswer() {
    const view = new AnswerView();
    if (!this.root.lastElementChild) this.root.append(element("section", { class: "turn" }));
    this.root.lastElementChild.append(view.root);
    return view;
  }

  markLast() {
    for (const turn of this.root.querySelectorAll(".turn.is-last")) turn.classList.remove("is-last");
    this.root.lastElementChild?.classList.add("is-last");
  }

  /**
   * @param {string} text
   * @returns {HTMLElement}
   */
  example(text) {
    const shown = element("button", {
      class: "example",
      text,
      attributes: { type: "button" },
      on: { click: () => this.actions.ask(text) },
    });
    return element("li", {}, shown);
  }
}
