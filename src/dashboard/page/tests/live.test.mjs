// The page over HTTP, against a server that keeps the contract.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { made } from "../demo/run.mjs";
import { browser, open, painted } from "./support/browser.mjs";
import { filing, serve } from "./support/server.mjs";

const BLUE = [28, 104, 197];
let chrome;

before(async () => {
  chrome = await browser();
});

after(async () => {
  await chrome.close();
});

/** A server and a page of it, both gone when the test is over, however it ended. */
async function started(t, lines, options, hash = "") {
  const server = await serve({ lines, ...options });
  t.after(() => server.close());
  const opened = await open(chrome, server.url + hash);
  t.after(() => opened.context.close());
  return { server, ...opened };
}

/** A run that is halfway, and the lines that are still to come. */
async function halfway(t, options = {}, hash = "") {
  const pictures = new Map();
  const all = made({ ill: false, emitPicture: filing(pictures) });
  const at = all.findIndex((l) => l.kind === "step" && l.iteration === 120);
  const opened = await started(t, all.slice(0, at), { pictures, ...options }, hash);
  return { ...opened, rest: all.slice(at) };
}

test("curves move as lines come, until the run ends", async (t) => {
  const { server, rest, page, troubles, requests } = await halfway(t);
  await page.getByText("iteration 119 of 400").waitFor();
  assert.equal(await page.getByTestId("run").getAttribute("data-state"), "running");
  assert.match(await page.locator(".times").innerText(), /left/);
  const picture = () => page.locator("[data-chart=loss] canvas").evaluate((c) => c.toDataURL());
  await page.waitForSelector("[data-chart=loss] canvas");
  const first = await picture();
  server.push(...rest.slice(0, 100));
  await page.waitForFunction(() =>
    /iteration 1[3-9]\d of/.test(document.querySelector("[data-testid=iteration]").textContent),
  );
  await page.waitForTimeout(100);
  assert.notEqual(await picture(), first);
  assert.ok((await painted(page, "loss", BLUE)) > 200);
  server.push(...rest.slice(100));
  await page.locator("[data-testid=run][data-state=ended]").waitFor();
  assert.equal(await page.getByTestId("controls").count(), 0, "nothing can be asked of a run that is over");
  assert.match(await page.getByTestId("verdict").innerText(), /well/);
  assert.deepEqual(troubles, []);
  assert.deepEqual(server.refused, []);
  const { origin } = new URL(server.url);
  assert.deepEqual(
    requests.filter((r) => !r.startsWith(origin) && !r.startsWith("data:")),
    [],
  );
});

test("a snapshot, a rate and a stop are asked for by button", async (t) => {
  const { server, page } = await halfway(t);
  await page.getByTestId("snapshot").click();
  await page.getByTestId("said").getByText("A snapshot is asked for").waitFor();
  await page.getByTestId("rate").fill("many");
  await page.getByTestId("rate-apply").click();
  await page.getByTestId("said").getByText("A rate is a number").waitFor();
  await page.getByTestId("rate").fill("0.001");
  await page.keyboard.press("Enter");
  await page.getByTestId("said").getByText("0.001").waitFor();
  await page.getByTestId("stop").click();
  await page.getByRole("button", { name: "Train on" }).click();
  assert.equal(server.posted.length, 2, "nothing stops before it is confirmed");
  await page.getByTestId("stop").click();
  await page.getByTestId("stop-confirm").click();
  await page.getByTestId("said").getByText("asked to stop").waitFor();
  assert.deepEqual(
    server.posted.map((p) => p.body),
    [{ action: "snapshot" }, { action: "rate", value: 0.001 }, { action: "stop" }],
  );
  assert.ok(server.posted.every((p) => p.type === "application/json"));
  server.state.answer = { error: "the disk is full" };
  await page.getByTestId("snapshot").click();
  await page.getByTestId("said").getByText("the disk is full").waitFor();
});

