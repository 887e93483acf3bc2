import { cpSync } from "node:fs";

/** Steps at which a folder is copied: what a process that is killed with -9 there leaves of it. */
interface Images {
  readonly home: string;
  /** Empty for all. */
  readonly steps: ReadonlySet<number>;
}

/**
 * Kills this process with -9 at step `12` of those it takes while it is armed, `0` for never. Or, for `1,2,5 <folder>`,
 * copies a folder at each of these steps, `all <folder>` at every one, to beside it: see `crash-images.ts`.
 */
export class FatalSteps {
  armed = false;
  taken = 0;
  readonly #at: number;
  readonly #images: Images | undefined;

  constructor(word: string) {
    const [steps = "", home] = word.split(" ");
    this.#at = home === undefined ? Number(steps) : 0;
    this.#images = home === undefined ? undefined : { home, steps: stepsIn(steps) };
  }

  step(): void {
    if (!this.armed) return;
    this.taken += 1;
    if (this.taken === this.#at) die();
    const { steps, home } = this.#images ?? { steps: new Set([0]), home: "" };
    if (steps.size > 0 && !steps.has(this.taken)) return;
    cpSync(home, imageOf(home, this.taken), { recursive: true });
    process.stdout.write(`image ${this.taken}\n`);
  }
}

function stepsIn(word: string): ReadonlySet<number> {
  return new Set(word === "all" ? [] : word.split(",").map(Number));
}

/** Where the copy of `home` at a step is. */
export function imageOf(home: string, step: number): string {
  return `${home}.step-${step}`;
}

/** Kills this process with -9. */
export function die(): never {
  process.kill(process.pid, "SIGKILL");
  // The signal is on its way; nothing more may happen.
  for (;;);
}
