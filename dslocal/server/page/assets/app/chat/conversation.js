/**
 * The conversation that is open: its questions go to the server, its answers come from there.
 *
 * An answer belongs to the server: when the page is reloaded or the connection is lost, it goes on,
 * and the page finds it again.
 */

import { ServerError, followAnswer, request } from "../api.js";
import { confirmAction } from "../dialogs.js";
import { announce } from "../dom.js";
import { counted } from "./words.js";

/** @typedef {import("../api.js").Conversation} Conversation */
/** @typedef {import("../api.js").Message} Message */
/** @typedef {import("../api.js").Snapshot} Snapshot */
/** @typedef {import("./log.js").Log} Log */

/**
 * @typedef {Object} Surroundings What the conversation needs of the page around it.
 * @property {Log} log
 * @property {() => object} choices The model and settings that go with a question.
 * @property {(conversation: OpenConversation) => void} onChange
 * @property {(error: unknown) => void} onError
 * @property {() => Promise<void>} untilServerIsBack
 */

export class OpenConversation {
  /** @param {Surroundings} around */
  constructor(around) {
    this.around = around;
    this.id = "";
    /** @type {Conversation | null} */
    this.stored = null;
    /** @type {Message[]} */
    this.messages = [];
    /** @type {Snapshot | null} */
    this.answer = null;
    this.following = new AbortController();
    this.isSending = false;
    this.opening = "";
    this.drawing = 0;
    this.reasoningSince = 0;
    /** @type {object | null} What was sent last, to send it again after an error. */
    this.lastSent = null;
    setInterval(() => this.tick(), 250);
  }

  /** @returns {boolean} Whether an answer is on its way. */
  get isBusy() {
    return this.isSending || (this.answer !== null && this.answer.type !== "end");
  }

  /** @returns {string} What it is called: its first question. */
  get title() {
    return this.stored?.title ?? this.answer?.question?.text ?? "";
  }

  /** Begin a new one. */
  close() {
    this.following.abort();
    this.opening = "";
    this.id = "";
    this.stored = null;
    this.messages = [];
    this.answer = null;
    this.lastSent = null;
    this.around.onChange(this);
  }

  /**
   * Open the one with that id.
   *
   * @param {string} id
   */
  async open(id) {
    this.following.abort();
    this.opening = id;
    const stored = await request("GET", `conversations/${id}`);
    if (this.opening !== id) return; // another one was opened meanwhile
    this.id = id;
    this.lastSent = null;
    this.show(stored);
    this.around.log.scrollToEnd();
    if (this.isBusy) void this.follow();
  }

  /**
   * Ask a question.
   *
   * @param {string} text
   * @param {{name: string, text: string}[]} [files]
   * @returns {Promise<boolean>} Whether the server has taken it.
   */
  ask(text, files = []) {
    return this.send({ action: "ask", text, files });
  }

  /**
   * Ask a question again, with another text.
   *
   * @param {number} place
   * @param {string} text
   */
  async edit(place, text) {
    const later = this.messages.slice(place + 1).filter((message) => message.role === "user").length;
    const question = `${counted(later, "later question")} and the answers are deleted.`;
    if (later && !(await confirmAction("Ask the edited question?", question, "Delete and ask", true))) return;
    await this.send({ action: "edit", message: place, text });
  }

  /** Ask the last question again, or send again what the server did not take. */
  async retry() {
    const failed = this.answer?.error && this.lastSent;
    await this.send(failed ? this.lastSent ?? {} : { action: "retry" });
  }

  /** Continue an answer that was cut. */
  async continueAnswer() {
    await this.send({ action: "continue" });
  }

  /** End the answer, and keep what has come of it. */
  async stop() {
    if (!this.id || !this.isBusy) return;
    try {
      await request("POST", `conversations/${this.id}/answer/stop`);
    } catch (error) {
      if (!(error instanceof ServerError) || error.status !== 404) this.around.onError(error);
    }
  }

