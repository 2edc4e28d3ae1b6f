import t from 'tap'
import { FairQueue, type Turn } from '../../src/schedule/fair-queue.js'
import { aCaller } from '../support/team.js'

function queue(options: Partial<ConstructorParameters<typeof FairQueue>[0]> = {}) {
  return new FairQueue({ maxConcurrent: 1, maxWaiting: 100, timeoutMs: 1e6, now: () => 0, ...options })
}

/** Lets every promise that can settle do so. */
const settled = () => new Promise(resolve => setImmediate(resolve))

t.test('no more turns at once than there are, however many want one', async t => {
  const turns = queue({ maxConcurrent: 3 })
  let most = 0
  const work = Array.from({ length: 50 }, async () => {
    const turn = await turns.take(aCaller())
    most = Math.max(most, turns.running)
    await settled()
    turn.done()
  })
  await Promise.all(work)
  t.equal(most, 3)
  t.equal(turns.running, 0)
})

t.test('a team with many requests does not keep another waiting', async t => {
  const turns = queue()
  const order: string[] = []
  const ask = (id: string) =>
    turns.take(aCaller({ id })).then(async turn => {
      order.push(id)
      await settled()
      turn.done()
    })
  await Promise.all([...Array.from({ length: 6 }, () => ask('many')), ask('few'), ask('few')])
  t.same(order, ['many', 'few', 'many', 'few', 'many', 'many', 'many', 'many'])
})

t.test('a team of weight 2 gets two turns for one of the others', async t => {
  const turns = queue()
  const order: string[] = []
  const ask = (id: string, weight: number) =>
    turns.take(aCaller({ id, limits: { requestsPerMinute: 1, weight } })).then(async turn => {
      order.push(id)
      await settled()
      turn.done()
    })
  await Promise.all([...Array.from({ length: 6 }, () => ask('a', 1)), ...Array.from({ length: 6 }, () => ask('b', 2))])
  t.equal(order.join(' '), 'a b a b b a b b a b a a')
})

t.test('a team at its own limit waits while others go on', async t => {
  const turns = queue({ maxConcurrent: 2 })
  const limited = aCaller({ id: 'limited', limits: { requestsPerMinute: 1, weight: 1, concurrent: 1 } })
  const first = await turns.take(limited)
  let second: Turn | undefined
  void turns.take(limited).then(turn => {
    second = turn
  })
  const other = await turns.take(aCaller({ id: 'other' }))
  await settled()
  t.equal(second, undefined)
  t.same([...turns.depth()], [['limited', 1]])
  first.done()
  await settled()
  t.ok(second)
  second?.done()
  other.done()
  t.equal(turns.running, 0)
})

t.test('too many waiting: overloaded, with Retry-After; a free turn is still given', async t => {
  const turns = queue({ maxWaiting: 1 })
  const held = await turns.take(aCaller())
  const waiting = turns.take(aCaller())
  await t.rejects(turns.take(aCaller()), { code: 'overloaded', retryAfterSeconds: 2 })
  held.done()
  ;(await waiting).done()
  ;(await turns.take(aCaller())).done()
})

t.test('QUEUE_MAX=0 gives turns but lets nobody wait', async t => {
  const turns = queue({ maxWaiting: 0 })
  const held = await turns.take(aCaller())
  await t.rejects(turns.take(aCaller()), { code: 'overloaded' })
  held.done()
})

t.test('waiting too long: overloaded, and the place in the line is given up', async t => {
  const turns = queue({ timeoutMs: 1 })
  const held = await turns.take(aCaller())
  await t.rejects(turns.take(aCaller()), { code: 'overloaded' })
  t.equal(turns.depth().size, 0)
  held.done()
  ;(await turns.take(aCaller())).done()
  t.equal(turns.running, 0)
})

t.test('giving a turn back twice frees one place only', async t => {
  const turns = queue()
  const turn = await turns.take(aCaller())
  turn.done()
  turn.done()
  const next = await turns.take(aCaller())
  let isThird = false
  void turns.take(aCaller()).then(third => {
    isThird = true
    third.done()
  })
  await settled()
  t.equal(isThird, false)
  next.done()
  await settled()
  t.equal(isThird, true)
})

t.test('it tells how long a turn was waited for', async t => {
  let now = 0
  const waits: number[] = []
  const turns = queue({ now: () => now, onWaited: waitedMs => waits.push(waitedMs) })
  const held = await turns.take(aCaller())
  const next = turns.take(aCaller())
  now = 40
  held.done()
  t.equal((await next).waitedMs, 40)
  t.same(waits, [0, 40])
})

t.test('what a request that came now would meet is told, and changes nothing', async t => {
  const clock = { now: 0 }
  const turns = queue({ maxConcurrent: 2, maxWaiting: 1, now: () => clock.now })
  const { team } = aCaller()
  t.same(turns.outlook(team), { depth: 0, waitMs: 0 })
  const [first] = [await turns.take(aCaller()), await turns.take(aCaller())]
  t.same(turns.outlook(team), { depth: 0 }, 'nobody knows yet how long a turn lasts')
  const waiting = turns.take(aCaller({ id: 'labs' }))
  t.match(turns.outlook(team), { depth: 1, refusal: { code: 'overloaded' } })
  clock.now = 800
  first?.done()
  await waiting
  t.same(turns.outlook(team), { depth: 0, waitMs: 400 }, 'half of what one of the two turns lasts')
  const slow = aCaller({ id: 'slow', limits: { requestsPerMinute: 1, weight: 1, concurrent: 0 } })
  t.equal(queue().outlook(slow.team).waitMs, undefined, 'a team at its own limit waits though the others do not')
  t.equal(turns.running, 2)
})
