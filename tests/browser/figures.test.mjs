// Looks at the overview, the health of an endpoint, people and conversations of a running `chathook dev`, in Chromium;
// CHATHOOK_URL says where it is. SCREENSHOTS, if set, names a directory for pictures: light, dark, and on a phone.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openBrowser } from "./chromium.mjs";
import { DESK, looker } from "./look.mjs";
import { call, listen, logIn, makeApp, send, url } from "./stage.mjs";

let browser;
let page;
let look;
let app;
let endpoint;
let status = 200;

before(async () => {
  endpoint = await listen((request, body, response) => response.writeHead(status).end());
  browser = await openBrowser({ viewport: DESK, deviceScaleFactor: 1, reducedMotion: "reduce" });
  page = browser.page;
  look = await looker(page);
  app = await makeApp("Figures");
  await page.goto(`${url}/dashboard${app.path}/overview`);
  await logIn(page);
});

after(async () => {
  await browser?.close();
  endpoint.close();
});

test("an app without a webhook says what to do next, and its figures follow without a reload", async () => {
  await page.getByText("This app has no webhook yet").waitFor();
  await look("overview-empty");
  const hook = { id: "audit", name: "Audit", webhookURL: endpoint.url };
  await call("POST", `${app.path}/webhooks`, hook);
  await call("POST", `${app.path}/webhooks/audit/triggers`, { triggerIds: ["after_message"] });
  for (let n = 0; n < 5; n += 1) await send(app, "ana", "ben", `hello ${n}`);
  await page.getByRole("img", { name: "Messages and deliveries per minute" }).waitFor();
  await page.getByRole("heading", { name: "Nothing needs a person" }).waitFor();
});

test("an endpoint that fails comes first in the overview, and leads to its health", async () => {
  status = 503;
  for (const [from, to] of [["ana", "ben"], ["ana", "chloe"], ["ana", "dev"], ["ana", "emma"], ["ben", "chloe"],
    ["ben", "dev"], ["ben", "emma"], ["chloe", "dev"], ["chloe", "emma"], ["dev", "emma"]]) {
    await send(app, from, to, "is anybody there?");
  }
  const needs = page.locator("section", { has: page.getByRole("heading", { name: "Needs a person" }) });
  await needs.getByText("Nothing has succeeded").waitFor();
  await look("overview");
  await page.getByRole("link", { name: "Last day" }).click();
  await page.getByRole("img", { name: "Attempts per minute" }).waitFor();
  await needs.getByRole("link", { name: "audit" }).click();
  await page.getByRole("heading", { name: "Health of audit" }).waitFor();
  await page.getByRole("row", { name: /^5xx 10/ }).waitFor();
  await page.getByRole("row", { name: /opened/ }).waitFor();
  await look("health");
});

test("a moderator that fails is silent in sight, on the pages of one that is only asked", async () => {
  const hook = { id: "gate", name: "Gate", webhookURL: endpoint.url };
  await call("POST", `${app.path}/webhooks`, hook);
  await call("POST", `${app.path}/webhooks/gate/triggers`, { triggerIds: ["before_message"] });
  await send("ana", "ben", "may I?");
  await page.goto(`${url}/dashboard${app}/webhooks/gate/health`);
  await page.getByText("It gave no usable answer to 1 of the last 1 calls").waitFor();
  await page.getByRole("img", { name: "before_message per minute" }).waitFor();
  await page.getByRole("row", { name: /It answered 503, a failure of its own\..* 1$/ }).waitFor();
  assert.equal(await page.getByRole("heading", { name: "Failures by cause" }).count(), 0);
  await look("health-asked");
  await page.getByRole("navigation", { name: "Webhook gate" }).getByRole("link", { name: "before_message" }).click();
  await page.getByRole("row", { name: /silent let through, as silence means here/ }).waitFor();
  await look("calls-silent");
});

test("a person is found by a part of their name, with their conversations and messages", async () => {
  await page.getByRole("link", { name: "People" }).click();
  await look("people");
  await page.getByLabel("Uid or name holds").fill("hlo");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByRole("link", { name: "Chloe" }).click();
  await page.getByText("Offline.").waitFor();
  await look("person");
  await page.getByRole("link", { name: "Conversations", exact: true }).first().click();
  await look("conversations");
  await page.getByRole("link", { name: "ana and ben" }).click();
  await look("conversation");
  assert.deepEqual(browser.troubles, []);
});
