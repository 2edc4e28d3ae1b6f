import type { Database } from 'lmdb'
import type { Blob } from '../../contracts/store.js'
import type { Environment } from './environment.js'

/** Facts stored about a blob, without its body. Times in milliseconds since 1970. */
interface BlobRecord {
  meta: string
  bodyBytes: number
  /** Use of disk space, as counted against the bound. */
  diskBytes: number
  expiresAt: number
  usedAt: number
}

interface IndexSize {
  entries: number
  bytes: number
}

/**
 * The blobs of one LMDB file, with everything that changes together with them: the orders by use
 * and by expiry, and the total size. Every method that writes is called inside a transaction.
 * Nothing is kept outside the file, so that several processes agree.
 */
export interface BlobIndex {
  /** Finds a blob that has not expired. */
  find(key: string, now: number): BlobRecord | undefined
  readBody(key: string, record: BlobRecord): Buffer
  add(key: string, blob: Blob, facts: Pick<BlobRecord, 'diskBytes' | 'expiresAt' | 'usedAt'>): void
  remove(key: string): boolean
  touch(key: string, usedAt: number): void
  size(): IndexSize
  /** Returns the largest total size ever. The file never shrinks, so this much needs no more of the disk. */
  peakBytes(): number
  /** Returns up to `limit` keys that begin with `prefix`. */
  keys(prefix: string, limit: number): string[]
  /**
   * Returns the first expired key. With `evenIfAlive`, falls back to the least recently used one.
   */
  nextVictim(now: number, evenIfAlive: boolean): string | undefined
}

/**
 * A body is stored in pieces of 16 pages. Pieces of one size leave gaps of one size when they are
 * deleted, so free space always fits the next body, and the file does not grow without bound. A
 * body of 20 MB also needs no contiguous free space.
 */
const PIECE_BYTES = 65_536 - 64
const PAGE_BYTES = 4_096
/** Approximate disk use of a record and its entries in the two orders. */
const RECORD_BYTES = 512

export function openBlobIndex({ root }: Environment): BlobIndex {
  const records = root.openDB<BlobRecord, string>('records', {})
  const pieces = root.openDB<Buffer, [string, number]>('pieces', { encoding: 'binary' })
  const byUse = root.openDB<boolean, [number, string]>('by-use', {})
  const byExpiry = root.openDB<boolean, [number, string]>('by-expiry', {})
  const { size, peakBytes, addToSize } = openSize(root)

  const index: BlobIndex = {
    find(key, now) {
      const record = records.get(key)
      return record && record.expiresAt > now ? record : undefined
    },
    readBody: (key, record) => readPieces(pieces, key, record.bodyBytes),
    add(key, blob, facts) {
      records.put(key, { meta: blob.meta, bodyBytes: blob.body.length, ...facts })
      byUse.put([facts.usedAt, key], true)
      byExpiry.put([facts.expiresAt, key], true)
      for (const [piece, start] of piecesOf(blob.body.length)) {
        pieces.put([key, piece], blob.body.subarray(start, start + PIECE_BYTES))
      }
      addToSize(1, facts.diskBytes)
    },
    remove(key) {
      const record = records.get(key)
      if (!record) return false
      records.remove(key)
      byUse.remove([record.usedAt, key])
      byExpiry.remove([record.expiresAt, key])
      for (const [piece] of piecesOf(record.bodyBytes)) pieces.remove([key, piece])
      addToSize(-1, -record.diskBytes)
      return true
    },
    touch(key, usedAt) {
      const record = records.get(key)
      if (!record || record.usedAt >= usedAt) return
      byUse.remove([record.usedAt, key])
      byUse.put([usedAt, key], true)
      records.put(key, { ...record, usedAt })
    },
    size,
    peakBytes,
    keys: (prefix, limit) => [...records.getKeys({ start: prefix, end: `${prefix}\uffff`, limit })],
    nextVictim(now, evenIfAlive) {
      const expiry = firstOf(byExpiry)
      if (expiry && expiry[0] <= now) return expiry[1]
      return evenIfAlive ? firstOf(byUse)?.[1] : undefined
    },
  }
  return index
}

function openSize(root: Environment['root']) {
  const totals = root.openDB<IndexSize, string>('totals', {})
  const size = (): IndexSize => totals.get('held') ?? { entries: 0, bytes: 0 }
  const addToSize = (entries: number, bytes: number): void => {
    const before = size()
    const after = { entries: before.entries + entries, bytes: before.bytes + bytes }
    totals.put('held', after)
    // A file of an older version has no peak until its size changes.
    const peak = Math.max(before.bytes, after.bytes)
    if (peak > (totals.get('peak')?.bytes ?? 0)) totals.put('peak', { entries: after.entries, bytes: peak })
  }
  return { size, addToSize, peakBytes: (): number => totals.get('peak')?.bytes ?? size().bytes }
}

function firstOf(order: Database<boolean, [number, string]>): [at: number, key: string] | undefined {
  for (const key of order.getKeys({ limit: 1 })) return key
  return undefined
}

/** Computes a blob's disk use: body in whole pages, description, record. */
export function diskBytesOf(key: string, blob: Blob): number {
  const tail = blob.body.length % PIECE_BYTES
  const whole = (blob.body.length - tail) / PIECE_BYTES
  const tailBytes = Math.ceil((tail + 64) / PAGE_BYTES) * PAGE_BYTES
  return (
    whole * (PIECE_BYTES + 64) + tailBytes + Buffer.byteLength(blob.meta) + Buffer.byteLength(key) * 4 + RECORD_BYTES
  )
}

/** Yields number and start of each piece of a body. An empty body has none. */
function* piecesOf(bodyBytes: number): Generator<[piece: number, start: number]> {
  for (let start = 0, piece = 0; start < bodyBytes; start += PIECE_BYTES, piece++) yield [piece, start]
}

/**
 * Copies the body out of the memory map, because the next write may reuse memory that LMDB
 * returned.
 */
function readPieces(pieces: Database<Buffer, [string, number]>, key: string, bodyBytes: number): Buffer {
  const body = Buffer.allocUnsafeSlow(bodyBytes)
  for (const [piece, start] of piecesOf(bodyBytes)) {
    // Valid up to the next read or write.
    const bytes = pieces.getBinaryFast([key, piece])
    const length = Math.min(PIECE_BYTES, bodyBytes - start)
    if (bytes?.length !== length) throw new Error(`piece ${piece} of a blob is missing or damaged`)
    body.set(bytes.subarray(0, length), start)
  }
  return body
}
