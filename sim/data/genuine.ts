import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

import { LimitError, MalformedError } from "#protocol";
import { z } from "zod";

import type { CompanyData } from "./companies.ts";
import { csvOf, decimalText } from "./csv.ts";

/** One hospital of the heart disease data: rows to train on and the held-out rows, both as CSV. */
export interface HeartCentre extends CompanyData {
  readonly testCsv: string;
}

/** One genuine receipt: where its scan is, and what people read on it. */
export interface GenuineReceipt {
  readonly id: string;
  /** JPEG file. */
  readonly imagePath: string;
  readonly company: string;
  /** `YYYY-MM-DD`. */
  readonly date: string;
  /** Integer minor units, scale 2. */
  readonly total: number;
}

/** The largest file read of a genuine set; the bank's table has 4.6 MB. */
const FILE_BYTES_MAX = 16 * 1024 * 1024;

/** Hospitals in FLamby's order. */
export const CENTRES = ["cleveland", "hungarian", "switzerland", "va"] as const;

const rowsSchema = z.array(z.int().min(0)).max(1_000);
const splitSchema = z.object({
  centers: z.record(
    z.enum(CENTRES),
    z.object({ kept_rows: rowsSchema, train: rowsSchema, test: rowsSchema }),
  ),
});

/** Columns of the heart disease tables; `cp_2` to `restecg_2` are indicators of `cp` and `restecg`. */
export const HEART_COLUMNS = [
  "patient_id",
  "age",
  "sex",
  "cp",
  "trestbps",
  "chol",
  "fbs",
  "restecg",
  "thalach",
  "exang",
  "oldpeak",
  "cp_2",
  "cp_3",
  "cp_4",
  "restecg_1",
  "restecg_2",
  "disease",
] as const;

/** The 13 columns FLamby trains on: eight measured, five indicators. */
export const HEART_FEATURES = HEART_COLUMNS.filter(
  (name) => !["patient_id", "cp", "restecg", "disease"].includes(name),
);

/** Columns of the bank's tables. `email` is a made-up key, `y` is 1 for *yes*. */
export const BANK_COLUMNS = [
  "customer_id",
  "email",
  "age",
  "job",
  "marital",
  "balance",
  "contact",
  "housing",
  "loan",
  "y",
] as const;

/** Vaults the bank's clients are dealt out to, by row number modulo three. */
const BANK_VAULTS = ["bank-north", "bank-centre", "bank-south"] as const;

/**
 * The UCI heart disease data of four hospitals with FLamby's published split.
 *
 * As FLamby: the first ten of 13 attributes, rows with a missing one left out, `disease` = num > 0.
 * All columns are integers, but `oldpeak`, a decimal of scale 1. No patient is in two hospitals.
 *
 * @param shared - Folder holding `data/heart-disease` or `heart-disease`.
 * @throws {@link MalformedError} SCHEMA_ROW_MALFORMED, SCHEMA_JSON_MALFORMED
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 * @see FLamby, fed_heart_disease/dataset.py @edacf54d
 */
export function readHeartCentres(shared: string): HeartCentre[] {
  const folder = setFolder(shared, "heart-disease");
  const { centers } = parseJson(join(folder, "flamby_split.json"), splitSchema);
  return CENTRES.map((centre) => {
    const split = centers[centre];
    const lines = readText(join(folder, `processed.${centre}.data`)).split(/\r?\n/);
    const table = (indexes: readonly number[]): string =>
      csvOf(
        HEART_COLUMNS,
        indexes.map((index) => heartRow(centre, index, lines[index] ?? "")),
      );
    return {
      vaultName: `hospital-${centre}`,
      csv: table(split.train),
      testCsv: table(split.test),
    };
  });
}

function heartRow(centre: string, index: number, line: string): string[] {
  const cells = line.split(",");
  const label = cells[13];
  const features = cells.slice(0, 10).map((cell, column) => scaled(cell, column === 9 ? 1 : 0));
  if (cells.length !== 14 || label === undefined || features.includes(undefined)) {
    throw new MalformedError(
      { code: "SCHEMA_ROW_MALFORMED", centre, index },
      `heart disease ${centre} row ${index}: expected 14 cells, ten of them numbers, got ${cells.length}`,
    );
  }
  const values = features.map((value) => value ?? 0);
  const is = (column: number, value: number): string => (values[column] === value ? "1" : "0");
  return [
    `${centre}-${index}`,
    ...values.map((value, column) => decimalText(value, column === 9 ? 1 : 0)),
    is(2, 2),
    is(2, 3),
    is(2, 4),
    is(6, 1),
    is(6, 2),
    Number(label) > 0 ? "1" : "0",
  ];
}

/** The integer `cell` times 10^`scale`, or nothing when it is no such number. */
function scaled(cell: string, scale: number): number | undefined {
  const value = Number(cell) * 10 ** scale;
  const whole = Math.round(value);
  return cell.trim() !== "" && Math.abs(value - whole) < 1e-6 ? whole : undefined;
}

