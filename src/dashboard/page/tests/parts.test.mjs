// The parts that need no browser.

import assert from "node:assert/strict";
import { test } from "node:test";
import { build } from "esbuild";

async function load(entry) {
  const built = await build({
    entryPoints: [new URL(`../src/${entry}`, import.meta.url).pathname],
    bundle: true,
    write: false,
    format: "esm",
    platform: "neutral",
    mainFields: ["module", "main"],
  });
  return import(`data:text/javascript;base64,${Buffer.from(built.outputFiles[0].text).toString("base64")}`);
}

const { EventParser } = await load("sse.ts");
const { Series, smooth, visible, nearest } = await load("series.ts");
const { Run } = await load("run.ts");
const { health } = await load("health.ts");
const { number, duration, compact } = await load("format.ts");
const { links } = await load("views/layout.ts");

test("events come out whole, wherever the stream is cut", () => {
  const text = 'id: 4\r\ndata: {"a":1}\n\n: a comment\nevent: end\ndata\n\ndata: x\ndata:y\n\n';
  for (let cut = 0; cut <= text.length; cut++) {
    const parser = new EventParser();
    const found = [...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))];
    assert.deepEqual(found, [
      { id: "4", event: "message", data: '{"a":1}' },
      { id: null, event: "end", data: "" },
      { id: null, event: "message", data: "x\ny" },
    ]);
  }
});

test("an average begins at the first value, and gaps stay", () => {
  assert.deepEqual(
    smooth([2, 2, NaN, 2], 0.9).map((v) => Number(v.toFixed(6))),
    [2, 2, NaN, 2],
  );
  assert.deepEqual(smooth([0, 1], 0.5), [0, 2 / 3]);
});

test("a curve taken up earlier drops what came after", () => {
  const s = new Series();
  for (const x of [0, 10, 20, 30]) s.push(x, x, x);
  s.push(15, 40, 1);
  assert.deepEqual(s.x, [0, 10, 15]);
});

test("what is drawn keeps peaks and gaps", () => {
  const x = Array.from({ length: 10000 }, (_, i) => i);
  const y = x.map((i) => (i === 5000 ? 9 : i === 7000 ? NaN : 0.1));
  const [dx, dy] = visible(x, y, 0, 9999, 100);
  assert.ok(dx.length <= 300);
  assert.ok(dy.includes(9));
  assert.ok(dy.includes(null));
  assert.deepEqual(visible([0, 1, 2, 3, 4], [0, 1, 2, 3, 4], 2, 2, 100)[0], [1, 2, 3]);
  assert.equal(nearest([0, 10, 20], 14), 1);
});

test("a run skips what it does not know and cannot read", () => {
  const run = new Run(0, "r");
  for (const line of [
    {},
    { kind: 7 },
    { kind: "new" },
    { kind: "step" },
    { kind: "net", nodes: 3 },
    { kind: "metrics", iteration: 1, net: 0, heads: [null] },
  ])
    run.take(line);
  run.take({ kind: "step", iteration: 1, t: 1, loss: null, rate: 0.1, novel: true });
  assert.equal(run.received, 7);
  assert.ok(Number.isNaN(run.steps.last()));
  assert.equal(run.rate.last(), 0.1);
});

test("a picture is the one that was last taken", () => {
  const run = new Run(0, "r");
  for (const iteration of [0, 100, 50])
    run.take({
      kind: "picture",
      iteration,
      role: "map",
      blob: "b",
      sample: 1,
      channel: 2,
      file: `pictures/${iteration} a.png`,
    });
  const at = (i) => run.picture("map|b|1|2", i).iteration;
  assert.deepEqual([at(-1), at(0), at(70), at(1000)], [0, 0, 50, 100]);
  assert.equal(run.source("pictures/1 a.png", null), "files/0/pictures/1%20a.png");
  assert.equal(run.source("x", "AAAA"), "data:image/png;base64,AAAA");
});

test("a run's state is told from its lines", () => {
  const run = new Run(0, "r");
  assert.equal(run.state, "unfinished");
  run.live = true;
  assert.equal(run.state, "waiting");
  run.take({ kind: "run", max_iter: 100, started: "a" });
  assert.equal(run.state, "running");
  for (let i = 0; i <= 50; i++) run.take({ kind: "step", t: i * 2, iteration: i, loss: 1, rate: 1 });
  assert.equal(run.left, 100);
  run.take({ kind: "end", iteration: 50, early: true, error: null });
  assert.equal(run.state, "early");
  run.take({ kind: "run", max_iter: 100, started: "b" });
  run.take({ kind: "step", t: 1, iteration: 51, loss: 1, rate: 1 });
  assert.equal(run.elapsed, 101, "the clock goes on where it stood");
});

test("layers that are ill are told", () => {
  const blob = { name: "b", mean: 0, deviation: 1, low: 0, high: 1, zeros: 0.2, channels: 4, dead: [], not_finite: 0 };
  const layer = (type, more) => health({ name: "l", type, blobs: [{ ...blob, ...more }], params: [] }).level;
  assert.equal(layer("ReLU", {}), "good");
  assert.equal(layer("ReLU", { dead: [0, 1] }), "bad");
  assert.equal(layer("ReLU", { zeros: 0.95 }), "warning");
  assert.equal(layer("Data", { zeros: 0.95 }), "good");
  assert.equal(layer("Data", { not_finite: 1 }), "bad");
  assert.equal(health(undefined).level, "unknown");
});

test("an edge comes from the last who wrote the blob", () => {
  const node = (name, bottoms, top) => ({ name, type: "T", bottoms, tops: [{ name: top, shape: [] }] });
  const found = links([
    node("data", [], "d"),
    node("conv", ["d"], "c"),
    node("relu", ["c"], "c"),
    node("loss", ["c"], "l"),
  ]);
  assert.deepEqual(
    found.map((l) => [l.from, l.to]),
    [
      [0, 1],
      [1, 2],
      [2, 3],
    ],
  );
});

test("numbers are short", () => {
  assert.deepEqual([0, 1, 0.00002, 1.23456, 29, 1234.5, 1e7, NaN, null].map(number), [
    "0",
    "1",
    "2e-5",
    "1.235",
    "29",
    "1235",
    "1e7",
    "–",
    "–",
  ]);
  assert.equal(duration(3725), "1 h 02 min");
  assert.equal(compact(1234567), "1.2M");
});
