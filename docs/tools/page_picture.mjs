// Take the picture of the chat page: a real browser, a running server, real answers.
//
//   dslocal serve nano --port 0                          # prints its address
//   (cd tests/server/page_browser && npm install)
//   PAGE_URL=ADDRESS PAGE_OUT=docs/pictures node docs/tools/page_picture.mjs
import {
  answered, ask, closeBrowser, closePage, openPage, screenshot,
} from "../../tests/server/page_browser/harness.mjs";

const opened = await openPage("/", { width: 1200, height: 760 });
for (const question of ["What is the capital of Japan?", "What is 47 × 86?"]) {
  await ask(opened.page, question);
  await answered(opened.page);
}
await opened.page.waitForTimeout(500);
await screenshot(opened.page, "page");
await closePage(opened);
await closeBrowser();
