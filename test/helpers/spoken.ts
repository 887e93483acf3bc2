import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { runCommand } from "../../host/cli/commands.ts";
import { reportError, type CliIo } from "../../cli/index.ts";
import { SymphonyClient, readSubmitter } from "../../host/client/index.ts";
import { hex } from "../../protocol/index.ts";
import type { LiveCoordinator } from "./live-coordinator.ts";
import { testSeed } from "./network.ts";

/** What a command of the command line did. */
export interface Spoken {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}

/** One command as `host/main.ts` runs it. */
export async function symphony(...words: string[]): Promise<Spoken> {
  return await spoken((io) => runCommand(words, io), { isJson: words.includes("--json") });
}

/** What `run` says, errors reported as `host/main.ts` reports them. @param how.watcher - Who looks on; nobody when absent. */
export async function spoken(
  run: (io: CliIo) => number | Promise<number>,
  how: { readonly isJson?: boolean; readonly watcher?: NonNullable<CliIo["watcher"]> } = {},
): Promise<Spoken> {
  let out = "";
  let err = "";
  const io: CliIo = {
    stdout: (text) => void (out += text),
    stderr: (text) => void (err += text),
    ...(how.watcher === undefined ? {} : { watcher: how.watcher }),
  };
  try {
    return { exit: await run(io), out, err };
  } catch (error) {
    const exit = reportError(error, io, how.isJson ?? false);
    return { exit, out, err };
  }
}

/** A new folder that `--dir` takes, of the submitter `analyst`: network file and seeds. The caller removes it. */
export function submitterFolder({ network, publicUrl }: LiveCoordinator): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-submitter-"));
  fs.mkdirSync(path.join(folder, "submitter"));
  writeSeed(path.join(folder, "submitter", "signing.seed"), "analyst signing");
  writeSeed(path.join(folder, "submitter", "box.seed"), "delivery");
  const file = {
    network: "test",
    simulated: true,
    coordinator_url: publicUrl,
    genesis_digest: hex(network.genesisDigest),
    submitter_id: "analyst",
    vaults: [],
  };
  fs.writeFileSync(path.join(folder, "network.json"), JSON.stringify(file));
  return folder;
}

/** The published client, as the submitter whose folder `symphony submit --dir` takes. */
export async function clientIn(directory: string): Promise<SymphonyClient> {
  const { network, genesisDigest, signingKey, deliveryKey } = await readSubmitter(directory);
  return new SymphonyClient(
    { url: network.coordinator_url, genesisDigest },
    { actorId: network.submitter_id, signingKey, deliveryKey },
  );
}

/** The seed of the test key `label`, as a key file holds it. */
export function writeSeed(file: string, label: string): void {
  fs.writeFileSync(file, hex(testSeed(label)));
}
