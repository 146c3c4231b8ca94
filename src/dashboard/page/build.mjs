// Builds the page into one file, and the policy that lets it run: `node build.mjs`.
//
// The policy names the script and the style by their hashes, so that nothing else that gets into the page can run.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
process.chdir(here);

const common = {
  bundle: true,
  write: false,
  minify: true,
  charset: "utf8",
  legalComments: "none",
  target: ["chrome111", "firefox114", "safari16.4"],
  logLevel: "warning",
};
const script = await build({
  ...common,
  entryPoints: ["src/main.tsx"],
  format: "iife",
  jsx: "automatic",
  jsxImportSource: "preact",
  metafile: true,
});
const style = await build({
  ...common,
  stdin: {
    contents: [
      "uplot/dist/uPlot.min.css",
      "./src/styles/base.css",
      "./src/styles/layout.css",
      "./src/styles/views.css",
      "./src/styles/pictures.css",
    ]
      .map((file) => `@import "${file}";`)
      .join("\n"),
    resolveDir: here,
    loader: "css",
  },
});
const js = script.outputFiles[0].text.trim();
const css = style.outputFiles[0].text.trim();
for (const [text, word] of [
  [js, "<!--"],
  [js, "</script"],
  [js, "<script"],
  [css, "</style"],
]) {
  if (text.toLowerCase().includes(word)) throw new Error(`"${word}" would end or confuse the inline block`);
}

const hash = (text) => `'sha256-${createHash("sha256").update(text, "utf8").digest("base64")}'`;
const policy = [
  "default-src 'none'",
  `script-src ${hash(js)}`,
  `style-src ${hash(css)}`,
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

const fill = (text, mark, value) => {
  const parts = text.split(mark);
  if (parts.length !== 2) throw new Error(`"${mark}" stands ${parts.length - 1} times in page.html`);
  return parts.join(value);
};
let page = readFileSync("src/page.html", "utf8");
page = fill(page, "<!--NOTICES-->", `<!--\n${notices()}\n-->`);
page = fill(page, 'content="CSP"', `content="${policy}"`);
page = fill(page, "STYLE", css);
page = fill(page, "SCRIPT", js);
if (page.split("<!--CORTADO_DATA-->").length !== 2) throw new Error("the mark for the data must stand once");

mkdirSync("built", { recursive: true });
writeFileSync("built/index.html", page);
// Frames can be forbidden by a header only.
writeFileSync("built/policy.txt", `${policy}; frame-ancestors 'none'`);
console.log(`built/index.html: ${(Buffer.byteLength(page) / 1024).toFixed(1)} KiB`);

/** The licences of all that is bundled, as their packages carry them. */
function notices() {
  const files = Object.keys(script.metafile.inputs).filter((f) => f.includes("node_modules/"));
  const names = new Set(files.map((f) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(f)[1]));
  // The style comes from here, and graphlib stands inside dagre's own bundle.
  names.add("uplot").add("@dagrejs/graphlib");
  const texts = new Map();
  for (const name of [...names].sort()) {
    const folder = join("node_modules", name);
    const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = ["LICENSE", "LICENSE.md", "LICENSE.txt"].map((f) => join(folder, f)).find(existsSync);
    if (!file) throw new Error(`${name} has no licence text`);
    const text = readFileSync(file, "utf8").replace(/\r/g, "").trim();
    if (text.includes("--")) throw new Error(`the licence of ${name} cannot stand in a comment`);
    texts.set(text, [...(texts.get(text) ?? []), `${name} ${version} (${license})`]);
  }
  return [...texts].map(([text, of]) => `${of.join(", ")}\n\n${text}`).join("\n\n");
}
