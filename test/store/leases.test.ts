import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { LeaseClaim, LeaseStore, Store } from '../../src/contracts/store.js'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.js'
import { openRedisStore } from '../../src/store/redis/redis-store.js'
import { eventually } from '../support/eventually.js'
import { startRedis } from '../support/programs/redis-server.js'

const redis = await startRedis()
t.teardown(() => redis.close())

/** Two stores on the same data, as two processes have them. */
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

    t.test('one store acquires a lease, also twice, and the other sees the holder', async t => {
      const name = aName()
      t.match(await one.acquire(claim(name, 'a')), { kind: 'taken' })
      t.match(await one.acquire(claim(name, 'a')), { kind: 'taken' })
      const snapshot = { token: 'a', heartbeat: 0, note: 'note of a' }
      t.same(await other.acquire(claim(name, 'b')), { kind: 'held', snapshot })
      t.same(await other.read(name), snapshot)
      t.equal(await other.read(aName()), undefined)
    })

    t.test('exactly one of many concurrent callers acquires a lease', async t => {
      const name = aName()
      const attempts = Array.from({ length: 40 }, (_, index) =>
        (index % 2 ? one : other).acquire(claim(name, `t${index}`)),
      )
      t.equal((await Promise.all(attempts)).filter(({ kind }) => kind === 'taken').length, 1)
    })

    t.test('a renewal counts a heartbeat, and another token cannot renew', async t => {
      const name = aName()
      await one.acquire(claim(name, 'a'))
      t.same(await one.renew([claim(name, 'a')]), [true])
      t.same(await one.renew([claim(name, 'a')]), [true])
      t.match(await other.read(name), { token: 'a', heartbeat: 2 })
      t.same(await other.renew([claim(name, 'b')]), [false])
      t.same(await one.renew([]), [])
    })

    t.test('many leases are renewed at once, each with its own result', async t => {
      const names = Array.from({ length: 300 }, aName)
      for (const name of names) await (names.indexOf(name) % 3 ? one : other).acquire(claim(name, 'a'))
      await other.acquire(claim(names[7] as string, 'x'), await other.read(names[7] as string))
      const held = await one.renew(names.map(name => claim(name, 'a')))
      t.equal(held.length, 300)
      t.same(
        held.flatMap((isHeld, index) => (isHeld ? [] : [index])),
        [7],
      )
    })

    t.test('a lease is taken over only with its current heartbeat', async t => {
      const name = aName()
      await one.acquire(claim(name, 'a'))
      const snapshot = await other.read(name)
      await one.renew([claim(name, 'a')])
      t.match(await other.acquire(claim(name, 'b'), snapshot), { kind: 'held', snapshot: { token: 'a', heartbeat: 1 } })
      const now = await other.read(name)
      t.match(await other.acquire(claim(name, 'b'), now), { kind: 'taken', previous: now })
      t.match(
        await one.acquire(claim(name, 'c'), now),
        { kind: 'held', snapshot: { token: 'b' } },
        'the second successor is too late',
      )
      t.same(await one.renew([claim(name, 'a')]), [false], 'the former holder learns that it lost the lease')
    })

    t.test('a renewal restores a lease that the store has lost', async t => {
      const name = aName()
      t.same(await one.renew([claim(name, 'a')]), [true])
      t.match(await other.acquire(claim(name, 'b')), { kind: 'held', snapshot: { token: 'a', heartbeat: 1 } })
    })

    t.test('a missing lease can be acquired with an old snapshot', async t => {
      const name = aName()
      t.match(await one.acquire(claim(name, 'a'), { token: 'gone', heartbeat: 3, note: '' }), { kind: 'taken' })
    })

    t.test('a released lease shows its outcome, can be acquired, and is returned to the next holder', async t => {
      const name = aName()
      await one.acquire(claim(name, 'a'))
      await other.release(claim(name, 'stranger'), 'of a stranger', 60_000)
      t.equal((await other.read(name))?.outcome, undefined)
      await one.release(claim(name, 'a'), 'done', 60_000)
      const landed = { token: 'a', heartbeat: 0, note: 'note of a', outcome: 'done' }
      t.same(await other.read(name), landed)
      t.match(await other.acquire(claim(name, 'b')), { kind: 'taken', previous: landed })
      t.same(await other.read(name), { token: 'b', heartbeat: 0, note: 'note of b' })
      await one.release(claim(name, 'a'), 'again', 60_000)
      t.equal((await other.read(name))?.outcome, undefined, 'a former holder cannot release the lease of another')
    })

    t.test('a read sees every change since the last read', async t => {
      let seen = 0
      for (let round = 0; round < 50; round++) {
        const name = aName()
        await one.acquire(claim(name, 'a'))
        await other.read(name)
        await one.release(claim(name, 'a'), 'done', 60_000)
        if ((await other.read(name))?.outcome === 'done') seen += 1
      }
      t.equal(seen, 50)
    })

    t.test('an empty outcome is an outcome', async t => {
      const name = aName()
      await one.acquire(claim(name, 'a'))
      await one.release(claim(name, 'a'), '', 60_000)
      t.equal((await other.read(name))?.outcome, '')
      t.match(await other.acquire(claim(name, 'b')), { kind: 'taken' })
    })

    t.test('leases without renewals and released leases expire', async t => {
      const [name, landed] = [aName(), aName()]
      await one.acquire(claim(name, 'a', 30))
      await one.acquire(claim(landed, 'a'))
      await one.release(claim(landed, 'a'), 'bye', 30)
      await eventually(
        'the leases never expired',
        async () => !((await other.read(name)) || (await other.read(landed))),
      )
      t.match(await other.acquire(claim(name, 'b')), { kind: 'taken' })
      t.match(await other.acquire(claim(landed, 'b')), { kind: 'taken' })
    })

    t.test('a subscriber is notified of a release until it unsubscribes', async t => {
      const [name, elsewhere] = [aName(), aName()]
      let notices = 0
      const stop = one.watch(name, () => notices++)
      const stopElsewhere = one.watch(elsewhere, () => t.fail('notified of another name'))
      await eventually('no notification arrived', async () => {
        // The first subscriber may still be connecting, so a notification may be lost.
        await one.acquire(claim(name, 'a'))
        await one.release(claim(name, 'a'), '{}', 60_000)
        return notices > 0
      })
      stop()
      stop()
      stopElsewhere()
      const before = notices
      await one.acquire(claim(name, 'b'))
      await one.release(claim(name, 'b'), '{}', 60_000)
      t.ok(notices <= before + 1)
    })
  })
}

