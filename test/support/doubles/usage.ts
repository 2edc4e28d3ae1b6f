import type { AccountMonth } from '../../../src/contracts/statements.js'
import type { UsageDay } from '../../../src/contracts/store.js'

/** Creates a usage day of a team that is empty except for the given members. */
export function usageDay(day: string, team: string, figures: Partial<UsageDay> = {}): UsageDay {
  return {
    day,
    team,
    requests: 0,
    hits: 0,
    coalesced: 0,
    savedByCache: 0,
    savedByCoalescing: 0,
    paidCalls: 0,
    charged: 0,
    unknownCalls: 0,
    unknown: 0,
    reservedCalls: 0,
    reserved: 0,
    shared: 0,
    ...figures,
  }
}

/** An account that adds up: 10 − 4.99 + 0.0034 = 0.0034 booked + 5.01 drift. */
export const ACCOUNT: AccountMonth = {
  opening: { remaining: 10_000_000_000, at: Date.parse('2026-11-01T00:00:05Z') },
  closing: { remaining: 4_990_000_000, at: Date.parse('2026-11-30T23:59:00Z') },
  topUps: 3_400_000,
  booked: 3_400_000,
  drift: 5_010_000_000,
  events: [
    { id: 'e1', at: Date.parse('2026-11-20T10:00:00Z'), month: '2026-11', kind: 'foreign', amount: 5_010_000_000 },
  ],
}
