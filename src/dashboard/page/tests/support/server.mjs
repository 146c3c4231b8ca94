// A server as the program's own is, with a made-up run that the test feeds line by line.

import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { face, overlaid, picture } from "../../demo/faces.mjs";
import { filled } from "../../demo/report.mjs";

const RECORDS = 400;

export async function serve({ lines = [], controls = true, runs = 1, pictures = new Map() } = {}) {
  const state = {
    lines: [...lines],
    streams: new Set(),
    posted: [],
    requests: [],
    refused: [],
    answer: { ok: true },
    pictures,
    down: false,
  };
  const policy = readFileSync(new URL("../../built/policy.txt", import.meta.url), "utf8");
  const server = createServer((request, response) => {
    const url = new URL(request.url, "http://here");
    state.requests.push(`${request.method} ${url.pathname}${url.search}`);
    const send = (status, type, body, more = {}) =>
      response.writeHead(status, { "content-type": type, ...more }).end(body);
    const json = (value, status = 200) => send(status, "application/json", JSON.stringify(value));
    if (state.down) return response.destroy();
    if (url.pathname === "/") {
      return send(200, "text/html; charset=utf-8", filled({ live: true, title: "a live run" }), {
        "content-security-policy": policy,
      });
    }
    // What a script asks carries the header; pictures are asked for by the browser itself.
    if (url.pathname.startsWith("/api/") && !url.pathname.endsWith(".png") && request.headers["x-cortado"] !== "1") {
      state.refused.push(url.pathname);
      return json({ error: "no header" }, 403);
    }
    if (url.pathname === "/api/runs") {
      return json(
        Array.from({ length: runs }, (_, id) => ({
          id,
          name: id === 0 ? "facial_keypoints" : `run ${id}`,
          live: id === 0,
          controls: id === 0 && controls,
        })),
      );
    }
    if (/^\/api\/runs\/\d+\/lines$/.test(url.pathname)) {
      const from = Number(request.headers["last-event-id"] ?? url.searchParams.get("from") ?? 0);
      response.writeHead(200, { "content-type": "text/event-stream" });
      state.lines.slice(from).forEach((line, i) => response.write(event(line, from + i)));
      if (!url.pathname.includes("/0/")) return response.end("event: end\ndata: {}\n\n");
      state.streams.add(response);
      response.on("close", () => state.streams.delete(response));
      return undefined;
    }
    if (/\/control$/.test(url.pathname) && request.method === "POST") {
      let body = "";
      request.on("data", (d) => (body += d));
      request.on("end", () => {
        state.posted.push({ body: JSON.parse(body), type: request.headers["content-type"] });
        json(state.answer);
      });
      return undefined;
    }
    if (url.pathname === "/api/databases") {
      return json([
        { id: 0, name: "train_lmdb", records: RECORDS, pair: 1, layer: "images", phase: "TRAIN" },
        { id: 1, name: "train_label_lmdb", records: RECORDS, pair: null, layer: "labels", phase: "TRAIN" },
      ]);
    }
    const records = /^\/api\/databases\/(\d+)\/records$/.exec(url.pathname);
    if (records) {
      const from = Number(url.searchParams.get("from"));
      const count = Math.min(Number(url.searchParams.get("count")), RECORDS - from);
      return json(
        Array.from({ length: count }, (_, i) => ({
          index: from + i,
          key: String((from + i) * 3).padStart(8, "0"),
          label: null,
          shape: [3, 48, 48],
        })),
      );
    }
    const record = /^\/api\/databases\/\d+\/records\/(\d+)\.png$/.exec(url.pathname);
    if (record) {
      const f = face(Number(record[1]));
      return send(200, "image/png", url.searchParams.has("overlay") ? overlaid(f) : picture(f.rgb));
    }
    const file = /^\/files\/\d+\/(pictures\/[^/]+\.png)$/.exec(url.pathname);
    if (file && state.pictures.has(file[1])) return send(200, "image/png", state.pictures.get(file[1]));
    return json({ error: "there is no such thing" }, 404);
  });
  const listen = (port) => new Promise((done) => server.listen(port, "127.0.0.1", done));
  await listen(0);
  const { port } = server.address();
  return {
    ...state,
    state,
    url: `http://127.0.0.1:${port}/`,
    push(...more) {
      for (const line of more) {
        const text = event(line, state.lines.length);
        state.lines.push(line);
        for (const s of state.streams) s.write(text);
      }
    },
    /** Cuts all connections, as a program that ends does. */
    cut() {
      state.down = true;
      server.closeAllConnections();
    },
    back() {
      state.down = false;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

const event = (line, id) => `id: ${id}\ndata: ${JSON.stringify(line)}\n\n`;

/** How `made` names pictures for a live run; the server hands them out. */
export function filing(pictures) {
  let n = 0;
  return (line, data) => {
    const file = `pictures/${line.role ?? "worst"}_${n++}.png`;
    pictures.set(file, data);
    return { ...line, file };
  };
}
