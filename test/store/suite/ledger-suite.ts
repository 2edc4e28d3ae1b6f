import type { Test } from 'tap'
import type { UsageDay } from '../../../src/contracts/store.js'
import { entriesOf } from '../../support/entries-of.js'
import { activity, call, charged, DAY, type Harness, MONTH, money, unknown } from './samples.js'

export async function testLedger(t: Test, harness: Harness): Promise<void> {
  t.test('a reservation books the estimate in both windows', async t => {
    const { ledger } = await harness.open(t)
    t.match(await ledger.reserve(call('a'), {}), { ok: true, booked: { daily: 100, monthly: 100 } })
    t.match(await ledger.reserve(call('b', { estimate: 7 }), { daily: 1_000 }), {
      ok: true,
      booked: { daily: 107, monthly: 107 },
    })
    t.same(await ledger.booked('vision', { day: DAY, month: MONTH }), { daily: 107, monthly: 107 })
    t.same(await ledger.booked('vision', { day: '2026-11-29', month: MONTH }), { daily: 0, monthly: 107 })
    t.same(await ledger.booked('other', { day: DAY, month: MONTH }), { daily: 0, monthly: 0 })
  })

  const limits = [
    { limits: { daily: 200 }, ok: true },
    { limits: { daily: 199 }, ok: false, window: 'daily' },
    { limits: { monthly: 200 }, ok: true },
    { limits: { monthly: 199 }, ok: false, window: 'monthly' },
    { limits: { daily: 200, monthly: 200 }, ok: true },
    { limits: { daily: 199, monthly: 199 }, ok: false, window: 'daily' },
    { limits: { daily: 1_000, monthly: 199 }, ok: false, window: 'monthly' },
    { limits: { daily: 0 }, ok: false, window: 'daily' },
  ]
  for (const { limits: within, ...expected } of limits) {
    t.test(
      `100 more on 100 within ${JSON.stringify(within)} is ${expected.ok ? 'booked' : `refused by the ${expected.window} limit`}`,
      async t => {
        const { ledger } = await harness.open(t)
        await ledger.reserve(call('a'), {})
        const total = expected.ok ? 200 : 100
        t.match(await ledger.reserve(call('b'), within), { ...expected, booked: { daily: total, monthly: total } })
        t.same(await ledger.booked('vision', { day: DAY, month: MONTH }), { daily: total, monthly: total })
        t.equal((await entriesOf(ledger, DAY)).length, expected.ok ? 2 : 1)
      },
    )
  }

  t.test('a month counts all its days, and a team only its own calls', async t => {
    const { ledger } = await harness.open(t)
    await ledger.reserve(call('a', { day: '2026-11-01' }), {})
    await ledger.reserve(call('b', { team: 'other' }), {})
    t.match(await ledger.reserve(call('c'), { daily: 100, monthly: 199 }), { ok: false, window: 'monthly' })
    t.match(await ledger.reserve(call('c'), { daily: 100, monthly: 200 }), { ok: true })
  })

  t.test('reserving the same call again changes nothing, even beyond the limit', async t => {
    const { ledger } = await harness.open(t)
    await ledger.reserve(call('a'), { daily: 100 })
    t.match(await ledger.reserve(call('a'), { daily: 100 }), { ok: true, booked: { daily: 100, monthly: 100 } })
    t.equal((await entriesOf(ledger, DAY)).length, 1)
  })

  t.test('settling replaces the estimate by the cost, in the windows of the reservation', async t => {
    const { ledger } = await harness.open(t)
    const settled = charged(70, { settledAt: Date.UTC(2026, 11, 1, 0, 0, 2) })
    await ledger.reserve(call('a'), {})
    await ledger.settle(call('a'), settled)
    t.same(await ledger.booked('vision', { day: DAY, month: MONTH }), { daily: 70, monthly: 70 })
    t.same(await ledger.booked('vision', { day: '2026-12-01', month: '2026-12' }), { daily: 0, monthly: 0 })
    t.same(await entriesOf(ledger, DAY), [{ ...call('a'), state: 'charged', settled }])
  })

  t.test('a cost above the estimate is booked whatever the limit', async t => {
    const { ledger } = await harness.open(t)
    await ledger.reserve(call('a'), { daily: 100 })
    await ledger.settle(call('a'), charged(250))
    t.same(await ledger.booked('vision', { day: DAY, month: MONTH }), { daily: 250, monthly: 250 })
    t.match(await ledger.reserve(call('b', { estimate: 0 }), { daily: 200 }), { ok: false, window: 'daily' })
  })

  t.test('an unknown outcome stays booked and is counted separately', async t => {
    const { ledger } = await harness.open(t)
    await ledger.reserve(call('a'), {})
    await ledger.settle(call('a'), unknown(100))
    t.same(await ledger.booked('vision', { day: DAY, month: MONTH }), { daily: 100, monthly: 100 })
    t.match(await ledger.usage(MONTH), [
      { unknownCalls: 1, unknown: 100, paidCalls: 0, charged: 0, reservedCalls: 0, reserved: 0 },
    ])
  })

  const ends = {
    charge: charged(70),
    'charge more': charged(71),
    'charge the estimate': charged(100, { costSource: 'estimate' }),
    unknown: unknown(90),
  }
  const histories: {
    title: string
    steps: (
      | 'reserve'
      | 'note'
      | 'charge'
      | 'charge more'
      | 'charge the estimate'
      | 'unknown'
      | 'release'
      | 'final release'
    )[]
    expected: object
  }[] = [
    {
      title: 'a settle without a reservation creates the entry',
      steps: ['charge'],
      expected: { paidCalls: 1, charged: 70 },
    },
    {
      title: 'a second settle changes nothing',
      steps: ['reserve', 'charge', 'charge more'],
      expected: { paidCalls: 1, charged: 70 },
    },
    {
      title: 'a known cost replaces a charge by estimate',
      steps: ['reserve', 'charge the estimate', 'charge', 'charge more', 'charge the estimate'],
      expected: { paidCalls: 1, charged: 70 },
    },
    {
      title: 'an unknown after a charge by estimate changes nothing',
      steps: ['charge the estimate', 'unknown', 'release', 'final release'],
      expected: { paidCalls: 1, charged: 100 },
    },
    {
      title: 'an unknown after a charge changes nothing',
      steps: ['reserve', 'charge', 'unknown'],
      expected: { paidCalls: 1, charged: 70 },
    },
    {
      title: 'a charge replaces an unknown',
      steps: ['reserve', 'unknown', 'charge'],
      expected: { paidCalls: 1, charged: 70 },
    },
    {
      title: 'a second unknown changes nothing',
      steps: ['reserve', 'unknown', 'unknown'],
      expected: { unknownCalls: 1, unknown: 90 },
    },
    { title: 'a release removes the reservation', steps: ['reserve', 'release'], expected: {} },
    { title: 'a second release changes nothing', steps: ['reserve', 'release', 'release'], expected: {} },
    { title: 'a release without a reservation changes nothing', steps: ['release'], expected: {} },
    {
      title: 'a release after a charge changes nothing',
      steps: ['reserve', 'charge', 'release'],
      expected: { paidCalls: 1, charged: 70 },
    },
    {
      title: 'a release removes an unknown that turned out not to be billed',
      steps: ['reserve', 'unknown', 'release'],
      expected: {},
    },
    {
      title: 'a charge after a release is booked, since it was paid',
      steps: ['reserve', 'release', 'charge'],
      expected: { paidCalls: 1, charged: 70 },
    },
    {
      title: 'a reservation that arrives after its settle changes nothing',
      steps: ['charge', 'reserve'],
      expected: { paidCalls: 1, charged: 70 },
    },
    {
      title: 'a call can be reserved again after its release',
      steps: ['reserve', 'release', 'reserve'],
      expected: { reservedCalls: 1, reserved: 100 },
    },
    {
      title: 'a reservation that arrives after its final release books nothing',
      steps: ['final release', 'reserve', 'reserve', 'note'],
      expected: {},
    },
    {
      title: 'a final release of a reservation lasts',
      steps: ['reserve', 'final release', 'reserve', 'release', 'reserve', 'note', 'unknown'],
      expected: {},
    },
    {
      title: 'an unknown that arrives after a final release books nothing',
      steps: ['final release', 'unknown'],
      expected: {},
    },
    {
      title: 'a charge after a final release is booked, since it was paid',
      steps: ['final release', 'reserve', 'charge', 'final release'],
      expected: { paidCalls: 1, charged: 70 },
    },
    {
      title: 'a note without a reservation creates the entry, and the reservation that follows changes nothing',
      steps: ['note', 'reserve', 'note'],
      expected: { reservedCalls: 1, reserved: 100 },
    },
    {
      title: 'a note after the call has ended changes nothing',
      steps: ['reserve', 'unknown', 'note', 'charge', 'note'],
      expected: { paidCalls: 1, charged: 70 },
    },
  ]
  for (const { title, steps, expected } of histories) {
    t.test(title, async t => {
      const { ledger } = await harness.open(t)
      for (const step of steps) {
        if (step === 'reserve') await ledger.reserve(call('a'), {})
        else if (step === 'note') await ledger.note(call('a'))
        else if (step === 'release') await ledger.release(call('a'))
        else if (step === 'final release') await ledger.release(call('a'), { mayStillArrive: true })
        else await ledger.settle(call('a'), ends[step])
      }
      const totals: typeof money = { ...money, ...expected }
      const booked = totals.charged + totals.unknown + totals.reserved
      t.same(await ledger.booked('vision', { day: DAY, month: MONTH }), { daily: booked, monthly: booked })
      t.match((await ledger.usage(MONTH))[0] ?? money, totals)
      t.equal((await entriesOf(ledger, DAY)).length, totals.paidCalls + totals.unknownCalls + totals.reservedCalls)
      t.equal((await ledger.reservedBefore(Number.MAX_SAFE_INTEGER, 10)).length, totals.reservedCalls)
      const entry = await ledger.entry(DAY, 'a')
      t.same(entry ? [entry] : [], await entriesOf(ledger, DAY))
    })
  }

  t.test('a release returns whether there was an entry that it removed', async t => {
    const { ledger } = await harness.open(t)
    t.equal(await ledger.release(call('a')), false)
    await ledger.reserve(call('a'), {})
    t.same((await Promise.all([1, 2, 3].map(() => ledger.release(call('a'))))).sort(), [false, false, true])
    await ledger.settle(call('b'), unknown(90))
    t.equal(await ledger.release(call('b'), { mayStillArrive: true }), true)
    t.equal(await ledger.release(call('b'), { mayStillArrive: true }), false, 'only the mark is left')
    await ledger.settle(call('c'), charged(70))
    t.equal(await ledger.release(call('c')), false)
  })

  t.test('a note is part of the entry and of its later states', async t => {
    const { ledger } = await harness.open(t)
    await ledger.reserve(call('a', { purchase: 'takeover' }), {})
    await ledger.note(call('a', { purchase: 'takeover', jobId: 'job-1' }))
    t.match(await ledger.entry(DAY, 'a'), { state: 'reserved', purchase: 'takeover', jobId: 'job-1' })
    t.match(await ledger.reservedBefore(call('a').at, 10), [{ jobId: 'job-1' }])
    await ledger.settle(call('a', { jobId: 'job-1' }), unknown(90))
    t.match(await ledger.entry(DAY, 'a'), { state: 'unknown', jobId: 'job-1', settled: { cost: 90 } })
    t.equal(await ledger.entry(DAY, 'b'), undefined)
    t.equal(await ledger.entry('2026-11-29', 'a'), undefined)
  })

  t.test('a note with another estimate and time books that estimate and is found by that time', async t => {
    const { ledger } = await harness.open(t)
    const { at } = call('a')
    await ledger.reserve(call('a'), {})
    await ledger.note(call('a', { at: at + 5, estimate: 30 }))
    t.same(await ledger.booked('vision', { day: DAY, month: MONTH }), { daily: 30, monthly: 30 })
    t.same(await ledger.reservedBefore(at, 10), [])
    t.match(await ledger.reservedBefore(at + 5, 10), [{ at: at + 5, estimate: 30 }])
    await ledger.release(call('a'))
    t.same(await ledger.booked('vision', { day: DAY, month: MONTH }), { daily: 0, monthly: 0 })
    t.same(await ledger.reservedBefore(at + 5, 10), [])
  })

  t.test('a call without cost is removed like any other', async t => {
    const { ledger } = await harness.open(t)
    const free = (callId: string) => call(callId, { estimate: 0 })
    for (const callId of ['released', 'charged', 'noted']) await ledger.reserve(free(callId), {})
    await ledger.release(free('released'))
    await ledger.settle(free('charged'), unknown(0))
    await ledger.settle(free('charged'), charged(7))
    await ledger.note(free('noted'))
    t.match(await ledger.usage(MONTH), [
      { paidCalls: 1, charged: 7, unknownCalls: 0, unknown: 0, reservedCalls: 1, reserved: 0 },
    ])
    t.same(await ledger.booked('vision', { day: DAY, month: MONTH }), { daily: 7, monthly: 7 })
    t.match(await ledger.reservedBefore(Number.MAX_SAFE_INTEGER, 10), [{ callId: 'noted' }])
  })

  t.test('reserved calls are found over all days, oldest first, up to a time and a limit', async t => {
    const { ledger } = await harness.open(t)
    const at = (callId: string, day: string, time: number) => call(callId, { day, at: time })
    for (const entry of [
      at('c', '2026-11-30', 3_000),
      at('a', '2026-11-29', 1_000),
      at('d', '2026-11-30', 4_000),
      at('b', '2026-11-30', 2_000),
    ])
      await ledger.reserve(entry, {})
    const found = async (before: number, limit = 10) =>
      (await ledger.reservedBefore(before, limit)).map(({ callId }) => callId).join('')
    t.equal(await found(4_000), 'abcd')
    t.equal(await found(3_999), 'abc')
    t.equal(await found(999), '')
    t.equal(await found(4_000, 2), 'ab')
    await ledger.settle(at('a', '2026-11-29', 1_000), charged(1))
    await ledger.release(at('b', '2026-11-30', 2_000))
    await ledger.settle(at('c', '2026-11-30', 3_000), unknown(1))
    t.equal(await found(4_000), 'd')
    t.equal(await found(4_000, 1), 'd', 'ended calls do not count towards the limit')
  })

  t.test('large amounts are exact', async t => {
    const { ledger } = await harness.open(t)
    const most = Number.MAX_SAFE_INTEGER
    await ledger.reserve(call('a', { estimate: most - 2 }), { daily: most })
    t.match(await ledger.reserve(call('b', { estimate: 2 }), { daily: most }), {
      ok: true,
      booked: { daily: most, monthly: most },
    })
    t.match(await ledger.reserve(call('c', { estimate: 1 }), { daily: most - 1 }), { ok: false })
    await ledger.settle(call('a'), charged(9_007_199_254_740_001))
    await ledger.settle(call('b'), charged(0))
    t.match(await ledger.usage(MONTH), [{ charged: 9_007_199_254_740_001 }])
    t.equal((await entriesOf(ledger, DAY)).find(entry => entry.callId === 'a')?.settled?.cost, 9_007_199_254_740_001)
  })

  for (const amount of [-1, 0.5, Number.NaN, 2 ** 53, Number.POSITIVE_INFINITY]) {
    t.test(`the amount ${amount} is refused before anything is written`, async t => {
      const { ledger } = await harness.open(t)
      await t.rejects(ledger.reserve(call('a', { estimate: amount }), {}), { name: 'StoreError' })
      await t.rejects(ledger.reserve(call('a', { at: amount }), {}), { name: 'StoreError' })
      await t.rejects(ledger.note(call('a', { estimate: amount })), { name: 'StoreError' })
      await t.rejects(ledger.note(call('a', { at: amount })), { name: 'StoreError' })
      await t.rejects(ledger.settle(call('a'), charged(amount)), { name: 'StoreError' })
      await t.rejects(ledger.addActivity('vision', DAY, { ...activity, savedByCache: amount }), { name: 'StoreError' })
      t.same(await ledger.usage(MONTH), [])
      t.same(await entriesOf(ledger, DAY), [])
    })
  }
}

