import { deepEqual } from 'node:assert/strict'
import { fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import type { Test } from 'tap'
import type { CallEntry, LedgerBooks, LedgerStore, SettledCall } from '../../../src/contracts/store.js'
import { type Mismatch, verifyDay, verifyMonth, verifyTotals } from '../../../src/credits/wholeness/verify.js'
import { entriesOf } from '../../support/entries-of.js'
import { call, charged, DAY, type Harness, MONTH, type StoredMark, unknown } from './samples.js'

type Ledger = LedgerStore & LedgerBooks

const KILLED_PROGRAM = fileURLToPath(new URL('./roll-up-until-killed.js', import.meta.url))
const NEXT_DAY = { day: '2026-12-01', month: '2026-12' }
const REFUSED = { name: 'StoreError', isFinal: true, mayHaveHappened: false }

/** Rolls up a day, at most `steps` of it. Returns the number of calls removed. */
export async function rollUp(ledger: LedgerBooks, day: string, { limit = 200, steps = 1_000_000 } = {}) {
  let removed = 0
  for await (const calls of ledger.rollUp(day, limit)) {
    removed += calls
    if (--steps <= 0) break
  }
  return removed
}

/** Lists every difference in the books. */
async function mismatches(ledger: Ledger): Promise<Mismatch[]> {
  const days = await Promise.all([DAY, NEXT_DAY.day].map(day => verifyDay(ledger, day)))
  const months = await Promise.all([MONTH, NEXT_DAY.month].map(month => verifyMonth(ledger, month)))
  const found = [...days, ...months, await verifyTotals(ledger)]
  if (found.includes(undefined)) throw new Error('the books kept changing')
  return found.flatMap(each => each ?? [])
}

/** Reads every sum of the ledger, and what proves that it is whole. */
async function figures(ledger: Ledger) {
  const { epoch: _random, ...totals } = await ledger.totals()
  const windows = { day: DAY, month: MONTH }
  return {
    totals,
    usage: [await ledger.usage(MONTH), await ledger.usage(NEXT_DAY.month)],
    monthly: [await ledger.monthly(MONTH), await ledger.monthly(NEXT_DAY.month)],
    months: await ledger.months(),
    booked: await Promise.all(['vision', 'other'].map(team => ledger.booked(team, windows))),
    lastSteps: await Promise.all([DAY, MONTH, NEXT_DAY.day, NEXT_DAY.month].map(each => ledger.lastStep(each))),
    costs: await ledger.recentCosts(),
    open: (await ledger.reservedBefore(Number.MAX_SAFE_INTEGER, 1_000)).map(({ callId }) => callId),
    unknown: (await ledger.unknownSince(0, 1_000)).map(({ callId }) => callId),
  }
}

/** Computes the digest of calls with their costs, as the contract describes it. */
function digestOf(calls: Record<string, number>): string {
  const sum = Buffer.alloc(20)
  for (const [callId, cost] of Object.entries(calls))
    for (const [index, byte] of createHash('sha1').update(`${callId} ${cost}`).digest().entries())
      sum[index] = (sum[index] ?? 0) ^ byte
  return sum.toString('hex')
}

export async function testRollUp(t: Test, harness: Harness): Promise<void> {
  t.test('charged calls become a mark of their team, and every sum stays', async t => {
    const { ledger } = await harness.open(t)
    for (const id of ['held', 'lost', 'gone']) await ledger.reserve(call(id), {})
    for (const id of ['a', 'b']) await ledger.settle(call(id), charged(9_007_199_254_740))
    await ledger.settle(call('other', { team: 'other' }), charged(0))
    await ledger.settle(call('lost'), unknown(90))
    await ledger.release(call('gone'), { mayStillArrive: true })
    await ledger.settle(call('later', NEXT_DAY), charged(7))
    const before = await figures(ledger)
    t.equal(await ledger.rolledUpTo(), '')
    t.equal(await rollUp(ledger, DAY), 3)
    t.same(await figures(ledger), before)
    t.same(await mismatches(ledger), [])
    t.same((await entriesOf(ledger, DAY)).map(({ callId }) => callId).sort(), ['held', 'lost'])
    t.equal((await entriesOf(ledger, NEXT_DAY.day)).length, 1)
    const marks = await ledger.rolledUp(DAY)
    const a = 9_007_199_254_740
    t.same(marks, [
      { team: 'other', calls: 1, charged: 0, digest: digestOf({ other: 0 }), isIntact: true },
      { team: 'vision', calls: 2, charged: 2 * a, digest: digestOf({ b: a, a }), isIntact: true },
    ])
    t.same(await ledger.rolledUp(NEXT_DAY.day), [])
    t.equal(await ledger.rolledUpTo(), DAY)
    t.equal(await rollUp(ledger, DAY), 0)
    t.same(await ledger.rolledUp(DAY), marks)
    t.equal(await rollUp(ledger, '2026-10-01'), 0, 'a day without calls')
    t.equal(await ledger.rolledUpTo(), DAY, 'never goes back')
  })

  t.test('a step of a removed call is refused, and changes nothing', async t => {
    const { ledger } = await harness.open(t)
    const jobs = { job: call('job', { jobId: 'j' }), paid: call('paid') }
    await ledger.note(jobs.job)
    for (const each of Object.values(jobs)) await ledger.settle(each, charged(60, { costSource: 'estimate' }))
    await rollUp(ledger, DAY)
    const before = await figures(ledger)
    for (const each of [jobs.job, jobs.paid, call('never seen'), call('earlier', { day: '2026-11-02' })]) {
      await t.rejects(ledger.note(each), REFUSED)
      for (const end of [charged(60), charged(50, { costSource: 'history' }), unknown(100)])
        await t.rejects(ledger.settle(each, end), REFUSED)
      await ledger.release(each)
      await ledger.release(each, { mayStillArrive: true })
    }
    t.same(await figures(ledger), before)
    t.same(await entriesOf(ledger, DAY), [])
    t.same(await mismatches(ledger), [])
    t.match(await ledger.reserve(call('today', NEXT_DAY), {}), { ok: true }, 'later days stay open')
  })

  t.test('a new call that a clock in the past books into such a day is booked', async t => {
    const { ledger } = await harness.open(t)
    await ledger.settle(call('before'), charged(60))
    await rollUp(ledger, DAY)
    t.match(await ledger.reserve(call('new'), { daily: 160 }), { ok: true, booked: { daily: 160 } })
    t.match(await ledger.reserve(call('more'), { daily: 160 }), { ok: false, window: 'daily' })
    await ledger.note(call('new', { jobId: 'j' }))
    t.match(await ledger.settle(call('new'), charged(40)), { spent: 100, calls: 2 })
    t.same(await mismatches(ledger), [])
    t.equal(await rollUp(ledger, DAY), 1)
    t.same(await mismatches(ledger), [])
  })

  t.test('a refused step does not undo the steps beside it', async t => {
    const { ledger } = await harness.open(t)
    await rollUp(ledger, DAY)
    const results = await Promise.allSettled(
      Array.from({ length: 60 }, (_, index) => ledger.note(call(`c${index}`, index % 2 ? {} : NEXT_DAY))),
    )
    t.equal(results.filter(({ status }) => status === 'fulfilled').length, 30)
    t.equal((await entriesOf(ledger, NEXT_DAY.day)).length, 30)
    t.match(await ledger.totals(), { reservedCalls: 30, reserved: 3_000, sequence: 30 })
  })

  t.test('a call that was kept is settled as ever, and rolled up the next time', async t => {
    const { ledger } = await harness.open(t)
    await ledger.reserve(call('held'), {})
    await ledger.settle(call('lost'), unknown(90))
    await ledger.settle(call('paid'), charged(70))
    await rollUp(ledger, DAY)
    await ledger.settle(call('lost'), charged(40, { costSource: 'history' }))
    await ledger.note(call('held', { jobId: 'j' }))
    await ledger.settle(call('held'), charged(5))
    t.same(await mismatches(ledger), [])
    const before = await figures(ledger)
    t.equal(await rollUp(ledger, DAY), 2)
    t.same(await figures(ledger), before)
    t.match(await ledger.rolledUp(DAY), [{ calls: 3, charged: 115, digest: digestOf({ paid: 70, lost: 40, held: 5 }) }])
    t.same(await mismatches(ledger), [])
  })

  t.test('a day that is rolled up in part verifies, and a mark that is lost or altered does not', async t => {
    let store = await harness.open(t)
    const { ledger } = store
    await Promise.all(Array.from({ length: 700 }, (_, index) => ledger.settle(call(`c${index}`), charged(index))))
    const removed = await rollUp(ledger, DAY, { limit: 50, steps: 2 })
    t.ok(removed > 0 && removed < 700, `${removed} calls removed`)
    t.same(await mismatches(ledger), [])
    const [mark] = await ledger.rolledUp(DAY)
    t.equal(mark?.calls, removed)
    const where = { day: DAY, team: 'vision' }
    const { calls = 0, charged: sum = 0, digest = '' } = mark ?? {}
    const seal = createHash('sha1').update(`${DAY} vision ${calls} ${sum} ${digest}`).digest('hex')
    const bad: [string, StoredMark | undefined][] = [
      ['lost', undefined],
      ['more', { calls, charged: sum + 1, digest, seal }],
      ['digest', { calls, charged: sum, digest: digest.replace(/^./, c => (c === '0' ? '1' : '0')), seal }],
    ]
    for (const [what, change] of bad) {
      store = await harness.setMark(t, store, where, change)
      const paid = { window: DAY, team: 'vision', figure: 'paidCalls', booked: 700, computed: 700 - removed }
      t.match(await verifyDay(store.ledger, DAY), [paid, { figure: 'charged' }], what)
    }
    store = await harness.setMark(t, store, where, { calls, charged: sum, digest, seal })
    t.same(await mismatches(store.ledger), [])
    t.equal(await rollUp(store.ledger, DAY, { limit: 50 }), 700 - removed)
    t.match(await store.ledger.rolledUp(DAY), [{ calls: 700, charged: (699 * 700) / 2 }])
    t.same(await mismatches(store.ledger), [])
  })

  t.test('kill -9 between or during steps leaves books that verify, and the next process goes on', async t => {
    const shared = await harness.share(t)
    const { ledger } = await shared.open()
    await Promise.all(Array.from({ length: 1_000 }, (_, index) => ledger.settle(call(`c${index}`), charged(index))))
    const before = await figures(ledger)
    const { technology, target, keyPrefix } = shared
    for (const steps of [1, 7, 20]) {
      const child = fork(KILLED_PROGRAM, [technology, target, keyPrefix], { execArgv: [] })
      let seen = 0
      child.on('message', () => ++seen === steps && child.kill('SIGKILL'))
      const [, signal] = await once(child, 'exit')
      t.equal(signal, 'SIGKILL')
      t.same(await mismatches(ledger), [])
      t.same(await figures(ledger), before)
    }
    const [half] = await ledger.rolledUp(DAY)
    t.ok(half && half.calls > 0 && half.calls < 1_000, `${half?.calls} calls removed`)
    t.equal(await rollUp(ledger, DAY), 1_000 - (half?.calls ?? 0))
    const all = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`c${index}`, index]))
    t.match(await ledger.rolledUp(DAY), [{ calls: 1_000, charged: 499_500, digest: digestOf(all), isIntact: true }])
    t.same(await figures(ledger), before)
  })

  t.test('with roll-ups at any moment, stopped anywhere, a ledger has the sums of one without', async t => {
    await fc.assert(
      fc.asyncProperty(commands, async list => {
        const [{ ledger }, { ledger: twin }] = [await harness.open(t), await harness.open(t)]
        const known = new Set<number>()
        for (const command of list) {
          if (command.do === 'roll up') {
            await rollUp(ledger, DAY, { limit: command.limit, steps: command.steps })
          } else await takeBoth(known.has(command.id) ? noted(command) : command, ledger, twin)
          if ('id' in command) known.add(command.id)
          deepEqual(await figures(ledger), await figures(twin))
          deepEqual(await mismatches(ledger), [])
        }
      }),
      { numRuns: 10 },
    )
    t.pass('all runs passed')
  })
}

