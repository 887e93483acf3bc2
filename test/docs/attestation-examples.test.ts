import * as fs from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import {
  AWS_NITRO_ROOT_G1,
  parseNitroDocument,
  type NitroMeasurement,
  type TrustAnchor,
} from "../../attestation/index.ts";
import {
  policyFor,
  verifyEnclave,
  type EnclavePolicy,
} from "../../examples/attestation/verify-nitro.ts";
import { hex, utf8 } from "../../protocol/index.ts";
import { ANCHOR, IMAGE, NONCE, NOW, forgeDocument } from "../attestation/forge.ts";
import { VECTORS, vectorsAbsent } from "../host/cli/attest/rig.ts";

const ROOT = path.join(import.meta.dirname, "../..");
const read = (name: string): string => fs.readFileSync(path.join(ROOT, name), "utf8");

test.skipIf(vectorsAbsent)("the example accepts a genuine document, and no other nonce", () => {
  const file = path.join(VECTORS, "nitro/evervault-prod-signed-2022-10-13.cose");
  const document = new Uint8Array(fs.readFileSync(file));
  const { pcrs, nonce, timestampMs } = parseNitroDocument(document);
  const [pcr0 = "", pcr1 = "", pcr2 = ""] = [0, 1, 2].map((index) =>
    hex(pcrs.get(index) ?? utf8("")),
  );
  const image: NitroMeasurement = { pcr0, pcr1, pcr2 };
  const trust = { anchors: [AWS_NITRO_ROOT_G1], nowMs: timestampMs + 1000 };
  const report = verifyEnclave(document, policyFor(image, nonce ?? utf8("")), trust);
  expect(report).toMatchObject({ platform: "aws-nitro", measurement: image });
  expect(() => verifyEnclave(document, policyFor(image, NONCE), trust)).toThrow(
    expect.objectContaining({ code: "TEE_NONCE_MISMATCH" }),
  );
});

test("the example accepts a simulator's document where that is asked for, and only there", () => {
  const verify = (anchor: TrustAnchor, changes: Partial<EnclavePolicy>) =>
    verifyEnclave(
      forgeDocument(),
      { ...policyFor(IMAGE, NONCE), ...changes },
      { anchors: [anchor], nowMs: NOW },
    );
  expect(verify(ANCHOR, { platforms: ["sim"] })).toMatchObject({ platform: "sim" });
  expect(() => verify(AWS_NITRO_ROOT_G1, { platforms: ["sim"] })).toThrow(
    expect.objectContaining({ code: "TEE_CHAIN_UNTRUSTED" }),
  );
  expect(() => verify(ANCHOR, {})).toThrow(
    expect.objectContaining({ code: "TEE_PLATFORM_REFUSED" }),
  );
});

test("the page shows the example as it is run, at no more than ten lines of verification", () => {
  const source = read("examples/attestation/verify-nitro.ts");
  const body = source.slice(source.indexOf("export function verifyEnclave("));
  expect(body.trimEnd().split("\n").length).toBeLessThanOrEqual(10);
  expect(read("docs/attestation.md")).toContain(body.trimEnd());
});

test("the page names every field of a policy", () => {
  const page = read("docs/attestation.md");
  for (const name of ["nitro", "snp", "tdx"]) {
    const policy: unknown = JSON.parse(read(`examples/attestation/${name}-policy.json`));
    for (const field of fieldsOf(policy)) expect(page, field).toContain(`\`${field}\``);
  }
});

/** Names of fields, but not inside expectations. */
function fieldsOf(node: unknown): readonly string[] {
  if (Array.isArray(node)) return node.flatMap(fieldsOf);
  if (typeof node !== "object" || node === null) return [];
  const forms = ["equals", "anyOf", "atLeast", "atMost", "unchecked"];
  return Object.entries(node).flatMap(([name, value]) =>
    forms.includes(name) ? [] : [name, ...fieldsOf(value)],
  );
}

test("every example is described beside it", () => {
  const page = read("examples/README.md");
  for (const name of fs.readdirSync(path.join(ROOT, "examples/attestation"))) {
    expect(page).toContain(`\`attestation/${name}\``);
  }
});
