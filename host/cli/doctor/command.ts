import { parseArgs } from "node:util";

import { EXIT, UsageError, type CliIo } from "#cli";

import { ROLES, type Check, type Finding, type Role } from "./findings.ts";
import { ANY_CHECKS, SIMULATOR_CHECKS, SNP_CHECKS, TDX_CHECKS } from "./host.ts";
import { thisMachine, type Machine } from "./machine.ts";
import { INSIDE_ENCLAVE_CHECKS, NITRO_PARENT_CHECKS } from "./nitro.ts";
import { vaultFindings } from "./vault.ts";

export const DOCTOR_HELP = `symphony doctor [--role ROLE] [--vault DIR] [--node CONFIG [--image FILE]] [--json]

Says what this machine can be in a network, what it lacks, and what to do about it. Changes nothing, prints no
secrets, and asks nobody but the Vault and the enclave named. Exits 1 when something is missing that every part needs or,
with --role, --vault or --node, that this role, Vault or node needs.

  --role ROLE   only simulator, nitro-parent, inside-enclave, snp-guest or tdx-guest, and what every part needs
  --vault DIR   the running Vault whose folder this is: whether it may work, what keeps it, and its backups
  --node CONFIG the enclave of a Vault or aggregator of this configuration: starts one, has it attest itself, and ends it
  --image FILE  with --node: the image that must run (EIF), or what nitro-cli printed of it; else the genesis says
  --json        one JSON object instead of lines
`;

const CHECKS: Readonly<Record<(typeof ROLES)[number], readonly Check[]>> = {
  any: ANY_CHECKS,
  simulator: SIMULATOR_CHECKS,
  "nitro-parent": NITRO_PARENT_CHECKS,
  "inside-enclave": INSIDE_ENCLAVE_CHECKS,
  "snp-guest": SNP_CHECKS,
  "tdx-guest": TDX_CHECKS,
};
const TITLES: Readonly<Record<Role, string>> = {
  any: "every part",
  simulator: "simulator",
  "nitro-parent": "nitro parent (an EC2 instance that starts enclaves)",
  "inside-enclave": "inside an enclave",
  "snp-guest": "snp guest",
  "tdx-guest": "tdx guest",
  vault: "vault",
  node: "node",
};
const MARKS = { ok: "✓", warning: "!", missing: "✗" } as const;

/** `symphony doctor`. @returns the exit code */
export async function runDoctor(
  argv: readonly string[],
  io: CliIo,
  machine: Machine = thisMachine(),
): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      role: { type: "string" },
      vault: { type: "string" },
      node: { type: "string" },
      image: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  const named = rolesOf(values.role);
  const machineRoles = values.role === undefined ? ROLES : named;
  const asked = await askRunning(values, machine.nowMs);
  const shown = [...machineRoles, ...asked.map(({ role }) => role)];
  const needed = [...named, ...asked.map(({ role }) => role)];
  const findings = [
    ...machineRoles.flatMap((role) => CHECKS[role].map((check) => check(machine))),
    ...asked.flatMap((each) => each.findings),
  ];
  const isMissing = (role: Role): boolean =>
    findings.some((finding) => finding.role === role && finding.state === "missing");
  const ok = !needed.some(isMissing);
  const roles = shown.map((role) => ({ role, ready: !isMissing(role) && !isMissing("any") }));
  io.stdout(values.json ? `${JSON.stringify({ ok, roles, findings })}\n` : format(shown, findings));
  return ok ? EXIT.ok : EXIT.refused;
}

/** What those say of themselves whom the words name. */
async function askRunning(
  words: { readonly vault?: string; readonly node?: string; readonly image?: string },
  nowMs: number,
): Promise<readonly { readonly role: Role; readonly findings: readonly Finding[] }[]> {
  const { vault, node, image = null } = words;
  if (image !== null && node === undefined) {
    throw new UsageError("--image: expected --node CONFIG with it, got none");
  }
  const asked: { readonly role: Role; readonly findings: readonly Finding[] }[] = [];
  if (vault !== undefined) {
    asked.push({ role: "vault", findings: await vaultFindings(vault, nowMs) });
  }
  if (node !== undefined) {
    // Most of the doctor's questions need nothing of what talks to enclaves.
    const { enclaveFindings } = await import("./enclave.ts");
    const question = { configFile: node, imageFile: image, nowMs: Date.now };
    asked.push({ role: "node", findings: await enclaveFindings(question) });
  }
  return asked;
}

function rolesOf(name: string | undefined): readonly (typeof ROLES)[number][] {
  if (name === undefined) return ["any"];
  const role = ROLES.find((each) => each === name && each !== "any");
  if (role !== undefined) return ["any", role];
  throw new UsageError(`--role: expected one of ${ROLES.slice(1).join(", ")}, got ${name}`);
}

function format(roles: readonly Role[], findings: readonly Finding[]): string {
  const lines = roles.flatMap((role) => [
    TITLES[role],
    ...findings.filter((finding) => finding.role === role).flatMap(formatFinding),
  ]);
  return lines.map((line) => `${line}\n`).join("");
}

function formatFinding({ check, state, detail, remedy }: Finding): readonly string[] {
  const line = `  ${MARKS[state]} ${check}: ${detail}`;
  return remedy === null ? [line] : [line, `      remedy: ${remedy}`];
}
