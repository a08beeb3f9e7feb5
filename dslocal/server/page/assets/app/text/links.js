/** Links in answers: they open only after their target was shown. */

import { button, showDialog } from "../dialogs.js";
import { copyText, element } from "../dom.js";

/**
 * Have links below an element ask before they open.
 *
 * @param {HTMLElement} root
 */
export function guardLinks(root) {
  for (const event of ["click", "auxclick"]) {
    root.addEventListener(event, (/** @type {any} */ happened) => {
      const link = happened.target instanceof Element ? happened.target.closest(".text a") : null;
      if (!link) return;
      happened.preventDefault();
      if (happened.button !== 2) void askToOpen(/** @type {HTMLAnchorElement} */ (link));
    });
  }
}

/** @param {HTMLAnchorElement} link */
async function askToOpen(link) {
  const url = new URL(link.href);
  await showDialog(
    "Open this link?",
    [element("p", { text: "A model wrote it. It leads to:" }), target(url)],
    (close) => [
      button("Cancel", "button", () => close(undefined)),
      button("Copy", "button", () => void copyText(link.href).then(() => close(undefined))),
      element("a", {
        class: "button primary",
        text: "Open",
        attributes: { href: link.href, target: "_blank", rel: "noopener noreferrer" },
        on: { click: () => setTimeout(() => close(undefined)) },
      }),
    ],
    undefined,
  );
}

/**
 * Return the target with its host set off, which is what counts.
 *
 * @param {URL} url
 * @returns {HTMLElement}
 */
function target(url) {
  const shown = element("span", { class: "target", attributes: { translate: "no", tabindex: 0 } });
  const [before, after] = url.host ? url.href.split(url.host, 2) : [url.href, ""];
  shown.append(before, element("b", { text: url.host }));
  shown.append(url.host ? url.href.slice(before.length + url.host.length) : after);
  return shown;
}
