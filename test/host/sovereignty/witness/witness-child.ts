// Started by kill.test.ts: cosigns or thaws in an existing world and kills itself before the write it was told.
import { DatabaseSync, StatementSync } from "node:sqlite";

import { FatalSteps } from "../../../helpers/fatal-steps.ts";
import { WitnessWorld } from "./witness-world.ts";

const [folder = "", job = "", at = "0"] = process.argv.slice(2);
const A = "vault-1";
const fatal = new FatalSteps(at);

function step(statement: string): void {
  if (/^(insert|update|delete|commit)\b/i.test(statement)) fatal.step();
}

/** Every statement that writes is a step: before it, which is after the one before; and after a COMMIT. */
makeStep(DatabaseSync.prototype, "exec");
makeStep(StatementSync.prototype, "all");
makeStep(StatementSync.prototype, "run");

function makeStep(prototype: DatabaseSync | StatementSync, name: string): void {
  const original: unknown = Reflect.get(prototype, name);
  if (typeof original !== "function") throw new Error(`expected a method ${name}`);
  Reflect.set(
    prototype,
    name,
    function (this: DatabaseSync | StatementSync, ...values: unknown[]): unknown {
      const sql = this instanceof StatementSync ? this.sourceSQL : String(values[0]);
      step(sql);
      const result: unknown = Reflect.apply(original, this, values);
      if (/^commit/i.test(sql)) step(sql);
      return result;
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
