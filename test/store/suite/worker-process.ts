// A process that runs one task as fast as it can. The tests send it the store, and then the task.
import type { BudgetLimits, Store } from '../../../src/contracts/store.js'
import { openEmbeddedStore } from '../../../src/store/embedded/embedded-store.js'
import { openRedisStore } from '../../../src/store/redis/redis-store.js'
import { call, charged, DAY, type SharedStore } from './samples.js'
import type { WorkerMessage, WorkerReport, WorkerTask } from './workers.js'

let store: Store | undefined

process.on('message', async (message: WorkerMessage) => {
  if ('store' in message) {
    store = await open(message.store)
    process.send?.('ready')
  } else if (store) {
    const done = await work(store, message.task)
    await store.close()
    process.send?.(done)
  }
})

function open({ technology, target, keyPrefix }: Omit<SharedStore, 'open'>): Promise<Store> {
  return technology === 'redis'
    ? openRedisStore({ url: target, keyPrefix, commandSilenceMs: 10_000 })
    : openEmbeddedStore({ dir: target, maxBytes: 1_000_000 })
}

async function work(store: Store, { what, attempts, limit }: WorkerTask): Promise<WorkerReport> {
  const done: WorkerReport = { booked: 0, highest: 0 }
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
  done: WorkerReport,
): Promise<void> {
  const entry = call(`${process.pid}-${index}`)
  const outcome = await ledger.reserve(entry, limits)
  done.highest = Math.max(done.highest, outcome.booked.daily)
  if (!outcome.ok) return
  done.booked++
  if (ends) await ledger.settle(entry, charged(entry.estimate))
}

/** Increments the record, and retries as often as another writer was faster. */
async function count({ records }: Store, done: WorkerReport): Promise<void> {
  for (;;) {
    const current = await records.get('count')
    if (!(await records.put('count', `${Number(current?.value ?? 0) + 1}`, current?.version ?? ''))) continue
    done.booked++
    return
  }
}

function share({ ledger }: Store, index: number, cost: number): Promise<void> {
  const purchase = { resultId: 'result', boughtAt: 1_000, payer: 'payer', cost }
  return ledger.share({ ...purchase, team: `team-${process.pid}-${index}`, day: DAY, ttlSeconds: 3_600 })
}
