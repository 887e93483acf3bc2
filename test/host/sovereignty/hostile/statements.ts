// Every statement that SQLite runs in this process, as it is run.
import { StatementSync } from "node:sqlite";

export type Moment = "before" | "after";

/** Tells `listener` of each statement from now on; the text is SQL without its parameters. */
export function onStatement(listener: (sql: string, moment: Moment) => void): void {
  for (const name of ["run", "all", "get", "iterate"]) {
    const run: unknown = Reflect.get(StatementSync.prototype, name);
    if (typeof run !== "function") throw new Error(`expected ${name} to be a method`);
    Object.defineProperty(StatementSync.prototype, name, {
      configurable: true,
      value: function told(this: StatementSync, ...parameters: unknown[]): unknown {
        listener(this.sourceSQL, "before");
        const result: unknown = Reflect.apply(run, this, parameters);
        listener(this.sourceSQL, "after");
        return result;
      },
    });
  }
}
