import { GatewayError } from '../errors.js'

const RETRY_AFTER_SECONDS = 1

/** Keeps the uploads held in memory at once within a bound (`UPLOAD_MEMORY_BYTES`): what would not fit is refused before it is read. */
export class UploadBudget {
  readonly #maxBytes: number
  #heldBytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Books what a request says it will send, else the most it may; answers how to give it back. Throws `overloaded`. */
  hold(bytes: number): () => void {
    if (this.#heldBytes + bytes > this.#maxBytes && this.#heldBytes > 0) {
      throw new GatewayError('overloaded', 'The gateway is receiving too many images at once.', {
        retryAfterSeconds: RETRY_AFTER_SECONDS,
      })
    }
    this.#heldBytes += bytes
    let held = bytes
    return () => {
      this.#heldBytes -= held
      held = 0
    }
  }

  get heldBytes(): number {
    return this.#heldBytes
  }
}
