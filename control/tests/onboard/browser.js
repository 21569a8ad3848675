// Chromium, driven by the lines of standard input: each is a JSON object {"do": …}, and is answered by one, {"error": …} if it failed.
// All times are in milliseconds since 1970.
"use strict";
const readline = require("node:readline");
const { chromium } = require("playwright-core");

const OPTIONS = {
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"],
};
const PATIENCE_MS = 60_000;

// In the page: notes when each step was shown as done, or as not done any more, and when the service is first shown as active.
function watch() {
  const seen = (window.seen = { steps: {} });
  const look = () => {
    for (const step of document.querySelectorAll(".steps li")) {
      const changes = (seen.steps[step.querySelector(".title").textContent] ??= []);
      const isDone = step.classList.contains("done");
      if (isDone !== (changes.at(-1)?.isDone ?? false)) changes.push({ at: Date.now(), isDone });
    }
    if (document.querySelector(".state.active")) seen.active ??= Date.now();
  };
  const start = () => {
    look();
    new MutationObserver(look).observe(document.documentElement, { subtree: true, childList: true, attributes: true });
  };
  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", start) : start();
}

let browser, context, page;
const wrong = [];

const can = {
  async start() {
    browser = await chromium.launch(OPTIONS);
  },
  async signIn({ url, token }) {
    await context?.close();
    context = await browser.newContext({ acceptDownloads: true });
    context.setDefaultTimeout(PATIENCE_MS);
    await context.addInitScript(watch);
    page = await context.newPage();
    page.on("pageerror", (error) => wrong.push(String(error)));
    page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
    await page.goto(url);
    await page.getByLabel("Token").fill(token);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("button", { name: "Subscribe", exact: true }).waitFor();
    return { cookies: (await context.cookies()).map(({ value }) => value) };
  },
  async subscribe() {
    const button = page.getByRole("button", { name: "Subscribe", exact: true });
    const at = Date.now();
    await button.click();
    return { at };
  },
  async awaitActive() {
    await page.waitForFunction(() => window.seen?.active);
    return { at: await page.evaluate(() => window.seen.active) };
  },
  async download({ to }) {
    const waiting = page.waitForEvent("download");
    const clicked = Date.now();
    await page.getByRole("button", { name: /^Download/ }).click();
    await (await waiting).saveAs(to);
    return { clicked, at: Date.now() };
  },
  async progress() {
    return { steps: await page.evaluate(() => window.seen.steps) };
  },
  async end() {
    await browser.close();
    return { wrong };
  },
};

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { do: what, ...more } = JSON.parse(line);
    let answer;
    try {
      answer = (await can[what](more)) ?? {};
    } catch (error) {
      const text = await page?.locator("main").innerText({ timeout: 1000 }).catch(() => "");
      answer = { error: `${what}: ${error.message}`, page: text };
    }
    console.log(JSON.stringify(answer));
  }
})();
