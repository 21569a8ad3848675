// A client's way from the subscription to a consumer that keeps up, with everything behind the panel real. What is wrong on the way is
// said each time in other words.
import { strict as assert } from "node:assert";
import { end, env, look, signIn, stage, text, until, visitor } from "./chromium.mjs";

const page = await visitor(1280);
page.setDefaultTimeout(90000);
await signIn(page, env.CLIENT_TOKEN);
await stage("c83", "heard");
await stage("c83", "edges:2");
await page.getByRole("button", { name: "Subscribe" }).click();
await until(page, ".edges", "2 of 5 edges have it");
await until(page, ".state.pending", "4 of 5 steps are done");
await until(page, "#reading", "Edges still updating");
await look(page, "real-updating");
await stage("c83", "edges:5");
await until(page, ".state.active", "Active");
await until(page, "#reading", "No traffic for your id");
await look(page, "real-no-traffic");
await stage("c83", "write:500");
await until(page, "#reading", "Lines are waiting for you");
await until(page, "#reading", "500 lines in the topic");
await stage("c83", "wrong-group");
await until(page, "#reading", "Your consumer is refused: wrong group “x”");
await until(page, "#reading", "must begin with “c83:”");
await look(page, "real-refused");
await stage("c83", "read");
await until(page, "#reading", "Your consumer keeps up");
await until(page, "#reading", "c83:report");
await stage("c83", "write:700");
await until(page, "#reading", "1,200 lines in the topic");
// Points of the last hour are drawn once all edges have told of them.
await page.locator("figure", { hasText: "Delivered by minute" }).locator(".bar").first().waitFor({ state: "attached" });
await page.goto(env.PANEL);
await until(page, "#reading", "Your consumer keeps up");
await look(page, "real-reading", 1000);

await page.goto(`${env.PANEL}/clients/c83/credentials`);
await until(page, "#credentials .badge", "In use");
await page.goto(`${env.PANEL}/clients/c83/lines`);
await until(page, ".lines", "GET /video/");
assert.equal(await page.locator(".lines li").count(), 50);
await stage("c83", "mark");
await until(page, ".lines", "<script>document.title = 'taken'</script>");
assert.match(await page.title(), /^Lines of c83/);
await look(page, "real-lines", 560);
await page.context().close();

const operator = await visitor(1280);
operator.setDefaultTimeout(60000);
await signIn(operator, env.OPERATOR_TOKEN);
await operator.goto(`${env.PANEL}/status`);
await until(operator, ".verdict.ok", "Kafka");
await until(operator, ".verdict.ok", "Reconciler");
await look(operator, "real-status", 420);
await operator.goto(`${env.PANEL}/clients/c83/lines`);
await operator.getByRole("button", { name: /and note it/ }).click();
await until(operator, ".lines", "GET /video/");
await operator.goto(`${env.PANEL}/clients/c83/audit`);
assert.match(await text(operator, "tbody tr"), /lines\.view/);
await operator.context().close();
await end();
console.log("panel: from the subscription to a consumer that keeps up");
