/** Kills this process with -9 at step `at` of those it takes while it is armed; 0 for never. */
export class FatalSteps {
  armed = false;
  taken = 0;
  readonly #at: number;

  constructor(at: number) {
    this.#at = at;
  }

  step(): void {
    if (!this.armed) return;
    this.taken += 1;
    if (this.taken === this.#at) die();
  }
}

/** Kills this process with -9. */
export function die(): never {
  process.kill(process.pid, "SIGKILL");
  // The signal is on its way; nothing more may happen.
  for (;;);
}
