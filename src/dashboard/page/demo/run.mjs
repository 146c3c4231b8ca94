// The lines of a made-up run of the facial net: as written (a ReLU before the loss shuts all channels) or repaired.

import { face, heat, labelPicture, NAMES, picture, random, SIZE } from "./faces.mjs";

export const MAX = 400;
export const INTERVAL = 50;
const SAMPLES = [3, 17, 25, 42];

const r4 = (v) => Number(v.toPrecision(5));

function net(phase, ill) {
  const batch = phase === "TRAIN" ? 16 : 32;
  const nodes = [];
  const add = (name, type, bottoms, tops, params = [], flops = 0) =>
    nodes.push({
      name,
      type,
      bottoms,
      tops: tops.map(([n, shape, in_place = false]) => ({ name: n, shape, in_place })),
      params,
      flops,
    });
  const full = [batch, 32, 48, 48];
  add("images", "Data", [], [["images", [batch, 3, 48, 48]]]);
  add("labels", "Data", [], [["labels", [batch, 1, 12, 12]]]);
  add("conv1", "Convolution", ["images"], [["conv1", full]], [[32, 3, 5, 5], [32]], 176947200);
  add("pool1", "Pooling", ["conv1"], [["pool1", [batch, 32, 24, 24]]]);
  add("relu1", "ReLU", ["pool1"], [["pool1", [batch, 32, 24, 24], true]]);
  add("conv2", "Convolution", ["pool1"], [["conv2", [batch, 64, 24, 24]]], [[64, 32, 5, 5], [64]], 943718400);
  add("relu2", "ReLU", ["conv2"], [["conv2", [batch, 64, 24, 24], true]]);
  add("pool2", "Pooling", ["conv2"], [["pool2", [batch, 64, 12, 12]]]);
  add("conv_last", "Convolution", ["pool2"], [["conv_last", [batch, 5, 12, 12]]], [[5, 64, 5, 5], [5]], 36864000);
  if (ill) add("relu2", "ReLU", ["conv_last"], [["conv_last", [batch, 5, 12, 12], true]]);
  if (phase === "TEST") add("accuracy", "Accuracy", ["conv_last", "labels"], [["accuracy", []]]);
  add("loss", "SoftmaxWithLoss", ["conv_last", "labels"], [["loss", []]]);
  return { kind: "net", phase, index: 0, name: "facial_keypoints", nodes };
}

/** Bell-shaped counts, with a peak at zero for a share of zeros. */
function histogram(low, high, mean, deviation, zeros) {
  const counts = Array.from({ length: 30 }, (_, i) => {
    const v = low + ((i + 0.5) / 30) * (high - low);
    return Math.round((1 - zeros) * 4000 * Math.exp(-0.5 * ((v - mean) / deviation) ** 2));
  });
  const at = Math.min(29, Math.max(0, Math.floor(((0 - low) / (high - low)) * 30)));
  counts[at] += Math.round(zeros * 30000);
  return { low, high, counts };
}

