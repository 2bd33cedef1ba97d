// Reads /docs of a running `chathook dev` in Chromium, as a person would: with a keyboard, on a phone, in the dark.
// CHATHOOK_URL says where it is.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const WAIT_MS = 15_000;
const url = process.env.CHATHOOK_URL;
assert.ok(url, "CHATHOOK_URL must name a running chathook dev, such as http://127.0.0.1:8080");

let browser;
before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM_PATH ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
  });
});
after(async () => browser?.close());

// The page in a window of its own, and all that went wrong or was fetched from elsewhere.
async function open(options) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(WAIT_MS);
  const page = await context.newPage();
  const troubles = [];
  page.on("pageerror", (error) => troubles.push(String(error)));
  page.on("console", (entry) => {
    // Includes what the Content-Security-Policy refuses. Browsers ask for an icon by themselves.
    if (entry.type() === "error" && !entry.location().url.endsWith("/favicon.ico")) troubles.push(entry.text());
  });
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin) troubles.push(request.url());
  });
  await page.goto(new URL("/docs", url).href);
  return { page, troubles };
}

test("the keyboard leads past the contents, and into what is folded", async () => {
  const { page, troubles } = await open({ viewport: { width: 1200, height: 900 } });
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  assert.equal(new URL(page.url()).hash, "#main");
  const operation = page.locator("#send_message");
  const body = operation.locator("details", { hasText: "Body: NewMessage" });
  await body.locator("summary").focus();
  await page.keyboard.press("Enter");
  await body.getByText("receiverType", { exact: true }).waitFor();
  assert.match(await operation.locator("pre").innerText(), /^curl -X POST .*\/v3\/messages/);
  assert.deepEqual(troubles, []);
  await page.context().close();
});

test("a link to a schema opens it", async () => {
  const { page, troubles } = await open({ viewport: { width: 1200, height: 900 } });
  const fields = page.locator("#schema-NewContent");
  assert.equal(await fields.isVisible(), false);
  const body = page.locator("#send_message details", { hasText: "Body: NewMessage" });
  await body.locator("summary").click();
  await body.getByRole("link", { name: "NewContent" }).click();
  await fields.waitFor();
  assert.deepEqual(troubles, []);
  await page.context().close();
});

for (const colorScheme of ["light", "dark"]) {
  test(`on a phone in the ${colorScheme} nothing runs out of the window, whatever is open`, async () => {
    const { page, troubles } = await open({ viewport: { width: 390, height: 844 }, colorScheme });
    const beyond = await page.evaluate(() => {
      for (const details of document.querySelectorAll("details")) details.open = true;
      return document.documentElement.scrollWidth - window.innerWidth;
    });
    assert.ok(beyond <= 0, `${beyond} px too wide`);
    const [ground, ink] = await page.evaluate(() => {
      const style = getComputedStyle(document.body);
      const sum = (color) => color.match(/\d+/g).slice(0, 3).reduce((all, one) => all + Number(one), 0);
      return [sum(style.backgroundColor), sum(style.color)];
    });
    assert.equal(ground < ink, colorScheme === "dark");
    assert.deepEqual(troubles, []);
    await page.context().close();
  });
}
