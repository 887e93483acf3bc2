import { expect, test } from "vitest";

import { recipientKeyPolicy } from "../../../host/adapters/kms.ts";
import { lintKeyPolicy, type KeyPolicyReport } from "../../../host/key-policy/index.ts";

const [A, B, C] = ["a1".repeat(48), "b2".repeat(48), "c3".repeat(48)];
const ZEROS = "00".repeat(48);
const ADMIN = "arn:aws:iam::111122223333:user/admin";
const ROLE = "arn:aws:iam::111122223333:role/enclave";
const KEY = (name: string): string => `kms:RecipientAttestation:${name}`;
const IMAGE = { [KEY("ImageSha384")]: A, [KEY("PCR1")]: B, [KEY("PCR2")]: C };
const PINNED = { StringEqualsIgnoreCase: IMAGE };

/** A statement that lets the enclave's role decrypt, as far as it is not given otherwise. */
function lint(...statements: readonly object[]): KeyPolicyReport {
  const common = {
    Effect: "Allow",
    Principal: { AWS: ROLE },
    Action: "kms:Decrypt",
    Resource: "*",
  };
  const Statement = statements.map((each) => ({ ...common, ...each }));
  return lintKeyPolicy(JSON.stringify({ Version: "2012-10-17", Statement }));
}

/** Severity and what its reason says, for each finding. */
function summary({ findings }: KeyPolicyReport): string[] {
  return findings.map(({ severity, reason }) => `${severity}: ${reason}`);
}

test("an image pinned whole, and nobody who could change it, is attested only", () => {
  const report = lint({ Sid: "enclave", Condition: PINNED });
  expect(report.verdict).toBe("attested-only");
  expect(summary(report)).toEqual([
    "note: nobody may change this policy, so a new image needs a new key",
  ]);
});

test("several images, ForAnyValue and a pattern without stars pin as well", () => {
  for (const operator of ["StringEquals", "ForAnyValue:StringEquals", "StringLike"]) {
    const values = Object.fromEntries(Object.entries(IMAGE).map(([key, one]) => [key, [one, B]]));
    expect(lint({ Condition: { [operator]: values } }).verdict).toBe("attested-only");
  }
});

test("Symphony's own policy is changeable by its administrator, and says so", () => {
  const policy = recipientKeyPolicy(ADMIN, [{ pcr0: A, pcr1: B, pcr2: C }]);
  const { verdict, findings } = lintKeyPolicy(policy);
  expect(verdict).toBe("changeable");
  expect(findings).toEqual([
    {
      severity: "high",
      statement: 0,
      sid: null,
      action: "kms:PutKeyPolicy",
      principal: ADMIN,
      reason: `${ADMIN} may change who decrypts: it replaces this policy`,
      remedy: expect.stringContaining("remove the action"),
    },
  ]);
});

test("AWS's default policy decrypts for whoever IAM allows, in six ways", () => {
  const report = lint({
    Sid: "Enable IAM User Permissions",
    Principal: { AWS: "arn:aws:iam::111122223333:root" },
    Action: "kms:*",
  });
  expect(report.verdict).toBe("decryptable-without-attestation");
  expect(report.findings).toMatchObject([
    {
      severity: "critical",
      sid: "Enable IAM User Permissions",
      action: "kms:Decrypt, kms:GenerateDataKey, kms:GenerateDataKeyPair, kms:DeriveSharedSecret",
      reason: expect.stringContaining("whoever IAM allows in account 111122223333"),
    },
    { severity: "critical", action: "kms:ReEncryptFrom" },
    { severity: "critical", action: "kms:CreateGrant" },
    { severity: "high", action: "kms:PutKeyPolicy" },
    { severity: "high", action: "kms:ReplicateKey" },
    { severity: "high", action: "kms:ImportKeyMaterial" },
  ]);
});

