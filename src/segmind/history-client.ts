import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'undici'
import { GatewayError } from '../contracts/errors.js'
import type { HistoryRow } from '../contracts/request-history.js'
import { causeOf } from './classify.js'
import { addressOf, headersOf } from './connection.js'
import { type Exchange, exchange } from './exchange.js'
import { errorFromResponse } from './wire-error.js'
import { mergeRows, readHistory } from './wire-history.js'

export interface HistoryClientOptions {
  /** `SEGMIND_HISTORY_URL`. */
  url: string
  apiKey: string
  timeoutMs?: number
  /** Shortest time between two requests. */
  spacingMs?: number
  /** Largest answer that is accepted. A row may contain the image that was sent. */
  maxAnswerBytes?: number
}

export interface HistoryClient {
  /**
   * Lists the requests of the account since a time, newest first, of all models. `isComplete` is false
   * if there are more than fit into the bound. Throws `upstream_*`.
   */
  list(since: number, until: number): Promise<{ rows: HistoryRow[]; isComplete: boolean }>
  /** Finds one request. Undefined if the history does not have it. Throws `upstream_*`. */
  find(requestId: string): Promise<HistoryRow | undefined>
  close(): Promise<void>
}

const PATH = '/inference-request/request-history'
const MAX_PAGES = 10
const PAGE_ROWS = 50
const NO_MORE_PAGES: ReadonlySet<number> = new Set([400, 404])

/**
 * Creates the client of Segmind's request history. Sends one request at a time. It asks for smaller
 * pages after an answer that was too large.
 */
export function createHistoryClient({
  url,
  apiKey,
  timeoutMs = 20_000,
  spacingMs = 1_000,
  maxAnswerBytes = 32 * 1024 * 1024,
}: HistoryClientOptions): HistoryClient {
  const { origin, prefix } = addressOf(url)
  const headers = headersOf(apiKey)
  const pool = new Pool(origin, { connections: 1, pipelining: 0, allowH2: false, connect: { timeout: timeoutMs } })
  const closing = new AbortController()
  let sentAt = Number.NEGATIVE_INFINITY
  let perPage = PAGE_ROWS

  const get = async (path: string): Promise<Exchange> => {
    const pauseMs = Math.max(0, sentAt + spacingMs - performance.now())
    await sleep(pauseMs, undefined, { signal: closing.signal }).catch(() => undefined)
    sentAt = performance.now()
    const deadline = closing.signal.aborted ? closing.signal : AbortSignal.timeout(timeoutMs)
    return exchange(pool, { method: 'GET', path: prefix + PATH + path, headers, deadline, maxAnswerBytes })
  }
  const read = (exchanged: Exchange) => rowsFrom(exchanged, apiKey)

  return {
    async list(since, until) {
      let rows: HistoryRow[] = []
      for (let page = 1; page <= MAX_PAGES; page++) {
        const exchanged = await get(`?${queryOf(since, until, { page, perPage })}`)
        if (exchanged.end === 'too_long' && perPage > 1) {
          perPage = Math.max(1, Math.floor(perPage / 4))
          rows = []
          page = 0
          continue
        }
        if (page > 1 && NO_MORE_PAGES.has(exchanged.head?.status ?? 0)) return { rows, isComplete: true }
        const known = rows.length
        rows = mergeRows([...rows, ...read(exchanged)])
        const isLast = rows.length === known || rows.some(({ at }) => at !== undefined && at < since)
        if (isLast) return { rows, isComplete: true }
      }
      return { rows, isComplete: false }
    },
    async find(requestId) {
      const exchanged = await get(`/${encodeURIComponent(requestId)}`)
      if (exchanged.head?.status === 404) return undefined
      return mergeRows(read(exchanged)).find(row => row.requestId === requestId)
    },
    async close() {
      closing.abort()
      await pool.destroy()
    },
  }
}

/** Dates are the finest bounds that Segmind takes. */
function queryOf(since: number, until: number, { page, perPage }: { page: number; perPage: number }): string {
  const date = (at: number) => new Date(at).toISOString().slice(0, 10)
  const order = { sort_by: 'model_created', sort_order: 'desc' }
  const bounds = { from_date: date(since), to_date: date(until), page: String(page), per_page: String(perPage) }
  return new URLSearchParams({ ...bounds, ...order }).toString()
}

function rowsFrom(exchanged: Exchange, apiKey: string): HistoryRow[] {
  const { head, body, end } = exchanged
  const context = { apiKey, now: Date.now() }
  // The body may quote what callers sent, so it is left out of the message.
  if (head && head.status !== 200) throw errorFromResponse({ ...head, body: Buffer.alloc(0) }, context)
  const options = causeOf(exchanged, context)
  if (end === 'timeout')
    throw new GatewayError('upstream_timeout', "Segmind's request history did not answer in time.", options)
  if (!head || end === 'broken')
    throw new GatewayError('upstream_unavailable', "Segmind's request history is unreachable.", options)
  if (end === 'too_long') throw new GatewayError('upstream_failed', "Segmind's request history is too large to read.")
  const rows = readHistory(body.toString('utf8'))
  if (rows) return rows
  throw new GatewayError('upstream_failed', "Segmind's request history is not readable.")
}
