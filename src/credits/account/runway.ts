import type { Burn, BurnWindow, Runway } from '../../contracts/account.js'
import type { Nanocredits } from '../../contracts/nanocredits.js'

/**
 * Credits that had left the account by a moment, since the ledger began: booked plus drift, without
 * top-ups.
 */
export interface Outflow {
  at: number
  outflow: Nanocredits
}

const HOUR_MS = 3_600_000

/** Length of each burn window, and how much of it must be known. */
const WINDOWS = {
  '1h': { ms: HOUR_MS, knownMs: HOUR_MS / 6 },
  '24h': { ms: 24 * HOUR_MS, knownMs: 12 * HOUR_MS },
  '7d': { ms: 168 * HOUR_MS, knownMs: 84 * HOUR_MS },
} as const satisfies Record<BurnWindow, unknown>

const BURN_WINDOWS = Object.keys(WINDOWS) as BurnWindow[]

/** Computes the burn over each window that ends at `latest`. `history` is in order of time. */
export function burnOf(history: readonly Outflow[], latest: Outflow): Burn {
  const burn: Burn = {}
  for (const window of BURN_WINDOWS) {
    const { ms, knownMs } = WINDOWS[window]
    const start = startOf(history, latest.at - ms)
    if (!start || latest.at - start.at < knownMs) continue
    burn[window] = Math.max(0, latest.outflow - start.outflow) / ((latest.at - start.at) / 1000)
  }
  return burn
}

/** Computes the runway at the highest known burn. Undefined without a balance or a burn above 0. */
export function runwayOf(remaining: Nanocredits | undefined, burn: Burn, now: number): Runway | undefined {
  if (remaining === undefined) return undefined
  const known = BURN_WINDOWS.flatMap(window => {
    const rate = burn[window]
    return rate === undefined || rate <= 0 ? [] : [{ window, seconds: Math.max(0, remaining) / rate }]
  })
  const shortest = known.sort((one, other) => one.seconds - other.seconds)[0]
  return shortest && { ...shortest, emptyAt: now + shortest.seconds * 1000 }
}

/** Formats a moment for people: `Friday 27 November 2026, 23:40 (Europe/Berlin)`. */
export function timeOfDay(at: number, timeZone: string): string {
  const date = { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' } as const
  const time = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const
  const say = (parts: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat('en-GB', { timeZone, ...parts }).format(at)
  return `${say(date).replace(',', '')}, ${say(time)} (${timeZone})`
}

/** Finds the last outflow before the window begins, else the first one in it. */
function startOf(history: readonly Outflow[], from: number): Outflow | undefined {
  return history.findLast(({ at }) => at <= from) ?? history[0]
}
