// Starts Chromium as the tests of pages want it, and notes what goes wrong in a page by itself.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

export const WAIT_MS = 15_000;

/** A browser with one page, and the troubles that its pages have had: errors of scripts, and of the console. */
export async function openBrowser(options = {}) {
  const profile = await mkdtemp(join(tmpdir(), "chathook-browser-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM_PATH ?? "/usr/bin/chromium",
    headless: true,
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ],
    colorScheme: process.env.COLOR_SCHEME ?? "light",
    viewport: { width: 1440, height: 900 },
    deviceScaleFactor: 2,
    ...options,
  });
  context.setDefaultTimeout(WAIT_MS);
  const page = context.pages()[0] ?? (await context.newPage());
  const troubles = [];
  page.on("pageerror", (error) => troubles.push(String(error)));
  page.on("console", (entry) => {
    // Includes what the Content-Security-Policy refuses.
    if (entry.type() === "error") troubles.push(entry.text());
  });
  const close = async () => {
    await context.close();
    await rm(profile, { recursive: true, force: true });
  };
  return { context, page, troubles, close };
}
