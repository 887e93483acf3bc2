import { existsSync } from "node:fs";
import { join, resolve } from "node:path";

import {
  featureMatrix,
  type Columns,
  type FeatureMatrix,
} from "../../../enclave/workloads/train/index.ts";
import { CENTRES, readHeartCentres } from "../../../sim/data/genuine.ts";
import { columnsOf } from "../../../sim/demo/accuracy.ts";
import { heartParameters } from "../../../sim/demo/genuine.ts";

const ROOT = join(import.meta.dirname, "../../..");
const SHARED = resolve(ROOT, process.env["SYMPHONY_SHARED"] ?? "../shared");

export { CENTRES };

/** Whether the data can be read; tests skip without it. */
export const heartDataPresent = existsSync(join(SHARED, "data/heart-disease/flamby_split.json"));

/** Public parameters of the heart-disease task; the digest names no graph. */
export const HEART_TRAIN_PARAMETERS = heartParameters(new Uint8Array(32));

/** Charge of the heart-disease task; a patient may be in any of the four Vaults. */
export const HEART_PRIVACY = { epsilonMicro: 8_000_000, deltaPico: 1_000_000, vaultsPerSubject: 4 };

/** One hospital's rows as columns, split as published; `subjects` names each row's patient. */
export interface CentreData {
  readonly train: Columns;
  readonly test: Columns;
  readonly subjects: readonly string[];
}

/** Reads every hospital; call only when {@link heartDataPresent}. */
export function readHeartData(): readonly CentreData[] {
  return readHeartCentres(SHARED).map(({ csv, testCsv }) => {
    const train = columnsOf(csv);
    const subjects = (train.get("patient_id") ?? []).map(String);
    return { train, test: columnsOf(testCsv), subjects };
  });
}

/** Inputs and labels of one hospital's rows. */
export function heartMatrix(columns: Columns): FeatureMatrix {
  const { features, label } = HEART_TRAIN_PARAMETERS;
  const labels = columns.get(label.attribute) ?? [];
  return featureMatrix(columns, { features, labels, positive: label.positive });
}
