// A browser on the page of a running server. The environment says where that is:
//
//   PAGE_URL        the server, with two models: PAGE_MODEL and PAGE_OTHER_MODEL
//   PAGE_KEYED_URL  a server with the key PAGE_KEY
//   PAGE_RICH       a stored conversation with code, formulas and a table
//   PAGE_HOSTILE    a stored conversation of everything that must do nothing
//   PAGE_OUT        a folder for screenshots
//   CHROMIUM        the browser's program
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const require = createRequire(import.meta.url);
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
export const env = process.env;
// Reasons until the context ends: what would end it is all but impossible.
export const ENDLESS = {
  logit_bias: ["<｜end▁of▁sentence｜>=-100", "</think>=-100"],
  temperature: 1.5,
};

let browser;

export async function openBrowser() {
  browser ??= await chromium.launch({
    executablePath: env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu"],
  });
  return browser;
}

export async function closeBrowser() {
  await browser?.close();
  browser = undefined;
}

// Return a page, and what goes wrong on it: nothing may.
export async function openPage(address = "/", options = {}) {
  const { width = 1400, height = 900, url = env.PAGE_URL, ...more } = options;
  const context = await (await openBrowser()).newContext({ viewport: { width, height }, ...more });
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: url });
  const page = await context.newPage();
  const faults = { violations: [], errors: [], foreign: [] };
  page.on("console", (message) => {
    const text = message.text();
    if (/Content Security Policy|Trusted Type/i.test(text)) faults.violations.push(text);
  });
  page.on("pageerror", (error) => faults.errors.push(error.message));
  page.on("request", (request) => {
    if (!request.url().startsWith(url)) faults.foreign.push(request.url());
  });
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => {
      window.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`);
    });
  });
  await page.goto(url + address);
  if (!options.url) await page.waitForSelector("#model option", { state: "attached" });
  return { page, context, faults };
}

// Close a page on which nothing may have gone wrong.
export async function closePage({ page, context, faults }) {
  faults.violations.push(...(await page.evaluate(() => window.violations)));
  await context.close();
  assert.deepEqual(faults, { violations: [], errors: [], foreign: [] });
}

export async function ask(page, text) {
  const before = await page.locator(".question").count();
  await page.fill("#question", text);
  await page.press("#question", "Enter");
  await page.waitForFunction((count) => document.querySelectorAll(".question").length > count, before);
}

// Return the messages of the conversation as they are on the server's disk.
export function stored(page) {
  return page.evaluate(async () => {
    const id = location.hash.split("/").pop();
    const { messages } = await (await fetch(`/dslocal/conversations/${id}`)).json();
    return messages;
  });
}

export async function answered(page, timeout = 60_000) {
  await page.waitForSelector(".turn.is-last .answer:not([aria-busy]) .actions button", { timeout });
  return page.locator(".turn.is-last .answer");
}

// Make questions go with settings that the page does not offer.
export async function sendWith(page, settings) {
  await page.route(/\/dslocal\/conversations(\/[^/]+\/answers)?$/, async (route) => {
    const request = route.request();
    if (request.method() !== "POST") return route.continue();
    const body = request.postDataJSON();
    body.settings = { ...body.settings, ...settings };
    return route.continue({ postData: JSON.stringify(body) });
  });
}

// Return what axe-core finds that is serious.
export async function seriousFindings(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => window.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }));
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => node.html).join(" ")}`);
}

export function screenshot(page, name) {
  return page.screenshot({ path: join(env.PAGE_OUT ?? ".", `${name}.png`) });
}
