// What the scripts that drive Chromium share.
import { createRequire } from "node:module";
import { strict as assert } from "node:assert";
import { mkdirSync } from "node:fs";
import { join } from "node:path";

export const env = process.env;
const { chromium } = createRequire(join(env.PACKAGES, "package.json"))("playwright-core");
const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: flags });
export const complaints = [];
const start = Date.now();
if (env.SHOTS) mkdirSync(env.SHOTS, { recursive: true });

export async function visitor(width, more = {}) {
  const context = await browser.newContext({ viewport: { width, height: width < 600 ? 844 : 900 }, acceptDownloads: true, ...more });
  const page = await context.newPage();
  page.setDefaultTimeout(20000);
  page.on("console", (message) => {
    // Refusals that a step below provokes are named there.
    if (["error", "warning"].includes(message.type())) complaints.push(`${page.url()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error}`));
  page.on("response", (answer) => answer.status() >= 500 && complaints.push(`${answer.url()}: ${answer.status()}`));
  return page;
}

export const stage = async (client, what) => {
  const answer = await fetch(`${env.STAGE}/${client}/${what}`, { method: "POST" });
  assert.equal(answer.status, 200, what);
};

// No page scrolls sideways; parts that do are regions of their own. Then a picture, if they are wanted, of so many pixels at most.
export async function look(page, name, most = 1200) {
  if (env.SHOTS) console.log(`${((Date.now() - start) / 1000).toFixed(1)} s: ${name}`);
  const width = page.viewportSize().width;
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= width, `${name}: ${wide} pixels wide at ${width}`);
  if (!env.SHOTS) return;
  const height = Math.min(most, await page.evaluate(() => document.documentElement.scrollHeight));
  await page.screenshot({ path: join(env.SHOTS, `${name}-${width}.png`), fullPage: true, clip: { x: 0, y: 0, width, height } });
}

// Goes from one thing to the next as the Tab key does, until the one that is meant; then presses Enter.
export async function press(page, name, key = "Enter") {
  const seen = [];
  for (let n = 0; n < 60; n++) {
    await page.keyboard.press("Tab");
    const text = await page.evaluate(() => {
      const element = document.activeElement;
      return element.matches(":focus-visible") ? (element.getAttribute("aria-label") || element.innerText || element.name || "").trim() : "(no focus is seen)";
    });
    seen.push(text);
    if (text === name) return page.keyboard.press(key);
  }
  assert.fail(`no way to "${name}" by keyboard: ${seen.join(" | ")}`);
}

export const text = (page, selector) => page.locator(selector).first().innerText();
export const until = (page, selector, wanted) => page.locator(selector, { hasText: wanted }).first().waitFor();

export async function signIn(page, token) {
  await page.goto(env.PANEL);
  assert.match(page.url(), /\/login$/);
  // The field has the focus by itself, some time after the page is there.
  await page.locator("input:focus").waitFor();
  await page.keyboard.type(token);
  await page.keyboard.press("Enter");
  await page.waitForURL((url) => !url.pathname.startsWith("/login"));
}

// Ends the browser. It must have complained of nothing.
export async function end() {
  await browser.close();
  assert.deepEqual(complaints, [], "the browser complained");
}
