import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { GatewayError } from '../../contracts/errors.js'
import type { HistoryMinute, Overview } from '../../contracts/overview.js'
import { parseQuery, wholeNumberUpTo } from '../server/fields.js'
import { sendGzip } from '../server/gzip.js'
import { orStoreUnavailable } from '../server/store-unavailable.js'
import { minuteToJson, overviewToJson } from './overview-json.js'

export interface OverviewRouteParts {
  /** Never rejects: unknown members are absent. */
  overview(): Promise<Overview>
  /** Rejects with `StoreError`. */
  history(hours: number): Promise<HistoryMinute[]>
  isDraining(): boolean
  /** Time between two updates of a stream, milliseconds. */
  everyMs: number
}

const MAX_HOURS = 48
const QUERY = { hours: wholeNumberUpTo(MAX_HOURS) }
/** Concurrent streams: each gets every update in full. */
const MAX_STREAMS = 32
/** Unchanged updates before a stream sends a sign of life. */
const QUIET_UPDATES = 7
/** Interval at which a stream checks for a drain, or for a client that has left. */
const CHECK_MS = 250

/**
 * Adds `/admin/overview`, its stream `/admin/events`, and `/admin/history`: the data of the
 * dashboard.
 */
export function addOverviewRoutes(admin: FastifyInstance, parts: OverviewRouteParts): void {
  const streams = new Set<FastifyRequest>()
  admin.get('/overview', async () => overviewToJson(await parts.overview()))
  admin.get('/history', async (request, reply) => {
    const { hours = MAX_HOURS } = parseQuery(request.query, QUERY)
    const minutes = await orStoreUnavailable(parts.history(hours), 'The history cannot be read')
    return sendGzip(request, reply, { minutes: minutes.map(minuteToJson) })
  })
  admin.get('/events', async (request, reply) => {
    if (streams.size >= MAX_STREAMS) {
      const detail = `At most ${MAX_STREAMS} event streams may be open. Close one, or try again later.`
      throw new GatewayError('overloaded', detail, { retryAfterSeconds: 10 })
    }
    streams.add(request)
    request.lifetime.onEnd(() => streams.delete(request))
    const stream = Readable.from(events(request, parts), { objectMode: false, highWaterMark: 1 })
    return reply.header('x-accel-buffering', 'no').type('text/event-stream; charset=utf-8').send(stream)
  })
}

/**
 * Yields server-sent events: `overview` at once and after each change, `alive` after a quiet time.
 */
async function* events({ lifetime }: FastifyRequest, parts: OverviewRouteParts): AsyncGenerator<string> {
  const isOver = () => lifetime.hasEnded || parts.isDraining()
  let sent = ''
  let quiet = 0
  yield 'retry: 3000\n\n'
  while (!isOver()) {
    const overview = overviewToJson(await parts.overview())
    const current = JSON.stringify({ ...overview, at: '' })
    if (current !== sent) yield `event: overview\ndata: ${JSON.stringify(overview)}\n\n`
    else if (quiet >= QUIET_UPDATES) yield `event: alive\ndata: ${JSON.stringify({ at: overview.at })}\n\n`
    quiet = current !== sent || quiet >= QUIET_UPDATES ? 0 : quiet + 1
    sent = current
    for (let waited = 0; waited < parts.everyMs && !isOver(); waited += CHECK_MS) await sleep(CHECK_MS)
  }
}
