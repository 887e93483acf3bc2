/**
 * Words of a line in capitals, with digits that look like letters turned back into them (`T0TAL`).
 *
 * Words are maximal runs of letters and digits; those made of digits alone are left out.
 */
export function keywordsOf(text: string): string[] {
  return (text.toUpperCase().match(/[\p{L}\p{N}]+/gu) ?? [])
    .filter((word) => /\p{L}/u.test(word))
    .map((word) =>
      (word.match(/\p{L}/gu) ?? []).length * 2 >= word.length
        ? word.replaceAll("0", "O").replaceAll("1", "I").replaceAll("5", "S")
        : word,
    );
}

/**
 * Whether one of `words` is `keyword`, allowing for one misread letter from five letters on and two
 * from ten on. Both in capitals.
 */
export function mentions(words: readonly string[], ...keywords: readonly string[]): boolean {
  return keywords.some((keyword) => words.some((word) => resembles(word, keyword)));
}

function resembles(word: string, keyword: string): boolean {
  if (word === keyword) return true;
  const allowed = keyword.length >= 10 ? 2 : keyword.length >= 5 ? 1 : 0;
  if (allowed === 0 || Math.abs(word.length - keyword.length) > allowed) return false;
  return editDistance(word, keyword) <= allowed;
}

/** Levenshtein distance; both texts are short. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const current = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(replaced, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}
