import { tokensOf, type Token } from "./tokens.ts";

/** A small defect: `from` at `start` of `file` becomes `to`. */
export interface Mutant {
  readonly file: string;
  readonly start: number;
  readonly from: string;
  readonly to: string;
  /** From 1 on. */
  readonly line: number;
  /** The source line it begins in, trimmed. */
  readonly text: string;
}

const SWAPS: Readonly<Record<string, readonly string[]>> = {
  "===": ["!=="],
  "!==": ["==="],
  "<": ["<=", ">="],
  "<=": ["<", ">"],
  ">": [">=", "<="],
  ">=": [">", "<"],
  "&&": ["||"],
  "||": ["&&"],
  "+": ["-"],
  "-": ["+"],
  "*": ["/"],
  "/": ["*"],
  "%": ["*"],
  "<<": [">>"],
  ">>": ["<<"],
  ">>>": ["<<"],
  "&": ["|"],
  "|": ["&"],
  "^": ["&"],
  "+=": ["-="],
  "-=": ["+="],
  true: ["false"],
  false: ["true"],
  some: ["every"],
  every: ["some"],
  min: ["max"],
  max: ["min"],
};

/** What only makes messages: neither their bodies nor what they are given is mutated. */
const MESSAGE_MAKERS =
  /^(failure|\w*[fF]ault|untrusted|malformed\w*|emptyPolicy|describeBytes|nameOf|commonName|isoTime)$/;

/** All mutants of one file; none of its comments, types, imports and messages. */
export function mutantsOf(file: string, source: string): readonly Mutant[] {
  const code = new Code(source);
  const made = [
    ...swaps(code),
    ...constants(code),
    ...conditions(code),
    ...statements(code),
    ...returns(code),
    ...elements(code),
  ];
  const seen = new Set<string>();
  return made
    .filter(({ start, from, to }) => {
      const key = `${start} ${from.length} ${to}`;
      return from !== to && !seen.has(key) && seen.add(key);
    })
    .map(({ start, from, to }) => {
      const before = source.slice(0, start);
      const lineStart = before.lastIndexOf("\n") + 1;
      const text = source.slice(lineStart).split("\n", 1)[0] ?? "";
      return { file, start, from, to, line: before.split("\n").length, text: text.trim() };
    });
}

/** `source` with the defect in it. */
export function mutate(source: string, { start, from, to }: Mutant): string {
  return source.slice(0, start) + to + source.slice(start + from.length);
}

type Change = Pick<Mutant, "start" | "from" | "to">;

/** Tokens, which of them match, and which are messages. */
class Code {
  readonly source: string;
  readonly tokens: readonly Token[];
  readonly #partner = new Map<number, number>();
  readonly #skipped: boolean[];

  constructor(source: string) {
    this.source = source;
    this.tokens = tokensOf(source);
    const open: number[] = [];
    this.tokens.forEach(({ kind, text }, at) => {
      if (kind !== "sign") return;
      if ("([{".includes(text)) open.push(at);
      if (!")]}".includes(text)) return;
      const from = open.pop() ?? 0;
      this.#partner.set(from, at);
      this.#partner.set(at, from);
    });
    this.#skipped = this.tokens.map(() => false);
    this.tokens.forEach((_, at) => this.#skipAt(at));
    for (let round = 0; round < 2; round++) this.tokens.forEach((_, at) => this.#skipUnused(at));
  }

  text(at: number): string {
    return this.tokens[at]?.text ?? "";
  }

  isSkipped(at: number): boolean {
    return this.#skipped[at] ?? true;
  }

  /** The matching bracket of the one at `at`. */
  partner(at: number): number {
    return this.#partner.get(at) ?? at;
  }

  /** The token that ends the statement that begins at `at`: its semicolon. */
  endOfStatement(at: number): number {
    for (let next = at; next < this.tokens.length; next++) {
      const text = this.text(next);
      if (text === ";") return next;
      if (")]}".includes(text)) return next - 1;
      next = "([{".includes(text) ? this.partner(next) : next;
    }
    return this.tokens.length - 1;
  }

  /** The source from token `from` to token `to`, both included, replaced. */
  change(from: number, to: number, text: string): Change {
    const start = this.tokens[from]?.start ?? 0;
    return { start, from: this.source.slice(start, this.tokens[to]?.end ?? start), to: text };
  }

  #skipAt(at: number): void {
    const text = this.text(at);
    if (text === "throw") this.#skip(at + 1, this.endOfStatement(at));
    if (text === "import" || (text === "export" && this.text(at + 1) === "{")) {
      this.#skip(at, this.endOfStatement(at));
    }
    if (!MESSAGE_MAKERS.test(text) || this.text(at + 1) !== "(") return;
    const close = this.partner(at + 1);
    this.#skip(at + 1, close);
    if (this.text(at - 1) === "function") this.#skip(close, this.partner(close + 1));
  }

  /** A function that is called in messages only makes messages. */
  #skipUnused(at: number): void {
    if (this.text(at) !== "function" || this.text(at - 1) === "export") return;
    const name = this.text(at + 1);
    const isUsed = this.tokens.some(
      ({ text }, other) => text === name && other !== at + 1 && !this.isSkipped(other),
    );
    const close = this.partner(at + 2);
    if (!isUsed) this.#skip(close, this.partner(close + 1));
  }

