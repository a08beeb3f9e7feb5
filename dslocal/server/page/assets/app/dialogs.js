/** Questions to the user, as modal dialogs. */

import { element } from "./dom.js";

/**
 * Show a dialog until one of its buttons is pressed.
 *
 * @template R
 * @param {string} title
 * @param {Node[]} content
 * @param {(close: (result: R) => void) => Node[]} buttons Makes the buttons; the last one decides.
 * @param {R} dismissed What Escape means.
 * @returns {Promise<R>}
 */
export function showDialog(title, content, buttons, dismissed) {
  return new Promise((resolve) => {
    let result = dismissed;
    const heading = element("h2", { text: title, attributes: { id: "dialog-title" } });
    const dialog = element("dialog", { attributes: { "aria-labelledby": "dialog-title" } }, heading);
    const close = (/** @type {R} */ chosen) => {
      result = chosen;
      dialog.close();
    };
    dialog.append(...content, element("div", { class: "dialog-row" }, ...buttons(close)));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(result);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * Return whether the user agrees.
 *
 * @param {string} title
 * @param {string} text
 * @param {string} action What the button says that agrees.
 * @param {boolean} [isDangerous]
 * @returns {Promise<boolean>}
 */
export function confirmAction(title, text, action, isDangerous = false) {
  return showDialog(
    title,
    [element("p", { text })],
    (close) => [
      button("Cancel", "button", () => close(false)),
      button(action, isDangerous ? "button danger" : "button primary", () => close(true)),
    ],
    false,
  );
}

/**
 * Ask for the key of the server.
 *
 * @param {boolean} wasWrong Whether one was given that is not right.
 * @returns {Promise<string>} Empty where the user gives none.
 */
export function askForKey(wasWrong) {
  const input = element("input", {
    attributes: { type: "password", "aria-label": "Key", autocomplete: "off", spellcheck: "false" },
  });
  const text = wasWrong
    ? "That is not the key of this server."
    : "This server needs its key: the one of --api-key or DSLOCAL_API_KEY.";
  const kept = "The key is kept only until this tab is closed.";
  return showDialog(
    "A key is needed",
    [element("p", { text: `${text} ${kept}` }), input],
    (close) => {
      input.addEventListener("keydown", (event) => {
        if (event.key === "Enter") close(input.value.trim());
      });
      return [button("Continue", "button primary", () => close(input.value.trim()))];
    },
    "",
  );
}

/**
 * @param {string} text
 * @param {string} classes
 * @param {() => void} onClick
 * @returns {HTMLButtonElement}
 */
export function button(text, classes, onClick) {
  return element("button", {
    class: classes,
    text,
    attributes: { type: "button" },
    on: { click: onClick },
  });
}
