import { deepEqual } from 'node:assert/strict'
import fc from 'fast-check'
import type { Test } from 'tap'
import type { CallEntry, LedgerEntry, LedgerStore, LedgerTotals, SettledCall } from '../../../src/contracts/store.js'
import { modelLedger } from '../../support/doubles/model-ledger.js'
import { entriesOf } from '../../support/entries-of.js'
import { call, charged, type Harness, money, NO_TOTALS, unknown } from './samples.js'

type Step = { do: 'reserve' | 'note' | 'settle' | 'release'; id: number; cost: number; sure: boolean }

const WINDOWS = [
  { team: 'vision', day: '2026-11-30', month: '2026-11' },
  { team: 'vision', day: '2026-12-01', month: '2026-12' },
  { team: 'vision', day: '2026-12-02', month: '2026-12' },
  { team: 'other', day: '2026-12-01', month: '2026-12' },
]
const LIMITS = { daily: 250, monthly: 400 }
const ESTIMATE = 100

/** Costs are at most the estimate, so that no limit can be exceeded. */
const steps = fc.array(
  fc.record<Step>({
    do: fc.constantFrom('reserve', 'reserve', 'reserve', 'settle', 'settle', 'release', 'note'),
    id: fc.integer({ min: 0, max: 15 }),
    cost: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: ESTIMATE })),
    sure: fc.boolean(),
  }),
  { minLength: 1, maxLength: 40 },
)

/**
 * Creates a call of a round. Each round has its own teams in one store, and is earlier than the one
 * before.
 */
function callOf(round: number, id: number): CallEntry {
  const window = WINDOWS[id % WINDOWS.length] as (typeof WINDOWS)[number]
  const at = call('a').at - round * 1_000 + ((id * 7) % 16)
  return call(`${round}-${id}`, { ...window, team: `${window.team}-${round}`, estimate: ESTIMATE, at })
}

function take(ledger: LedgerStore, step: Step, entry: CallEntry): Promise<unknown> {
  if (step.do === 'reserve') return ledger.reserve(entry, LIMITS)
  if (step.do === 'release') return ledger.release(entry, { mayStillArrive: step.sure })
  // A note adds the job; with `sure` it also changes estimate and time.
  if (step.do === 'note')
    return ledger.note({
      ...entry,
      jobId: `job-${step.cost}`,
      ...(step.sure ? { estimate: step.cost, at: entry.at + 16 } : {}),
    })
  const settled = step.sure ? charged(step.cost, { costSource: sourceOf(step.cost) }) : unknown(step.cost)
  return ledger.settle(entry, { ...settled, settledAt: ENDED_AT + step.cost })
}

/** Unknown calls end in another order than the steps, some of them at the same time. */
const ENDED_AT = 1_764_547_200_000

function sourceOf(cost: number): SettledCall['costSource'] {
  return (['header', 'balance', 'estimate', 'history', 'estimate'] as const)[cost % 5] ?? 'header'
}

/** Reads everything a ledger holds about a call, its team and its round. */
async function observe(ledger: LedgerStore, round: number, entry: CallEntry) {
  const { team, day, month, callId } = entry
  const usage = await ledger.usage(month, team)
  const entries = (await entriesOf(ledger, day)).filter(other => other.team === team)
  return {
    entry: await ledger.entry(day, callId),
    booked: await ledger.booked(team, { day, month }),
    usage: usage.filter(row => row.paidCalls + row.unknownCalls + row.reservedCalls > 0),
    entries: entries.sort((one, other) => (one.callId < other.callId ? -1 : 1)),
    open: (await ledger.reservedBefore(callOf(round, 0).at + 999, 1_000)).map(open => open.callId),
    unknown: idsOf(await ledger.unknownSince(0, 1_000), round),
    recent: idsOf(await ledger.unknownSince(ENDED_AT + 30, 1_000), round),
  }
}

function idsOf(entries: LedgerEntry[], round: number): string[] {
  return entries.map(({ callId }) => callId).filter(callId => callId.startsWith(`${round}-`))
}

/** Computes the change of the totals since `before`; the rounds share one ledger. */
function changes(totals: LedgerTotals, before: LedgerTotals) {
  const names = ['sequence', 'spent', 'reserved', 'reservedCalls', 'calls', 'estimatedCalls'] as const
  return names.map(name => [name, totals[name] - before[name]])
}

