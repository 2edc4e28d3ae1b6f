const MINUTE = 60
const HOUR = 3_600
const DAY = 86_400

/** What is said where nothing is known: never 0. */
export const UNKNOWN = 'unknown'

/** An amount of credits: at most four decimals, unless that would make nothing of it; two where there are thousands. */
export function credits(amount: number | undefined, minDigits = 2): string {
  if (amount === undefined) return UNKNOWN
  const size = Math.abs(amount)
  if (size > 0 && size < 0.00005) return small(amount)
  return size >= 1_000 ? plain(amount, 2, 2) : plain(amount, minDigits, 4)
}

/** The same for amounts that change under one's eyes, or stand under each other: always with all decimals. */
export function steadyCredits(amount: number | undefined): string {
  return credits(amount, 4)
}

/** An amount with a sign, for what may go either way. */
export function signedCredits(amount: number | undefined): string {
  return amount === undefined || amount <= 0 ? credits(amount).replace('-', '−') : `+${credits(amount)}`
}

export function count(value: number): string {
  return plain(value, 0, 0)
}

/** How long, in the two largest units: `3 d 4 h`, `5 h 12 min`, `12 min`, `40 s`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds))
  if (whole < MINUTE) return `${whole} s`
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)} min`
  if (whole < DAY) return pair(whole, [HOUR, 'h'], [MINUTE, 'min'])
  if (whole < 100 * DAY) return pair(whole, [DAY, 'd'], [HOUR, 'h'])
  return whole < 1_000 * DAY ? `${plain(whole / DAY, 0, 0)} days` : `${plain(whole / DAY / 365, 0, 1)} years`
}

/** How long ago. */
export function age(ms: number): string {
  return ms < 1_500 ? 'just now' : `${duration(ms / 1_000)} ago`
}

/** How long something still takes, or how long it has been over. */
export function ahead(ms: number): string {
  return ms >= 0 ? `in ${duration(ms / 1_000)}` : `${duration(-ms / 1_000)} ago`
}

export function milliseconds(ms: number | undefined): string {
  if (ms === undefined) return UNKNOWN
  if (ms < 10) return `${plain(ms, 0, 1)} ms`
  return ms < 1_000 ? `${plain(ms, 0, 0)} ms` : `${plain(ms / 1_000, 0, ms < 10_000 ? 2 : 1)} s`
}

export function bytes(value: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB']
  const power = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10))
  return `${plain(value / 1024 ** power, 0, power === 0 ? 0 : 1)} ${units[power]}`
}

/** A share in per cent, rounded down: 100 % means all of it. What is more than nothing is never told as 0 %. */
export function percent(share: number): string {
  const value = share * 100 + 1e-9
  if (share > 0 && value < 0.1) return '<0.1 %'
  return value < 10 ? `${plain(Math.floor(value * 10) / 10, 0, 1)} %` : `${plain(Math.floor(value), 0, 0)} %`
}

/** `27 Nov 19:40`; without a time zone in the reader's own. */
export function moment(at: string | number, timeZone?: string): string {
  const time = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const
  return dated(at, { day: 'numeric', month: 'short', ...time }, timeZone)
}

/** `19:40:12`. */
export function clock(at: string | number, timeZone?: string): string {
  return dated(at, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' }, timeZone)
}

export function dayOf(at: string | number, timeZone?: string): string {
  return dated(at, { day: 'numeric', month: 'short', year: 'numeric' }, timeZone)
}

/** Months as the books name them, the latest first: `2026-11`, `2026-10`, … */
export function monthsBack(month: string, howMany: number): string[] {
  const [year = 0, number = 1] = month.split('-').map(Number)
  return Array.from({ length: howMany }, (_, index) => {
    const at = year * 12 + number - 1 - index
    return `${Math.floor(at / 12)}-${String((at % 12) + 1).padStart(2, '0')}`
  })
}

/** `4.2×10⁻⁶`. */
function small(amount: number): string {
  const [mantissa = '', exponent = ''] = amount.toExponential(1).split('e-')
  return `${mantissa.replace('-', '−')}×10⁻${[...exponent].map(digit => '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(digit)]).join('')}`
}

function plain(value: number, minDigits: number, maxDigits: number): string {
  const digits = { minimumFractionDigits: minDigits, maximumFractionDigits: maxDigits }
  return new Intl.NumberFormat('en-GB', digits).format(value)
}

type Unit = [seconds: number, name: string]

function pair(whole: number, [large, largeName]: Unit, [small, smallName]: Unit): string {
  const rest = Math.floor((whole % large) / small)
  return `${Math.floor(whole / large)} ${largeName}${rest > 0 ? ` ${rest} ${smallName}` : ''}`
}

function dated(at: string | number, parts: Intl.DateTimeFormatOptions, timeZone?: string): string {
  const moment = new Date(at)
  if (Number.isNaN(moment.getTime())) return UNKNOWN
  return new Intl.DateTimeFormat('en-GB', { ...parts, ...(timeZone !== undefined && { timeZone }) })
    .format(moment)
    .replace(',', '')
}
