// A delivery fails, is looked at, goes out when the endpoint is mended, and is replayed, in Chromium; then what
// before_message did, and what happened to the message. CHATHOOK_URL names a running `chathook dev`.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openBrowser } from "./chromium.mjs";
import { DESK, looker } from "./look.mjs";
import { listen, logIn, makeApp, send, url } from "./stage.mjs";

let browser;
let page;
let look;
let app;
let endpoint;
let messageId;
/** The reader's, nine hours before UTC all year. */
const ZONE = "Asia/Tokyo";
/** Of a stream, and some more: nothing tells of what does not happen. */
const TWO_LOOKS_MS = 1_200;
/** After which a page looks by itself. */
const LOOK_EVERY_MS = 15_000;
/** Well below that. */
const AT_ONCE = { timeout: 6_000 };
/** What the endpoint answers to a delivery; to before_message it always adds a note. */
let status = 503;
const arrived = [];

function answer({ headers }, body, response) {
  if (JSON.parse(body).trigger === "before_message") return response.end(JSON.stringify({ language: "en" }));
  arrived.push(headers);
  return response.writeHead(status).end(status === 200 ? "{}" : "the disk is full");
}

const button = (name) => page.getByRole("button", { name, exact: true });
const section = (name) =>
  page.getByRole("navigation", { name: "This app" }).getByRole("link", { name, exact: true }).click();

before(async () => {
  endpoint = await listen(answer);
  browser = await openBrowser({ viewport: DESK, deviceScaleFactor: 1, reducedMotion: "reduce", timezoneId: ZONE });
  page = browser.page;
  look = await looker(page);
  app = await makeApp("Deliveries");
  await page.goto(`${url}/dashboard${app.path}/deliveries`);
  await logIn(page);
});

after(async () => {
  await browser?.close();
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
  await page.getByLabel("URL").fill(endpoint.url);
  await page.getByLabel("before_message", { exact: true }).check();
  await page.getByLabel("after_message", { exact: true }).check();
  await button("Make the webhook").click();
  await section("Deliveries");
  messageId = (await send(app, "ana", "ben", "<b>lunch?</b>")).id;
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
  await page.getByLabel("Since (Asia/Tokyo)").fill("2020-01-01T00:00");
  await button("Replay to audit").click();
  await page.getByRole("heading", { name: /Replay 1 done/ }).waitFor();
  await look("replay");
  await page.getByRole("link", { name: "Its deliveries" }).click();
  await page.getByRole("row", { name: /audit 2 replay .*delivered 200/ }).waitFor();
  assert.equal(arrived[2]["webhook-id"], arrived[0]["webhook-id"]);
  assert.equal(arrived[2]["chathook-replay"], "1");
});

test("a new delivery is seen at once, and a page that nobody sees fetches nothing", async () => {
  await page.goto(`${url}/dashboard${app.path}/deliveries`);
  const known = page.getByRole("row", { name: /audit 2/ });
  await known.evaluate((row) => {
    globalThis.touched = [];
    new MutationObserver((records) => globalThis.touched.push(...records.map(({ type }) => type)))
      .observe(row, { attributes: true, characterData: true, childList: true, subtree: true });
  });
  await send(app, "ben", "chloe", "at once");
  await page.getByRole("row", { name: /audit 3 .*delivered 200/ }).waitFor(AT_ONCE);
  assert.deepEqual(await page.evaluate(() => globalThis.touched), [], "what stays as it is is left alone");
  const show = (isHidden) => page.evaluate((isHidden) => {
    Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, isHidden);
  // The delivery's second event has been and gone.
  await page.waitForTimeout(TWO_LOOKS_MS);
  await show(true);
  const asked = [];
  const note = (request) => asked.push(request.url());
  page.on("request", note);
  await send(app, "ben", "dev", "unseen");
  while (arrived.length < 5) await new Promise((resolve) => setTimeout(resolve, 20));
  await page.waitForTimeout(TWO_LOOKS_MS);
  page.off("request", note);
  assert.deepEqual(asked, []);
  await show(false);
  await page.getByRole("row", { name: /audit 4/ }).waitFor(AT_ONCE);
});

test("a page without a stream looks by itself now and then", async () => {
  const other = await browser.context.newPage();
  await other.route("**/changes", (route) => route.abort());
  await other.clock.install();
  await other.goto(`${url}/dashboard${app.path}/deliveries`);
  await other.getByRole("row", { name: /audit 4/ }).waitFor();
  await send(app, "chloe", "dev", "untold");
  while (arrived.length < 6) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(await other.getByRole("row", { name: /audit 5/ }).count(), 0);
  await other.clock.fastForward(LOOK_EVERY_MS);
  await other.getByRole("row", { name: /audit 5/ }).waitFor(AT_ONCE);
  await other.close();
});

test("moments are typed and shown in the reader's zone, and sent exactly", async () => {
  const since = page.getByLabel("Since (Asia/Tokyo)");
  await since.fill("2026-01-01T08:30");
  await button("Show").click();
  await page.waitForURL(/since=/);
  assert.equal(new URL(page.url()).searchParams.get("since"), "2025-12-31T23:30:00.000Z");
  assert.equal(await since.inputValue(), "2026-01-01T08:30");
  await page.getByRole("row", { name: /audit 4/ }).waitFor();
});

test("what before_message did is listed, and the message tells all that happened to it", async () => {
  await section("before_message");
  await page.getByRole("row", { name: /inject added language/ }).last().getByRole("link", { name: "message" }).click();
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
