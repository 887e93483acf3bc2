import * as fs from "node:fs";
import path from "node:path";

import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";

import { plainJson } from "../../host/http/plain-json.ts";
import { decodeCbor, parseCose, parseEvidence } from "../../protocol/index.ts";
import { closeRun, runTask } from "../helpers/evidence-rig.ts";
import { settleRun, type SettledRun } from "../helpers/settlement-rig.ts";
import { bundleOf } from "./json-schema.ts";
import { WIRE_SCHEMAS } from "./wire-blocks.ts";

const FILE = path.resolve(import.meta.dirname, "../../docs/schema/protocol.json");
const PUBLISHED: unknown = JSON.parse(fs.readFileSync(FILE, "utf8"));
const ZOD = new Map(WIRE_SCHEMAS);

let settled: SettledRun;
/** What a run left, by the name of its schema. */
const messages = new Map<string, unknown[]>();
const ajv = new Ajv2020({ strict: true, strictTypes: false, validateFormats: false });

function validator(name: string): ValidateFunction {
  return ajv.compile({ $ref: `urn:symphony:schema:v1#/$defs/${name}` });
}

beforeAll(async () => {
  ajv.addSchema(z.record(z.string(), z.unknown()).parse(PUBLISHED));
  settled = await settleRun(await runTask());
  const { evidence } = parseEvidence(settled.file);
  keep("task-envelope", decodeCbor(evidence.envelope, 2 ** 20));
  keep("governance-snapshot", decodeCbor(evidence.governance, 2 ** 24));
  keep("settlement-proof", decodeCbor(evidence.settlement, 2 ** 20));
  for (const log of evidence.logs) keep("log-excerpt", log);
  for (const message of evidence.messages) keep("reduced-message", message);
  for (const message of settled.run.messages) harvest(message);
  harvest([evidence, settled.run.snapshotBytes]);
});

afterAll(() => closeRun(settled.run));

function keep(name: string, value: unknown): void {
  messages.set(name, [...(messages.get(name) ?? []), value]);
  harvest(value);
}

/** Every signed object in a value, by the content type under its signature. */
function harvest(value: unknown): void {
  if (value instanceof Uint8Array) return harvestSigned(value);
  if (typeof value !== "object" || value === null) return;
  for (const inner of Object.values(value)) harvest(inner);
}

function harvestSigned(bytes: Uint8Array): void {
  let signed: ReturnType<typeof parseCose>;
  try {
    signed = parseCose(bytes);
  } catch {
    return;
  }
  keep(signed.contentType, decodeCbor(signed.payload, 2 ** 26));
}

test("[CB-1] docs/schema/protocol.json is what the schemas give: node test/docs/update-wire.ts", () => {
  expect(PUBLISHED).toEqual(JSON.parse(JSON.stringify(bundleOf(WIRE_SCHEMAS))));
});

test("[CB-1] every type of every family is published and compiles", () => {
  const families = {
    task: ["task-request", "task-envelope", "task-parameters"],
    semantic: ["domain", "canonical-attribute", "query-attribute", "semantic-registration"],
    consentAndAuthorization: ["vault-decision", "cross-domain-approval"],
    execution: ["work-order", "slice-result-bundle", "execution-result-bundle"],
    verification: ["reduced-message", "log-excerpt", "challenge"],
    multiVault: ["coordination-envelope", "round-message", "node-call", "node-answer"],
    derivationAndComposition: ["derivation-rule", "attribute-composition"],
    settlement: ["settlement-entry", "settlement-root", "settlement-proof"],
    rewardAndPayout: ["accounting-entry", "payout-instruction"],
    budget: ["consumption-record"],
    delivery: ["delivery", "delivery-share", "task-result"],
    governance: ["genesis", "policy", "governance-statement", "governance-event"],
  };
  for (const name of Object.values(families).flat()) expect(ZOD.has(name), name).toBe(true);
  for (const name of ZOD.keys()) expect(() => validator(name), name).not.toThrow();
});

test("[CB-1] what a run left is what the published schemas say", () => {
  const seen = [...messages.keys()].filter((name) => ZOD.has(name));
  expect(seen).toEqual(
    expect.arrayContaining([
      ...["task-request", "task-envelope", "governance-snapshot", "round-message"],
      ...["work-order", "slice-result-bundle", "execution-result-bundle", "settlement-root"],
      ...["consumption-record", "delivery-share", "log-excerpt", "event"],
    ]),
  );
  for (const name of seen) {
    const validate = validator(name);
    for (const message of messages.get(name) ?? []) {
      expect({ name, valid: validate(plainJson(message)), errors: validate.errors }).toEqual({
        ...{ name, valid: true, errors: null },
      });
    }
  }
});

test("what the published schemas refuse, the code refuses, field by field", () => {
  let refusals = 0;
  for (const [name, [message]] of messages) {
    const schema = ZOD.get(name);
    if (schema === undefined || typeof message !== "object" || message === null) continue;
    const validate = validator(name);
    for (const damaged of damagesOf(message)) {
      const published = validate(plainJson(damaged));
      const taken = schema.safeParse(damaged).success;
      expect({ name, published, taken }).not.toEqual({ name, published: false, taken: true });
      if (!published) refusals += 1;
    }
  }
  expect(refusals).toBeGreaterThan(100);
});

/** The message with a field more, one less, or one of another kind. */
function damagesOf(message: object): object[] {
  const fields = Object.entries(message);
  return [
    { ...message, surplus: 1 },
    ...fields.map(([name]) => Object.fromEntries(fields.filter(([other]) => other !== name))),
    ...fields.flatMap(([name]) =>
      [null, -1, 2 ** 53, "", "UPPER lower", [], {}, new Uint8Array(31)].map((value) => ({
        ...message,
        [name]: value,
      })),
    ),
  ];
}