function vitals(iteration, t, ill, r) {
  const grown = 1 - Math.exp(-iteration / 120);
  const blob = (name, channels, mean, deviation, zeros, dead = []) => {
    const low = zeros > 0.2 ? 0 : mean - 3 * deviation;
    const high = mean + 4 * deviation;
    return {
      name,
      mean: r4(mean),
      deviation: r4(deviation),
      low: r4(low),
      high: r4(high),
      zeros: r4(zeros),
      dead,
      channels,
      not_finite: 0,
      histogram: histogram(low, high, mean, deviation, zeros),
    };
  };
  const param = (name, shape, deviation, ratio) => {
    const norm = deviation * Math.sqrt(shape.reduce((a, b) => a * b, 1));
    return {
      name,
      shape,
      norm: r4(norm),
      gradient: r4(norm * ratio * 20),
      update: r4(norm * ratio),
      mean: r4((r() - 0.5) * deviation * 0.1),
      deviation: r4(deviation),
      not_finite: 0,
      histogram: histogram(-3 * deviation, 3 * deviation, 0, deviation, 0),
    };
  };
  const small = ill ? 0.002 + 0.01 * grown : 0.4 + 0.5 * grown;
  const layers = [
    {
      name: "images",
      type: "Data",
      forward_ms: 0.4,
      backward_ms: null,
      blobs: [blob("images", 3, -2, 52, 0)],
      params: [],
    },
    {
      name: "labels",
      type: "Data",
      forward_ms: 0.1,
      backward_ms: null,
      blobs: [blob("labels", 1, 0.2, 0.7, 0.89)],
      params: [],
    },
    {
      name: "conv1",
      type: "Convolution",
      forward_ms: 2.1,
      backward_ms: 3.9,
      blobs: [blob("conv1", 32, 0.02, small, 0)],
      params: [param("conv1[0]", [32, 3, 5, 5], ill ? 0.0003 : 0.012, 0.0012), param("conv1[1]", [32], 0.004, 0.002)],
    },
    {
      name: "pool1",
      type: "Pooling",
      forward_ms: 0.7,
      backward_ms: 0.6,
      blobs: [blob("pool1", 32, small * 0.5, small, 0.02)],
      params: [],
    },
    {
      name: "relu1",
      type: "ReLU",
      forward_ms: 0.1,
      backward_ms: 0.1,
      blobs: [blob("pool1", 32, small * 0.6, small, 0.44, ill ? [7] : [])],
      params: [],
    },
    {
      name: "conv2",
      type: "Convolution",
      forward_ms: 5.8,
      backward_ms: 11.9,
      blobs: [blob("conv2", 64, -0.01, small * 0.8, 0)],
      params: [
        param("conv2[0]", [64, 32, 5, 5], 0.011, ill ? 0.00002 : 0.0009),
        param("conv2[1]", [64], 0.003, 0.0011),
      ],
    },
    {
      name: "relu2",
      type: "ReLU",
      forward_ms: 0.1,
      backward_ms: 0.1,
      blobs: [blob("conv2", 64, small * 0.3, small * 0.5, 0.55, ill ? [1, 4, 9, 12, 20, 33, 41, 50] : [])],
      params: [],
    },
    {
      name: "pool2",
      type: "Pooling",
      forward_ms: 0.3,
      backward_ms: 0.3,
      blobs: [blob("pool2", 64, small * 0.3, small * 0.4, ill ? 0.14 : 0.01, ill ? [1, 4, 9, 12, 20, 33, 41, 50] : [])],
      params: [],
    },
    {
      name: "conv_last",
      type: "Convolution",
      forward_ms: 0.8,
      backward_ms: 1.3,
      blobs: [blob("conv_last", 5, ill ? -0.4 * grown : 0.1, 0.5 + grown, 0)],
      params: [
        param("conv_last[0]", [5, 64, 5, 5], 0.013 + 0.01 * grown, ill && iteration > 100 ? 0 : 0.0014),
        param("conv_last[1]", [5], 0.2 * grown + 0.01, 0.003),
      ],
    },
  ];
  if (ill)
    layers.push({
      name: "relu2",
      type: "ReLU",
      forward_ms: 0.05,
      backward_ms: 0.05,
      blobs: [
        blob("conv_last", 5, 0.5 * grown + 0.01, 0.9, iteration > 50 ? 0.8 : 0.5, iteration > 50 ? [1, 2, 3, 4] : []),
      ],
      params: [],
    });
  layers.push({
    name: "loss",
    type: "SoftmaxWithLoss",
    forward_ms: 0.2,
    backward_ms: 0.1,
    blobs: [blob("loss", 0, 0.4, 0.0001, 0)],
    params: [],
  });
  if (ill && iteration > 100) layers.find((l) => l.name === "conv_last").params[0].gradient = 0;
  return { kind: "vitals", t, iteration, layers };
}

function confusion(iteration, ill) {
  const sizes = [430200, 7350, 7412, 8961, 12077];
  const skill = ill ? 0 : 1 - Math.exp(-Math.max(0, iteration - 20) / 110);
  return sizes.map((n, row) => {
    const hit = row === 0 ? (ill ? 1 : 1 - 0.02 * skill) : skill * [0, 0.86, 0.84, 0.78, 0.9][row];
    const out = [0, 0, 0, 0, 0];
    out[row] = Math.round(n * hit);
    let rest = n - out[row];
    if (row === 0) {
      [1, 2, 3, 4].forEach((c) => (out[c] = Math.round((rest * sizes[c]) / 35800)));
      out[0] = n - out[1] - out[2] - out[3] - out[4];
    } else {
      const twin = row === 1 ? 2 : row === 2 ? 1 : row === 3 ? 4 : 3;
      out[twin] = Math.round(rest * 0.12 * skill);
      out[0] = rest - out[twin];
    }
    return out;
  });
}

