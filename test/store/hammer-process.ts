// A process of its own that does one thing as often and as fast as it can. Told by the tests where, and then what.
import type { BudgetLimits, Store } from '../../src/storage.js'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.js'
import { openRedisStore } from '../../src/store/redis/redis-store.js'
import type { Hammered, HammerOrder, HammerWork } from './hammer.js'
import { call, charged, DAY, type SharedPlace } from './samples.js'

let store: Store | undefined

process.on('message', async (order: HammerOrder) => {
  if ('place' in order) {
    store = await open(order.place)
    process.send?.('ready')
  } else if (store) {
    const done = await work(store, order.work)
    await store.close()
    process.send?.(done)
  }
})

function open({ technology, target, keyPrefix }: Omit<SharedPlace, 'open'>): Promise<Store> {
  return technology === 'redis'
    ? openRedisStore({ url: target, keyPrefix, commandSilenceMs: 10_000 })
    : openEmbeddedStore({ dir: target, maxBytes: 1_000_000 })
}

async function work(store: Store, { what, attempts, limit }: HammerWork): Promise<Hammered> {
  const done: Hammered = { booked: 0, highest: 0 }
  const attempt = {
    budget: (index: number) => reserve(store, { index, limits: { daily: limit }, ends: index % 2 === 0 }, done),
    floor: (index: number) => reserve(store, { index, limits: { floor: limit }, ends: false }, done),
    record: () => count(store, done),
    share: (index: number) => share(store, index, limit),
  }[what]
  await Promise.all(Array.from({ length: attempts }, (_, index) => attempt(index)))
  return done
}

async function reserve(
  { ledger }: Store,
  { index, limits, ends }: { index: number; limits: BudgetLimits; ends: boolean },
  done: Hammered,
): Promise<void> {
  const entry = call(`${process.pid}-${index}`)
  const outcome = await ledger.reserve(entry, limits)
  done.highest = Math.max(done.highest, outcome.booked.daily)
  if (!outcome.ok) return
  done.booked++
  if (ends) await ledger.settle(entry, charged(entry.estimate))
}

/** One more, however often somebody else was faster. */
async function count({ records }: Store, done: Hammered): Promise<void> {
  for (;;) {
    const seen = await records.get('count')
    if (!(await records.put('count', `${Number(seen?.value ?? 0) + 1}`, seen?.version ?? ''))) continue
    done.booked++
    return
  }
}

function share({ ledger }: Store, index: number, cost: number): Promise<void> {
  const purchase = { resultId: 'answer', boughtAt: 1_000, payer: 'payer', cost }
  return ledger.share({ ...purchase, team: `team-${process.pid}-${index}`, day: DAY, ttlSeconds: 3_600 })
}
