import t from 'tap'
import type { AuditActor } from '../../src/contracts/records.js'
import type { RecordStore } from '../../src/contracts/store.js'
import { type Closing, Closings } from '../../src/credits/closing.js'
import { statementOf } from '../../src/credits/statement.js'
import { memoryRecords } from '../support/doubles/memory-records.js'
import { usageDay } from '../support/doubles/usage.js'
import { realStores } from '../support/programs/real-stores.js'

const MONTH = '2026-10'

function closingAt(at: number, by: AuditActor, charged: number, month = MONTH): Closing {
  return {
    at,
    by,
    statement: statementOf(month, { usage: [usageDay(`${month}-01`, 'a', { charged })], policy: 'split' }),
  }
}

/**
 * Records on which the first writes of `key` wait for each other, so that all processes have read
 * before one writes.
 */
function meeting(records: RecordStore, key: string, count: number) {
  let waiting = 0
  let meet = () => {}
  const met = new Promise<void>(resolve => {
    meet = resolve
  })
  const together = async (name: string) => {
    if (name !== key || waiting === count) return
    if (++waiting === count) meet()
    await met
  }
  return {
    get: (name: string) => records.get(name),
    put: async (name: string, value: string, seen: string) => {
      await together(name)
      return records.put(name, value, seen)
    },
    delete: async (name: string, seen: string) => {
      await together(name)
      return records.delete(name, seen)
    },
  }
}

for (const [technology, open] of Object.entries(await realStores(t))) {
  t.test(`${technology}: a closed month stays as it was frozen, and closing it again changes nothing`, async t => {
    const { records } = await open(t)
    const closings = new Closings(records)
    t.equal(await closings.find(MONTH), undefined)
    const closing = closingAt(1000, 'cli', 17)
    t.strictSame(await closings.close(MONTH, async () => closing), closing)
    t.strictSame(await closings.close(MONTH, async () => closingAt(2000, 'operator', 18)), closing)
    t.strictSame(await new Closings(records).find(MONTH), closing)
    t.equal(await closings.find('2026-09'), undefined)
    t.strictSame(await closings.history(), [{ month: MONTH, what: 'closed', at: 1000, by: 'cli', closedAt: 1000 }])
  })

  t.test(`${technology}: of two concurrent closings one succeeds, and both return it`, async t => {
    const { records } = await open(t)
    const closings = new Closings(meeting(records, `closing:${MONTH}`, 2))
    const [one, other] = await Promise.all([
      closings.close(MONTH, async () => closingAt(1000, 'cli', 17)),
      closings.close(MONTH, async () => closingAt(1001, 'operator', 18)),
    ])
    t.strictSame(one, other)
    t.strictSame(await closings.find(MONTH), one)
    t.strictSame(
      (await closings.history()).map(({ what, at }) => [what, at]),
      [['closed', one.at]],
    )
  })

  t.test(`${technology}: of two concurrent reopenings one succeeds, and the other finds the month open`, async t => {
    const { records } = await open(t)
    const closing = closingAt(1000, 'cli', 17)
    await new Closings(records).close(MONTH, async () => closing)
    const closings = new Closings(meeting(records, `closing:${MONTH}`, 2))
    const answers = await Promise.all([
      closings.reopen(MONTH, { at: 2000, by: 'operator' }),
      closings.reopen(MONTH, { at: 2000, by: 'operator' }),
    ])
    t.strictSame(
      answers.filter(answer => answer !== undefined),
      [closing],
    )
    t.strictSame(
      (await closings.history()).map(({ what }) => what),
      ['closed', 'reopened'],
    )
  })

  t.test(
    `${technology}: a month that is closed again during a reopening is reopened from its latest closing`,
    async t => {
      const { records } = await open(t)
      const plain = new Closings(records)
      await plain.close(MONTH, async () => closingAt(1000, 'cli', 17))
      let isFirst = true
      const closings = new Closings({
        ...records,
        async delete(name, seen) {
          if (isFirst) {
            isFirst = false
            await plain.reopen(MONTH, { at: 1500, by: 'cli' })
            await plain.close(MONTH, async () => closingAt(1600, 'cli', 19))
          }
          return records.delete(name, seen)
        },
      })
      t.match(await closings.reopen(MONTH, { at: 2000, by: 'operator' }), { at: 1600 })
      t.equal(await closings.find(MONTH), undefined)
    },
  )

  t.test(`${technology}: concurrent history writes lose nothing, and the last hundred steps are kept`, async t => {
    const { records } = await open(t)
    const months = Array.from({ length: 60 }, (_, index) => `${2100 + index}-01`)
    const close = (month: string, index: number, closings: Closings) =>
      closings.close(month, async () => closingAt(1000 + index, 'cli', 1, month))
    const closings = new Closings(meeting(records, 'closings', 2))
    await Promise.all(months.slice(0, 2).map((month, index) => close(month, index, closings)))
    t.equal((await closings.history()).length, 2)
    for (const [index, month] of months.entries()) {
      await close(month, index, closings)
      await closings.reopen(month, { at: 5000 + index, by: 'operator' })
    }
    const history = await closings.history()
    t.equal(history.length, 100)
    t.match(history.at(-1), { month: '2159-01', what: 'reopened', at: 5059, by: 'operator', closedAt: 1059 })
    t.match(history[0], { month: '2120-01', what: 'closed' }, 'the oldest steps are dropped')
  })
}

t.test('closing again writes a missing history step, and a reopening is recorded before it happens', async t => {
  const records = memoryRecords()
  const isBroken = { history: true, deletion: true }
  const closings = new Closings({
    get: records.get,
    put: async (key, value, seen) => {
      if (key === 'closings' && isBroken.history) throw new Error('killed')
      return records.put(key, value, seen)
    },
    delete: async (key, seen) => {
      if (isBroken.deletion) throw new Error('killed')
      return records.delete(key, seen)
    },
  })
  await t.rejects(closings.close(MONTH, async () => closingAt(1000, 'cli', 17)))
  t.match(await closings.find(MONTH), { at: 1000 })
  isBroken.history = false
  await closings.close(MONTH, async () => closingAt(2000, 'cli', 18))
  t.match(await closings.history(), [{ what: 'closed', at: 1000 }])
  await t.rejects(closings.reopen(MONTH, { at: 3000, by: 'cli' }))
  t.match(await closings.history(), [{ what: 'closed' }, { what: 'reopened', at: 3000 }])
  isBroken.deletion = false
  await closings.reopen(MONTH, { at: 4000, by: 'cli' })
  t.strictSame(
    (await closings.history()).map(({ what, at }) => [what, at]),
    [
      ['closed', 1000],
      ['reopened', 4000],
    ],
  )
})