t.test('a notification arrives from another process (redis)', async t => {
  const { one, other } = await overRedis(t)
  const name = aName()
  let notices = 0
  one.watch(name, () => notices++)
  await eventually('no notification arrived', async () => {
    await other.acquire(claim(name, 'a'))
    await other.release(claim(name, 'a'), '{}', 60_000)
    return notices > 0
  })
  t.ok(notices > 0)
})

t.test('an emptied Redis gives holders the time to renew their leases', async t => {
  const empty = await startRedis({ isNew: true })
  t.teardown(() => empty.close())
  const settleMs = 300
  const stores = await Promise.all([1, 2].map(() => openRedisStore({ url: empty.url, recoveryMs: settleMs })))
  const { one, other } = pairOf(t, stores)
  const name = aName()
  const until = async (leases: LeaseStore, token: string) => {
    return eventually('the leases never recovered', async () => {
      const outcome = await leases.acquire(claim(name, token))
      if (outcome.kind !== 'recovering') return outcome
      t.ok(outcome.waitMs > 0 && outcome.waitMs <= settleMs)
      return undefined
    })
  }
  t.match(await until(one, 'a'), { kind: 'taken' })
  await empty.flush()
  t.match(await other.acquire(claim(name, 'b')), { kind: 'recovering' })
  t.same(await one.renew([claim(name, 'a')]), [true])
  t.same(await one.acquire(claim(name, 'a')), { kind: 'taken' }, 'the holder itself need not wait')
  t.match(await until(other, 'b'), { kind: 'held', snapshot: { token: 'a' } })
})

t.test('operations fail at once when Redis stops, and work again when it is back', async t => {
  const server = await startRedis()
  t.teardown(() => server.close())
  const store = await openRedisStore({ url: server.url, recoveryMs: 0 })
  t.teardown(() => store.close())
  const name = aName()
  let notices = 0
  store.leases.watch(name, () => notices++)
  await store.leases.acquire(claim(name, 'a'))
  await server.stop()
  const steps: (() => Promise<unknown>)[] = [
    () => store.leases.acquire(claim(name, 'a')),
    () => store.leases.renew([claim(name, 'a')]),
    () => store.leases.release(claim(name, 'a'), '{}', 1_000),
    () => store.leases.read(name),
  ]
  for (const step of steps) await t.rejects(step, { name: 'StoreError' })
  await server.start()
  await eventually('the store never came back', () => store.isUp())
  t.same(await store.leases.renew([claim(name, 'a')]), [true])
  // The connection for notifications comes back by itself as well.
  await eventually('no notification arrived after the outage', async () => {
    await store.leases.release(claim(name, 'a'), '{}', 1_000)
    await store.leases.acquire(claim(name, 'a'))
    return notices > 0
  })
  t.pass()
})
