import type { Nanocredits } from '../../nanocredits.js'

/** What had left the account by some time, since the ledger was begun: booked or drift, top-ups left out. */
export interface Spending {
  at: number
  gone: Nanocredits
}

const HOUR_MS = 3_600_000

/** The windows burn is measured over: how long, and how much of it must be known. */
const WINDOWS = {
  '1h': { ms: HOUR_MS, knownMs: HOUR_MS / 6 },
  '24h': { ms: 24 * HOUR_MS, knownMs: 12 * HOUR_MS },
  '7d': { ms: 168 * HOUR_MS, knownMs: 84 * HOUR_MS },
} as const

export type BurnWindow = keyof typeof WINDOWS

export const BURN_WINDOWS = Object.keys(WINDOWS) as BurnWindow[]

/** Nanocredits per second; a window is absent while too little of it is known. */
export type Burn = Partial<Record<BurnWindow, number>>

/** How long the balance lasts at the fastest of the known rates. */
export interface Runway {
  seconds: number
  /** Milliseconds since 1970. */
  emptyAt: number
  /** Whose rate that is. */
  window: BurnWindow
}

/** How fast credits go, over each window up to `latest`. `history` is in order of time. */
export function burnOf(history: readonly Spending[], latest: Spending): Burn {
  const burn: Burn = {}
  for (const window of BURN_WINDOWS) {
    const { ms, knownMs } = WINDOWS[window]
    const start = startOf(history, latest.at - ms)
    if (!start || latest.at - start.at < knownMs) continue
    burn[window] = Math.max(0, latest.gone - start.gone) / ((latest.at - start.at) / 1000)
  }
  return burn
}

/** Undefined while it cannot be known: no balance, no rate, or nothing is spent. */
export function runwayOf(remaining: Nanocredits | undefined, burn: Burn, now: number): Runway | undefined {
  if (remaining === undefined) return undefined
  const known = BURN_WINDOWS.flatMap(window => {
    const rate = burn[window]
    return rate === undefined || rate <= 0 ? [] : [{ window, seconds: Math.max(0, remaining) / rate }]
  })
  const shortest = known.sort((one, other) => one.seconds - other.seconds)[0]
  return shortest && { ...shortest, emptyAt: now + shortest.seconds * 1000 }
}

/** The time of day a moment falls on, for people: `Friday 27 November 2026, 23:40 (Europe/Berlin)`. */
export function timeOfDay(at: number, timeZone: string): string {
  const date = { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' } as const
  const time = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const
  const say = (parts: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat('en-GB', { timeZone, ...parts }).format(at)
  return `${say(date).replace(',', '')}, ${say(time)} (${timeZone})`
}

/** The last look before the window begins, else the first one in it. */
function startOf(history: readonly Spending[], from: number): Spending | undefined {
  return history.findLast(({ at }) => at <= from) ?? history[0]
}
