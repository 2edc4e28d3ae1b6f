import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { LeaseClaim, LeaseStore, Store } from '../../src/storage.js'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.js'
import { openRedisStore } from '../../src/store/redis/redis-store.js'
import { startRedis } from '../support/redis-server.js'

const redis = await startRedis()
t.teardown(() => redis.close())

/** Two stores of one technology that share what they hold, as two processes have them, and a way to let time pass. */
interface Pair {
  one: LeaseStore
  other: LeaseStore
}

const claim = (name: string, token: string, ttlMs = 60_000): LeaseClaim => ({
  name,
  token,
  note: `note of ${token}`,
  ttlMs,
})
const aName = () => randomUUID()

async function overRedis(t: Test): Promise<Pair> {
  const stores = await Promise.all([1, 2].map(() => openRedisStore({ url: redis.url })))
  return pairOf(t, stores)
}

async function embedded(t: Test): Promise<Pair> {
  const dir = await mkdtemp(join(tmpdir(), 'leases-test-'))
  const stores = [
    await openEmbeddedStore({ dir, maxBytes: 2 ** 20 }),
    await openEmbeddedStore({ dir, maxBytes: 2 ** 20 }),
  ]
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return pairOf(t, stores)
}

function pairOf(t: Test, stores: Store[]): Pair {
  t.teardown(() => Promise.all(stores.map(store => store.close())))
  const [one, other] = stores.map(({ leases }) => leases) as [LeaseStore, LeaseStore]
  return { one, other }
}

for (const [kind, open] of Object.entries({ redis: overRedis, embedded })) {
  t.test(kind, async t => {
    const { one, other } = await open(t)

    t.test('one takes it, the other sees who has it; it may be asked for twice', async t => {
      const name = aName()
      t.same(await one.acquire(claim(name, 'a')), { kind: 'taken' })
      t.same(await one.acquire(claim(name, 'a')), { kind: 'taken' })
      const sight = { token: 'a', beat: 0, note: 'note of a' }
      t.same(await other.acquire(claim(name, 'b')), { kind: 'held', sight })
      t.same(await other.look(name), sight)
      t.equal(await other.look(aName()), undefined)
    })

    t.test('of many who ask at once exactly one has it', async t => {
      const name = aName()
      const asked = Array.from({ length: 40 }, (_, index) =>
        (index % 2 ? one : other).acquire(claim(name, `t${index}`)),
      )
      t.equal((await Promise.all(asked)).filter(({ kind }) => kind === 'taken').length, 1)
    })

    t.test('a beat says that the holder lives, and keeps others out', async t => {
      const name = aName()
      await one.acquire(claim(name, 'a'))
      t.same(await one.beat([claim(name, 'a')]), [true])
      t.same(await one.beat([claim(name, 'a')]), [true])
      t.match(await other.look(name), { token: 'a', beat: 2 })
      t.same(await other.beat([claim(name, 'b')]), [false])
      t.same(await one.beat([]), [])
    })

    t.test('many beat at once, and each hears of its own', async t => {
      const names = Array.from({ length: 300 }, aName)
      for (const name of names) await (names.indexOf(name) % 3 ? one : other).acquire(claim(name, 'a'))
      await other.acquire(claim(names[7] as string, 'x'), await other.look(names[7] as string))
      const held = await one.beat(names.map(name => claim(name, 'a')))
      t.equal(held.length, 300)
      t.same(
        held.flatMap((isHeld, index) => (isHeld ? [] : [index])),
        [7],
      )
    })

    t.test('it is taken over only as it was seen: one beat in between, and it is not', async t => {
      const name = aName()
      await one.acquire(claim(name, 'a'))
      const sight = await other.look(name)
      await one.beat([claim(name, 'a')])
      t.match(await other.acquire(claim(name, 'b'), sight), { kind: 'held', sight: { token: 'a', beat: 1 } })
      const now = await other.look(name)
      t.same(await other.acquire(claim(name, 'b'), now), { kind: 'taken', before: now })
      t.match(
        await one.acquire(claim(name, 'c'), now),
        { kind: 'held', sight: { token: 'b' } },
        'the second successor comes too late',
      )
      t.same(await one.beat([claim(name, 'a')]), [false], 'who was thought dead hears of it')
    })

    t.test('a lease the store has lost is taken back by its holder, and by nobody who only thinks so', async t => {
      const name = aName()
      t.same(await one.beat([claim(name, 'a')]), [true])
      t.match(await other.acquire(claim(name, 'b')), { kind: 'held', sight: { token: 'a', beat: 1 } })
    })

    t.test('what is gone may be taken with what was seen of it', async t => {
      const name = aName()
      t.same(await one.acquire(claim(name, 'a'), { token: 'gone', beat: 3, note: '' }), { kind: 'taken' })
    })

    t.test('a landing is seen, frees the name, and tells the next holder how it stood', async t => {
      const name = aName()
      await one.acquire(claim(name, 'a'))
      await other.land(claim(name, 'stranger'), 'not yours', 60_000)
      t.equal((await other.look(name))?.parting, undefined)
      await one.land(claim(name, 'a'), 'so long', 60_000)
      const landed = { token: 'a', beat: 0, note: 'note of a', parting: 'so long' }
      t.same(await other.look(name), landed)
      t.same(await other.acquire(claim(name, 'b')), { kind: 'taken', before: landed })
      t.same(await other.look(name), { token: 'b', beat: 0, note: 'note of b' })
      await one.land(claim(name, 'a'), 'again', 60_000)
      t.equal((await other.look(name))?.parting, undefined, 'who has landed lands nobody else')
    })

    t.test('a look sees what happened since the last one, however short ago that was', async t => {
      let seen = 0
      for (let round = 0; round < 50; round++) {
        const name = aName()
        await one.acquire(claim(name, 'a'))
        await other.look(name)
        await one.land(claim(name, 'a'), 'so long', 60_000)
        if ((await other.look(name))?.parting === 'so long') seen += 1
      }
      t.equal(seen, 50)
    })

    t.test('an empty parting is one', async t => {
      const name = aName()
      await one.acquire(claim(name, 'a'))
      await one.land(claim(name, 'a'), '', 60_000)
      t.equal((await other.look(name))?.parting, '')
      t.match(await other.acquire(claim(name, 'b')), { kind: 'taken' })
    })

    t.test('what nobody beats for, and what has landed, is forgotten in time', async t => {
      const [name, landed] = [aName(), aName()]
      await one.acquire(claim(name, 'a', 30))
      await one.acquire(claim(landed, 'a'))
      await one.land(claim(landed, 'a'), 'bye', 30)
      while ((await other.look(name)) || (await other.look(landed)));
      t.same(await other.acquire(claim(name, 'b')), { kind: 'taken' })
      t.same(await other.acquire(claim(landed, 'b')), { kind: 'taken' })
    })

    t.test('whoever watches is told of a landing, and no more once it has stopped', async t => {
      const [name, elsewhere] = [aName(), aName()]
      let told = 0
      const stop = one.watch(name, () => told++)
      const stopElsewhere = one.watch(elsewhere, () => t.fail('it is told of another name'))
      while (told === 0) {
        // The first watcher may still be connecting: a notice may be missed.
        await one.acquire(claim(name, 'a'))
        await one.land(claim(name, 'a'), '{}', 60_000)
      }
      stop()
      stop()
      stopElsewhere()
      const before = told
      await one.acquire(claim(name, 'b'))
      await one.land(claim(name, 'b'), '{}', 60_000)
      t.ok(told <= before + 1)
    })
  })
}

