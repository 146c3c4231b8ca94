// The page as a file: no server, no network.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { report } from "../demo/report.mjs";
import { browser, open, painted } from "./support/browser.mjs";

const AXE = readFileSync(new URL("../node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const TABS = ["overview", "curves", "classes", "net", "maps", "worst", "log"];
const BLUE = [28, 104, 197];
const ORANGE = [194, 80, 13];
let chrome;
let folder;
let url;

before(async () => {
  chrome = await browser();
  folder = mkdtempSync(join(tmpdir(), "cortado-page-"));
  writeFileSync(join(folder, "report.html"), report());
  url = pathToFileURL(join(folder, "report.html")).href;
});

after(async () => {
  await chrome.close();
  rmSync(folder, { recursive: true });
});

async function visit(t, options, hash = "") {
  const opened = await open(chrome, url + hash, options);
  t.after(() => opened.context.close());
  return opened;
}

test("every view opens without an error, and nothing is asked of anyone", async (t) => {
  const { page, troubles, requests } = await visit(t);
  for (const tab of TABS) {
    await page.getByTestId(`tab-${tab}`).click();
    await page.waitForTimeout(50);
    assert.equal(await page.getByTestId(`tab-${tab}`).getAttribute("aria-selected"), "true");
  }
  assert.equal(await page.getByTestId("tab-data").count(), 0, "a file has no data browser");
  assert.deepEqual(troubles, []);
  assert.deepEqual(
    requests.filter((r) => r !== url && !r.startsWith("data:")),
    [],
  );
});

test("the verdicts stand first, ill and well in words", async (t) => {
  const { page } = await visit(t);
  const [ill, well] = await page.getByTestId("verdict").all();
  assert.match(await ill.innerText(), /ill[\s\S]*relu2[\s\S]*What to do[\s\S]*cortado check --fix/);
  assert.match(await well.innerText(), /well/);
  await ill.getByText("Findings:").click();
  assert.match(await ill.innerText(), /N001[\s\S]*train_val\.prototxt:21:3/);
  assert.match(await page.getByTestId("figures").innerText(), /mean IoU/);
});

test("both runs' curves are drawn; a run can be hidden", async (t) => {
  const { page } = await visit(t, {}, "#curves");
  await page.waitForSelector("[data-chart=loss] canvas");
  assert.ok((await painted(page, "loss", BLUE)) > 300);
  assert.ok((await painted(page, "loss", ORANGE)) > 300);
  await page.keyboard.press("Shift+A");
  await page.waitForTimeout(100);
  assert.equal(await painted(page, "loss", BLUE), 0);
  assert.ok((await painted(page, "loss", ORANGE)) > 300);
});

test("smoothing, log scale and time change what is drawn", async (t) => {
  const { page } = await visit(t, {}, "#curves");
  const picture = () => page.locator("[data-chart=loss] canvas").evaluate((c) => c.toDataURL());
  await page.waitForSelector("[data-chart=loss] canvas");
  const seen = new Set([await picture()]);
  for (const change of [
    () => page.getByTestId("smoothing").fill("0.9"),
    () => page.getByTestId("log-scale").check(),
    () => page.getByRole("radio", { name: "time" }).check(),
  ]) {
    await change();
    await page.waitForTimeout(150);
    const now = await picture();
    assert.ok(!seen.has(now));
    seen.add(now);
  }
});

test("a drag zooms all curves, a double click shows all again", async (t) => {
  const { page } = await visit(t, {}, "#curves");
  const box = await page.locator("[data-chart=loss] .u-over").boundingBox();
  const at = (part) => [box.x + box.width * part, box.y + box.height / 2];
  await page.mouse.move(...at(0.25));
  await page.mouse.down();
  await page.mouse.move(...at(0.5), { steps: 4 });
  await page.mouse.up();
  assert.match(await page.getByTestId("zoom-reset").innerText(), /^(99|100|101) to (199|200|201)/);
  await page.mouse.dblclick(...at(0.5));
  assert.equal(await page.getByTestId("zoom-reset").count(), 0);
});

test("a curve is read and zoomed by keyboard", async (t) => {
  const { page } = await visit(t, {}, "#curves");
  const plot = page.locator("[data-chart=loss] .plot");
  await plot.focus();
  assert.match(await plot.getAttribute("aria-label"), /^Loss\. as written, loss: last 0\.3/);
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowRight");
  assert.match(await page.locator("[data-chart=loss]").getByTestId("at").innerText(), /at \d+/);
  await page.keyboard.press("+");
  assert.equal(await page.getByTestId("zoom-reset").count(), 1);
  await page.keyboard.press("Escape");
  assert.equal(await page.getByTestId("zoom-reset").count(), 0);
});

test("the matrix shows counts and shares, and follows its slider", async (t) => {
  const { page } = await visit(t, {}, "#classes");
  const repaired = page.getByTestId("classes-run").nth(1);
  const cell = repaired.getByTestId("confusion").locator("tbody tr").nth(1).locator("td").nth(1);
  assert.match(await cell.innerText(), /83\s%\s*6121/);
  await page.getByRole("radio", { name: "counts" }).check();
  assert.equal((await cell.innerText()).trim(), "6121");
  const slider = page.getByTestId("classes-slider");
  await slider.focus();
  await page.keyboard.press("Home");
  assert.equal((await cell.innerText()).trim(), "0");
  assert.match(await page.getByTestId("classes-iteration").innerText(), /iteration 0/);
  assert.match(await page.getByTestId("class-warnings").first().innerText(), /always saying “ground”/);
  await page.keyboard.press("End");
  assert.match(await page.getByTestId("class-warnings").first().innerText(), /alike/);
});

test("the net can be walked by keyboard, and a layer opened", async (t) => {
  const { page } = await visit(t, {}, "#net");
  assert.equal(await page.getByTestId("node").count(), 11);
  await page.locator("[data-layer=images]").focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  assert.match(await page.getByTestId("net-details").innerText(), /conv1[\s\S]*conv1\[0\][\s\S]*32 × 3 × 5 × 5/);
  assert.ok((await page.locator(".bars rect").count()) >= 60);
  await page.locator("[data-layer=relu2]").nth(1).click();
  assert.match(await page.getByTestId("net-details").innerText(), /4 of 5 channels are 0 everywhere/);
  await page.getByTestId("net-phase").selectOption({ label: "test" });
  assert.equal(await page.getByTestId("node").count(), 12);
});

test("the slider moves the heat maps; a picture opens larger, for both runs", async (t) => {
  const { page } = await visit(t, {}, "#maps");
  const tile = page.getByTestId("map-grid").nth(1).getByTestId("tile").nth(4).locator("img");
  const last = await tile.getAttribute("src");
  assert.match(last, /^data:image\/png;base64,/);
  await page.getByTestId("maps-slider").focus();
  await page.keyboard.press("Home");
  assert.notEqual(await tile.getAttribute("src"), last);
  assert.match(await tile.getAttribute("alt"), /left eye of sample 00000003 at iteration 0/);
  await tile.click();
  const dialog = page.getByRole("dialog", { name: "Enlarged picture" });
  assert.equal(await dialog.locator("figure img").count(), 2);
  await page.keyboard.press("ArrowRight");
  assert.match(await dialog.locator("figure img").first().getAttribute("alt"), /iteration 50/);
  await page.keyboard.press("Escape");
  assert.equal(await dialog.count(), 0);
});

test("playing walks through the iterations", async (t) => {
  const { page } = await visit(t, {}, "#maps");
  await page.getByTestId("maps-play").click();
  await page.waitForFunction(() =>
    /iteration 50$/.test(document.querySelector("[data-testid=maps-iteration]").textContent),
  );
  await page.getByTestId("maps-play").click();
});

test("the log is searched and filtered", async (t) => {
  const { page } = await visit(t, {}, "#log");
  await page.getByTestId("log-search").fill("relu2");
  assert.equal((await page.getByTestId("log-count").innerText()).trim(), "1 line");
  await page.getByRole("radio", { name: "errors", exact: true }).check();
  assert.equal((await page.getByTestId("log-count").innerText()).trim(), "0 lines");
});

test("keys change views and colours, and show the help", async (t) => {
  const { page } = await visit(t);
  await page.keyboard.press("4");
  assert.equal(await page.getByTestId("tab-net").getAttribute("aria-selected"), "true");
  await page.keyboard.press("k");
  assert.equal(await page.getByTestId("tab-classes").getAttribute("aria-selected"), "true");
  const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
  assert.equal(await theme(), "light");
  await page.keyboard.press("d");
  assert.equal(await theme(), "dark");
  await page.keyboard.press("?");
  assert.equal(await page.getByRole("dialog").count(), 1);
  await page.keyboard.press("Escape");
  assert.equal(await page.getByRole("dialog").count(), 0);
  await page.getByTestId("tab-classes").focus();
  await page.keyboard.press("ArrowRight");
  assert.equal(await page.getByTestId("tab-net").getAttribute("aria-selected"), "true");
});

test("the system's colours are followed", async (t) => {
  const { page } = await visit(t, { colorScheme: "dark" });
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
});

for (const options of [
  { viewport: { width: 1400, height: 900 } },
  { viewport: { width: 360, height: 740 }, colorScheme: "dark" },
]) {
  const { width } = options.viewport;
  test(`all has names and contrast, and fits, at ${width} pixels`, async (t) => {
    // axe is put into the page from outside, past its policy.
    const { page } = await visit(t, { ...options, bypassCSP: true });
    await page.evaluate(AXE);
    for (const tab of TABS) {
      await page.getByTestId(`tab-${tab}`).click();
      await page.waitForTimeout(120);
      // The rule about names takes a layer's tooltip for text that is seen.
      const rules = { "label-content-name-mismatch": { enabled: false } };
      const found = await page.evaluate(
        (rules) => globalThis.axe.run(document, { resultTypes: ["violations"], rules }),
        rules,
      );
      const told = found.violations.map(
        (v) =>
          `${tab}: ${v.id}: ${v.nodes
            .slice(0, 3)
            .map((n) => `${n.html.slice(0, 160)} ${n.failureSummary}`)
            .join(" | ")}`,
      );
      assert.deepEqual(told, []);
      assert.equal(
        await page.evaluate(() => document.documentElement.scrollWidth - innerWidth),
        0,
        `${tab} is wider than the screen`,
      );
    }
  });
}
