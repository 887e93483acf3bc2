import { expect, test } from "vitest";

import { requirePrevious } from "../../../host/execution/vault-slice.ts";
import {
  EXECUTION_RESULT_BUNDLE,
  parseCose,
  sealedShareDigest,
  utf8,
} from "../../../protocol/index.ts";
import { customerData } from "../../helpers/network-data.ts";
import { testTask } from "../../helpers/network-task.ts";
import { createNetwork } from "../../helpers/network.ts";
import { QUERY } from "../../helpers/evidence-rig.ts";
import { syntheticRound } from "../../helpers/synthetic-round.ts";

const SHARE = utf8("a sealed share");

test("[DS-4] a slice starts from its own share of the round before, and of no other", async () => {
  const network = await createNetwork();
  const data = customerData(["vault-1", "vault-2", "vault-3"], 4);
  const round = syntheticRound(await testTask(network, { parameters: QUERY, data }));
  const bundle = {
    ...EXECUTION_RESULT_BUNDLE.decode(parseCose(round.bundle).payload),
    share_digests: [{ vault_id: "vault-1", digest: sealedShareDigest(SHARE) }],
  };
  const own = { round: 1, vaultId: "vault-1", sealedShare: SHARE };
  expect(() => requirePrevious(bundle, own)).not.toThrow();
  const others = [
    { ...own, round: 2 },
    { ...own, round: 0 },
    { ...own, vaultId: "vault-2" },
    { ...own, sealedShare: utf8("another") },
  ];
  for (const other of others) {
    expect(() => requirePrevious(bundle, other)).toThrow(
      expect.objectContaining({ code: "PROOF_COMMITMENT_MISMATCH" }),
    );
  }
});
