import { parseOperator, type Condition } from "./condition.ts";

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

const NITRO_KEY = /^kms:recipientattestation:(?:pcr(\d{1,2})|imagesha384)$/i;
const PCR_COUNT = 32;
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

/** The same condition as a Deny has it: `StringNotEquals` in a Deny is `StringEquals` in an Allow. */
export function inverted(condition: Condition): Condition {
  return { ...condition, operator: condition.operator.replace(/not/i, "") };
}

/**
 * What a condition with a positive text operator pins, given that the request carries a document.
 *
 * @see KMS developer guide, "Condition keys for AWS Nitro Enclaves": values are SHA-384 in lower-case hex
 */
export function measuredBy({ operator, key, values }: Condition): Measured {
  const { base, negated } = parseOperator(operator);
  const none = new Set<number>();
  const isText =
    base === "stringequals" || base === "stringequalsignorecase" || base === "stringlike";
  if (negated || !isText) return { pinned: none, faults: [] };
  const pcr = pcrOf(key);
  if (pcr === null) return { pinned: none, faults: [foreignKey(key)] };
  const faults = values.flatMap((value) => faultsOf(value, base, key));
  const pins = values.length > 0 && faults.every(({ kind }) => kind === "dead");
  return { pinned: pins ? new Set([pcr]) : none, faults };
}

function faultsOf(value: string, base: string, key: string): readonly Fault[] {
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

function foreignKey(key: string): Fault {
  const isTpm = /^kms:recipientattestation:nitrotpmpcr/i.test(key);
  const reason = isTpm
    ? `${key} is of instances with a NitroTPM, not of enclaves`
    : `KMS has no condition key ${key}, so no request carries it`;
  return { kind: "dead", reason, remedy: "use kms:RecipientAttestation:ImageSha384 or :PCR0" };
}
