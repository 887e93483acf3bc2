import { expect, test } from "vitest";

import { conditionHolds, isLike, parseOperator } from "../../../host/key-policy/condition.ts";
import { isAllowed, type KeyUse } from "../../../host/key-policy/evaluate.ts";
import { parseKeyPolicy } from "../../../host/key-policy/policy.ts";

const USER = "arn:aws:iam::111122223333:user/alice";
const KEY = "arn:aws:kms:eu-west-1:111122223333:key/1234";
const PCR0 = "kms:RecipientAttestation:PCR0";

function allows(statements: readonly object[], use: Partial<KeyUse> = {}): boolean {
  const common = { Effect: "Allow", Principal: "*", Action: "kms:Decrypt", Resource: "*" };
  const Statement = statements.map((each) => ({ ...common, ...each }));
  const policy = parseKeyPolicy(JSON.stringify({ Version: "2012-10-17", Statement }));
  const asked = { action: "kms:Decrypt", principalArn: USER, keyArn: KEY, context: new Map() };
  return isAllowed(policy, { ...asked, ...use });
}

test.for<{ title: string; principal: object; allowed: boolean; who?: string }>([
  { title: "everybody", principal: { Principal: "*" }, allowed: true },
  { title: "everybody in AWS", principal: { Principal: { AWS: "*" } }, allowed: true },
  { title: "the user", principal: { Principal: { AWS: [USER] } }, allowed: true },
  { title: "another user", principal: { Principal: { AWS: `${USER}2` } }, allowed: false },
  {
    title: "the account's root",
    principal: { Principal: { AWS: "arn:aws:iam::111122223333:root" } },
    allowed: true,
  },
  { title: "the account", principal: { Principal: { AWS: "111122223333" } }, allowed: true },
  {
    title: "another account",
    principal: { Principal: { AWS: "arn:aws:iam::111122223334:root" } },
    allowed: false,
  },
  {
    title: "a role, to a session of it",
    principal: { Principal: { AWS: "arn:aws:iam::111122223333:role/enclave" } },
    who: "arn:aws:sts::111122223333:assumed-role/enclave/i-0123",
    allowed: true,
  },
  {
    title: "a role, to a session of another",
    principal: { Principal: { AWS: "arn:aws:iam::111122223333:role/enclave" } },
    who: "arn:aws:sts::111122223333:assumed-role/other/enclave",
    allowed: false,
  },
  {
    title: "a service",
    principal: { Principal: { Service: "logs.amazonaws.com" } },
    allowed: false,
  },
  {
    title: "everybody but the user",
    principal: { Principal: undefined, NotPrincipal: { AWS: USER } },
    allowed: false,
  },
  {
    title: "everybody but another user",
    principal: { Principal: undefined, NotPrincipal: { AWS: `${USER}2` } },
    allowed: true,
  },
])("a statement for $title: $allowed", ({ principal, allowed, who = USER }) => {
  expect(allows([principal], { principalArn: who })).toBe(allowed);
});

test.for<{ title: string; named: string; who?: string; allowed: boolean }>([
  { title: "the user", named: USER, allowed: true },
  { title: "everybody", named: "*", allowed: true },
  { title: "the account's root", named: "arn:aws:iam::111122223333:root", allowed: false },
  { title: "the account", named: "111122223333", allowed: false },
  {
    title: "the root, for itself",
    named: "arn:aws:iam::111122223333:root",
    who: "arn:aws:iam::111122223333:root",
    allowed: true,
  },
  {
    title: "a role, for its session",
    named: "arn:aws:iam::111122223333:role/enclave",
    who: "arn:aws:sts::111122223333:assumed-role/enclave/i-0123",
    allowed: false,
  },
])("a Deny for all but $title lets pass whom it names exactly: $allowed", (given) => {
  const { named, who = USER, allowed } = given;
  const deny = { Effect: "Deny", Principal: undefined, NotPrincipal: { AWS: named } };
  expect(allows([{}, deny], { principalArn: who })).toBe(allowed);
});

test.for<{ title: string; statement: object; allowed: boolean }>([
  { title: "the action", statement: { Action: "kms:Decrypt" }, allowed: true },
  { title: "the action in other case", statement: { Action: "KMS:decrypt" }, allowed: true },
  { title: "a pattern", statement: { Action: "kms:De*" }, allowed: true },
  { title: "a pattern of one letter", statement: { Action: "kms:Decryp?" }, allowed: true },
  { title: "every action", statement: { Action: "*" }, allowed: true },
  { title: "another action", statement: { Action: ["kms:Encrypt"] }, allowed: false },
  { title: "no action", statement: { Action: [] }, allowed: false },
  {
    title: "all but another action",
    statement: { Action: undefined, NotAction: "kms:Encrypt" },
    allowed: true,
  },
  {
    title: "all but the action",
    statement: { Action: undefined, NotAction: ["kms:D*"] },
    allowed: false,
  },
  { title: "the key", statement: { Resource: KEY }, allowed: true },
  { title: "keys like it", statement: { Resource: ["arn:aws:kms:*:*:key/1*"] }, allowed: true },
  { title: "another key", statement: { Resource: `${KEY}5` }, allowed: false },
])("a statement about $title: $allowed", ({ statement, allowed }) => {
  expect(allows([statement])).toBe(allowed);
});

