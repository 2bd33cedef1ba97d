// Walks the dashboard of a running `chathook dev` as a person would, in Chromium; CHATHOOK_URL says where it is.
// SCREENSHOTS, if set, names a directory for pictures of the pages: light, dark, and on a phone.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openBrowser } from "./chromium.mjs";
import { DESK, looker } from "./look.mjs";
import { call, listen, logIn, url } from "./stage.mjs";

let browser;
let page;
let look;
/** The app that this test makes, and its webhook's page. */
let app;
const hook = () => `${app}/webhooks/audit`;

/** Takes everything. */
let endpoint;

before(async () => {
  endpoint = await listen(({ headers }, _, response) => response.end(JSON.stringify({ seen: headers["webhook-id"] })));
  browser = await openBrowser({ viewport: DESK, deviceScaleFactor: 1, reducedMotion: "reduce" });
  page = browser.page;
  look = await looker(page);
});

after(async () => {
  await browser?.close();
  endpoint.close();
});

const button = (name, on = page) => on.getByRole("button", { name });
const secretShown = () => page.locator("#flash-secret");

test("wrong credentials are refused, the right ones lead to the page that was asked for", async () => {
  await page.goto(`${url}/dashboard/apps/new`);
  await logIn(page, "not-it");
  await page.getByRole("alert").filter({ hasText: "wrong" }).waitFor();
  await look("log-in");
  await logIn(page);
  await page.getByRole("heading", { name: "New app" }).waitFor();
});

test("an app is made, with its keys in sight and times in the reader's zone", async () => {
  await page.goto(`${url}/dashboard`);
  await look("apps");
  await page.getByRole("link", { name: "New app" }).click();
  await look("app-new");
  await page.getByLabel("Name").fill("Flower shop");
  await button("Make the app").click();
  await page.getByRole("status").filter({ hasText: "made" }).waitFor();
  app = page.url().replace(/\/settings$/, "");
  const key = page.locator("#key-fullAccess");
  assert.match(await key.textContent(), /^[0-9a-f]{40}$/);
  const time = page.locator("time").first();
  assert.doesNotMatch(await time.textContent(), /UTC/);
  assert.match(await time.getAttribute("title"), /^\d{4}-.*Z$/);
  await look("settings");
});

test("settings that cannot be are all refused at their fields, and kept as typed", async () => {
  await page.getByLabel("Budget of a message").fill("7");
  await page.getByLabel("Events", { exact: true }).fill("soon");
  await page.getByLabel("Allowed origins").fill("https://flowers.example\nhttps://other.example");
  await button("Save").click();
  await page.getByText("Must be a whole number from 100 to 5000.").waitFor();
  await page.getByText("Must be a whole number from 1 to 36500.").waitFor();
  assert.equal(await page.getByLabel("Budget of a message").inputValue(), "7");
  await page.getByLabel("Budget of a message").fill("1500");
  await page.getByLabel("Events", { exact: true }).fill("30");
  await button("Save").click();
  await page.getByRole("status").filter({ hasText: "saved" }).waitFor();
  const settings = await call("GET", `/apps/${app.split("/").pop()}/settings`);
  assert.equal(settings.beforeMessageBudgetMs, 1500);
  assert.deepEqual(settings.allowedOrigins, ["https://flowers.example", "https://other.example"]);
});

test("a webhook whose URL is refused says why at the field; mended, it shows its secret once", async () => {
  await page.getByRole("link", { name: "Webhooks", exact: true }).click();
  await look("webhooks-empty");
  await page.getByRole("link", { name: "New webhook" }).click();
  await look("webhook-new");
  await page.getByLabel("Id", { exact: true }).fill("audit");
  await page.getByLabel("Name", { exact: true }).fill("Audit trail");
  await page.getByLabel("URL").fill("https://10.0.0.1/hook");
  await page.getByLabel("before_message", { exact: true }).check();
  await page.getByLabel("after_message", { exact: true }).check();
  await button("Make the webhook").click();
  const why = page.locator("#e-webhookURL");
  await why.filter({ hasText: "Is refused" }).waitFor();
  await look("webhook-refused");
  assert.ok(await page.getByLabel("after_message", { exact: true }).isChecked(), "what was ticked stays so");
  await page.getByLabel("URL").fill(endpoint.url);
  await button("Make the webhook").click();
  await secretShown().waitFor();
  assert.match(await secretShown().textContent(), /^whsec_/);
  await page.reload();
  assert.equal(await secretShown().count(), 0);
});

test("a test shows the request and the answer, without leaving the page", async () => {
  await page.evaluate(() => { globalThis.stayed = true; });
  await button("Send a test of before_message").click();
  const tested = page.locator("#tested");
  await tested.getByText("The message would go on with what the answer adds.").waitFor();
  await page.waitForFunction(() => document.activeElement.id === "tested");
  const top = await tested.evaluate((shown) => shown.getBoundingClientRect().top);
  assert.ok(top >= 0 && top < 450, `the result is out of sight: ${top}`);
  await button("Send a test of after_message").click();
  await tested.getByRole("heading", { name: "200 after_message was taken" }).waitFor();
  assert.match(await page.getByLabel("Headers of the request").textContent(), /chathook-test: true/);
  const body = JSON.parse(await page.getByLabel("Body of the request").textContent());
  assert.equal(body.trigger, "after_message");
  const answer = JSON.parse(await page.getByLabel("Body of the answer").textContent());
  assert.match(answer.seen, /^./);
  assert.ok(await page.evaluate(() => globalThis.stayed), "the page was loaded anew");
  await look("webhook");
});

