import { deepEqual } from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import type { Test } from 'tap'
import type {
  AccountBook,
  Blob,
  CallEntry,
  LedgerEntry,
  LedgerStore,
  SettledCall,
  Store,
  UsageDay,
} from '../../src/storage.js'
import { modelLedger } from '../support/model-ledger.js'

/** What the suite needs of a technology: fresh, empty stores, and a way to let time pass for one blob. */
export interface Harness {
  open(t: Test): Promise<Store>
  /** Lets `seconds` pass for a blob, as far as its time to live is concerned. */
  elapse(store: Store, kind: 'result' | 'image', key: string, seconds: number): Promise<void>
}

const DAY = '2026-11-30'
const MONTH = '2026-11'

export function call(callId: string, changes: Partial<CallEntry> = {}): CallEntry {
  const at = Date.UTC(2026, 10, 30, 23, 59, 59, 999)
  const windows = { day: DAY, month: MONTH, at }
  return {
    callId,
    team: 'vision',
    keyId: 'k7Fq2b9d',
    requestId: `req-${callId}`,
    resultId: 'ab'.repeat(32),
    estimate: 100,
    ...windows,
    ...changes,
  }
}

export function charged(cost: number, changes: Partial<SettledCall> = {}): SettledCall {
  return {
    outcome: 'charged',
    cost,
    costSource: 'header',
    settledAt: 1_764_547_200_123,
    upstreamRequestId: 'up-1',
    ...changes,
  }
}

const unknown = (cost: number): SettledCall => charged(cost, { outcome: 'unknown', costSource: 'estimate' })

const activity = { requests: 0, hits: 0, coalesced: 0, savedByCache: 0, savedByCoalescing: 0 }
const money = { paidCalls: 0, charged: 0, unknownCalls: 0, unknown: 0, reservedCalls: 0, reserved: 0, shared: 0 }

/** Everything that holds for every store. */
export function testStore(t: Test, harness: Harness): void {
  t.test('blobs', t => testBlobs(t, harness))
  t.test('the ledger', t => testLedger(t, harness))
  t.test('the statement and the balance', t => testStatement(t, harness))
  t.test('against a model', t => testModel(t, harness))
}

