import t from 'tap'
import { Coalescer } from '../../src/cache/coalescer.js'

function gate<T>() {
  let open!: (value: T) => void
  let fail!: (error: unknown) => void
  const promise = new Promise<T>((resolve, reject) => {
    open = resolve
    fail = reject
  })
  return { promise, open, fail }
}

t.test('a hundred identical joins start one flight and share its result', async t => {
  const flights = new Coalescer<string>()
  const { promise, open } = gate<string>()
  let led = 0
  const joins = Array.from({ length: 100 }, () =>
    flights.join('a', 'red', () => {
      led++
      return promise
    }),
  )
  t.same(
    joins.map(join => join.role),
    ['leader', ...Array(99).fill('follower')],
  )
  open('x')
  t.same(new Set(await Promise.all(joins.map(join => join.outcome))), new Set(['x']))
  t.equal(led, 1)
})

t.test('a different name starts a different flight', async t => {
  const flights = new Coalescer<string>()
  t.equal(flights.join('a', 'red', async () => 'a').role, 'leader')
  t.equal(flights.join('b', 'red', async () => 'b').role, 'leader')
  await flights.idle()
})

t.test('a caller that joins after the flight has ended leads the next one', async t => {
  const flights = new Coalescer<number>()
  const first = flights.join('a', 'red', async () => 1)
  const role = await first.outcome.then(() => flights.join('a', 'red', async () => 2).role)
  t.equal(role, 'leader')
  await flights.idle()
})

t.test('a failure rejects every follower and does not affect the next flight', async t => {
  const flights = new Coalescer<number>()
  const { promise, fail } = gate<number>()
  const joins = [1, 2, 3].map(() => flights.join('a', 'red', () => promise))
  fail(new Error('no'))
  for (const join of joins) await t.rejects(join.outcome, /no/)
  t.equal(await flights.join('a', 'red', async () => 7).outcome, 7)
})

t.test('a synchronous throw rejects the flight instead of escaping from join', async t => {
  const flights = new Coalescer<number>()
  const join = flights.join('a', 'red', () => {
    throw new Error('sync')
  })
  await t.rejects(join.outcome, /sync/)
  t.equal(flights.size, 0)
})

t.test('idle waits for flights without callers and for flights started meanwhile', async t => {
  const flights = new Coalescer<number>()
  const one = gate<number>()
  const two = gate<number>()
  const ended: string[] = []
  flights
    .alone(() => one.promise)
    .then(() => {
      ended.push('one')
      void flights.alone(() => two.promise).then(() => ended.push('two'))
      setImmediate(() => two.open(2))
    })
  t.equal(flights.size, 1)
  const idle = flights.idle().then(() => ended.push('idle'))
  one.open(1)
  await idle
  t.same(ended, ['one', 'two', 'idle'])
})

t.test('idle waits for the flight that a follower starts after its leader failed', async t => {
  const flights = new Coalescer<number>()
  const first = gate<number>()
  const second = gate<number>()
  const lead = flights.join('a', 'red', () => first.promise)
  const followed = flights.join('a', 'blue', async () => 0)
  lead.outcome.catch(() => {})
  const retried = (async () => {
    // As many microtasks after the failure as in the pipeline.
    const failed = await Promise.race([followed.outcome, new Promise<number>(() => {})]).catch(() => undefined)
    for (let ticks = 0; ticks < 10; ticks++) await null
    return failed ?? flights.join('a', 'blue', () => second.promise).outcome
  })()
  const ended: unknown[] = []
  const idle = flights.idle().then(() => ended.push('idle'))
  first.open(Promise.reject(new Error('of the leader')) as unknown as number)
  setImmediate(() => setImmediate(() => second.open(2)))
  ended.push(await retried)
  await idle
  t.same(ended, [2, 'idle'])
})

t.test('a failed flight without callers causes no unhandled rejection', async t => {
  const flights = new Coalescer<number>()
  flights.alone(async () => Promise.reject(new Error('without a listener')))
  await flights.idle()
  t.equal(flights.size, 0)
})

t.test('lead starts a flight that others can follow, or a separate one if a flight exists', async t => {
  const flights = new Coalescer<number>()
  const { promise, open } = gate<number>()
  const led = flights.lead('a', 'red', () => promise)
  const followed = flights.join('a', 'blue', async () => 0)
  t.match(followed, { role: 'follower', leader: 'red' })
  const own = flights.lead('a', 'blue', async () => 2)
  t.equal(await own, 2)
  t.equal(flights.join('a', 'blue', async () => 0).role, 'follower', 'the first flight is still the one to join')
  open(1)
  t.same(await Promise.all([led, followed.outcome]), [1, 1])
  t.equal(flights.size, 0)
})
