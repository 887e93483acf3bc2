import { poolAnswer } from "../../http/index.ts";
import { tableText, type VaultCall, type VaultCommand } from "./command.ts";

/** Columns that map to no canonical attribute. */
export const ATTRIBUTES_COMMANDS: readonly VaultCommand[] = [
  {
    name: "attributes list",
    summary: "columns of sources that map to no attribute",
    help: `Lists columns that mappings ignored in the last ten epochs: how many rows their sources had, to a power of ten; in how many
of these epochs they came; of what type they seem; and which canonical attributes they may be (alias) or contradict
(conflict), by name and type. No value was kept.`,
    options: { scope: { value: "SCOPE", summary: "registered record scope", required: true } },
    run: listAttributes,
  },
];

async function listAttributes(call: VaultCall): Promise<number> {
  const client = await call.client();
  const answer = await client.get("/v1/vault/attributes", { scope: call.required("scope") });
  const { attributes, dropped } = poolAnswer.parse(answer);
  const rows = attributes.map((each) => [
    each.column,
    each.local_id,
    each.type,
    `${each.rows_at_least}+`,
    `${each.epochs_present} of ${each.epochs}`,
    each.signals.map((one) => `${one.kind} ${one.attribute_id} ${one.confidence_percent}%`).join(),
  ]);
  const header = ["column", "id", "type", "rows", "epochs", "signals"];
  const more = dropped === 0 ? "" : `\n${dropped} columns not taken: too many, or names too long`;
  return call.show(answer, `${tableText(header, rows)}${more}`);
}