async function testBlobs(t: Test, harness: Harness): Promise<void> {
  const bodies: Record<string, Buffer> = {
    'a small body': Buffer.from('hello'),
    'an empty body': Buffer.alloc(0),
    'every byte value': Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
    'a body that is no UTF-8 and ends in line ends': Buffer.from([0xff, 0xfe, 0x00, 0x0d, 0x0a, 0x0d, 0x0a]),
    'a body at the edge of a piece': randomBytes(65_472),
    'a body just past the edge of a piece': randomBytes(65_473),
    'a body of 20 MB': randomBytes(20_000_000),
  }
  for (const [title, body] of Object.entries(bodies)) {
    t.test(`gives back ${title} as it came`, async t => {
      const { results } = await harness.open(t)
      const meta = JSON.stringify({ contentType: 'image/jpeg', note: 'Grüße 🌊' })
      await results.put('key', { meta, body }, 60)
      const blob = await results.get('key')
      t.equal(blob?.meta, meta)
      t.ok(blob && body.equals(blob.body), 'the same bytes')
    })
  }

  t.test('what is not there is undefined, and has says so', async t => {
    const { results, images } = await harness.open(t)
    await results.put('key', { meta: '{}', body: Buffer.from('x') }, 60)
    t.equal(await results.get('other'), undefined)
    t.equal(await results.has('other'), false)
    t.equal(await results.has('key'), true)
    t.equal(await images.get('key'), undefined, 'results and images do not share keys')
  })

  t.test('a second put replaces body, description and time to live', async t => {
    const store = await harness.open(t)
    await store.results.put('key', { meta: '{"a":1}', body: randomBytes(200_000) }, 10)
    await store.results.put('key', { meta: '{"a":2}', body: Buffer.from('short') }, 100)
    await harness.elapse(store, 'result', 'key', 50)
    t.same(await store.results.get('key'), { meta: '{"a":2}', body: Buffer.from('short') })
  })

  t.test('delete says whether there was something', async t => {
    const { images } = await harness.open(t)
    await images.put('key', { meta: '{}', body: Buffer.from('x') }, 60)
    t.equal(await images.delete('key'), true)
    t.equal(await images.delete('key'), false)
    t.equal(await images.get('key'), undefined)
    t.equal(await images.has('key'), false)
  })

  t.test('a blob lives for its seconds and no longer', async t => {
    const store = await harness.open(t)
    await store.images.put('key', { meta: '{}', body: Buffer.from('x') }, 100)
    await harness.elapse(store, 'image', 'key', 99)
    t.equal(await store.images.has('key'), true)
    await harness.elapse(store, 'image', 'key', 1)
    t.equal(await store.images.has('key'), false)
    t.equal(await store.images.get('key'), undefined)
    t.equal(await store.images.delete('key'), false)
  })

  t.test('without time to live nothing is kept, and what was there goes', async t => {
    const { results } = await harness.open(t)
    await results.put('key', { meta: '{}', body: Buffer.from('x') }, 60)
    await results.put('key', { meta: '{}', body: Buffer.from('y') }, 0)
    t.equal(await results.get('key'), undefined)
  })

  t.test('a body that was handed out stays as it is when the store changes', async t => {
    const { results } = await harness.open(t)
    const body = randomBytes(300_000)
    await results.put('key', { meta: '{}', body }, 60)
    const blob = (await results.get('key')) as Blob
    await results.put('key', { meta: '{}', body: Buffer.alloc(300_000) }, 60)
    await results.delete('key')
    for (let index = 0; index < 5; index++)
      await results.put(`other${index}`, { meta: '{}', body: Buffer.alloc(300_000, 7) }, 60)
    t.ok(body.equals(blob.body))
  })

  t.test('many at once do not mix', async t => {
    const { results } = await harness.open(t)
    const blobs = Array.from({ length: 40 }, (_, index) => ({
      meta: `{"i":${index}}`,
      body: randomBytes(1 + index * 3_000),
    }))
    await Promise.all(blobs.map((blob, index) => results.put(`key${index}`, blob, 60)))
    t.same(await Promise.all(blobs.map((_, index) => results.get(`key${index}`))), blobs)
  })
}

