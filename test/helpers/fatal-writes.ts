import { DatabaseSync, StatementSync } from "node:sqlite";

/** Calls `step` before every statement of this process that writes, which is after the one before, and after a COMMIT. */
export function stepOnWrites(step: (statement: string) => void): void {
  stepBefore(DatabaseSync.prototype, "exec", step);
  stepBefore(StatementSync.prototype, "all", step);
  stepBefore(StatementSync.prototype, "run", step);
}

function stepBefore(
  prototype: DatabaseSync | StatementSync,
  name: string,
  step: (statement: string) => void,
): void {
  const original: unknown = Reflect.get(prototype, name);
  if (typeof original !== "function") throw new Error(`expected a method ${name}`);
  Reflect.set(
    prototype,
    name,
    function (this: DatabaseSync | StatementSync, ...values: unknown[]): unknown {
      const sql = this instanceof StatementSync ? this.sourceSQL : String(values[0]);
      if (/^(insert|update|delete|commit)\b/i.test(sql)) step(sql);
      const result: unknown = Reflect.apply(original, this, values);
      if (/^commit\b/i.test(sql)) step("committed");
      return result;
    },
  );
}
