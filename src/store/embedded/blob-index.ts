import type { Database } from 'lmdb'
import type { Blob } from '../../storage.js'
import type { Environment } from './environment.js'

/** What is known about a blob beside its body. Times in milliseconds since 1970. */
export interface BlobRecord {
  meta: string
  bodyBytes: number
  /** What it takes on disk, as counted against the bound. */
  diskBytes: number
  expiresAt: number
  usedAt: number
}

export interface Held {
  entries: number
  bytes: number
}

/**
 * The blobs of one LMDB file with everything that must change together with them: two orders (by use, by expiry) and what they take
 * in all. Every method that writes is called inside a transaction; since that is how several processes agree, nothing is remembered
 * outside of the file.
 */
export interface BlobIndex {
  find(key: string): BlobRecord | undefined
  body(key: string, record: BlobRecord): Buffer
  add(key: string, blob: Blob, times: { expiresAt: number; usedAt: number }): void
  remove(key: string): boolean
  touch(key: string, usedAt: number): void
  held(): Held
  /** Up to `limit` keys that begin so. */
  names(prefix: string, limit: number): string[]
  /** The next to go: the first that has expired, else, with `evenIfAlive`, the one not used for longest. */
  victim(now: number, evenIfAlive: boolean): string | undefined
}

/**
 * A body is kept in pieces that fill 16 pages each. Pieces of one size leave gaps of one size when they go, so the file's free space
 * always fits the next body, and the file does not grow without end; and 20 MB need not be free in a row.
 */
const PIECE_BYTES = 65_536 - 64
const PAGE_BYTES = 4_096
/** What a record and its places in the two orders take, roughly. */
const RECORD_BYTES = 512

export function openBlobIndex({ root }: Environment): BlobIndex {
  const records = root.openDB<BlobRecord, string>('records', {})
  const pieces = root.openDB<Buffer, [string, number]>('pieces', { encoding: 'binary' })
  const byUse = root.openDB<boolean, [number, string]>('by-use', {})
  const byExpiry = root.openDB<boolean, [number, string]>('by-expiry', {})
  const totals = root.openDB<Held, string>('totals', {})

  const held = (): Held => totals.get('held') ?? { entries: 0, bytes: 0 }
  const count = (entries: number, bytes: number): void => {
    const before = held()
    totals.put('held', { entries: before.entries + entries, bytes: before.bytes + bytes })
  }

  const index: BlobIndex = {
    find: key => records.get(key),
    body: (key, record) => readPieces(pieces, key, record.bodyBytes),
    add(key, blob, times) {
      const diskBytes = diskBytesOf(key, blob)
      records.put(key, { meta: blob.meta, bodyBytes: blob.body.length, diskBytes, ...times })
      byUse.put([times.usedAt, key], true)
      byExpiry.put([times.expiresAt, key], true)
      for (const [piece, from] of piecesOf(blob.body.length)) {
        pieces.put([key, piece], blob.body.subarray(from, from + PIECE_BYTES))
      }
      count(1, diskBytes)
    },
    remove(key) {
      const record = records.get(key)
      if (!record) return false
      records.remove(key)
      byUse.remove([record.usedAt, key])
      byExpiry.remove([record.expiresAt, key])
      for (const [piece] of piecesOf(record.bodyBytes)) pieces.remove([key, piece])
      count(-1, -record.diskBytes)
      return true
    },
    touch(key, usedAt) {
      const record = records.get(key)
      if (!record || record.usedAt >= usedAt) return
      byUse.remove([record.usedAt, key])
      byUse.put([usedAt, key], true)
      records.put(key, { ...record, usedAt })
    },
    held,
    names: (prefix, limit) => [...records.getKeys({ start: prefix, end: `${prefix}\uffff`, limit })],
    victim(now, evenIfAlive) {
      const expiry = first(byExpiry)
      if (expiry && expiry[0] <= now) return expiry[1]
      return evenIfAlive ? first(byUse)?.[1] : undefined
    },
  }
  return index
}

function first(order: Database<boolean, [number, string]>): [at: number, key: string] | undefined {
  for (const key of order.getKeys({ limit: 1 })) return key
  return undefined
}

/** What a blob takes on disk: its body in whole pages, its description, and what is kept about it. */
export function diskBytesOf(key: string, blob: Blob): number {
  const tail = blob.body.length % PIECE_BYTES
  const whole = (blob.body.length - tail) / PIECE_BYTES
  const tailBytes = Math.ceil((tail + 64) / PAGE_BYTES) * PAGE_BYTES
  return (
    whole * (PIECE_BYTES + 64) + tailBytes + Buffer.byteLength(blob.meta) + Buffer.byteLength(key) * 4 + RECORD_BYTES
  )
}

/** The pieces of a body: their numbers and where they begin. An empty body has none. */
function* piecesOf(bodyBytes: number): Generator<[piece: number, from: number]> {
  for (let from = 0, piece = 0; from < bodyBytes; from += PIECE_BYTES, piece++) yield [piece, from]
}

/** Copies the body out of the map: what LMDB hands out lies in memory that the next write may use for something else. */
function readPieces(pieces: Database<Buffer, [string, number]>, key: string, bodyBytes: number): Buffer {
  const body = Buffer.allocUnsafeSlow(bodyBytes)
  for (const [piece, from] of piecesOf(bodyBytes)) {
    const bytes = pieces.getBinary([key, piece])
    if (bytes?.length !== Math.min(PIECE_BYTES, bodyBytes - from)) throw new Error(`piece ${piece} of a blob is broken`)
    body.set(bytes, from)
  }
  return body
}