/** Statements beside a good one, and what has to be found in them. */
const CRITICAL: readonly { title: string; statement: object; finds: string }[] = [
  { title: "no condition", statement: {}, finds: "no condition asks for recipient attestation" },
  {
    title: "a condition on something else",
    statement: { Condition: { StringEquals: { "kms:ViaService": "s3.eu-west-1.amazonaws.com" } } },
    finds: "no condition asks for recipient attestation",
  },
  {
    title: "a misspelt condition key",
    statement: { Condition: { StringEquals: { "kms:RecipientAttestion:PCR0": A } } },
    finds: "no condition asks for recipient attestation",
  },
  {
    title: "an operator without keys",
    statement: { Condition: { StringEqualsIgnoreCase: {} } },
    finds: "no condition asks for recipient attestation",
  },
  ...[
    "GenerateDataKey",
    "GenerateDataKeyPair",
    "DeriveSharedSecret",
    "ReEncryptFrom",
    "CreateGrant",
  ].map((name) => ({
    title: name,
    statement: { Action: `kms:${name}` },
    finds: name === "ReEncryptFrom" || name === "CreateGrant" ? "gets round" : "gets plaintext",
  })),
  { title: "ReEncrypt*", statement: { Action: "kms:ReEncrypt*" }, finds: "moves ciphertext" },
  { title: "Decryp?", statement: { Action: "KMS:decryp?" }, finds: "gets plaintext" },
  {
    title: "everyone",
    statement: { Principal: "*" },
    finds: "everyone, in any account, gets plaintext",
  },
  {
    title: "everyone in AWS",
    statement: { Principal: { AWS: "*" } },
    finds: "everyone, in any account, gets plaintext",
  },
  {
    title: "an account by its number",
    statement: { Principal: { AWS: ["444455556666"] } },
    finds: "whoever IAM allows in account 444455556666",
  },
  {
    title: "a service",
    statement: { Principal: { Service: "logs.amazonaws.com" } },
    finds: "logs.amazonaws.com gets plaintext",
  },
  {
    title: "NotPrincipal",
    statement: { Principal: undefined, NotPrincipal: { AWS: ROLE } },
    finds: `everyone but ${ROLE} gets plaintext`,
  },
  {
    title: "NotAction",
    statement: { Action: undefined, NotAction: "kms:Encrypt" },
    finds: "gets plaintext",
  },
  {
    title: "IfExists",
    statement: { Condition: { StringEqualsIfExists: IMAGE } },
    finds: "holds when there is no document",
  },
  {
    title: "ForAllValues",
    statement: { Condition: { "ForAllValues:StringEquals": IMAGE } },
    finds: "holds for no values at all",
  },
  {
    title: "a negated operator",
    statement: { Condition: { StringNotEquals: { [KEY("PCR0")]: ZEROS } } },
    finds: "holds when there is no document",
  },
  {
    title: "Null that asks for no document",
    statement: { Condition: { Null: { [KEY("PCR0")]: "true" } } },
    finds: "asks that there be no document",
  },
  {
    title: "an operator that is none",
    statement: { Condition: { StringMatches: IMAGE } },
    finds: "is no operator of IAM",
  },
  {
    title: "an operator for other values",
    statement: { Condition: { NumericEquals: IMAGE } },
    finds: "cannot be relied on",
  },
  {
    title: "a policy variable for a value",
    statement: { Condition: { StringEquals: { [KEY("PCR0")]: "${aws:PrincipalTag/pcr0}" } } },
    finds: "cannot be relied on",
  },
  {
    title: "an empty list",
    statement: { Condition: { StringEquals: { [KEY("PCR0")]: [] } } },
    finds: "lists no value",
  },
  {
    title: "a pattern",
    statement: { Condition: { StringLike: { [KEY("PCR0")]: "*" } } },
    finds: "the pattern * for kms:RecipientAttestation:PCR0 lets other values in",
  },
  {
    title: "a pattern that begins well",
    statement: { Condition: { StringLike: { [KEY("ImageSha384")]: [A, `${A.slice(1)}?`] } } },
    finds: "lets other values in",
  },
  {
    title: "debug enclaves",
    statement: { Condition: { StringEquals: { [KEY("PCR0")]: [A, ZEROS] } } },
    finds: "what every debug enclave has",
  },
  {
    title: "any enclave",
    statement: { Condition: { Null: { [KEY("PCR0")]: "false" } } },
    finds: "any image at all is let in: no condition pins PCR 0",
  },
  {
    title: "the bootstrap only",
    statement: { Condition: { StringEquals: { [KEY("PCR1")]: B } } },
    finds: "only PCR 1",
  },
  {
    title: "the parent's role and instance only",
    statement: { Condition: { StringEquals: { [KEY("PCR3")]: B, [KEY("PCR4")]: C } } },
    finds: "only PCR 3, 4",
  },
  ...[{ StringEquals: { [KEY("NitroTPMPCR4")]: A } }, { StringEqualsIfExists: IMAGE }].map(
    (pins) => ({
      title: `an instance let in by ${Object.keys(pins).join("")}`,
      statement: { Condition: { ...pins, Null: { [KEY("NitroTPMPCR4")]: "false" } } },
      finds: "an EC2 instance with a NitroTPM, which is no enclave, gets plaintext",
    }),
  ),
  ...["ImageSHA", "PCR00", "NitroTPMPCR4"].map((name) => ({
    title: `any image, behind IfExists on ${name}`,
    statement: {
      Condition: { StringEqualsIfExists: { [KEY(name)]: A }, Null: { [KEY("PCR0")]: "false" } },
    },
    finds: "any image at all is let in: no condition pins PCR 0",
  })),
  {
    title: "a policy variable beside a demand for any document",
    statement: {
      Condition: {
        StringEquals: { [KEY("PCR0")]: [A, "${aws:PrincipalTag/pcr0}"] },
        Null: { [KEY("PCR0")]: "false" },
      },
    },
    finds: "whoever sets the policy variable",
  },
];

