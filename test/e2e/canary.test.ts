import { randomBytes } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { generateDemoReceipts, renderReceipt } from "../../sim/data/receipts.ts";
import { csvOf } from "../../sim/data/csv.ts";
import { DEMO_COLUMNS } from "../../sim/data/companies.ts";
import { TaskClient } from "../../host/client/index.ts";
import { SIM_ACTORS } from "../../sim/network/create.ts";
import {
  liveLauncher,
  recordingLauncher,
  type RecordingLauncher,
} from "../helpers/live-launcher.ts";
import { startLiveNetwork, type EndedTask, type LiveNetwork } from "../helpers/live-network.ts";
import { livePlan, taskOf } from "../helpers/live-plan.ts";
import {
  findIn,
  findInFolder,
  findInProcess,
  needlesOf,
  type Needle,
} from "../helpers/memory-scan.ts";
import { startRecordingProxy, type RecordingProxy } from "../helpers/recording-proxy.ts";

const { coordinator, aggregator } = SIM_ACTORS;
/** In every planted text value: city, e-mail address, owner and name of the receipt. */
const CANARY = `k${randomBytes(8).toString("hex")}`;
/** Printed on the receipt, so that OCR in the enclave turns it from pixels to text; words that nothing else has. */
const MERCHANT = "PUMPKIN ORCHARD THUNDER";
const RECEIPT = receiptImage();
/** A piece from the middle of the image's compressed pixels: what a leak of the image itself would hold. */
const CANARY_NEEDLES = needlesOf(CANARY);
const NEEDLES: readonly Needle[] = [
  ...CANARY_NEEDLES,
  ...needlesOf(MERCHANT),
  ...needlesOf(RECEIPT.subarray(RECEIPT.length >> 1, (RECEIPT.length >> 1) + 24)),
];

let live: LiveNetwork;
let proxies: readonly RecordingProxy[];
let enclaves: RecordingLauncher;
/** What the enclaves of vault-a printed. */
let printed = "";
let client: TaskClient;
let foundInVault: string[];

function receiptImage(): Uint8Array {
  const [receipt] = generateDemoReceipts(1);
  if (receipt === undefined) throw new Error("receipts: expected one");
  return renderReceipt({ ...receipt.spec, merchant: MERCHANT });
}

/** Every listener of the coordinator behind a recording proxy; vault-a in this process, its enclaves recorded. */
beforeAll(async () => {
  live = await startLiveNetwork(
    livePlan({
      network: "canary",
      city: (vaultId, row) => `${CANARY}-${vaultId}-${row}`,
      email: (person) => `${CANARY}.${person}@example.org`,
      receipts: [
        {
          scope: "receipts",
          subject: `${CANARY}.0@example.org`,
          name: `${CANARY}.png`,
          image: RECEIPT,
        },
      ],
    }),
  );
  foundInVault = await ingestWatched("vault-b");
  const ready = live.network.processes.get(coordinator)?.ready ?? {};
  const nodes = await startRecordingProxy(String(ready["node_url"]));
  const submitters = await startRecordingProxy(live.network.publicUrl);
  proxies = [nodes, submitters];
  client = new TaskClient(submitters.url);
  enclaves = recordingLauncher(
    liveLauncher(live, {
      onStderr: (text) => {
        printed += text;
      },
    }),
  );
  for (const actorId of ["vault-a", "vault-b", "vault-c", aggregator]) {
    await live.configure(actorId, { coordinator_url: nodes.url });
    if (actorId === "vault-a") await live.runInProcess(actorId, enclaves);
    else await live.network.restart(actorId);
  }
});

afterAll(async () => {
  await live?.stop();
  for (const proxy of proxies ?? []) await proxy.close();
});

/** Hands a Vault one more record, slowly, and searches its memory while it holds the record. */
async function ingestWatched(vaultId: string): Promise<string[]> {
  const values = [
    `c-${CANARY}`,
    `${CANARY}@example.org`,
    "30",
    CANARY,
    "1.00",
    "x",
    "1",
    "1.00",
    "0",
  ];
  const lines = csvOf(
    DEMO_COLUMNS.map(({ name }) => name),
    [values],
  );
  const pid = live.network.processes.get(vaultId)?.pid ?? 0;
  const found: string[] = [];
  const source = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(new TextEncoder().encode(lines)),
    pull: async (controller) => {
      for (let tries = 0; tries < 100 && found.length === 0; tries += 1) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        found.push(...findInProcess(pid, needlesOf(CANARY)));
      }
      controller.close();
    },
  });
  const operator = await live.operator(vaultId);
  await operator.ingest({ scope: "customers", format: "csv", onError: "abort", source });
  return found;
}

