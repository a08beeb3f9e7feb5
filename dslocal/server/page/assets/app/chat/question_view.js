/** A question on the page, and its editor. */

import { button } from "../dialogs.js";
import { copyFrom, element, iconButton } from "../dom.js";

/** @typedef {import("../api.js").Message} Message */

const LONG = 1500; // characters, from which on a question is scrolled

/**
 * Return the element of a question.
 *
 * @param {Message} message
 * @param {((text: string) => void) | null} onEdit Asks it again; null where it cannot be edited now.
 * @returns {HTMLElement}
 */
export function questionView(message, onEdit) {
  const root = element("article", { class: "question", attributes: { "aria-label": "Question" } });
  showQuestion(root, message, onEdit);
  return root;
}

/**
 * @param {HTMLElement} root
 * @param {Message} message
 * @param {((text: string) => void) | null} onEdit
 */
function showQuestion(root, message, onEdit) {
  const bubble = element("div", { class: "bubble", text: message.text });
  if (message.text.length > LONG) {
    bubble.classList.add("is-long");
    bubble.tabIndex = 0; // it is scrolled by keyboard, too
    bubble.setAttribute("role", "region");
    bubble.setAttribute("aria-label", "Text of the question");
  }
  const actions = element("div", { class: "actions" });
  /** @type {HTMLButtonElement} */
  const copy = iconButton("copy", "Copy the question", () => copyFrom(copy, message.text));
  if (onEdit) {
    actions.append(
      iconButton("edit", "Edit the question", () => showEditor(root, message, onEdit)),
    );
  }
  actions.append(copy);
  root.replaceChildren(bubble, ...sentMore(message), actions);
}

/**
 * Say what was sent besides the typed text.
 *
 * @param {Message} message
 * @returns {HTMLElement[]}
 */
function sentMore(message) {
  const names = [...message.sent.matchAll(/^\[file name\]: (.*)$/gm)].map((found) => found[1]);
  const lines = [];
  if (names.length) lines.push(`With ${names.join(", ")}`);
  if (message.sent.includes("\\boxed{}") && !message.text.includes("\\boxed{}")) {
    lines.push("Asked for a boxed answer, step by step, as the model card recommends");
  }
  return lines.map((text) => element("div", { class: "attached", text }));
}

/**
 * @param {HTMLElement} root
 * @param {Message} message
 * @param {(text: string) => void} onEdit
 */
function showEditor(root, message, onEdit) {
  const area = element("textarea", { attributes: { "aria-label": "Question", rows: 3 } });
  area.value = message.text;
  const cancel = () => {
    showQuestion(root, message, onEdit);
    root.querySelector("button")?.focus();
  };
  const submit = () => {
    if (area.value.trim()) onEdit(area.value);
  };
  area.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      cancel();
    } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      submit();
    }
  });
  root.replaceChildren(
    element(
      "div",
      { class: "editor" },
      area,
      element(
        "div",
        { class: "dialog-row" },
        button("Cancel", "button small", cancel),
        button("Ask", "button small primary", submit),
      ),
    ),
  );
  area.focus();
}
