// A field above the contents that finds in them, by name, path, sentence or code. Without it the page lacks nothing.

const contents = document.querySelector("nav details");
const parts = [...contents.querySelectorAll(".part")].map((part) => ({
  part,
  entries: [...part.querySelectorAll("li")].map((entry) => ({ entry, words: wordsOf(entry) })),
}));

function wordsOf(entry) {
  const place = document.getElementById(entry.querySelector("a").hash.slice(1));
  const said = place.closest("article")?.querySelectorAll("h3, h3 + p") ?? [];
  return [entry, ...said].map((element) => element.textContent.toLowerCase()).join(" ");
}

const label = document.createElement("label");
label.className = "find";
label.append("Find ");
const field = Object.assign(document.createElement("input"), { type: "search", autocomplete: "off", placeholder: "/" });
label.append(field);
const told = document.createElement("p");
told.setAttribute("role", "status");
contents.before(label, told);

function find() {
  const wanted = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const { part, entries } of parts) {
    let found = 0;
    for (const { entry, words } of entries) {
      entry.hidden = !wanted.every((word) => words.includes(word));
      if (!entry.hidden) found += 1;
    }
    part.hidden = found === 0;
    count += found;
  }
  contents.classList.toggle("finds", wanted.length > 0);
  if (wanted.length > 0) contents.open = true;
  told.textContent = wanted.length > 0 ? `${count} found` : "";
}

field.addEventListener("input", find);
field.addEventListener("keydown", (event) => {
  const first = [...contents.querySelectorAll("li:not([hidden]) a")].find((link) => link.getClientRects().length > 0);
  if (event.key === "Enter") first?.click();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target === field) return;
  event.preventDefault();
  field.focus();
});
find();
