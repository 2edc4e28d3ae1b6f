import { parseArgs } from 'node:util'
import { PurgeLog } from '../cache/purge-log.js'
import { loadSlices } from '../config/index.js'
import type { Clock } from '../contracts/clock.js'
import type { Store } from '../contracts/store.js'
import type { Result } from '../contracts/types.js'
import { derivedKeysOf } from '../segment/shape.js'
import { recordAudit } from './audit-trail.js'
import { type CliIo, type OpenStore, refuseMore, usageError } from './io.js'

export const help = `Shows the size of the cache and purges results

segmind-gateway cache stats [--json]
    Prints the entries and bytes in the store: results, images and request details.
    The memory of running gateways is in the metrics.
segmind-gateway cache purge <result id> | --all
    Removes a result (the x-result-id of a response) and the forms derived from it, or all results, from the store.
    A running gateway removes them from memory within two seconds. Later requests for them are purchased again.`

const RESULT_ID = /^[0-9a-f]{64}$/

/** `segmind-gateway cache …`. Rejects with an `Error` for the operator. `now` is for tests. */
export async function run(args: string[], io: CliIo, openStore: OpenStore, now = Date.now): Promise<number> {
  const [verb, ...rest] = args
  if (verb !== 'stats' && verb !== 'purge')
    throw usageError(verb === undefined ? 'give stats or purge' : `unknown subcommand ${verb}; use stats or purge`)
  const act = verb === 'stats' ? statsOf(rest) : purgeOf(rest)
  const store = await openStore(loadSlices(io.env, ['store']))
  try {
    return await act(store, io, now)
  } finally {
    await store.close()
  }
}

type Act = (store: Store, io: CliIo, now: Clock) => Promise<number>

function statsOf(args: string[]): Act {
  const { values } = parseArgs({ args, options: { json: { type: 'boolean' } } })
  return async (store, io) => {
    const size = await store.size()
    if (!size)
      throw new Error(
        'cache stats works with the embedded store only. For Redis, see `redis-cli info` for its total size.',
      )
    io.stdout(values.json ? JSON.stringify(size) : `${size.entries} entries, ${size.bytes} bytes`)
    return 0
  }
}

function purgeOf(args: string[]): Act {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: { all: { type: 'boolean' } } })
  const [id, ...more] = positionals
  refuseMore(more)
  if (values.all && id !== undefined) throw usageError('give a result id or --all, not both')
  if (values.all) return purgeAll
  if (id === undefined) throw usageError('give a result id or --all')
  if (!RESULT_ID.test(id)) throw usageError('a result id has 64 hexadecimal digits, as in x-result-id')
  return (store, io, now) => purgeOne(id, store, io, now)
}

async function purgeOne(id: string, store: Store, io: CliIo, now: Clock): Promise<number> {
  const blob = await store.results.get(id)
  const made = blob ? derivedKeysOf({ ...(JSON.parse(blob.meta) as Omit<Result, 'body'>), body: blob.body }) : []
  const keys = [id, ...made]
  let purged = 0
  for (const key of keys) if (await store.results.delete(key)) purged++
  // A result that is no longer in the store may still be in the memory of a gateway.
  await announcePurge(store, ...keys)
  if (purged > 0) await recordAudit({ action: 'result.purged', subject: id }, store, io, now)
  io.stderr(purged > 0 ? `Result ${id} was purged.` : `There is no result ${id} in the store.`)
  return purged > 0 ? 0 : 1
}

async function purgeAll(store: Store, io: CliIo, now: Clock): Promise<number> {
  const purged = await store.results.clear()
  await announcePurge(store, '*')
  await recordAudit({ action: 'results.purged', subject: 'all', details: { purged } }, store, io, now)
  io.stderr(`${purged} results were purged.`)
  return 0
}

function announcePurge({ records }: Store, ...keys: string[]): Promise<void> {
  const observer = { storeFailed: () => {} }
  return new PurgeLog({ records, forget: () => {}, forgetAll: () => {}, observer }).append(...keys)
}
