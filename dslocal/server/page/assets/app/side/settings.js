/** The panel with the model, its memory, and settings with where each comes from. */

import { byteSize, grouped } from "../chat/words.js";
import { byId, element, iconButton } from "../dom.js";

/** @typedef {import("../api.js").ServedModel} ServedModel */
/** @typedef {import("../api.js").ServerState} ServerState */
/** @typedef {{label: string, usual: boolean, step: number, least?: number, most?: number}} Field */

const KEPT = "dslocal.settings";
const THEME = "dslocal.theme";
/** @type {Record<string, Field>} */
const FIELDS = {
  temperature: { label: "Temperature", usual: true, step: 0.1, least: 0 },
  top_p: { label: "Top-p", usual: true, step: 0.01, least: 0, most: 1 },
  max_tokens: { label: "Max tokens", usual: true, step: 1, least: 1 },
  think_budget: { label: "Reasoning budget", usual: true, step: 1, least: 0 },
  top_k: { label: "Top-k", usual: false, step: 1, least: 0 },
  min_p: { label: "Min-p", usual: false, step: 0.01, least: 0, most: 1 },
  presence_penalty: { label: "Presence penalty", usual: false, step: 0.1 },
  frequency_penalty: { label: "Frequency penalty", usual: false, step: 0.1 },
  repeat_penalty: { label: "Repeat penalty", usual: false, step: 0.05, least: 0 },
};
const MEMORY_NAMES = /** @type {Record<string, string>} */ ({
  weights: "Weights",
  kv: "KV cache",
  compute: "Compute buffers",
  output: "Output",
  overhead: "Process",
});

export class SettingsPanel {
  /** @param {(text: string) => void} onInstructions Called when the instructions were changed. */
  constructor(onInstructions) {
    this.onInstructions = onInstructions;
    this.root = byId("settings");
    this.opener = byId("settings-open");
    this.instructions = "";
    /** @type {ServerState | null} */
    this.state = null;
    /** @type {ServedModel | null} */
    this.model = null;
    /** @type {Record<string, number>} */
    this.own = readOwn();
    this.opener.addEventListener("click", () => this.setOpen(this.root.hidden));
    this.root.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Escape") this.setOpen(false);
    });
  }

  /** @returns {boolean} */
  get isOpen() {
    return !this.root.hidden;
  }

  /** @param {boolean} isOpen */
  setOpen(isOpen) {
    this.root.hidden = !isOpen;
    this.opener.setAttribute("aria-expanded", String(isOpen));
    this.draw();
    if (isOpen) this.root.querySelector("button")?.focus();
    else this.opener.focus();
  }

  /**
   * @param {ServerState} state
   * @param {ServedModel | null} model The one that answers.
   * @param {string} instructions Those of the conversation.
   */
  show(state, model, instructions) {
    this.state = state;
    this.model = model;
    this.instructions = instructions;
    if (!this.root.contains(document.activeElement)) this.draw();
  }

  draw() {
    if (this.root.hidden) return;
    const close = iconButton("close", "Close the settings", () => this.setOpen(false));
    const head = element("div", { class: "settings-head" }, element("h2", { text: "Model and settings" }), close);
    this.root.replaceChildren(head, ...this.modelParts(), ...this.settingParts(), ...this.pageParts());
  }

  /** @returns {Node[]} */
  modelParts() {
    const { model, state } = this;
    if (!model || !state) return [];
    if (!model.is_loaded) {
      return [heading("Model"), note(`${model.name} is loaded with the first question to it.`)];
    }
    const context = `${grouped(model.n_ctx)} of ${grouped(model.n_ctx_train)} tokens`;
    const facts = {
      Name: model.name,
      Family: model.title,
      File: model.file,
      Context: context,
      ...(model.destination
        ? { "Text goes to": model.destination }
        : {
            "KV cache": model.load_config.kv_type,
            "At once": `${model.slots} ${model.slots === 1 ? "answer" : "answers"}`,
          }),
    };
    const list = element("dl");
    for (const [name, value] of Object.entries(facts)) {
      list.append(element("dt", { text: name }), element("dd", { text: String(value) }));
    }
    return [heading("Model"), list, ...this.memoryParts(model, state)];
  }

  /**
   * @param {ServedModel} model
   * @param {ServerState} state
   * @returns {Node[]}
   */
  memoryParts(model, state) {
    if (!model.memory.length) return [];
    const bar = element("div", { class: "memory-bar", attributes: { "aria-hidden": true } });
    const legend = element("ul", { class: "memory-legend" });
    let planned = 0;
    for (const { part, gpu, host } of model.memory) {
      planned += gpu + host;
      const share = element("span", { class: `part-${part}` });
      share.style.flexGrow = String(gpu + host);
      bar.append(share);
      legend.append(
        element(
          "li",
          {},
          element("span", { class: `dot part-${part}`, attributes: { "aria-hidden": true } }),
          MEMORY_NAMES[part] ?? part,
          element("span", { class: "amount", text: byteSize(gpu + host) + (gpu ? `, ${byteSize(gpu)} on the GPU` : "") }),
        ),
      );
    }
    const { total, available, resident } = state.machine;
    const text =
      `Planned ${byteSize(planned)}; this process has ${byteSize(resident)}. ` +
      `This machine has ${byteSize(total)}, ${byteSize(available)} of it free.`;
    return [heading("Memory"), bar, legend, note(text)];
  }

  /** @returns {Node[]} */
  settingParts() {
    const { model } = this;
    if (!model?.is_loaded) return [];
    const usual = element("div");
    const more = element("details", {}, element("summary", { text: "More settings" }));
    for (const setting of model.settings) {
      const field = FIELDS[setting.name];
      if (field) (field.usual ? usual : more).append(this.settingRow(setting, field));
    }
    if (Object.keys(this.own).some((name) => FIELDS[name] && !FIELDS[name].usual)) more.open = true;
    const area = element("textarea", { attributes: { id: "instructions", rows: 3, "aria-describedby": "instructions-note" } });
    area.value = this.instructions;
    area.addEventListener("change", () => this.onInstructions(area.value));
    const label = element("h3", {}, element("label", { text: "Instructions", attributes: { for: "instructions" } }));
    const about = model.against_system || "For the whole conversation, from the next question on.";
    const hint = note(about);
    hint.id = "instructions-note";
    return [heading("Sampling"), usual, more, label, area, hint];
  }

  /**
   * @param {{name: string, value: any, source: string}} setting
   * @param {Field} field
   * @returns {HTMLElement}
   */
  settingRow(setting, field) {
    const id = `setting-${setting.name}`;
    const input = element("input", {
      attributes: {
        id,
        type: "number",
        step: field.step === 1 ? 1 : "any",
        min: field.least,
        max: field.most,
        inputmode: "decimal",
        placeholder: setting.value ?? "none",
        "aria-describedby": `${id}-source`,
      },
    });
    const source = element("p", { class: "source", attributes: { id: `${id}-source` } });
    const showSource = () => {
      const isOwn = setting.name in this.own;
      source.classList.toggle("is-own", isOwn);
      source.textContent = isOwn ? `Set on this page. ${usualWords(setting)}` : sourceWords(setting);
      if (isOwn) source.append(resetButton(field.label, () => change("")));
    };
    const change = (/** @type {string} */ text) => {
      const isValid = text === "" || input.validity.valid;
      input.setAttribute("aria-invalid", String(!isValid));
      if (!isValid) return;
      if (text === "") delete this.own[setting.name];
      else this.own[setting.name] = Number(text);
      input.value = shownValue();
      localStorage.setItem(KEPT, JSON.stringify(this.own));
      showSource();
    };
    const shownValue = () => String(this.own[setting.name] ?? setting.value ?? "");
    input.value = shownValue();
    input.addEventListener("change", () => change(input.value));
    showSource();
    const label = element("label", { text: field.label, attributes: { for: id } });
    return element("div", { class: "setting" }, element("div", { class: "setting-row" }, label, input), source);
  }

  /** @returns {Node[]} */
  pageParts() {
    const chosen = localStorage.getItem(THEME) ?? "system";
    const choices = element("fieldset", { class: "segments" }, element("legend", { class: "visually-hidden", text: "Theme" }));
    for (const [value, text] of Object.entries({ system: "System", light: "Light", dark: "Dark" })) {
      const input = element("input", { attributes: { type: "radio", name: "theme", value, checked: value === chosen } });
      input.addEventListener("change", () => setTheme(value));
      choices.append(element("label", {}, input, element("span", { text })));
    }
    return [heading("Theme"), choices, note(`dslocal ${this.state?.version ?? ""}`)];
  }
}

