import { existsSync } from "node:fs";
import path from "node:path";

import { describe, expect, test } from "vitest";

import { hex, sha256, utf8 } from "#protocol";
import {
  csvOf,
  DataStream,
  decimalText,
  DEMO_COLUMNS,
  DEMO_CUSTOMERS,
  generateDemoCompanies,
  generateDemoReceipts,
  hasGenuineData,
  HEART_COLUMNS,
  HEART_FEATURES,
  readBankVaults,
  readHeartCentres,
  readSroieReceipts,
  renderReceipt,
} from "../../sim/data/index.ts";

const SHARED = path.resolve(process.env["SYMPHONY_SHARED"] ?? "../shared");
const PRESENT = existsSync(SHARED) && hasGenuineData(SHARED);

/** Rows of CSV text without quoted cells, by column name. */
function rowsOf(csv: string): Record<string, string>[] {
  const [heading = "", ...lines] = csv.trimEnd().split("\n");
  const names = heading.split(",");
  return lines.map((line) => {
    const cells = line.split(",");
    expect(cells).toHaveLength(names.length);
    return Object.fromEntries(names.map((name, index) => [name, cells[index] ?? ""]));
  });
}

describe("the demo's companies", () => {
  const companies = generateDemoCompanies();
  const tables = companies.map(({ csv }) => rowsOf(csv));

  test("are three, with 1 200 customers each, the same on every call", () => {
    expect(new Set(companies.map(({ vaultName }) => vaultName)).size).toBe(3);
    expect(tables.map((rows) => rows.length)).toEqual([1, 1, 1].map(() => DEMO_CUSTOMERS));
    expect(generateDemoCompanies()).toEqual(companies);
    // Whoever changes the generator changes every demo result: bump the label in sim/data/stream.ts.
    const text = companies.map(({ csv }) => csv).join("");
    expect(hex(sha256(utf8(text))).slice(0, 16)).toBe("3226dab92e4b6702");
  });

  test("share about 40 % of their customers with another, who are the same person there", () => {
    const seen = new Map<string, string[]>();
    for (const row of tables.flat()) {
      const person = [row["email"], row["age"], row["city"]].join();
      seen.set(row["customer_id"] ?? "", [...(seen.get(row["customer_id"] ?? "") ?? []), person]);
    }
    expect([...seen.values()].every((persons) => new Set(persons).size === 1)).toBe(true);
    const shares = tables.map(
      (rows) => rows.filter((row) => (seen.get(row["customer_id"] ?? "")?.length ?? 0) > 1).length,
    );
    expect(shares.map((count) => count / DEMO_CUSTOMERS)).toEqual([0.4, 0.4, 0.4]);
    expect(tables.every((rows) => new Set(rows.map((row) => row["email"])).size === 1_200)).toBe(
      true,
    );
  });

  test("have every cell in the public range of its column", () => {
    for (const column of DEMO_COLUMNS) {
      const cells = tables.flat().map((row) => row[column.name] ?? "");
      if (column.type === "text") {
        expect(cells.every((cell) => /^[A-Za-z0-9@.]+$/.test(cell))).toBe(true);
        continue;
      }
      const scale = column.type === "decimal" ? column.scale : 0;
      const values = cells.map((cell) => Math.round(Number(cell) * 10 ** scale));
      expect(cells.every((cell, index) => cell === decimalText(values[index] ?? -1, scale))).toBe(
        true,
      );
      expect(Math.min(...values)).toBeGreaterThanOrEqual(column.min);
      expect(Math.max(...values)).toBeLessThanOrEqual(column.max);
    }
  });

  test("let a logistic regression learn who leaves: accuracy 0.74 to 0.86 on held-out rows", () => {
    const points = tables.flat().map((row) => ({
      x: [
        1,
        (Number(row["age"]) - 54) / 36,
        Number(row["balance"]) / 5_000 - 1,
        Number(row["visits"]) / 30 - 1,
      ],
      y: Number(row["churned"]),
    }));
    const train = points.filter((_, index) => index % 4 !== 0);
    const score = (weights: readonly number[], x: readonly number[]): number =>
      1 / (1 + Math.exp(-x.reduce((sum, value, index) => sum + value * (weights[index] ?? 0), 0)));
    let weights = [0, 0, 0, 0];
    for (let step = 0; step < 300; step += 1) {
      const gradient = [0, 0, 0, 0];
      for (const { x, y } of train) {
        const error = score(weights, x) - y;
        x.forEach((value, index) => (gradient[index] = (gradient[index] ?? 0) + error * value));
      }
      weights = weights.map(
        (weight, index) => weight - (3 * (gradient[index] ?? 0)) / train.length,
      );
    }
    const held = points.filter((_, index) => index % 4 === 0);
    const right = held.filter(({ x, y }) => Math.round(score(weights, x)) === y).length;
    const most = Math.max(
      held.filter(({ y }) => y === 1).length,
      held.filter(({ y }) => y === 0).length,
    );
    expect(right / held.length).toBeGreaterThan(0.74);
    expect(right / held.length).toBeLessThan(0.86);
    expect(most / held.length).toBeLessThan(0.65);
  });
});

