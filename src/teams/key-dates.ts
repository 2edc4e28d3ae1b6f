const DAY_MS = 86_400_000
const PLAIN_DATE_LENGTH = 10
const DATE = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2}))?$/

/**
 * The first millisecond after a date: `2027-11-01` means all of that day in UTC, `2027-11-01T12:00:00+01:00` (RFC 3339) that moment.
 * `undefined` for what is no date, such as the 30th of February.
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

/** The UTC date of a moment: `2027-11-01`. */
export function dateOf(nowMs: number): string {
  return new Date(nowMs).toISOString().slice(0, PLAIN_DATE_LENGTH)
}

/** Reads a wish such as `90d`, or a date, as the date to write; `undefined` for neither and for what is over already. */
export function expiryOf(wish: string, nowMs: number): string | undefined {
  const [, days] = /^(\d{1,5})d$/.exec(wish) ?? []
  const written = days === undefined ? wish : dateOf(nowMs + Number(days) * DAY_MS)
  const end = endOfDate(written)
  return end !== undefined && end > nowMs ? written : undefined
}