test.for(CRITICAL)("finds $title", ({ statement, finds }) => {
  const report = lint({ Condition: PINNED }, { Sid: "second", ...statement });
  expect(report.verdict).toBe("decryptable-without-attestation");
  expect(report.findings[0]).toMatchObject({ severity: "critical", statement: 1, sid: "second" });
  expect(summary(report).join("\n")).toContain(finds);
});

test.for([
  { title: "PutKeyPolicy", finds: "replaces this policy" },
  { title: "ReplicateKey", finds: "a policy of its own" },
  { title: "ImportKeyMaterial", finds: "whoever imports key material knows it" },
  { title: "Put*", finds: "replaces this policy" },
])("$title makes a policy changeable", ({ title, finds }) => {
  const report = lint({ Condition: PINNED }, { Action: `kms:${title}` });
  expect(report.verdict).toBe("changeable");
  expect(summary(report).join("\n")).toContain(`high: ${ROLE} may change who decrypts`);
  expect(summary(report).join("\n")).toContain(finds);
});

test("what cannot carry a document is not allowed by a condition that asks for one", () => {
  const actions = ["kms:PutKeyPolicy", "kms:CreateGrant", "kms:ReEncrypt*"];
  expect(lint({ Action: actions, Condition: PINNED }).verdict).toBe("attested-only");
});

const WARNED: readonly { title: string; condition: object; finds: string }[] = [
  {
    title: "PCR 0 alone",
    condition: { StringEquals: { [KEY("PCR0")]: A } },
    finds: "note: PCR 0 alone does not say where one section of an image ends",
  },
  {
    title: "the signing certificate alone",
    condition: { StringEquals: { [KEY("PCR8")]: A } },
    finds: "warning: every image ever signed with that certificate",
  },
  {
    title: "upper case where case counts",
    condition: { StringEquals: { [KEY("PCR0")]: A.toUpperCase() } },
    finds: `warning: no enclave has the value "${A.toUpperCase()}"`,
  },
  {
    title: "an empty value",
    condition: { StringEquals: { [KEY("PCR0")]: "" } },
    finds: 'warning: no enclave has the value ""',
  },
  {
    title: "a SHA-256",
    condition: { StringEqualsIgnoreCase: { [KEY("PCR0")]: "ab".repeat(32) } },
    finds: "warning: no enclave has the value",
  },
  {
    title: "a key KMS does not have",
    condition: { StringEquals: { [KEY("PCR32")]: A } },
    finds: "KMS has no condition key",
  },
  {
    title: "a weak operator beside a strong one",
    condition: { ...PINNED, StringEqualsIfExists: { [KEY("PCR8")]: A } },
    finds: "only another condition asks for one",
  },
];

test.for(WARNED)("warns of $title, and does not call it open", ({ condition, finds }) => {
  const report = lint({ Condition: condition });
  expect(report.verdict).toBe("attested-only");
  expect(summary(report).join("\n")).toContain(finds);
});

const DENY_UNATTESTED = {
  Effect: "Deny",
  Principal: "*",
  Action: ["kms:Decrypt", "kms:GenerateDataKey*", "kms:DeriveSharedSecret", "kms:ReEncryptFrom"],
  Condition: { StringNotEqualsIgnoreCase: { [KEY("ImageSha384")]: [A, B] } },
};

test("a Deny of every other image stands for a condition, for grants too", () => {
  const open = { Action: ["kms:Decrypt", "kms:CreateGrant", "kms:ReEncrypt*"] };
  expect(lint(open, DENY_UNATTESTED).verdict).toBe("attested-only");
  expect(lint(DENY_UNATTESTED, open).verdict).toBe("attested-only");
});

