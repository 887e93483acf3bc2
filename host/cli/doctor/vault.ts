import { SymphonyError } from "#protocol";
import { z } from "zod";

import { RemoteProblem, VaultClient } from "../../http/index.ts";
import { readOperator } from "../network-files.ts";
import {
  FROZEN_REMEDY,
  standingFields,
  standingText,
  type VaultStanding,
} from "../vault/standing.ts";
import { ok, wanting, type Finding } from "./findings.ts";

const witnessSchema = z.object({
  ...standingFields,
  forks: z.array(z.object({ vault_id: z.string() })),
});

const role = "vault";

/** Whether the running Vault in `directory` may work, asked of itself. Throws nothing: who does not answer is a finding. */
export async function vaultFindings(directory: string): Promise<Finding[]> {
  try {
    const client = new VaultClient(await readOperator(directory));
    const witness = witnessSchema.parse(await client.get("/v1/vault/witness"));
    return [ok(role, "node", `answers in ${directory}`), standingOf(witness), ...forksOf(witness)];
  } catch (error) {
    return [unanswered(directory, error)];
  }
}

function standingOf(witness: VaultStanding): Finding {
  const check = "witnesses";
  const detail = standingText(witness)
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== FROZEN_REMEDY)
    .join("; ");
  switch (witness.standing) {
    case "confirmed":
      return ok(role, check, detail);
    case "unconfirmed":
      return wanting("warning", {
        ...{ role, check, detail },
        remedy:
          "start the other Vaults and the coordinator, and wait; if one of them was thawed while this one was down, symphony vault thaw --write-off --confirm goes on without its word and gives up the whole budget",
      });
    case "frozen":
      return wanting("missing", { role, check, detail, remedy: FROZEN_REMEDY });
  }
}

function forksOf({ forks }: z.infer<typeof witnessSchema>): Finding[] {
  return [...new Set(forks.map(({ vault_id }) => vault_id))].map((vaultId) =>
    wanting("warning", {
      ...{ role, check: "forks" },
      detail: `${vaultId} signed two pasts of its log`,
      remedy:
        "tell its operator and governance; symphony vault witness --json has both heads as it signed them",
    }),
  );
}

function unanswered(directory: string, error: unknown): Finding {
  const why =
    error instanceof SymphonyError || error instanceof RemoteProblem ? error.code : "no answer";
  return wanting("missing", {
    ...{ role, check: "node" },
    detail: `no Vault answers in ${directory}: ${why}`,
    remedy: "start it; if it stops at once, its last line on standard error says why",
  });
}
