/** The field for questions, with files, the switch for reasoning, and what was not sent yet. */

import { byId, element, iconButton } from "../dom.js";

const MAX_FILE = 2 ** 20; // bytes
const MAX_FILES = 20;
const DRAFT = "dslocal.draft.";

/**
 * @typedef {Object} ComposerActions
 * @property {(text: string, files: {name: string, text: string}[]) => Promise<boolean>} ask
 * @property {() => void} stop
 * @property {(text: string) => void} complain Shows what is wrong with a file.
 */

export class Composer {
  /** @param {ComposerActions} actions */
  constructor(actions) {
    this.actions = actions;
    /** @type {HTMLFormElement} */
    this.form = byId("composer");
    /** @type {HTMLTextAreaElement} */
    this.field = byId("question");
    this.sendButton = byId("send");
    this.fileList = byId("files");
    this.fileInput = byId("file-input");
    /** @type {{name: string, text: string}[]} */
    this.files = [];
    this.isBusy = false;
    this.conversation = "";
    this.listen();
  }

  listen() {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.submit();
    });
    this.field.addEventListener("keydown", (event) => {
      const isSending = event.key === "Enter" && !event.shiftKey && !event.isComposing;
      if (!isSending) return;
      event.preventDefault();
      if (!this.isBusy) void this.submit();
    });
    this.field.addEventListener("input", () => this.noteInput());
    byId("attach").addEventListener("click", () => this.fileInput.click());
    this.fileInput.addEventListener("change", () => {
      void this.addFiles([...this.fileInput.files]);
      this.fileInput.value = "";
    });
    this.form.addEventListener("dragover", (event) => {
      event.preventDefault();
      this.form.classList.add("is-dropping");
    });
    this.form.addEventListener("dragleave", () => this.form.classList.remove("is-dropping"));
    this.form.addEventListener("drop", (event) => {
      event.preventDefault();
      this.form.classList.remove("is-dropping");
      void this.addFiles([...(event.dataTransfer?.files ?? [])]);
    });
  }

  /**
   * Show the field for a conversation, with what was typed there and not sent.
   *
   * @param {string} id Empty for a new one.
   */
  openFor(id) {
    this.conversation = id;
    this.field.value = sessionStorage.getItem(DRAFT + id) ?? "";
    this.files = [];
    this.showFiles();
    this.fit();
  }

  /** @param {boolean} isBusy Whether an answer is on its way. */
  setBusy(isBusy) {
    this.isBusy = isBusy;
    this.form.classList.toggle("is-busy", isBusy);
    this.sendButton.setAttribute("aria-label", isBusy ? "Stop" : "Send");
    this.sendButton.title = isBusy ? "Stop" : "Send";
    this.fit();
  }

  /** @param {string} text */
  setPlaceholder(text) {
    this.field.placeholder = text;
  }

  async submit() {
    if (this.isBusy) {
      this.actions.stop();
      return;
    }
    const text = this.field.value;
    if (!text.trim()) return;
    const { conversation, files } = this;
    this.field.value = "";
    this.files = [];
    this.showFiles();
    if (await this.actions.ask(text, files)) {
      sessionStorage.removeItem(DRAFT + conversation);
    } else if (!this.field.value) {
      this.field.value = text;
      this.files = files;
      this.showFiles();
    }
    this.fit();
  }

  /** Keep what was typed, until it is sent or the tab is closed. */
  noteInput() {
    if (this.field.value.trim()) sessionStorage.setItem(DRAFT + this.conversation, this.field.value);
    else sessionStorage.removeItem(DRAFT + this.conversation);
    this.fit();
  }

  /** Bring the button and the field's height to what is in the field. */
  fit() {
    const isEmpty = !this.field.value.trim();
    this.sendButton.setAttribute("aria-disabled", String(isEmpty && !this.isBusy));
    if (!CSS.supports("field-sizing", "content")) {
      this.field.style.blockSize = "auto";
      this.field.style.blockSize = `${this.field.scrollHeight}px`;
    }
  }

  /** @param {File[]} chosen */
  async addFiles(chosen) {
    for (const file of chosen) {
      if (this.files.length >= MAX_FILES) {
        this.actions.complain(`A question can have at most ${MAX_FILES} files.`);
        break;
      }
      const text = file.size <= MAX_FILE ? await file.text() : null;
      if (text === null) this.actions.complain(`${file.name} is larger than 1 MiB.`);
      else if (text.includes("\0") || text.includes("\uFFFD")) {
        this.actions.complain(`${file.name} is not text in UTF-8.`);
      } else this.files.push({ name: file.name, text });
    }
    this.showFiles();
    this.field.focus();
  }

  showFiles() {
    this.fileList.hidden = this.files.length === 0;
    this.fileList.replaceChildren(
      ...this.files.map((file) =>
        element(
          "li",
          {},
          element("span", { class: "name", text: file.name }),
          iconButton("close", `Leave out ${file.name}`, () => {
            this.files = this.files.filter((other) => other !== file);
            this.showFiles();
          }),
        ),
      ),
    );
  }
}
