import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.js'
import { type Nanocredits, toCredits } from '../nanocredits.js'
import { fromStore } from './from-store.js'
import { sendGzipped } from './gzipped.js'
import { type Overview, toldOverview } from './overview-json.js'
import { readFields } from './statement-query.js'

/** A minute of all processes together; `at` is when it began. Durations in milliseconds. */
export interface HistoryMinute {
  at: number
  requests: number
  errors: number
  answers: Record<string, number>
  spent: Nanocredits
  saved: Nanocredits
  unknown: Nanocredits
  teams: Record<string, Nanocredits>
  balance?: Nanocredits
  queue: number
  inFlight: number
  /** Of answers with a picture; absent where there was none. */
  p50Ms?: number
  p95Ms?: number
}

export interface OverviewRouteParts {
  /** Never rejects: what cannot be found out is absent. */
  overview(): Promise<Overview>
  /** Rejects with `StoreError`. */
  history(hours: number): Promise<HistoryMinute[]>
  isDraining(): boolean
  /** Between two looks of a stream, milliseconds. */
  everyMs: number
}

const MAX_HOURS = 48
/** Streams at a time: each is told everything again and again. */
const MAX_STREAMS = 32
/** A stream in which nothing is said for so many looks says that it lives. */
const QUIET_LOOKS = 7
/** How soon a stream sees that the gateway stops, or that nobody listens. */
const GLANCE_MS = 250

/** `/admin/overview`, the same as a stream in `/admin/events`, and `/admin/history`: what the operations page shows. */
export function addOverviewRoutes(admin: FastifyInstance, parts: OverviewRouteParts): void {
  const streams = new Set<FastifyRequest>()
  admin.get('/overview', async (_request, reply) => {
    reply.header('cache-control', 'no-store')
    return toldOverview(await parts.overview())
  })
  admin.get('/history', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    const minutes = await fromStore('The history cannot be read', parts.history(hoursIn(request)))
    return sendGzipped(request, reply, { minutes: minutes.map(toldMinute) })
  })
  admin.get('/events', async (request, reply) => {
    if (streams.size >= MAX_STREAMS)
      throw new GatewayError('overloaded', 'Too many operators are looking on at the same time.', {
        retryAfterSeconds: 10,
      })
    streams.add(request)
    request.exchange.whenOver(() => streams.delete(request))
    const stream = Readable.from(events(request, parts), { objectMode: false, highWaterMark: 1 })
    reply.headers({ 'cache-control': 'no-store', 'x-accel-buffering': 'no' })
    return reply.type('text/event-stream; charset=utf-8').send(stream)
  })
}

/** Server-sent events: `overview` at once, and again whenever something in it has changed. */
async function* events({ exchange }: FastifyRequest, parts: OverviewRouteParts): AsyncGenerator<string> {
  const isOver = () => exchange.isOver || parts.isDraining()
  let said = ''
  let quiet = 0
  yield 'retry: 3000\n\n'
  while (!isOver()) {
    const overview = toldOverview(await parts.overview())
    const news = JSON.stringify({ ...overview, at: '' })
    if (news !== said) yield `event: overview\ndata: ${JSON.stringify(overview)}\n\n`
    else if (quiet >= QUIET_LOOKS) yield `event: alive\ndata: ${JSON.stringify({ at: overview.at })}\n\n`
    quiet = news !== said || quiet >= QUIET_LOOKS ? 0 : quiet + 1
    said = news
    for (let waited = 0; waited < parts.everyMs && !isOver(); waited += GLANCE_MS) await sleep(GLANCE_MS)
  }
}

function hoursIn(request: FastifyRequest): number {
  const { hours = String(MAX_HOURS) } = readFields(request.query, ['hours'])
  const value = typeof hours === 'string' && /^\d{1,2}$/.test(hours) ? Number(hours) : 0
  if (value >= 1 && value <= MAX_HOURS) return value
  throw new GatewayError('invalid_parameter', `hours must be given once, as a whole number from 1 to ${MAX_HOURS}.`)
}

function toldMinute({ at, spent, saved, unknown, teams, balance, ...minute }: HistoryMinute) {
  return {
    at: new Date(at).toISOString(),
    ...minute,
    ...{ spentCredits: toCredits(spent), savedCredits: toCredits(saved), unknownCredits: toCredits(unknown) },
    teams: Object.fromEntries(Object.entries(teams).map(([team, amount]) => [team, toCredits(amount)])),
    ...(balance !== undefined && { balanceCredits: toCredits(balance) }),
  }
}
