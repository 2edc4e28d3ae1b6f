import t from 'tap'
import { AuditLog } from '../../src/operations/audit.js'
import type { RecordStore } from '../../src/storage.js'
import { memoryRecords } from '../support/memory-records.js'
import { realStores } from '../support/real-stores.js'

function logOf(records: RecordStore, failures: unknown[] = []) {
  return new AuditLog({ records, now: () => 7, retryMs: 1, onStoreFailure: error => failures.push(error) })
}

const did = (subject: string) => ({ by: 'operator' as const, action: 'key.revoked', subject })
const subjects = (entries: { subject: string }[]) => entries.map(({ subject }) => subject)

const stores = await realStores(t)
for (const [name, open] of Object.entries(stores)) {
  t.test(`${name}: entries of many processes are numbered without gaps, and read newest first`, async t => {
    const { records } = await open(t)
    const logs = [logOf(records), logOf(records), logOf(records)]
    await Promise.all(Array.from({ length: 30 }, (_, index) => logs[index % 3]?.add(did(String(index)))))
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

t.test('what the store does not take waits, in its order, and is there once', async t => {
  const records = memoryRecords()
  const failures: unknown[] = []
  const log = logOf(records, failures)
  records.failing = 'before'
  await log.add(did('first'))
  await log.add(did('second'))
  t.strictSame(subjects([...log.unsaved]), ['first', 'second'])
  records.failing = undefined
  while (log.unsaved.length > 0) await new Promise(setImmediate)
  t.strictSame(subjects(await log.read({ limit: 9 })), ['second', 'first'])
  t.ok(failures.length >= 2)
})

t.test('an entry that was written though the store said that it failed is there once', async t => {
  const records = memoryRecords()
  const log = new AuditLog({ records, now: () => 7, retryMs: 1e9, onStoreFailure: () => {} })
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
  await log.add(did('only'))
  t.equal(log.unsaved.length, 1)
  await log.flush()
  t.equal(log.unsaved.length, 0)
  t.strictSame(subjects(await logOf(records).read({ limit: 9 })), ['only'])
})

t.test('a note of the head that lags behind is caught up with', async t => {
  const records = memoryRecords()
  const log = logOf(records)
  for (const subject of ['a', 'b', 'c']) await log.add(did(subject))
  const head = records.kept.get('audit:head')
  t.equal(head?.value, '3')
  if (head) head.value = '1'
  await logOf(records).add(did('d'))
  t.strictSame(subjects(await logOf(records).read({ limit: 9 })), ['d', 'c', 'b', 'a'])
})

t.test('an entry that comes in the very moment in which the others are written is written, too', async t => {
  // The last thing that is written of an entry is the note of the head; the next entry comes so many breaths later.
  for (let breaths = 0; breaths < 20; breaths++) {
    const records = memoryRecords()
    const log = logOf(records)
    const { put } = records
    let second: Promise<unknown> | undefined
    records.put = async (key, ...rest) => {
      const written = await put(key, ...rest)
      if (key === 'audit:head' && !second) second = after(breaths, () => log.add(did('second')))
      return written
    }
    await log.add(did('first'))
    await second
    t.strictSame(subjects([...log.unsaved]), [], `${breaths} breaths`)
  }
})

async function after(breaths: number, work: () => Promise<unknown>): Promise<unknown> {
  for (let breath = 0; breath < breaths; breath++) await undefined
  return work()
}
