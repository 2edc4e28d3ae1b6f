import { createHash } from 'node:crypto'
import type { ImageBytes } from '../contracts/types.js'

/** Bytes received in chunks, with their SHA-256. */
export type CollectedBytes = Omit<ImageBytes, 'type'>

const BLOCK_BYTES = 64 * 1024
const SMALL_BYTES = BLOCK_BYTES / 4

/**
 * Collects chunks, hashes them as they arrive, and does not copy large ones. Copies small chunks
 * into blocks: a body sent byte by byte would otherwise cost a hundred times its size in objects.
 */
export class ByteCollector {
  readonly #hash = createHash('sha256')
  readonly #chunks: Buffer[] = []
  /** The block that small chunks are copied into, from `#start` to `#used` not hashed yet. */
  #block = Buffer.alloc(0)
  #start = 0
  #used = 0
  byteLength = 0

  /** Adds a chunk. The collector may keep it, so the caller must not write to it again. */
  add(chunk: Buffer): void {
    this.byteLength += chunk.length
    if (chunk.length >= SMALL_BYTES) {
      this.#flush()
      this.#keep(chunk)
      return
    }
    if (this.#used + chunk.length > this.#block.length) {
      this.#flush()
      this.#block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
      this.#start = 0
      this.#used = 0
    }
    this.#used += chunk.copy(this.#block, this.#used)
  }

  /** Ends the collection. Call it once. */
  finish(): CollectedBytes {
    this.#flush()
    return { chunks: this.#chunks, byteLength: this.byteLength, digest: this.#hash.digest('hex') }
  }

  #flush(): void {
    if (this.#used > this.#start) this.#keep(this.#block.subarray(this.#start, this.#used))
    this.#start = this.#used
  }

  #keep(bytes: Buffer): void {
    this.#hash.update(bytes)
    this.#chunks.push(bytes)
  }
}

/** Collects bytes that are already complete. */
export function collectBytes(bytes: Buffer): CollectedBytes {
  const collector = new ByteCollector()
  collector.add(bytes)
  return collector.finish()
}

/**
 * Returns the bytes of an image in one buffer, which then are its only chunk: an image is copied
 * once at most, and the memory of chunks that nothing else uses is freed. Does not copy a single
 * chunk.
 */
export function joinChunks(image: ImageBytes): Buffer {
  const { chunks } = image
  const [first, ...others] = chunks
  if (first && others.length === 0) return first
  // Memory of its own, however small it is.
  const whole = Buffer.allocUnsafeSlow(image.byteLength)
  let end = 0
  for (const chunk of chunks) end += chunk.copy(whole, end)
  // The memory is not zeroed: an unwritten byte would leak process memory.
  if (end !== whole.length) throw new Error(`the image has ${end} bytes where ${whole.length} were received`)
  image.chunks = [whole]
  if (image.release) chunks.forEach(freeMemory)
  return whole
}

/**
 * Adds `release` to an image whose chunks nothing else uses. Node.js 20 cannot free memory at once:
 * there, `release` only forbids later reads.
 */
export function makeReleasable(image: ImageBytes): void {
  image.release = () => {
    const { chunks } = image
    delete image.release
    // An empty image must not be sent on.
    Object.defineProperty(image, 'chunks', { get: refuseRead })
    chunks.forEach(freeMemory)
  }
}

/** `ArrayBuffer` as of Node.js 22. */
interface Transferable {
  detached: boolean
  transfer(byteLength: number): ArrayBuffer
}

/**
 * Frees all memory behind bytes that are never read again. Without that, garbage in the memory
 * outside of V8's heap costs full collections. Does nothing in Node.js 20.
 */
export function freeMemory({ buffer }: Buffer): void {
  if (isTransferable(buffer) && !buffer.detached) buffer.transfer(0)
}

function isTransferable(buffer: object): buffer is Transferable {
  return 'transfer' in buffer
}

function refuseRead(): never {
  throw new Error('The memory of this image was released.')
}
