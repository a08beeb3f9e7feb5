// Proves that the page chats: asks, streams, stops, edits, continues, resumes, switches the model.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import {
  ENDLESS, answered, ask, closeBrowser, closePage, env, openPage, screenshot, sendWith, stored,
} from "./harness.mjs";

after(closeBrowser);
const PERU = "What is the capital of Peru?";

test("a question, its reasoning in one line, and its answer with a formula", async () => {
  const opened = await openPage();
  const { page } = opened;
  assert.equal(await page.locator(".empty h2").innerText(), `Ask ${env.PAGE_MODEL}`);
  await ask(page, "What is 47 × 86?");
  const answer = await answered(page);
  const reasoning = answer.locator(".reasoning");
  assert.equal(await reasoning.evaluate((element) => element.open), false);
  assert.match(await reasoning.locator("summary").innerText(), /^Reasoned for [\d.]+ s, \d+ tokens$/);
  await reasoning.locator("summary").click();
  assert.match(await reasoning.locator(".reasoning-text").innerText(), /47/);
  assert.ok(await answer.locator(".text .katex").count());
  assert.match(await page.locator("#context-meter").innerText(), /of [\d,]+ tokens/);
  assert.match(page.url(), /#\/c\/\d{8}-\d{6}-[0-9a-f]{4}$/);
  assert.match(await page.locator("#conversations").innerText(), /What is 47 × 86\?/);
  await closePage(opened);
});

test("code is copied as it is", async () => {
  const opened = await openPage(`/#/c/${env.PAGE_RICH}`);
  const { page } = opened;
  const block = page.locator(".code-block").first();
  await block.locator(".code-copy").click();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(copied, 'def greet(name: str) -> str:\n    return f"Hello, {name} <b>&amp;</b>"  # text');
  assert.ok(await block.locator(".hljs-keyword").count());
  assert.equal(await page.locator(".text table td.align-right").first().innerText(), "1,024");
  assert.ok((await page.locator(".tex-block .katex-display").count()) >= 2);
  assert.equal(await page.locator(".tex-source").count(), 1); // the formula that is none
  assert.ok((await page.locator(".text").first().innerText()).includes("$5 and $10"));
  await closePage(opened);
});

test("stop keeps what came, and the answer is continued", async () => {
  const opened = await openPage();
  const { page } = opened;
  await sendWith(page, ENDLESS);
  await ask(page, PERU);
  await page.waitForSelector(".answer .reasoning.is-live:not([hidden])");
  assert.equal(await page.getAttribute("#send", "aria-label"), "Stop");
  await page.keyboard.press("Escape");
  await answered(page);
  assert.equal(await page.getAttribute("#send", "aria-label"), "Send");
  assert.match(await page.locator(".turn.is-last .notice").last().innerText(), /stopped/);
  const [, before] = await stored(page);
  assert.equal(before.cut, "interrupted");
  await page.getByRole("button", { name: "Continue" }).click();
  await page.waitForSelector(".answer[aria-busy]");
  await page.waitForTimeout(700);
  await page.click("#send");
  await answered(page);
  const [, later] = await stored(page);
  assert.ok((later.reasoning + later.text).startsWith(before.reasoning));
  assert.ok((later.reasoning + later.text).length > (before.reasoning + before.text).length);
  await closePage(opened);
});

test("an edited question takes the place of the old one", async () => {
  const opened = await openPage();
  const { page } = opened;
  await ask(page, PERU);
  await answered(page);
  await page.locator(".question").hover();
  await page.getByRole("button", { name: "Edit the question" }).click();
  await page.locator(".editor textarea").fill("What is the capital of Japan?");
  await page.locator(".editor textarea").press("Enter");
  await page.waitForFunction(() => /Tokyo/.test(document.querySelector(".answer .text")?.textContent ?? ""));
  await answered(page);
  assert.equal(await page.locator(".question").count(), 1);
  await page.getByRole("button", { name: "Ask again" }).click();
  await page.waitForSelector(".answer[aria-busy]");
  await answered(page);
  assert.equal(await page.locator(".question .bubble").innerText(), "What is the capital of Japan?");
  await closePage(opened);
});

test("a reload in mid-answer loses nothing", async () => {
  const opened = await openPage();
  const { page } = opened;
  await sendWith(page, ENDLESS);
  await ask(page, PERU);
  const reasoning = () => page.locator(".reasoning-text").evaluate((text) => text.textContent);
  await page.waitForSelector(".reasoning.is-live:not([hidden])");
  await page.locator(".reasoning summary").click();
  const seen = await reasoning();
  await page.reload();
  await page.waitForSelector(".answer[aria-busy] .reasoning");
  await page.click("#send");
  await answered(page);
  await page.locator(".reasoning summary").click();
  const [, { reasoning: kept }] = await stored(page);
  assert.ok(kept.startsWith(seen) && kept.length > seen.length);
  assert.ok((await reasoning()).length > 0);
  await page.reload();
  await answered(page);
  assert.equal(await page.locator(".question .bubble").innerText(), PERU);
  await closePage(opened);
});

test("another model answers", async () => {
  const opened = await openPage();
  const { page } = opened;
  await page.selectOption("#model", env.PAGE_OTHER_MODEL);
  assert.equal(await page.locator(".empty h2").innerText(), `Ask ${env.PAGE_OTHER_MODEL}`);
  await ask(page, PERU);
  const answer = await answered(page);
  assert.match(await answer.innerText(), /Lima/);
  await page.reload();
  await answered(page);
  assert.equal(await page.inputValue("#model"), env.PAGE_OTHER_MODEL);
  await page.selectOption("#model", env.PAGE_MODEL);
  await ask(page, "What is the capital of Japan?");
  assert.match(await (await answered(page)).innerText(), /Tokyo/);
  assert.equal(await page.locator(".question").count(), 2);
  await page.selectOption("#model", env.PAGE_OTHER_MODEL); // whose file says the other one's name
  await ask(page, PERU);
  await answered(page);
  await page.reload();
  await answered(page);
  assert.equal(await page.inputValue("#model"), env.PAGE_OTHER_MODEL);
  await closePage(opened);
});

test("conversations are found, opened and deleted", async () => {
  const opened = await openPage();
  const { page } = opened;
  await ask(page, "What is the capital of Norway?");
  await answered(page);
  await page.click("#new-chat");
  await page.keyboard.press("Control+k");
  await page.keyboard.type("norway");
  await page.waitForSelector(".conversation-link .match");
  await page.locator(".conversation-link").first().click();
  assert.match(await (await answered(page)).innerText(), /Oslo/);
  await page.locator(".conversations li.current .conversation-delete").click();
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await page.waitForSelector(".empty");
  await closePage(opened);
});

test("what was not sent is kept", async () => {
  const opened = await openPage();
  const { page } = opened;
  await page.fill("#question", "half a question");
  await page.reload();
  await page.waitForSelector("#model option", { state: "attached" });
  assert.equal(await page.inputValue("#question"), "half a question");
  await closePage(opened);
});

test("a server that is gone is waited for, and loses no question", async () => {
  const opened = await openPage();
  const { page } = opened;
  await page.route("**/dslocal/**", (route) => route.abort());
  await page.fill("#question", PERU);
  await page.press("#question", "Enter");
  await page.waitForSelector("#banner:not([hidden])");
  assert.match(await page.locator("#banner").innerText(), /does not answer/);
  assert.equal(await page.inputValue("#question"), PERU);
  await screenshot(page, "server-gone");
  await page.unroute("**/dslocal/**");
  await page.waitForSelector("#banner", { state: "hidden" });
  await page.press("#question", "Enter");
  assert.match(await (await answered(page)).innerText(), /Lima/);
  await closePage(opened);
});

test("a question too long for the context is refused with the numbers", async () => {
  const opened = await openPage();
  const { page } = opened;
  await page.fill("#question", "word ".repeat(6000));
  await page.press("#question", "Enter");
  await page.waitForSelector(".failure");
  assert.match(await page.locator(".failure").innerText(), /tokens.*context holds/);
  await screenshot(page, "context-full");
  await closePage(opened);
});

test("a setting says where it comes from, and is sent", async () => {
  const opened = await openPage();
  const { page } = opened;
  await page.click("#settings-open");
  const row = page.locator(".setting", { has: page.locator("#setting-max_tokens") });
  assert.match(await row.locator(".source").innerText(), /model card/);
  await page.fill("#setting-max_tokens", "12");
  await page.press("#setting-max_tokens", "Tab");
  assert.match(await row.locator(".source").innerText(), /^Set on this page/);
  await page.keyboard.press("Escape");
  await ask(page, PERU);
  await answered(page);
  assert.match(await page.locator(".turn.is-last .notice").last().innerText(), /cut/);
  await page.click("#settings-open");
  await row.getByRole("button", { name: /Reset/ }).click();
  assert.match(await row.locator(".source").innerText(), /model card/);
  await closePage(opened);
});

test("the keyboard alone", async () => {
  const opened = await openPage();
  const { page } = opened;
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.getAttribute("aria-label"));
  assert.equal(await focused(), "question");
  await page.keyboard.type("What is 2 + 3?");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("Please.");
  assert.equal(await page.inputValue("#question"), "What is 2 + 3?\nPlease.");
  await page.keyboard.press("Enter");
  await answered(page);
  await page.locator(".reasoning summary").focus();
  await page.keyboard.press("Enter");
  assert.equal(await page.locator(".reasoning").evaluate((element) => element.open), true);
  await page.keyboard.press("Tab");
  assert.ok(await focused());
  await closePage(opened);
});
