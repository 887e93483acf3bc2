import { SymphonyError } from "#protocol";
import { z } from "zod";

import { RemoteProblem } from "../../http/task-client.ts";
import { VaultClient } from "../../http/vault/client.ts";
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

const statusSchema = z.object({ batches_set_aside: z.number() });

const backupsSchema = z.array(
  z.object({ backup_id: z.string(), state: z.string(), created_ms: z.number() }),
);

const role = "vault";

const DAY_MS = 86_400_000;
/** Whoever makes backups by the week has one that is younger. */
const BACKUP_DAYS_MAX = 8;
/** Backups that a finding names. */
const NAMED_MAX = 8;

/**
 * Whether the running Vault in `directory` may work, and what keeps its data, asked of itself. Throws nothing: who does
 * not answer is a finding.
 *
 * @param nowMs - The machine's clock, which backups' ages are told by.
 */
export async function vaultFindings(directory: string, nowMs: number): Promise<Finding[]> {
  try {
    const client = new VaultClient(await readOperator(directory));
    const witness = witnessSchema.parse(await client.get("/v1/vault/witness"));
    const status = statusSchema.parse(await client.status());
    const backups = backupsSchema.parse(await client.get("/v1/vault/backups"));
    return [
      ok(role, "node", `answers in ${directory}`),
      ...[standingOf(witness), ...forksOf(witness), batchesOf(status)],
      ...[newestBackupOf(backups, nowMs), ...outstandingOf(backups)],
    ];
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

function batchesOf({ batches_set_aside: count }: z.infer<typeof statusSchema>): Finding {
  const check = "batches";
  if (count === 0) return ok(role, check, "the store knows every batch in its folder");
  return wanting("warning", {
    ...{ role, check },
    detail: `${count} batches set aside, which this store does not know`,
    remedy:
      "if this store is an older copy, put the newest one back; what is set aside is in the Vault's folder",
  });
}

function newestBackupOf(backups: z.infer<typeof backupsSchema>, nowMs: number): Finding {
  const check = "backups";
  const whole = backups.filter(({ state }) => state === "whole");
  const newestMs = Math.max(...whole.map(({ created_ms }) => created_ms));
  const remedy = "symphony vault backup make BACKUP --keys DIR";
  if (whole.length === 0) return wanting("warning", { role, check, detail: "none", remedy });
  const days = Math.max(0, (nowMs - newestMs) / DAY_MS);
  const detail = `${whole.length} may be restored, the newest ${days.toFixed(1)} days old`;
  if (days <= BACKUP_DAYS_MAX) return ok(role, check, detail);
  return wanting("warning", { role, check, detail, remedy });
}

/** Expired backups whose files may still be somewhere: what was erased from the Vault is in them. */
function outstandingOf(backups: z.infer<typeof backupsSchema>): Finding[] {
  const ids = backups.filter(({ state }) => state === "outstanding").map(({ backup_id: id }) => id);
  if (ids.length === 0) return [];
  const more = ids.length > NAMED_MAX ? ` and ${ids.length - NAMED_MAX} more` : "";
  return [
    wanting("warning", {
      ...{ role, check: "expired backups" },
      detail: `${ids.length} expired and not known to be destroyed: ${ids.slice(0, NAMED_MAX).join(", ")}${more}`,
      remedy: "destroy every copy of each, then symphony vault backup expire ID --confirm",
    }),
  ];
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
