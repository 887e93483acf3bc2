import { writeFile } from "node:fs/promises";

import { EXIT, UsageError } from "#cli";
import { fromHex, hex } from "#protocol";
import type { z } from "zod";

import {
  candidateAnswer,
  judgementAnswer,
  poolAnswer,
  promotedAnswer,
  promotedListAnswer,
  promotionFile,
  sharesAnswer,
  type VaultClient,
  type preconditionsAnswer,
} from "../../http/index.ts";
import { readAuthored } from "../authored-file.ts";
import { readBoundedFile } from "../bounded-file.ts";
import { ofLastWindow } from "../governance/last-window.ts";
import { reachNetwork } from "../governance/network.ts";
import { tableText, timeText, type VaultCall, type VaultCommand } from "./command.ts";

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
  {
    name: "attributes candidates",
    summary: "sign what may leave the Vault about a column",
    help: `Signs a summary of one column for an attribute that it might become: its noised rows, in how many epochs of a window that
has ended it came, its type and its signals. Neither its name nor a value. The same column and window give the same
bytes. The window is the domain's last one, unless an approved proposal that registers the attribute allows another.`,
    options: {
      scope: { value: "SCOPE", summary: "registered record scope", required: true },
      column: { value: "NAME", summary: "the column", required: true },
      attribute: { value: "ID", summary: "what the attribute is to be called", required: true },
      from: { value: "EPOCH", summary: "first epoch of another window" },
      to: { value: "EPOCH", summary: "last epoch of another window" },
      exception: { value: "PROPOSAL", summary: "the approved proposal that allows it" },
      out: { value: "FILE", summary: "write the signed summary there" },
    },
    run: (call) => summarize(call, "/v1/vault/attributes/candidates"),
  },
  {
    name: "attributes share",
    summary: "sign the same, and let it go to the other Vaults",
    help: `Signs a summary as symphony vault attributes candidates does, and lets it go: the Vault hands it to the coordinator, which
lists it for all (symphony governance candidates). It waits while the coordinator is away. Once it is out it is out.`,
    options: {
      scope: { value: "SCOPE", summary: "registered record scope", required: true },
      column: { value: "NAME", summary: "the column", required: true },
      attribute: { value: "ID", summary: "what the attribute is to be called", required: true },
      from: { value: "EPOCH", summary: "first epoch of another window" },
      to: { value: "EPOCH", summary: "last epoch of another window" },
      exception: { value: "PROPOSAL", summary: "the approved proposal that allows it" },
    },
    run: (call) => summarize(call, "/v1/vault/attributes/shares"),
  },
  {
    name: "attributes shares",
    summary: "what was let go, and whether the coordinator has it",
    help: "Lists the summaries that were let go, newest first: waiting, taken, or refused and why.",
    options: { scope: { value: "SCOPE", summary: "registered record scope", required: true } },
    run: listShares,
  },
  {
    name: "attributes promote",
    summary: "judge whether a column could be promoted, and promote it",
    help: `Judges the promotion in FILE, YAML or JSON, and names every precondition. To "canonical", by candidates of several Vaults,
it changes nothing: when all are met, --out writes the registry document that proposes the attribute, for symphony registry
apply. To "vault_scoped_query", with --apply, tasks of this Vault alone may ask of the column once all are met: --out writes
what their requests carry as vault_attributes. Exit code 0 when all are met, 1 when not.`,
    words: ["FILE"],
    options: {
      candidate: { value: "FILE", summary: "a Vault's signed summary", many: true },
      dir: { value: "DIR", summary: "folder of a network: the last window's shared summaries too" },
      apply: { value: null, summary: "promote within this Vault, not only judge" },
      out: { value: "FILE", summary: "write what comes of it there" },
    },
    run: promote,
  },
  {
    name: "attributes promoted",
    summary: "columns that tasks of this Vault alone may ask of",
    help: `Lists columns that were promoted within this Vault, newest first, and which of them are retired. --json has what requests
carry as vault_attributes.`,
    options: { scope: { value: "SCOPE", summary: "registered record scope", required: true } },
    run: listPromoted,
  },
  {
    name: "attributes retire",
    summary: "let no new request ask of a column",
    help: `From now on a request that names the column meets what an unknown name meets. Tasks under way go on. The values stay kept;
the same definition cannot be promoted again.`,
    options: {
      scope: { value: "SCOPE", summary: "registered record scope", required: true },
      column: { value: "NAME", summary: "the column", required: true },
    },
    run: retire,
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

/** Has the Vault sign a summary, and do with it what `path` says. */
async function summarize(call: VaultCall, path: string): Promise<number> {
  const client = await call.client();
  const first_epoch = call.count("from");
  const last_epoch = call.count("to");
  const answer = await client.post(path, {
    scope: call.required("scope"),
    column: call.required("column"),
    attribute_id: call.required("attribute"),
    window: first_epoch === undefined ? null : { first_epoch, last_epoch },
    exception: call.optional("exception") ?? null,
  });
  const { signed, signals, window, ...said } = candidateAnswer.parse(answer);
  const out = call.optional("out");
  if (out !== undefined) await writeFile(out, fromHex(signed), { flag: "wx" });
  const rows = [
    ...Object.entries(said).map(([name, value]) => [name, `${value}`]),
    ["window", `${window.first_epoch} to ${window.last_epoch}`],
    ...signals.map((one) => [one.kind, `${one.attribute_id} ${one.confidence_percent}%`]),
  ];
  return call.show(answer, tableText(["candidate", ""], rows));
}

async function listShares(call: VaultCall): Promise<number> {
  const client = await call.client();
  const answer = await client.get("/v1/vault/attributes/shares", { scope: call.required("scope") });
  const { shares } = sharesAnswer.parse(answer);
  const rows = shares.map(({ column, attribute_id, window, approved_ms, ended_ms, code }) => [
    ...[column, attribute_id, `${window.first_epoch} to ${window.last_epoch}`],
    timeText(approved_ms),
    code ?? (ended_ms === null ? "waiting" : "taken"),
  ]);
  const header = ["column", "attribute", "epochs", "let go", "coordinator"];
  return call.show(answer, tableText(header, rows));
}

const PROMOTION = { subject: "promotion", bytesMax: 64 * 1024 };
const CANDIDATE = { subject: "candidate", bytesMax: 16 * 1024 };

async function promote(call: VaultCall): Promise<number> {
  const promotion = await readAuthored(call.words[0] ?? "", promotionFile, PROMOTION);
  const candidates: string[] = [];
  for (const file of call.all("candidate")) {
    candidates.push(hex(await readBoundedFile(file, CANDIDATE)));
  }
  candidates.push(...(await sharedCandidates(call.optional("dir"), promotion)));
  const client = await call.client();
  if (call.flag("apply")) return await applyWithin(call, client, promotion);
  const body = { promotion, candidates };
  const answer = await client.post("/v1/vault/attributes/promotion", body);
  const { preconditions, all_met, proposes } = judgementAnswer.parse(answer);
  const out = call.optional("out");
  if (proposes !== null && out !== undefined && promotion.to === "canonical") {
    const { semantic_version, ...definition } = promotion.definition;
    const document = { semantic_version, attributes: [{ ...definition, status: proposes }] };
    await writeFile(out, `${JSON.stringify(document, null, 2)}\n`, { flag: "wx" });
  }
  call.show(answer, preconditionsText(preconditions));
  return all_met ? EXIT.ok : EXIT.refused;
}

/** The candidates of the last window that the network's coordinator has for the attribute. */
async function sharedCandidates(
  directory: string | undefined,
  promotion: z.infer<typeof promotionFile>,
): Promise<string[]> {
  if (directory === undefined || promotion.to !== "canonical") return [];
  const { client, state } = await reachNetwork(directory);
  const all = await client.candidates(promotion.definition.attribute_id);
  return ofLastWindow(state, all, promotion.exception).map(({ signed }) => hex(signed));
}

async function applyWithin(
  call: VaultCall,
  client: VaultClient,
  promotion: z.infer<typeof promotionFile>,
): Promise<number> {
  if (promotion.to !== "vault_scoped_query") {
    throw new UsageError("--apply: expected a promotion to vault_scoped_query");
  }
  const answer = await client.post("/v1/vault/attributes/vault-scoped", promotion);
  const { preconditions, definition } = promotedAnswer.parse(answer);
  const out = call.optional("out");
  if (definition !== null && out !== undefined) {
    await writeFile(out, `${JSON.stringify(definition, null, 2)}\n`, { flag: "wx" });
  }
  call.show(answer, preconditionsText(preconditions));
  return definition === null ? EXIT.refused : EXIT.ok;
}

function preconditionsText(preconditions: z.infer<typeof preconditionsAnswer>): string {
  const rows = preconditions.map((each) => [
    each.name,
    each.met ? "met" : "NOT MET",
    each.actual,
    each.expected,
  ]);
  return tableText(["precondition", "", "is", "expected"], rows);
}

async function listPromoted(call: VaultCall): Promise<number> {
  const client = await call.client();
  const scope = call.required("scope");
  const answer = await client.get("/v1/vault/attributes/vault-scoped", { scope });
  const { attributes } = promotedListAnswer.parse(answer);
  const rows = attributes.map(({ column, definition, promoted_ms, retired_ms }) => [
    column,
    definition.local_id,
    definition.derivation_rule.transform_type,
    timeText(promoted_ms),
    timeText(retired_ms),
  ]);
  const header = ["column", "id", "rule", "promoted", "retired"];
  return call.show(answer, tableText(header, rows));
}

async function retire(call: VaultCall): Promise<number> {
  const client = await call.client();
  const named = { scope: call.required("scope"), column: call.required("column") };
  const answer = await client.post("/v1/vault/attributes/vault-scoped/retire", named);
  return call.show(answer, `${named.column}: no new request may ask of it`);
}
