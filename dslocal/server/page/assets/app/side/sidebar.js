/** The list of conversations: searched, opened, deleted. On a narrow screen it slides in. */

import { request } from "../api.js";
import { dayHeading } from "../chat/words.js";
import { confirmAction } from "../dialogs.js";
import { byId, element, iconButton } from "../dom.js";

/** @typedef {import("../api.js").Summary} Summary */

const SEARCH_DELAY_MS = 200;

export class Sidebar {
  /**
   * @param {(id: string) => void} onDelete Called with a conversation that was deleted.
   * @param {(error: unknown) => void} onError
   */
  constructor(onDelete, onError) {
    this.onDelete = onDelete;
    this.onError = onError;
    this.root = byId("side");
    this.list = byId("conversations");
    this.search = byId("search");
    this.scrim = byId("scrim");
    this.opener = byId("side-open");
    this.current = "";
    /** @type {Summary[] | null} */
    this.found = null;
    let timer = 0;
    this.search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => void this.refresh(), SEARCH_DELAY_MS);
    });
    this.opener.addEventListener("click", () => this.setOpen(true));
    byId("side-close").addEventListener("click", () => this.setOpen(false));
    this.scrim.addEventListener("click", () => this.setOpen(false));
  }

  /** @returns {boolean} Whether it has slid in. */
  get isOpen() {
    return this.root.classList.contains("is-open");
  }

  /** Ask the server for the list again. */
  async refresh() {
    try {
      const query = new URLSearchParams({ search: this.search.value.trim() });
      const { conversations } = await request("GET", `conversations?${query}`);
      this.found = conversations;
      this.draw();
    } catch (error) {
      this.onError(error);
    }
  }

  /** @param {string} id The conversation that is open. */
  setCurrent(id) {
    if (id === this.current) return;
    this.current = id;
    this.draw();
  }

  /** @param {boolean} isOpen */
  setOpen(isOpen) {
    if (isOpen === this.isOpen) return;
    this.root.classList.toggle("is-open", isOpen);
    this.scrim.hidden = !isOpen;
    this.opener.setAttribute("aria-expanded", String(isOpen));
    if (isOpen) byId("side-close").focus();
    else if (this.root.contains(document.activeElement)) this.opener.focus();
  }

  draw() {
    if (!this.found) return;
    this.list.replaceChildren();
    if (!this.found.length) {
      const text = this.search.value.trim()
        ? "No conversation has that in it."
        : "Conversations are kept here, and for dslocal chat in the terminal.";
      this.list.append(element("p", { class: "nothing", text }));
    }
    let heading = "";
    let rows = element("ul");
    for (const summary of this.found) {
      if (dayHeading(summary.last) !== heading) {
        heading = dayHeading(summary.last);
        rows = element("ul", { attributes: { "aria-label": heading } });
        this.list.append(element("h2", { text: heading }), rows);
      }
      rows.append(this.row(summary));
    }
    this.list.querySelector(".current")?.scrollIntoView({ block: "nearest" });
  }

  /**
   * @param {Summary} summary
   * @returns {HTMLElement}
   */
  row(summary) {
    const isCurrent = summary.id === this.current;
    const title = summary.title || "Without a question";
    const link = element(
      "a",
      {
        class: "conversation-link",
        attributes: {
          href: `#/c/${summary.id}`,
          title: `${title}\n${summary.model}`,
          "aria-current": isCurrent ? "page" : undefined,
        },
        on: { click: () => this.setOpen(false) },
      },
      element("span", { class: "title", text: title }),
      summary.match ? element("span", { class: "match", text: summary.match }) : null,
    );
    const remove = iconButton("trash", `Delete: ${title}`, () => void this.remove(summary), "conversation-delete");
    return element("li", { class: isCurrent ? "current" : "" }, link, remove);
  }

  /** @param {Summary} summary */
  async remove(summary) {
    const text = `“${summary.title}” goes from the disk, here and in the terminal.`;
    if (!(await confirmAction("Delete this conversation?", text, "Delete", true))) return;
    try {
      await request("DELETE", `conversations/${summary.id}`);
      this.onDelete(summary.id);
    } catch (error) {
      this.onError(error);
    }
    await this.refresh();
  }
}
