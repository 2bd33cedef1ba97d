// The README's own commands, pasted into a shell against a running `chathook dev`: the curl lines that it
// prints, the calls that configure a webhook, and both receivers, which then hear of a message.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const readme = readFileSync(here("../../README.md"), "utf8");
const server = process.env.CHATHOOK_URL;
const printed = readFileSync(process.env.CHATHOOK_DEV_LOG, "utf8");

const shell = (command) => JSON.parse(execFileSync("bash", ["-c", command.replace(/\bcurl /, "curl -sS ")], { encoding: "utf8" }));
const pasted = () => printed.split("\n").filter((line) => line.startsWith("curl "));

async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

async function untilItListens(port) {
  for (let tries = 0; tries < 200; tries += 1) {
    try {
      await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: "{}" });
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  throw new Error(`nothing listens on port ${port}`);
}

test("the three curl lines that dev prints work when pasted", () => {
  const lines = pasted();
  assert.equal(lines.length, 3);
  for (const line of lines) assert.ok(shell(line).data, line);
});

const receivers = [
  ["python3", "receive.py"],
  ["node", "receive.mjs"],
];
for (const [program, file] of receivers) {
  test(`${file} hears of a message through a webhook made by the README's calls`, async () => {
    const port = await freePort();
    const child = spawn(program, [here(file)], { env: { ...process.env, PORT: String(port) }, stdio: ["ignore", "pipe", "ignore"] });
    try {
      await untilItListens(port);
      const id = `mine-${program}`;
      const calls = [...readme.matchAll(/^curl http:\/\/127\.0\.0\.1:8080\/apps[^]*?(?=\n\n|\n```)/gm)].map(([call]) => call);
      assert.equal(calls.length, 2, "the README configures a webhook with two calls");
      for (const call of calls) {
        const mine = call
          .replaceAll("http://127.0.0.1:8080", server)
          .replaceAll("http://127.0.0.1:9000", `http://127.0.0.1:${port}`)
          .replaceAll("webhooks/mine", `webhooks/${id}`)
          .replaceAll('"id":"mine"', `"id":"${id}"`);
        assert.ok(shell(mine).data, call);
      }
      const lines = createInterface({ input: child.stdout });
      const heard = new Set();
      const wanted = new Set(["before_message", "after_message"]);
      const done = (async () => {
        for await (const line of lines) {
          heard.add(line);
          if ([...wanted].every((trigger) => heard.has(trigger))) return;
        }
      })();
      shell(pasted()[0]);
      await Promise.race([done, new Promise((_, reject) => setTimeout(reject, 10_000, new Error("nothing was heard within 10 s")).unref())]);
    } finally {
      child.kill();
    }
  });
}