describe("the demo's receipts", () => {
  const receipts = generateDemoReceipts(3);

  test("are the same pictures on every call, and the first of more", () => {
    const images = receipts.map(({ image }) => hex(sha256(image)));
    expect(new Set(images).size).toBe(3);
    expect(receipts.map(({ spec }) => hex(sha256(renderReceipt(spec))))).toEqual(images);
    const two = generateDemoReceipts(2).map(({ image }) => hex(sha256(image)));
    expect(two).toEqual(images.slice(0, 2));
  });

  test("add up", () => {
    for (const { spec } of receipts) {
      expect(spec.items.every((item) => item.amount === item.quantity * item.unitPrice)).toBe(true);
      expect(spec.items.reduce((sum, { amount }) => sum + amount, 0)).toBe(spec.total);
      expect(spec.cash).toBeGreaterThanOrEqual(spec.total);
      expect(spec.items.length).toBeGreaterThanOrEqual(2);
      expect(spec.items.length).toBeLessThanOrEqual(6);
    }
  });

  test("are refused above their limit", () => {
    expect(() => generateDemoReceipts(10_001)).toThrow(
      expect.objectContaining({ code: "SCHEMA_TOO_LARGE" }),
    );
  });
});

describe("csv", () => {
  test("quotes what has to be quoted", () => {
    expect(
      csvOf(
        ["a", "b"],
        [
          ['x "y"', "1,2"],
          ["p\nq", ""],
        ],
      ),
    ).toBe('a,b\n"x ""y""","1,2"\n"p\nq",\n');
  });

  test.for([
    [-5, 2, "-0.05"],
    [0, 2, "0.00"],
    [123_456, 2, "1234.56"],
    [23, 1, "2.3"],
    [7, 0, "7"],
  ] as const)("writes %i at scale %i as %s", ([minor, scale, text]) => {
    expect(decimalText(minor, scale)).toBe(text);
  });
});

describe("the stream", () => {
  test("is the same for equal labels, another for others, and within its bounds", () => {
    const draw = (label: string): number[] => {
      const stream = new DataStream(label);
      return Array.from({ length: 1_000 }, () => stream.below(6));
    };
    expect(draw("a")).toEqual(draw("a"));
    expect(draw("a")).not.toEqual(draw("b"));
    const counts = [0, 1, 2, 3, 4, 5].map((face) => draw("a").filter((n) => n === face).length);
    expect(Math.min(...counts)).toBeGreaterThan(120);
  });
});

describe.skipIf(!PRESENT)("the genuine sets (skipped without the shared data folder)", () => {
  test("of heart disease are split as FLamby published", () => {
    const centres = readHeartCentres(SHARED);
    expect(centres.map(({ vaultName }) => vaultName)).toEqual([
      "hospital-cleveland",
      "hospital-hungarian",
      "hospital-switzerland",
      "hospital-va",
    ]);
    const sizes = centres.map(({ csv, testCsv }) => [rowsOf(csv).length, rowsOf(testCsv).length]);
    expect(sizes).toEqual([
      [199, 104],
      [172, 89],
      [30, 16],
      [85, 45],
    ]);
    expect(HEART_FEATURES).toHaveLength(13);
    const first = rowsOf(centres[0]?.csv ?? "")[0];
    const cells = "cleveland-0 63 1 1 145 233 1 2 150 0 2.3 0 0 0 0 1 0".split(" ");
    expect(HEART_COLUMNS.map((name) => first?.[name])).toEqual(cells);
  });

  test("of the bank are dealt out to three Vaults without loss", () => {
    const vaults = readBankVaults(SHARED).map(({ csv }) => rowsOf(csv));
    expect(vaults.map((rows) => rows.length)).toEqual([15_071, 15_070, 15_070]);
    const all = vaults.flat();
    expect(new Set(all.map((row) => row["email"])).size).toBe(45_211);
    expect(all.filter((row) => row["y"] === "1")).toHaveLength(5_289);
    expect(vaults[1]?.[0]).toEqual({
      customer_id: "b1",
      email: "b1@example.org",
      age: "44",
      job: "technician",
      marital: "single",
      balance: "29",
      contact: "unknown",
      housing: "yes",
      loan: "no",
      y: "0",
    });
  });

  test("of receipts have their keys", () => {
    const receipts = readSroieReceipts(SHARED);
    expect(receipts).toHaveLength(60);
    expect(receipts.every(({ imagePath }) => existsSync(imagePath))).toBe(true);
    expect(receipts.every(({ date }) => /^20[12][0-9]-[01][0-9]-[0-3][0-9]$/.test(date))).toBe(
      true,
    );
    expect(receipts[0]).toMatchObject({ id: "000", date: "2018-12-25", total: 900 });
    expect(receipts.find(({ id }) => id === "030")).toMatchObject({
      date: "2018-03-05",
      total: 820,
    });
  });
});
