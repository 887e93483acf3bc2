import type { EnclaveLauncher, NodeEvent } from "../execution/index.ts";

/** What a process gives its node: clock, randomness, a way to tell its operator, and when to stop. */
export interface RunEnvironment {
  readonly nowMs: () => number;
  readonly random: (bytes: number) => Uint8Array;
  /** One JSON line for the operator. Never holds data. */
  readonly report: (event: Readonly<Record<string, unknown>>) => void;
  readonly signal: AbortSignal;
}

/** The same, for nodes that start enclaves. */
export interface EnclaveEnvironment extends RunEnvironment {
  readonly launcher: EnclaveLauncher;
}

/** Reports a node's event. */
export function reporterOf(environment: RunEnvironment): (event: NodeEvent) => void {
  return (event) => environment.report({ ...event });
}

/** How long a node keeps trying while its coordinator is away. */
export const COORDINATOR_AWAY_MS_MAX = 60_000;
