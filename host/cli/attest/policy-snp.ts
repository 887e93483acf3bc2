import { z } from "zod";

import { expected, hexBytes, minimum, policyText, whole } from "./expected.ts";

const flag = z.boolean({ error: "expected true or false" });
const level = whole.max(255, { error: "expected a whole number below 256" });
const expectedFlag = expected(flag);

const tcb = z.strictObject({
  /** A number for Turin and null for the others. */
  fmc: level.nullable(),
  bootloader: level,
  tee: level,
  snp: level,
  microcode: level,
});
const productLine = minimum(tcb).nullable();

/** The `snp` section of a policy file: `SnpExpectations` field by field. */
export const snpSection = z.strictObject({
  productLines: z.strictObject({ Milan: productLine, Genoa: productLine, Turin: productLine }),
  firmware: minimum(z.strictObject({ major: level, minor: level, build: level })),
  abi: minimum(z.strictObject({ major: level, minor: level })),
  guestSvn: minimum(whole),
  guestPolicy: z.strictObject({
    smtAllowed: expectedFlag,
    migrationAgentAllowed: expectedFlag,
    singleSocketRequired: expectedFlag,
    cxlAllowed: expectedFlag,
    aes256XtsRequired: expectedFlag,
    raplDisableRequired: expectedFlag,
    ciphertextHidingRequired: expectedFlag,
    pageSwapDisabled: expectedFlag,
  }),
  platformInfo: z.strictObject({
    smtEnabled: expectedFlag,
    tsmeEnabled: expectedFlag,
    eccEnabled: expectedFlag,
    raplDisabled: expectedFlag,
    ciphertextHidingEnabled: expectedFlag,
    aliasCheckComplete: expectedFlag,
    iommuWriteSafe: expectedFlag,
    tioEnabled: expectedFlag,
  }),
  signingKey: expected(z.enum(["VCEK", "VLEK"])),
  cspId: expected(policyText),
  vmpl: expected(whole.max(3, { error: "expected 0 to 3" })),
  chipKeyMasked: expectedFlag,
  chipIdMasked: expectedFlag,
  familyId: expected(hexBytes),
  imageId: expected(hexBytes),
  hostData: expected(hexBytes),
  idKeyDigest: expected(hexBytes),
  authorKeyDigest: expected(hexBytes),
  reportData: expected(hexBytes),
});
