import { parseOperator, type Condition } from "./condition.ts";
import { EVERYONE, indexDenials, type Denials } from "./denials.ts";
import { accountOf, conditionsOf, includesAction } from "./evaluate.ts";
import { holdsFor, isAttestationKey, measuredBy, type Carried } from "./measured.ts";
import { parseKeyPolicy, type KeyPolicy, type KeyPolicyStatement } from "./policy.ts";

/**
 * What a key policy comes to. `attested-only`: nothing decrypts but enclaves of listed measurements, and nobody
 * can change that through the policy. `changeable`: so today, but someone may change it.
 */
export type KeyPolicyVerdict = "attested-only" | "changeable" | "decryptable-without-attestation";

/** One thing a key policy does or fails to do. */
export interface KeyPolicyFinding {
  /**
   * `critical`: plaintext without attestation of a chosen image. `high`: someone may change who decrypts.
   * `warning`: weaker than it looks, or without effect. `note`: worth knowing.
   */
  readonly severity: "critical" | "high" | "warning" | "note";
  /** Index of the statement, from 0; null for the policy as a whole. */
  readonly statement: number | null;
  readonly sid: string | null;
  /** The actions it is about, separated by commas. */
  readonly action: string;
  /** Whom it is about, as the statement names them. */
  readonly principal: string;
  readonly reason: string;
  readonly remedy: string;
}

/** See {@link lintKeyPolicy}. */
export interface KeyPolicyReport {
  readonly verdict: KeyPolicyVerdict;
  /** Worst first, then by statement. */
  readonly findings: readonly KeyPolicyFinding[];
}

/** Actions that take a document in `Recipient` and then answer with ciphertext for the enclave only. */
const ATTESTABLE = [
  "kms:Decrypt",
  "kms:GenerateDataKey",
  "kms:GenerateDataKeyPair",
  "kms:DeriveSharedSecret",
];
/** Actions without a `Recipient` that lead to plaintext all the same. */
const INDIRECT: ReadonlyMap<string, string> = new Map([
  ["kms:ReEncryptFrom", "it moves ciphertext under another key, whose policy then decides"],
  ["kms:CreateGrant", "a grant lets others decrypt and cannot ask for attestation"],
]);
/** Actions that change who may decrypt. */
const CHANGES: ReadonlyMap<string, string> = new Map([
  ["kms:PutKeyPolicy", "it replaces this policy"],
  ["kms:ReplicateKey", "a replica has the same key and a policy of its own"],
  ["kms:ImportKeyMaterial", "whoever imports key material knows it"],
]);
const PIN_REMEDY =
  "add StringEqualsIgnoreCase on kms:RecipientAttestation:ImageSha384, PCR1 and PCR2";
const SEVERITIES = ["critical", "high", "warning", "note"] as const;

/**
 * Says whether any principal can decrypt with a key of this policy without attestation, and why.
 *
 * It assumes the worst of what it cannot know: conditions on anything but recipient attestation may hold, IAM
 * lets every principal of a delegated account do everything, and a Deny counts only where it surely applies (to
 * everyone, or to the very principals of the Allow; never by NotPrincipal). Grants that exist already, IAM
 * policies and AWS's own staff are outside a key policy and are not judged.
 *
 * @param json - A key policy document, at most 32 KB.
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 * @throws {@link MalformedError} SCHEMA_JSON_MALFORMED, SCHEMA_MALFORMED
 */
export function lintKeyPolicy(json: string): KeyPolicyReport {
  const policy = parseKeyPolicy(json);
  const denials = indexDenials(policy, [...ATTESTABLE, ...INDIRECT.keys(), ...CHANGES.keys()]);
  const findings = [
    ...policy.Statement.flatMap((statement, index) => {
      const place = { denials, statement, index };
      return statement.Effect === "Allow" ? judgeAllow(place) : judgeDeny(place);
    }),
    ...judgeWhole(policy),
  ];
  const rank = ({ severity }: KeyPolicyFinding): number => SEVERITIES.indexOf(severity);
  return {
    verdict: verdictOf(findings),
    findings: findings.toSorted((left, right) => rank(left) - rank(right)),
  };
}

function verdictOf(findings: readonly KeyPolicyFinding[]): KeyPolicyVerdict {
  if (findings.some(({ severity }) => severity === "critical")) {
    return "decryptable-without-attestation";
  }
  return findings.some(({ severity }) => severity === "high") ? "changeable" : "attested-only";
}

interface Place {
  readonly denials: Denials;
  readonly statement: KeyPolicyStatement;
  readonly index: number;
}

