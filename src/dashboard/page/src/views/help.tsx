// The keyboard, and what this page is.

import type { JSX } from "preact";
import { helpOpen, runs } from "../state";
import { SHORTCUTS } from "../keys";
import { Dialog } from "../parts/controls";

export function Help(): JSX.Element | null {
  if (!helpOpen.value) return null;
  const program = runs.value.find((r) => r.head.program)?.head.program;
  return (
    <Dialog label="Keyboard and help" class="help-dialog" onClose={() => (helpOpen.value = false)}>
      <h2>Keyboard</h2>
      <table>
        <tbody>
          {SHORTCUTS.map(([key, what]) => (
            <tr key={key + what}>
              <th scope="row">
                <kbd>{key}</kbd>
              </th>
              <td>{what}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p class="quiet">
        In curves: drag to zoom in, double click to see all. In the net: drag moves, Ctrl and the wheel zoom.
      </p>
      <p class="quiet">
        {program ? `Written by ${program}.` : ""} This page asks nothing of the network. The licences of what it is
        built with stand at the top of its source.
      </p>
    </Dialog>
  );
}
