// What HTML cannot do: times in the reader's zone, copying, menus that close, telling that something is on its way, and
// pages that follow what happens. Pages work without it.

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const TODAY = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
/** Where many rows share a second. */
const FINE = { hour: "numeric", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 };
const EXACT_TODAY = new Intl.DateTimeFormat(undefined, FINE);
const EXACT_DAY = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric", ...FINE });
/** How often a page looks by itself, for what it was not told of. */
const LOOK_EVERY_MS = 15_000;

function showTimes(root) {
  const today = new Date().toDateString();
  for (const time of root.querySelectorAll("time[datetime]:not([data-shown])")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const isTick = time.closest(".plot-ticks") !== null;
    const [ofToday, ofDay] = time.closest(".exact") ? [EXACT_TODAY, EXACT_DAY] : [TODAY, DAY];
    time.textContent = (isTick ? CLOCK : at.toDateString() === today ? ofToday : ofDay).format(at);
    time.dataset.shown = "";
  }
}

/** A field's moment comes in UTC and is shown, and typed, in the reader's zone. */
function showMoments(root) {
  const { timeZone } = DAY.resolvedOptions();
  for (const input of root.querySelectorAll("input[data-moment]")) {
    for (const zone of root.querySelectorAll(`label[for="${input.id}"] .zone`)) zone.textContent = `(${timeZone})`;
    const at = new Date(`${input.getAttribute("value")}Z`);
    if (Number.isNaN(at.getTime())) continue;
    input.value = new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
  }
}

// Sent is the exact instant, whatever the server knows of zones.
document.addEventListener("formdata", (event) => {
  for (const input of event.target.querySelectorAll("input[data-moment]")) {
    const at = new Date(input.value);
    if (!Number.isNaN(at.getTime())) event.formData.set(input.name, at.toISOString());
  }
});

function offerCopies(root) {
  for (const button of root.querySelectorAll("button[data-copy][hidden]")) button.hidden = false;
}

function dress(root) {
  showTimes(root);
  showMoments(root);
  offerCopies(root);
}

const live = () => document.getElementById("live");
let changes;

let heardAt = new Date();

/** A page that cannot follow says so, and of when it is what it shows. */
function hear(isHeard) {
  if (isHeard) heardAt = new Date();
  const note = document.getElementById("silence");
  if (!note || note.hidden === isHeard) return;
  note.textContent = `The server does not answer. What you see is of ${TODAY.format(heardAt)}.`;
  note.hidden = isHeard;
}

/** Lets htmx fetch the page; while a fetch is under way it keeps one more and drops the rest. */
function follow() {
  if (!document.hidden) live()?.dispatchEvent(new Event("follow"));
}

/** A page in sight hears of changes; one that is hidden gives its connection back, since a browser has few. */
function listen() {
  if (document.hidden) {
    changes?.close();
    changes = undefined;
  } else if (live() && (!changes || changes.readyState === EventSource.CLOSED)) {
    changes = new EventSource(live().dataset.changes);
    changes.addEventListener("change", follow);
    changes.addEventListener("error", follow);
  }
}

document.addEventListener("visibilitychange", listen);
setInterval(() => {
  listen();
  follow();
}, LOOK_EVERY_MS);

async function copy(button) {
  let text = "Copied";
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
  } catch {
    // Without TLS, away from this machine, browsers keep the clipboard to themselves.
    const shown = document.getElementById(button.getAttribute("aria-describedby"));
    if (shown) getSelection().selectAllChildren(shown);
    text = "Selected";
  }
  const before = button.dataset.label ?? button.textContent;
  button.dataset.label = before;
  button.textContent = text;
  setTimeout(() => { button.textContent = before; }, 1500);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-copy]");
  if (button) copy(button);
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

document.addEventListener("DOMContentLoaded", () => {
  dress(document);
  listen();
});
// Before what came takes its place: what did not change is then not touched, nor is what somebody has selected there.
document.addEventListener("htmx:before:swap", (event) => {
  for (const { fragment } of event.detail.tasks) if (fragment) dress(fragment);
});

// What was asked of the server and refused is shown by the page itself, loaded again, and so is that what it showed is
// gone. What else a page cannot fetch now it tries later.
document.addEventListener("htmx:after:request", (event) => {
  const { response, request, sourceElement } = event.detail.ctx;
  if (sourceElement === live() && response) hear(response.status < 500);
  const isRefused = request.method !== "GET" && response?.status >= 400;
  if (isRefused || response?.status === 404) location.reload();
});

// A form that takes its time (data-busy: what its button says meanwhile) shows that it works, and then leads to what
// came of it (data-then), which may be out of sight.
let busy;

function free() {
  if (!busy) return;
  for (const button of busy.form.querySelectorAll("button")) button.disabled = false;
  busy.button.textContent = busy.text;
  busy.button.removeAttribute("aria-busy");
  busy = undefined;
}

document.addEventListener("submit", (event) => {
  const { target: form, submitter: button } = event;
  if (!form.dataset.busy || !button) return;
  // Once the form's data is taken: a button that is off is left out of it.
  setTimeout(() => {
    busy = { form, button, text: button.textContent };
    for (const other of form.querySelectorAll("button")) other.disabled = true;
    button.textContent = form.dataset.busy;
    button.setAttribute("aria-busy", "true");
  });
});

document.addEventListener("htmx:finally:request", (event) => {
  const form = event.detail.ctx.sourceElement;
  if (form !== busy?.form) return;
  free();
  const shown = document.querySelector(form.dataset.then);
  shown?.focus({ preventScroll: true });
  shown?.scrollIntoView({ block: "start" });
});

// A page that comes back out of the browser's memory.
addEventListener("pageshow", free);

document.addEventListener("htmx:error", (event) => {
  if (event.detail.ctx?.sourceElement === live()) hear(false);
});
