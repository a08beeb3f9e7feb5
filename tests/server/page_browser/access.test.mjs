// Proves that a page of a server with a key asks for it, and keeps it for its tab alone.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { answered, ask, closeBrowser, closePage, env, openPage, screenshot } from "./harness.mjs";

after(closeBrowser);

test("the key is asked for, checked, and forgotten with the tab", async () => {
  const opened = await openPage("/", { url: env.PAGE_KEYED_URL });
  const { page, context } = opened;
  const dialog = page.locator("dialog");
  await dialog.waitFor();
  await screenshot(page, "key");
  await page.fill("dialog input", "not the key");
  await page.getByRole("button", { name: "Continue" }).click();
  await page.waitForFunction(() => /not the key of this server/.test(document.querySelector("dialog")?.textContent ?? ""));
  await page.fill("dialog input", env.PAGE_KEY);
  await page.press("dialog input", "Enter");
  await page.waitForSelector("#model option", { state: "attached" });
  await ask(page, "What is the capital of Peru?");
  assert.match(await (await answered(page)).innerText(), /Lima/);
  const kept = await page.evaluate(() => [JSON.stringify(localStorage), document.cookie, JSON.stringify(sessionStorage)]);
  assert.ok(!kept[0].includes(env.PAGE_KEY) && !kept[1] && kept[2].includes(env.PAGE_KEY));
  await page.reload();
  await answered(page);
  assert.equal(await dialog.count(), 0);
  const other = await context.newPage();
  await other.goto(env.PAGE_KEYED_URL);
  await other.locator("dialog").waitFor();
  await closePage(opened);
});
