import { hex } from "#protocol";

/** One field of evidence in words. */
export interface FieldView {
  /** As the document spells it. */
  readonly field: string;
  readonly value: string;
  /** What the value means, or null when its name says it all. */
  readonly meaning: string | null;
}

/** Fields that belong together. */
export interface GroupView {
  readonly group: string;
  readonly fields: readonly FieldView[];
}

/** Makes one line of a view. */
export function field(name: string, value: string, meaning: string | null = null): FieldView {
  return { field: name, value: printable(value), meaning };
}

/** Text from outside with everything that a terminal could obey or hide made visible. */
export function printable(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

/** A time as a date in UTC; what no calendar has is shown as the number it is. */
export function date(ms: number): string {
  const time = new Date(ms);
  return Number.isNaN(time.getTime()) ? `${ms} ms since 1970` : time.toISOString();
}

/** A span in words, largest unit first. */
export function duration(ms: number): string {
  const sign = ms < 0 ? "minus " : "";
  const seconds = Math.floor(Math.abs(ms) / 1000);
  const parts = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [seconds % 60, "s"],
  ] as const;
  const named = parts.filter(([count]) => count > 0).map(([count, unit]) => `${count} ${unit}`);
  return `${sign}${named.slice(0, 2).join(" ") || `${Math.abs(ms)} ms`}`;
}

/** Bytes as hex with their length, and as text where they are some. */
export function bytesInWords(bytes: Uint8Array | null): string {
  if (bytes === null) return "none";
  if (bytes.length === 0) return "0 bytes";
  const text = Buffer.from(bytes).toString("latin1");
  const asText = /^[\x20-\x7e]{4,}$/.test(text) ? ` "${text}"` : "";
  return `${bytes.length} bytes: ${hex(bytes)}${asText}`;
}

/** Groups as indented lines. */
export function formatGroups(groups: readonly GroupView[]): string {
  return groups
    .map(({ group, fields }) => {
      const width = Math.max(...fields.map((each) => each.field.length), 0);
      const lines = fields.flatMap(({ field: name, value, meaning }) => [
        `  ${name.padEnd(width)}  ${value}`,
        ...(meaning === null ? [] : [`  ${"".padEnd(width)}  ${meaning}`]),
      ]);
      return [group, ...lines].map((line) => `${line.trimEnd()}\n`).join("");
    })
    .join("\n");
}