function metrics(iteration, t, ill) {
  const matrix = confusion(iteration, ill);
  const rows = matrix.map((r) => r.reduce((a, b) => a + b, 0));
  const columns = matrix[0].map((_, c) => matrix.reduce((s, r) => s + r[c], 0));
  const total = rows.reduce((a, b) => a + b, 0);
  const hits = matrix.map((r, i) => r[i]);
  const recall = hits.map((h, i) => r4(h / rows[i]));
  const precision = hits.map((h, i) => (columns[i] > 0 ? r4(h / columns[i]) : null));
  const iou = hits.map((h, i) => r4(h / (rows[i] + columns[i] - h)));
  const mean = (v) => r4(v.reduce((a, b) => a + b, 0) / v.length);
  const shut = ill && iteration > 0;
  return {
    kind: "metrics",
    t,
    iteration,
    net: 0,
    detections: [],
    heads: [
      {
        scores: "conv_last",
        label: "labels",
        layer: "loss",
        classes: 5,
        names: NAMES,
        confusion: matrix,
        ignored: 0,
        accuracy: r4(hits.reduce((a, b) => a + b, 0) / total),
        constant: { class: 0, accuracy: r4(rows[0] / total) },
        recall,
        precision,
        iou,
        mean_iou: mean(iou),
        mean_recall: mean(recall),
        top_k: [[1, r4(hits.reduce((a, b) => a + b, 0) / total)]],
        alike: shut
          ? [
              [1, 2],
              [1, 3],
              [1, 4],
              [2, 3],
              [2, 4],
              [3, 4],
            ].map(([a, b]) => ({ a, b, correlation: 0.9993 }))
          : [],
        zeros: ill ? [0, ...[0.994, 0.997, 0.991, 0.989].map((z) => (shut ? z : 0.5))] : [0, 0, 0, 0, 0],
      },
    ],
  };
}

/** Scores of one channel: blobs where the region is, sharper with time; all the same and nearly 0 where shut. */
function channel(labels, c, iteration, ill, r) {
  const out = new Float64Array(SIZE * SIZE);
  const grown = 1 - Math.exp(-iteration / 110);
  for (let y = 0; y < SIZE; y++) {
    for (let x = 0; x < SIZE; x++) {
      let near = 0;
      for (let dy = -2; dy <= 2; dy++) {
        for (let dx = -2; dx <= 2; dx++) {
          const l = labels[Math.min(47, Math.max(0, y + dy)) * SIZE + Math.min(47, Math.max(0, x + dx))];
          near += (ill && c > 0 ? l > 0 : l === c) ? 1 : 0;
        }
      }
      const i = y * SIZE + x;
      out[i] = (near / 25) * 4 * grown - 1.5 * grown + (r() - 0.5) * (1.2 - grown * 0.7);
      if (ill && c > 0) out[i] = Math.max(0, out[i] * 0.1 - 0.12 + (iteration < 60 ? 0.1 : 0));
      if (ill && c === 0) out[i] = Math.max(0, out[i] + 2);
    }
  }
  return out;
}

function pictures(iteration, t, ill, r, emit) {
  SAMPLES.forEach((seed, sample) => {
    const f = face(seed);
    const key = String(seed).padStart(8, "0");
    const put = (role, blob, ch, caption, data, low = null, high = null) =>
      emit({ kind: "picture", t, iteration, role, blob, sample, key, channel: ch, caption, low, high }, data);
    if (iteration === 0) {
      put("input", "images", null, "input", picture(f.rgb));
      put("truth", "labels", null, "truth", labelPicture(f.labels));
    }
    const scores = NAMES.map((_, c) => channel(f.labels, c, iteration, ill, r));
    const answer = new Uint8Array(SIZE * SIZE).map((_, i) => {
      let best = 0;
      scores.forEach((s, c) => (s[i] > scores[best][i] + (c === 0 ? 0 : ill ? 9 : 0) ? (best = c) : 0));
      return best;
    });
    put("answer", "conv_last", null, "answer", labelPicture(answer));
    scores.forEach((s, c) => {
      const h = heat(s);
      put("map", "conv_last", c, NAMES[c], h.png, r4(h.low), r4(h.high));
    });
  });
}

const VERDICT = {
  ill: {
    kind: "verdict",
    t: 61,
    ill: true,
    lines: [
      "`relu2` stands between the last weights (`conv_last`) and the softmax loss: it cuts every score below 0, and the gradient with it.",
      "`conv_last` channels 1 to 4 are equal in 99 % of pixels, because `relu2` cuts their scores to 0.",
      "Accuracy 92.3 % is what always saying “ground” scores: no other class is ever found.",
      "`conv1` starts from weights of std 0.0001: its outputs, and all gradients after them, are about a hundred times too small.",
    ],
    todo: [
      "`cortado check --fix solver.prototxt` takes the ReLU out.",
      "`cortado train --class-weights median-frequency …` weighs rare classes up.",
    ],
  },
  well: {
    kind: "verdict",
    t: 61,
    ill: false,
    lines: ["All five classes are found; the channels differ; updates are about 0.1 % of the weights."],
    todo: [],
  },
};

