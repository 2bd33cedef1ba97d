// What HTML cannot do: times in the reader's zone, copying, and menus that close. Pages work without it.

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const TODAY = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

function showTimes(root) {
  const today = new Date().toDateString();
  for (const time of root.querySelectorAll("time[datetime]:not([data-shown])")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const isTick = time.closest(".plot-ticks") !== null;
    time.textContent = (isTick ? CLOCK : at.toDateString() === today ? TODAY : DAY).format(at);
    time.dataset.shown = "";
  }
}

function offerCopies(root) {
  for (const button of root.querySelectorAll("button[data-copy][hidden]")) button.hidden = false;
}

function dress(root) {
  showTimes(root);
  offerCopies(root);
}

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

document.addEventListener("DOMContentLoaded", () => dress(document));
document.addEventListener("htmx:after:swap", () => dress(document));

// What was asked of the server and refused is shown by the page itself, loaded again. Polls just try later.
document.addEventListener("htmx:after:request", (event) => {
  const { response, request } = event.detail.ctx;
  if (request.method !== "GET" && response && response.status >= 400) location.reload();
});
