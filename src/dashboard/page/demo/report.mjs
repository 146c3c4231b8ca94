// A report of two made-up runs, to look at the page without training: `npm run demo`, then open demo/report.html.

import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { made } from "./run.mjs";

const here = dirname(fileURLToPath(import.meta.url));

/** What the program does with the page: the data in place of the mark, `<` escaped. */
export function filled(data) {
  const page = readFileSync(join(here, "../built/index.html"), "utf8");
  const json = JSON.stringify(data).replaceAll("<", "\\u003c");
  return page.split("<!--CORTADO_DATA-->").join(`<script type="application/json" id="cortado-data">${json}</script>`);
}

export function report() {
  const emitPicture = (line, data) => ({ ...line, png: data.toString("base64") });
  return filled({
    live: false,
    title: "facial keypoints, before and after",
    runs: [
      { name: "as written", lines: made({ ill: true, emitPicture }) },
      { name: "repaired", lines: made({ ill: false, emitPicture }) },
    ],
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const page = report();
  writeFileSync(join(here, "report.html"), page);
  console.log(`demo/report.html: ${(page.length / 1024).toFixed(0)} KiB`);
}