function judgeAllow(place: Place): readonly KeyPolicyFinding[] {
  const { denials, statement } = place;
  const whom = principalsOf(statement);
  const covered = (actions: Iterable<string>): string[] =>
    [...actions].filter((action) => includesAction(statement, action));
  const reached = (actions: Iterable<string>, carried: Carried): string[] => {
    const open = conditionsOf(statement).every((each) => holdsFor(each, carried) !== false);
    return covered(actions).filter((action) => open && !denials.stops(whom, action, carried));
  };
  const released = reached(ATTESTABLE, "nothing");
  const attested = covered(ATTESTABLE).filter((action) => !released.includes(action));
  return [
    ...judgeUnattested(place, released),
    ...judgeInstances(place, reached(attested, "instance")),
    ...judgeIndirect(place, reached(INDIRECT.keys(), "nothing")),
    ...judgeMeasured(place, attested, reached(attested, "enclave")),
    ...reached(CHANGES.keys(), "nothing").map((action) =>
      find(place, "high", action, {
        reason: `${whoOf(statement)} may change who decrypts: ${CHANGES.get(action) ?? ""}`,
        remedy:
          "remove the action, or keep it with people whose every use of it is seen before it counts",
      }),
    ),
  ];
}

function judgeUnattested(place: Place, actions: readonly string[]): readonly KeyPolicyFinding[] {
  if (actions.length === 0) return [];
  const { statement } = place;
  const weak = conditionsOf(statement).filter(({ key }) => isAttestationKey(key));
  const reasons =
    weak.length === 0
      ? ["no condition asks for recipient attestation"]
      : weak.map((each) => whyWeak(each));
  return reasons.map((reason) =>
    find(place, "critical", actions.join(", "), {
      reason: `${whoOf(statement)} gets plaintext without an enclave: ${reason}`,
      remedy: PIN_REMEDY,
    }),
  );
}

/** A document of a NitroTPM is enough: of an instance, whose operators read its memory. */
function judgeInstances(place: Place, actions: readonly string[]): readonly KeyPolicyFinding[] {
  if (actions.length === 0) return [];
  const reason = "an EC2 instance with a NitroTPM, which is no enclave, gets plaintext";
  return [find(place, "critical", actions.join(", "), { reason, remedy: PIN_REMEDY })];
}

function whyWeak({ operator, key, values }: Condition): string {
  if (values.length === 0) return `${operator} on ${key} lists no value`;
  const { negated, known, ifExists, quantifier, base } = parseOperator(operator);
  if (!known) return `${operator} on ${key} is no operator of IAM`;
  if (ifExists) return `${operator} on ${key} holds when there is no document`;
  if (quantifier === "all") return `${operator} on ${key} holds for no values at all`;
  if (negated) return `${operator} on ${key} holds when there is no document`;
  if (base === "null") return `Null on ${key} asks that there be no document`;
  return `${operator} on ${key} cannot be relied on`;
}

function judgeIndirect(place: Place, actions: readonly string[]): readonly KeyPolicyFinding[] {
  const { statement } = place;
  return actions
    .filter((action) => action !== "kms:CreateGrant" || !areGrantsPinned(place))
    .map((action) =>
      find(place, "critical", action, {
        reason: `${whoOf(statement)} gets round attestation: ${INDIRECT.get(action) ?? ""}`,
        remedy: "remove the action, and write the actions that are needed instead of a pattern",
      }),
    );
}

/**
 * Whether denials for everyone leave a grantee nothing but enclaves of chosen images. The Allow's own conditions
 * bind who grants, not who then decrypts.
 */
function areGrantsPinned({ denials }: Place): boolean {
  const stops = (action: string, carried: Carried): boolean =>
    denials.stops([EVERYONE], action, carried);
  const isPinned = (action: string): boolean =>
    stops(action, "enclave") || denials.pins([EVERYONE], [action]).has(0);
  return (
    stops("kms:ReEncryptFrom", "nothing") &&
    ATTESTABLE.every(
      (action) => stops(action, "nothing") && stops(action, "instance") && isPinned(action),
    )
  );
}

/** Whom an Allow is about, as far as a Deny can name them: an Allow for a service or by NotPrincipal is for everyone. */
function principalsOf({ Principal = {} }: KeyPolicyStatement): readonly string[] {
  const { AWS = [], Service, Federated, CanonicalUser } = Principal;
  const isNamed = [Service, Federated, CanonicalUser].every((each) => each === undefined);
  return isNamed && AWS.length > 0 ? AWS : [EVERYONE];
}

