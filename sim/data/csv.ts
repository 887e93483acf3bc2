/**
 * CSV text: a heading line and one line per row, fields separated by commas, lines ended by LF.
 *
 * A field is quoted only when it holds a comma, a quotation mark or a line break.
 *
 * @see RFC 4180 § 2 (we end lines with LF alone)
 */
export function csvOf(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  return [columns, ...rows].map((cells) => `${cells.map(quoted).join(",")}\n`).join("");
}

function quoted(cell: string): string {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}

/** Integer `minor` units as decimal text with `scale` decimals: `(-5, 2)` is `-0.05`. */
export function decimalText(minor: number, scale: number): string {
  const digits = String(Math.abs(minor)).padStart(scale + 1, "0");
  const sign = minor < 0 ? "-" : "";
  if (scale === 0) return sign + digits;
  return `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}
