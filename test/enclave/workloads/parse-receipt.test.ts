import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { encodeCbor, parsedReceiptSchema, type ParsedReceipt } from "#protocol";
import { pageOfTsv, readReceipt } from "../../../enclave/workloads/parse/index.ts";
import { pageOfText } from "../../helpers/receipt-page.ts";

const RECEIPT = `
        LANTERN TRADING SDN BHD (123456-X)
        18 Mill Walk, Ashford
TAX INVOICE
DATE: 05/03/2018           18:24
QTY ITEM            PRICE    AMOUNT
 2  RYE BREAD        3.45      6.90
 1  GREEN TEA        2.75      2.75
SUBTOTAL                       9.65
TOTAL GST                      0.55
TOTAL INCL GST    RM           9.65
CASH                          20.00
CHANGE                        10.35
GST SUMMARY   AMOUNT(RM)  TAX(RM)
TOTAL             9.10        0.55
`;

function read(text: string): ParsedReceipt {
  return readReceipt(pageOfText(text));
}

/** The text of {@link RECEIPT} with the line that begins with `start` replaced. */
function withLine(start: string, line: string): string {
  return RECEIPT.split("\n")
    .map((old) => (old.startsWith(start) ? line : old))
    .join("\n");
}

describe("a receipt", () => {
  test("[TC-6] is read to merchant, date, total, currency and line items", () => {
    const { merchant, date, total, currency, line_items: items } = read(RECEIPT);
    expect(merchant?.value).toBe("LANTERN TRADING SDN BHD");
    expect(date?.value).toBe("2018-03-05");
    expect(total?.value).toBe(965);
    expect(currency?.value).toBe("RM");
    expect(
      items.map(({ description, amount, quantity }) => [description, amount, quantity]),
    ).toEqual([
      ["RYE BREAD", 690, 2],
      ["GREEN TEA", 275, 1],
    ]);
  });

  test("[TC-6] gives each field the box and the least confidence of its words", () => {
    const page = pageOfText("OLD MILL BAKERY\nDATE 05 MAR 2018\nTOTAL $ 9.65");
    const lines = page.lines.map(({ words }) => ({
      words: words.map((word) => (word.text === "MAR" ? { ...word, confidence: 41 } : word)),
    }));
    expect(readReceipt({ ...page, lines })).toMatchObject({
      date: { value: "2018-03-05", confidence: 41, box: [50, 35, 160, 55] },
      total: { value: 965, confidence: 90, box: [80, 65, 120, 85] },
      currency: { value: "$", confidence: 90, box: [60, 65, 120, 85] },
    });
  });

  test("of no text has no fields", () => {
    expect(read("")).toEqual({
      merchant: null,
      date: null,
      total: null,
      currency: null,
      line_items: [],
    });
  });

  test("joins columns that were recognised as separate blocks", () => {
    const page = pageOfText(RECEIPT);
    const columns = [0, 280].flatMap((left) =>
      page.lines.map(({ words }) => ({
        words: words.filter(({ box }) => (left === 0 ? box[0] < 280 : box[0] >= 280)),
      })),
    );
    const blocks = columns.filter(({ words }) => words.length > 0);
    expect(readReceipt({ ...page, lines: blocks })).toEqual(readReceipt(page));
  });
});