type Step = { do: 'reserve' | 'note' | 'settle' | 'release'; id: number; cost: number; sure: boolean }
type Command = Step | { do: 'roll up'; limit: number; steps: number }

const commands: fc.Arbitrary<Command[]> = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constantFrom(
          'reserve' as const,
          'settle' as const,
          'settle' as const,
          'release' as const,
          'note' as const,
        ),
        id: fc.nat(11),
        cost: fc.nat(100),
        sure: fc.boolean(),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('roll up' as const),
        limit: fc.integer({ min: 1, max: 4 }),
        steps: fc.integer({ min: 1, max: 4 }),
      }),
    },
  ),
  { minLength: 10, maxLength: 50 },
)

/** A call is new when it is reserved. */
const noted = (step: Step): Step => (step.do === 'reserve' ? { ...step, do: 'note' } : step)

/**
 * Takes a step in both ledgers. A step that one ledger refuses, because it has rolled up the day, is left
 * out in the other: it repeats a step that was booked, corrects one, or comes far too late.
 */
async function takeBoth(step: Step, ledger: Ledger, twin: Ledger): Promise<void> {
  const entry = call(`c${step.id}`, {
    team: step.id % 3 ? 'vision' : 'other',
    at: call('a').at + step.id,
    ...(step.id % 4 === 3 ? NEXT_DAY : {}),
  })
  const before = await figures(ledger)
  const error = await take(ledger, step, entry).then(
    () => undefined,
    (error: { isFinal?: boolean }) => error,
  )
  if (!error) return take(twin, step, entry)
  if (!error.isFinal) throw error
  deepEqual(await figures(ledger), before)
}

async function take(ledger: LedgerStore, { do: what, cost, sure }: Step, entry: CallEntry): Promise<void> {
  const source: SettledCall['costSource'] = cost % 2 ? 'header' : 'estimate'
  if (what === 'reserve') await ledger.reserve(entry, {})
  else if (what === 'note') await ledger.note({ ...entry, jobId: 'j' })
  else if (what === 'release') await ledger.release(entry, { mayStillArrive: sure })
  else await ledger.settle(entry, sure ? charged(cost, { costSource: source }) : unknown(cost))
}
