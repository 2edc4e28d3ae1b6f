const MINUTE = 60
const HOUR = 3_600
const DAY = 86_400

/** Shown for a missing value, never 0. */
export const UNKNOWN = 'unknown'

/**
 * Formats an amount of credits with at most four decimals, two from 1,000 on. Amounts too small for
 * that are shown in scientific notation rather than as 0.
 */
export function credits(amount: number | undefined, minDigits = 2): string {
  if (amount === undefined) return UNKNOWN
  const size = Math.abs(amount)
  if (size > 0 && size < 0.00005) return scientific(amount)
  return size >= 1_000 ? decimal(amount, 2, 2) : decimal(amount, minDigits, 4)
}

/** Formats credits always with four decimals, for columns and for values that update in place. */
export function alignedCredits(amount: number | undefined): string {
  return credits(amount, 4)
}

/** Formats credits with their sign. */
export function signedCredits(amount: number | undefined): string {
  return amount === undefined || amount <= 0 ? credits(amount).replace('-', '−') : `+${credits(amount)}`
}

/** Formats credits with as many decimals as they have, up to nine. */
export function exactCredits(amount: number): string {
  return amount.toFixed(9).replace(/\.?0+$/, '')
}

export function count(value: number): string {
  return decimal(value, 0, 0)
}

/** Formats a duration in its two largest units: `3 d 4 h`, `5 h 12 min`, `12 min`, `40 s`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds))
  if (whole < MINUTE) return `${whole} s`
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)} min`
  if (whole < DAY) return twoUnits(whole, [HOUR, 'h'], [MINUTE, 'min'])
  if (whole < 100 * DAY) return twoUnits(whole, [DAY, 'd'], [HOUR, 'h'])
  return whole < 1_000 * DAY ? `${decimal(whole / DAY, 0, 0)} days` : `${decimal(whole / DAY / 365, 0, 1)} years`
}

/** Formats the age of a moment in the past: `31 s ago`. */
export function ago(ms: number): string {
  return ms < 1_500 ? 'just now' : `${duration(ms / 1_000)} ago`
}

/** Formats the time left until a moment, or its age once it has passed. */
export function until(ms: number): string {
  return ms >= 0 ? `in ${duration(ms / 1_000)}` : `${duration(-ms / 1_000)} ago`
}

export function milliseconds(ms: number): string {
  if (ms < 10) return `${decimal(ms, 0, 1)} ms`
  return ms < 1_000 ? `${decimal(ms, 0, 0)} ms` : `${decimal(ms / 1_000, 0, ms < 10_000 ? 2 : 1)} s`
}

export function bytes(value: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB']
  const power = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10))
  return `${decimal(value / 1024 ** power, 0, power === 0 ? 0 : 1)} ${units[power]}`
}

/** Formats a share, rounded down: 100% means all of it. A share above 0 is never shown as 0%. */
export function percent(share: number): string {
  const value = share * 100 + 1e-9
  if (share > 0 && value < 0.1) return '<0.1%'
  return value < 10 ? `${decimal(Math.floor(value * 10) / 10, 0, 1)}%` : `${decimal(Math.floor(value), 0, 0)}%`
}

/** Formats a date and time in the browser's time zone or in `timeZone`: `27 Nov 19:40`. */
export function dateTime(at: string | number, timeZone?: string): string {
  return formatDate(at, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', timeZone })
}

/** Formats a time of day: `19:40:12`. */
export function timeOfDay(at: string | number | Date, timeZone?: string): string {
  return formatDate(at, { hour: '2-digit', minute: '2-digit', second: '2-digit', timeZone })
}

/** Lists months backwards, starting with the given one: `2026-11`, `2026-10`, … */
export function monthsBack(month: string, length: number): string[] {
  const [year = 0, number = 1] = month.split('-').map(Number)
  return Array.from({ length }, (_, index) => {
    const months = year * 12 + number - 1 - index
    return `${Math.floor(months / 12)}-${String((months % 12) + 1).padStart(2, '0')}`
  })
}

/** Formats like `4.2×10⁻⁶`. */
function scientific(amount: number): string {
  const [mantissa = '', exponent = ''] = amount.toExponential(1).split('e-')
  return `${mantissa.replace('-', '−')}×10⁻${[...exponent].map(digit => '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(digit)]).join('')}`
}

function decimal(value: number, minimumFractionDigits: number, maximumFractionDigits: number): string {
  return value.toLocaleString('en-GB', { minimumFractionDigits, maximumFractionDigits })
}

type Unit = [seconds: number, name: string]

function twoUnits(whole: number, [large, largeName]: Unit, [small, smallName]: Unit): string {
  const rest = Math.floor((whole % large) / small)
  return `${Math.floor(whole / large)} ${largeName}${rest > 0 ? ` ${rest} ${smallName}` : ''}`
}

type Parts = { [K in keyof Intl.DateTimeFormatOptions]: Intl.DateTimeFormatOptions[K] | undefined }

function formatDate(at: string | number | Date, parts: Parts): string {
  const date = new Date(at)
  if (Number.isNaN(date.getTime())) return UNKNOWN
  const format = new Intl.DateTimeFormat('en-GB', { hourCycle: 'h23', ...parts } as Intl.DateTimeFormatOptions)
  return format.format(date).replace(',', '')
}
