// Does with the panel what people do, in Chromium. Every page is checked for what the browser complains about, and for width.
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { complaints, end, env, look, press, signIn, stage, text, until, visitor } from "./chromium.mjs";

// A client: everything by keyboard.
{
  const page = await visitor(1280);
  // No polling: what changes on these pages comes by events.
  await page.addInitScript(() => { window.setInterval = () => 0; });
  await page.goto(env.PANEL);
  await look(page, "login");
  await page.keyboard.type("tel_wrong");
  await page.keyboard.press("Enter");
  await until(page, "#wrong", "not known");
  assert.equal(complaints.length, 1, complaints.join("\n"));
  complaints.length = 0;
  await signIn(page, env.CLIENT_TOKEN);
  await look(page, "subscribe");
  await press(page, "Subscribe");
  await until(page, ".state", "Setting up");
  assert.equal(await text(page, ".said"), "Subscribed. Progress is shown below.");

  // Each step, and each edge, is seen without loading the page again.
  await page.evaluate(() => { window.same = true; });
  await stage("c83", "topic");
  await until(page, ".steps .done", "Create the topic");
  await stage("c83", "acls-fail");
  await until(page, ".state.failing", "Something failed");
  await until(page, ".steps .failed", "not allowed to alter the cluster");
  await look(page, "failing");
  for (const step of ["acls", "quota", "list"]) await stage("c83", step);
  await stage("c83", "edges:12");
  await until(page, ".edges", "12 of 20 edges have it");
  await until(page, ".state.pending", "4 of 5 steps are done");
  await until(page, "#announce", "12 of 20 edges have it");
  await look(page, "progress");
  await stage("c83", "edges:20");
  await until(page, ".state.active", "Active");
  await until(page, ".edges", "20 of 20 edges have it");
  assert.equal(await page.evaluate(() => window.same), true, "the page was loaded again");

  // The zip, and what the page says of the credential in it.
  const downloading = page.waitForEvent("download");
  await press(page, "Download the zip");
  const download = await downloading;
  assert.equal(download.suggestedFilename(), "tel-c83.zip");
  assert.equal(readFileSync(await download.path()).subarray(0, 2).toString(), "PK");
  await until(page, "#connection", "User:CN=c83:1");
  await until(page, ".state.pending", "Applying a change");
  await stage("c83", "acls");
  await until(page, ".state.active", "Active");
  await stage("c83", "volume");
  await page.reload();
  await until(page, "#volume", "Delivered by day");
  await look(page, "service");

  await press(page, "Credentials");
  await until(page, "#credentials", "Credential 1 has not been seen at work yet");
  await stage("c83", "seen:1");
  await until(page, "#credentials .badge", "In use");
  const again = page.waitForEvent("download");
  await press(page, "Download a new one");
  await again;
  await until(page, "#credentials .verdict", "Credential 2 has not been seen at work yet");
  await until(page, "#credentials .verdict", "1 keeps working");
  await stage("c83", "seen:2");
  await until(page, "#credentials .verdict", "Credential 2 is at work");
  await look(page, "credentials");
  await press(page, "Revoke 1…");
  await until(page, "h1", "Revoke credential 1 of c83?");
  await look(page, "revoke");
  await press(page, "Revoke 1");
  await until(page, ".said", "The credential is revoked.");
  await until(page, "#credentials .badge", "Revoked");

  await press(page, "Last lines");
  await until(page, ".note", "IP addresses of people");
  await look(page, "lines");

  await press(page, "Service");
  await until(page, ".state.pending", "Applying a change");
  await stage("c83", "acls");
  await until(page, ".state.active", "Active");
  await press(page, "Unsubscribe…");
  await until(page, "h1", "Unsubscribe c83?");
  await look(page, "unsubscribe");
  await press(page, "Unsubscribe");
  await until(page, ".state.leaving", "Unsubscribed");
  await stage("c83", "unlisted");
  await until(page, ".state.leaving", "No more lines are collected.");
  await stage("c83", "acls-removed");
  await look(page, "leaving");
  await press(page, "Undo: subscribe again");
  await until(page, ".state.pending", "Setting up");
  for (const step of ["topic", "acls", "quota", "list", "edges:20"]) await stage("c83", step);
  await until(page, ".state.active", "Active");
  await press(page, "Sign out");
  await until(page, "h1", "Sign in");
  await page.context().close();
}

// The same client's pages on a phone, dark and light.
{
  const page = await visitor(390, { colorScheme: "dark", hasTouch: true, isMobile: true });
  await signIn(page, env.CLIENT_TOKEN);
  await look(page, "service", 1700);
  for (const [name, path] of [["credentials", "/clients/c83/credentials"], ["lines", "/clients/c83/lines"], ["unsubscribe", "/clients/c83/unsubscribe"], ["revoke", "/clients/c83/credentials/2/revoke"]]) {
    await page.goto(env.PANEL + path);
    await look(page, name);
  }
  await page.context().close();
}

// Without JavaScript the progress is seen, too.
{
  const page = await visitor(390, { javaScriptEnabled: false });
  await signIn(page, env.OPERATOR_TOKEN);
  await page.goto(env.PANEL + "/clients/shop-7");
  await until(page, ".state", "Setting up");
  await stage("shop-7", "topic");
  await until(page, ".steps .done", "Create the topic");
  await page.context().close();
}

// An operator.
for (const width of [1280, 390]) {
  const page = await visitor(width, { colorScheme: width === 390 ? "dark" : "light" });
  // Edges say every ten seconds that they are there.
  await stage("c83", "edges:20");
  await signIn(page, env.OPERATOR_TOKEN);
  await until(page, "#clients tbody tr", "shop-3");
  assert.match(await text(page, "#clients tbody tr"), /shop-3/, "failing ones first");
  await look(page, "clients");
  await page.locator("#search").fill("shop-1");
  await page.locator("#search").press("Enter");
  await until(page, "#clients", "shop-12");
  assert.equal(await page.locator("#clients tbody tr").count(), 4);
  for (const [name, path] of [["client-operator", "/clients/shop-3"], ["settings", "/clients/shop-2/settings"], ["client-audit", "/clients/shop-2/audit"], ["edges", "/edges"], ["retire", "/edges/edge-2/retire"], ["tokens", "/tokens"], ["usage", "/usage"], ["audit", "/audit"], ["status", "/status"], ["lines-operator", "/clients/shop-2/lines"]]) {
    await page.goto(env.PANEL + path);
    await page.locator("h1").first().waitFor();
    await look(page, name, name === "edges" && width === 1280 ? 800 : 1200);
  }
  await page.getByRole("button", { name: /and note it/ }).click();
  await page.getByRole("button", { name: "Look again, and note it" }).waitFor();
  await page.context().close();
}

await end();
console.log("panel: done, no complaint of the browser");
