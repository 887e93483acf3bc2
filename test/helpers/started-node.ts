import { runCommand } from "../../host/cli/commands.ts";
import type { CliIo } from "../../cli/index.ts";

/** A node that a command of the command line runs, in this process. */
export interface StartedNode {
  /** What it told its operator so far. */
  readonly events: readonly Readonly<Record<string, unknown>>[];
  /** Interrupts it as Ctrl-C does, and waits. Returns the exit code; safe to call again. */
  stop(): Promise<number>;
}

/** Runs `symphony WORDS` and waits until it says that it is ready. */
export async function startNode(words: readonly string[]): Promise<StartedNode> {
  const events: Readonly<Record<string, unknown>>[] = [];
  const ready = Promise.withResolvers<void>();
  let interrupt = (): void => undefined;
  const io: CliIo = {
    stdout: (line) => {
      const event: Readonly<Record<string, unknown>> = JSON.parse(line);
      events.push(event);
      if (event["event"] === "ready") ready.resolve();
    },
    stderr: () => undefined,
    watcher: {
      isTerminal: false,
      nowMs: Date.now,
      onInterrupt: (stop) => {
        interrupt = stop;
        return () => (interrupt = () => undefined);
      },
    },
  };
  const ended = runCommand(words, io);
  ended.catch(ready.reject);
  await ready.promise;
  return {
    events,
    stop: () => {
      interrupt();
      return ended;
    },
  };
}
