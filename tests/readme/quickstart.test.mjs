// The README's own commands, pasted into a shell against a running `chathook dev`: the curl lines that it
// prints, the calls that configure a webhook, both receivers, which then hear of a message, and the command line.
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

for (const [program, file] of receivers) {
  test(`chathook check finds ${file} fit, but for the plain http of this machine`, async () => {
    const port = await freePort();
    const child = spawn(program, [here(file)], { env: { ...process.env, PORT: String(port) }, stdio: "ignore" });
    try {
      await untilItListens(port);
      const flags = ["--allow-network", "127.0.0.1", "--allow-http-endpoints", "--username", "hook", "--json"];
      const told = execFileSync(process.env.CHATHOOK_BINARY, ["check", `http://127.0.0.1:${port}/hook`, ...flags], {
        encoding: "utf8", env: { ...process.env, CHATHOOK_CHECK_PASSWORD: "secret" }, timeout: 60_000,
      });
      const { findings } = JSON.parse(told);
      const unwell = findings.filter(({ grade }) => grade === "warn" || grade === "fail").map(({ about }) => about);
      assert.deepEqual(unwell, ["certificate"], told);
    } finally {
      child.kill();
    }
  });
}

test("the README's commands of the command line do what they say", async () => {
  const block = readme.match(/```sh\nexport CHATHOOK_PROFILE=dev\n([^]*?)```/)?.[1] ?? "";
  const commands = block.trim().split("\n");
  assert.equal(commands.length, 6, "the README names six commands");
  const port = await freePort();
  const child = spawn("python3", [here("receive.py")], { env: { ...process.env, PORT: String(port) }, stdio: "ignore" });
  const env = { ...process.env, CHATHOOK_PROFILE: "dev", CHATHOOK_SERVER: server, CHATHOOK_WEBHOOK_PASSWORD: "secret" };
  const run = (command) => {
    const mine = command.replace(/^chathook /, `"${process.env.CHATHOOK_BINARY}" `).replaceAll("127.0.0.1:9000", `127.0.0.1:${port}`);
    return execFileSync("bash", ["-c", mine], { encoding: "utf8", env, timeout: 20_000 });
  };
  const told = {};
  try {
    await untilItListens(port);
    for (const command of commands.filter((one) => !one.includes(" tail "))) told[command.split(" ").slice(1, 3).join(" ")] = run(command);
    // It follows until it is ended, so the first line is waited for.
    const tail = commands.find((one) => one.includes(" tail "));
    const tailing = spawn(process.env.CHATHOOK_BINARY, tail.split(" ").slice(1), { env, stdio: ["ignore", "pipe", "ignore"] });
    try {
      const lines = createInterface({ input: tailing.stdout })[Symbol.asyncIterator]();
      const seen = (async () => {
        for (;;) {
          const { value, done } = await lines.next();
          assert.ok(!done, "tail ended by itself");
          if (value.includes("after_message")) return;
        }
      })();
      let isSeen = false;
      const noted = seen.then(() => { isSeen = true; });
      const until = Date.now() + 10_000;
      // Sent again until it is seen: the command may not follow yet when the first is sent.
      while (!isSeen && Date.now() < until) {
        shell(pasted()[0]);
        await Promise.race([noted, new Promise((resolve) => setTimeout(resolve, 500))]);
      }
      assert.ok(isSeen, "tail told of no delivery within 10 s");
    } finally {
      tailing.kill();
    }
  } finally {
    child.kill();
  }
  assert.match(told["webhooks create"], /whsec_/);
  assert.match(told["webhooks test"], /200/);
  assert.match(told["deliveries show"], /200/);
  assert.match(told["message show"], /accepted/);
  assert.match(told["replay other"], /done/);
});
