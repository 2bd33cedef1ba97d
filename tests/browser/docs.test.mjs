// Reads /docs of a running `chathook dev` in Chromium, as a person would: with a keyboard, on a phone, in the dark.
// CHATHOOK_URL says where it is.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { DESK, looker } from "./look.mjs";

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

test("a field finds in the contents by path, sentence, schema and code, and leads to the first", async () => {
  const { page, troubles } = await open({ viewport: { width: 1200, height: 900 } });
  const names = () => page.locator("nav li a:visible").allInnerTexts();
  const all = (await names()).length;
  await page.keyboard.press("/");
  await page.keyboard.type("secret/rotate");
  assert.deepEqual(await names(), ["rotate_secret"]);
  await page.getByRole("status").getByText("1 found").waitFor();
  await page.keyboard.press("Enter");
  assert.equal(new URL(page.url()).hash, "#rotate_secret");
  const field = page.getByRole("searchbox", { name: "Find" });
  for (const [words, name] of [["before_message answer", "answer to before_message"], ["err_webhook_off", "ERR_WEBHOOK_OFF"], ["newwebhook", "NewWebhook"]]) {
    await field.fill(words);
    assert.ok((await names()).includes(name), `${words}: ${await names()}`);
  }
  await field.fill("");
  assert.equal((await names()).length, all);
  assert.deepEqual(troubles, []);
  await page.context().close();
});

test("headers of webhooks, close codes and upgrades are told", async () => {
  const { page, troubles } = await open({ viewport: { width: 1200, height: 900 } });
  const webhook = page.locator('[id="after_message.webhook"]');
  await webhook.getByText("Headers", { exact: true }).click();
  await webhook.getByText("chathook-settled").waitFor();
  const socket = page.locator('section[aria-labelledby="channel-socket"]');
  await socket.getByText("Close codes").click();
  await socket.getByText("too slow a reader").waitFor();
  assert.match(await page.locator("#open_listener pre").innerText(), /upgrade: websocket/);
  await page.locator("#open_listener").getByText("Answer 101").waitFor();
  assert.deepEqual(troubles, []);
  await page.context().close();
});

test("the page serves who has no scripts", async () => {
  const { page, troubles } = await open({ viewport: { width: 1200, height: 900 }, javaScriptEnabled: false });
  assert.equal(await page.getByRole("searchbox").count(), 0);
  await page.locator("nav").getByRole("link", { name: "send_message" }).click();
  assert.equal(new URL(page.url()).hash, "#send_message");
  assert.deepEqual(troubles, []);
  await page.context().close();
});

test("axe finds nothing serious, whatever is open", async () => {
  // Axe is put into the page from outside, which the page's policy would refuse.
  const { page } = await open({ viewport: DESK, bypassCSP: true });
  await page.evaluate(() => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
  await (await looker(page))("docs");
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
