import type { BudgetStanding } from '../contracts/account.js'
import type { Clock } from '../contracts/clock.js'
import type { MaybePromise } from '../contracts/maybe-promise.js'
import type { Nanocredits } from '../contracts/nanocredits.js'
import type { Booked, BudgetWindows } from '../contracts/store.js'
import type { Team } from '../contracts/types.js'
import type { BudgetCalendar } from './windows.js'

export interface AllowanceOptions {
  store: { booked(team: string, windows: BudgetWindows): Promise<Booked> }
  calendar: BudgetCalendar
  /** The account's balance; `latest` is undefined while it is unknown. */
  balance: { readonly latest: { remaining: Nanocredits } | undefined }
  /** `RESERVE_CREDITS`: credits that only protected teams may spend. */
  reserve: Nanocredits
  now: Clock
}

/** Milliseconds for which a team's booked amounts are cached. */
const CACHE_MS = 1_000

/**
 * Computes the credits a team may still spend (`x-remaining-credits`): the least of its budgets and
 * the account's balance.
 */
export class Allowance {
  readonly #options: AllowanceOptions
  readonly #cached = new Map<string, { at: number; booked: Promise<Booked | undefined> }>()

  constructor(options: AllowanceOptions) {
    this.#options = options
  }

  /**
   * Returns a value up to one second old; a promise for a team with a budget. Undefined if neither
   * balance nor budgets are known. If the store fails, only the balance counts.
   */
  remaining(team: Team): MaybePromise<Nanocredits | undefined> {
    const { daily, monthly } = team.budget ?? {}
    const balance = this.#options.balance.latest?.remaining
    const ofAccount = balance !== undefined && !team.protected ? balance - this.#options.reserve : balance
    if (daily === undefined && monthly === undefined) return least([ofAccount])
    return this.#booked(team.id).then(booked =>
      least([
        ofAccount,
        booked && daily !== undefined ? daily - booked.daily : undefined,
        booked && monthly !== undefined ? monthly - booked.monthly : undefined,
      ]),
    )
  }

  /**
   * Lists the budgets of the teams that have one, per window. Omits a team whose booked amounts
   * cannot be read.
   */
  async budgets(teams: readonly Team[]): Promise<BudgetStanding[]> {
    const { day, month } = this.#options.calendar.windows(this.#options.now())
    const names = { daily: day, monthly: month }
    const rows = teams.map(async ({ id, budget }) => {
      const booked = budget && (await this.#booked(id))
      if (!booked) return []
      return (['daily', 'monthly'] as const).flatMap(window => {
        const limit = budget[window]
        if (limit === undefined) return []
        const windowName = names[window]
        return [{ team: id, window, windowName, limit, booked: booked[window], remaining: limit - booked[window] }]
      })
    })
    return (await Promise.all(rows)).flat()
  }

  /** Drops the cached amounts of a team, so that a booking shows at once. */
  forget(team: string): void {
    this.#cached.delete(team)
  }

  #booked(team: string): Promise<Booked | undefined> {
    const at = this.#options.now()
    const cached = this.#cached.get(team)
    if (cached && at - cached.at < CACHE_MS) return cached.booked
    const booked = this.#options.store.booked(team, this.#options.calendar.windows(at)).catch(() => undefined)
    this.#cached.set(team, { at, booked })
    return booked
  }
}

/** Returns the least of the known amounts, and 0 for a negative one. */
function least(amounts: readonly (Nanocredits | undefined)[]): Nanocredits | undefined {
  const known = amounts.filter(amount => amount !== undefined)
  return known.length === 0 ? undefined : Math.max(0, Math.min(...known))
}
