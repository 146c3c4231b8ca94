// The page of a run: live while it trains, or left as one file.

import { render } from "preact";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { begin } from "./source";
import { listen } from "./keys";
import { runs, shownRuns, tab, TAB_NAMES, tabs, title, trouble } from "./state";
import type { Tab } from "./state";
import { Nothing } from "./parts/controls";
import { Classes } from "./views/classes";
import { Curves } from "./views/curves";
import { Data } from "./views/data";
import { Header } from "./views/header";
import { Help } from "./views/help";
import { Log } from "./views/log";
import { Enlarged, Maps } from "./views/maps";
import { Net } from "./views/net";
import { Overview } from "./views/overview";
import { Worst } from "./views/worst";

const VIEWS: Record<Tab, () => JSX.Element> = {
  overview: Overview,
  curves: Curves,
  classes: Classes,
  net: Net,
  maps: Maps,
  worst: Worst,
  data: Data,
  log: Log,
};

function Page(): JSX.Element {
  const name = tabs.value.includes(tab.value) ? tab.value : "overview";
  const View = VIEWS[name];
  useEffect(() => {
    document.title = `${title.value || runs.value.map((r) => r.name).join(", ") || "run"} · cortado`;
  });
  return (
    <>
      <Header />
      <main aria-label={TAB_NAMES[name]}>
        <div id="view" role="tabpanel" aria-labelledby={`tab-${name}`}>
          {runs.value.length === 0 ? (
            <Nothing>{trouble.value ? "" : "Waiting for a run …"}</Nothing>
          ) : shownRuns.value.length === 0 ? (
            <Nothing>No run is shown: choose one above.</Nothing>
          ) : (
            <View />
          )}
        </div>
      </main>
      <Enlarged />
      <Help />
    </>
  );
}

begin();
listen();
render(<Page />, document.getElementById("page")!);