describe("the date", () => {
  test.for([
    ["25/12/2018", "2018-12-25"],
    ["12-01-19", "2019-01-12"],
    ["9/3/2018", "2018-03-09"],
    ["2018-03-09", "2018-03-09"],
    ["05 Mar 2018", "2018-03-05"],
    ["12JAN2018", "2018-01-12"],
    ["March 5, 2018", "2018-03-05"],
    ["05.03.2018", "2018-03-05"],
    ["03/25/2018", "2018-03-25"],
    ["17/83/2017", "2017-03-17"],
    ["O5/O3/2O18", "2018-03-05"],
    ["29/02/2020", "2020-02-29"],
  ] as const)("reads %s as %s", ([printed, iso]) => {
    expect(read(`OLD MILL BAKERY\n${printed} 18:24\nTOTAL 9.65`).date?.value).toBe(iso);
  });

  test.for([
    "31/04/2018",
    "29/02/2019",
    "00/12/2018",
    "13/13/2018",
    "03-5542 3228",
    "1234/0602/00602",
  ])("does not read %s", (printed) => {
    expect(read(`OLD MILL BAKERY\n${printed}\nTOTAL 9.65`).date).toBeNull();
  });

  test("beside the word DATE is preferred to another", () => {
    const text = "OLD MILL BAKERY\nVALID UNTIL 01/01/2020\nDATE 05/03/2018\nTOTAL 9.65";
    expect(read(text).date?.value).toBe("2018-03-05");
  });
});

describe("the total", () => {
  test.for([
    ["TOTAL INCL", "GRAND TOTAL  9.65"],
    ["TOTAL INCL", "ROUNDED TOTAL (RM): 9.65"],
    ["TOTAL INCL", "AMOUNT DUE  9.65"],
    ["TOTAL INCL", "T0TAI  9.65"],
    ["TOTAL INCL", "TOTAL  9 .65"],
    ["TOTAL INCL", "TOTAL  RM965"],
    ["TOTAL INCL", "TOTAL PAYABLE  9,65"],
    ["SUBTOTAL", "TOTAL SALES (EXCLUDING GST)  9.10"],
    ["CASH", "CASH  9.65"],
  ] as const)("is found when %s reads %s", ([start, line]) => {
    expect(read(withLine(start, line)).total?.value).toBe(965);
  });

  test("is the rounded one, whichever sign of the rounding was read", () => {
    const text = (sign: string): string =>
      `OLD MILL BAKERY\nTOTAL SALES INCLUSIVE 28.31\nROUNDING ${sign}0.01\nTOTAL 28.30`;
    expect(["-", ""].map((sign) => read(text(sign)).total?.value)).toEqual([2830, 2830]);
  });

  test("is what was given less the change, when no line says total", () => {
    const { total } = read("OLD MILL BAKERY\nTEA 5.00\nRICE 4.65\nCASH 20.00\nCHANGE 10.35");
    expect(total).toMatchObject({ value: 965, confidence: 50 });
  });

  test("takes thousands with separators", () => {
    expect(read("OLD MILL BAKERY\nTOTAL $1,234,567.89").total?.value).toBe(123_456_789);
  });

  test.for(["TOTAL QTY 3.00", "DISCOUNT 3.00", "GST 6.00%", "CHANGE 3.00"])("is not %s", (line) => {
    expect(read(`OLD MILL BAKERY\n${line}`).total).toBeNull();
  });
});

describe("line items", () => {
  test("take their description from the line above or below", () => {
    const above = "BLUE PENS\n9555590501204 1 X 9.90 9.90\nHAND SOAP\n9557002081113 4 X 9.50 38.00";
    const below = "1971 1 148.40 148.40\nFINE SAND\n1972 2 3.00 6.00\nGRAVEL";
    const items = (text: string) =>
      read(`OLD MILL BAKERY\nITEM QTY PRICE AMOUNT\n${text}\nTOTAL 1.00`).line_items.map(
        ({ description, amount, quantity }) => [description, amount, quantity],
      );
    expect(items(above)).toEqual([
      ["BLUE PENS", 990, 1],
      ["HAND SOAP", 3800, 4],
    ]);
    expect(items(below)).toEqual([
      ["FINE SAND", 14840, 1],
      ["GRAVEL", 600, 2],
    ]);
  });

  test("have no quantity when none is said", () => {
    const items = read("OLD MILL BAKERY\nPARKING TICKET 5.00\nTOTAL 5.00").line_items;
    expect(items).toMatchObject([{ amount: 500, quantity: null }]);
  });

  test("are at most 64", () => {
    const lines = Array.from({ length: 80 }, (_, index) => `BLUE PENS 1.${10 + (index % 90)}`);
    const text = `OLD MILL BAKERY\n${lines.join("\n")}\nTOTAL 5.00`;
    expect(read(text).line_items).toHaveLength(64);
  });
});