/**
 * The UCI bank marketing data (45 211 clients), dealt out to three Vaults by row number modulo three.
 *
 * @param shared - Folder holding `data/bank-marketing` or `bank-marketing`.
 * @throws {@link MalformedError} SCHEMA_ROW_MALFORMED
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 */
export function readBankVaults(shared: string): CompanyData[] {
  const text = readText(join(setFolder(shared, "bank-marketing"), "bank-full.uci-layout.csv"));
  const [heading, ...lines] = text.trimEnd().split(/\r?\n/);
  const names = (heading ?? "").split(";").map(unquoted);
  const rows = lines.map((line, index) => bankRow(names, line.split(";").map(unquoted), index));
  return BANK_VAULTS.map((vaultName, vault) => ({
    vaultName,
    csv: csvOf(
      BANK_COLUMNS,
      rows.filter((_, index) => index % BANK_VAULTS.length === vault),
    ),
  }));
}

function bankRow(names: readonly string[], cells: readonly string[], index: number): string[] {
  const kept = BANK_COLUMNS.slice(2).map((name) => cells[names.indexOf(name)]);
  if (cells.length !== names.length || kept.includes(undefined)) {
    throw new MalformedError(
      { code: "SCHEMA_ROW_MALFORMED", index },
      `bank marketing row ${index}: expected ${names.length} cells, got ${cells.length}`,
    );
  }
  const [y, ...others] = kept.map((cell) => cell ?? "").reverse();
  const id = `b${index}`;
  return [id, `${id}@example.org`, ...others.reverse(), y === "yes" ? "1" : "0"];
}

function unquoted(cell: string): string {
  return cell.replace(/^"(.*)"$/, "$1");
}

const keySchema = z.object({ company: z.string(), date: z.string(), total: z.string() });

/**
 * The genuine receipts of ICDAR 2019 SROIE that are present, in the order of their numbers.
 *
 * @param shared - Folder holding `data/sroie-mini` or `sroie-mini`.
 * @throws {@link MalformedError} SCHEMA_JSON_MALFORMED
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 */
export function readSroieReceipts(shared: string): GenuineReceipt[] {
  const folder = setFolder(shared, "sroie-mini");
  return readdirSync(join(folder, "key"))
    .filter((name) => /^[0-9]{3}\.json$/.test(name))
    .sort()
    .map((name) => {
      const id = name.slice(0, 3);
      const { company, date, total } = parseJson(join(folder, "key", name), keySchema);
      return {
        id,
        imagePath: join(folder, "img", `${id}.jpg`),
        company,
        date: isoOfKey(date),
        total: Math.round(Number(total.replace(/[^0-9.]/g, "")) * 100),
      };
    });
}

/** The genuine sets that are read here, by folder. */
const GENUINE_SETS = ["heart-disease", "bank-marketing", "sroie-mini"] as const;

/** Whether the three genuine sets are in `shared` or in its folder `data`. */
export function hasGenuineData(shared: string): boolean {
  return missingGenuineSets(shared).length === 0;
}

/** The names of the genuine sets that are neither in `shared` nor in its folder `data`. */
export function missingGenuineSets(shared: string): string[] {
  return GENUINE_SETS.filter((set) => !existsSync(setFolder(shared, set)));
}

/** Sets lie in `data` of the shared folder; that folder itself may be named too. */
function setFolder(shared: string, set: (typeof GENUINE_SETS)[number]): string {
  const direct = join(shared, set);
  return existsSync(direct) ? direct : join(shared, "data", set);
}

const MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split(" ");

/** Dates of the keys are day first, with digits or an English month, and two or four digits of year. */
function isoOfKey(date: string): string {
  const [day = "", month = "", year = ""] = date.split(/[/ -]+/);
  const named = MONTHS.indexOf(month.slice(0, 3).toUpperCase()) + 1;
  const number = named > 0 ? String(named) : month;
  return `${year.length === 2 ? `20${year}` : year}-${number.padStart(2, "0")}-${day.padStart(2, "0")}`;
}

function parseJson<T extends z.ZodType>(path: string, schema: T): z.output<T> {
  try {
    return schema.parse(JSON.parse(readText(path)));
  } catch (cause) {
    if (cause instanceof LimitError) throw cause;
    throw new MalformedError(
      { code: "SCHEMA_JSON_MALFORMED", path },
      `${path}: expected JSON of the documented shape`,
      { cause },
    );
  }
}

function readText(path: string): string {
  const { size } = statSync(path);
  if (size > FILE_BYTES_MAX) {
    throw new LimitError(
      { code: "SCHEMA_TOO_LARGE", bytes: size, maxBytes: FILE_BYTES_MAX },
      `${path}: expected at most ${FILE_BYTES_MAX} bytes, got ${size}`,
    );
  }
  return readFileSync(path, "utf8");
}
