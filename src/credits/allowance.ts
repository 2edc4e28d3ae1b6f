import type { Nanocredits } from '../nanocredits.js'
import type { Team } from '../segment/types.js'
import type { Booked } from '../storage.js'
import type { BudgetCalendar } from './windows.js'

export interface AllowanceOptions {
  store: { booked(team: string, windows: { day: string; month: string }): Promise<Booked> }
  calendar: BudgetCalendar
  balance(): Nanocredits | undefined
  /** `RESERVE_CREDITS`: what only protected teams may spend. */
  reserve: Nanocredits
  now(): number
}

/** One window of a team's budget: what is booked of it, and what may still be. */
export interface BudgetStanding {
  team: string
  window: 'daily' | 'monthly'
  /** `2026-11-27` or `2026-11`. */
  windowName: string
  limit: Nanocredits
  booked: Nanocredits
  remaining: Nanocredits
}

/** How long what a team has booked is remembered before the store is asked again, milliseconds. */
const REMEMBER_MS = 1_000

/** What a team may still spend (`x-remaining-credits`): the least of its budgets and the account's balance. */
export class Allowance {
  readonly #options: AllowanceOptions
  readonly #remembered = new Map<string, { at: number; booked: Promise<Booked | undefined> }>()

  constructor(options: AllowanceOptions) {
    this.#options = options
  }

  /** Undefined when nothing is known: neither a balance nor a budget. Up to one second old; the store's failure leaves the budgets out. */
  async remaining(team: Team): Promise<Nanocredits | undefined> {
    const { daily, monthly } = team.budget ?? {}
    const balance = this.#options.balance()
    const known = [balance !== undefined && !team.protected ? balance - this.#options.reserve : balance]
    if (daily !== undefined || monthly !== undefined) {
      const booked = await this.#booked(team.id)
      if (booked && daily !== undefined) known.push(daily - booked.daily)
      if (booked && monthly !== undefined) known.push(monthly - booked.monthly)
    }
    const amounts = known.filter(amount => amount !== undefined)
    return amounts.length === 0 ? undefined : Math.max(0, Math.min(...amounts))
  }

  /** How each team with a budget stands, per window; a team whose bookings cannot be read is left out. */
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

  /** What was just spent must show at once. */
  forget(team: string): void {
    this.#remembered.delete(team)
  }

  #booked(team: string): Promise<Booked | undefined> {
    const at = this.#options.now()
    const remembered = this.#remembered.get(team)
    if (remembered && at - remembered.at < REMEMBER_MS) return remembered.booked
    const booked = this.#options.store.booked(team, this.#options.calendar.windows(at)).catch(() => undefined)
    this.#remembered.set(team, { at, booked })
    return booked
  }
}
