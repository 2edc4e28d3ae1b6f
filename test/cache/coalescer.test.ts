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

t.test('a hundred identical joins lead once and share one landing', async t => {
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
  t.same(new Set(await Promise.all(joins.map(join => join.landed))), new Set(['x']))
  t.equal(led, 1)
})

t.test('another name is another flight', async t => {
  const flights = new Coalescer<string>()
  t.equal(flights.join('a', 'red', async () => 'a').role, 'leader')
  t.equal(flights.join('b', 'red', async () => 'b').role, 'leader')
  await flights.idle()
})

t.test('whoever hears of the landing leads the next flight', async t => {
  const flights = new Coalescer<number>()
  const first = flights.join('a', 'red', async () => 1)
  const role = await first.landed.then(() => flights.join('a', 'red', async () => 2).role)
  t.equal(role, 'leader')
  await flights.idle()
})

t.test('a failure reaches all followers, and is not remembered', async t => {
  const flights = new Coalescer<number>()
  const { promise, fail } = gate<number>()
  const joins = [1, 2, 3].map(() => flights.join('a', 'red', () => promise))
  fail(new Error('no'))
  for (const join of joins) await t.rejects(join.landed, /no/)
  t.equal(await flights.join('a', 'red', async () => 7).landed, 7)
})

t.test('a lead that throws at once is a failed flight, not an exception of join', async t => {
  const flights = new Coalescer<number>()
  const join = flights.join('a', 'red', () => {
    throw new Error('sync')
  })
  await t.rejects(join.landed, /sync/)
  t.equal(flights.size, 0)
})

t.test('idle waits for flights nobody waits for, and for those begun meanwhile', async t => {
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

t.test('idle waits for the flight that a follower leads after the one it followed has failed', async t => {
  const flights = new Coalescer<number>()
  const first = gate<number>()
  const second = gate<number>()
  const lead = flights.join('a', 'red', () => first.promise)
  const followed = flights.join('a', 'blue', async () => 0)
  lead.landed.catch(() => {})
  const pursued = (async () => {
    // As far from the failure as the pipeline is.
    const failed = await Promise.race([followed.landed, new Promise<number>(() => {})]).catch(() => undefined)
    for (let ticks = 0; ticks < 10; ticks++) await null
    return failed ?? flights.join('a', 'blue', () => second.promise).landed
  })()
  const ended: unknown[] = []
  const idle = flights.idle().then(() => ended.push('idle'))
  first.open(Promise.reject(new Error('of the leader')) as unknown as number)
  setImmediate(() => setImmediate(() => second.open(2)))
  ended.push(await pursued)
  await idle
  t.same(ended, [2, 'idle'])
})

t.test('a failed flight alone is no unhandled rejection', async t => {
  const flights = new Coalescer<number>()
  flights.alone(async () => Promise.reject(new Error('nobody listens')))
  await flights.idle()
  t.equal(flights.size, 0)
})

t.test('lead begins a flight others can follow, or one of its own where there is one already', async t => {
  const flights = new Coalescer<number>()
  const { promise, open } = gate<number>()
  const led = flights.lead('a', 'red', () => promise)
  const followed = flights.join('a', 'blue', async () => 0)
  t.match(followed, { role: 'follower', leader: 'red' })
  const own = flights.lead('a', 'blue', async () => 2)
  t.equal(await own, 2)
  t.equal(flights.join('a', 'blue', async () => 0).role, 'follower', 'the first is still the one to follow')
  open(1)
  t.same(await Promise.all([led, followed.landed]), [1, 1])
  t.equal(flights.size, 0)
})
