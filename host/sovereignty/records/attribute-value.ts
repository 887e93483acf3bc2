import {
  ATTRIBUTE_TEXT_MAX,
  MalformedError,
  SymphonyError,
  fromBase64,
  type AttributeValue,
  type CanonicalAttribute,
} from "#protocol";

/** What the values of a column are. */
type ValueRule = Pick<CanonicalAttribute, "type" | "scale" | "range">;

/** Digits of a number that is read without a text in between; all such numbers are safe integers. */
const DIGITS_MAX = 15;

const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;

const INTEGER = /^-?(?:0|[1-9][0-9]*)$/;
const DECIMAL = /^(-?(?:0|[1-9][0-9]*))(?:\.([0-9]+))?$/;

/**
 * The canonical value of a cell: null for an empty one, the scaled integer of a decimal, text as NFC, bytes from
 * base64. Numbers have no plus sign, no leading zero, no exponent, and lie in the attribute's range.
 *
 * @throws {@link MalformedError} SCHEMA_ROW_MALFORMED with what was expected; never says the value.
 */
export function parseAttributeValue(text: string, attribute: ValueRule): AttributeValue {
  if (text === "") return null;
  switch (attribute.type) {
    case "integer":
      return parseInteger(text, attribute);
    case "decimal":
      return parseDecimal(text, attribute);
    case "text":
      return parseText(text);
    case "bytes":
      return parseBytes(text);
  }
}

/**
 * The number that `parseAttributeValue` gives for this text, if it is of the plainest kind and in range: most are, and
 * so never become a text. Undefined for all else.
 */
export function plainNumber(
  bytes: Uint8Array,
  { from, to }: { readonly from: number; readonly to: number },
  { type, scale, range }: ValueRule,
): number | undefined {
  if (type !== "integer" && type !== "decimal") return undefined;
  const negative = bytes[from] === MINUS;
  const start = negative ? from + 1 : from;
  if (to - start + scale > DIGITS_MAX) return undefined;
  let value = 0;
  let decimals = -1;
  for (let at = start; at < to; at += 1) {
    const digit = (bytes[at] ?? 0) - ZERO;
    if (digit >= 0 && digit <= 9) {
      value = value * 10 + digit;
      if (decimals >= 0) decimals += 1;
    } else if (bytes[at] === POINT && decimals === -1 && at > start && scale > 0) decimals = 0;
    else return undefined;
  }
  const wholeDigits = to - start - (decimals < 0 ? 0 : decimals + 1);
  const leadingZero = wholeDigits > 1 && bytes[start] === ZERO;
  if (wholeDigits < 1 || leadingZero || decimals === 0 || decimals > scale) return undefined;
  const scaled = value * 10 ** (scale - Math.max(0, decimals));
  const signed = negative && scaled !== 0 ? -scaled : scaled;
  return range === null || (signed >= range.min && signed <= range.max) ? signed : undefined;
}

function parseInteger(text: string, attribute: ValueRule): number {
  if (!INTEGER.test(text)) throw expected("a whole number");
  return inRange(Number(text), attribute);
}

function parseDecimal(text: string, attribute: ValueRule): number {
  const { scale } = attribute;
  const [, whole = "", fraction = ""] = DECIMAL.exec(text) ?? [];
  if (whole === "" || fraction.length > scale) {
    throw expected(`a number with at most ${scale} decimals`);
  }
  return inRange(Number(whole + fraction.padEnd(scale, "0")), attribute);
}

/** Minus zero becomes zero: canonical CBOR has one zero. */
function inRange(value: number, { range }: ValueRule): number {
  if (!Number.isSafeInteger(value)) throw expected("a number of at most 15 digits");
  if (range !== null && (value < range.min || value > range.max)) {
    throw expected(`a value whose scaled integer is in [${range.min}, ${range.max}]`);
  }
  return value === 0 ? 0 : value;
}

function parseText(text: string): string {
  const normal = text.normalize("NFC");
  if (!normal.isWellFormed()) throw expected("text without lone surrogates");
  if (normal.length > ATTRIBUTE_TEXT_MAX)
    throw expected(`at most ${ATTRIBUTE_TEXT_MAX} characters`);
  return normal;
}

function parseBytes(text: string): Uint8Array {
  try {
    return fromBase64(text);
  } catch (cause) {
    if (!(cause instanceof SymphonyError)) throw cause;
    throw expected("standard base64");
  }
}

function expected(what: string): MalformedError {
  return new MalformedError({ code: "SCHEMA_ROW_MALFORMED", expected: what }, `expected ${what}`);
}
