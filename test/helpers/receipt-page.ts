import type { OcrPage, OcrWord } from "../../enclave/workloads/parse/index.ts";

const CHARACTER = 10;
const LINE = 30;

/**
 * A page as a recogniser would read `text`: one line per line of text, ten pixels a character, words
 * with the confidence 90, columns kept where several spaces stand.
 */
export function pageOfText(text: string): OcrPage {
  const lines = text.split("\n");
  return {
    width: Math.max(1, ...lines.map((line) => line.length)) * CHARACTER,
    height: lines.length * LINE,
    lines: lines
      .map((line, row) => ({ words: [...line.matchAll(/\S+/g)].map((m) => wordAt(m, row)) }))
      .filter(({ words }) => words.length > 0),
  };
}

function wordAt({ 0: text, index }: RegExpExecArray, row: number): OcrWord {
  return {
    text,
    confidence: 90,
    box: [index * CHARACTER, row * LINE + 5, (index + text.length) * CHARACTER, row * LINE + 25],
  };
}
