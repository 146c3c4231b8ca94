// Debian's Chromium, driven by playwright-core; all that goes wrong in a page is kept.

import { chromium } from "playwright-core";

export async function browser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu"],
  });
}

export async function open(chrome, url, options = {}) {
  const context = await chrome.newContext({ viewport: { width: 1400, height: 900 }, colorScheme: "light", ...options });
  const page = await context.newPage();
  const troubles = [];
  const requests = [];
  page.on("console", (m) => ["error", "warning"].includes(m.type()) && troubles.push(m.text()));
  page.on("pageerror", (e) => troubles.push(String(e.stack)));
  page.on("request", (r) => requests.push(r.url()));
  settleAfter(page);
  await page.goto(url);
  return { page, troubles, requests, context };
}

/** Lets the page draw what a key or a click changed before the test looks: it draws with the next frames. */
function settleAfter(page) {
  const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))));
  const wrap = (object, names, pageOf) => {
    for (const name of names) {
      const act = object[name];
      object[name] = async function (...given) {
        const result = await act.apply(this, given);
        await pageOf(this).evaluate(frame);
        return result;
      };
    }
  };
  wrap(page.keyboard, ["press"], () => page);
  wrap(page.mouse, ["up", "dblclick"], () => page);
  // Locators share their methods: once for all pages.
  const locator = Object.getPrototypeOf(page.locator("html"));
  if (locator.settles) return;
  locator.settles = true;
  wrap(locator, ["click", "check", "uncheck", "fill", "selectOption", "focus"], (l) => l.page());
}

/** How many pixels of a chart's canvas are of a colour, roughly. */
export async function painted(page, chart, [r, g, b]) {
  return page.locator(`[data-chart="${chart}"] canvas`).evaluate(
    (canvas, [r, g, b]) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let n = 0;
      for (let i = 0; i < data.length; i += 4) {
        if (data[i + 3] > 200 && Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 30)
          n++;
      }
      return n;
    },
    [r, g, b],
  );
}