test("without controls there are no buttons", async (t) => {
  const { page } = await halfway(t, { controls: false });
  await page.getByText("iteration 119 of 400").waitFor();
  assert.equal(await page.getByTestId("controls").count(), 0);
});

test("a dropped stream is taken up where it was", async (t) => {
  const { server, rest, page } = await halfway(t);
  await page.getByText("iteration 119 of 400").waitFor();
  const known = server.state.lines.length;
  server.cut();
  await page.getByText("connection lost").waitFor();
  server.push(...rest.slice(0, 30));
  server.back();
  await page.waitForFunction(() =>
    /iteration 14\d of/.test(document.querySelector("[data-testid=iteration]").textContent),
  );
  assert.equal(await page.getByTestId("run").getAttribute("data-link"), "open");
  assert.ok(server.requests.includes(`GET /api/runs/0/lines?from=${known}`));
  await page.getByTestId("tab-log").click();
  assert.equal(
    (await page.getByTestId("log-count").innerText()).trim(),
    `${server.state.lines.filter((l) => l.kind === "log").length} lines`,
  );
});

test("heat maps come from the run's own folder", async (t) => {
  const { page } = await halfway(t, {}, "#maps");
  const tile = page.getByTestId("tile").nth(4).locator("img");
  await tile.waitFor();
  assert.match(await tile.getAttribute("src"), /^files\/0\/pictures\//);
  assert.ok(await tile.evaluate((i) => i.decode().then(() => i.naturalWidth === 48)));
});

test("records are browsed, found by number and by key, with labels laid over", async (t) => {
  const { page, troubles } = await halfway(t, {}, "#data");
  const records = page.getByTestId("records").locator("li");
  await records.first().waitFor();
  assert.equal(await records.count(), 24);
  assert.equal(await records.first().locator("img").count(), 2);
  await page.getByTestId("data-next").click();
  await page.getByText("24 to 47 of 400").waitFor();
  await page.getByTestId("jump").fill("00000300");
  await page.keyboard.press("Enter");
  await page.locator(".marked").getByText("00000300").waitFor();
  await page.getByTestId("jump").fill("399");
  await page.keyboard.press("Enter");
  await page.locator(".marked").getByText("00001197").waitFor();
  await page.getByTestId("overlay").uncheck();
  await page.waitForFunction(() => document.querySelectorAll("[data-testid=records] li:first-child img").length === 1);
  await records.first().locator("button").click();
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByTestId("database").selectOption({ index: 1 });
  await page.getByText("0 to 23 of 400").waitFor();
  assert.deepEqual(troubles, []);
});

test("many lines do not freeze the page", async (t) => {
  const lines = [{ kind: "run", version: 1, name: "long", max_iter: 1e6 }];
  for (let i = 0; i < 300000; i++)
    lines.push({ kind: "step", t: i / 4, iteration: i, loss: Math.exp(-i / 1e5) + 0.1 * Math.sin(i), rate: 0.01 });
  const { page, troubles } = await started(t, lines);
  await page.getByText("iteration 299999 of 1000000").waitFor({ timeout: 60000 });
  await page.waitForSelector("[data-chart=loss] canvas");
  await page.getByTestId("smoothing").fill("0.9");
  // A frame that comes soon is a page that answers.
  const wait = await page.evaluate(
    () =>
      new Promise((done) => {
        const begun = performance.now();
        requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - begun)));
      }),
  );
  assert.ok(wait < 3000, `a frame took ${wait} ms`);
  assert.deepEqual(troubles, []);
});

test("several runs lie over each other; those that are over stream once", async (t) => {
  const { server, page } = await halfway(t, { runs: 7 });
  await page.waitForFunction(() => document.querySelectorAll("[data-testid=run][data-state=unfinished]").length === 6);
  await page.waitForTimeout(500);
  for (let id = 1; id < 7; id++) {
    assert.equal(server.requests.filter((r) => r.startsWith(`GET /api/runs/${id}/lines`)).length, 1);
  }
});
