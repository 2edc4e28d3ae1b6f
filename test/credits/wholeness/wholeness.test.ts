import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { LedgerLoss, LedgerStore, LedgerTotals } from '../../../src/contracts/store.js'
import { openWholeness } from '../../../src/credits/wholeness/wholeness.js'
import { witnessFile } from '../../../src/credits/wholeness/witness-file.js'
import { call, charged, NO_TOTALS } from '../../store/suite/samples.js'
import { eventually } from '../../support/eventually.js'
import { realStores } from '../../support/programs/real-stores.js'

const LIMITS = { daily: 1_000 }

/** Opens a replica that checks only on request. */
async function replica(
  t: Test,
  store: Parameters<typeof openWholeness>[0]['store'],
  dir = t.testdir({ first: {}, second: {} }),
  { storeId = 'store', retentionDays = 0 } = {},
) {
  const reported: [state: string, reason: LedgerLoss['reason'] | undefined][] = []
  const failures: string[] = []
  const rolledUp: string[] = []
  let ignored = 0
  const wholeness = await openWholeness({
    store,
    dir,
    storeId,
    now: Date.now,
    everyMs: 2 ** 30,
    verifyEveryMs: 2 ** 30,
    rollUpEveryMs: 5,
    retentionDays,
    timeZone: 'UTC',
    observer: {
      ledgerStateChanged: (state, loss) => reported.push([state, loss?.reason]),
      witnessIgnored: () => ignored++,
      dayRolledUp: day => rolledUp.push(day),
      dayNotRolledUp: day => t.fail(day),
      ledgerMismatchFound: mismatch => t.fail(JSON.stringify(mismatch)),
      storeFailed: (_error, operation) => failures.push(operation),
    },
  })
  t.teardown(() => wholeness.close())
  return { wholeness, ledger: wholeness.ledger, reported, failures, rolledUp, dir, ignored }
}

for (const [name, open] of Object.entries(await realStores(t))) {
  t.test(`${name}: a whole ledger reports no change, also with other replicas at work`, async t => {
    const store = await open(t)
    const [one, two] = [await replica(t, store), await replica(t, store, join(t.testdirName, 'second'))]
    const calls = Array.from({ length: 40 }, (_, index) => `call-${index}`)
    await Promise.all(
      calls.map(async (id, index) => {
        const { ledger, wholeness } = index % 2 ? one : two
        t.match(await ledger.reserve(call(id, { estimate: 1 }), LIMITS), { ok: true })
        await Promise.all([wholeness.check(), ledger.settle(call(id), charged(1)), ledger.totals()])
      }),
    )
    t.same([one.reported, two.reported, one.failures, two.failures], [[], [], [], []])
  })

  t.test(
    `${name}: a replica that knows another ledger closes budgets in all, and all take over the accepted one`,
    async t => {
      const store = await open(t)
      const first = await replica(t, store)
      t.match(await first.ledger.reserve(call('a'), LIMITS), { ok: true })
      await first.wholeness.close()
      const text = readFileSync(join(first.dir, 'ledger-witness.json'), 'utf8')
      writeFileSync(join(first.dir, 'ledger-witness.json'), text.replace('"sequence":1', '"sequence":5'))
      const fresh = await replica(t, store, join(t.testdirName, 'second'))
      t.equal(fresh.wholeness.state, 'ok')
      const second = await replica(t, store, first.dir)
      t.same(second.reported, [['lost', 'rolled back']])
      t.match(await fresh.ledger.reserve(call('b'), LIMITS), { ok: false, window: 'lost' })
      t.same(fresh.reported, [['lost', 'rolled back']])
      t.match(await fresh.ledger.reserve(call('b'), {}), { ok: true })
      await store.ledger.accept()
      for (const { wholeness, ledger, reported } of [fresh, second]) {
        await wholeness.check()
        t.same(reported.at(-1), ['ok', undefined])
        t.match(await ledger.reserve(call(`c-${reported.length}`), LIMITS), { ok: true })
      }
      await second.wholeness.close()
      t.equal(witnessFile({ dir: first.dir, storeId: 'store' }).read()?.epoch, (await store.ledger.totals()).epoch)
    },
  )
}

t.test('old days are rolled up while the ledger is whole', async t => {
  const store = await (await realStores(t)).embedded?.(t)
  if (!store) throw new Error('no embedded store')
  const old = (id: string) => call(id, { day: '2026-07-15', month: '2026-07' })
  const between = call('between', { day: '2026-09-01', month: '2026-09' })
  for (const each of [old('a'), old('b'), between, call('new')]) await store.ledger.settle(each, charged(5))
  const keeping = await replica(t, store)
  const [first, second] = ['first', 'second'].map(name => join(t.testdirName, name)) as [string, string]
  const doubtful = await replica(t, { ...store, mayEvict: () => true }, first, { retentionDays: 93 })
  const working = await replica(t, store, second, { retentionDays: 93 })
  await eventually('the day was never rolled up', () => working.rolledUp.length > 0)
  t.same([keeping.rolledUp, doubtful.rolledUp, working.rolledUp], [[], [], ['2026-07-15']])
  t.match(await store.ledger.rolledUp('2026-07-15'), [{ calls: 2, charged: 10 }])
  t.same(working.failures, [])
})

