// Started by kill.test.ts: cosigns or thaws in an existing world and kills itself before the write it was told.
import { DatabaseSync, StatementSync } from "node:sqlite";

import { WitnessWorld } from "./witness-world.ts";

const [folder = "", job = "", at = "0"] = process.argv.slice(2);
const A = "vault-1";
const fatal = { armed: false, steps: 0 };

function step(statement: string): void {
  if (!fatal.armed || !/^(insert|update|delete|commit)\b/i.test(statement)) return;
  fatal.steps += 1;
  if (fatal.steps !== Number(at)) return;
  process.kill(process.pid, "SIGKILL");
  // The signal is on its way; nothing more may happen.
  for (;;);
}

/** Every statement that writes is a step: before it, which is after the one before. */
const { exec } = DatabaseSync.prototype;
DatabaseSync.prototype.exec = function (sql) {
  step(sql);
  exec.call(this, sql);
  if (/^commit/i.test(sql)) step(sql);
};
for (const name of ["all", "run"] as const) {
  const original = StatementSync.prototype[name];
  Reflect.set(
    StatementSync.prototype,
    name,
    function (this: StatementSync, ...values: unknown[]): unknown {
      step(this.sourceSQL);
      return Reflect.apply(original, this, values);
    },
  );
}

const world = await WitnessWorld.start({ folder });
if (job === "cosign") await world.grow(A, "charged");
fatal.armed = true;
if (job === "thaw") await world.vault(A).witness.thaw(world.governance);
else if ((await world.cosign(A)) !== "cosigned") throw new Error("expected a cosigned head");
fatal.armed = false;
for (const vaultId of [...world.vaults.keys()]) await world.close(vaultId);
