// What a Vault's node is asked for that makes a share leave the Vault, for shares.test.ts and the process that it kills.
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
import { startNodeRig } from "../../../helpers/vault-node-rig.ts";
import type { Fixture } from "../vault-world.ts";

export type ShareJob = "slice" | "another" | "release";

const bytes = z.instanceof(Uint8Array);
const givenSchema = z.strictObject({
  envelope: bytes,
  proof: bytes,
  bundle: bytes,
  share: bytes,
});

/** Does a job with what `file` gives for it; `left` is told of whatever leaves the Vault. */
export async function doShareJob(
  fixture: Fixture,
  job: ShareJob,
  { file, left }: { readonly file: string; readonly left: (what: string) => void },
): Promise<void> {
  const given = parseWith(givenSchema, decodeCbor(new Uint8Array(fs.readFileSync(file))), "given");
  const envelope = TASK_ENVELOPE.decode(given.envelope);
  if (job !== "release") {
    // Each time with an aggregator of its own.
    const rig = startNodeRig(fixture);
    rig.hooks.posted = (body) => {
      if (body.kind !== "contribution") return;
      left(`contribution ${hex(sha256(body.order))}`);
      rig.hooks.over = true;
    };
    await rig.perform(await rig.sliceOf(job === "slice" ? envelope : anotherOf(envelope)));
    await rig.stop();
    return;
  }
  const share = await fixture.vault.releaseShare({
    envelope,
    settlementProof: given.proof,
    signedBundle: given.bundle,
    sealedShare: given.share,
    governance: fixture.governance,
  });
  left(`share ${hex(sha256(share))}`);
}

/** Another envelope of the same request: fewer Vaults. */
function anotherOf(envelope: TaskEnvelope): TaskEnvelope {
  const { coordination_envelope: coordination } = envelope;
  if (coordination === null) throw new Error("expected a task of several Vaults");
  const participating_vault_ids = coordination.participating_vault_ids.slice(0, 2);
  return {
    ...envelope,
    coordination_envelope: { ...coordination, participating_vault_ids },
  };
}
