import type { SnpBase } from "./f-bases.ts";
import { MILAN, TURIN, nested, withSnp, without, type Json, type SnpCase } from "./f-case.ts";

const EMPTY = { stage: "appraise", code: "TEE_POLICY_EMPTY" } as const;
const MALFORMED = { stage: "appraise", code: "SCHEMA_CONFIG_MALFORMED" } as const;

/** Policies that say nothing somewhere, or nothing that can be met. */
export function expectationCases(): readonly SnpCase[] {
  return [...emptyCases(), ...malformedCases()];
}

function emptyCases(): readonly SnpCase[] {
  const empty = { unchecked: "" };
  const none = { anyOf: [] };
  const policy = (title: string, snp: Readonly<Record<string, Json>>, check: string): SnpCase => ({
    ...withSnp(title, MILAN, snp),
    ...EMPTY,
    check,
  });
  return [
    {
      ...policy(
        "no product line accepted",
        { productLines: { Milan: null, Genoa: null, Turin: null } },
        "",
      ),
      check: null,
    },
    policy(
      "no reason why any TCB",
      { productLines: { Milan: empty, Genoa: null, Turin: null } },
      "snp-minimum-reason",
    ),
    policy("no reason why any firmware", { firmware: empty }, "snp-minimum-reason"),
    policy("no reason why any ABI", { abi: empty }, "snp-minimum-reason"),
    policy("no reason why any guest SVN", { guestSvn: empty }, "snp-minimum-reason"),
    policy(
      "no reason why any SMT",
      { guestPolicy: nested(MILAN, "guestPolicy", { smtAllowed: empty }) },
      "snp-expected-guest-policy",
    ),
    policy(
      "no reason why any alias check",
      { platformInfo: nested(MILAN, "platformInfo", { aliasCheckComplete: empty }) },
      "snp-expected-platform-info",
    ),
    policy("no reason why any signing key", { signingKey: empty }, "snp-expected-signing-key"),
    policy("no reason why any cloud provider", { cspId: empty }, "snp-expected-csp-id"),
    policy(
      "no cloud provider accepted, which a VCEK has not",
      { cspId: none },
      "snp-expected-csp-id",
    ),
    policy("no reason why any privilege level", { vmpl: empty }, "snp-expected-vmpl"),
    policy("no reason why any chip key", { chipKeyMasked: empty }, "snp-expected-chip-key"),
    policy("no reason why any chip id", { chipIdMasked: empty }, "snp-expected-chip-id"),
    ...["familyId", "imageId", "hostData", "idKeyDigest", "authorKeyDigest", "reportData"].map(
      (field) => policy(`no reason why any ${field}`, { [field]: empty }, "snp-expected-bytes"),
    ),
  ];
}

function malformedCases(): readonly SnpCase[] {
  const wrong = (
    title: string,
    base: SnpBase,
    snp: Readonly<Record<string, Json>>,
    check: string | null,
  ): SnpCase => ({
    ...withSnp(title, base, snp),
    ...MALFORMED,
    check,
  });
  const levels = { bootloader: 4, tee: 1, snp: 22, microcode: 213 };
  const halves = (base: SnpBase, fmc: number | null): readonly SnpCase[] =>
    Object.keys({ ...(fmc === null ? {} : { fmc }), ...levels }).map((component) =>
      wrong(
        `half a level of ${component}, ${base.line}`,
        base,
        {
          productLines: nested(base, "productLines", {
            [base.line]: { atLeast: { fmc, ...levels, [component]: 0.5 } },
          }),
        },
        "snp-minimum-form",
      ),
    );
  return [
    wrong(
      "a minimum FMC for Milan, which has none",
      MILAN,
      { productLines: { Milan: { atLeast: { fmc: 0, ...levels } }, Genoa: null, Turin: null } },
      "snp-fmc-form",
    ),
    wrong(
      "no minimum FMC for Turin",
      TURIN,
      { productLines: { Milan: null, Genoa: null, Turin: { atLeast: { fmc: null, ...levels } } } },
      "snp-fmc-form",
    ),
    wrong(
      "a minimum in two forms",
      MILAN,
      { firmware: { atLeast: { major: 2, minor: 0, build: 0 }, unchecked: "and any" } },
      "snp-minimum-one-form",
    ),
    wrong(
      "no word of SMT",
      MILAN,
      { guestPolicy: without(MILAN, "guestPolicy", "smtAllowed") },
      null,
    ),
    wrong(
      "no word of the alias check",
      MILAN,
      { platformInfo: without(MILAN, "platformInfo", "aliasCheckComplete") },
      null,
    ),
    wrong(
      "no word of Turin",
      MILAN,
      { productLines: without(MILAN, "productLines", "Turin") },
      null,
    ),
    ...halves(MILAN, null),
    ...halves(TURIN, 1),
    ...["major", "minor", "build"].map((part) =>
      wrong(
        `half a ${part} of firmware`,
        MILAN,
        { firmware: { atLeast: { major: 1, minor: 0, build: 0, [part]: 0.5 } } },
        "snp-minimum-form",
      ),
    ),
    ...["major", "minor"].map((part) =>
      wrong(
        `half a ${part} of the ABI`,
        MILAN,
        { abi: { atLeast: { major: 31, minor: 0, [part]: 0.5 } } },
        "snp-minimum-form",
      ),
    ),
    wrong("a minimum below zero", MILAN, { guestSvn: { atLeast: -1 } }, "snp-minimum-form"),
  ];
}
