// What the tests of the dashboard stand on: the running `chathook dev` that CHATHOOK_URL names, its API, an endpoint
// of their own, and the way in.

import assert from "node:assert/strict";
import { createServer } from "node:http";

/** Those of `chathook dev`. */
export const KEYS = { key: "dev-key", secret: "dev-secret" };

export const url = process.env.CHATHOOK_URL;
assert.ok(url, "CHATHOOK_URL must name a running chathook dev, such as http://127.0.0.1:8080");

/** The data of a call that succeeds. */
export async function call(method, path, body, headers = KEYS) {
  const whole = { "content-type": "application/json", ...headers };
  const answer = await fetch(url + path, { method, headers: whole, body: body && JSON.stringify(body) });
  assert.equal(answer.status, 200, `${method} ${path}: ${await answer.clone().text()}`);
  return (await answer.json()).data;
}

/** A new app with sample users: its path below the API and the dashboard, and its key. */
export async function makeApp(name) {
  const { id, apiKeys } = await call("POST", "/apps", { name, region: "eu", version: "3" });
  return { path: `/apps/${id}`, apikey: Object.values(apiKeys).find(({ scope }) => scope === "fullAccess").apiKey };
}

export const send = ({ apikey }, from, to, text) =>
  call("POST", "/v3/messages", { receiver: to, receiverType: "user", data: { text } }, { apikey, onBehalfOf: from });

/** Fills in the log-in that `page` shows. */
export async function logIn(page, secret = KEYS.secret) {
  await page.getByLabel("Management key").fill(KEYS.key);
  await page.getByLabel("Management secret").fill(secret);
  await page.getByRole("button", { name: "Log in" }).click();
}

/** An endpoint on a free port; `answer` gets the request, its body as text, and the response. */
export async function listen(answer) {
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += chunk;
    answer(request, body, response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${server.address().port}/hook`, close };
}
