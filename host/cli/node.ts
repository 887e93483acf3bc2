import { randomBytes } from "node:crypto";
import { parseArgs } from "node:util";

import { EXIT, UsageError, type CliIo } from "#cli";

import { ENCLAVE_WORDS, RUN_WORDS } from "./node-words.ts";
import { runNode, socketEnclaves, type NodeRole } from "../run/node.ts";

/** Roles whose group of commands is `run` alone. */
type GroupRole = Exclude<NodeRole, "vault">;

const WHAT = {
  coordinator: "Takes requests, relays work and messages, settles, and keeps the network's logs.",
  aggregator: `Has the slices of a task combined in an enclave of its own.\n${ENCLAVE_WORDS}`,
} as const satisfies Record<GroupRole, string>;

/** What `symphony coordinator --help` and `symphony aggregator --help` print. */
export function nodeHelp(role: GroupRole): string {
  return `symphony ${role} run CONFIG

${WHAT[role]}
${RUN_WORDS}

Exits 0 when it was told to stop, 1 when its configuration or its network is refused, 2 when called wrongly, 3 when
something it needs does not answer.
`;
}

/** `symphony coordinator` and `symphony aggregator`, which have one command each. @throws UsageError, and as `runNode` */
export async function runNodeGroup(
  role: GroupRole,
  argv: readonly string[],
  io: CliIo,
): Promise<number> {
  const { positionals } = parseArgs({ args: [...argv], allowPositionals: true, options: {} });
  const [command, configFile, ...rest] = positionals;
  if (command !== "run" || configFile === undefined || rest.length > 0) {
    throw new UsageError(`${role}: expected run and one CONFIG file`);
  }
  return runNodeCommand(role, configFile, io);
}

/** Runs a node until it is interrupted. @returns the exit code @throws as `runNode` */
export async function runNodeCommand(
  role: NodeRole,
  configFile: string,
  io: CliIo,
): Promise<number> {
  const stop = new AbortController();
  const restore = io.watcher?.onInterrupt(() => stop.abort());
  try {
    await runNode(
      { role, configFile, launcherFor: socketEnclaves },
      {
        nowMs: Date.now,
        random: (bytes) => new Uint8Array(randomBytes(bytes)),
        report: (event) => io.stdout(`${JSON.stringify(event)}\n`),
        signal: stop.signal,
      },
    );
    return EXIT.ok;
  } finally {
    restore?.();
  }
}
