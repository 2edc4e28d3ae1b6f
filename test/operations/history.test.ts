import t, { type Test } from 'tap'
import { Activity } from '../../src/operations/activity.js'
import { History } from '../../src/operations/history.js'
import type { RecordStore } from '../../src/storage.js'
import { memoryRecords } from '../support/memory-records.js'
import { realStores } from '../support/real-stores.js'

const START = Date.parse('2026-11-27T10:58:30Z')
const MINUTE = 60_000

interface World {
  now: number
  failures: unknown[]
}

function process(records: RecordStore, world: World) {
  const activity = new Activity({ now: () => world.now })
  const history = new History({
    ...{ records, activity },
    now: () => world.now,
    gauges: () => ({ queue: 1, inFlight: 2, balance: 100 }),
    onStoreFailure: error => world.failures.push(error),
  })
  return { activity, history }
}

const request = { requestId: 'r', route: '/segment', team: 'a', status: 200, cache: 'hit', durationMs: 3 }

for (const [name, open] of Object.entries(await realStores(t))) {
  t.test(`${name}: what processes did at the same minute adds up, and is read by another one`, async t => {
    const { records } = await open(t)
    const world = { now: START, failures: [] }
    const processes = [1, 2, 3, 4].map(() => process(records, world))
    for (const { activity } of processes) {
      activity.requested(request)
      activity.answered('hit', 5)
      activity.booked('a', 'charged', 7)
    }
    await Promise.all(processes.map(({ history }) => history.endMinute()))
    world.now += MINUTE * 2
    processes[0]?.activity.booked('b', 'unknown', 2)
    await processes[0]?.history.endMinute()
    const { history } = process(records, world)
    const minutes = await history.read(48)
    t.match(minutes, [
      {
        at: START - 30_000,
        requests: 4,
        answers: { hit: 4 },
        spent: 28,
        saved: 20,
        teams: { a: 28 },
        queue: 4,
        inFlight: 8,
      },
      { at: START + MINUTE * 1.5, requests: 0, spent: 0, unknown: 2, teams: { b: 2 }, queue: 1, balance: 100 },
    ])
    t.equal(minutes.length, 2, 'a minute of which nothing is known is not there')
    t.strictSame(world.failures, [])
  })
}

t.test('what lies further back than asked for is not told, and goes by itself', async t => {
  const records = memoryRecords()
  const world = { now: START, failures: [] }
  const { history } = process(records, world)
  await history.endMinute()
  world.now += 3_600_000 * 2
  await history.endMinute()
  t.equal((await history.read(1)).length, 1)
  t.equal((await history.read(3)).length, 2)
  for (const { ttlSeconds = 0 } of records.kept.values()) t.ok(ttlSeconds > 48 * 3600)
})

t.test('a minute waits for a store that is down, and is written once though a writing was cut off', async t => {
  const records = memoryRecords()
  const world: World = { now: START, failures: [] }
  const { activity, history } = process(records, world)
  activity.booked('a', 'charged', 7)
  records.failing = 'before'
  await history.endMinute()
  t.equal(world.failures.length, 1)
  world.now += MINUTE
  activity.booked('a', 'charged', 3)
  records.failing = undefined
  const { put } = records
  let isCut = false
  records.put = async (...args) => {
    if (isCut) return put(...args)
    isCut = true
    records.failing = 'after'
    return put(...args).finally(() => {
      records.failing = undefined
    })
  }
  await history.endMinute()
  t.equal(world.failures.length, 2, 'it was written, and the store said that it failed')
  world.now += MINUTE
  await history.endMinute()
  const spent = (await history.read(1)).map(minute => minute.spent)
  t.strictSame(spent, [7, 3, 0])
})

t.test('errors of all processes are told, the newest first, each once', async t => {
  const records = memoryRecords()
  const world: World = { now: START, failures: [] }
  const [one, other] = [process(records, world), process(records, world)]
  const fail = (who: typeof one, requestId: string) => {
    world.now += 1
    who.activity.requested({ ...request, requestId, cache: '', status: 429, error: 'rate_limited' })
  }
  fail(one, 'first')
  await one.history.endMinute()
  fail(one, 'second')
  await one.history.endMinute()
  fail(other, 'third')
  const told = await other.history.errors()
  t.strictSame(
    told.map(({ requestId }) => requestId),
    ['third', 'second', 'first'],
  )
  t.match(told[0], { at: world.now, route: '/segment', team: 'a', status: 429, code: 'rate_limited' })
})

t.test('a stop writes the minute that is not over, and a new start goes on in it', async (t: Test) => {
  const records = memoryRecords()
  const world: World = { now: START, failures: [] }
  const first = process(records, world)
  first.history.start()
  first.activity.booked('a', 'charged', 7)
  await first.history.close()
  const second = process(records, world)
  second.activity.booked('a', 'charged', 1)
  await second.history.close()
  t.match(await second.history.read(1), [{ spent: 8 }])
})
