import { existsSync } from "node:fs";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { UsageError } from "#cli";
import {
  VaultClient,
  createGovernanceEvent,
  documentFrames,
  readSeed,
  type TaskClient,
} from "#host";
import { fromHex, sha256, signingKeyFromSeed, usageScope, type GovernanceState } from "#protocol";
import { z } from "zod";
import { measureSimImage } from "../measure.ts";
import { SIM_ACTORS, createSimNetwork } from "../network/create.ts";
import type { DemoPlan, PlannedContext } from "../network/plan.ts";
import type { RunningNetwork } from "../network/start.ts";
import { createInsecureSimPlatform } from "../platform.ts";

/** Marks a folder as the demo's own, so that a later demo may replace it. */
const MARKER = ".symphony-demo";
const GOVERNANCE_QUORUM = 2;
const COSIGN_MS_MAX = 20_000;

/**
 * Makes `directory` ready for a new network: empty, or the leftovers of an earlier demo, which go.
 *
 * @throws {@link UsageError} when the folder holds anything else.
 */
export async function clearDemoDirectory(directory: string): Promise<void> {
  if (existsSync(directory)) {
    const names = await readdir(directory);
    if (names.length > 0 && !names.includes(MARKER)) {
      throw new UsageError(`${directory}: expected an empty folder or an earlier demo's`);
    }
    await rm(directory, { recursive: true, force: true });
  }
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await writeFile(join(directory, MARKER), "");
}

/** Writes the files of the plan's network. */
export async function createDemoNetwork(args: {
  readonly directory: string;
  readonly repositoryRoot: string;
  readonly plan: DemoPlan;
  readonly nowMs: number;
}): Promise<void> {
  const platform = createInsecureSimPlatform(join(args.directory, "platform"));
  await createSimNetwork({
    directory: args.directory,
    plan: args.plan,
    anchor: platform.anchor,
    measurement: measureSimImage(args.repositoryRoot, platform.anchor),
    nowMs: args.nowMs,
  });
}

/** Has governance register the plan's models: two of three keys approve, Vaults cosign, then the bytes go up. */
export async function registerModels(args: {
  readonly network: RunningNetwork;
  readonly client: TaskClient;
  readonly plan: DemoPlan;
  readonly nowMs: () => number;
}): Promise<GovernanceState> {
  const { network, client, plan, nowMs } = args;
  const keys = await Promise.all(
    Array.from({ length: GOVERNANCE_QUORUM }, async (_, index) =>
      signingKeyFromSeed(
        await readSeed(join(network.directory, "governance", `key-${index + 1}.seed`)),
      ),
    ),
  );
  let state = await cosignedState(client, network.genesisDigest, 0, nowMs);
  for (const model of plan.models) {
    const event = createGovernanceEvent({
      state,
      decision: {
        type: "artifact_registered",
        artifact: { digest: sha256(model.bytes), kind: model.kind, description: model.name },
      },
      keys,
      timeMs: nowMs(),
    });
    await client.submitGovernanceEvent(event);
    await client.uploadArtifact(model.bytes);
    state = await cosignedState(client, network.genesisDigest, state.sequence + 1, nowMs);
  }
  return state;
}

/** The governance state once a quorum of Vaults has cosigned at least `sequence` events. */
async function cosignedState(
  client: TaskClient,
  genesisDigest: Uint8Array,
  sequence: number,
  nowMs: () => number,
): Promise<GovernanceState> {
  const deadlineMs = nowMs() + COSIGN_MS_MAX;
  for (;;) {
    const state = await client.governance(genesisDigest).catch((error: unknown) => {
      if (nowMs() >= deadlineMs) throw error;
      return undefined;
    });
    if (state !== undefined && state.sequence >= sequence) return state;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const operatorSchema = z.object({ url: z.string(), token: z.string() });

/** The operator of one of the network's Vaults. */
export async function operatorOf(network: RunningNetwork, vaultId: string): Promise<VaultClient> {
  const text = await readFile(join(network.directory, vaultId, "operator.json"), "utf8");
  return new VaultClient(operatorSchema.parse(JSON.parse(text)));
}

/** Fills the Vaults as their operators would: records in, consent recorded, the analyst granted. */
export async function fillVaults(args: {
  readonly network: RunningNetwork;
  readonly plan: DemoPlan;
  readonly tell: (line: string) => void;
}): Promise<PlannedContext> {
  const { network, plan } = args;
  const records = new Map<string, Uint8Array[]>();
  for (const vault of plan.vaults) {
    const operator = await operatorOf(network, vault.vaultId);
    let count = 0;
    for (const { scope, csv } of vault.tables) {
      const source = [new TextEncoder().encode(csv)];
      const args = { scope, format: "csv", onError: "abort", source } as const;
      count += (await operator.ingest(args)).records;
    }
    for (const [scope, documents] of Map.groupBy(vault.documents, (each) => each.scope)) {
      const source = documentFrames(documents);
      const args = { scope, format: "documents", onError: "abort", source } as const;
      count += (await operator.ingest(args)).records;
    }
    for (const purpose of usageScope.options) {
      await operator.setConsent({ usage_scope: purpose, subjects: "all-known", state: "granted" });
    }
    for (const task of plan.tasks) {
      if (!task.vaultIds.includes(vault.vaultId)) continue;
      await operator.grant(grantOf(task));
    }
    for (const { scope } of plan.scopes) {
      records.set(`${vault.vaultId}/${scope}`, await recordsOf(operator, scope));
    }
    args.tell(`${vault.vaultId}: ${count} records sealed, consent and grants recorded`);
  }
  const digests = new Map(plan.models.map(({ name, bytes }) => [name, sha256(bytes)]));
  return {
    records: (vaultId, scope) => records.get(`${vaultId}/${scope}`) ?? [],
    model: (name) => digests.get(name) ?? new Uint8Array(32),
  };
}

async function recordsOf(operator: VaultClient, scope: string): Promise<Uint8Array[]> {
  const commitments: Uint8Array[] = [];
  for (let after: string | undefined; ;) {
    const { records, next } = await operator.records({ scope, after });
    for (const { commitment } of records) commitments.push(fromHex(commitment));
    if (next === null) return commitments;
    after = next;
  }
}

function grantOf(task: DemoPlan["tasks"][number]): Readonly<Record<string, string | null>> {
  return {
    grant_id: `${SIM_ACTORS.submitter}-${task.taskClass}-${task.scope}`,
    actor_id: SIM_ACTORS.submitter,
    task_class: task.taskClass,
    record_scope: task.scope,
    usage_scope: task.usageScope,
    not_before_ms: null,
    not_after_ms: null,
  };
}
