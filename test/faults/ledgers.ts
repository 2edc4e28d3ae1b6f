import { join } from 'node:path'
import { Recovery } from '../../src/credits/recovery.js'
import { UnsavedSteps } from '../../src/credits/unsaved.js'
import type { LedgerEntry, UsageDay } from '../../src/storage.js'
import { type OpenedStore, openStore } from '../../src/store/open-store.js'
import { withRedisOver } from './redis.js'
import type { World } from './world.js'

export interface ReadLedgers {
  ledger: LedgerEntry[]
  usage: UsageDay[]
  thrownAway: LedgerEntry[][]
}

const MIB = 1024 ** 2
const HOUR_MS = 3_600_000

/** Ends what dead processes have left, as a gateway would an hour later, and reads all the books; no gateway runs any more. */
export async function readLedgers(world: World, since: number): Promise<ReadLedgers> {
  const days = [...new Set([since, Date.now()].map(at => new Date(at).toISOString().slice(0, 10)))]
  const months = [...new Set(days.map(day => day.slice(0, 7)))]
  const thrownAway: LedgerEntry[][] = []
  for (const dir of world.redis.thrownAway) {
    const read = (url: string) => withStore(url, world, ({ store }) => all(days, day => store.ledger.entries(day)))
    thrownAway.push(await withRedisOver(dir, world.guardian, read))
  }
  return withStore(world.redis.url, world, async opened => {
    await sweep(opened)
    const { ledger } = opened.store
    return {
      ledger: await all(days, day => ledger.entries(day)),
      usage: await all(months, month => ledger.usage(month)),
      thrownAway,
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

/** The product's own sweep. Its clock is so far ahead that no entry can have an owner, and no job can be polled any more. */
async function sweep({ store, spool, isSpoolDurable }: OpenedStore): Promise<void> {
  const isStoreUp = () => store.isUp()
  const silent = () => {}
  const failures: unknown[] = []
  const unsaved = new UnsavedSteps({
    store: store.ledger,
    spool,
    isSpoolDurable,
    retryMs: HOUR_MS,
    isStoreUp,
    onFailure: error => failures.push(error),
    onLost: silent,
  })
  const recovery = new Recovery({
    store: store.ledger,
    unsaved,
    isOwn: () => false,
    orphanAfterMs: 60_000,
    everyMs: HOUR_MS,
    resume: async () => {},
    now: () => Date.now() + HOUR_MS,
    onBooked: silent,
    onOrphan: silent,
    onFailure: error => failures.push(error),
  })
  while ((await recovery.sweep()) > 0);
  await recovery.close()
  await unsaved.close()
  if (failures.length > 0) throw failures[0]
}
