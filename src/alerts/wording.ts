import { formatCredits, type Nanocredits } from '../contracts/nanocredits.js'

const MINUTE = 60
const HOUR = 3_600
const DAY = 86_400

/**
 * Formats a duration, rounded down, in the largest unit that gives at least two: `95 minutes`, `22
 * hours`, `6 days`.
 */
export function duration(seconds: number): string {
  const [unit, name] = seconds >= 2 * DAY ? [DAY, 'days'] : seconds >= 2 * HOUR ? [HOUR, 'hours'] : [MINUTE, 'minutes']
  return `${Math.floor(seconds / unit)} ${name}`
}

/**
 * Formats an instant (milliseconds since 1970) for people: `Friday 27 November 23:40
 * Europe/Berlin`.
 */
export function localTime(at: number, timeZone: string): string {
  const format = new Intl.DateTimeFormat('en-GB', {
    timeZone,
    weekday: 'long',
    day: 'numeric',
    month: 'long',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  })
  const parts = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, value]))
  return `${parts.weekday} ${parts.day} ${parts.month} ${parts.hour}:${parts.minute} ${timeZone}`
}

const SHOWN_DIGIT: Nanocredits = 100_000

/** Formats an amount with at most four decimals, or more if it would be rounded to 0. */
export function amount(credits: Nanocredits): string {
  const rounded = Math.round(credits / SHOWN_DIGIT) * SHOWN_DIGIT
  return formatCredits(rounded === 0 ? Math.round(credits) : rounded)
}

/** Formats a share as `80 %`. Rounded down, so that `100 %` means all of it. */
export function percent(share: number): string {
  // 0.29 * 100 is 28.999999999999996.
  return `${Math.floor(share * 100 + 1e-9)} %`
}
