import t from 'tap'
import type { RecordStore } from '../../src/contracts/store.js'
import { AuditLog } from '../../src/operations/audit.js'
import { memoryRecords } from '../support/doubles/memory-records.js'
import { eventually } from '../support/eventually.js'
import { realStores } from '../support/programs/real-stores.js'

function logOf(records: RecordStore, failures: unknown[] = []) {
  return new AuditLog({ records, now: () => 7, retryMs: 1, observer: { storeFailed: error => failures.push(error) } })
}

const change = (subject: string) => ({ by: 'operator' as const, action: 'key.revoked', subject })
const subjects = (entries: { subject: string }[]) => entries.map(({ subject }) => subject)

const stores = await realStores(t)
for (const [name, open] of Object.entries(stores)) {
  t.test(`${name}: entries of several processes are numbered without gaps and read newest first`, async t => {
    const { records } = await open(t)
    const logs = [logOf(records), logOf(records), logOf(records)]
    await Promise.all(Array.from({ length: 30 }, (_, index) => logs[index % 3]?.add(change(String(index)))))
    const all = await logOf(records).read({ limit: 100 })
    t.strictSame(
      all.map(({ seq }) => seq),
      Array.from({ length: 30 }, (_, index) => 30 - index),
    )
    t.strictSame(new Set(subjects(all)).size, 30)
    const page = await logOf(records).read({ before: 11, limit: 4 })
    t.strictSame(
      page.map(({ seq }) => seq),
      [10, 9, 8, 7],
    )
    t.match(all[0], { by: 'operator', action: 'key.revoked', at: 7, id: String })
  })
}

t.test('entries that the store refuses wait in order and are written once', async t => {
  const records = memoryRecords()
  const failures: unknown[] = []
  const log = logOf(records, failures)
  records.failing = 'before'
  await log.add(change('first'))
  await log.add(change('second'))
  t.strictSame(subjects([...log.unsaved]), ['first', 'second'])
  records.failing = undefined
  await eventually('the audit log was never saved', () => log.unsaved.length === 0)
  t.strictSame(subjects(await log.read({ limit: 9 })), ['second', 'first'])
  t.ok(failures.length >= 2)
})

t.test('an entry that was written despite a reported failure is written once', async t => {
  const records = memoryRecords()
  const log = new AuditLog({ records, now: () => 7, retryMs: 1e9, observer: { storeFailed: () => {} } })
  let puts = 0
  const { put } = records
  records.put = async (...args) => {
    const isFirst = ++puts === 1
    if (isFirst) records.failing = 'after'
    try {
      return await put(...args)
    } finally {
      records.failing = undefined
    }
  }
  await log.add(change('only'))
  t.equal(log.unsaved.length, 1)
  await log.flush()
  t.equal(log.unsaved.length, 0)
  t.strictSame(subjects(await logOf(records).read({ limit: 9 })), ['only'])
})

t.test('a head that lags behind is corrected', async t => {
  const records = memoryRecords()
  const log = logOf(records)
  for (const subject of ['a', 'b', 'c']) await log.add(change(subject))
  const head = records.kept.get('audit:head')
  t.equal(head?.value, '3')
  if (head) head.value = '1'
  await logOf(records).add(change('d'))
  t.strictSame(subjects(await logOf(records).read({ limit: 9 })), ['d', 'c', 'b', 'a'])
})

t.test('an entry added at the moment the others are written is written too', async t => {
  // The head is written last. The next entry follows the given number of microtasks later.
  for (let ticks = 0; ticks < 20; ticks++) {
    const records = memoryRecords()
    const log = logOf(records)
    const { put } = records
    let second: Promise<unknown> | undefined
    records.put = async (key, ...rest) => {
      const written = await put(key, ...rest)
      if (key === 'audit:head' && !second) second = after(ticks, () => log.add(change('second')))
      return written
    }
    await log.add(change('first'))
    await second
    t.strictSame(subjects([...log.unsaved]), [], `${ticks} ticks`)
  }
})

async function after(ticks: number, work: () => Promise<unknown>): Promise<unknown> {
  for (let tick = 0; tick < ticks; tick++) await undefined
  return work()
}