test("a Deny wins, in any order, and nothing is allowed by silence", () => {
  const deny = { Effect: "Deny" };
  expect(allows([{}, deny])).toBe(false);
  expect(allows([deny, {}])).toBe(false);
  expect(allows([deny])).toBe(false);
  expect(allows([{}, { ...deny, Action: "kms:Encrypt" }])).toBe(true);
});

/** Operator, its values, what the request carries (null: nothing), whether it holds. */
const HOLDS: readonly [string, readonly string[], readonly string[] | null, boolean | "unknown"][] =
  [
    ["StringEquals", ["a", "b"], ["b"], true],
    ["StringEquals", ["A"], ["a"], false],
    ["StringEquals", ["a*"], ["ab"], false],
    ["StringEquals", ["a"], null, false],
    ["StringEquals", [], ["a"], false],
    ["StringNotEquals", ["a"], ["a"], false],
    ["StringNotEquals", ["a"], ["b"], true],
    ["StringNotEquals", ["a"], null, true],
    ["StringEqualsIgnoreCase", ["AB"], ["ab"], true],
    ["StringEqualsIgnoreCase", ["AB"], null, false],
    ["StringNotEqualsIgnoreCase", ["AB"], ["ab"], false],
    ["StringNotEqualsIgnoreCase", ["AB"], null, true],
    ["StringLike", ["a?c*"], ["abcd"], true],
    ["StringLike", ["A*"], ["abcd"], false],
    ["StringNotLike", ["a*"], ["abcd"], false],
    ["StringNotLike", ["b*"], ["abcd"], true],
    ["ArnLike", ["arn:*:x"], ["arn:aws:x"], true],
    ["ArnNotEquals", ["arn:*:x"], ["arn:aws:x"], false],
    ["ArnLike", ["arn:aws:*:user/a"], ["arn:aws:iam::111122223333:user/a"], false],
    ["ArnEquals", ["*"], ["arn:aws:iam::111122223333:user/a"], false],
    ["ArnLike", ["arn:aws:iam::*:user/a"], ["arn:aws:iam::111122223333:user/a"], true],
    ["ArnLike", ["arn:aws:logs:*:*:group:*"], ["arn:aws:logs:r:1:group:a:b"], true],
    ["Bool", ["True"], ["true"], true],
    ["Bool", ["true"], null, false],
    ["Null", ["true"], null, true],
    ["Null", ["true"], ["a"], false],
    ["Null", ["false"], ["a"], true],
    ["Null", ["false"], null, false],
    ["StringEqualsIfExists", ["a"], null, true],
    ["StringEqualsIfExists", ["a"], ["b"], false],
    ["StringNotLikeIfExists", ["a"], null, true],
    ["ForAnyValue:StringEquals", ["a"], ["b", "a"], true],
    ["ForAnyValue:StringEquals", ["a"], ["b"], false],
    ["ForAnyValue:StringEquals", ["a"], null, false],
    ["ForAnyValue:StringNotEquals", ["a"], ["a", "b"], true],
    ["ForAnyValue:StringNotEquals", ["a"], null, false],
    ["ForAllValues:StringEquals", ["a", "b"], ["a", "b"], true],
    ["ForAllValues:StringEquals", ["a"], ["a", "b"], false],
    ["ForAllValues:StringEquals", ["a"], null, true],
    ["ForAllValues:StringNotEquals", ["a"], ["b", "c"], true],
    ["NumericEquals", ["1"], ["1"], "unknown"],
    ["IpAddress", ["10.0.0.0/8"], null, "unknown"],
    ["StringMatches", ["a"], ["a"], "unknown"],
    ["NullIfExists", ["true"], null, "unknown"],
    ["StringEquals", ["${aws:username}"], ["a"], "unknown"],
  ];

test.for(HOLDS)("%s %j against %j: %s", ([operator, values, actual, holds]) => {
  expect(conditionHolds({ operator, key: PCR0, values }, actual)).toBe(holds);
  expect(conditionHolds({ operator: operator.toUpperCase(), key: PCR0, values }, actual)).toBe(
    holds,
  );
});

test("what is not known of a request leaves a condition unknown", () => {
  const condition = { operator: "StringEquals", key: "aws:SourceVpc", values: ["a"] };
  expect(conditionHolds(condition, "unknown")).toBe("unknown");
});

