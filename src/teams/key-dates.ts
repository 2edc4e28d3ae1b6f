const DAY_MS = 86_400_000
const PLAIN_DATE_LENGTH = 10
const DATE = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2}))?$/

/**
 * Returns the first millisecond after a date. `2027-11-01` includes that whole day in UTC;
 * `2027-11-01T12:00:00+01:00` (RFC 3339) is an instant. Returns `undefined` for an invalid date,
 * such as 30 February.
 */
export function endOfDate(written: string): number | undefined {
  if (!DATE.test(written)) return undefined
  const day = written.slice(0, PLAIN_DATE_LENGTH)
  const dayStart = Date.parse(`${day}T00:00:00Z`)
  if (Number.isNaN(dayStart) || dateOf(dayStart) !== day) return undefined
  if (written === day) return dayStart + DAY_MS
  const at = Date.parse(written)
  return Number.isNaN(at) ? undefined : at
}

/** Returns the UTC date of a time, as `2027-11-01`. */
export function dateOf(nowMs: number): string {
  return new Date(nowMs).toISOString().slice(0, PLAIN_DATE_LENGTH)
}

/**
 * Parses a number of days (`90d`) or a date into the date to write. Returns `undefined` for
 * anything else and for the past.
 */
export function expiryOf(input: string, nowMs: number): string | undefined {
  const [, days] = /^(\d{1,5})d$/.exec(input) ?? []
  const written = days === undefined ? input : dateOf(nowMs + Number(days) * DAY_MS)
  const end = endOfDate(written)
  return end !== undefined && end > nowMs ? written : undefined
}
