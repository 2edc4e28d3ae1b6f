import { createHash } from 'node:crypto'
import type { Nanocredits } from '../contracts/nanocredits.js'

/**
 * Highest cost of a call. With a lower balance, Segmind rejects calls with 406 (docs/segmind.md,
 * Errors).
 */
export const ESTIMATE: Nanocredits = 2_000_000
const MIN_COST = 1_400_000

/**
 * The simulated account. Every call reserves the estimate first, so the balance never falls below
 * zero.
 */
export class Account {
  #balance: Nanocredits
  #reserved = 0
  #calls = 0

  constructor(balance: Nanocredits) {
    this.#balance = balance
  }

  /** Balance, without regard to reservations. */
  get balance(): Nanocredits {
    return this.#balance
  }

  /** Number of calls that were charged. */
  get calls(): number {
    return this.#calls
  }

  /**
   * Reserves the estimate for one call. Returns false if the balance is too low. `charge` or
   * `release` ends it.
   */
  reserve(): boolean {
    if (this.#balance - this.#reserved < ESTIMATE) return false
    this.#reserved += ESTIMATE
    return true
  }

  charge(cost: Nanocredits): void {
    this.release()
    this.#balance -= cost
    this.#calls++
  }

  release(): void {
    this.#reserved -= ESTIMATE
  }
}

/** Derives the cost of a call, 0.0014–0.002 credits, from a hash of the image and the question. */
export function costOf(image: Buffer, question: string): Nanocredits {
  const digest = createHash('sha256').update(image).update(question).digest()
  return MIN_COST + (digest.readUInt32BE(0) % (ESTIMATE - MIN_COST + 1))
}
