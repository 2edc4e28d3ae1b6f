import { parseArgs } from 'node:util'
import { Purges } from '../cache/purges.js'
import { loadSlices } from '../config.js'
import { formsOf } from '../segment/shape.js'
import type { Result } from '../segment/types.js'
import type { Store } from '../storage.js'
import { type OpenStore, takeDown } from './audit-trail.js'
import { type CliIo, refuseMore, usageError } from './io.js'

export const help = `Tells how much is cached, and takes results out

segmind-gateway cache stats [--json]
    Entries and bytes in the store: results, images and what is kept of requests. The memory of running gateways is in their metrics.
segmind-gateway cache purge <result id> | --all
    Takes a result (the x-result-id of an answer) out of the store, with what was made of it, or all results. A running gateway drops
    what it remembers of them within two seconds. What is asked again afterwards is bought again.`

const RESULT_ID = /^[0-9a-f]{64}$/

/** `segmind-gateway cache …`. Rejects with an `Error` for people. `now` is for tests. */
export async function run(args: string[], io: CliIo, openStore: OpenStore, now = Date.now): Promise<number> {
  const [verb, ...rest] = args
  if (verb !== 'stats' && verb !== 'purge')
    throw usageError(verb === undefined ? 'stats or purge?' : `there is no cache ${verb}: stats or purge`)
  const act = verb === 'stats' ? statsOf(rest) : purgeOf(rest)
  const store = await openStore(loadSlices(io.env, ['store']))
  try {
    return await act(store, io, now)
  } finally {
    await store.close()
  }
}

type Act = (store: Store, io: CliIo, now: () => number) => Promise<number>

function statsOf(args: string[]): Act {
  const { values } = parseArgs({ args, options: { json: { type: 'boolean' } } })
  return async (store, io) => {
    const size = await store.size()
    if (!size)
      throw new Error(
        'Redis does not tell how much of it is cache: `redis-cli info` has what it holds in all. This counts the embedded store.',
      )
    io.stdout(values.json ? JSON.stringify(size) : `${size.entries} entries, ${size.bytes} bytes`)
    return 0
  }
}

function purgeOf(args: string[]): Act {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: { all: { type: 'boolean' } } })
  const [id, ...more] = positionals
  refuseMore(more)
  if (values.all && id !== undefined) throw usageError('a result id or --all, not both')
  if (values.all) return purgeAll
  if (id === undefined) throw usageError('which result? Give its id, or --all')
  if (!RESULT_ID.test(id)) throw usageError('a result id has 64 hexadecimal digits, as x-result-id has it')
  return (store, io, now) => purgeOne(id, store, io, now)
}

async function purgeOne(id: string, store: Store, io: CliIo, now: () => number): Promise<number> {
  const blob = await store.results.get(id)
  const made = blob ? formsOf({ ...(JSON.parse(blob.meta) as Omit<Result, 'body'>), body: blob.body }) : []
  let purged = 0
  for (const key of [id, ...made]) {
    if (await store.results.delete(key)) purged++
    // Also one that the store does not have (any more) may be in the memory of a gateway.
    await tell(store, key)
  }
  if (purged > 0) await takeDown({ action: 'result.purged', subject: id }, store, io, now)
  io.stderr(purged > 0 ? `The result ${id} is purged.` : `There is no result ${id} in the store.`)
  return purged > 0 ? 0 : 1
}

async function purgeAll(store: Store, io: CliIo, now: () => number): Promise<number> {
  const purged = await store.results.clear()
  await tell(store, '*')
  await takeDown({ action: 'results.purged', subject: 'all', details: { purged } }, store, io, now)
  io.stderr(`${purged} results are purged.`)
  return 0
}

function tell({ records }: Store, key: string): Promise<void> {
  return new Purges({ records, forget: () => {}, forgetAll: () => {}, onStoreFailure: () => {} }).tell(key)
}
