/** A rectangle in pixels of the original image: [x0, x1) by [y0, y1), origin at the upper left. */
export type Box = readonly [x0: number, y0: number, x1: number, y1: number];

/** One recognised word. `text` is NFC and not empty; `confidence` is an integer of [0, 100]. */
export interface OcrWord {
  readonly text: string;
  readonly confidence: number;
  readonly box: Box;
}

/** Words the recogniser put on one line, left to right. */
export interface OcrLine {
  readonly words: readonly OcrWord[];
}

/** What was read on an image of `width` by `height` pixels. Untrusted text; at most {@link OCR_WORDS_MAX} words. */
export interface OcrPage {
  readonly width: number;
  readonly height: number;
  readonly lines: readonly OcrLine[];
}

/** Something that reads text off an image. Equal bytes give an equal page. */
export interface Ocr {
  /**
   * Reads the text of one JPEG or PNG image.
   *
   * @throws {@link LimitError} SCHEMA_TOO_LARGE
   * @throws {@link MalformedError} SCHEMA_IMAGE_MALFORMED
   */
  recognize(image: Uint8Array): OcrPage;
}

/** Words kept of one page; a dense receipt has about 400. */
export const OCR_WORDS_MAX = 4_096;

/** UTF-16 units kept of one word. */
export const OCR_WORD_LENGTH_MAX = 100;

/** What turns coordinates of the recogniser's image into those of the original. */
export interface PageGeometry {
  readonly width: number;
  readonly height: number;
  /** Recogniser's pixels per original pixel; above zero. */
  readonly scale: number;
}

/** Rows of the table at level 5 are words; the levels above are page, block, paragraph and line. */
const WORD_LEVEL = "5";

/**
 * Builds a page from Tesseract's tab-separated table (12 columns, with or without its heading line).
 *
 * Rows that are no words, empty words and words beyond {@link OCR_WORDS_MAX} are left out, boxes are
 * clamped to the page. Never throws: what does not look like a word row is skipped.
 *
 * @see tesseract(1), output format `tsv`
 */
export function pageOfTsv(tsv: string, geometry: PageGeometry): OcrPage {
  const lines = new Map<string, OcrWord[]>();
  let count = 0;
  for (const row of tsv.split("\n")) {
    const cells = row.replace(/\r$/, "").split("\t");
    if (cells.length < 12 || cells[0] !== WORD_LEVEL) continue;
    const word = wordOfCells(cells, geometry);
    if (word === undefined) continue;
    count += 1;
    if (count > OCR_WORDS_MAX) break;
    const key = cells.slice(1, 5).join(" ");
    const line = lines.get(key);
    if (line === undefined) lines.set(key, [word]);
    else line.push(word);
  }
  return {
    width: geometry.width,
    height: geometry.height,
    lines: [...lines.values()].map((words) => ({ words })),
  };
}

function wordOfCells(cells: readonly string[], geometry: PageGeometry): OcrWord | undefined {
  const text = cleanText(cells.slice(11).join(" ")).slice(0, OCR_WORD_LENGTH_MAX).trim();
  const [left, top, width, height, confidence] = cells.slice(6, 11).map(Number);
  if (text === "" || left === undefined || top === undefined) return undefined;
  if (width === undefined || height === undefined || confidence === undefined) return undefined;
  if (![left, top, width, height, confidence].every(Number.isFinite)) return undefined;
  const clamp = (value: number, max: number): number =>
    Math.min(max, Math.max(0, Math.round(value / geometry.scale)));
  return {
    text: text.normalize("NFC"),
    confidence: Math.min(100, Math.max(0, Math.round(confidence))),
    box: [
      clamp(left, geometry.width),
      clamp(top, geometry.height),
      clamp(left + width, geometry.width),
      clamp(top + height, geometry.height),
    ],
  };
}

/** NFC text without control characters and lone surrogates, so that it always encodes as UTF-8. */
function cleanText(text: string): string {
  return text
    .toWellFormed()
    .replace(/[\p{Cc}\p{Cf}\uFFFD]/gu, "")
    .normalize("NFC")
    .trim();
}
