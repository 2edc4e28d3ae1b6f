import t from 'tap'
import type { RecordStore } from '../../src/contracts/store.js'
import { AuditLog } from '../../src/operations/audit.js'
import { readAuditChain } from '../../src/operations/audit-chain.js'
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

t.test('each entry carries the digest of the one before, over all processes', async t => {
  const records = memoryRecords()
  const logs = [logOf(records), logOf(records), logOf(records)]
  await Promise.all(Array.from({ length: 230 }, (_, index) => logs[index % 3]?.add(change(String(index)))))
  const { entries, problems } = await readAuditChain(records)
  t.equal(entries.length, 230)
  t.same(problems, [])
  t.ok(entries.every(({ previous }) => /^[0-9a-f]{64}$/.test(previous ?? '')))
  t.notOk(
    (await logs[0]?.read({ limit: 1 }))?.some(entry => 'previous' in entry),
    'readers do not see the chain',
  )
})

t.test('an altered, removed or replaced entry breaks the chain', async t => {
  const replace = async (records: RecordStore, seq: number, text?: string) => {
    const record = await records.get(`audit:${seq}`)
    await records.delete(`audit:${seq}`, record?.version ?? '')
    if (text !== undefined) await records.put(`audit:${seq}`, text, '')
    return record?.value ?? ''
  }
  const filled = async () => {
    const records = memoryRecords()
    const log = logOf(records)
    for (const subject of ['a', 'b', 'c', 'd']) await log.add(change(subject))
    return records
  }
  const altered = await filled()
  const text = (await altered.get('audit:2'))?.value ?? ''
  await replace(altered, 2, text.replace('"subject":"b"', '"subject":"x"'))
  t.same((await readAuditChain(altered)).problems, ['audit entry 3 does not follow entry 2, or that was altered'])
  const unchained = await filled()
  await replace(unchained, 3, JSON.stringify({ id: 'x', at: 7, ...change('c') }))
  t.same((await readAuditChain(unchained)).problems, [
    'audit entry 3 does not follow entry 2, or that was altered',
    'audit entry 4 does not follow entry 3, or that was altered',
  ])
  for (const seq of [1, 4]) {
    const records = await filled()
    await replace(records, seq)
    t.same((await readAuditChain(records)).problems, [`audit entry ${seq} is missing`])
  }
})

t.test('entries of a version before the chain are followed by chained ones', async t => {
  const records = memoryRecords()
  for (const seq of [1, 2])
    await records.put(`audit:${seq}`, JSON.stringify({ id: `${seq}`, at: 7, ...change('old') }), '')
  const log = logOf(records)
  await log.add(change('new'))
  await log.add(change('newer'))
  t.same(await readAuditChain(records).then(({ entries, problems }) => [entries.length, problems]), [4, []])
})

t.test('after the store was emptied or rolled back, the log goes on where it ends', async t => {
  const records = memoryRecords()
  const log = logOf(records)
  for (const subject of ['a', 'b']) await log.add(change(subject))
  const snapshot = new Map(records.kept)
  for (const subject of ['c', 'd']) await log.add(change(subject))
  records.kept.clear()
  for (const [key, record] of snapshot) records.kept.set(key, record)
  await log.add(change('restored'))
  t.strictSame(subjects(await log.read({ limit: 9 })), ['restored', 'b', 'a'])
  records.kept.clear()
  await log.add(change('emptied'))
  t.strictSame(subjects(await log.read({ limit: 9 })), ['emptied'])
  t.strictSame((await readAuditChain(records)).problems, [])
})

t.test('a removed newest entry stays missing', async t => {
  const records = memoryRecords()
  const log = logOf(records)
  for (const subject of ['a', 'b']) await log.add(change(subject))
  records.kept.delete('audit:2')
  await log.add(change('c'))
  t.strictSame((await readAuditChain(records)).problems, ['audit entry 2 is missing'])
})
