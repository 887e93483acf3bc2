/** What a rate limit allows: as many at once, and as many again over each window. */
export interface RateLimit {
  readonly tasksMax: number;
  readonly windowMs: number;
}

/**
 * A store of tokens as of a time: whole ones in [0, tasksMax], and the part of the next that has come since, in
 * `1 / windowMs` of a token.
 */
export interface TokenWindow {
  readonly tokens: number;
  readonly remainder: number;
  readonly atMs: number;
}

/**
 * The window as it stands now: tokens come evenly, `tasksMax` in `windowMs`, and never more are kept. Exact in integers;
 * nothing before it was first asked for, a full one. A clock that went back brings no tokens.
 */
export function refilled(
  window: TokenWindow | undefined,
  { tasksMax, windowMs }: RateLimit,
  nowMs: number,
): TokenWindow {
  const full = { tokens: tasksMax, remainder: 0, atMs: nowMs };
  if (window === undefined) return full;
  const elapsedMs = Math.max(0, nowMs - window.atMs);
  if (elapsedMs >= windowMs) return full;
  const atMs = Math.max(nowMs, window.atMs);
  const parts = BigInt(window.remainder) + BigInt(elapsedMs) * BigInt(tasksMax);
  const tokens = window.tokens + Number(parts / BigInt(windowMs));
  if (tokens >= tasksMax) return { ...full, atMs };
  return { tokens, remainder: Number(parts % BigInt(windowMs)), atMs };
}
