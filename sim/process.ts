import type { CliIo } from "#cli";

/** What the entry point hands to the simulator's commands. */
export interface SimProcess {
  readonly io: CliIo;
  readonly repositoryRoot: string;
  readonly nowMs: () => number;
  readonly random: (bytes: number) => Uint8Array;
  readonly signal: AbortSignal;
}
