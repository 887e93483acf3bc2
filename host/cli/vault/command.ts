import { parseArgs } from "node:util";

import { EXIT, UsageError, type CliIo } from "#cli";

import { VaultClient } from "../../http/vault/client.ts";
import { parseTime } from "../attest/options.ts";
import { readOperator } from "../network-files.ts";

/** One option of a command. Every command has `--vault DIR` and `--json` besides its own. */
export interface VaultOption {
  /** What its value is called in the help; null for an option that is there or not. */
  readonly value: string | null;
  readonly summary: string;
  readonly required?: true;
  /** May be given more than once. */
  readonly many?: true;
}

/** A command of `symphony vault`: a row of its area's table. */
export interface VaultCommand {
  /** One word, or two such as `audit replay`. */
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** What it does, in sentences; usage and options are added. */
  readonly help: string;
  /** Words that must follow the name, as the help calls them. */
  readonly words?: readonly string[];
  readonly options: Readonly<Record<string, VaultOption>>;
  /** It works without a running Vault, and takes no `--vault`. */
  readonly offline?: true;
  /** Returns the exit code. */
  readonly run: (call: VaultCall) => Promise<number>;
}

const JSON_OPTION: Readonly<Record<string, VaultOption>> = {
  json: { value: null, summary: "one JSON object instead of lines" },
};
const COMMON: Readonly<Record<string, VaultOption>> = {
  vault: { value: "DIR", summary: "folder of the Vault", required: true },
  ...JSON_OPTION,
};

function optionsOf({ options, offline }: VaultCommand): Readonly<Record<string, VaultOption>> {
  return { ...options, ...(offline === true ? JSON_OPTION : COMMON) };
}

type Values = Readonly<
  Record<string, string | boolean | readonly (string | boolean)[] | undefined>
>;

/** Unix milliseconds as people read them, UTC; `-` for none. */
export function timeText(timeMs: number | null): string {
  return timeMs === null ? "-" : new Date(timeMs).toISOString();
}

/** Rows under a header, in columns. */
export function tableText(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** The words of one call, read; `required` options and `words` are known to be there. */
export class VaultCall {
  readonly words: readonly string[];
  readonly json: boolean;
  readonly io: CliIo;
  readonly #values: Values;

  constructor(args: { readonly words: readonly string[]; readonly values: Values; io: CliIo }) {
    this.words = args.words;
    this.#values = args.values;
    this.json = args.values["json"] === true;
    this.io = args.io;
  }

  /** The Vault's operator listener. @throws UsageError when it has not run in this folder */
  async client(): Promise<VaultClient> {
    return new VaultClient(await readOperator(this.directory));
  }

  get directory(): string {
    return this.required("vault");
  }

  /** Value of an option. @throws UsageError when it is absent or empty */
  required(option: string): string {
    const value = this.optional(option);
    if (value === undefined || value === "") throw missing(option);
    return value;
  }

  optional(option: string): string | undefined {
    const value = this.#values[option];
    return typeof value === "string" ? value : undefined;
  }

  /** Whole number of an option, or undefined without it. @throws UsageError */
  count(option: string): number | undefined {
    const text = this.optional(option);
    if (text === undefined) return undefined;
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isSafeInteger(value)) return value;
    throw new UsageError(`--${option}: expected a whole number, got ${text}`);
  }

  /** Unix milliseconds of an ISO 8601 time with its zone, or undefined without it. @throws UsageError */
  time(option: string): number | undefined {
    const text = this.optional(option);
    return text === undefined ? undefined : parseTime(`--${option}`, text);
  }

  /** One of `choices`. @throws UsageError */
  choice<Choice extends string>(option: string, choices: readonly Choice[]): Choice | undefined {
    const text = this.optional(option);
    if (text === undefined) return undefined;
    const found = choices.find((each) => each === text);
    if (found !== undefined) return found;
    throw new UsageError(`--${option}: expected ${choices.join(", ")}, got ${text}`);
  }

  /** As {@link choice}. @throws UsageError when it is absent, too */
  requiredChoice<Choice extends string>(option: string, choices: readonly Choice[]): Choice {
    const chosen = this.choice(option, choices);
    if (chosen === undefined) throw missing(option);
    return chosen;
  }

  /** Values of an option that may be repeated. */
  all(option: string): readonly string[] {
    const values = this.#values[option];
    return typeof values === "object" ? values.filter((each) => typeof each === "string") : [];
  }

  flag(option: string): boolean {
    return this.#values[option] === true;
  }

  /** Prints an answer: one line of JSON with `--json`, else `human`, with a line end. Returns exit code 0. */
  show(answer: unknown, human: string): number {
    this.io.stdout(this.json ? `${JSON.stringify(answer)}\n` : `${human}\n`);
    return EXIT.ok;
  }
}

/**
 * Reads the words after a command's name and runs it.
 *
 * @throws UsageError for an unknown option, a missing one, and too few or too many words.
 */
export function callCommand(
  command: VaultCommand,
  argv: readonly string[],
  io: CliIo,
): Promise<number> {
  const options = optionsOf(command);
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: Object.fromEntries(
      Object.entries(options).map(([name, { value, many }]) => [
        name,
        { type: value === null ? "boolean" : "string", multiple: many === true } as const,
      ]),
    ),
  });
  const words = command.words ?? [];
  if (positionals.length !== words.length) {
    const expected = words.length === 0 ? "no words" : words.join(" ");
    throw new UsageError(`vault ${command.name}: expected ${expected}, got ${positionals.length}`);
  }
  for (const [name, { required }] of Object.entries(options)) {
    if (required === true && values[name] === undefined) throw missing(name);
  }
  return command.run(new VaultCall({ words: positionals, values, io }));
}

/** The help of one command. */
export function helpOf(command: VaultCommand): string {
  const { name, help, words = [] } = command;
  const all = Object.entries(optionsOf(command));
  const usage = all.map(([option, each]) => {
    const text = spelled(option, each);
    return each.required === true ? text : `[${text}]`;
  });
  const width = Math.max(...all.map(([option, each]) => spelled(option, each).length));
  const lines = all.map(
    ([option, each]) => `  ${spelled(option, each).padEnd(width)}   ${each.summary}`,
  );
  return `symphony vault ${[name, ...words, ...usage].join(" ")}\n\n${help}\n\n${lines.join("\n")}\n`;
}

function spelled(option: string, { value }: VaultOption): string {
  return value === null ? `--${option}` : `--${option} ${value}`;
}

function missing(option: string): UsageError {
  return new UsageError(`--${option}: expected a value`);
}
