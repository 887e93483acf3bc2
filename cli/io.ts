/** Where a command writes. */
export interface CliIo {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** The person at the other end; absent where nobody watches. */
  readonly watcher?: CliWatcher;
}

/** What a command that takes long may ask of its surroundings. */
export interface CliWatcher {
  /** Whether standard error is a terminal, where a line may be written over. */
  readonly isTerminal: boolean;
  /** Unix milliseconds. */
  readonly nowMs: () => number;
  /** Calls `stop`, once, instead of ending the process when it is interrupted; until the function returned is called. */
  readonly onInterrupt: (stop: () => void) => () => void;
}

/** Exit codes of every command. */
export const EXIT = { ok: 0, refused: 1, usage: 2, unavailable: 3, bug: 70 } as const;

/** Words that do not make a command. Exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