t.test('a notice comes from another process (redis)', async t => {
  const { one, other } = await overRedis(t)
  const name = aName()
  let told = 0
  one.watch(name, () => told++)
  while (told === 0) {
    await other.acquire(claim(name, 'a'))
    await other.land(claim(name, 'a'), '{}', 60_000)
  }
  t.ok(told > 0)
})

t.test('a Redis that was emptied gives holders elsewhere the time to say what they hold', async t => {
  const empty = await startRedis({ isNew: true })
  t.teardown(() => empty.close())
  const settleMs = 300
  const stores = await Promise.all([1, 2].map(() => openRedisStore({ url: empty.url, settleMs })))
  const { one, other } = pairOf(t, stores)
  const name = aName()
  const until = async (leases: LeaseStore, token: string) => {
    for (;;) {
      const outcome = await leases.acquire(claim(name, token))
      if (outcome.kind !== 'settling') return outcome
      t.ok(outcome.waitMs > 0 && outcome.waitMs <= settleMs)
    }
  }
  t.match(await until(one, 'a'), { kind: 'taken' })
  await empty.flush()
  t.match(await other.acquire(claim(name, 'b')), { kind: 'settling' })
  t.same(await one.beat([claim(name, 'a')]), [true])
  t.same(await one.acquire(claim(name, 'a')), { kind: 'taken' }, 'the holder itself need not wait')
  t.match(await until(other, 'b'), { kind: 'held', sight: { token: 'a' } })
})

t.test('a Redis that stops fails at once, and leases go on when it is back', async t => {
  const server = await startRedis()
  t.teardown(() => server.close())
  const store = await openRedisStore({ url: server.url, settleMs: 0 })
  t.teardown(() => store.close())
  const name = aName()
  let told = 0
  store.leases.watch(name, () => told++)
  await store.leases.acquire(claim(name, 'a'))
  await server.stop()
  const steps: (() => Promise<unknown>)[] = [
    () => store.leases.acquire(claim(name, 'a')),
    () => store.leases.beat([claim(name, 'a')]),
    () => store.leases.land(claim(name, 'a'), '{}', 1_000),
    () => store.leases.look(name),
  ]
  for (const step of steps) await t.rejects(step, { name: 'StoreError' })
  await server.start()
  while (!store.isUp()) await new Promise(setImmediate)
  t.same(await store.leases.beat([claim(name, 'a')]), [true])
  // The other connection comes back by itself, too.
  while (told === 0) {
    await store.leases.land(claim(name, 'a'), '{}', 1_000)
    await store.leases.acquire(claim(name, 'a'))
  }
  t.pass()
})
