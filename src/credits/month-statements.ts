import { GatewayError } from '../errors.js'
import type { RecordStore, UsageDay } from '../storage.js'
import type { AccountMonth } from './account/record.js'
import { type Closing, type ClosingStep, Closings } from './closing.js'
import { bookedSince, type Chargeback, type ClosedBy, narrowTo, type Statement, statementOf } from './statement.js'
import type { BudgetCalendar } from './windows.js'

export interface MonthStatementsOptions {
  /** The ledger's days of a month, of all teams or one. */
  usage(month: string, team?: string): Promise<UsageDay[]>
  /** What is known of the account in that month. */
  account(month: string): Promise<AccountMonth | undefined>
  records: RecordStore
  /** `CHARGEBACK`. */
  policy: Chargeback
  calendar: BudgetCalendar
  now(): number
}

/** Statements of months, open and closed: a closed one is told as it was, with what was booked to it since. Rejects with `StoreError`. */
export class MonthStatements {
  readonly #options: MonthStatementsOptions
  readonly #closings: Closings

  constructor(options: MonthStatementsOptions) {
    this.#options = options
    this.#closings = new Closings(options.records)
  }

  /** Of all teams, or of one, which has no account. */
  async read(month: string, team?: string): Promise<Statement> {
    const closing = await this.#closings.find(month)
    const usage = await this.#options.usage(month, team)
    return closing ? asClosed(closing, usage, team) : this.#open(month, usage, team === undefined)
  }

  /**
   * Freezes a month that is over and has no call under way. One that is closed stays as it was. Throws `invalid_request` for one that
   * cannot be closed yet.
   */
  async close(month: string, by: ClosedBy): Promise<Statement> {
    const closing = await this.#closings.close(month, () => this.#closingOf(month, by))
    return asClosed(closing, await this.#options.usage(month))
  }

  /** Makes a closed month an open one; answers what it was. Throws `not_found` for one that is not closed. */
  async reopen(month: string, by: ClosedBy): Promise<Statement> {
    const closing = await this.#closings.reopen(month, { at: this.#options.now(), by })
    if (!closing) throw new GatewayError('not_found', `The month ${month} is not closed.`)
    return asClosed(closing, await this.#options.usage(month))
  }

  /** When and by whom a month was closed and reopened, oldest first; of all months together the last hundred steps are kept. */
  async history(month: string): Promise<ClosingStep[]> {
    return (await this.#closings.history()).filter(step => step.month === month)
  }

  async #open(month: string, usage: readonly UsageDay[], isOfAll: boolean): Promise<Statement> {
    const account = isOfAll ? await this.#options.account(month) : undefined
    return statementOf(month, { usage, policy: this.#options.policy, account })
  }

  async #closingOf(month: string, by: ClosedBy): Promise<Closing> {
    const at = this.#options.now()
    if (month >= this.#options.calendar.windows(at).month)
      throw notYet(month, 'it is not over where budgets are counted (BUDGET_TIMEZONE)')
    const statement = await this.#open(month, await this.#options.usage(month), true)
    const { reservedCalls } = statement.totals
    if (reservedCalls > 0) throw notYet(month, `calls of it that are still pending: ${reservedCalls}`)
    return { at, by, statement }
  }
}

function notYet(month: string, why: string): GatewayError {
  return new GatewayError('invalid_request', `The month ${month} cannot be closed yet: ${why}.`)
}

function asClosed({ at, by, statement }: Closing, usage: readonly UsageDay[], team?: string): Statement {
  const frozen = team === undefined ? statement : narrowTo(team, statement)
  return { ...frozen, closed: { at, by }, sinceClosed: bookedSince(frozen, usage) }
}