/** What is left once a request needs a document: whether the image is one that somebody chose. */
function judgeMeasured(
  place: Place,
  actions: readonly string[],
  toEnclaves: readonly string[],
): readonly KeyPolicyFinding[] {
  if (actions.length === 0) return [];
  const { denials, statement } = place;
  const about = actions.join(", ");
  const own = conditionsOf(statement).filter(({ key }) => isAttestationKey(key));
  const faults = own.flatMap((each) => measuredBy(each).faults);
  const pinned = new Set([
    ...own.flatMap((each) => [...measuredBy(each).pinned]),
    ...denials.pins(principalsOf(statement), toEnclaves),
  ]);
  const isOpen = toEnclaves.length > 0 && !pinned.has(0);
  const weak = own.filter((each) => holdsFor(each, "nothing") !== false);
  return [
    ...faults.map(({ kind, reason, remedy }) =>
      find(place, kind === "open" && isOpen ? "critical" : "warning", about, { reason, remedy }),
    ),
    ...weak.map((each) =>
      find(place, "warning", about, {
        reason: `${whyWeak(each)}; only another condition asks for one`,
        remedy: "use StringEqualsIgnoreCase",
      }),
    ),
    ...(toEnclaves.length === 0 ? [] : judgePinned(place, toEnclaves.join(", "), pinned)),
  ];
}

function judgePinned(
  place: Place,
  about: string,
  pinned: ReadonlySet<number>,
): readonly KeyPolicyFinding[] {
  const remedy = PIN_REMEDY;
  if (pinned.has(0) && pinned.has(1) && pinned.has(2)) return [];
  if (pinned.has(0)) {
    const reason =
      "PCR 0 alone does not say where one section of an image ends: PCR 1 and PCR 2 do";
    return [find(place, "note", about, { reason, remedy })];
  }
  if (pinned.has(8)) {
    const reason = "every image ever signed with that certificate is let in, old ones too";
    return [find(place, "warning", about, { reason, remedy })];
  }
  const reason = `any image at all is let in: no condition pins PCR 0${
    pinned.size === 0 ? "" : `, only PCR ${[...pinned].join(", ")}`
  }`;
  return [find(place, "critical", about, { reason, remedy })];
}

/** A Deny about attestation that lets a request without a document pass is seldom what was meant. */
function judgeDeny(place: Place): readonly KeyPolicyFinding[] {
  const { statement } = place;
  const conditions = conditionsOf(statement);
  const actions = ATTESTABLE.filter((action) => includesAction(statement, action));
  const isAbout = conditions.some(({ key }) => isAttestationKey(key)) && actions.length > 0;
  if (!isAbout || conditions.every((each) => holdsFor(each, "nothing") === true)) return [];
  return [
    find(place, "note", actions.join(", "), {
      reason: "this Deny does not surely stop a request without a document, so it is not counted",
      remedy: "deny with StringNotEqualsIgnoreCase and no other condition",
    }),
  ];
}

function judgeWhole(policy: KeyPolicy): readonly KeyPolicyFinding[] {
  const allows = policy.Statement.filter(({ Effect }) => Effect === "Allow");
  const whole = { statement: null, sid: null, principal: "everyone", severity: "note" } as const;
  if (allows.length === 0) {
    const reason = "no statement allows anything: nobody can use or manage the key";
    return [{ ...whole, severity: "warning", action: "kms:*", reason, remedy: "add an Allow" }];
  }
  if (allows.some((each) => includesAction(each, "kms:PutKeyPolicy"))) return [];
  return [
    {
      ...whole,
      action: "kms:PutKeyPolicy",
      reason: "nobody may change this policy, so a new image needs a new key",
      remedy: "none needed if that is meant; only AWS support can give the key back to someone",
    },
  ];
}

function whoOf({ Principal, NotPrincipal }: KeyPolicyStatement): string {
  const named = Object.values(Principal ?? NotPrincipal ?? {}).flatMap((each) => each ?? []);
  if (NotPrincipal !== undefined) return `everyone but ${named.join(", ")}`;
  if (named.includes("*")) return "everyone, in any account,";
  const delegated = named.map((each) =>
    accountOf(each) === null ? each : `whoever IAM allows in account ${accountOf(each)}`,
  );
  return delegated.join(", ");
}

function find(
  { statement, index }: Place,
  severity: KeyPolicyFinding["severity"],
  action: string,
  words: { readonly reason: string; readonly remedy: string },
): KeyPolicyFinding {
  const { Principal, NotPrincipal, Sid } = statement;
  const named = Object.values(Principal ?? NotPrincipal ?? {}).flatMap((each) => each ?? []);
  const principal = `${NotPrincipal === undefined ? "" : "everyone but "}${named.join(", ")}`;
  return { severity, statement: index, sid: Sid ?? null, action, principal, ...words };
}
