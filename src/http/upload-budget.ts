import { GatewayError } from '../errors.js'

const RETRY_AFTER_SECONDS = 1

/** The memory that one request is booked with. */
export interface Hold {
  /** Books so many bytes instead. Throws `overloaded` where they are more and do not fit beside those of the others. */
  resize(bytes: number): void
  /** Lets the booking last until this work has ended, too, well or not. */
  until(work: Promise<unknown>): void
  /** Gives it back as soon as all the work has ended; a second time changes nothing. */
  release(): void
}

/** Keeps the uploads held in memory at once within a bound (`UPLOAD_MEMORY_BYTES`): what would not fit is refused before it is read. */
export class UploadBudget {
  readonly #maxBytes: number
  #heldBytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Books what a request may need; alone it gets whatever it needs. Throws `overloaded`. */
  hold(bytes: number): Hold {
    let held = 0
    const book = (wanted: number): void => {
      const others = this.#heldBytes - held
      if (wanted > held && others > 0 && others + wanted > this.#maxBytes) throw tooMany()
      this.#heldBytes = others + wanted
      held = wanted
    }
    book(bytes)
    const reasons = new Set<unknown>([this])
    const drop = (reason: unknown): void => {
      if (reasons.delete(reason) && reasons.size === 0) book(0)
    }
    return {
      resize: wanted => {
        if (reasons.size > 0) book(wanted)
      },
      until: work => {
        if (reasons.size === 0) return
        const reason = Symbol('work')
        reasons.add(reason)
        const end = () => drop(reason)
        work.then(end, end)
      },
      release: () => drop(this),
    }
  }

  get heldBytes(): number {
    return this.#heldBytes
  }
}

function tooMany(): GatewayError {
  return new GatewayError('overloaded', 'The gateway is receiving too many images at once.', {
    retryAfterSeconds: RETRY_AFTER_SECONDS,
  })
}
