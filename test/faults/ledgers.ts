import { join } from 'node:path'
import type { LedgerEntry, UsageDay } from '../../src/contracts/store.js'
import { Recovery } from '../../src/credits/recovery.js'
import { UnsavedSteps } from '../../src/credits/unsaved.js'
import { type OpenedStore, openStore } from '../../src/store/open-store.js'
import { entriesOf } from '../support/entries-of.js'
import { withRedisOver } from './redis.js'
import type { World } from './world.js'

export interface ReadLedgers {
  ledger: LedgerEntry[]
  usage: UsageDay[]
  discardedLedgers: LedgerEntry[][]
}

const MIB = 1024 ** 2
const HOUR_MS = 3_600_000

/**
 * Settles the calls of dead processes, as a gateway would an hour later, and reads all ledgers.
 * Needs stopped gateways.
 */
export async function readLedgers(world: World, since: number): Promise<ReadLedgers> {
  const days = [...new Set([since, Date.now()].map(at => new Date(at).toISOString().slice(0, 10)))]
  const months = [...new Set(days.map(day => day.slice(0, 7)))]
  const discardedLedgers: LedgerEntry[][] = []
  for (const dir of world.redis.discardedDirs) {
    const read = (url: string) => withStore(url, world, ({ store }) => all(days, day => entriesOf(store.ledger, day)))
    discardedLedgers.push(await withRedisOver(dir, read))
  }
  return withStore(world.redis.url, world, async opened => {
    await sweep(opened)
    const { ledger } = opened.store
    return {
      ledger: await all(days, day => entriesOf(ledger, day)),
      usage: await all(months, month => ledger.usage(month)),
      discardedLedgers,
    }
  })
}

async function withStore<T>(url: string, { dir }: World, read: (opened: OpenedStore) => Promise<T>): Promise<T> {
  const dataDir = join(dir, 'audit')
  const opened = await openStore({ redisUrl: { reveal: () => url }, dataDir, maxBytes: 64 * MIB })
  try {
    return await read(opened)
  } finally {
    await opened.store.close()
    await opened.spool.close()
  }
}

async function all<T>(names: readonly string[], read: (name: string) => Promise<T[]>): Promise<T[]> {
  return (await Promise.all(names.map(read))).flat()
}

/**
 * Runs the product's recovery. Its clock is an hour ahead, so that no entry has an owner and no job
 * can be polled.
 */
async function sweep({ store, spool, isSpoolDurable }: OpenedStore): Promise<void> {
  const isStoreUp = () => store.isUp()
  const failures: unknown[] = []
  const observer = {
    storeFailed: (error: unknown) => void failures.push(error),
    callBooked: () => {},
    ledgerStepLost: () => {},
    orphanSettled: () => {},
  }
  const unsaved = new UnsavedSteps({
    store: store.ledger,
    spool,
    isSpoolDurable,
    retryMs: HOUR_MS,
    isStoreUp,
    observer,
  })
  const recovery = new Recovery({
    store: store.ledger,
    unsaved,
    isOwn: () => false,
    orphanAfterMs: 60_000,
    everyMs: HOUR_MS,
    resume: async () => {},
    now: () => Date.now() + HOUR_MS,
    observer,
  })
  while ((await recovery.sweep()) > 0);
  await recovery.close()
  await unsaved.close()
  if (failures.length > 0) throw failures[0]
}
