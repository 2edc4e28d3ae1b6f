import t, { type Test } from 'tap'
import { openEnvironment } from '../../../src/store/embedded/environment.js'
import { createLeases } from '../../../src/store/embedded/leases.js'

const claim = (name: string, token: string, ttlMs = 60_000) => ({ name, token, note: '{}', ttlMs })

async function openLeases(t: Test) {
  const clock = { now: 1_764_547_200_000 }
  const { environment, parts: leases } = await openEnvironment(t.testdir(), 'ledger', 2 ** 24, environment =>
    createLeases(environment, () => clock.now),
  )
  t.teardown(() => environment.close())
  const count = () => environment.root.openDB<unknown, string>('leases', {}).getKeysCount()
  return { leases, clock, count, environment }
}

t.test('purge deletes all expired leases in batches, and no other', async t => {
  const { leases, clock, count } = await openLeases(t)
  await Promise.all(Array.from({ length: 250 }, (_, index) => leases.acquire(claim(`brief-${index}`, 'a', 1_000))))
  await leases.acquire(claim('long', 'a'))
  await leases.acquire(claim('landed', 'a'))
  await leases.release(claim('landed', 'a'), '{}', 1_000)
  await leases.purge()
  t.equal(count(), 252)
  clock.now += 1_000
  t.equal(await leases.read('brief-0'), undefined, 'an expired lease counts as free before it is deleted')
  t.same(await leases.acquire(claim('brief-0', 'b')), { kind: 'taken' })
  await leases.purge()
  t.equal(count(), 2)
  t.match(await leases.read('long'), { token: 'a' })
  t.match(await leases.read('brief-0'), { token: 'b' })
})

t.test('a renewal extends the time to live, and a release sets another', async t => {
  const { leases, clock } = await openLeases(t)
  await leases.acquire(claim('name', 'a', 1_000))
  clock.now += 999
  t.same(await leases.renew([claim('name', 'a', 1_000)]), [true])
  clock.now += 999
  t.match(await leases.read('name'), { heartbeat: 1 })
  await leases.release(claim('name', 'a'), '{}', 10)
  clock.now += 9
  t.match(await leases.read('name'), { outcome: '{}' })
  clock.now += 1
  t.equal(await leases.read('name'), undefined)
})

t.test('followers are notified of a release once it is on disk, and only of a release', async t => {
  const { leases } = await openLeases(t)
  let notices = 0
  const stop = leases.watch('name', () => notices++)
  await leases.acquire(claim('name', 'a'))
  await leases.release(claim('name', 'stranger'), '{}', 1_000)
  t.equal(notices, 0)
  await leases.release(claim('name', 'a'), '{}', 1_000)
  t.equal(notices, 1)
  stop()
  await leases.acquire(claim('name', 'b'))
  await leases.release(claim('name', 'b'), '{}', 1_000)
  t.equal(notices, 1)
})

t.test('a closed store rejects with StoreError', async t => {
  const { leases, environment } = await openLeases(t)
  await environment.close()
  for (const step of [
    leases.acquire(claim('name', 'a')),
    leases.renew([claim('name', 'a')]),
    leases.release(claim('name', 'a'), '{}', 1_000),
    leases.read('name'),
  ])
    await t.rejects(step as Promise<unknown>, { name: 'StoreError' })
})