t.test('settlements after a rollback do not replace what was seen, and idle checks name the windows', async t => {
  const sent: unknown[] = []
  const ledger = {
    totals: async (...args: unknown[]) => {
      sent.push(args)
      return { ...NO_TOTALS, epoch: 'e', sequence: 7, checksum: '7' }
    },
    reserve: async () => ({ ok: true, totals: { ...NO_TOTALS, epoch: 'e', sequence: 8, checksum: '8' } }),
    settle: async (_call: unknown, _settled: unknown, witness: unknown) => {
      sent.push(witness)
      return { ...NO_TOTALS, epoch: 'e', sequence: 9, checksum: 'other', loss: { reason: 'rolled back' } }
    },
  }
  const store = { ledger, records: {}, mayEvict: () => false }
  const { wholeness, reported } = await replica(t, store as never)
  await wholeness.ledger.reserve(call('a'), LIMITS)
  const seen = { epoch: 'e', sequence: 8, checksum: '8' }
  await wholeness.ledger.settle(call('a'), charged(1))
  t.same(reported, [['lost', 'rolled back']])
  await wholeness.check()
  const windows = { day: call('a').day, month: call('a').month }
  t.same(sent, [[undefined, { isMarking: true }], seen, [seen, { isMarking: true, windows }]])
})

t.test('an answer that was overtaken on its way is no loss', async t => {
  const held: ((totals: LedgerTotals) => void)[] = []
  const totals = (sequence: number) => ({ ...NO_TOTALS, epoch: 'e', sequence, checksum: `${sequence}` })
  const sent: (number | undefined)[] = []
  const ledger = {
    totals: (witness?: { sequence: number }) => {
      sent.push(witness?.sequence)
      return sent.length === 1 ? Promise.resolve(totals(1)) : new Promise(resolve => held.push(resolve))
    },
    settle: async () => totals(9),
  } as unknown as LedgerStore
  const store = { ledger, records: {}, mayEvict: () => false } as unknown as Parameters<typeof replica>[1]
  const { wholeness, reported } = await replica(t, store)
  const reading = wholeness.ledger.totals()
  await wholeness.ledger.settle(call('a'), charged(1))
  held[0]?.(totals(2))
  await reading
  t.same(reported, [])
  void wholeness.ledger.totals()
  t.same(sent, [undefined, 1, 9], 'each request carries what was seen before it')
  held[1]?.(totals(9))
})

t.test('the state follows the policy of the store, and a store that fails is counted', async t => {
  const store = { mayEvict: () => mayEvict, records: {}, ledger: { totals: () => Promise.reject(new Error('down')) } }
  let mayEvict = true
  const { wholeness, reported, failures } = await replica(t, store as never)
  t.same([wholeness.state, reported, failures], ['evictable', [['evictable', undefined]], ['ledger: check']])
  mayEvict = false
  await wholeness.check()
  t.same([wholeness.state, reported.at(-1)], ['ok', ['ok', undefined]])
})

t.test('what was seen of another store is ignored, and replaced by what is seen of this one', async t => {
  const dir = t.testdir()
  witnessFile({ dir, storeId: 'staging' }).write({ epoch: 'e', sequence: 5, checksum: 'c' })
  const sent: unknown[] = []
  const ledger = {
    async totals(witness: unknown) {
      sent.push(witness)
      return { ...NO_TOTALS, epoch: 'production', sequence: 1, checksum: '1' }
    },
  }
  const store = { ledger, records: {}, mayEvict: () => false }
  const { reported, ignored } = await replica(t, store as never, dir)
  t.same([sent, reported, ignored], [[undefined], [], 1])
  t.equal(witnessFile({ dir, storeId: 'store' }).read()?.epoch, 'production')
  t.equal((await replica(t, store as never, dir)).ignored, 0)
})

t.test('the file keeps the later state of one ledger, and an unusable folder is no error', async t => {
  const dir = t.testdir()
  const file = witnessFile({ dir, storeId: 'store' })
  t.equal(file.read(), undefined)
  file.write({ epoch: 'e', sequence: 5, checksum: 'c' })
  file.write({ epoch: 'e', sequence: 4, checksum: 'b' })
  t.same(file.read(), { epoch: 'e', sequence: 5, checksum: 'c' })
  file.write({ epoch: 'new', sequence: 1, checksum: 'a' })
  t.equal(file.read()?.epoch, 'new')
  const absent = witnessFile({ dir: join(dir, 'absent'), storeId: 'store' })
  absent.write({ epoch: 'e', sequence: 1, checksum: 'c' })
  t.equal(absent.read(), undefined)
})
