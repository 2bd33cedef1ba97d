// The right-hand column: what the inbox received, and what it answers to before_message.

import { byId, call, clock, element, report, withJson } from "/dev/dom.js";

const WEBHOOKS_SHOWN_MAX = 500;
const FRESH_MS = 3000;

const MODES = [
  ["pass", "Pass", "{} — messages go on unchanged."],
  ["inject", "Inject", '{"seenBy":"inbox"} — it is placed in the message’s metadata.'],
  ["drop", "Drop", "do_not_propagate — nothing is stored; the sender is told why."],
  ["replace", "Replace", "replace — “(changed by the inbox)” is added to the text."],
  ["hang", "Hang", "Nothing — the budget runs out, then onFailure decides."],
  ["error", "500", "Status 500 — a failure, so onFailure decides."],
];

function gist({ trigger, payload }) {
  const data = payload?.data ?? {};
  if (trigger === "before_message" || trigger === "after_message") {
    const what = data.category === "action" ? `message ${data.data?.action ?? "changed"}` : `“${data.data?.text ?? data.type}”`;
    return `${data.sender} → ${data.receiver}: ${what}`;
  }
  if (trigger === "message_delivery_receipt") return `message ${data.messageId} has reached ${data.receiptSender}`;
  if (trigger === "message_read_receipt") return `${data.receiptSender} has read message ${data.messageId}`;
  if (data.event) return `${data.user?.uid} ${data.event.type}, now ${data.user?.status}`;
  return payload?.webhook ?? "";
}

/** Pretty JSON in which keys, strings and the rest can be told apart; it scrolls by keyboard, too. */
function pretty(value, title) {
  const block = element("pre");
  block.tabIndex = 0;
  block.setAttribute("role", "region");
  block.setAttribute("aria-label", title);
  const text = JSON.stringify(value, null, 2);
  let from = 0;
  for (const match of text.matchAll(/("(?:\\.|[^"\\])*")(\s*:)?|\b(?:true|false|null)\b|-?\d[\d.eE+-]*/g)) {
    const [whole, string, colon] = match;
    const token = string ?? whole;
    block.append(text.slice(from, match.index), element("span", colon ? "json-key" : string ? "json-string" : "json-other", token));
    from = match.index + token.length;
  }
  block.append(text.slice(from));
  return block;
}

function webhookView(webhook) {
  const { answer } = webhook;
  const isFresh = Date.now() - webhook.receivedAt < FRESH_MS;
  const root = element("details", isFresh ? "webhook fresh" : "webhook");
  Object.assign(root.dataset, { testid: "webhook", trigger: webhook.trigger, n: webhook.n });
  const isOk = answer.status >= 200 && answer.status < 300;
  const status = element("span", isOk ? "status" : "status failed", answer.status ?? "no answer");
  status.title = "What the inbox answered";
  const summary = element("summary");
  summary.append(
    element("span", "trigger", webhook.trigger),
    element("span", "when", `${clock(webhook.receivedAt)} · ${webhook.durationMs} ms`),
    status,
    element("span", "gist", gist(webhook)),
  );
  root.append(summary);
  // The inside is built when it is first looked at: hundreds of these may stand here.
  root.addEventListener("toggle", () => {
    if (root.querySelector(".parts")) return;
    const parts = element("div", "parts");
    const given = answer.status === null ? "The caller left before an answer." : answer.body;
    for (const [title, value] of [["Headers", webhook.headers], ["Payload", webhook.payload], ["Answer", given]]) {
      parts.append(element("h3", "", title), pretty(value, title));
    }
    root.append(parts);
  });
  return root;
}

export function watchWebhooks() {
  const list = byId("webhooks");
  const seen = new Set();
  const count = () => {
    const shown = list.querySelectorAll(".webhook");
    if (shown.length > WEBHOOKS_SHOWN_MAX) shown[shown.length - 1].remove();
    byId("webhook-count").textContent = Math.min(shown.length, WEBHOOKS_SHOWN_MAX);
    byId("webhooks-empty").hidden = shown.length > 0;
  };
  const live = (isLive) => {
    byId("feed-dot").dataset.live = isLive;
    byId("feed-state").textContent = isLive ? "listening" : "reconnecting";
  };
  const feed = new EventSource("/dev/webhooks");
  feed.addEventListener("open", () => live(true));
  feed.addEventListener("error", () => live(false));
  feed.addEventListener("message", (event) => {
    const webhook = JSON.parse(event.data);
    // A feed that comes back begins again; a server that was restarted counts from one again.
    const key = `${webhook.n}@${webhook.receivedAt}`;
    if (seen.has(key)) return;
    seen.add(key);
    list.prepend(webhookView(webhook));
    byId("announce").textContent = `${webhook.trigger} arrived`;
    count();
  });
  byId("clear").addEventListener("click", () => {
    for (const shown of list.querySelectorAll(".webhook")) shown.remove();
    count();
  });
}

export async function offerModes() {
  const note = (name) => { byId("mode-note").textContent = MODES.find(([mode]) => mode === name)?.[2] ?? ""; };
  for (const [name, label] of MODES) {
    const input = element("input");
    Object.assign(input, { type: "radio", name: "mode", value: name });
    input.dataset.testid = `mode-${name}`;
    input.addEventListener("change", async () => {
      try {
        const { mode } = await call("/dev/before-message", withJson("PUT", { mode: name }));
        note(mode);
        byId("modes").dataset.mode = mode;
      } catch (error) {
        report(error);
      }
    });
    const segment = element("label", "segment");
    segment.append(input, element("span", "", label));
    byId("modes").append(segment);
  }
  const { mode } = await call("/dev/before-message");
  byId("modes").querySelector(`[value="${mode}"]`).checked = true;
  byId("modes").dataset.mode = mode;
  note(mode);
}
