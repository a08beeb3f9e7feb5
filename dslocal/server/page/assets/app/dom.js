/**
 * Building elements. Text is always set as text: nothing here makes HTML.
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @typedef {Object} Properties
 * @property {string} [class] The element's classes.
 * @property {string} [text] Its text.
 * @property {Record<string, string | number | boolean | undefined>} [attributes] Its attributes;
 *   undefined and false leave one out.
 * @property {Record<string, (event: any) => void>} [on] Event listeners by event.
 */

/**
 * Return a new element.
 *
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Properties} [properties]
 * @param {...(Node | string | null)} children Null is left out.
 * @returns {HTMLElementTagNameMap[T]}
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  if (properties.class) made.className = properties.class;
  if (properties.text !== undefined) made.textContent = properties.text;
  for (const [name, value] of Object.entries(properties.attributes ?? {})) {
    if (value !== undefined && value !== false) {
      made.setAttribute(name, value === true ? "" : String(value));
    }
  }
  for (const [event, listener] of Object.entries(properties.on ?? {})) {
    made.addEventListener(event, listener);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/**
 * Return an icon of the page's sprite.
 *
 * @param {string} name
 * @returns {SVGElement}
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/**
 * Return a button that shows an icon alone.
 *
 * @param {string} name The icon.
 * @param {string} label What the button does.
 * @param {(event: MouseEvent) => void} onClick
 * @param {string} [more] Further classes.
 * @returns {HTMLButtonElement}
 */
export function iconButton(name, label, onClick, more = "") {
  return element(
    "button",
    {
      class: `icon-button ${more}`.trim(),
      attributes: { type: "button", "aria-label": label, title: label },
      on: { click: onClick },
    },
    icon(name),
  );
}

/**
 * Return the element of the page with that id.
 *
 * @param {string} id
 * @returns {any}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/**
 * Say something to screen readers.
 *
 * @param {string} text
 */
export function announce(text) {
  byId("announcer").textContent = text;
}

/**
 * Copy text to the clipboard.
 *
 * Browsers offer the clipboard to addresses of this machine and to HTTPS; elsewhere a selection is
 * copied.
 *
 * @param {string} text
 */
export async function copyText(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const area = element("textarea", { class: "visually-hidden" });
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/**
 * Show on a copy button that it has copied, for a moment.
 *
 * @param {HTMLButtonElement} button
 * @param {string} text What it copies.
 */
export async function copyFrom(button, text) {
  await copyText(text);
  announce("Copied");
  const shown = button.querySelector("use");
  shown?.setAttribute("href", "#i-check");
  setTimeout(() => shown?.setAttribute("href", "#i-copy"), 1500);
}
