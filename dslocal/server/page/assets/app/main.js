/** The page: joins its parts, and decides which conversation is open. */

import { ServerError, request } from "./api.js";
import { Composer } from "./chat/composer.js";
import { OpenConversation } from "./chat/conversation.js";
import { Log } from "./chat/log.js";
import { grouped } from "./chat/words.js";
import { button } from "./dialogs.js";
import { byId, element } from "./dom.js";
import { SettingsPanel } from "./side/settings.js";
import { Sidebar } from "./side/sidebar.js";
import { guardLinks } from "./text/links.js";

/** @typedef {import("./api.js").ServedModel} ServedModel */
/** @typedef {import("./api.js").ServerState} ServerState */

const RETRY_MS = 2000;
const REFRESH_MS = 5000;
const HIGH_SHARE = 0.85; // of the context, from which on the meter warns

class Page {
  constructor() {
    /** @type {ServerState | null} */
    this.state = null;
    this.chosenModel = "";
    /** @type {boolean | null} */
    this.thinking = null;
    this.effort = "";
    /** @type {string | null} Instructions that were changed and not sent yet. */
    this.instructions = null;
    /** @type {Promise<void> | null} */
    this.waiting = null;
    this.log = new Log({
      ask: (text) => void this.conversation.ask(text),
      edit: (place, text) => void this.conversation.edit(place, text),
      retry: () => void this.conversation.retry(),
      continueAnswer: () => void this.conversation.continueAnswer(),
    });
    this.conversation = new OpenConversation({
      log: this.log,
      choices: () => this.choices(),
      onChange: () => this.noteChange(),
      onError: (error) => this.showError(error),
      untilServerIsBack: () => this.untilServerIsBack(),
    });
    this.composer = new Composer({
      ask: (text, files) => this.conversation.ask(text, files),
      stop: () => void this.conversation.stop(),
      complain: (text) => this.showBanner(text, true),
    });
    this.sidebar = new Sidebar(
      (id) => {
        if (id === this.conversation.id) location.hash = "#/";
      },
      (error) => this.showError(error),
    );
    this.settings = new SettingsPanel((text) => {
      this.instructions = text;
    });
    this.wasBusy = false;
    this.listen();
  }