async function testLedger(t: Test, harness: Harness): Promise<void> {
  t.test('books the estimate in both windows', async t => {
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
        t.equal((await ledger.entries(DAY)).length, expected.ok ? 2 : 1)
      },
    )
  }

  t.test('a month counts all its days, a team only its own calls', async t => {
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
    t.equal((await ledger.entries(DAY)).length, 1)
  })

  t.test('settling replaces the estimate by the cost, in the windows of the reservation', async t => {
    const { ledger } = await harness.open(t)
    const settled = charged(70, { settledAt: Date.UTC(2026, 11, 1, 0, 0, 2) })
    await ledger.reserve(call('a'), {})
    await ledger.settle(call('a'), settled)
    t.same(await ledger.booked('vision', { day: DAY, month: MONTH }), { daily: 70, monthly: 70 })
    t.same(await ledger.booked('vision', { day: '2026-12-01', month: '2026-12' }), { daily: 0, monthly: 0 })
    t.same(await ledger.entries(DAY), [{ ...call('a'), state: 'charged', settled }])
  })

  t.test('a cost above the estimate is booked whatever the limit', async t => {
    const { ledger } = await harness.open(t)
    await ledger.reserve(call('a'), { daily: 100 })
    await ledger.settle(call('a'), charged(250))
    t.same(await ledger.booked('vision', { day: DAY, month: MONTH }), { daily: 250, monthly: 250 })
    t.match(await ledger.reserve(call('b', { estimate: 0 }), { daily: 200 }), { ok: false, window: 'daily' })
  })

  t.test('an unknown outcome stays booked, and apart', async t => {
    const { ledger } = await harness.open(t)
    await ledger.reserve(call('a'), {})
    await ledger.settle(call('a'), unknown(100))
    t.same(await ledger.booked('vision', { day: DAY, month: MONTH }), { daily: 100, monthly: 100 })
    t.match(await ledger.usage(MONTH), [
      { unknownCalls: 1, unknown: 100, paidCalls: 0, charged: 0, reservedCalls: 0, reserved: 0 },
    ])
  })

  const histories: {
    title: string
    steps: ('reserve' | 'note' | 'charge' | 'charge more' | 'unknown' | 'release' | 'release for good')[]
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
      title: 'an unknown after a charge changes nothing',
      steps: ['reserve', 'charge', 'unknown'],
      expected: { paidCalls: 1, charged: 70 },
    },
    {
      title: 'a charge takes the place of an unknown: now it is known',
      steps: ['reserve', 'unknown', 'charge'],
      expected: { paidCalls: 1, charged: 70 },
    },
    {
      title: 'a second unknown changes nothing',
      steps: ['reserve', 'unknown', 'unknown'],
      expected: { unknownCalls: 1, unknown: 90 },
    },
    { title: 'a release takes the reservation out', steps: ['reserve', 'release'], expected: {} },
    { title: 'a second release changes nothing', steps: ['reserve', 'release', 'release'], expected: {} },
    { title: 'a release without a reservation changes nothing', steps: ['release'], expected: {} },
    {
      title: 'a release after a charge changes nothing',
      steps: ['reserve', 'charge', 'release'],
      expected: { paidCalls: 1, charged: 70 },
    },
    {
      title: 'a release takes an unknown out: now it is known that it was not billed',
      steps: ['reserve', 'unknown', 'release'],
      expected: {},
    },
    {
      title: 'a charge after a release is booked: what was paid was paid',
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
      title: 'a reservation that arrives after it was released for good books nothing',
      steps: ['release for good', 'reserve', 'reserve', 'note'],
      expected: {},
    },
    {
      title: 'a release for good of what is there is one, too: nothing brings it back',
      steps: ['reserve', 'release for good', 'reserve', 'release', 'reserve', 'note', 'unknown'],
      expected: {},
    },
    {
      title: 'an unknown that arrives after a release for good books nothing',
      steps: ['release for good', 'unknown'],
      expected: {},
    },
    {
      title: 'a charge after a release for good is booked: what was paid was paid',
      steps: ['release for good', 'reserve', 'charge', 'release for good'],
      expected: { paidCalls: 1, charged: 70 },
    },
    {
      title: 'a note without a reservation creates the entry, and the reservation that follows changes nothing',
      steps: ['note', 'reserve', 'note'],
      expected: { reservedCalls: 1, reserved: 100 },
    },
    {
      title: 'a note after the end changes nothing',
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
        else if (step === 'release for good') await ledger.release(call('a'), { mayStillArrive: true })
        else
          await ledger.settle(
            call('a'),
            step === 'charge' ? charged(70) : step === 'unknown' ? unknown(90) : charged(71),
          )
      }
      const totals: typeof money = { ...money, ...expected }
      const booked = totals.charged + totals.unknown + totals.reserved
      t.same(await ledger.booked('vision', { day: DAY, month: MONTH }), { daily: booked, monthly: booked })
      t.match((await ledger.usage(MONTH))[0] ?? money, totals)
      t.equal((await ledger.entries(DAY)).length, totals.paidCalls + totals.unknownCalls + totals.reservedCalls)
      t.equal((await ledger.open(Number.MAX_SAFE_INTEGER, 10)).length, totals.reservedCalls)
      const entry = await ledger.entry(DAY, 'a')
      t.same(entry ? [entry] : [], await ledger.entries(DAY))
    })
  }

  t.test('a note is on the entry, whatever becomes of it', async t => {
    const { ledger } = await harness.open(t)
    await ledger.reserve(call('a', { purchase: 'takeover' }), {})
    await ledger.note(call('a', { purchase: 'takeover', jobId: 'job-1' }))
    t.match(await ledger.entry(DAY, 'a'), { state: 'reserved', purchase: 'takeover', jobId: 'job-1' })
    t.match(await ledger.open(call('a').at, 10), [{ jobId: 'job-1' }])
    await ledger.settle(call('a', { jobId: 'job-1' }), unknown(90))
    t.match(await ledger.entry(DAY, 'a'), { state: 'unknown', jobId: 'job-1', settled: { cost: 90 } })
    t.equal(await ledger.entry(DAY, 'b'), undefined)
    t.equal(await ledger.entry('2026-11-29', 'a'), undefined)
  })

  t.test(
    'a note with another estimate and another time books that estimate, and the call is found by that time',
    async t => {
      const { ledger } = await harness.open(t)
      const { at } = call('a')
      await ledger.reserve(call('a'), {})
      await ledger.note(call('a', { at: at + 5, estimate: 30 }))
      t.same(await ledger.booked('vision', { day: DAY, month: MONTH }), { daily: 30, monthly: 30 })
      t.same(await ledger.open(at, 10), [])
      t.match(await ledger.open(at + 5, 10), [{ at: at + 5, estimate: 30 }])
      await ledger.release(call('a'))
      t.same(await ledger.booked('vision', { day: DAY, month: MONTH }), { daily: 0, monthly: 0 })
      t.same(await ledger.open(at + 5, 10), [])
    },
  )

  t.test('what costs nothing is taken out like everything else', async t => {
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
    t.match(await ledger.open(Number.MAX_SAFE_INTEGER, 10), [{ callId: 'noted' }])
  })

  t.test('what is still reserved is found over all days, oldest first, up to a time and a number', async t => {
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
      (await ledger.open(before, limit)).map(({ callId }) => callId).join('')
    t.equal(await found(4_000), 'abcd')
    t.equal(await found(3_999), 'abc')
    t.equal(await found(999), '')
    t.equal(await found(4_000, 2), 'ab')
    await ledger.settle(at('a', '2026-11-29', 1_000), charged(1))
    await ledger.release(at('b', '2026-11-30', 2_000))
    await ledger.settle(at('c', '2026-11-30', 3_000), unknown(1))
    t.equal(await found(4_000), 'd')
    t.equal(await found(4_000, 1), 'd', 'those that have ended take no place of the number')
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
    t.equal((await ledger.entries(DAY)).find(entry => entry.callId === 'a')?.settled?.cost, 9_007_199_254_740_001)
  })

  for (const amount of [-1, 0.5, Number.NaN, 2 ** 53, Number.POSITIVE_INFINITY]) {
    t.test(`${amount} is no amount: refused before anything is written`, async t => {
      const { ledger } = await harness.open(t)
      await t.rejects(ledger.reserve(call('a', { estimate: amount }), {}), { name: 'StoreError' })
      await t.rejects(ledger.reserve(call('a', { at: amount }), {}), { name: 'StoreError' })
      await t.rejects(ledger.note(call('a', { estimate: amount })), { name: 'StoreError' })
      await t.rejects(ledger.note(call('a', { at: amount })), { name: 'StoreError' })
      await t.rejects(ledger.settle(call('a'), charged(amount)), { name: 'StoreError' })
      await t.rejects(ledger.addActivity('vision', DAY, { ...activity, savedByCache: amount }), { name: 'StoreError' })
      t.same(await ledger.usage(MONTH), [])
      t.same(await ledger.entries(DAY), [])
    })
  }
}