export async function testUsage(t: Test, harness: Harness): Promise<void> {
  t.test('usage adds up calls and activity by day, then team', async t => {
    const { ledger } = await harness.open(t)
    await ledger.reserve(call('a', { team: 'zoo' }), {})
    await ledger.settle(call('b'), charged(70))
    await ledger.settle(call('c'), charged(30))
    await ledger.settle(call('d'), unknown(5))
    await ledger.settle(call('e', { day: '2026-11-02' }), charged(1))
    await ledger.settle(call('f', { day: '2026-12-01', month: '2026-12' }), charged(1_000))
    await ledger.addActivity('vision', DAY, {
      requests: 10,
      hits: 4,
      coalesced: 1,
      savedByCache: 400,
      savedByCoalescing: 100,
    })
    await ledger.addActivity('vision', DAY, { ...activity, requests: 5, hits: 5, savedByCache: 11 })
    await ledger.addActivity('only-hits', DAY, { ...activity, requests: 1, hits: 1 })
    const statement: UsageDay[] = [
      { ...activity, ...money, team: 'vision', day: '2026-11-02', paidCalls: 1, charged: 1 },
      { ...activity, ...money, team: 'only-hits', day: DAY, requests: 1, hits: 1 },
      {
        team: 'vision',
        day: DAY,
        paidCalls: 2,
        charged: 100,
        unknownCalls: 1,
        unknown: 5,
        reservedCalls: 0,
        reserved: 0,
        shared: 0,
        requests: 15,
        hits: 9,
        coalesced: 1,
        savedByCache: 411,
        savedByCoalescing: 100,
      },
      { ...activity, ...money, team: 'zoo', day: DAY, reservedCalls: 1, reserved: 100 },
    ]
    t.same(await ledger.usage(MONTH), statement)
    t.same(await ledger.usage(MONTH, 'vision'), [statement[0], statement[2]])
    t.same(await ledger.usage(MONTH, 'no-such-team'), [])
    t.same(await ledger.usage('2026-10'), [])
    t.match(await ledger.usage('2026-12'), [{ charged: 1_000 }])
  })

  t.test('activity is not booked', async t => {
    const { ledger } = await harness.open(t)
    await ledger.addActivity('vision', DAY, {
      requests: 10,
      hits: 10,
      coalesced: 0,
      savedByCache: 500,
      savedByCoalescing: 0,
    })
    t.same(await ledger.booked('vision', { day: DAY, month: MONTH }), { daily: 0, monthly: 0 })
  })

  t.test('a day returns all its entries unchanged', async t => {
    const { ledger } = await harness.open(t)
    const calls = Array.from({ length: 1_200 }, (_, index) =>
      call(`call-${index}`, { requestId: `"quoted" {${index}}` }),
    )
    await Promise.all(calls.map(entry => ledger.reserve(entry, {})))
    await ledger.reserve(call('elsewhere', { day: '2026-11-29' }), {})
    const entries = new Map((await entriesOf(ledger, DAY)).map(entry => [entry.callId, entry]))
    t.equal(entries.size, 1_200)
    t.same(
      calls.filter(
        entry => JSON.stringify({ ...entry, state: 'reserved' }) !== JSON.stringify(entries.get(entry.callId)),
      ),
      [],
    )
    t.same(await entriesOf(ledger, '2026-11-28'), [])
  })
}
