// Started by shares.test.ts: has a Vault's node release a share, kills itself at the step it was told, and says before that
// whatever has left the Vault. Steps are before and after each COMMIT and each message.
import * as fs from "node:fs";

import {
  TASK_ENVELOPE,
  decodeCbor,
  hex,
  parseWith,
  sha256,
  type TaskEnvelope,
} from "../../../../protocol/index.ts";
import { z } from "zod";
import { FatalSteps } from "../../../helpers/fatal-steps.ts";
import { startNodeRig } from "../../../helpers/vault-node-rig.ts";
import { openFixture } from "../vault-world.ts";
import { onStatement } from "./statements.ts";

const [directory = "", file = "", jobs = "", at = "0"] = process.argv.slice(2);
const fatal = new FatalSteps(Number(at));
const step = (): void => fatal.step();

onStatement((sql) => {
  if (sql.toLowerCase() === "commit") step();
});

function left(what: string): void {
  step();
  fs.writeSync(1, `${what}\n`);
  step();
}

const bytes = z.instanceof(Uint8Array);
const given = parseWith(
  z.strictObject({ envelope: bytes, proof: bytes, bundle: bytes, share: bytes }),
  decodeCbor(new Uint8Array(fs.readFileSync(file))),
  "given",
);
const fixture = await openFixture({ directory });
const envelope = TASK_ENVELOPE.decode(given.envelope);

/** Another envelope of the same request: fewer Vaults. */
function another(): TaskEnvelope {
  const { coordination_envelope: coordination } = envelope;
  if (coordination === null) throw new Error("expected a task of several Vaults");
  const participating_vault_ids = coordination.participating_vault_ids.slice(0, 2);
  return {
    ...envelope,
    coordination_envelope: { ...coordination, participating_vault_ids },
  };
}

/** Each time with an aggregator of its own. */
async function slice(asked: TaskEnvelope): Promise<void> {
  const rig = startNodeRig(fixture);
  rig.hooks.posted = (body) => {
    if (body.kind === "contribution") left(`contribution ${hex(sha256(body.order))}`);
  };
  await rig.perform(await rig.sliceOf(asked));
  await rig.stop();
}

async function release(): Promise<void> {
  const share = await fixture.vault.releaseShare({
    envelope,
    settlementProof: given.proof,
    signedBundle: given.bundle,
    sealedShare: given.share,
    governance: fixture.governance,
  });
  left(`share ${hex(sha256(share))}`);
}

fixture.clock.nowMs += 2_000;
for (const job of jobs.split(",")) {
  fatal.armed = true;
  if (job === "slice") await slice(envelope);
  if (job === "another") await slice(another());
  if (job === "release") await release();
  fatal.armed = false;
}
await fixture.vault.close();
