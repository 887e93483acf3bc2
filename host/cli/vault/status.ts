import type { VaultClient } from "../../http/index.ts";
import { tableText, type VaultCall, type VaultCommand } from "./command.ts";
import { standingText } from "./standing.ts";

type Status = Awaited<ReturnType<VaultClient["status"]>>;

/** The Vault counts no further. */
const EXHAUSTED_SETS_MAX = 100;

/** How the Vault stands. */
export const STATUS_COMMANDS: readonly VaultCommand[] = [
  {
    name: "status",
    summary: "records, subjects, consents, budgets, reservations, witnesses, log",
    help: `Says what the Vault holds, how consents and budgets stand, which reservations are open, what other Vaults know of its
log, and the log's head. Amounts are micro-epsilon; of a budget, those of the subject with the most.`,
    options: {},
    run: showStatus,
  },
];

async function showStatus(call: VaultCall): Promise<number> {
  const answer = await (await call.client()).status();
  return call.show(answer, screenOf(answer));
}

function screenOf(status: Status): string {
  const { reserved, executing } = status.reservations;
  const width = "reservations".length;
  const facts = [
    ["vault", status.vault_id],
    ["records", `${status.records} in ${status.batches} batches`],
    ...setAsideFacts(status),
    ["subjects", String(status.subjects)],
    ["grants", `${status.grants} not revoked`],
    ["reservations", `${reserved} reserved, ${executing} executing`],
    ["flagged", `${status.flagged} tasks over their reservation`],
    ["exhausted", `${exhaustedText(status.exhausted_sets)} sets of subjects declined for it`],
    ["ingests", `${status.open_ingests} open`],
    ["witnesses", witnessText(status.witness, width + 2)],
    ["log", `${status.log.size} events, root ${status.log.root}`],
  ];
  const lines = facts.map(([name = "", text]) => `${name.padEnd(width)}  ${text}`);
  return [lines.join("\n"), budgetsText(status)].join("\n\n");
}

function setAsideFacts({ batches_set_aside: count }: Status): string[][] {
  if (count === 0) return [];
  return [["set aside", `${count} batches that this store does not know: is it an older copy?`]];
}

function exhaustedText(sets: number): string {
  return sets >= EXHAUSTED_SETS_MAX ? `${sets} or more` : String(sets);
}

/** Of several lines the later ones stand below the first. */
function witnessText(witness: Status["witness"], indent: number): string {
  const { cosigned_size, held_by, forks } = witness;
  const forked = [...new Set(forks.map(({ vault_id }) => vault_id))];
  const lines = [
    ...standingText(witness).split("\n"),
    `${cosigned_size ?? 0} events cosigned, heads of ${held_by.length} others held`,
    ...forked.map((vaultId) => `PROVEN FORK of the log of ${vaultId}: see symphony vault witness`),
  ];
  return lines.join(`\n${" ".repeat(indent)}`);
}

function budgetsText({ consents, budgets }: Status): string {
  const purposes = new Set([...consents, ...budgets].map(({ usageScope }) => usageScope));
  const rows = [...purposes].map((purpose) => {
    const granted = consents.find(({ usageScope }) => usageScope === purpose)?.granted ?? 0;
    const budget = budgets.find(({ usageScope }) => usageScope === purpose);
    return [
      purpose,
      String(granted),
      String(budget?.subjects ?? 0),
      String(budget?.consumedMaxMicro ?? 0),
      String(budget?.reservedMaxMicro ?? 0),
      String(budget?.frozen ?? 0),
    ];
  });
  const header = ["PURPOSE", "CONSENTING", "CHARGED", "MOST CONSUMED", "MOST RESERVED", "FROZEN"];
  return rows.length === 0 ? "no consents and no budgets yet" : tableText(header, rows);
}