test.for(["NumericEquals", "StringMatches", "DateLessThanIfExists"])(
  "%s never helps an Allow and never stops a Deny",
  (operator) => {
    const Condition = { [operator]: { [PCR0]: "1" } };
    expect(allows([{ Condition }])).toBe(false);
    expect(allows([{}, { Effect: "Deny", Condition }])).toBe(false);
  },
);

test("every condition of a statement has to hold, whatever the case of its key", () => {
  const context = new Map([
    ["kms:recipientattestation:pcr0", ["aa"]],
    ["kms:recipientattestation:pcr1", ["bb"]],
  ]);
  const both = { [PCR0]: "aa", "KMS:recipientAttestation:pcr1": "bb" };
  expect(allows([{ Condition: { StringEquals: both } }], { context })).toBe(true);
  expect(allows([{ Condition: { StringEquals: { ...both, "kms:x": "c" } } }], { context })).toBe(
    false,
  );
  const two = { StringEquals: both, StringLike: { [PCR0]: "b*" } };
  expect(allows([{ Condition: two }], { context })).toBe(false);
  expect(allows([{ Condition: {} }])).toBe(true);
});

test("knows IAM's operators, and says which are none", () => {
  for (const name of [
    "StringEquals",
    "null",
    "ForAllValues:ArnLike",
    "DateEqualsIfExists",
    "Bool",
  ]) {
    expect(parseOperator(name).known).toBe(true);
  }
  for (const name of ["", "Equals", "StringEqualsIfExistsIfExists", "ForEach:StringEquals"]) {
    expect(parseOperator(name).known).toBe(false);
  }
});

test("a pattern of many stars takes no longer than it should", () => {
  expect(isLike("a".repeat(5000), `${"a*".repeat(500)}b`)).toBe(false);
  expect(isLike("", "***")).toBe(true);
  expect(isLike("", "?")).toBe(false);
});

const ONE = { Effect: "Allow", Principal: "*", Action: "kms:*", Resource: "*" };
const textOf = (value: unknown): string =>
  JSON.stringify({ Version: "2012-10-17", Statement: value });

test("reads single values as lists of one", () => {
  const { Statement } = parseKeyPolicy(textOf({ ...ONE, Condition: { Bool: { "aws:x": true } } }));
  expect(Statement).toMatchObject([
    {
      Principal: { AWS: ["*"] },
      Action: ["kms:*"],
      Condition: { Bool: { "aws:x": ["true"] } },
    },
  ]);
});

test.for([
  { title: "no JSON", text: "{", code: "SCHEMA_JSON_MALFORMED" },
  { title: "more than 32 KB", text: textOf([ONE]).padEnd(32_769), code: "SCHEMA_TOO_LARGE" },
  {
    title: "a name twice",
    text: textOf([ONE]).replace('"Effect":"Allow"', '"Effect":"Deny","Effect":"Allow"'),
    code: "SCHEMA_JSON_MALFORMED",
  },
  {
    title: "a name twice, once escaped",
    text: textOf([ONE]).replace('"Effect":"Allow"', '"Effect":"Deny","Effec\\u0074":"Allow"'),
    code: "SCHEMA_JSON_MALFORMED",
  },
  {
    title: "an operator that JavaScript would lose",
    text: textOf([ONE]).replace('"Effect"', '"Condition":{"__proto__":{}},"Effect"'),
    code: "SCHEMA_JSON_MALFORMED",
  },
  { title: "no statement", text: textOf([]), code: "SCHEMA_MALFORMED" },
  {
    title: "another version",
    text: textOf([ONE]).replace("2012", "2022"),
    code: "SCHEMA_MALFORMED",
  },
  {
    title: "an unknown element",
    text: textOf([{ ...ONE, Actions: [] }]),
    code: "SCHEMA_MALFORMED",
  },
  {
    title: "no principal",
    text: textOf([{ ...ONE, Principal: undefined }]),
    code: "SCHEMA_MALFORMED",
  },
  {
    title: "an empty principal",
    text: textOf([{ ...ONE, Principal: {} }]),
    code: "SCHEMA_MALFORMED",
  },
  {
    title: "two kinds of principals",
    text: textOf([{ ...ONE, NotPrincipal: "*" }]),
    code: "SCHEMA_MALFORMED",
  },
  { title: "no action", text: textOf([{ ...ONE, Action: undefined }]), code: "SCHEMA_MALFORMED" },
  {
    title: "actions and none",
    text: textOf([{ ...ONE, NotAction: "kms:*" }]),
    code: "SCHEMA_MALFORMED",
  },
  {
    title: "another effect",
    text: textOf([{ ...ONE, Effect: "allow" }]),
    code: "SCHEMA_MALFORMED",
  },
  { title: "a list", text: "[]", code: "SCHEMA_MALFORMED" },
])("refuses a policy with $title", ({ text, code }) => {
  expect(() => parseKeyPolicy(text)).toThrow(expect.objectContaining({ code }));
});