  listen() {
    window.addEventListener("hashchange", () => void this.route());
    byId("new-chat").addEventListener("click", () => this.startNew());
    byId("model").addEventListener("change", (/** @type {any} */ event) => {
      this.chosenModel = event.target.value;
      this.noteChange();
    });
    byId("thinking").addEventListener("click", () => {
      this.thinking = !this.isThinking();
      this.drawThinking();
    });
    byId("effort").addEventListener("change", (/** @type {any} */ event) => {
      this.effort = event.target.value;
    });
    document.addEventListener("keydown", (event) => this.handleKey(event));
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) void this.sidebar.refresh();
    });
    setInterval(() => {
      if (this.settings.isOpen && !document.hidden) void this.refreshState();
    }, REFRESH_MS);
    guardLinks(document.body);
  }

  async start() {
    if (!(await this.refreshState())) await this.untilServerIsBack();
    await Promise.all([this.sidebar.refresh(), this.route()]);
    if (matchMedia("(hover: hover)").matches) this.composer.field.focus();
  }

  /** Open the conversation that the address names. */
  async route() {
    const id = /^#\/c\/([\w-]{1,40})$/.exec(location.hash)?.[1] ?? "";
    if (id && id === this.conversation.id) return;
    this.forgetChoices();
    this.hideBanner();
    this.sidebar.setOpen(false);
    if (!id) {
      this.conversation.close();
      this.composer.openFor("");
      return;
    }
    try {
      await this.conversation.open(id);
      this.composer.openFor(id);
    } catch (error) {
      this.showError(error);
      if (error instanceof ServerError && error.status === 404) location.hash = "#/";
    }
  }

  startNew() {
    this.sidebar.setOpen(false);
    if (location.hash.length > 2) location.hash = "#/";
    else void this.route();
    this.composer.field.focus();
  }

  forgetChoices() {
    this.chosenModel = "";
    this.thinking = null;
    this.effort = "";
    this.instructions = null;
  }

  /** @returns {object} What goes with a question besides its text. */
  choices() {
    const { instructions } = this;
    return {
      ...(this.model() ? { model: this.model()?.name } : {}),
      ...(this.thinking === null ? {} : { thinking: this.thinking }),
      ...(this.effort ? { effort: this.effort } : {}),
      ...(instructions === null ? {} : { system: instructions }),
      settings: this.settings.own,
    };
  }

  /** @returns {ServedModel | null} The model that answers next. */
  model() {
    const models = this.state?.models ?? [];
    const named = (/** @type {string | undefined} */ name) => models.find((each) => each.name === name);
    return named(this.chosenModel) ?? named(this.conversation.stored?.model) ?? models[0] ?? null;
  }

  /** @returns {boolean} Whether the next answer reasons. */
  isThinking() {
    if (this.thinking !== null) return this.thinking;
    const mode = this.conversation.stored?.thinking || this.model()?.thinking || "";
    return mode !== "bypassed" && mode !== "none";
  }

  /** Bring all parts of the page to what the conversation is now. */
  noteChange() {
    const { conversation } = this;
    if (conversation.id && location.hash !== `#/c/${conversation.id}`) {
      history.replaceState(null, "", `#/c/${conversation.id}`);
      this.composer.conversation = conversation.id;
      void this.sidebar.refresh();
    }
    this.sidebar.setCurrent(conversation.id);
    this.composer.setBusy(conversation.isBusy);
    if (this.wasBusy && !conversation.isBusy) {
      void this.refreshState();
      void this.sidebar.refresh();
    }
    this.wasBusy = conversation.isBusy;
    const { title } = conversation;
    document.title = title ? `${title} · dslocal` : "dslocal";
    byId("conversation-title").textContent = title || "New conversation";
    this.drawModel();
  }

  drawModel() {
    const model = this.model();
    const select = byId("model");
    select.replaceChildren(
      ...(this.state?.models ?? []).map((each) => {
        const text = each.is_loaded ? each.name : `${each.name} (not loaded)`;
        return element("option", { text, attributes: { value: each.name, selected: each === model } });
      }),
    );
    if (!this.conversation.id && !this.conversation.isBusy) {
      this.log.showEmpty(model?.name ?? "", about(model));
    }
    this.composer.setPlaceholder(model ? `Ask ${model.name}` : "Ask anything");
    this.drawThinking();
    this.drawMeter();
    if (model?.destination) byId("destination").textContent = `Text goes to ${model.destination}.`;
    if (this.state) this.settings.show(this.state, model, this.instructions ?? this.conversation.stored?.system ?? "");
  }

  drawThinking() {
    const model = this.model();
    const modes = model?.thinking_modes ?? [];
    const chip = byId("thinking");
    chip.hidden = !(modes.includes("bypassed") && modes.some((mode) => mode === "forced" || mode === "free"));
    chip.setAttribute("aria-pressed", String(this.isThinking()));
    const efforts = model?.efforts ?? [];
    byId("effort-box").hidden = efforts.length === 0 || !this.isThinking();
    const current = this.effort || this.conversation.stored?.effort || model?.effort;
    byId("effort").replaceChildren(
      ...efforts.map((name) =>
        element("option", { text: `Effort: ${name}`, attributes: { value: name, selected: name === current } }),
      ),
    );
  }

  drawMeter() {
    const meter = byId("context-meter");
    const figures = this.conversation.answer?.figures;
    const size = this.model()?.n_ctx;
    meter.hidden = !figures || !size;
    if (!figures || !size) return;
    const used = Math.min(size, figures.prompt_tokens + figures.completion_tokens);
    meter.classList.toggle("is-high", used / size > HIGH_SHARE);
    meter.querySelector(".meter-text").textContent = `${grouped(used)} of ${grouped(size)} tokens`;
    meter.querySelector(".meter-bar").value = used / size;
    meter.setAttribute("aria-label", `Context: ${grouped(used)} of ${grouped(size)} tokens`);
  }

  /** @returns {Promise<boolean>} Whether the server has answered. */
  async refreshState() {
    try {
      this.state = await request("GET", "state");
      this.drawModel();
      return true;
    } catch (error) {
      if (!(error instanceof ServerError) || !error.isGone) this.showError(error);
      return false;
    }
  }

  /** @param {KeyboardEvent} event */
  handleKey(event) {
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Escape" && this.sidebar.isOpen) {
      this.sidebar.setOpen(false);
    } else if (event.key === "Escape" && this.conversation.isBusy) {
      void this.conversation.stop();
    } else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      this.sidebar.setOpen(true);
      byId("search").focus();
    } else if (event.key === "/" && document.activeElement === document.body) {
      event.preventDefault();
      this.composer.field.focus();
    }
  }

  /** @param {unknown} error */
  showError(error) {
    if (error instanceof ServerError && error.isGone) {
      void this.untilServerIsBack();
    } else if (error instanceof ServerError) {
      this.showBanner(error.message);
    } else {
      this.showBanner("Something went wrong in this page; the browser's console says what.");
      console.error(error);
    }
  }

  /** Say that the server is gone, and return when it answers again. */
  untilServerIsBack() {
    this.waiting ??= this.wait().finally(() => {
      this.waiting = null;
      this.hideBanner();
    });
    return this.waiting;
  }

  async wait() {
    this.showBanner("The server does not answer. What you typed is kept; this page tries again until it is back.", true);
    do {
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    } while (!(await this.refreshState()));
  }

  /**
   * @param {string} text
   * @param {boolean} [isQuiet]
   */
  showBanner(text, isQuiet = false) {
    const banner = byId("banner");
    banner.classList.toggle("is-quiet", isQuiet);
    banner.replaceChildren(
      element("p", { text }),
      button("Close", "button small", () => this.hideBanner()),
    );
    banner.hidden = false;
  }

  hideBanner() {
    byId("banner").hidden = true;
  }
}

/**
 * @param {ServedModel | null} model
 * @returns {string}
 */
function about(model) {
  if (!model) return "No model is served here.";
  if (!model.is_loaded) return "It is loaded with the first question. Everything stays on this machine.";
  const base = model.is_base ? " A base model: it continues texts rather than answering." : "";
  return `${model.title}, with ${grouped(model.n_ctx)} tokens of context. Everything stays on this machine.${base}`;
}

void new Page().start();
