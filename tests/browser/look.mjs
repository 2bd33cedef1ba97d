// Looks at a page as people who see little, and people on a phone, would. SCREENSHOTS, if set, names a directory for
// pictures: light, dark, and on a phone.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

export const DESK = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };

/** A function that looks at `page` as it is: axe finds nothing serious, and a phone need not scroll sideways. */
export async function looker(page) {
  const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  const picture = async (name) => {
    const dir = process.env.SCREENSHOTS;
    if (dir) await page.screenshot({ path: `${dir}/${name}.png`, fullPage: true, animations: "disabled" });
  };
  return async (name) => {
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
      const grave = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
      const told = grave.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" | ")}`);
      assert.deepEqual(told, [], `${name}, ${colorScheme}`);
      await picture(`${name}-${colorScheme}`);
    }
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize(PHONE);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${name}: ${wide} px wider than a phone`);
    await picture(`${name}-phone`);
    await page.setViewportSize(DESK);
  };
}
