import { base64 } from "#protocol";

/** What a Parquet file says about one of its plain columns. */
export interface ParquetColumnType {
  /** INT32, BYTE_ARRAY, ... */
  readonly physical: string;
  /** The logical type, or else the older converted type, by name; null for none. */
  readonly annotation: string | null;
  /** Digits after the point of a DECIMAL. */
  readonly scale: number;
  /** Unit of a TIME or TIMESTAMP. */
  readonly unit: "MILLIS" | "MICROS" | "NANOS";
  /** Whether a TIMESTAMP is an instant (UTC) and no reading of an unnamed clock. */
  readonly isUtc: boolean;
  readonly isSigned: boolean;
}

/** The text of one value that is not null. Throws a plain error for a value of another type than the column's. */
export type ParquetText = (value: unknown) => string;

/**
 * How the values of a column are written as text, one text a value:
 *
 * - BOOLEAN as 1 or 0; integers as digits, whatever their width and sign
 * - DECIMAL with exactly its scale of digits after the point, from the unscaled integer
 * - FLOAT and DOUBLE as the shortest decimal that reads back as the same number, without exponent; NaN, Infinity and
 *   -Infinity as these words, which no attribute of numbers takes
 * - text, ENUM and JSON as they are; UUID in the 8-4-4-4-12 form; other bytes as standard base64
 * - DATE as YYYY-MM-DD; TIME as HH:MM:SS and TIMESTAMP as YYYY-MM-DDTHH:MM:SS, with a fraction of 3, 6 or 9 digits by
 *   unit; an instant ends in Z, a reading of an unnamed clock (INT96 too) in nothing
 *
 * @returns undefined for a type that has no such text.
 */
export function parquetTextOf(type: ParquetColumnType): ParquetText | undefined {
  switch (type.annotation) {
    case null:
      return plainText(type.physical);
    case "DECIMAL":
      return (value) => decimalText(integerOf(value), type.scale);
    case "STRING":
    case "UTF8":
    case "ENUM":
    case "JSON":
      return type.physical === "BYTE_ARRAY" ? textOf : undefined;
    case "UUID":
      return (value) => uuidText(bytesOf(value));
    case "DATE":
      return (value) => dayText(integerOf(value));
    case "TIME":
      return (value) => timeText(integerOf(value), type.unit);
    case "TIMESTAMP":
      return (value) => timestampText(integerOf(value), type);
    case "INTEGER":
      return integerText(type);
    default:
      return undefined;
  }
}

function plainText(physical: string): ParquetText | undefined {
  switch (physical) {
    case "BOOLEAN":
      return (value) => (booleanOf(value) ? "1" : "0");
    case "INT32":
    case "INT64":
      return (value) => String(integerOf(value));
    case "INT96":
      return (value) => timestampText(integerOf(value), { unit: "NANOS", isUtc: false });
    case "FLOAT":
      return (value) => floatText(numberOf(value));
    case "DOUBLE":
      return (value) => plainDecimal(String(numberOf(value)));
    case "BYTE_ARRAY":
    case "FIXED_LEN_BYTE_ARRAY":
      return (value) => base64(bytesOf(value));
    default:
      return undefined;
  }
}

function integerText({ physical, isSigned }: ParquetColumnType): ParquetText | undefined {
  if (physical !== "INT32" && physical !== "INT64") return undefined;
  const bits = physical === "INT32" ? 32 : 64;
  if (isSigned) return (value) => String(integerOf(value));
  return (value) => String(BigInt.asUintN(bits, integerOf(value)));
}

function decimalText(unscaled: bigint, scale: number): string {
  const sign = unscaled < 0n ? "-" : "";
  const digits = String(unscaled < 0n ? -unscaled : unscaled).padStart(scale + 1, "0");
  if (scale === 0) return `${sign}${digits}`;
  return `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

/** The fewest digits that name the same single-precision number. */
function floatText(value: number): string {
  for (let digits = 1; digits <= 9; digits += 1) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === value) return plainDecimal(String(Number(text)));
  }
  return plainDecimal(String(value));
}

const SCIENTIFIC = /^(-?)([0-9])(?:\.([0-9]+))?e([+-][0-9]+)$/;

/** A number's shortest text without exponent; -0 has lost its sign before. */
function plainDecimal(text: string): string {
  const match = SCIENTIFIC.exec(text);
  if (match === null) return text;
  const [, sign = "", whole = "", fraction = "", exponent = ""] = match;
  const shift = Number(exponent);
  const digits = whole + fraction;
  if (shift < 0) return `${sign}0.${"0".repeat(-shift - 1)}${digits}`;
  return `${sign}${digits.padEnd(shift + 1, "0")}`;
}

function uuidText(bytes: Uint8Array): string {
  if (bytes.length !== 16) throw new TypeError("expected a UUID of 16 bytes");
  return Buffer.from(bytes)
    .toString("hex")
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

const DAY_MS = 86_400_000n;
const UNITS = {
  MILLIS: { perSecond: 1_000n, digits: 3 },
  MICROS: { perSecond: 1_000_000n, digits: 6 },
  NANOS: { perSecond: 1_000_000_000n, digits: 9 },
} as const;

function dayText(days: bigint): string {
  return dateOf(days * DAY_MS).slice(0, 10);
}

function timeText(value: bigint, unit: ParquetColumnType["unit"]): string {
  return timestampText(value, { unit, isUtc: false }).slice("1970-01-01T".length);
}

function timestampText(
  value: bigint,
  { unit, isUtc }: Pick<ParquetColumnType, "unit" | "isUtc">,
): string {
  const { perSecond, digits } = UNITS[unit];
  const fraction = ((value % perSecond) + perSecond) % perSecond;
  const second = dateOf(((value - fraction) / perSecond) * 1_000n).slice(0, -".000Z".length);
  return `${second}.${String(fraction).padStart(digits, "0")}${isUtc ? "Z" : ""}`;
}

/** ISO 8601 with milliseconds, for the years 0 to 9999 that it writes with four digits. */
function dateOf(unixMs: bigint): string {
  const text = new Date(Number(unixMs)).toISOString();
  if (!/^[0-9]{4}-/.test(text)) throw new RangeError("expected a year in [0, 9999]");
  return text;
}

function integerOf(value: unknown): bigint {
  if (typeof value === "bigint") return value;
  if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value);
  const bytes = bytesOf(value);
  return bytes.length === 0
    ? 0n
    : BigInt.asIntN(bytes.length * 8, BigInt(`0x${Buffer.from(bytes).toString("hex")}`));
}

function numberOf(value: unknown): number {
  if (typeof value === "number") return value;
  throw new TypeError(`expected a number, got ${typeof value}`);
}

function booleanOf(value: unknown): boolean {
  if (typeof value === "boolean") return value;
  throw new TypeError(`expected a boolean, got ${typeof value}`);
}

function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  throw new TypeError(`expected text, got ${typeof value}`);
}

function bytesOf(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw new TypeError(`expected bytes, got ${typeof value}`);
}
