import { csvOf, decimalText } from "./csv.ts";
import { DataStream } from "./stream.ts";

/** One company's records, as its operator would hand them to `symphony ingest`. */
export interface CompanyData {
  readonly vaultName: string;
  /** RFC 4180 text with a heading line; no cell is missing. */
  readonly csv: string;
}

/** What a column of the demo's tables holds; ranges are closed and public. */
export type DemoColumn =
  | { readonly name: string; readonly type: "text" }
  | { readonly name: string; readonly type: "integer"; readonly min: number; readonly max: number }
  | {
      readonly name: string;
      readonly type: "decimal";
      /** Decimals; `min` and `max` are integers at this scale. */
      readonly scale: number;
      readonly min: number;
      readonly max: number;
    };

/** Columns of every demo company's table, in their order. `customer_id` and `email` name the person. */
export const DEMO_COLUMNS = [
  { name: "customer_id", type: "text" },
  { name: "email", type: "text" },
  { name: "age", type: "integer", min: 18, max: 90 },
  { name: "city", type: "text" },
  { name: "balance", type: "decimal", scale: 2, min: 0, max: 1_000_000 },
  { name: "contact", type: "text" },
  { name: "visits", type: "integer", min: 0, max: 60 },
  { name: "spend", type: "decimal", scale: 2, min: 0, max: 500_000 },
  { name: "churned", type: "integer", min: 0, max: 1 },
] as const satisfies readonly DemoColumn[];

/** Customers of each demo company. */
export const DEMO_CUSTOMERS = 1_200;

const VAULT_NAMES = ["greenleaf-grocers", "northline-telecom", "harbour-bank"] as const;

const CITIES = ["Ashford", "Brightwater", "Carrow", "Dunmere", "Eastleigh", "Fairholm"] as const;

/** Cellular is the commonest, as it is among real customers. */
const CONTACTS = ["cellular", "cellular", "cellular", "telephone", "unknown"] as const;

/** People of all three companies, of each pair of them, and of one alone: 40 % of each are shared. */
const IN_ALL = 240;
const IN_EACH_PAIR = 120;
const IN_ONE = DEMO_CUSTOMERS - IN_ALL - 2 * IN_EACH_PAIR;

interface Person {
  readonly id: string;
  readonly age: number;
  readonly city: string;
}

/**
 * The tables of three made-up companies with 1 200 customers each, the same on every call.
 *
 * A person has one id, e-mail address, age and city everywhere, and each company's own balance,
 * contact, visits and spend. `churned` is drawn from a logistic model of age, balance and visits, of
 * which a logistic regression can learn to answer about four cases of five.
 */
export function generateDemoCompanies(): CompanyData[] {
  const members = membership();
  return VAULT_NAMES.map((vaultName, company) => {
    const stream = new DataStream(`company/${vaultName}`);
    const rows = stream.shuffled(members[company] ?? []).map((person) => rowOf(person, stream));
    return {
      vaultName,
      csv: csvOf(
        DEMO_COLUMNS.map(({ name }) => name),
        rows,
      ),
    };
  });
}

/** Who is a customer of each company; ids tell nothing about it. */
function membership(): Person[][] {
  const groups = [
    { companies: [0, 1, 2], size: IN_ALL },
    { companies: [0, 1], size: IN_EACH_PAIR },
    { companies: [0, 2], size: IN_EACH_PAIR },
    { companies: [1, 2], size: IN_EACH_PAIR },
    { companies: [0], size: IN_ONE },
    { companies: [1], size: IN_ONE },
    { companies: [2], size: IN_ONE },
  ] as const;
  const stream = new DataStream("people");
  const count = groups.reduce((sum, { size }) => sum + size, 0);
  const people = stream.shuffled(
    Array.from({ length: count }, (_, index) => ({
      id: `p${String(index + 1).padStart(6, "0")}`,
      age: stream.heaped(18, 90),
      city: stream.pick(CITIES),
    })),
  );
  const members: Person[][] = VAULT_NAMES.map(() => []);
  let from = 0;
  for (const { companies, size } of groups) {
    const group = people.slice(from, from + size);
    for (const company of companies) members[company]?.push(...group);
    from += size;
  }
  return members;
}

function rowOf({ id, age, city }: Person, stream: DataStream): string[] {
  const balance = stream.below(1_000_001);
  const visits = stream.below(61);
  const spend = Math.min(500_000, visits * stream.heaped(500, 9_000));
  return [
    id,
    `${id}@example.org`,
    String(age),
    city,
    decimalText(balance, 2),
    stream.pick(CONTACTS),
    String(visits),
    decimalText(spend, 2),
    stream.unit() < churnProbability({ age, balance, visits }) ? "1" : "0",
  ];
}

/** Young customers with little money there who seldom come are the likeliest to leave. */
function churnProbability(of: { age: number; balance: number; visits: number }): number {
  const age = (of.age - 54) / 36;
  const balance = of.balance / 500_000 - 1;
  const visits = of.visits / 30 - 1;
  return 1 / (1 + Math.exp(0.2 + 1.5 * age + 2 * balance + 2 * visits));
}
