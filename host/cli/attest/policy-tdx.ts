import { z } from "zod";

import { expected, hexBytes, hexText, minimum, register, whole } from "./expected.ts";

const expectedFlag = expected(z.boolean({ error: "expected true or false" }));

/** The `tdx` section of a policy file: `TdxExpectations` field by field. */
export const tdxSection = z.strictObject({
  tcbStatuses: z
    .array(
      z.enum([
        "UpToDate",
        "SWHardeningNeeded",
        "ConfigurationNeeded",
        "ConfigurationAndSWHardeningNeeded",
        "OutOfDate",
        "OutOfDateConfigurationNeeded",
      ]),
    )
    .min(1, { error: "expected at least one status" }),
  tcbEvaluationDataNumber: minimum(whole),
  attributes: z.strictObject({
    lass: expectedFlag,
    septVeDisable: expectedFlag,
    migratable: expectedFlag,
    pks: expectedFlag,
    keyLocker: expectedFlag,
    tpa: expectedFlag,
    perfmon: expectedFlag,
  }),
  xfam: expected(hexText("16 lower-case hex digits", { min: 8, max: 8 })),
  mrSeam: expected(register),
  mrConfigId: expected(register),
  mrOwner: expected(register),
  mrOwnerConfig: expected(register),
  mrServiceTd: expected(register),
  reportData: expected(hexBytes),
});
