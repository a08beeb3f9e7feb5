// Proves that the page can be used by everybody and at every width, and takes its screenshots.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import {
  ENDLESS, answered, ask, closeBrowser, closePage, env, openPage, screenshot, sendWith, seriousFindings,
} from "./harness.mjs";

after(closeBrowser);

const fitsWidth = (page) =>
  page.evaluate(() => [document.documentElement, document.querySelector("#scroll")].every((box) => box.scrollWidth <= box.clientWidth + 1));

for (const colorScheme of ["light", "dark"]) {
  for (const [width, height] of [[1400, 900], [768, 1024], [360, 740]]) {
    test(`${colorScheme}, ${width} pixels wide`, async () => {
      const opened = await openPage("/", { width, height, colorScheme, hasTouch: width < 500 });
      const { page } = opened;
      const look = async (name) => {
        await page.waitForTimeout(300);
        await screenshot(page, `${name}-${colorScheme}-${width}`);
        assert.deepEqual(await seriousFindings(page), [], name);
        assert.ok(await fitsWidth(page), `${name} is wider than the window`);
      };
      await look("empty");
      await page.goto(`${env.PAGE_URL}/#/c/${env.PAGE_RICH}`);
      await page.waitForSelector(".katex");
      await page.locator("#scroll").evaluate((box) => box.scrollTo(0, 0));
      await look("rich");
      await page.locator(".reasoning summary").first().click();
      await page.locator("#scroll").evaluate((box) => box.scrollTo(0, box.scrollHeight));
      await look("rich-end");
      await page.click("#settings-open");
      await look("settings");
      await page.keyboard.press("Escape");
      if (width < 900) {
        await page.click("#side-open");
        await look("list");
        await page.keyboard.press("Escape");
      }
      await page.goto(`${env.PAGE_URL}/#/`);
      await page.waitForSelector(".empty");
      await sendWith(page, ENDLESS);
      await ask(page, "Why is the sky blue?");
      await page.waitForSelector(".reasoning.is-live:not([hidden])");
      await page.waitForTimeout(600);
      await look("live");
      await page.keyboard.press("Escape");
      await answered(page);
      await look("stopped");
      await closePage(opened);
    });
  }
}

test("the theme that is chosen stays", async () => {
  const opened = await openPage("/", { colorScheme: "light" });
  const { page } = opened;
  await page.click("#settings-open");
  await page.getByText("Dark", { exact: true }).click();
  await page.reload();
  const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.equal(background, "rgb(23, 24, 27)");
  await closePage(opened);
});
