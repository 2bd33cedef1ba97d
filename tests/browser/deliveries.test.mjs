// A delivery fails, is looked at, goes out when the endpoint is mended, and is replayed, in Chromium; then what
// before_message did, and what happened to the message. CHATHOOK_URL names a running `chathook dev`.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { openBrowser } from "./chromium.mjs";
import { DESK, looker } from "./look.mjs";

const KEYS = { key: "dev-key", secret: "dev-secret", "content-type": "application/json" };

const url = process.env.CHATHOOK_URL;
assert.ok(url, "CHATHOOK_URL must name a running chathook dev, such as http://127.0.0.1:8080");

let browser;
let page;
let look;
let app;
let apikey;
let messageId;
/** What the endpoint answers to a delivery; to before_message it always adds a note. */
let status = 503;
const arrived = [];

const endpoint = createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request.setEncoding("utf8")) body += chunk;
  const { trigger } = JSON.parse(body);
  if (trigger === "before_message") return response.end(JSON.stringify({ language: "en" }));
  arrived.push(request.headers);
  return response.writeHead(status).end(status === 200 ? "{}" : "the disk is full");
});

async function call(method, path, body, headers = KEYS) {
  const answer = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) });
  assert.equal(answer.status, 200, `${method} ${path}: ${await answer.clone().text()}`);
  return (await answer.json()).data;
}

const button = (name) => page.getByRole("button", { name, exact: true });
const section = (name) =>
  page.getByRole("navigation", { name: "This app" }).getByRole("link", { name, exact: true }).click();

before(async () => {
  await new Promise((resolve) => endpoint.listen(0, "127.0.0.1", resolve));
  browser = await openBrowser({ viewport: DESK, deviceScaleFactor: 1, reducedMotion: "reduce" });
  page = browser.page;
  look = await looker(page);
  const made = await call("POST", "/apps", { name: "Deliveries", region: "us", version: "3" });
  app = `/apps/${made.id}`;
  apikey = Object.values(made.apiKeys).find((key) => key.scope === "fullAccess").apiKey;
  await page.goto(`${url}/dashboard${app}/deliveries`);
  await page.getByLabel("Management key").fill(KEYS.key);
  await page.getByLabel("Management secret").fill(KEYS.secret);
  await page.getByRole("button", { name: "Log in" }).click();
});

after(async () => {
  await browser?.close();
  endpoint.closeAllConnections();
  endpoint.close();
});

test("an app to which nothing was delivered says what to do next", async () => {
  await page.getByText("Nothing was delivered yet").waitFor();
  await look("deliveries-empty");
});

test("a webhook made in the dashboard is seen to fail, without a reload", async () => {
  await section("Webhooks");
  await page.getByRole("link", { name: "New webhook" }).click();
  await page.getByLabel("Id", { exact: true }).fill("audit");
  await page.getByLabel("Name", { exact: true }).fill("Audit trail");
  await page.getByLabel("URL").fill(`http://127.0.0.1:${endpoint.address().port}/hook`);
  await page.getByLabel("before_message", { exact: true }).check();
  await page.getByLabel("after_message", { exact: true }).check();
  await button("Make the webhook").click();
  await section("Deliveries");
  const headers = { apikey, onBehalfOf: "ana", "content-type": "application/json" };
  const draft = { receiver: "ben", receiverType: "user", data: { text: "<b>lunch?</b>" } };
  messageId = (await call("POST", "/v3/messages", draft, headers)).id;
  await page.getByRole("row", { name: /audit 1 .*waiting 503/ }).waitFor();
  await look("deliveries");
});

test("the attempt shows its phases, the answer, the payload and a command for a shell", async () => {
  await page.getByRole("link", { name: "audit 1" }).click();
  await page.getByRole("img", { name: /in all: .*First byte/ }).waitFor();
  await page.getByText("Answer", { exact: true }).click();
  await page.getByText("the disk is full").waitFor();
  assert.match(await page.getByLabel("From a shell").textContent(), /^curl -i 'http:\/\/127\.0\.0\.1:/);
  assert.match(await page.getByLabel("Payload").textContent(), /<b>lunch\?<\/b>/);
  await look("delivery-failing");
  await page.getByRole("link", { name: "Cancel…" }).click();
  await page.getByRole("heading", { name: "Cancel delivery 1?" }).waitFor();
  await look("delivery-cancel");
  await page.getByRole("link", { name: "Keep it" }).click();
});

test("with the endpoint mended it is tried now and arrives, with the same id", async () => {
  status = 200;
  await button("Try now").click();
  await page.getByRole("heading", { name: /Delivery 1 delivered/ }).waitFor();
  assert.equal(await button("Try now").count(), 0);
  const [first, second] = arrived;
  assert.equal(first["webhook-id"], second["webhook-id"]);
  assert.equal(second["chathook-attempt"], "2");
  await look("delivery");
});

test("what was delivered is replayed as a delivery of its own", async () => {
  await page.getByRole("navigation", { name: "Where this is" }).getByRole("link", { name: "audit" }).click();
  await page.getByRole("link", { name: "Replay" }).click();
  await look("replays");
  await page.getByLabel("Since (UTC)").fill("2020-01-01T00:00");
  await button("Replay to audit").click();
  await page.getByRole("heading", { name: /Replay 1 done/ }).waitFor();
  await look("replay");
  await page.getByRole("link", { name: "Its deliveries" }).click();
  await page.getByRole("row", { name: /audit 2 replay .*delivered 200/ }).waitFor();
  assert.equal(arrived[2]["webhook-id"], arrived[0]["webhook-id"]);
  assert.equal(arrived[2]["chathook-replay"], "1");
});

test("what before_message did is listed, and the message tells all that happened to it", async () => {
  await section("before_message");
  await page.getByRole("row", { name: /inject added language/ }).getByRole("link", { name: "message" }).click();
  await page.getByRole("heading", { name: `Message ${messageId}` }).waitFor();
  await page.goBack();
  await look("before-message");
  await section("Messages");
  await page.getByRole("link", { name: messageId, exact: true }).waitFor();
  await look("messages");
  await page.getByLabel("Message id").fill(messageId);
  await button("Find").click();
  await page.getByText("before_message asked audit: added language").waitFor();
  await page.getByText(/attempt 2 at audit \(1\): 200/).waitFor();
  await look("message");
});

test("no page has had a trouble of its own", () => assert.deepEqual(browser.troubles, []));