async function testStatement(t: Test, harness: Harness): Promise<void> {
  t.test('the statement adds up calls and activity by day, then team', async t => {
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
        ...{
          team: 'vision',
          day: DAY,
          paidCalls: 2,
          charged: 100,
          unknownCalls: 1,
          unknown: 5,
          reservedCalls: 0,
          reserved: 0,
          shared: 0,
        },
        ...{ requests: 15, hits: 9, coalesced: 1, savedByCache: 411, savedByCoalescing: 100 },
      },
      { ...activity, ...money, team: 'zoo', day: DAY, reservedCalls: 1, reserved: 100 },
    ]
    t.same(await ledger.usage(MONTH), statement)
    t.same(await ledger.usage(MONTH, 'vision'), [statement[0], statement[2]])
    t.same(await ledger.usage(MONTH, 'nobody'), [])
    t.same(await ledger.usage('2026-10'), [])
    t.match(await ledger.usage('2026-12'), [{ charged: 1_000 }])
  })

  t.test('activity is no spending', async t => {
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

  t.test('a day gives all its entries back, whole', async t => {
    const { ledger } = await harness.open(t)
    const calls = Array.from({ length: 1_200 }, (_, index) =>
      call(`call-${index}`, { requestId: `"quoted" {${index}}` }),
    )
    await Promise.all(calls.map(entry => ledger.reserve(entry, {})))
    await ledger.reserve(call('elsewhere', { day: '2026-11-29' }), {})
    const entries = new Map((await ledger.entries(DAY)).map(entry => [entry.callId, entry]))
    t.equal(entries.size, 1_200)
    t.same(
      calls.filter(
        entry => JSON.stringify({ ...entry, state: 'reserved' }) !== JSON.stringify(entries.get(entry.callId)),
      ),
      [],
    )
    t.same(await ledger.entries('2026-11-28'), [])
  })

  t.test('the newest balance wins, in whatever order they arrive', async t => {
    const { ledger } = await harness.open(t)
    t.equal(await ledger.balance(), undefined, 'not known is not 0')
    await ledger.recordBalance({ remaining: 500, at: 2_000 })
    await ledger.recordBalance({ remaining: 900, at: 1_999 })
    t.same(await ledger.balance(), { remaining: 500, at: 2_000 })
    await ledger.recordBalance({ remaining: 0, at: 2_001 })
    t.same(await ledger.balance(), { remaining: 0, at: 2_001 })
    await ledger.recordBalance({ remaining: -3, at: 1_764_547_200_123 })
    t.same(await ledger.balance(), { remaining: -3, at: 1_764_547_200_123 })
    await ledger.recordBalance({ remaining: 7, at: 1_764_547_140_123 })
    t.match(await ledger.balance(), { remaining: -3 }, 'a minute older is older')
    await ledger.recordBalance({ remaining: 8, at: 1_764_547_140_122 })
    t.match(await ledger.balance(), { remaining: 8 }, 'what lies more than a minute ahead was written by a wrong clock')
  })
}

type Step = { do: 'reserve' | 'note' | 'settle' | 'release'; id: number; cost: number; sure: boolean }

const WINDOWS = [
  { team: 'vision', day: '2026-11-30', month: '2026-11' },
  { team: 'vision', day: '2026-12-01', month: '2026-12' },
  { team: 'vision', day: '2026-12-02', month: '2026-12' },
  { team: 'other', day: '2026-12-01', month: '2026-12' },
]
const LIMITS = { daily: 250, monthly: 400 }
const ESTIMATE = 100

/** Costs are at most the estimate, so that no limit may ever be exceeded. */
const steps = fc.array(
  fc.record<Step>({
    do: fc.constantFrom('reserve', 'reserve', 'reserve', 'settle', 'settle', 'release', 'note'),
    id: fc.integer({ min: 0, max: 15 }),
    cost: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: ESTIMATE })),
    sure: fc.boolean(),
  }),
  { minLength: 1, maxLength: 40 },
)

