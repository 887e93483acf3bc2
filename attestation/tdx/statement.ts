import { z } from "zod";

import { MalformedError, fromHex, utf8Text } from "#protocol";

import { timeOf } from "../der-time.ts";

/** The largest statement: 256 KiB. Intel's TCB info of a platform with 13 levels has 40 KiB. */
export const STATEMENT_BYTES_MAX = 256 * 1024;

/** A statement of Intel's service taken out of its envelope: what was signed, and the signature. */
export interface Statement {
  /** JSON text of the inner object, as received; a view. */
  readonly body: Uint8Array;
  /** 64 bytes, r then s. */
  readonly signature: Uint8Array;
}

const SIGNATURE_DIGITS = 128;
const LEVELS_MAX = 64;
const ADVISORIES_MAX = 256;
const COMPONENTS = 16;

/**
 * Splits `{"<member>":<body>,"signature":"<128 hex digits>"}` without reading the body.
 *
 * The envelope has one form, byte for byte, as Intel's service and its caches write it, and white space at most after
 * it. So no member can be there twice: what stands between the two fixed texts is what was signed, and it is not
 * parsed before its signature is found good. Inside, only Intel could repeat a key, and `JSON.parse` takes the last.
 *
 * @param member - `tcbInfo` or `enclaveIdentity`.
 * @throws {@link MalformedError} TEE_COLLATERAL_MALFORMED
 * @see Intel SGX and TDX PCS API, version 4: Get TDX TCB Info, Get TDX QE Identity
 */
export function parseStatement(text: Uint8Array, member: string): Statement {
  if (text.length > STATEMENT_BYTES_MAX) {
    throw malformed(member, `at most ${STATEMENT_BYTES_MAX} bytes`, `${text.length}`);
  }
  const whole = Buffer.from(text).toString("latin1").trimEnd();
  const head = `{"${member}":`;
  const tailAt = whole.length - SIGNATURE_DIGITS - `,"signature":""}`.length;
  const match = /^,"signature":"([0-9a-fA-F]{128})"\}$/.exec(whole.slice(Math.max(0, tailAt)));
  const digits = match?.[1];
  if (!whole.startsWith(head) || tailAt < head.length || digits === undefined) {
    throw malformed(member, `{"${member}":...,"signature":"..."}`, "another text");
  }
  return { body: text.subarray(head.length, tailAt), signature: fromHex(digits) };
}

/**
 * Reads the body of a statement by `schema`.
 *
 * @throws {@link MalformedError} TEE_COLLATERAL_MALFORMED
 */
export function parseBody<T>(body: Uint8Array, schema: z.ZodType<T>, member: string): T {
  const parsed = schema.safeParse(parseJson(body, member));
  if (parsed.success) return parsed.data;
  throw malformed(member, "its fields", z.prettifyError(parsed.error));
}

function parseJson(body: Uint8Array, member: string): unknown {
  try {
    return JSON.parse(utf8Text(body));
  } catch (cause) {
    throw malformed(member, "JSON in UTF-8", "another text", cause);
  }
}

function malformed(member: string, expected: string, got: string, cause?: unknown): MalformedError {
  return new MalformedError(
    { code: "TEE_COLLATERAL_MALFORMED", subject: member },
    `${member}: expected ${expected}, got ${got}`,
    { cause },
  );
}

/** Hex of `bytes` bytes, either case; becomes lower case. */
const hexOf = (bytes: number) =>
  z
    .string()
    .length(2 * bytes)
    .regex(/^[0-9a-fA-F]*$/)
    .toLowerCase();

/** `2025-06-19T10:16:03Z` as milliseconds since 1970. Impossible dates are refused. */
const time = z
  .string()
  .regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$/)
  .transform((text, context) => {
    try {
      return timeOf(text.replaceAll(/\D/g, ""));
    } catch {
      context.addIssue("expected a possible date");
      return z.NEVER;
    }
  });
