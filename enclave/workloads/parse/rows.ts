import type { Box, OcrPage, OcrWord } from "./ocr-page.ts";

/** Words that stand side by side on the paper, whatever blocks the recogniser put them in. */
export interface Row {
  readonly words: readonly OcrWord[];
  /** The words joined by single spaces. */
  readonly text: string;
  /** Offset of each word in `text`. */
  readonly starts: readonly number[];
  readonly box: Box;
}

/** A part of a row: where it is, and how sure the recogniser was of its weakest word. */
export interface Evidence {
  readonly confidence: number;
  readonly box: Box;
}

/** Two lines are one row when they share this part of the lower one's height. */
const OVERLAP_MIN = 0.55;

/**
 * Rows of a page from top to bottom, each read from left to right.
 *
 * Marks without a letter, digit or currency sign are left out. Lines side by side are joined, for
 * descriptions and amounts of a receipt are often recognised as separate columns.
 */
export function rowsOf(page: OcrPage): Row[] {
  const lines = page.lines
    .map((line) => line.words.filter((word) => /[\p{L}\p{N}\p{Sc}]/u.test(word.text)))
    .filter((words) => words.length > 0)
    .map((words) => ({ words, band: bandOf(words), box: unionOf(words) }))
    .sort((a, b) => a.band.middle - b.band.middle || a.box[0] - b.box[0]);
  const groups: (typeof lines)[] = [];
  for (const line of lines) {
    const home = groups
      .slice(-4)
      .findLast((group) => group.every((other) => standsBeside(other, line)));
    if (home === undefined) groups.push([line]);
    else home.push(line);
  }
  return groups.map((group) => rowOfWords(group.flatMap((line) => line.words)));
}

interface Band {
  readonly top: number;
  readonly bottom: number;
  readonly middle: number;
}

/** Median top and bottom: one tall stroke in a line does not move it. */
function bandOf(words: readonly OcrWord[]): Band {
  const top = median(words.map((word) => word.box[1]));
  const bottom = median(words.map((word) => word.box[3]));
  return { top, bottom, middle: (top + bottom) / 2 };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}

function standsBeside(
  a: { readonly band: Band; readonly box: Box },
  b: { readonly band: Band; readonly box: Box },
): boolean {
  const shared = Math.min(a.band.bottom, b.band.bottom) - Math.max(a.band.top, b.band.top);
  const lower = Math.min(a.band.bottom - a.band.top, b.band.bottom - b.band.top);
  const across = Math.min(a.box[2], b.box[2]) - Math.max(a.box[0], b.box[0]);
  const narrower = Math.min(a.box[2] - a.box[0], b.box[2] - b.box[0]);
  return shared >= OVERLAP_MIN * lower && across <= 0.1 * narrower;
}

function rowOfWords(unsorted: readonly OcrWord[]): Row {
  const words = unsorted.toSorted((a, b) => a.box[0] - b.box[0] || a.box[1] - b.box[1]);
  const starts: number[] = [];
  let text = "";
  for (const word of words) {
    if (text !== "") text += " ";
    starts.push(text.length);
    text += word.text;
  }
  return { words, text, starts, box: unionOf(words) };
}

/** Box and confidence of the words that touch `row.text` in [from, to); the whole row when none does. */
export function evidenceOf(row: Row, from: number, to: number): Evidence {
  const touched = row.words.filter((word, index) => {
    const start = row.starts[index] ?? 0;
    return start < to && start + word.text.length > from;
  });
  const words = touched.length > 0 ? touched : row.words;
  return {
    confidence: Math.min(...words.map((word) => word.confidence)),
    box: unionOf(words),
  };
}

/** The smallest box around all `words`; at least one word. */
function unionOf(words: readonly OcrWord[]): Box {
  return [
    Math.min(...words.map((word) => word.box[0])),
    Math.min(...words.map((word) => word.box[1])),
    Math.max(...words.map((word) => word.box[2])),
    Math.max(...words.map((word) => word.box[3])),
  ];
}

/** The smallest box around two boxes. */
export function joinBoxes(a: Box, b: Box): Box {
  return [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])];
}