/** A call of a round. Each round has teams of its own in one store, and is earlier than the one before. */
function callOf(round: number, id: number): CallEntry {
  const window = WINDOWS[id % WINDOWS.length] as (typeof WINDOWS)[number]
  const at = call('a').at - round * 1_000 + ((id * 7) % 16)
  return call(`${round}-${id}`, { ...window, team: `${window.team}-${round}`, estimate: ESTIMATE, at })
}

function take(ledger: LedgerStore, step: Step, entry: CallEntry): Promise<unknown> {
  if (step.do === 'reserve') return ledger.reserve(entry, LIMITS)
  if (step.do === 'release') return ledger.release(entry, { mayStillArrive: step.sure })
  // What is noted is the job; `sure` stands for an estimate and a time that are others, too.
  if (step.do === 'note')
    return ledger.note({
      ...entry,
      jobId: `job-${step.cost}`,
      ...(step.sure ? { estimate: step.cost, at: entry.at + 16 } : {}),
    })
  return ledger.settle(entry, step.sure ? charged(step.cost) : unknown(step.cost))
}

/** Everything a ledger says about a call, its team and its round. */
async function sight(ledger: LedgerStore, round: number, entry: CallEntry) {
  const { team, day, month, callId } = entry
  const usage = await ledger.usage(month, team)
  const entries = (await ledger.entries(day)).filter(other => other.team === team)
  return {
    entry: await ledger.entry(day, callId),
    booked: await ledger.booked(team, { day, month }),
    usage: usage.filter(row => row.paidCalls + row.unknownCalls + row.reservedCalls > 0),
    entries: entries.sort((one, other) => (one.callId < other.callId ? -1 : 1)),
    open: (await ledger.open(callOf(round, 0).at + 999, 1_000)).map(open => open.callId),
  }
}