test.for<{ title: string; deny: object }>([
  { title: "is for somebody else", deny: { Principal: { AWS: ADMIN } } },
  { title: "names all but one", deny: { Principal: undefined, NotPrincipal: { AWS: ADMIN } } },
  { title: "is of another action", deny: { Action: "kms:Encrypt" } },
  { title: "is about another key", deny: { Resource: "arn:aws:kms:eu-west-1:1:key/2" } },
  {
    title: "asks for something else besides",
    deny: {
      Condition: { ...DENY_UNATTESTED.Condition, Bool: { "aws:SecureTransport": "false" } },
    },
  },
  {
    title: "is of one image",
    deny: { Condition: { StringEqualsIgnoreCase: { [KEY("ImageSha384")]: A } } },
  },
  {
    title: "has an operator nobody knows",
    deny: { Condition: { StringMatches: { [KEY("ImageSha384")]: A } } },
  },
])("a Deny that $title is not relied on", ({ deny }) => {
  const report = lint({}, { ...DENY_UNATTESTED, ...deny });
  expect(report.verdict).toBe("decryptable-without-attestation");
});

test("a Deny of requests without a document does not make a grant harmless", () => {
  const any = { ...DENY_UNATTESTED, Condition: { Null: { [KEY("ImageSha384")]: "true" } } };
  expect(lint({ Action: "kms:CreateGrant" }, any).verdict).toBe("decryptable-without-attestation");
  expect(lint({ Action: "kms:ReEncryptFrom" }, any).verdict).toBe("attested-only");
  const pcr8 = { ...DENY_UNATTESTED, Condition: { StringNotEquals: { [KEY("PCR8")]: A } } };
  expect(lint({ Action: "kms:CreateGrant" }, pcr8).verdict).toBe("decryptable-without-attestation");
  expect(lint({ Action: "kms:CreateGrant" }, any, DENY_UNATTESTED).verdict).toBe("attested-only");
});

test("a Deny of other values, if there is one, pins what a document is demanded for", () => {
  const Condition = { "ForAnyValue:StringNotEquals": { [KEY("PCR0")]: A } };
  const deny = { ...DENY_UNATTESTED, Condition };
  const demand = (name: string) => ({ Condition: { Null: { [KEY(name)]: "false" } } });
  expect(lint(demand("ImageSha384"), deny).verdict).toBe("attested-only");
  expect(lint(demand("NitroTPMPCR4"), deny).verdict).toBe("decryptable-without-attestation");
});

test("a Deny of debug images, or of two PCRs at once, pins no image", () => {
  const open = { Condition: { Null: { [KEY("PCR0")]: "false" } } };
  const zeros = { StringNotEquals: { [KEY("PCR0")]: ZEROS } };
  const either = { StringNotEquals: { [KEY("PCR0")]: A, [KEY("PCR1")]: B } };
  for (const Condition of [zeros, either]) {
    const report = lint(open, { ...DENY_UNATTESTED, Condition });
    expect(report.verdict).toBe("decryptable-without-attestation");
  }
});

test("a Deny for the very principals of an Allow is relied on", () => {
  const deny = { ...DENY_UNATTESTED, Principal: { AWS: [ADMIN, ROLE] } };
  expect(lint({}, deny).verdict).toBe("attested-only");
  expect(lint({ Principal: { AWS: [ROLE, `${ROLE}2`] } }, deny).verdict).toBe(
    "decryptable-without-attestation",
  );
  expect(lint({ Action: "kms:CreateGrant" }, deny).verdict).toBe("decryptable-without-attestation");
});

test("denials that name the principals of an Allow one by one are relied on together", () => {
  const both = { Principal: { AWS: [ROLE, ADMIN] } };
  const only = (AWS: string, Condition: object = DENY_UNATTESTED.Condition): object => ({
    ...DENY_UNATTESTED,
    Principal: { AWS },
    Condition,
  });
  expect(lint(both, only(ROLE), only(ADMIN)).verdict).toBe("attested-only");
  expect(lint(both, only(ROLE)).verdict).toBe("decryptable-without-attestation");
  const unpinned = only(ADMIN, { Null: { [KEY("ImageSha384")]: "true" } });
  expect(lint(both, only(ROLE), unpinned).verdict).toBe("decryptable-without-attestation");
});

test("a policy of denials only is a key nobody can use", () => {
  const report = lint(DENY_UNATTESTED);
  expect(report.verdict).toBe("attested-only");
  expect(summary(report)).toEqual([
    "warning: no statement allows anything: nobody can use or manage the key",
  ]);
});

test("findings come worst first, with their statement, its Sid and its principal", () => {
  const { findings } = lint(
    { Sid: "admin", Principal: { AWS: ADMIN }, Action: "kms:PutKeyPolicy" },
    { Sid: "open", Principal: { AWS: [ROLE, ADMIN] } },
  );
  expect(findings).toMatchObject([
    { severity: "critical", statement: 1, sid: "open", principal: `${ROLE}, ${ADMIN}` },
    { severity: "high", statement: 0, sid: "admin", principal: ADMIN },
  ]);
});