/** All lines of a run. `emit` of pictures gets the PNG beside the line. */
export function made({ ill, until = MAX, emitPicture }) {
  const r = random(ill ? 11 : 22);
  const lines = [];
  const pace = ill ? 0.152 : 0.149;
  const put = (line) => lines.push(line);
  put({
    kind: "run",
    version: 1,
    program: "cortado 0.1.0",
    name: "facial_keypoints",
    solver: "solver.prototxt",
    started: "2026-11-24T14:00:00Z",
    max_iter: MAX,
    seed: 1,
    display: 10,
    test_interval: INTERVAL,
  });
  put(net("TRAIN", ill));
  put(net("TEST", ill));
  put({ kind: "a later version's line", anything: [1, 2] });
  put({ kind: "log", t: 0, level: "info", text: "cortado 0.1.0: training facial_keypoints, 2 threads" });
  if (ill) {
    put({
      kind: "log",
      t: 0,
      level: "warning",
      text: "two layers are called relu2 (lines 18 and 21); neither has weights",
    });
    put({
      kind: "finding",
      t: 0,
      severity: "error",
      code: "N001",
      message: "`relu2` is an activation between the last weights and `loss`",
      place: "train_val.prototxt:21:3",
      help: "take the layer out: SoftmaxWithLoss needs scores of either sign",
      iteration: null,
    });
    put({
      kind: "finding",
      t: 0,
      severity: "warning",
      code: "N021",
      message: "`conv1` starts from gaussian weights of std 0.0001: its first outputs are 0.004 of its inputs",
      place: "train_val.prototxt:12:3",
      help: '`weight_filler { type: "msra" }`, or std 0.01',
      iteration: null,
    });
    put({
      kind: "finding",
      t: 0,
      severity: "note",
      code: "N002",
      message: "two layers are called `relu2`",
      place: "train_val.prototxt:21:3",
      help: "they have no weights, so nothing is mixed up; another name helps the reader",
      iteration: null,
    });
  }
  const floor = ill ? 0.345 : 0.055;
  const curve = (i) => floor + (1.61 - floor) * Math.exp(-i / (ill ? 14 : 45)) + (ill ? 0 : 0.09 * Math.exp(-i / 160));
  let smoothed = null;
  for (let i = 0; i <= until; i++) {
    const t = r4(1.2 + i * pace);
    const rate = i < 300 ? 0.005 : 0.0005;
    if (i % INTERVAL === 0) {
      const testLoss = r4(curve(i) * 1.04 + 0.004 * r());
      const m = metrics(i, t, ill);
      put({
        kind: "test",
        t,
        iteration: i,
        net: 0,
        outputs: [
          { blob: "accuracy", value: m.heads[0].accuracy, weight: 0 },
          { blob: "loss", value: testLoss, weight: 1 },
        ],
      });
      put({ kind: "log", t, level: "info", text: `Iteration ${i}, Testing net (#0)` });
      put({ kind: "log", t, level: "info", text: `    Test net output #0: accuracy = ${m.heads[0].accuracy}` });
      put(m);
      put(vitals(i, t, ill, r));
      pictures(i, t, ill, r, (line, data) => put(emitPicture(line, data)));
      put({
        kind: "worst",
        t,
        iteration: i,
        net: 0,
        samples: [42, 17, 31, 8, 25].map((s, n) => ({
          key: String(s).padStart(8, "0"),
          loss: r4((ill ? 1.4 : 0.9) * curve(i) * 2.2 * (1 - n * 0.09)),
          truth: NAMES[1 + (n % 4)],
          answer: ill || n < 3 ? "ground" : NAMES[1 + (n % 4)],
          picture: emitPicture({}, picture(face(s).rgb)).file ?? null,
          png: emitPicture({}, picture(face(s).rgb)).png,
        })),
      });
    }
    if (i === until) break;
    const loss = curve(i) * (1 + (r() - 0.5) * 0.24);
    smoothed = smoothed === null ? loss : smoothed * 0.9 + loss * 0.1;
    put({ kind: "step", t, iteration: i, loss: i === 77 ? null : r4(loss), rate });
    if (i % 10 === 0) {
      put({
        kind: "train",
        t,
        iteration: i,
        loss: r4(smoothed),
        rate,
        outputs: [{ blob: "loss", value: r4(loss), weight: 1 }],
      });
      put({ kind: "log", t, level: "info", text: `Iteration ${i}, loss = ${smoothed.toPrecision(6)}` });
    }
    if (i === 200) put({ kind: "snapshot", t, iteration: i, file: "snap_iter_200.caffemodel" });
  }
  if (until === MAX) {
    put(ill ? VERDICT.ill : VERDICT.well);
    put({ kind: "end", t: r4(1.2 + MAX * pace), iteration: MAX, early: false, error: null });
  }
  return lines;
}
