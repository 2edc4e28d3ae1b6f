import { createHash } from 'node:crypto'
import { defined } from '../contracts/defined.js'
import type { HistoryRow } from '../contracts/request-history.js'
import type { Params, Point } from '../contracts/types.js'
import { amountOf } from './wire-response.js'

const MAX_TEXT = 128
const MAX_URL = 2_048
/** Levels of objects in which the rows may be wrapped: `{ "data": { "requests": [ … ] } }`. */
const MAX_DEPTH = 3

/**
 * Reads the rows of a list, or the rows of one request (docs/segmind.md, Request history). Ignores
 * unknown members. Returns `undefined` for an answer without a list or a row.
 */
export function readHistory(body: string): HistoryRow[] | undefined {
  try {
    return rowsIn(JSON.parse(body), MAX_DEPTH)
  } catch {
    return undefined
  }
}

function rowsIn(value: unknown, depth: number): HistoryRow[] | undefined {
  if (typeof value !== 'object' || value === null || depth < 0) return undefined
  if (Array.isArray(value)) {
    const rows = value.flatMap(item => rowOf(item) ?? [])
    return rows.length > 0 || value.length === 0 ? rows : undefined
  }
  const row = rowOf(value)
  if (row) return [row]
  const lists = Object.values(value).map(member => rowsIn(member, depth - 1))
  return lists.find(rows => rows && rows.length > 0) ?? lists.find(rows => rows)
}

/**
 * Merges rows of one request. A request has a row for each output, and each states the cost of the
 * whole request.
 */
export function mergeRows(rows: readonly HistoryRow[]): HistoryRow[] {
  const requests = new Map<string, HistoryRow>()
  for (const row of rows) requests.set(row.requestId, merged(requests.get(row.requestId), row))
  return [...requests.values()]
}

function merged(first: HistoryRow | undefined, next: HistoryRow): HistoryRow {
  if (!first) return next
  return first.cost === undefined ? { ...first, ...next } : { ...next, ...first }
}

const STATUSES: Readonly<Record<string, HistoryRow['status']>> = {
  COMPLETED: 'completed',
  FAILED: 'failed',
  PENDING: 'pending',
}

function rowOf(value: unknown): HistoryRow | undefined {
  const row = Object(value) as Record<string, unknown>
  const requestId = textOf(row.request_id)
  if (requestId === undefined) return undefined
  const cost = amountOf(row.credits_deduction)
  return {
    requestId,
    model: textOf(row.model_name) ?? '',
    status: STATUSES[String(row.model_status ?? row.status).toUpperCase()] ?? 'pending',
    ...defined({
      cost: cost !== undefined && cost >= 0 ? cost : undefined,
      at: timeOf(row),
      user: textOf(row.user_email) ?? textOf(row.user_id),
      pictureUrl: textOf(row.generation_url, MAX_URL),
      question: questionOf(row.request_body),
    }),
  }
}

function textOf(value: unknown, maxLength = MAX_TEXT): string | undefined {
  const isUsable = typeof value === 'string' && value !== '' && value.length <= maxLength
  return isUsable && /^[\x20-\x7e]+$/.test(value) ? value : undefined
}

const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/

/** Reads the inputs as this gateway sends them (`segmentBody`). Undefined for any other form. */
function questionOf(body: unknown): HistoryRow['question'] {
  const { image, prompt, coordinates, remove_coordinates, overlay_mask: overlayMask } = Object(body) as RequestBody
  if (typeof image !== 'string' || !BASE64.test(image) || typeof overlayMask !== 'boolean') return undefined
  try {
    const params: Params = {
      overlayMask,
      ...(typeof prompt === 'string' && { prompt }),
      ...(typeof coordinates === 'string' && { coordinates: JSON.parse(coordinates) as Point[] }),
      ...(typeof remove_coordinates === 'string' && { removeCoordinates: JSON.parse(remove_coordinates) as Point[] }),
    }
    return { image: createHash('sha256').update(Buffer.from(image, 'base64')).digest('hex'), params }
  } catch {
    return undefined
  }
}

type RequestBody = Record<'image' | 'prompt' | 'coordinates' | 'remove_coordinates' | 'overlay_mask', unknown>

/** Members that may hold the time of the request, in this order. */
const TIMES = ['model_created', 'created_at', 'created', 'started_at', 'timestamp', 'timestamps']

function timeOf(row: Record<string, unknown>): number | undefined {
  for (const name of TIMES) {
    const value = row[name]
    const time = typeof value === 'object' && value !== null ? timeOf(value as typeof row) : parseTime(value)
    if (time !== undefined) return time
  }
  return undefined
}

/** Parses ISO 8601 (UTC by default) or a Unix time in seconds or milliseconds. */
function parseTime(value: unknown): number | undefined {
  if (typeof value === 'number') return value > 1e9 ? Math.round(value < 1e11 ? value * 1000 : value) : undefined
  if (typeof value !== 'string' || !/^\d{4}-\d\d-\d\d[T ]\d\d:\d\d/.test(value)) return undefined
  const hasZone = /(Z|[+-]\d\d:?\d\d)$/i.test(value)
  const time = Date.parse(hasZone ? value : `${value.replace(' ', 'T')}Z`)
  return Number.isNaN(time) ? undefined : time
}
