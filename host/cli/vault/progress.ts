import type { CliIo } from "#cli";

/** How much there is to do. */
export interface Extent {
  readonly total: number;
  readonly unit: "bytes" | "rows" | "documents";
}

/** At most one line in this time, on a terminal and elsewhere. */
const TERMINAL_MS = 200;
const LINES_MS = 5_000;

/** Says on standard error how far a long command has come and how fast. */
export interface Progress {
  readonly advance: (count: number) => void;
  /** Ends the line on a terminal. Once. */
  readonly end: () => void;
}

const SILENT: Progress = { advance: () => undefined, end: () => undefined };

/**
 * Progress towards `extent`: written over itself on a terminal, in lines elsewhere when `isAsked`, not at all without a
 * watcher.
 */
export function progressOf(io: CliIo, extent: Extent, isAsked: boolean): Progress {
  const { watcher } = io;
  if (watcher === undefined || !(watcher.isTerminal || isAsked)) return SILENT;
  const { isTerminal, nowMs } = watcher;
  const beginMs = nowMs();
  let toldMs = beginMs;
  let done = 0;
  const tell = (): void => {
    const line = lineOf(extent, done, (nowMs() - beginMs) / 1_000);
    io.stderr(isTerminal ? `\r${line.padEnd(78)}` : `${line}\n`);
  };
  return {
    advance: (count) => {
      done += count;
      if (nowMs() - toldMs < (isTerminal ? TERMINAL_MS : LINES_MS)) return;
      toldMs = nowMs();
      tell();
    },
    end: () => {
      tell();
      if (isTerminal) io.stderr("\n");
    },
  };
}

function lineOf({ total, unit }: Extent, done: number, seconds: number): string {
  const percent = total === 0 ? 100 : Math.floor((100 * done) / total);
  const rate = seconds === 0 ? 0 : done / seconds;
  const amount = unit === "bytes" ? megabytes : (count: number) => String(Math.round(count));
  const name = unit === "bytes" ? "MB" : unit;
  return `${amount(done)} of ${amount(total)} ${name} sent, ${percent} %, ${amount(rate)} ${name}/s`;
}

function megabytes(bytes: number): string {
  return (bytes / 1_000_000).toFixed(1);
}
