import * as fs from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { TASK as COMPUTE } from "../../examples/client/compute.ts";
import { TASK as PARSE } from "../../examples/client/parse.ts";
import { TASK as QUERY } from "../../examples/client/query.ts";
import { TASK as TRAIN } from "../../examples/client/train.ts";
import { planAdmission } from "../../host/admission/plan.ts";
import { requestFileSchema, requestOf } from "../../host/http/index.ts";
import { readJsonFile } from "../../host/run/config.ts";
import {
  TASK_REQUEST,
  boxKeyPairFromSeed,
  genesisState,
  hex,
  sha256,
  signingKeyFromSeed,
  type GovernanceState,
} from "../../protocol/index.ts";
import { generatedPlan } from "../../sim/demo/generated.ts";
import { SIM_ACTORS, createSimNetwork } from "../../sim/network/create.ts";
import { createInsecureSimPlatform } from "../../sim/platform.ts";

const EXAMPLES = path.resolve(import.meta.dirname, "../../examples");
const FILES = fs.readdirSync(EXAMPLES).filter((name) => name.endsWith(".json"));
const NOW_MS = Date.UTC(2026, 0, 1);

let directory = "";
let state: GovernanceState;

beforeAll(async () => {
  directory = fs.mkdtempSync(path.join(tmpdir(), "symphony-examples-"));
  const pcr = "00".repeat(48);
  const plan = generatedPlan();
  await createSimNetwork({
    directory,
    plan,
    anchor: createInsecureSimPlatform(path.join(directory, "platform")).anchor,
    measurement: { pcr0: pcr, pcr1: pcr, pcr2: pcr },
    nowMs: NOW_MS,
  });
  const artifacts = plan.models.map(({ name, kind, bytes }) => {
    const digest = sha256(bytes);
    return [hex(digest), { digest, kind, description: name }] as const;
  });
  const genesis = new Uint8Array(fs.readFileSync(path.join(directory, "genesis.cbor")));
  state = { ...genesisState(genesis), artifacts: new Map(artifacts) };
});

afterAll(() => fs.rmSync(directory, { recursive: true, force: true }));

function seedOf(name: string): Uint8Array {
  const text = fs.readFileSync(path.join(directory, "submitter", name), "utf8");
  return new Uint8Array(Buffer.from(text.trim(), "hex"));
}

test("there is an example of every task class", async () => {
  const files = await Promise.all(
    FILES.map((name) => readJsonFile(path.join(EXAMPLES, name), requestFileSchema)),
  );
  const classes = files.map(({ parameters }) => parameters.task_class);
  expect(classes.toSorted()).toEqual(["compute", "parse", "query", "train"]);
});

test.each(FILES)("%s is admitted by the demo's network", async (name) => {
  const file = await readJsonFile(path.join(EXAMPLES, name), requestFileSchema);
  const request = requestOf(file, {
    actorId: SIM_ACTORS.submitter,
    genesisDigest: state.genesisDigest,
    deliveryKey: (await boxKeyPairFromSeed(seedOf("box.seed"))).publicKey,
    requestId: new Uint8Array(16),
    createdMs: NOW_MS,
  });
  const signed = TASK_REQUEST.sign(request, signingKeyFromSeed(seedOf("signing.seed")));
  const plan = planAdmission(signed, state, NOW_MS);
  expect(plan.request).toEqual(request);
  expect(plan.resolution.record_scope.record_scope_id).toBe(file.record_scope);
});

test.for([
  ["query", QUERY],
  ["compute", COMPUTE],
  ["train", TRAIN],
  ["parse", PARSE],
] as const)("the client's example of %s asks what the request file asks", async ([name, task]) => {
  const file = await readJsonFile(path.join(EXAMPLES, `${name}.json`), requestFileSchema);
  expect(requestFileSchema.parse(task)).toEqual(file);
});

test("every example is described beside it", () => {
  const page = fs.readFileSync(path.join(EXAMPLES, "README.md"), "utf8");
  const programs = fs.readdirSync(path.join(EXAMPLES, "client")).map((name) => `client/${name}`);
  for (const name of [...FILES, ...programs]) expect(page).toContain(`\`${name}\``);
});