test("the page follows what happens elsewhere", async () => {
  const path = `/apps/${app.split("/").pop()}/webhooks/audit`;
  await call("PUT", path, { enabled: false });
  await page.locator("#live").getByText("disabled", { exact: true }).waitFor();
  await call("PUT", path, { enabled: true });
  await page.locator("#live").getByText("on", { exact: true }).waitFor();
  assert.ok(await page.evaluate(() => globalThis.stayed), "the page was loaded anew");
});

test("a page whose server does not answer says so, and follows again when it does", async () => {
  const webhook = `/apps/${app.split("/").pop()}/webhooks/audit`;
  const rename = (name) => call("PUT", webhook, { name });
  const gone = page.getByRole("alert").filter({ hasText: "The server does not answer" });
  await page.route(hook(), (route) => route.abort());
  await rename("Audit trail, renamed");
  await gone.waitFor();
  await page.unroute(hook());
  await rename("Audit trail");
  await gone.waitFor({ state: "hidden" });
});

test("the secret is rotated, and the webhook disabled and enabled", async () => {
  await button("Rotate").click();
  await secretShown().waitFor();
  await look("webhook-rotated");
  await page.getByText("signs beside the present one until").waitFor();
  await button("Disable").click();
  await page.getByText("Nothing new is owed to it.", { exact: false }).first().waitFor();
  await look("webhook-disabled");
  await button("Enable").click();
  await button("Disable").waitFor();
});

test("a webhook is changed, and what is not named stays", async () => {
  await page.getByRole("link", { name: "Change" }).click();
  await look("webhook-edit");
  await page.getByLabel("Patience").fill("forever");
  await page.getByLabel("before_message", { exact: true }).uncheck();
  await button("Save").click();
  await page.locator("#e-patienceSeconds").filter({ hasText: "unlimited" }).waitFor();
  await page.getByLabel("Patience").fill("unlimited");
  await button("Save").click();
  await page.getByText("the order is strict").waitFor();
  const triggers = await call("GET", `/apps/${app.split("/").pop()}/webhooks/audit/triggers`);
  assert.deepEqual(triggers.map(({ id }) => id), ["after_message"]);
  await page.getByRole("navigation", { name: "This app" }).getByRole("link", { name: "Webhooks" }).click();
  await look("webhooks");
});

test("everything is reached by keyboard, and a page begins with a way past its head", async () => {
  await page.goto(app + "/webhooks");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the page");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "New webhook");
  await page.locator(".switcher summary").focus();
  await page.keyboard.press("Enter");
  await page.locator(".menu-list").waitFor();
  await look("switcher");
  await page.keyboard.press("Escape");
  await page.locator(".menu-list").waitFor({ state: "hidden" });
});

test("without JavaScript the same things are done", async () => {
  const other = await openBrowser({ javaScriptEnabled: false });
  await other.page.goto(hook());
  await logIn(other.page);
  await button("Send a test of after_message", other.page).click();
  await other.page.getByRole("heading", { name: "200 after_message was taken" }).waitFor();
  assert.equal(new URL(other.page.url()).hash, "#tested");
  assert.match(await other.page.locator("time").first().textContent(), /UTC$/);
  const sections = other.page.getByRole("navigation", { name: "This app" });
  await sections.getByRole("link", { name: "Deliveries" }).click();
  await other.page.getByLabel("Since (UTC)").fill("2026-01-01T00:00");
  await button("Show", other.page).click();
  assert.equal(new URL(other.page.url()).searchParams.get("since"), "2026-01-01T00:00");
  assert.match(await other.page.getByLabel("Since (UTC)").inputValue(), /^2026-01-01T00:00/);
  await button("Log out", other.page).click();
  await other.page.getByLabel("Management key").waitFor();
  await other.close();
});

test("a page whose webhook is deleted elsewhere says so", async () => {
  const webhooks = `/apps/${app.split("/").pop()}/webhooks`;
  await call("POST", webhooks, { id: "brief", name: "Brief", webhookURL: endpoint.url });
  await page.goto(`${app}/webhooks/brief`);
  await page.getByRole("heading", { name: "Brief" }).waitFor();
  await call("DELETE", `${webhooks}/brief`);
  await page.getByText("There is no webhook with the id 'brief'.").waitFor();
});

test("a webhook and its app are deleted, and gone", async () => {
  await page.goto(hook());
  await page.getByRole("link", { name: "Delete…" }).click();
  await look("webhook-delete");
  await button("Delete the webhook").click();
  await page.getByRole("status").filter({ hasText: "is deleted" }).waitFor();
  await page.goto(`${app}/settings`);
  await page.getByRole("link", { name: "Delete…" }).click();
  await look("app-delete");
  await page.getByLabel("App id").fill("something else");
  await button("Delete the app").click();
  await page.locator("#e-confirm").filter({ hasText: "Must be the app's id" }).waitFor();
  await page.getByLabel("App id").fill(app.split("/").pop());
  await button("Delete the app").click();
  await page.getByRole("status").filter({ hasText: "is deleted" }).waitFor();
  assert.equal(await page.getByRole("link", { name: "Flower shop" }).count(), 0);
});

test("the pages had no trouble of their own", () => {
  // The answers that refuse are what some tests ask for; browsers write them down.
  const asked = ["the server responded with a status of 4", "net::ERR_FAILED", "Failed to fetch"];
  const own = browser.troubles.filter((text) => !asked.some((part) => text.includes(part)));
  assert.deepEqual(own, []);
});