  #skip(from: number, to: number): void {
    for (let at = from; at <= to; at++) this.#skipped[at] = true;
  }
}

/** Positions of tokens that may be mutated. */
function* positions(code: Code): Generator<number> {
  for (let at = 0; at < code.tokens.length; at++) if (!code.isSkipped(at)) yield at;
}

function swaps(code: Code): Change[] {
  const made: Change[] = [];
  for (const at of positions(code)) {
    const text = code.text(at);
    if (code.tokens[at]?.kind === "text") continue;
    const isCalled = code.text(at - 1) === "." && code.text(at + 1) === "(";
    if (/^(some|every|min|max)$/.test(text) && !isCalled) continue;
    const others = Object.hasOwn(SWAPS, text) ? (SWAPS[text] ?? []) : [];
    made.push(...others.map((other) => code.change(at, at, other)));
    if (text === "!") made.push(code.change(at, at, ""));
  }
  return made;
}

function constants(code: Code): Change[] {
  const made: Change[] = [];
  for (const at of positions(code)) {
    const token = code.tokens[at];
    if (token?.kind === "number") {
      const isBig = token.text.endsWith("n");
      const value = BigInt(token.text.replaceAll("_", "").replace(/n$/, "").replace(/\..*$/, ""));
      for (const near of [value + 1n, value - 1n].filter((each) => each >= 0n)) {
        made.push(code.change(at, at, `${near}${isBig ? "n" : ""}`));
      }
    }
    const isHex = token?.kind === "text" && /^"([0-9a-f]{2})+"$/.test(token.text);
    if (isHex && code.text(at - 2) === "fromHex") {
      const last = token.text.at(-2) ?? "0";
      const other = ((Number.parseInt(last, 16) ^ 1) & 15).toString(16);
      made.push(code.change(at, at, `${token.text.slice(0, -2)}${other}"`));
    }
  }
  return made;
}

function conditions(code: Code): Change[] {
  const made: Change[] = [];
  for (const at of positions(code)) {
    const isLoop = code.text(at) === "while";
    if ((!isLoop && code.text(at) !== "if") || code.text(at + 1) !== "(") continue;
    const [from, to] = [at + 2, code.partner(at + 1) - 1];
    made.push(code.change(from, to, "false"));
    if (!isLoop) made.push(code.change(from, to, "true"));
  }
  return made;
}

/** Calls that stand alone, and throws that no condition of one line guards, are taken out. */
function statements(code: Code): Change[] {
  const made: Change[] = [];
  for (const at of positions(code)) {
    const isThrow = code.text(at) === "throw";
    if (!/^[;{}]$|^$/.test(code.text(at - 1)) && !isGuarded(code, at)) continue;
    if (isThrow) {
      if (code.text(at - 1) === ";" || code.text(at - 1) === "}") {
        made.push(code.change(at, code.endOfStatement(at), ";"));
      }
      continue;
    }
    const end = endOfCall(code, at);
    if (end !== null) made.push(code.change(at, end, ";"));
  }
  return made;
}

function isGuarded(code: Code, at: number): boolean {
  if (code.text(at - 1) !== ")") return false;
  return /^(if|for|while)$/.test(code.text(code.partner(at - 1) - 1));
}

/** The semicolon after a statement that is one call, `a.b(...).c(...);`. */
function endOfCall(code: Code, from: number): number | null {
  if (
    code.tokens[from]?.kind !== "word" ||
    /^(return|if|for|while|function)$/.test(code.text(from))
  )
    return null;
  let at = from + 1;
  while (true) {
    if (code.text(at) === "." || code.text(at) === "?.") at += 2;
    else if (code.text(at) === "(") at = code.partner(at) + 1;
    else return code.text(at) === ";" && code.text(at - 1) === ")" ? at : null;
  }
}

/** A failure, or any other value, that is not returned. */
function returns(code: Code): Change[] {
  const made: Change[] = [];
  for (const at of positions(code)) {
    if (code.text(at) !== "return" || code.text(at + 1) === ";") continue;
    const end = code.endOfStatement(at) - 1;
    if (
      !/^(null|true|false)$/.test(
        code.source.slice(code.tokens[at + 1]?.start, code.tokens[end]?.end),
      )
    ) {
      made.push(code.change(at + 1, end, "null"));
    }
  }
  return made;
}

/** Elements of lists, each taken out once. */
function elements(code: Code): Change[] {
  const made: Change[] = [];
  for (const at of positions(code)) {
    const isList =
      code.text(at) === "[" &&
      /^(return|=>|=|\(|,|:|\[|\.\.\.|\?|\?\?|in|of)$/.test(code.text(at - 1));
    const close = code.partner(at);
    if (!isList || /^(=|of)$/.test(code.text(close + 1)) || isParameter(code, at)) continue;
    let from = at + 1;
    for (let next = from; next <= close; next++) {
      if (next === close || code.text(next) === ",") {
        if (next > from) made.push(code.change(from, next === close ? next - 1 : next, ""));
        from = next + 1;
      } else if ("([{".includes(code.text(next))) next = code.partner(next);
    }
  }
  return made;
}

/** Whether the brackets at `at` take a parameter apart: `([a, b]) =>`, `([a]): type =>` and their like. */
function isParameter(code: Code, at: number): boolean {
  const open = at - 1;
  if (code.text(open) !== "(") return false;
  return code.text(code.partner(open) + 1) === "=>";
}
