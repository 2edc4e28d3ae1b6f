import { type Blob, type BlobStore, StoreError } from '../../storage.js'
import { type BlobIndex, diskBytesOf } from './blob-index.js'
import type { Environment } from './environment.js'

export interface BlobsOptions {
  environment: Environment
  index: BlobIndex
  /** Bound of all blobs together, results and images. */
  maxBytes: number
  /** How old the noted time of last use may get before reading renews it. */
  touchAfterMs: number
  now(): number
  onProblem(error: unknown, what: 'touch' | 'purge'): void
}

/** How many expired blobs one transaction takes out. */
const PURGE_BATCH = 100
const MAX_KEY_BYTES = 512

/** Blobs whose keys begin with `kind:`, kept until they expire or, when room is needed, until they are the longest unused. */
export function createBlobs(options: BlobsOptions, kind: string): BlobStore {
  const { environment, index, now } = options
  const name = (key: string): string => checkedKey(`${kind}:${key}`)
  const alive = (key: string) => {
    const record = index.find(key)
    return record && record.expiresAt > now() ? record : undefined
  }
  return {
    async get(key) {
      const found = environment.read(() => {
        const record = alive(name(key))
        return record && { record, body: index.body(name(key), record) }
      })
      if (!found) return undefined
      if (now() - found.record.usedAt >= options.touchAfterMs) touch(options, name(key))
      return { meta: found.record.meta, body: found.body }
    },
    async put(key, blob, ttlSeconds) {
      await put(options, { key: name(key), blob, ttlMs: Math.ceil(ttlSeconds * 1000) })
    },
    async has(key) {
      return environment.read(() => alive(name(key)) !== undefined)
    },
    async delete(key) {
      return environment.write(() => {
        const wasAlive = alive(name(key)) !== undefined
        index.remove(name(key))
        return wasAlive
      })
    },
    async clear() {
      let cleared = 0
      const clearSome = () => {
        const names = index.names(`${kind}:`, PURGE_BATCH)
        for (const found of names) index.remove(found)
        cleared += names.length
        return names.length
      }
      while ((await environment.write(clearSome)) === PURGE_BATCH);
      return cleared
    },
  }
}

/** Takes expired blobs out, in transactions of a bounded size so that nobody waits long for the one writer. */
export async function purgeExpired({ environment, index, now }: BlobsOptions): Promise<void> {
  const purgeSome = () => {
    let purged = 0
    for (let key = index.victim(now(), false); key !== undefined; key = index.victim(now(), false)) {
      index.remove(key)
      if (++purged === PURGE_BATCH) break
    }
    return purged
  }
  const anyExpired = () => environment.read(() => index.victim(now(), false)) !== undefined
  while (anyExpired() && (await environment.write(purgeSome)) === PURGE_BATCH);
}

async function put(
  options: BlobsOptions,
  { key, blob, ttlMs }: { key: string; blob: Blob; ttlMs: number },
): Promise<void> {
  const { environment, index, maxBytes, now } = options
  const diskBytes = diskBytesOf(key, blob)
  if (diskBytes > maxBytes) throw new StoreError(`${blob.body.length} bytes do not fit into a store of ${maxBytes}`)
  await environment.write(() => {
    index.remove(key)
    if (ttlMs <= 0) return
    const usedAt = now()
    while (index.held().bytes + diskBytes > maxBytes) {
      const victim = index.victim(usedAt, true)
      if (victim === undefined) break
      index.remove(victim)
    }
    index.add(key, blob, { usedAt, expiresAt: usedAt + ttlMs })
  })
}

/** Nobody waits for it: a lost one costs nothing but a little order. */
function touch({ environment, index, now, onProblem }: BlobsOptions, key: string): void {
  environment.write(() => index.touch(key, now())).catch(error => onProblem(error, 'touch'))
}

function checkedKey(key: string): string {
  if (Buffer.byteLength(key) > MAX_KEY_BYTES || key.includes('\0'))
    throw new StoreError('the key is too long, or holds a null')
  return key
}