  /**
   * @param {object} turn
   * @returns {Promise<boolean>}
   */
  async send(turn) {
    if (this.isBusy) return false;
    this.isSending = true;
    this.around.onChange(this);
    try {
      const body = { ...turn, ...this.around.choices() };
      const path = this.id ? `conversations/${this.id}/answers` : "conversations";
      const started = await this.post(path, body);
      if (!started) return false;
      this.lastSent = turn;
      this.id = started.id;
      this.messages = this.messages.slice(0, started.answer.first_message);
      this.answer = started.answer;
      this.around.log.showLive(this.messages, started.answer);
      this.around.log.scrollToEnd();
      void this.follow();
      return true;
    } catch (error) {
      this.around.onError(error);
      return false;
    } finally {
      this.isSending = false;
      this.around.onChange(this);
    }
  }

  /**
   * Send a turn; where the conversation is open in a terminal, offer a copy.
   *
   * @param {string} path
   * @param {object} body
   * @returns {Promise<{id: string, answer: Snapshot} | null>} Null where the user gives up.
   */
  async post(path, body) {
    try {
      return await request("POST", path, body);
    } catch (error) {
      if (!(error instanceof ServerError) || error.code !== "conversation_open") throw error;
    }
    const text = "It is also open in a terminal. Here you can continue in a copy.";
    const agrees = await confirmAction("Continue in a copy?", text, "Continue in a copy");
    return agrees ? request("POST", path, { ...body, in_copy: true }) : null;
  }

  /** Follow the answer until it has ended, however often the connection is lost. */
  async follow() {
    const following = new AbortController();
    this.following = following;
    const { id } = this;
    while (!following.signal.aborted) {
      try {
        for await (const event of followAnswer(id, following.signal)) this.take(event);
        if (following.signal.aborted) return;
      } catch (error) {
        if (!(error instanceof ServerError)) throw error;
        if (error.isGone) await this.around.untilServerIsBack();
      }
      if (following.signal.aborted) return;
      try {
        this.finish(await request("GET", `conversations/${id}`));
      } catch (error) {
        this.around.onError(error);
        return;
      }
      if (!this.isBusy) return;
    }
  }

  /** @param {import("../api.js").AnswerEvent} event */
  take(event) {
    if (event.type === "snapshot" || event.type === "end") {
      this.answer = event;
      this.reasoningSince = performance.now() - event.reasoning_s * 1000;
    } else if (!this.answer) {
      return;
    } else if (event.type === "progress") {
      this.answer.prompt = event.prompt;
    } else {
      this.answer.reasoning += event.reasoning;
      this.answer.text += event.text;
    }
    this.drawing ||= requestAnimationFrame(() => {
      this.drawing = 0;
      this.draw();
    });
  }

  draw() {
    if (!this.answer || this.answer.type === "end") return;
    this.around.log.live?.showLive(this.answer);
    this.around.log.follow();
  }

  /** Count the seconds of the reasoning. */
  tick() {
    if (this.answer?.type !== "snapshot" || this.answer.state !== "reasoning") return;
    this.answer.reasoning_s = (performance.now() - this.reasoningSince) / 1000;
    this.draw();
  }

  /**
   * Take over what is stored after an answer has ended, or while another one is on its way.
   *
   * @param {Conversation} stored
   */
  finish(stored) {
    const { log } = this.around;
    const { answer, messages } = stored;
    const length = answer ? answer.first_message + (answer.question ? 2 : 1) : -1;
    const hasEnded = answer?.type === "end" && !answer.error && messages.length === length;
    if (answer && hasEnded && log.live) {
      this.take(answer);
      this.stored = stored;
      this.messages = messages;
      log.endLive(messages, answer);
      announce("The answer has ended.");
      this.around.onChange(this);
    } else {
      this.show(stored);
    }
    log.follow();
  }

  /** @param {Conversation} stored */
  show(stored) {
    this.stored = stored;
    this.messages = stored.messages;
    this.answer = stored.answer;
    if (this.answer?.type === "snapshot") {
      this.reasoningSince = performance.now() - this.answer.reasoning_s * 1000;
      this.around.log.showLive(this.messages, this.answer);
    } else {
      this.around.log.show(this.messages, this.answer);
    }
    this.around.onChange(this);
  }
}
