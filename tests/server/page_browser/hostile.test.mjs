// Proves that what a model writes is inert, and that no other machine is ever asked for anything.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { closeBrowser, closePage, env, openPage, screenshot, seriousFindings } from "./harness.mjs";

after(closeBrowser);

const inert = () => ({
  ran: window.hostile ?? null,
  live: [...document.querySelectorAll("#log :is(img, iframe, object, embed, script, style, link, form, input, video, audio, base, meta, foreignObject, animate, set)")].map((element) => element.outerHTML.slice(0, 200)),
  handlers: [...document.querySelectorAll("#log *")].flatMap((element) => [...element.attributes].filter(({ name }) => name.startsWith("on")).map(({ name }) => name)),
  links: [...document.querySelectorAll("#log a")].filter((link) => !/^(https?|mailto):$/.test(link.protocol)).map((link) => link.href),
  styled: [...document.querySelectorAll("#log .text [style]")].filter((element) => !element.closest(".katex")).length,
  pictures: [...document.querySelectorAll("#log svg")].filter((svg) => !svg.closest(".katex") && !svg.querySelector("use[href^='#i-']")).length,
  ids: [...document.querySelectorAll("#log [id]")].filter((element) => !element.closest(".katex, .settings")).length,
});

test("a hostile answer does nothing", async () => {
  const opened = await openPage(`/#/c/${env.PAGE_HOSTILE}`);
  const { page } = opened;
  await page.waitForSelector(".answer .text p");
  for (const summary of await page.locator(".reasoning summary").all()) await summary.click();
  await page.waitForTimeout(500);
  assert.deepEqual(await page.evaluate(inert), {
    ran: null, live: [], handlers: [], links: [], styled: 0, pictures: 0, ids: 0,
  });
  const text = await page.locator("#log").innerText();
  for (const shown of ["<img src=x onerror=", "<script>", "<svg onload", "<style>"]) {
    assert.ok(text.includes(shown), shown);
  }
  assert.match(text, /image not loaded/);
  await screenshot(page, "hostile");
  for (const width of [1400, 360]) {
    await page.setViewportSize({ width, height: 740 });
    assert.deepEqual(await seriousFindings(page), [], `${width} pixels wide`);
  }
  await closePage(opened);
});

test("a hostile title and file name are text in the list and in dialogs", async () => {
  const opened = await openPage();
  const { page } = opened;
  await page.waitForSelector(".conversation-link");
  const hostile = page.locator(`.conversation-link[href$="${env.PAGE_HOSTILE}"]`);
  assert.match(await hostile.innerText(), /<img src=x/);
  await hostile.hover();
  await hostile.locator("xpath=..").locator(".conversation-delete").click();
  assert.match(await page.locator("dialog").innerText(), /<img src=x/);
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  await closePage(opened);
});

test("a link opens after its target was shown", async () => {
  const opened = await openPage(`/#/c/${env.PAGE_HOSTILE}`);
  const { page, context } = opened;
  const pages = [];
  context.on("page", (other) => pages.push(other));
  const link = page.getByRole("link", { name: "your bank" });
  assert.equal(await link.getAttribute("rel"), "noopener noreferrer nofollow");
  for (const how of [{}, { button: "middle" }, { modifiers: ["Control"] }]) {
    await link.click(how);
    const dialog = page.locator("dialog");
    assert.equal(await dialog.locator("b").innerText(), "evil.example");
    assert.match(await dialog.innerText(), /https:\/\/evil\.example\/login/);
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
  }
  assert.equal(pages.length, 0);
  await link.click();
  await screenshot(page, "link");
  const open = page.getByRole("link", { name: "Open" });
  assert.equal(await open.getAttribute("rel"), "noopener noreferrer");
  await page.getByRole("button", { name: "Cancel" }).click();
  await closePage(opened);
});

test("scripts of the answer's own cannot be made live by hand either", async () => {
  const opened = await openPage();
  const { page, context } = opened;
  const refused = await page.evaluate(async () => {
    const outcomes = [];
    try {
      document.body.insertAdjacentHTML("beforeend", "<img src=x onerror=hostile()>");
      outcomes.push("html");
    } catch {
      // Trusted types refuse a string.
    }
    const script = document.createElement("script");
    try {
      script.text = "window.hostile = 1";
      document.body.append(script);
    } catch {
      // As above.
    }
    if (window.hostile) outcomes.push("script");
    try {
      await fetch("https://evil.example/");
      outcomes.push("fetch");
    } catch {
      // The policy refuses other origins.
    }
    return outcomes;
  });
  assert.deepEqual(refused, []);
  await context.close();
});