describe("the schema", () => {
  const genuine = read(RECEIPT);
  const field = { value: 1, confidence: 90, box: [0, 0, 1, 1] };
  const item = genuine.line_items[0];

  test("[VR-1] accepts what is read, which encodes as canonical CBOR", () => {
    expect(parsedReceiptSchema.parse(genuine)).toEqual(genuine);
    expect(encodeCbor(genuine).length).toBeGreaterThan(100);
  });

  test.for<[title: string, damage: Record<string, unknown>]>([
    ["an unknown field", { note: "paid" }],
    ["a missing field", { date: undefined }],
    ["an amount that is no integer", { total: { ...field, value: 9.65 } }],
    ["an amount below zero", { total: { ...field, value: -1 } }],
    ["an amount over the limit", { total: { ...field, value: 1_000_000_000 } }],
    ["a confidence over 100", { total: { ...field, confidence: 101 } }],
    ["a confidence that is no integer", { total: { ...field, confidence: 90.5 } }],
    ["a box turned round", { total: { ...field, box: [2, 0, 1, 1] } }],
    ["a box of three", { total: { ...field, box: [0, 0, 1] } }],
    ["a field without its box", { total: { value: 1, confidence: 90 } }],
    ["a date of no calendar", { date: { ...field, value: "2018-02-30" } }],
    ["a merchant of 201 characters", { merchant: { ...field, value: "x".repeat(201) } }],
    ["a merchant that is not NFC", { merchant: { ...field, value: "Cafe\u0301" } }],
    ["65 line items", { line_items: Array.from({ length: 65 }, () => item) }],
  ])("[VR-1] refuses %s", ([, damage]) => {
    expect(parsedReceiptSchema.safeParse({ ...genuine, ...damage }).success).toBe(false);
  });
});

describe("any text", () => {
  const piece = fc.oneof(
    fc.constantFrom("TOTAL", "CASH", "DATE", "RM", "9.65", "2 x", "05/03/2018", "GST", "\t", " "),
    fc.string({ unit: "binary", maxLength: 12 }),
    fc.integer().map(String),
  );
  const number = fc.oneof(fc.integer({ min: -50, max: 20_000 }), fc.constantFrom("", "x", "1e9"));
  const row = fc
    .tuple(fc.constantFrom(4, 5), fc.array(number, { minLength: 10, maxLength: 10 }), piece)
    .map(([level, cells, text]) => [level, ...cells, text].join("\t"));

  test("[VR-1] reads to a receipt that conforms and encodes", () => {
    fc.assert(
      fc.property(fc.array(row, { maxLength: 60 }), (rows) => {
        const page = pageOfTsv(rows.join("\n"), { width: 640, height: 480, scale: 1.5 });
        const receipt = readReceipt(page);
        expect(encodeCbor(parsedReceiptSchema.parse(receipt)).length).toBeGreaterThan(40);
      }),
      { numRuns: 300, seed: 7 },
    );
  });

  test("of many words is read in bounded time", () => {
    const words = Array.from({ length: 5_000 }, (_, i) =>
      [5, 1, 1, 1, Math.floor(i / 900), i, i * 4, 10, 3, 20, 90, i % 2 ? "1.1" : "1,1,1 0I|"].join(
        "\t",
      ),
    );
    const page = pageOfTsv(words.join("\n"), { width: 16_000, height: 16_000, scale: 1 });
    const started = performance.now();
    readReceipt(page);
    expect(performance.now() - started).toBeLessThan(5_000);
  });
});
