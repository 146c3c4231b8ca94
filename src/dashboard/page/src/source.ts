// Where lines come from: the report holds them, a live page streams them.

import type { Raw } from "./lines";
import { Run } from "./run";
import { EventParser } from "./sse";
import { live, runs, said, title, trouble } from "./state";

interface Embedded {
  live?: boolean;
  title?: string;
  runs?: { name?: string; lines?: Raw[] }[];
}

interface Listed {
  id: number;
  name: string;
  live?: boolean;
  controls?: boolean;
}

const HEADERS = { "x-cortado": "1" };
/** A browser opens about six connections to one host; some are kept free for pictures and questions. */
const STREAMS = 4;

export function begin(): void {
  let data: Embedded | null = null;
  const holder = document.getElementById("cortado-data");
  if (holder) {
    try {
      data = JSON.parse(holder.textContent ?? "") as Embedded;
    } catch {
      trouble.value = "The data in this file cannot be read: it may have been cut off.";
      return;
    }
    // The text is as large as the lines themselves.
    holder.textContent = "";
  }
  title.value = data?.title ?? "";
  if (data && data.live === false) {
    runs.value = (data.runs ?? []).map((r, i) => {
      const run = new Run(i, r.name ?? `run ${i + 1}`);
      for (const line of r.lines ?? []) if (line && typeof line === "object") run.take(line);
      return run;
    });
    return;
  }
  if (location.protocol === "file:") {
    trouble.value = "This file holds no run. Start `cortado dashboard RUN_DIR` and open the address that it prints.";
    return;
  }
  live.value = true;
  hideToken();
  void listRuns();
}

/** The token came with the address once and is a cookie now; it need not stay where others can read it. */
function hideToken(): void {
  const url = new URL(location.href);
  if (!url.searchParams.has("token")) return;
  url.searchParams.delete("token");
  history.replaceState(null, "", url);
}

export async function ask<T>(path: string): Promise<T> {
  const answer = await fetch(path, { headers: HEADERS, credentials: "same-origin" });
  if (!answer.ok) throw new Error(await reason(answer));
  return (await answer.json()) as T;
}

async function reason(answer: Response): Promise<string> {
  if (answer.status === 401 || answer.status === 403) {
    return "The program asks for its token: open the address that it printed, with `?token=`.";
  }
  try {
    const body = (await answer.json()) as { error?: unknown };
    if (typeof body.error === "string") return body.error;
  } catch {
    // No JSON: the status must do.
  }
  return `The program answered ${answer.status} ${answer.statusText}`.trim();
}

/** Asks a run for something; the answer is words for the reader. */
export async function control(run: Run, body: { action: string; value?: number }): Promise<string | null> {
  try {
    const answer = await fetch(`api/runs/${run.id}/control`, {
      method: "POST",
      headers: { ...HEADERS, "content-type": "application/json" },
      credentials: "same-origin",
      body: JSON.stringify(body),
    });
    if (!answer.ok) return await reason(answer);
    const said = (await answer.json()) as { ok?: boolean; error?: string };
    return said.error ?? (said.ok ? null : "The program gave no clear answer.");
  } catch {
    return "The program cannot be reached.";
  }
}

let delay = 1000;

async function listRuns(): Promise<void> {
  let wait = 5000;
  try {
    const listed = await ask<Listed[]>("api/runs");
    trouble.value = null;
    delay = 1000;
    let fresh = false;
    for (const l of listed) {
      let run = runs.peek().find((r) => r.id === l.id);
      if (!run) {
        run = new Run(l.id, l.name);
        runs.value = [...runs.peek(), run];
        fresh = true;
      }
      const changed = run.live !== !!l.live || run.controls !== !!l.controls;
      run.live = !!l.live;
      run.controls = !!l.controls;
      if (changed) run.tick.value++;
    }
    if (fresh) openStreams();
  } catch (error) {
    const text = error instanceof TypeError ? "The program cannot be reached." : (error as Error).message;
    if (runs.peek().length === 0) trouble.value = text;
    wait = delay = Math.min(delay * 2, 15000);
  }
  setTimeout(() => void listRuns(), wait);
}

const waiting: Run[] = [];
const known = new Set<Run>();
let open = 0;

function openStreams(): void {
  for (const run of runs.peek()) {
    if (known.has(run)) continue;
    known.add(run);
    waiting.push(run);
  }
  waiting.sort((a, b) => Number(b.live) - Number(a.live));
  while (open < STREAMS && waiting.length > 0) {
    const run = waiting.shift()!;
    open++;
    void stream(run).finally(() => {
      open--;
      openStreams();
    });
  }
}

/** Follows a run until its record is complete, however often the connection drops. */
async function stream(run: Run): Promise<void> {
  let pause = 500;
  for (;;) {
    try {
      const answer = await fetch(`api/runs/${run.id}/lines?from=${run.received}`, {
        headers: { ...HEADERS, accept: "text/event-stream" },
        credentials: "same-origin",
        cache: "no-store",
      });
      if (!answer.ok || !answer.body) {
        run.link.value = answer.status === 401 || answer.status === 403 ? "refused" : "lost";
        if (run.link.value === "refused") trouble.value = await reason(answer);
      } else {
        if (run.link.peek() === "lost") said.value = `Connected to ${run.name} again.`;
        run.link.value = "open";
        pause = 500;
        if (await read(run, answer.body)) {
          run.link.value = "none";
          return;
        }
        if (!run.live) {
          // Nothing is added to a run that is over: the end of the stream is the end of its record.
          run.link.value = "none";
          return;
        }
        run.link.value = "lost";
      }
    } catch {
      run.link.value = "lost";
    }
    await new Promise((r) => setTimeout(r, pause));
    pause = Math.min(pause * 2, run.end ? 30000 : 8000);
  }
}

/** Reads until the stream ends; true where the program said that this is all. */
async function read(run: Run, body: ReadableStream<Uint8Array>): Promise<boolean> {
  const parser = new EventParser();
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return false;
    let took = false;
    for (const message of parser.push(value)) {
      if (message.event === "end") {
        if (took) announce(run);
        if (run.live) continue;
        void reader.cancel();
        return true;
      }
      // Lines that were sent before come again where a stream is taken up too early.
      const id = message.id === null ? NaN : Number(message.id);
      if (Number.isInteger(id) && id < run.received) continue;
      took = takeText(run, message.data) || took;
    }
    if (took) announce(run);
  }
}

function takeText(run: Run, text: string): boolean {
  let line: unknown = null;
  try {
    line = JSON.parse(text);
  } catch {
    // Counted all the same: `from` counts lines.
  }
  run.take(line && typeof line === "object" ? (line as Raw) : {});
  return true;
}

const due = new Set<Run>();

/** Lines come in bursts; views are told once a frame. */
function announce(run: Run): void {
  if (due.size === 0) {
    // Frames stop in a hidden tab; there a timer does.
    if (document.hidden) setTimeout(tell, 1000);
    else requestAnimationFrame(tell);
  }
  due.add(run);
}

function tell(): void {
  const all = [...due];
  due.clear();
  for (const run of all) run.tick.value++;
}
