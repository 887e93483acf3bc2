import {
  parseBody,
  parseStatement,
  qeIdentitySchema,
  tcbInfoSchema,
} from "../../../attestation/tdx/statement.ts";
import { concat, utf8 } from "../../../protocol/index.ts";
import { changeJson, type Json } from "../json-tree.ts";
import { mutate } from "../mutate.ts";
import { accepting, type Target } from "../target.ts";

interface Members {
  readonly [name: string]: Json;
}

const LEVEL = {
  tcb: { isvsvn: 4 },
  tcbDate: "2025-01-01T00:00:00Z",
  tcbStatus: "UpToDate",
  advisoryIDs: ["INTEL-SA-00837"],
};
const DATED = {
  issueDate: "2025-06-19T10:16:03Z",
  nextUpdate: "2025-07-19T10:16:03Z",
  tcbEvaluationDataNumber: 17,
};
const MODULE = {
  mrsigner: "00".repeat(48),
  attributes: "00".repeat(8),
  attributesMask: "ff".repeat(8),
};
const COMPONENTS = Array.from({ length: 16 }, () => ({ svn: 2, category: "BIOS", type: "early" }));
const TCB_INFO = {
  id: "TDX",
  version: 3,
  ...DATED,
  fmspc: "50806f000000",
  pceId: "0000",
  tcbType: 0,
  tdxModule: MODULE,
  tdxModuleIdentities: [{ id: "TDX_03", ...MODULE, tcbLevels: [LEVEL] }],
  tcbLevels: [
    {
      tcb: { sgxtcbcomponents: COMPONENTS, pcesvn: 13, tdxtcbcomponents: COMPONENTS },
      tcbDate: "2025-01-01T00:00:00Z",
      tcbStatus: "UpToDate",
    },
  ],
};
const QE_IDENTITY = {
  id: "TD_QE",
  version: 2,
  ...DATED,
  miscselect: "00000000",
  miscselectMask: "ffffffff",
  attributes: "11".repeat(16),
  attributesMask: "fb".repeat(16),
  mrsigner: "dc".repeat(32),
  isvprodid: 2,
  tcbLevels: [LEVEL],
};

/** Statements of Intel's service: envelope, then the body as though its signature were good. */
export const statements: readonly Target[] = [
  statementTarget("tcb-info", { member: "tcbInfo", plain: TCB_INFO, schema: tcbInfoSchema }),
  statementTarget("qe-identity", {
    member: "enclaveIdentity",
    plain: QE_IDENTITY,
    schema: qeIdentitySchema,
  }),
];

function statementTarget(
  name: string,
  {
    member,
    plain,
    schema,
  }: { member: string; plain: Members; schema: Parameters<typeof parseBody>[1] },
): Target {
  return {
    name,
    bytesMax: 256 * 1024,
    codes: ["TEE_COLLATERAL_MALFORMED"],
    stages: [
      { name: "envelope", functions: ["parseStatement"] },
      { name: "json", functions: ["parseJson"] },
      { name: "fields", functions: ["parseBody"] },
    ],
    steps: { perByte: 16, fixed: 10_000 },
    allocation: { perByte: 1024, fixed: 128 * 1024 },
    shortInputs: 3000,
    open: () => ({
      generate: (random) => {
        const body = utf8(JSON.stringify(changeJson(random, plain)));
        if (random.once(8)) return mutate(random, statement(member, body));
        return statement(member, random.once(8) ? mutate(random, body) : body);
      },
      run: accepting((input) => parseBody(parseStatement(input, member).body, schema, member)),
      grown: {
        "arrays in arrays": (bytes) => statement(member, new Uint8Array(bytes).fill(0x5b)),
        "unknown members": (bytes) =>
          statement(member, utf8(`{${repeated(bytes, (at) => `"k${at}":0`)}}`)),
        "levels that are none": (bytes) => {
          const tcbLevels = Array.from({ length: Math.ceil(bytes / 3) }, () => ({}));
          return statement(member, utf8(JSON.stringify({ ...plain, tcbLevels })));
        },
        "levels with a fault each": (bytes) => {
          const level = { ...LEVEL, unknown: 0 };
          const tcbLevels = Array.from({ length: Math.ceil(bytes / 120) }, () => level);
          return statement(member, utf8(JSON.stringify({ ...plain, tcbLevels })));
        },
        "white space": (bytes) =>
          concat(statement(member, utf8("{}")), new Uint8Array(bytes).fill(0x20)),
      },
    }),
  };
}

function repeated(bytes: number, item: (at: number) => string): string {
  const items: string[] = [];
  for (let length = 0; length < bytes;) {
    const text = item(items.length);
    items.push(text);
    length += text.length + 1;
  }
  return items.join(",");
}

function statement(member: string, body: Uint8Array): Uint8Array {
  return concat(utf8(`{"${member}":`), body, utf8(`,"signature":"${"ab".repeat(64)}"}`));
}