/** Everything outside the Vault and its enclaves, and which of `needles` are there. */
function findOutside(needles: readonly Needle[]): Record<string, string[]> {
  const inMemory = (name: string): string[] =>
    findInProcess(live.network.processes.get(name)?.pid ?? 0, needles);
  const inFolder = (name: string): string[] => findInFolder(join(live.directory, name), needles);
  const inStreams = (streams: readonly Uint8Array[]): string[] =>
    streams.flatMap((stream) => findIn(stream, needles));
  return {
    "coordinator's memory": inMemory(coordinator),
    "aggregator's memory": inMemory(aggregator),
    "coordinator's disk": inFolder(coordinator),
    "aggregator's disk": inFolder(aggregator),
    "everyone's logs": inFolder("logs"),
    "enclaves' output": inStreams([Buffer.from(printed)]),
    "coordinator's traffic": inStreams(proxies.flatMap((proxy) => proxy.recorded())),
    "Vault's traffic with its enclaves": inStreams(enclaves.recorded()),
  };
}

function recordedBytes(): number {
  const streams = proxies.flatMap((proxy) => proxy.recorded());
  return streams.reduce((sum, stream) => sum + stream.length, 0);
}

async function runTask(taskClass: "parse" | "query" | "compute" | "train"): Promise<EndedTask> {
  const ended = await live.run(taskOf(live.plan, taskClass));
  // What a submitter and an auditor fetch passes through the recording proxy.
  if (ended.delivered) await client.delivery(ended.taskId);
  return ended;
}

test("the scanner finds a planted text in each encoding", () => {
  const padded = ["", "a", "ab"].map((before) => Buffer.from(`${before}${CANARY}/end`));
  const planted = [
    Buffer.from(CANARY),
    Buffer.from(CANARY).toString("hex"),
    Buffer.from(CANARY).toString("hex").toUpperCase(),
    ...padded.map((bytes) => bytes.toString("base64")),
    Buffer.from(CANARY, "utf16le"),
  ].map((form) => Buffer.concat([Buffer.from("noise "), Buffer.from(form), Buffer.from(" noise")]));
  const needles = needlesOf(CANARY);
  expect(planted).toHaveLength(needles.length);
  planted.forEach((bytes, index) => {
    expect(findIn(bytes, needles)).toContain(needles[index]?.name);
  });
  expect(findIn(Buffer.from(`/${CANARY}`, "utf16le").swap16(), needles)).not.toEqual([]);
});

test("the scanner finds planted values in the Vault's own memory", () => {
  expect(foundInVault).toContain(`${CANARY} in plain`);
});

test.for(["parse", "query", "compute", "train"] as const)(
  "[XP-9] [DS-5] [PL-2] nothing planted in records leaves the Vault or enclave during %s",
  async (taskClass) => {
    const before = recordedBytes();
    const ended = await runTask(taskClass);
    const needles = taskClass === "parse" ? NEEDLES : CANARY_NEEDLES;
    for (const [place, found] of Object.entries(findOutside(needles))) {
      expect(found, place).toEqual([]);
    }
    expect(ended).toMatchObject({ state: "completed", delivered: true });
    expect(recordedBytes() - before).toBeGreaterThan(10_000);
    const bundle = await client.evidence(ended.taskId);
    expect(findIn(bundle, NEEDLES)).toEqual([]);
    if (taskClass !== "parse") return;
    // The enclave had the printed name in plain: it is in the result that only the submitter opens.
    const { result } = await live.open(ended.taskId);
    expect(JSON.stringify(result)).toContain(MERCHANT);
  },
);

test("[DS-5] neither a Vault's disk nor the key service holds a planted value in plain", () => {
  const kms = live.network.processes.get("kms")?.pid ?? 0;
  expect(findInProcess(kms, NEEDLES)).toEqual([]);
  expect(findInFolder(join(live.directory, "kms"), NEEDLES)).toEqual([]);
  for (const vaultId of ["vault-a", "vault-b", "vault-c"]) {
    const folder = join(live.directory, vaultId);
    expect(existsSync(join(folder, "vault.db"))).toBe(true);
    expect(readdirSync(join(folder, "batches")).length).toBeGreaterThan(0);
    expect(findInFolder(folder, NEEDLES), vaultId).toEqual([]);
  }
});
