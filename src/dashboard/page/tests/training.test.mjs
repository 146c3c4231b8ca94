// The page of a real training: the program trains, the page moves, its buttons work. `CORTADO` names the program.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { browser, open, painted } from "./support/browser.mjs";

const program = process.env.CORTADO;
const BLUE = [28, 104, 197];

/** Trains in `folder` until it is told to stop; resolves to the page's address. */
function train(folder) {
  const child = spawn(program, ["train", "-solver", "solver.prototxt", "-log", "--dashboard", "127.0.0.1:0"], {
    cwd: folder,
  });
  const url = new Promise((resolve, reject) => {
    let said = "";
    child.stderr.on("data", (part) => {
      said += part;
      const found = /dashboard: (http:\S+)/.exec(said);
      if (found) resolve(found[1]);
    });
    child.on("exit", (code) => reject(new Error(`ended with ${code}: ${said}`)));
  });
  const ended = new Promise((resolve) => child.on("exit", resolve));
  return { child, url, ended };
}

test(
  "a real training is watched, steered and left as a page",
  { skip: !program && "CORTADO names no program", timeout: 300_000 },
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "cortado-page-"));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const made = spawnSync(
      program,
      ["quickstart", "--dir", "faces", "--train", "40", "--test", "20", "--iterations", "2"],
      { cwd: folder },
    );
    assert.equal(made.status, 0, String(made.stderr));
    const net = join(folder, "faces", "repaired");
    const solver = readFileSync(join(net, "solver.prototxt"), "utf8")
      .split("\n")
      .filter((line) => !/^(max_iter|display|test_interval|snapshot):/.test(line));
    solver.push("max_iter: 1000000", "display: 1", "test_interval: 5", "");
    writeFileSync(join(net, "solver.prototxt"), solver.join("\n"));

    const { child, url, ended } = train(net);
    t.after(() => child.kill("SIGKILL"));
    const chrome = await browser();
    t.after(() => chrome.close());
    const { page, troubles, requests } = await open(chrome, await url);
    t.after(() => page.context().close());

    // Curves move.
    const iteration = () =>
      page
        .getByTestId("iteration")
        .first()
        .innerText()
        .then((text) => Number(/\d+/.exec(text)?.[0] ?? 0));
    const reached = async (n) => {
      for (let i = 0; i < 600 && (await iteration()) < n; i++) await page.waitForTimeout(200);
      assert.ok((await iteration()) >= n, `iteration ${n} is not reached`);
    };
    await reached(3);
    await page.waitForSelector("[data-chart=loss] canvas");
    const curve = () => page.locator("[data-chart=loss] canvas").evaluate((c) => c.toDataURL());
    const before = await curve();
    await reached((await iteration()) + 6);
    assert.notEqual(await curve(), before);
    assert.ok((await painted(page, "loss", BLUE)) > 50);

    // A heat map is shown.
    await page.getByTestId("tab-maps").click();
    const tile = page.getByTestId("tile").nth(4).locator("img");
    await tile.waitFor();
    assert.ok(await tile.evaluate((image) => image.decode().then(() => image.naturalWidth >= 12)));

    // A record of the run's own database.
    await page.getByTestId("tab-data").click();
    const record = page.locator("img[src*='records/']").first();
    await record.waitFor();
    assert.ok(await record.evaluate((image) => image.decode().then(() => image.naturalWidth >= 12)));

    // Buttons.
    const snapshots = () => readdirSync(net).filter((name) => name.endsWith(".solverstate"));
    const old = snapshots().length;
    await page.getByTestId("snapshot").click();
    for (let i = 0; i < 150 && snapshots().length === old; i++) await page.waitForTimeout(200);
    assert.equal(snapshots().length, old + 1, "a snapshot is written");
    await page.getByTestId("stop").click();
    await page.getByTestId("stop-confirm").click();
    assert.equal(await ended, 0);
    await page.locator("[data-testid=run][data-state=early], [data-testid=run][data-state=ended]").first().waitFor();

    assert.deepEqual(
      troubles.filter((text) => !/ERR_CONNECTION|ERR_INCOMPLETE|Failed to load/.test(text)),
      [],
    );
    const { origin } = new URL(await url);
    assert.deepEqual(
      requests.filter((r) => !r.startsWith(origin) && !r.startsWith("data:")),
      [],
    );

    // The page that is left.
    const left = readdirSync(net).find((name) => existsSync(join(net, name, "report.html")) && name.endsWith("_run"));
    assert.ok(left, "the run leaves report.html");
    const report = await open(chrome, `file://${join(net, left, "report.html")}`);
    await report.page.getByTestId("iteration").first().waitFor();
    await report.page.context().close();
  },
);
