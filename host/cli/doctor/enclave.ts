import { randomBytes } from "node:crypto";

import {
  appraiseSession,
  parseNitroDocument,
  type AttestationReport,
  type NitroMeasurement,
} from "#attestation";
import { SymphonyError, genesisState, hex, type GovernanceState } from "#protocol";

import { createSocketLauncher } from "../../adapters/enclave-socket.ts";
import { EnclaveClient } from "../../execution/index.ts";
import { readConfig, enclaveConfigSchema, type EnclaveConfig } from "../../run/config.ts";
import { readFooting, type Footing } from "../../run/files.ts";
import { measureImageFile } from "../attest/image.ts";
import { ok, wanting, type Finding } from "./findings.ts";

/** What the doctor asks a node's enclave for. */
export interface EnclaveQuestion {
  /** The configuration of the Vault or aggregator. */
  readonly configFile: string;
  /** The enclave image that must run, or what nitro-cli printed of it; null to go by the genesis. */
  readonly imageFile: string | null;
  /** Unix milliseconds. */
  readonly nowMs: () => number;
}

const role = "node";
const BOOT_MS_MAX = 30_000;
const ATTEST_MS_MAX = 10_000;

/**
 * Whether the enclave that a node would be given answers, is genuine, and is of the right image. It is started, attested
 * and ended; it is told the genesis and nothing else.
 *
 * @throws as `readConfig`, `readFooting` and `measureImageFile`; an enclave that is not as it should be is a finding.
 */
export async function enclaveFindings(question: EnclaveQuestion): Promise<readonly Finding[]> {
  const { configFile, imageFile, nowMs } = question;
  const config = await readConfig(configFile, enclaveConfigSchema);
  const footing = await readFooting(config);
  const expected = imageFile === null ? null : await measureImageFile(imageFile, "ignored");
  try {
    const session = await attestedSession(config, footing);
    const report = appraise(session, { footing, nowMs: nowMs() });
    const measurement = measurementOf(session.evidence);
    return [
      ok(role, "enclave", `answers at ${config.enclave.socket}`),
      ok(
        role,
        "evidence",
        `${report.platform}, ${report.enclave_identity}, verified by the trust file`,
      ),
      expected === null
        ? judgeByGenesis(measurement, footing)
        : judgeByImage(measurement, expected),
    ];
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    return [failed(error)];
  }
}

type Session = Pick<Parameters<typeof appraiseSession>[0], "evidence" | "manifest" | "nonce">;

async function attestedSession(
  { enclave }: EnclaveConfig,
  { genesisBytes }: Footing,
): Promise<Session> {
  const client = new EnclaveClient(await createSocketLauncher(enclave.socket).launch("slice"));
  try {
    const { manifest } = await client.boot("slice", genesisBytes, BOOT_MS_MAX);
    const nonce = new Uint8Array(randomBytes(32));
    return { manifest, nonce, evidence: await client.attest(nonce, ATTEST_MS_MAX) };
  } finally {
    await client.close();
  }
}

/** Everything but which image it is: that is told of by itself. */
function appraise(
  session: Session,
  { footing, nowMs }: { readonly footing: Footing; readonly nowMs: number },
): AttestationReport {
  const state = genesisState(footing.genesisBytes);
  const value = { ...measurementOf(session.evidence), valid_from_ms: 0, valid_until_ms: nowMs + 1 };
  const attestation = { ...state.policy.attestation, reference_values: [value] };
  const governance: GovernanceState = { ...state, policy: { ...state.policy, attestation } };
  const { anchors } = footing.trust;
  return appraiseSession({
    ...session,
    role: "slice",
    governance,
    anchors,
    at: { mode: "live", nowMs },
  });
}

function measurementOf(evidence: Uint8Array): NitroMeasurement {
  const { pcrs } = parseNitroDocument(evidence);
  const [pcr0 = "", pcr1 = "", pcr2 = ""] = [0, 1, 2].map((at) =>
    hex(pcrs.get(at) ?? new Uint8Array(0)),
  );
  return { pcr0, pcr1, pcr2 };
}

const REGISTERS = ["pcr0", "pcr1", "pcr2"] as const;

function judgeByImage(got: NitroMeasurement, expected: NitroMeasurement): Finding {
  const check = "image";
  const other = REGISTERS.filter((name) => got[name] !== expected[name]);
  if (other.length === 0) return ok(role, check, `of this measurement: PCR0 ${got.pcr0}`);
  return wanting("missing", {
    ...{ role, check },
    detail: other.map((name) => `${name}: expected ${expected[name]}, got ${got[name]}`).join("; "),
    remedy: "end the enclave that runs and start the image named",
  });
}

function judgeByGenesis(got: NitroMeasurement, { genesis }: Footing): Finding {
  const check = "image";
  const named = genesis.policy.attestation.reference_values.some((value) =>
    REGISTERS.every((name) => value[name] === got[name]),
  );
  if (named) return ok(role, check, `a reference value of the genesis: PCR0 ${got.pcr0}`);
  return wanting("warning", {
    ...{ role, check },
    detail: `no reference value of the genesis: PCR0 ${got.pcr0}`,
    remedy: "a later policy version may name it; --image FILE compares with an image",
  });
}

function failed({ code, message }: SymphonyError): Finding {
  const remedies: Readonly<Partial<Record<string, string>>> = {
    TEE_ENCLAVE_DIED:
      "start the enclave and what carries its port to that socket; docs/deploy-ec2.md",
    TEE_CHAIN_UNTRUSTED: "run an image whose hardware the trust file names",
    TEE_DEBUG_REFUSED: "start the enclave without --debug-mode: in it all registers are zeros",
  };
  return wanting("missing", {
    ...{ role, check: "enclave", detail: `${code}: ${message}` },
    remedy: remedies[code] ?? "see docs/errors.md",
  });
}
