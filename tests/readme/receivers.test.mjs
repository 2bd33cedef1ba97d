// The README's two receivers do what the README says of them, and stand there as they are here.
// How chathook itself delivers is tested elsewhere.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const receivers = { "receive.py": "python3", "receive.mjs": process.execPath };

async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

async function post(url, credentials) {
  const authorization = "Basic " + Buffer.from(credentials).toString("base64");
  const body = JSON.stringify({ trigger: "after_message", data: { text: "grüße" } });
  for (let tries = 1; ; tries += 1) {
    try {
      return await fetch(url, { method: "POST", headers: { authorization }, body });
    } catch (notListeningYet) {
      if (tries === 200) throw notListeningYet;
      await new Promise((resume) => setTimeout(resume, 50));
    }
  }
}

for (const [file, interpreter] of Object.entries(receivers)) {
  test(`${file} prints the trigger, answers {} and turns strangers away`, async (t) => {
    const port = await freePort();
    const receiver = spawn(interpreter, [here(file)], {
      env: { ...process.env, PORT: String(port) },
      stdio: ["ignore", "pipe", "ignore"],
    });
    t.after(() => receiver.kill("SIGKILL"));
    let printed = "";
    receiver.stdout.setEncoding("utf8").on("data", (text) => (printed += text));

    const stranger = await post(`http://127.0.0.1:${port}/`, "hook:wrong");
    assert.equal(stranger.status, 401);
    const known = await post(`http://127.0.0.1:${port}/`, "hook:secret");
    assert.equal(known.status, 200);
    assert.equal(await known.text(), "{}");
    assert.equal(known.headers.get("content-type"), "application/json");

    while (!printed.includes("\n")) await once(receiver.stdout, "data");
    assert.equal(printed, "after_message\n");
  });

  test(`${file} stands in the README as it is here`, () => {
    const readme = readFileSync(here("../../README.md"), "utf8");
    assert.ok(readme.includes(readFileSync(here(file), "utf8").trim()), `paste ${file} anew`);
  });
}