const advisoryIDs = z.array(z.string().min(1).max(64)).max(ADVISORIES_MAX).optional();
const svn = (max: number) => z.uint32().max(max);
/** One component of a TCB level; `category` and `type` are for people. */
interface Component {
  readonly svn: number;
}
const COMPONENT_KEYS: readonly string[] = ["svn", "category", "type"];

/** By hand: a statement has hundreds of components, and a schema for each takes longer than its signature. */
const components = z.custom<readonly Component[]>(
  (value) => Array.isArray(value) && value.length === COMPONENTS && value.every(isComponent),
  `expected ${COMPONENTS} components`,
);

function isComponent(value: unknown): value is Component {
  if (typeof value !== "object" || value === null || !("svn" in value)) return false;
  const { svn: number, ...names } = value;
  return (
    typeof number === "number" &&
    Number.isInteger(number) &&
    number >= 0 &&
    number <= 0xff &&
    Object.entries(names).every(
      ([key, name]) => COMPONENT_KEYS.includes(key) && typeof name === "string",
    )
  );
}

/** Statuses of TCB levels of a platform, and of what makes up a status (PCS API, TcbStatus). */
const STATUSES = [
  "UpToDate",
  "SWHardeningNeeded",
  "ConfigurationNeeded",
  "ConfigurationAndSWHardeningNeeded",
  "OutOfDate",
  "OutOfDateConfigurationNeeded",
  "Revoked",
] as const;

/** A level of an enclave or module: one SVN. */
const enclaveLevels = z
  .array(
    z.strictObject({
      tcb: z.strictObject({ isvsvn: svn(0xffff) }),
      tcbDate: time,
      tcbStatus: z.enum(["UpToDate", "OutOfDate", "Revoked"]),
      advisoryIDs,
    }),
  )
  .max(LEVELS_MAX);
const moduleIdentity = {
  mrsigner: hexOf(48),
  attributes: hexOf(8),
  attributesMask: hexOf(8),
};
const dated = {
  issueDate: time,
  nextUpdate: time,
  tcbEvaluationDataNumber: z.uint32(),
};

/** TCB info of a TDX platform, version 3. */
export const tcbInfoSchema = z.strictObject({
  id: z.literal("TDX"),
  version: z.literal(3),
  ...dated,
  fmspc: hexOf(6),
  pceId: hexOf(2),
  tcbType: z.literal(0),
  tdxModule: z.strictObject(moduleIdentity),
  tdxModuleIdentities: z
    .array(
      z.strictObject({
        id: z.string().regex(/^TDX_[0-9a-fA-F]{2}$/),
        ...moduleIdentity,
        tcbLevels: enclaveLevels,
      }),
    )
    .max(LEVELS_MAX)
    .optional(),
  tcbLevels: z
    .array(
      z.strictObject({
        tcb: z.strictObject({
          sgxtcbcomponents: components,
          pcesvn: svn(0xffff),
          tdxtcbcomponents: components,
        }),
        tcbDate: time,
        tcbStatus: z.enum(STATUSES),
        advisoryIDs,
      }),
    )
    .max(LEVELS_MAX),
});

/** See {@link tcbInfoSchema}. */
export type TcbInfo = z.infer<typeof tcbInfoSchema>;

/** Identity of the TD quoting enclave, version 2. */
export const qeIdentitySchema = z.strictObject({
  id: z.literal("TD_QE"),
  version: z.literal(2),
  ...dated,
  miscselect: hexOf(4),
  miscselectMask: hexOf(4),
  attributes: hexOf(16),
  attributesMask: hexOf(16),
  mrsigner: hexOf(32),
  isvprodid: svn(0xffff),
  tcbLevels: enclaveLevels,
});

/** See {@link qeIdentitySchema}. */
export type QeIdentity = z.infer<typeof qeIdentitySchema>;

/** A status that Intel gives a TCB level. */
export type ListedTcbStatus = (typeof STATUSES)[number];
