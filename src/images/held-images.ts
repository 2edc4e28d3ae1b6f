import { LRUCache } from 'lru-cache'
import type { Digest, ImageBytes, ImageType } from '../segment/types.js'
import type { BlobStore } from '../storage.js'

export interface HeldImagesOptions {
  store: BlobStore
  /** `IMAGE_TTL_SECONDS`; 0 keeps none. */
  ttlSeconds: number
  onStoreFailure(error: unknown, doing: 'find' | 'keep'): void
}

/** How many images this process remembers to have kept lately, so that it does not write them again. */
const REMEMBERED = 10_000

/** Images by their id, so that a client that has sent one may name it the next time. Fails open: what cannot be kept must be sent again. */
export class HeldImages {
  readonly #options: HeldImagesOptions
  readonly #keptLately: LRUCache<string, true>

  constructor(options: HeldImagesOptions) {
    this.#options = options
    // Half the time to live: an image that is used again lives on before it can expire.
    this.#keptLately = new LRUCache({ max: REMEMBERED, ttl: Math.max(1, options.ttlSeconds * 500) })
  }

  async find(scope: string, digest: Digest): Promise<ImageBytes | undefined> {
    if (this.#options.ttlSeconds === 0) return undefined
    try {
      const blob = await this.#options.store.get(nameOf(scope, digest))
      if (!blob) {
        this.#keptLately.delete(nameOf(scope, digest))
        return undefined
      }
      const { type } = JSON.parse(blob.meta) as { type: ImageType }
      return { type, digest, chunks: [blob.body], byteLength: blob.body.length }
    } catch (error) {
      this.#options.onStoreFailure(error, 'find')
      return undefined
    }
  }

  /** Whether there is one. Never rejects. */
  async has(scope: string, digest: Digest): Promise<boolean> {
    if (this.#options.ttlSeconds === 0) return false
    try {
      return await this.#options.store.has(nameOf(scope, digest))
    } catch (error) {
      this.#options.onStoreFailure(error, 'find')
      return false
    }
  }

  /** Never rejects. */
  async keep(scope: string, image: ImageBytes): Promise<void> {
    const name = nameOf(scope, image.digest)
    if (this.#options.ttlSeconds === 0 || this.#keptLately.has(name)) return
    this.#keptLately.set(name, true)
    try {
      const body = image.chunks.length === 1 && image.chunks[0] ? image.chunks[0] : Buffer.concat(image.chunks)
      await this.#options.store.put(
        name,
        { meta: JSON.stringify({ type: image.type }), body },
        this.#options.ttlSeconds,
      )
    } catch (error) {
      this.#keptLately.delete(name)
      this.#options.onStoreFailure(error, 'keep')
    }
  }
}

function nameOf(scope: string, digest: Digest): string {
  return scope === '' ? digest : `${scope}:${digest}`
}
