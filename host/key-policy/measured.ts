import { conditionHolds, parseOperator, type Condition, type Holds } from "./condition.ts";

/** What a request has in `Recipient`: nothing, the document of an instance's NitroTPM, or one of an enclave. */
export type Carried = "nothing" | "instance" | "enclave";

/** What a condition on recipient attestation says of the enclaves it lets through. */
export interface Measured {
  /** PCR indices pinned to listed values that an image can have. */
  readonly pinned: ReadonlySet<number>;
  /** Why it does less than its author may think; empty when nothing is wrong. */
  readonly faults: readonly Fault[];
}

/** One thing wrong with a condition. */
export interface Fault {
  /** `open`: lets through enclaves nobody chose. `dead`: lets through none. */
  readonly kind: "open" | "dead";
  readonly reason: string;
  readonly remedy: string;
}

const NITRO_KEY = /^kms:recipientattestation:(?:pcr(0|[1-9]\d?)|imagesha384)$/i;
const INSTANCE_KEY = /^kms:recipientattestation:nitrotpmpcr/i;
const PCR_COUNT = 32;
/** Every enclave has PCR 0 to 2 in its document; of the others a document may be without. */
const LAST_CERTAIN_PCR = 2;
const REMEDY = "list the measurements of the images you chose, in full lower-case hex";

/** Whether `key` is about the document in `Recipient`; a request without one has no value for it. */
export function isAttestationKey(key: string): boolean {
  return /^kms:recipientattestation:/i.test(key);
}

/** The PCR that a condition key is about: `ImageSha384` is PCR 0. Null for keys no Nitro enclave fills. */
export function pcrOf(key: string): number | null {
  const match = NITRO_KEY.exec(key);
  if (match === null) return null;
  const index = Number(match[1] ?? "0");
  return index < PCR_COUNT ? index : null;
}

/** Whether `key` is about an EC2 instance with a NitroTPM: no enclave fills it, but a document without one does. */
export function isInstanceKey(key: string): boolean {
  return INSTANCE_KEY.test(key);
}

/** Whether a condition holds for a request that carries this. What is not about attestation may hold. */
export function holdsFor(condition: Condition, carried: Carried): Holds {
  const { key, values } = condition;
  if (!isAttestationKey(key) || values.length === 0) return "unknown";
  const isFilled = carried === "enclave" ? pcrOf(key) !== null : isInstanceKey(key);
  return conditionHolds(condition, isFilled && carried !== "nothing" ? "unknown" : null);
}

/**
 * What an Allow would have to say instead of a Deny with this negated condition alone. A Deny that lets a request
 * without the key pass becomes `IfExists`: `ForAnyValue:StringNotEquals` turns into `StringEqualsIfExists`.
 */
export function inverted(condition: Condition): Condition {
  const positive = parseOperator(condition.operator).base.replace("not", "");
  const deniesAbsent = conditionHolds(condition, null) === true;
  return { ...condition, operator: `${positive}${deniesAbsent ? "" : "IfExists"}` };
}

/**
 * What a condition with a positive text operator pins, given that the request carries a document.
 *
 * @see KMS developer guide, "Condition keys for AWS Nitro Enclaves": values are SHA-384 in lower-case hex
 */
export function measuredBy(condition: Condition): Measured {
  const { operator, key, values } = condition;
  const { base, negated } = parseOperator(operator);
  const isDemanded = conditionHolds(condition, null) === false;
  const none = new Set<number>();
  const isText =
    base === "stringequals" || base === "stringequalsignorecase" || base === "stringlike";
  if (negated || !isText) return { pinned: none, faults: [] };
  const pcr = pcrOf(key);
  if (pcr === null) return { pinned: none, faults: [foreignKey(key, isDemanded)] };
  const faults = values.flatMap((value) => faultsOf(value, base, key));
  const isPresent = isDemanded || pcr <= LAST_CERTAIN_PCR;
  const pins = isPresent && values.length > 0 && faults.every(({ kind }) => kind === "dead");
  return { pinned: pins ? new Set([pcr]) : none, faults };
}

function faultsOf(value: string, base: string, key: string): readonly Fault[] {
  if (value.includes("${")) {
    const reason = `whoever sets the policy variable in ${value} for ${key} chooses the image`;
    return [{ kind: "open", reason, remedy: REMEDY }];
  }
  if (base === "stringlike" && /[*?]/.test(value)) {
    return [
      {
        kind: "open",
        reason: `the pattern ${value} for ${key} lets other values in`,
        remedy: REMEDY,
      },
    ];
  }
  if (/^0{96}$/.test(value)) {
    const reason = `${key} of zeros is what every debug enclave has, and its host reads its memory`;
    return [
      { kind: "open", reason, remedy: "remove the value; run the enclave without debug mode" },
    ];
  }
  const isExact = base !== "stringequalsignorecase";
  if (/^[0-9a-f]{96}$/.test(value) || (!isExact && /^[0-9a-f]{96}$/i.test(value))) return [];
  const reason = `no enclave has the value "${value.slice(0, 100)}" for ${key}`;
  return [{ kind: "dead", reason, remedy: "write 96 lower-case hex digits" }];
}

function foreignKey(key: string, isDemanded: boolean): Fault {
  const kind = isDemanded && !isInstanceKey(key) ? "dead" : "open";
  const reason = isInstanceKey(key)
    ? `${key} is of instances with a NitroTPM, not of enclaves`
    : `KMS has no condition key ${key}, so no request carries it`;
  return { kind, reason, remedy: "use kms:RecipientAttestation:ImageSha384 or :PCR0" };
}
