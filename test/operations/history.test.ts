import t, { type Test } from 'tap'
import type { RecordStore } from '../../src/contracts/store.js'
import { Activity } from '../../src/operations/activity.js'
import { ActivityHistory } from '../../src/operations/history.js'
import { memoryRecords } from '../support/doubles/memory-records.js'
import { realStores } from '../support/programs/real-stores.js'

const START = Date.parse('2026-11-27T10:58:30Z')
const MINUTE = 60_000

interface World {
  now: number
  failures: unknown[]
}

function process(records: RecordStore, world: World) {
  const activity = new Activity()
  const history = new ActivityHistory({
    records,
    activity,
    now: () => world.now,
    gauges: () => ({ queue: 1, inFlight: 2, balance: 100 }),
    observer: { storeFailed: error => world.failures.push(error) },
  })
  return { activity, history }
}

const request = {
  requestId: 'r',
  method: 'POST',
  startedAt: 0,
  route: '/segment',
  team: 'a',
  status: 200,
  cache: 'hit',
  durationMs: 3,
  upstreamMs: 0,
  uploadBytes: 0,
}

for (const [name, open] of Object.entries(await realStores(t))) {
  t.test(`${name}: the same minute of several processes adds up and is read by another one`, async t => {
    const { records } = await open(t)
    const world = { now: START, failures: [] }
    const processes = [1, 2, 3, 4].map(() => process(records, world))
    for (const { activity } of processes) {
      activity.requestFinished(request)
      activity.resultAnswered('hit', 5)
      activity.callBooked('a', 'charged', 7)
    }
    await Promise.all(processes.map(({ history }) => history.endMinute()))
    world.now += MINUTE * 2
    processes[0]?.activity.callBooked('b', 'unknown', 2)
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
    t.equal(minutes.length, 2, 'a minute without activity has no entry')
    t.strictSame(world.failures, [])
  })
}

t.test('only the requested hours are read, and older ones expire', async t => {
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

t.test('a minute waits while the store is down, and is written once despite an interrupted write', async t => {
  const records = memoryRecords()
  const world: World = { now: START, failures: [] }
  const { activity, history } = process(records, world)
  activity.callBooked('a', 'charged', 7)
  records.failing = 'before'
  await history.endMinute()
  t.equal(world.failures.length, 1)
  world.now += MINUTE
  activity.callBooked('a', 'charged', 3)
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
  t.equal(world.failures.length, 2, 'the minute was written although the store reported a failure')
  world.now += MINUTE
  await history.endMinute()
  const spent = (await history.read(1)).map(minute => minute.spent)
  t.strictSame(spent, [7, 3, 0])
})

t.test('the errors of all processes are listed once each, the newest first', async t => {
  const records = memoryRecords()
  const world: World = { now: START, failures: [] }
  const [one, other] = [process(records, world), process(records, world)]
  const fail = (target: typeof one, requestId: string) => {
    world.now += 1
    target.activity.requestFailed({
      at: world.now,
      requestId,
      route: '/segment',
      team: 'a',
      status: 429,
      code: 'rate_limited',
    })
  }
  fail(one, 'first')
  await one.history.endMinute()
  fail(one, 'second')
  await one.history.endMinute()
  fail(other, 'third')
  const errors = await other.history.errors()
  t.strictSame(
    errors.map(({ requestId }) => requestId),
    ['third', 'second', 'first'],
  )
  t.match(errors[0], { at: world.now, route: '/segment', team: 'a', status: 429, code: 'rate_limited' })
})

t.test('a stop writes the current minute, and a restart continues it', async (t: Test) => {
  const records = memoryRecords()
  const world: World = { now: START, failures: [] }
  const first = process(records, world)
  first.history.start()
  first.activity.callBooked('a', 'charged', 7)
  await first.history.close()
  const second = process(records, world)
  second.activity.callBooked('a', 'charged', 1)
  await second.history.close()
  t.match(await second.history.read(1), [{ spent: 8 }])
})
