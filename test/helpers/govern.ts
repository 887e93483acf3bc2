import { writeFileSync } from "node:fs";
import { join } from "node:path";

import type { LiveNetwork } from "./live-network.ts";
import { symphony } from "./spoken.ts";

/**
 * Has governance take a decision by the command line, with the keys of a quorum.
 *
 * @param decision - A governed-decision as a file has it: byte strings in hex.
 */
export async function propose(
  by: { readonly directory: string; readonly keyFiles: readonly string[] },
  decision: object,
): Promise<void> {
  const file = join(by.directory, "decision.json");
  writeFileSync(file, JSON.stringify(decision));
  const keys = by.keyFiles.flatMap((each) => ["--key", each]);
  const words = ["governance", "propose", file, ...keys, "--dir", by.directory, "--json"];
  const { exit, out, err } = await symphony(...words);
  if (exit === 0 && out === '{"outcome":"decided"}\n') return;
  throw new Error(`governance: expected a decision, got ${exit} ${out}${err}`);
}

/** Has the governance of a running network decide, as its quorum of key holders does. */
export async function govern({ directory }: LiveNetwork, decision: object): Promise<void> {
  const keyFiles = [1, 2].map((n) => join(directory, "governance", `key-${n}.seed`));
  await propose({ directory, keyFiles }, decision);
}