/** Keeps the part of an outcome that concerns its own call. */
function withoutTotals(outcome: unknown): unknown {
  const { ok, window, booked } = Object(outcome) as Record<string, unknown>
  return { ok, window, booked }
}

export async function testModel(t: Test, harness: Harness): Promise<void> {
  const { ledger } = await harness.open(t)
  let round = 0
  const runs = { numRuns: 25 }

  await t.test('sequential steps behave like the model', async t => {
    await fc.assert(
      fc.asyncProperty(steps, async list => {
        round++
        const model = modelLedger().store
        const before = await ledger.totals()
        let latest = before.unknownAt
        for (const step of list) {
          const entry = callOf(round, step.id)
          const outcomes = [await take(ledger, step, entry), await take(model, step, entry)]
          deepEqual(withoutTotals(outcomes[0]), withoutTotals(outcomes[1]))
          deepEqual(await observe(ledger, round, entry), await observe(model, round, entry))
          const totals = await ledger.totals()
          const expected = await model.totals()
          deepEqual(changes(totals, before), changes(expected, NO_TOTALS))
          latest = Math.max(latest, expected.unknownAt)
          deepEqual(totals.unknownAt, latest)
          const costs = await model.recentCosts()
          deepEqual((await ledger.recentCosts()).slice(0, costs.length), costs)
        }
      }),
      runs,
    )
    t.pass()
  })

  await t.test(
    'after concurrent steps the totals are the sum of the entries, and reservations stay within the limits',
    async t => {
      await fc.assert(
        fc.asyncProperty(steps, async list => {
          round++
          const before = await ledger.totals()
          const outcomes = await Promise.all(
            list.map(step => take(ledger, step, callOf(round, step.id)).then(outcome => ({ step, outcome }))),
          )
          for (const { step, outcome } of outcomes) {
            if (step.do !== 'reserve') continue
            const { ok, booked } = outcome as { ok: boolean; booked: { daily: number; monthly: number } }
            if (
              ok &&
              list.every(({ do: verb }) => verb !== 'settle' && verb !== 'note') &&
              (booked.daily > LIMITS.daily || booked.monthly > LIMITS.monthly)
            )
              return false
          }
          const open = await ledger.reservedBefore(callOf(round, 0).at + 999, 1_000)
          const all = { spent: 0, reserved: 0, reservedCalls: 0, calls: 0 }
          const months: Record<string, number> = {}
          for (const { team, day, month } of WINDOWS.map((_, id) => callOf(round, id))) {
            const entries = (await entriesOf(ledger, day)).filter(entry => entry.team === team)
            const isHere = (entry: LedgerEntry) => entry.team === team && entry.day === day
            if (open.filter(isHere).length !== entries.filter(({ state }) => state === 'reserved').length) return false
            const amounts = { reserved: 0, charged: 0, unknown: 0 }
            for (const entry of entries) amounts[entry.state] += entry.settled?.cost ?? entry.estimate
            const row = (await ledger.usage(month, team)).find(row => row.day === day) ?? { ...money }
            if (row.reserved !== amounts.reserved || row.charged !== amounts.charged || row.unknown !== amounts.unknown)
              return false
            if (row.reservedCalls + row.paidCalls + row.unknownCalls !== entries.length) return false
            const { daily } = await ledger.booked(team, { day, month })
            const booked = amounts.reserved + amounts.charged + amounts.unknown
            if (daily !== booked) return false
            const name = `${team} ${month}`
            months[name] = (months[name] ?? 0) + booked
            const reservedCalls = entries.filter(({ state }) => state === 'reserved').length
            all.spent += amounts.charged + amounts.unknown
            all.reserved += amounts.reserved
            all.reservedCalls += reservedCalls
            all.calls += entries.length - reservedCalls
          }
          for (const { team, month } of WINDOWS.map((_, id) => callOf(round, id))) {
            const { monthly } = await ledger.booked(team, { day: 'none', month })
            if (monthly !== months[`${team} ${month}`]) return false
          }
          const now = await ledger.totals()
          const names = ['spent', 'reserved', 'reservedCalls', 'calls'] as const
          return (
            now.sequence - before.sequence <= list.length && names.every(name => now[name] - before[name] === all[name])
          )
        }),
        runs,
      )
      t.pass()
    },
  )
}
