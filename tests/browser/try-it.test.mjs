// Drives the try-it page of a running `chathook dev` as a person would, in Chromium.
// It wants one with an empty data directory; CHATHOOK_URL says where it is.
// SCREENSHOT, if set, says where to put a picture of the page; COLOR_SCHEME=dark makes it a dark one.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openBrowser } from "./chromium.mjs";
import { looker } from "./look.mjs";

const TRIGGERS = [
  "before_message",
  "after_message",
  "message_delivery_receipt",
  "message_read_receipt",
  "after_connection_status_changed",
];

const url = process.env.CHATHOOK_URL;
assert.ok(url, "CHATHOOK_URL must name a running chathook dev, such as http://127.0.0.1:8080");

let browser;
let page;

before(async () => {
  browser = await openBrowser();
  page = browser.page;
  await page.goto(url);
});

after(() => browser?.close());

const pane = (uid) => page.getByTestId(`pane-${uid}`);
const dot = (uid, isOnline) => pane(uid).locator(`[data-testid="online-dot"][data-online="${isOnline}"]`);
const message = (uid, text) => pane(uid).getByTestId("message").filter({ hasText: text });
const webhook = (trigger, gist) =>
  page.locator(`[data-testid="webhook"][data-trigger="${trigger}"]`).filter({ hasText: gist });

async function say(uid, text) {
  await pane(uid).getByTestId("composer").fill(text);
  await pane(uid).getByTestId("send").click();
}

async function setMode(name) {
  await page.getByTestId(`mode-${name}`).check();
  await page.locator(`[data-mode="${name}"]`).waitFor();
}

async function tickReaches(uid, text, state) {
  await message(uid, text).locator(`[data-testid="tick"][data-state="${state}"]`).waitFor();
}

test("two people log in and see each other online", async () => {
  await setMode("pass");
  for (const uid of ["ana", "ben"]) {
    await pane(uid).getByTestId("login").click();
    await pane(uid).getByTestId("logout").waitFor();
  }
  await dot("ana", true).waitFor();
  await dot("ben", true).waitFor();
  for (const uid of ["ana", "ben"]) {
    await webhook("after_connection_status_changed", `${uid} connected`).first().waitFor();
  }
});

test("who types is seen to be typing", async () => {
  await pane("ana").getByTestId("composer").pressSequentially("Lun");
  await pane("ben").getByTestId("typing").filter({ hasText: "typing" }).waitFor();
  await pane("ana").getByTestId("composer").fill("");
  await pane("ben").getByTestId("typing").filter({ hasNotText: "typing" }).waitFor({ state: "attached" });
});

test("a message arrives, and its ticks go from sent to read", async () => {
  // With the other's reading switched off the tick stays at delivered until it is switched on.
  await pane("ben").getByTestId("reading").uncheck();
  await say("ana", "Lunch at noon?");
  await message("ben", "Lunch at noon?").waitFor();
  await tickReaches("ana", "Lunch at noon?", "delivered");
  await pane("ben").getByTestId("reading").check();
  await tickReaches("ana", "Lunch at noon?", "read");
  await say("ben", "Yes, see you there");
  await tickReaches("ben", "Yes, see you there", "read");
});

test("a message that the inbox drops is shown with the reason, to the sender alone", async () => {
  await setMode("drop");
  await say("ana", "A dropped one");
  await message("ana", "A dropped one").and(page.locator('[data-state="dropped"]')).waitFor();
  assert.match(await message("ana", "A dropped one").textContent(), /Dropped by the try-it page/);
  // The next message is behind it on the same connection: once it is there, the dropped one would be.
  await setMode("pass");
  await say("ana", "A later one");
  await message("ben", "A later one").waitFor();
  assert.equal(await message("ben", "A dropped one").count(), 0);
});

test("what the inbox injects and replaces is seen", async () => {
  await setMode("inject");
  await say("ana", "With something added");
  await message("ben", "With something added").filter({ hasText: "seenBy" }).waitFor();
  await setMode("replace");
  await say("ana", "With other words");
  await message("ben", "With other words (changed by the inbox)").waitFor();
  await tickReaches("ana", "With other words (changed by the inbox)", "read");
  await setMode("pass");
});

test("all five triggers are listed with headers, payload and answer", async () => {
  for (const trigger of TRIGGERS) {
    const entry = webhook(trigger).first();
    await entry.waitFor();
    await entry.locator("summary").click();
    const parts = entry.locator("pre");
    await parts.nth(2).waitFor();
    const [headers, payload] = await parts.allTextContents();
    assert.equal(JSON.parse(payload).trigger, trigger);
    assert.equal(JSON.parse(headers).authorization, "Basic …");
    assert.match(await entry.locator("summary").textContent(), /200/);
    await entry.locator("summary").click();
  }
  if (process.env.SCREENSHOT) await takePicture(process.env.SCREENSHOT);
});

/** One webhook stands open, so that the picture shows what is inside. */
async function takePicture(path) {
  const entry = webhook("after_message").first();
  await entry.locator("summary").click();
  await page.getByTestId("pane-ana").getByTestId("composer").focus();
  await page.locator("#webhooks").evaluate((list) => list.scrollTo(0, 0));
  await page.screenshot({ path, animations: "disabled" });
  await entry.locator("summary").click();
}

test("the page is open to who sees little, and to who has a phone", async () => {
  const look = await looker(page);
  // Colours that fade from one scheme to the other are neither's.
  await page.emulateMedia({ reducedMotion: "reduce" });
  await webhook("after_message").first().locator("summary").click();
  await look("try-it");
  await webhook("after_message").first().locator("summary").click();
});

test("a socket that is cut comes back to what it missed", async () => {
  await pane("ben").getByTestId("cut").click();
  await pane("ben").getByTestId("login").waitFor();
  await say("ana", "While you were away");
  await tickReaches("ana", "While you were away", "sent");
  await pane("ben").getByTestId("login").click();
  await message("ben", "While you were away").waitFor();
  await tickReaches("ana", "While you were away", "read");
});

test("who logs out is offline for the other, and can log in again", async () => {
  await dot("ana", true).waitFor();
  const disconnected = webhook("after_connection_status_changed", "ben disconnected");
  const numbers = () => disconnected.evaluateAll((all) => all.map((one) => Number(one.dataset.n)));
  const newestBefore = Math.max(0, ...(await numbers()));
  await pane("ben").getByTestId("logout").click();
  await pane("ben").getByTestId("login").waitFor();
  await dot("ana", false).waitFor();
  await page.waitForFunction(
    ([newest]) => [...document.querySelectorAll('[data-trigger="after_connection_status_changed"]')]
      .some((one) => one.textContent.includes("ben disconnected") && Number(one.dataset.n) > newest),
    [newestBefore],
  );
  await pane("ben").getByTestId("login").click();
  await pane("ben").getByTestId("logout").waitFor();
  await dot("ana", true).waitFor();
});

test("the page had no trouble of its own", () => {
  assert.deepEqual(browser.troubles, []);
});
