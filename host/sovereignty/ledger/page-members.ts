/** The members of a set that share their upper 16 bits, in the form that {@link PageMembers.values} has. */
export interface PageMembers {
  readonly page: number;
  readonly size: number;
  readonly form: (typeof FORMS)[number];
  /** Lower 16 bits: each of a list, first and last of each of the runs, or 4,096 words of a bitmap. */
  readonly values: Uint16Array;
}

export const FORMS = ["list", "runs", "bitmap"] as const;

/*
 * What a task of a million subjects spends its time in: each loop reads the form as it is and calls nothing for a
 * member.
 */

/** The lower 16 bits of every member, ascending. Not to be changed. */
export function lowsOf({ size, form, values }: PageMembers): Uint16Array {
  if (form === "list") return values;
  const lows = new Uint16Array(size);
  let at = 0;
  if (form === "runs") {
    for (let run = 0; run < values.length; run += 2) {
      const last = values[run + 1] ?? 0;
      for (let low = values[run] ?? 0; low <= last; low += 1) {
        lows[at] = low;
        at += 1;
      }
    }
    return lows;
  }
  // Two words at once, since most of a bitmap that was worth making has bits in both.
  for (let index = 0; index < values.length; index += 2) {
    let word = (values[index] ?? 0) | ((values[index + 1] ?? 0) << 16);
    while (word !== 0) {
      lows[at] = index * 16 + 31 - Math.clz32(word & -word);
      at += 1;
      word &= word - 1;
    }
  }
  return lows;
}

/** Whether the ordinal whose lower 16 bits are `low` is one. */
export function isMember({ form, values }: PageMembers, low: number): boolean {
  if (form === "bitmap") return (((values[low >>> 4] ?? 0) >>> (low & 15)) & 1) === 1;
  // The number of values that are not above `low`.
  let from = 0;
  let to = values.length;
  while (from < to) {
    const middle = (from + to) >>> 1;
    if ((values[middle] ?? 0) <= low) from = middle + 1;
    else to = middle;
  }
  return values[from - 1] === low || (form === "runs" && from % 2 === 1);
}

/** Adds `amount` to what `balances`, one for each ordinal of the page, has for each member. */
export function addToMembers(members: PageMembers, balances: Float64Array, amount: number): void {
  const { form, values } = members;
  if (form === "bitmap") {
    addToBitmap(values, balances, amount);
  } else if (form === "runs") {
    for (let run = 0; run < values.length; run += 2) {
      const last = values[run + 1] ?? 0;
      for (let low = values[run] ?? 0; low <= last; low += 1) {
        balances[low] = (balances[low] ?? 0) + amount;
      }
    }
  } else {
    for (let index = 0; index < values.length; index += 1) {
      const low = values[index] ?? 0;
      balances[low] = (balances[low] ?? 0) + amount;
    }
  }
}

function addToBitmap(words: Uint16Array, balances: Float64Array, amount: number): void {
  for (let index = 0; index < words.length; index += 2) {
    const first = index * 16 + 31;
    let word = (words[index] ?? 0) | ((words[index + 1] ?? 0) << 16);
    while (word !== 0) {
      const low = first - Math.clz32(word & -word);
      balances[low] = (balances[low] ?? 0) + amount;
      word &= word - 1;
    }
  }
}

/** How many members have more than `limit` in two pages of balances together. */
export function countAbove(
  members: PageMembers,
  [left, right]: readonly [Float64Array, Float64Array],
  limit: number,
): number {
  const lows = lowsOf(members);
  let count = 0;
  for (let index = 0; index < lows.length; index += 1) {
    const low = lows[index] ?? 0;
    if ((left[low] ?? 0) + (right[low] ?? 0) > limit) count += 1;
  }
  return count;
}

/** How many members have their bit set: bit 0 of word 0 is the first ordinal's. */
export function countMarked({ form, values }: PageMembers, marks: Uint16Array): number {
  let count = 0;
  if (form === "bitmap") {
    for (let index = 0; index < values.length; index += 2) {
      const first = (values[index] ?? 0) & (marks[index] ?? 0);
      const second = (values[index + 1] ?? 0) & (marks[index + 1] ?? 0);
      count += ones(first | (second << 16));
    }
  } else if (form === "runs") {
    for (let run = 0; run < values.length; run += 2) {
      count += countMarkedRun(values[run] ?? 0, values[run + 1] ?? 0, marks);
    }
  } else {
    for (let index = 0; index < values.length; index += 1) {
      const low = values[index] ?? 0;
      count += ((marks[low >>> 4] ?? 0) >>> (low & 15)) & 1;
    }
  }
  return count;
}

function countMarkedRun(first: number, last: number, marks: Uint16Array): number {
  let count = 0;
  for (let low = first; low <= last;) {
    const word = marks[low >>> 4] ?? 0;
    const whole = (low & 15) === 0 && low + 15 <= last;
    count += whole ? ones(word) : (word >>> (low & 15)) & 1;
    low += whole ? 16 : 1;
  }
  return count;
}

/** Bits set in a word of 32. */
export function ones(word: number): number {
  const pairs = word - ((word >>> 1) & 0x5555_5555);
  const fours = (pairs & 0x3333_3333) + ((pairs >>> 2) & 0x3333_3333);
  const eights = (fours + (fours >>> 4)) & 0x0f0f_0f0f;
  return Math.imul(eights, 0x0101_0101) >>> 24;
}