const NO_ACCOUNT: AccountBook = {
  ...{ sequence: 0, spent: 0, reserved: 0, reservedCalls: 0, calls: 0, estimatedCalls: 0, unknownAt: 0 },
}

/** What an account has counted since it was seen before; the rounds share one. */
function gained(account: AccountBook, before: AccountBook) {
  const names = ['sequence', 'spent', 'reserved', 'reservedCalls', 'calls', 'estimatedCalls'] as const
  return names.map(name => [name, account[name] - before[name]])
}

/** What a step answers of its own call. */
function withoutAccount(outcome: unknown): unknown {
  const { ok, window, booked } = Object(outcome) as Record<string, unknown>
  return { ok, window, booked }
}

async function testModel(t: Test, harness: Harness): Promise<void> {
  const { ledger } = await harness.open(t)
  let round = 0
  const runs = { numRuns: 25 }

  await t.test('one step after the other does what a model does', async t => {
    await fc.assert(
      fc.asyncProperty(steps, async list => {
        round++
        const model = modelLedger().store
        const before = await ledger.account()
        for (const step of list) {
          const entry = callOf(round, step.id)
          const outcomes = [await take(ledger, step, entry), await take(model, step, entry)]
          deepEqual(withoutAccount(outcomes[0]), withoutAccount(outcomes[1]))
          deepEqual(await sight(ledger, round, entry), await sight(model, round, entry))
          deepEqual(gained(await ledger.account(), before), gained(await model.account(), NO_ACCOUNT))
        }
      }),
      runs,
    )
    t.pass()
  })

  await t.test(
    'all at once, the totals are the sum of the entries and reservations stay within the limits',
    async t => {
      await fc.assert(
        fc.asyncProperty(steps, async list => {
          round++
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
          const open = await ledger.open(callOf(round, 0).at + 999, 1_000)
          for (const { team, day, month } of WINDOWS.map((_, id) => callOf(round, id))) {
            const entries = (await ledger.entries(day)).filter(entry => entry.team === team)
            const isHere = (entry: LedgerEntry) => entry.team === team && entry.day === day
            if (open.filter(isHere).length !== entries.filter(({ state }) => state === 'reserved').length) return false
            const amounts = { reserved: 0, charged: 0, unknown: 0 }
            for (const entry of entries) amounts[entry.state] += entry.settled?.cost ?? entry.estimate
            const row = (await ledger.usage(month, team)).find(row => row.day === day) ?? { ...money }
            if (row.reserved !== amounts.reserved || row.charged !== amounts.charged || row.unknown !== amounts.unknown)
              return false
            if (row.reservedCalls + row.paidCalls + row.unknownCalls !== entries.length) return false
            const { daily } = await ledger.booked(team, { day, month })
            if (daily !== amounts.reserved + amounts.charged + amounts.unknown) return false
          }
          return true
        }),
        runs,
      )
      t.pass()
    },
  )
}
