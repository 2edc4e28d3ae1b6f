import { join } from 'node:path'
import type { LedgerEntry, UsageDay } from '../../src/contracts/store.js'
import { readAccount } from '../../src/credits/account/record.js'
import { HistoryReconciler } from '../../src/credits/history/history-reconciler.js'
import { Recovery } from '../../src/credits/recovery.js'
import { UnsavedSteps } from '../../src/credits/unsaved.js'
import { createBudgetCalendar } from '../../src/credits/windows.js'
import { type OpenedStore, openStore } from '../../src/store/open-store.js'
import { entriesOf } from '../support/entries-of.js'
import { withRedisOver } from './redis.js'
import { requestHistoryOf } from './rows.js'
import type { World } from './world.js'

export interface ReadLedgers {
  ledger: LedgerEntry[]
  usage: UsageDay[]
  discardedLedgers: LedgerEntry[][]
  /** Ledger and usage after two replicas have read Segmind's request history. */
  learned: { ledger: LedgerEntry[]; usage: UsageDay[] }
  /** Kinds of the events of the account. */
  events: string[]
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
  for (const [index, data] of world.redis.discarded.entries()) {
    const read = (url: string) => withStore(url, world, ({ store }) => all(days, day => entriesOf(store.ledger, day)))
    discardedLedgers.push(await withRedisOver(data, join(world.dir, `discarded-${index}`), read))
  }
  return withStore(world.redis.url, world, async opened => {
    await sweep(opened)
    const { ledger, records } = opened.store
    const read = async () => ({
      ledger: await all(days, day => entriesOf(ledger, day)),
      usage: await all(months, month => ledger.usage(month)),
    })
    const { record } = await readAccount(records)
    const before = await read()
    await learn(opened, world)
    return {
      ...before,
      discardedLedgers,
      learned: await read(),
      events: (record?.events ?? []).map(({ kind }) => kind),
    }
  })
}

const MINUTE_MS = 60_000
/** Times after the run at which the history is read. The calls of dead processes end after an hour. */
const READINGS_MS = [65, 75, 80, 100].map(minutes => minutes * MINUTE_MS)

/** Lets two replicas at a time read Segmind's request history. */
async function learn({ store }: OpenedStore, { upstream, plan, images }: World): Promise<void> {
  const failures: unknown[] = []
  let aheadMs = 0
  const history = requestHistoryOf(upstream.calls, plan, images)
  const reconcilers = [0, 1].map(
    () =>
      new HistoryReconciler({
        history,
        ledger: store.ledger,
        records: store.records,
        calendar: createBudgetCalendar('UTC'),
        rescue: async () => {},
        now: () => Date.now() + aheadMs,
        observer: {
          storeFailed: error => void failures.push(error),
          callBooked: () => {},
          unknownSettled: () => {},
          historyStateChanged: () => {},
          callLearned: () => {},
          pictureNotFetched: () => {},
        },
      }),
  )
  for (aheadMs of READINGS_MS) await Promise.all(reconcilers.map(reconciler => reconciler.reconcile()))
  await Promise.all(reconcilers.map(reconciler => reconciler.close()))
  if (failures.length > 0) throw failures[0]
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
