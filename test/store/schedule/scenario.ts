import fc from 'fast-check'
import type { NewScheduleEntry, ScheduleChange, ScheduleLimits } from '../../../src/contracts/schedule.js'

export const NOW = 1_764_547_200_000

export const limits = (changes: Partial<ScheduleLimits> = {}): ScheduleLimits => ({
  slots: 1,
  maxWaiting: 100,
  perMinute: 0,
  ttlMs: 10_000,
  ...changes,
})

export const entry = (id: number, changes: Partial<NewScheduleEntry> = {}): NewScheduleEntry => ({
  id,
  team: 'vision',
  rank: 1,
  cost: 1_000_000,
  ...changes,
})

export const change = (process: string, changes: Partial<ScheduleChange> = {}): ScheduleChange => ({
  process,
  enter: [],
  leave: [],
  ...changes,
})

/** Teams with their weights and own limits. */
export const TEAMS: Readonly<Record<string, Pick<NewScheduleEntry, 'cost' | 'concurrent'>>> = {
  plain: { cost: 1_000_000 },
  heavy: { cost: 333_333 },
  light: { cost: 2_000_000 },
  capped: { cost: 1_000_000, concurrent: 1 },
}

export interface RandomStep {
  change: ScheduleChange
  afterMs: number
}

/** Steps of three processes. Entries that leave may be waiting, running, dropped or unknown. */
export const randomSteps: fc.Arbitrary<RandomStep[]> = fc.array(
  fc.record({
    afterMs: fc.constantFrom(0, 1, 700, 3_000, 11_000, 70_000, -5_000),
    change: fc.record({
      process: fc.constantFrom('a', 'b', 'c'),
      enter: fc.array(
        fc
          .record({
            id: fc.integer({ min: 1, max: 12 }),
            team: fc.constantFrom(...Object.keys(TEAMS)),
            rank: fc.integer({ min: 0, max: 2 }),
            isRunning: fc.constantFrom(undefined, undefined, undefined, true as const),
          })
          .map(({ isRunning, ...one }) => ({ ...one, ...TEAMS[one.team], ...(isRunning && { isRunning }) })),
        { maxLength: 4 },
      ) as fc.Arbitrary<NewScheduleEntry[]>,
      leave: fc.array(
        fc.oneof(
          fc.record({ id: fc.integer({ min: 1, max: 12 }) }),
          fc.record({ id: fc.integer({ min: 1, max: 12 }), usedMs: fc.integer({ min: 0, max: 9_000 }) }),
        ),
        { maxLength: 3 },
      ),
      throttled: fc.constantFrom(undefined, undefined, undefined, {}, { waitMs: 4_000 }, { waitMs: 90_000 }),
    }),
  }),
  { maxLength: 25 },
) as fc.Arbitrary<RandomStep[]>
