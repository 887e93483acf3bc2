import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { format, resolveConfig } from "prettier";

import { CMS_BASES, CMS_KEY, CMS_LARGE, cmsCases, type CmsCase } from "./cases/h-cms.ts";
import { diffEdits } from "./diff.ts";
import type { Base, Check, VectorInput } from "./schema.ts";

/** Writes category H, its bases and its checks anew, with a fresh key: `node test/vectors/attestation/generate-cms.ts`. */

const FOLDER = import.meta.dirname;
const BASE = "cms-sim";
const CMS = "enclave/adapters/cms.ts";
const BER = "enclave/adapters/ber.ts";

/** Checks that are one statement: `if (...) throw malformed("...");`, found by the text, which goes. */
const STATEMENTS: Readonly<Record<string, string>> = {
  "cms-size": "if (blob.length > CMS_BYTES_MAX) throw malformed(`at most ${CMS_BYTES_MAX} bytes`);",
  "cms-info-fields": 'if (beside.length > 0) throw malformed("a type and a content");',
  "cms-content-type":
    'if (oid(contentType) !== OID.envelopedData) throw malformed("envelopedData");',
  "cms-one-content": 'if (others.length > 0) throw malformed("one content");',
  "cms-attributes": 'if (attributes.length > 0) throw malformed("no attributes");',
  "cms-version": 'if (integer(version) !== "02") throw malformed("version 2 of EnvelopedData");',
  "cms-one-recipient": 'if (more.length > 0) throw malformed("one recipient");',
  "cms-recipient-fields": 'if (beside.length > 0) throw malformed("a recipient of four fields");',
  "cms-recipient-version":
    'if (integer(version) !== "02") throw malformed("version 2 of a recipient");',
  "cms-key-identifier":
    'if (!SKI_BYTES.includes(identifier.length)) throw malformed("a key identifier");',
  "cms-encrypted-key":
    'if (encryptedKey.length !== RSA_2048_BYTES) throw malformed("an encrypted key of 256 bytes");',
  "cms-oaep-fields": 'if (beside.length > 0) throw malformed("an algorithm and its parameters");',
  "cms-oaep": 'if (oid(name) !== OID.rsaOaep) throw malformed("RSAES-OAEP");',
  "cms-oaep-label": 'if (label.length > 0) throw malformed("OAEP without a label");',
  "cms-oaep-digests": 'if (digests.length > 0) throw malformed("one OAEP digest");',
  "cms-masks": 'if (generators.length > 0) throw malformed("one mask generation function");',
  "cms-mask-fields":
    'if (beyond.length > 0) throw malformed("a mask generation function of one digest");',
  "cms-mgf1": 'if (oid(function0) !== OID.mgf1) throw malformed("MGF1");',
  "cms-digest-fields": 'if (beside.length > 0) throw malformed("a digest and its parameters");',
  "cms-sha256": 'if (oid(name) !== OID.sha256) throw malformed("SHA-256");',
  "cms-digest-parameters":
    'if (parameters !== undefined && parameters.tag !== TAG.null) throw malformed("no parameters");',
  "cms-encrypted-fields":
    'if (beside.length > 0) throw malformed("encrypted content of three fields");',
  "cms-data": 'if (oid(contentType) !== OID.data) throw malformed("encrypted data");',
  "cms-cipher-fields": 'if (more.length > 0) throw malformed("a cipher and its IV");',
  "cms-cipher": 'if (oid(name) !== OID.aes256Cbc) throw malformed("AES-256-CBC");',
  "cms-tag": "if (element.tag !== tag) throw malformed(`tag 0x${tag.toString(16)}`);",
};

const CHECKS: Readonly<Record<string, Check>> = {
  ...Object.fromEntries(
    Object.entries(STATEMENTS).map(([name, search]) => [name, { file: CMS, search, replace: "" }]),
  ),
  // Without this one Node refuses the IV, unless it is made as long as it should be.
  "cms-iv": {
    file: CMS,
    search:
      "const iv = octets(parameters, TAG.octetString);\n  if (iv.length !== IV_BYTES) throw malformed(`an IV of ${IV_BYTES} bytes`);",
    replace:
      "const iv = concat(octets(parameters, TAG.octetString), new Uint8Array(IV_BYTES)).subarray(0, IV_BYTES);",
  },
  "cms-padding": {
    file: CMS,
    search: 'createDecipheriv("aes-256-cbc", key, iv);',
    replace: 'createDecipheriv("aes-256-cbc", key, iv).setAutoPadding(false);',
  },
  "ber-one-element": {
    file: BER,
    search: 'if (cursor.at !== bytes.length) throw berFault("one element", "bytes after it");',
    replace: "",
  },
  "ber-end": {
    file: BER,
    search: 'throw berFault("an end of contents", "the end of the bytes");',
    replace: "return parts;",
  },
  "ber-half-end": {
    file: BER,
    search:
      'if (octet(cursor, inside.end) !== 0) throw berFault("an end of contents", "half of one");',
    replace: "octet(cursor, inside.end);",
  },
  "ber-shortest-length": {
    file: BER,
    search:
      'if (octets !== first - INDEFINITE) throw berFault("the shortest length", "a longer one");',
    replace: "",
  },
};

const original = CMS_BASES.get(BASE)?.blob;
if (original === undefined) throw new Error(`${BASE}: expected a base, got none`);

writeFileSync(join(FOLDER, "bases", "cms-key.pem"), CMS_KEY);
writeFileSync(join(FOLDER, "bases", "cms-large.bin"), CMS_LARGE);
for (const [name, { title, blob }] of CMS_BASES) {
  writeFileSync(join(FOLDER, "bases", `${name}.bin`), blob);
  await writeJson(`bases/${name}.json`, baseOf(title, `${name}.bin`, "cms-key.pem"));
}
for (const form of ["def", "indef"]) {
  await writeJson(
    `bases/cms-openssl-${form}.json`,
    baseOf(
      `another implementation's, lengths ${form}inite`,
      `shared:kms-cms/generated-${form}.der`,
      "shared:kms-cms/test-recipient-key.pem",
    ),
  );
}
const vectors = [...cmsCases().map((each) => vectorOf(each, original)), largeVector()];
await writeJson(
  "h-cms.json",
  vectors.map((vector, at) => ({ number: `H-${String(at + 1).padStart(2, "0")}`, ...vector })),
);
await writeJson("checks/h-cms.json", CHECKS);

function baseOf(title: string, document: string, key: string): Base {
  const parts = { document, key };
  return { title, source: "synthetic", format: "cms", parts, anchors: [], at: null, policy: null };
}

type Unnumbered = Omit<VectorInput, "number">;

function vectorOf({ document, ...rest }: CmsCase, before: Uint8Array): Unnumbered {
  const edits = diffEdits(before, document);
  const refusal = { stage: "open", code: "TEE_KMS_MALFORMED" } as const;
  return { source: "synthetic", base: BASE, ...rest, edits, ...refusal };
}

/** Stored whole: as edits it would be as long. */
function largeVector(): Unnumbered {
  return {
    title: "16 KiB of content, and the envelope",
    source: "synthetic",
    base: BASE,
    swap: { document: "cms-large.bin" },
    stage: "open",
    code: "TEE_KMS_MALFORMED",
    check: "cms-size",
  };
}

async function writeJson(name: string, value: unknown): Promise<void> {
  const file = join(FOLDER, name);
  const options = { ...(await resolveConfig(file)), filepath: file };
  writeFileSync(file, await format(JSON.stringify(value), options));
}