/** @param {string} theme */
function setTheme(theme) {
  if (theme === "system") {
    localStorage.removeItem(THEME);
    delete document.documentElement.dataset.theme;
  } else {
    localStorage.setItem(THEME, theme);
    document.documentElement.dataset.theme = theme;
  }
}

/** @returns {Record<string, number>} */
function readOwn() {
  try {
    const found = JSON.parse(localStorage.getItem(KEPT) ?? "{}");
    const known = Object.entries(found).filter(
      ([name, value]) => name in FIELDS && typeof value === "number",
    );
    return Object.fromEntries(known);
  } catch {
    return {};
  }
}

/**
 * @param {string} name The setting.
 * @param {() => void} onClick
 * @returns {HTMLButtonElement}
 */
function resetButton(name, onClick) {
  return element("button", {
    class: "link-button",
    text: "Reset",
    attributes: { type: "button", "aria-label": `Reset ${name}` },
    on: { click: onClick },
  });
}

/**
 * @param {{source: string}} setting
 * @returns {string} Where its value comes from.
 */
function sourceWords({ source }) {
  return source === "off" ? "Off unless it is set" : source;
}

/**
 * @param {{value: any, source: string}} setting
 * @returns {string} What it would be without the user's own value.
 */
function usualWords({ value, source }) {
  return source === "off" ? "Off otherwise." : `${source}: ${value}.`;
}

/**
 * @param {string} text
 * @returns {HTMLElement}
 */
function heading(text) {
  return element("h3", { text });
}

/**
 * @param {string} text
 * @returns {HTMLElement}
 */
function note(text) {
  return element("p", { class: "note", text });
}
