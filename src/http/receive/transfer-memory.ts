import { GatewayError } from '../../contracts/errors.js'

const RETRY_AFTER_SECONDS = 1
/** Bytes that a request may always hold: ids, quotes and points never wait behind uploads. */
const SMALL_BYTES = 64 * 1024

/** The memory that one request has booked. */
export interface MemoryHold {
  /**
   * Books bytes that have arrived, or wait to be sent. Throws `overloaded` if they do not fit and
   * are not `isForced`.
   */
  add(bytes: number, options?: { isForced: boolean }): void
  /** Books a buffer that other requests may use as well. Throws `overloaded` if it does not fit. */
  addBuffer(buffer: Buffer): void
  /** Reduces the booking to `bytes`. */
  shrinkTo(bytes: number): void
  /** Calls `free` when the hold ends. */
  onEnd(free: () => void): void
  /** Extends the hold until this work has settled. */
  until(work: Promise<unknown>): void
  /** Frees the memory once all work has settled. A second call changes nothing. */
  release(): void
}

/** The team whose share a request uses. */
export interface Holder {
  id: string
  limits: { weight: number }
}

interface TeamMemory {
  weight: number
  heldBytes: number
  /** Requests that hold memory or may do so. */
  holds: number
}

/**
 * Limits the memory of images and answers in transit (`UPLOAD_MEMORY_BYTES`), booked as bytes
 * arrive and not as they are announced.
 *
 * A team's share is by weight, counted as if one more team of weight 1 were active. So there is
 * always room for a team that holds nothing yet. A team that is alone gets half.
 */
export class TransferMemory {
  readonly #maxBytes: number
  readonly #teams = new Map<string, TeamMemory>()
  /** Answers that wait to be sent, and images read from the store. Each buffer is booked once. */
  readonly #buffers = new Map<Buffer, { users: number; hold: MemoryHold }>()
  #heldBytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get heldBytes(): number {
    return this.#heldBytes
  }

  /** Begins a booking of 0 bytes. */
  hold(holder: Holder): MemoryHold {
    const { id, limits } = holder
    const team = this.#begin(id, limits.weight)
    const frees: (() => void)[] = []
    let held = 0
    let users = 1
    let isReleased = false
    const book = (size: number): void => {
      this.#heldBytes += size - held
      team.heldBytes += size - held
      held = size
    }
    const drop = (): void => {
      users--
      if (users > 0) return
      book(0)
      for (const free of frees) free()
      team.holds--
      if (team.holds === 0) this.#teams.delete(id)
    }
    return {
      add: (bytes, { isForced } = { isForced: false }) => {
        if (users === 0) return
        const size = held + bytes
        const isAlone = this.#heldBytes === held
        if (!isForced && size > SMALL_BYTES && !this.#fits(team, { bytes, isAlone })) throw overloaded()
        book(size)
      },
      addBuffer: buffer => {
        if (users > 0) frees.push(this.holdBuffer(holder, buffer, { isForced: false }))
      },
      onEnd: free => {
        if (users > 0) frees.push(free)
      },
      shrinkTo: bytes => {
        if (users > 0 && bytes < held) book(bytes)
      },
      until: work => {
        if (users === 0) return
        users++
        work.then(drop, drop)
      },
      release: () => {
        if (!isReleased) drop()
        isReleased = true
      },
    }
  }

  /**
   * Books a buffer that several requests may use. Returns the function that frees it. Throws
   * `overloaded` when it does not fit and is not `isForced`, as for a caller that has just paid. A
   * small buffer is not booked: as an answer it is sent at once.
   */
  holdBuffer(team: Holder, buffer: Buffer, options: { isForced: boolean }): () => void {
    if (buffer.length <= SMALL_BYTES) return () => {}
    const shared = this.#buffers.get(buffer) ?? { users: 0, hold: this.hold(team) }
    if (shared.users === 0) addOrRelease(shared.hold, buffer.length, options)
    shared.users++
    this.#buffers.set(buffer, shared)
    let isFreed = false
    return () => {
      if (isFreed) return
      isFreed = true
      shared.users--
      if (shared.users > 0) return
      this.#buffers.delete(buffer)
      shared.hold.release()
    }
  }

  #begin(id: string, weight: number): TeamMemory {
    const team = this.#teams.get(id) ?? { weight, heldBytes: 0, holds: 0 }
    this.#teams.set(id, team)
    team.weight = weight
    team.holds++
    return team
  }

  /** A request that is alone always fits, so that any accepted image can be sent. */
  #fits(team: TeamMemory, { bytes, isAlone }: { bytes: number; isAlone: boolean }): boolean {
    if (isAlone) return true
    let weights = 1
    for (const { weight } of this.#teams.values()) weights += weight
    const share = (this.#maxBytes * team.weight) / weights
    return this.#heldBytes + bytes <= this.#maxBytes && team.heldBytes + bytes <= share
  }
}

function addOrRelease(hold: MemoryHold, bytes: number, options: { isForced: boolean }): void {
  try {
    hold.add(bytes, options)
  } catch (error) {
    hold.release()
    throw error
  }
}

function overloaded(): GatewayError {
  const detail = 'The images and answers of your team fill its share of the memory. Try again.'
  return new GatewayError('overloaded', detail, { retryAfterSeconds: RETRY_AFTER_SECONDS })
}
