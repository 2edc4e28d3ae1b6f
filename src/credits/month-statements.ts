import type { Clock } from '../contracts/clock.js'
import { GatewayError } from '../contracts/errors.js'
import type { AuditActor } from '../contracts/records.js'
import type { AccountMonth, Chargeback, ClosingStep, Statement } from '../contracts/statements.js'
import type { RecordStore, UsageDay } from '../contracts/store.js'
import { type Closing, Closings } from './closing.js'
import { bookedSince, narrowTo, statementOf } from './statement.js'
import type { BudgetCalendar } from './windows.js'

export interface MonthStatementsOptions {
  /** Reads the ledger's days of a month, for all teams or one. */
  usage(month: string, team?: string): Promise<UsageDay[]>
  /** Reads the account's month. */
  account(month: string): Promise<AccountMonth | undefined>
  records: RecordStore
  /** `CHARGEBACK`. */
  policy: Chargeback
  calendar: BudgetCalendar
  now: Clock
}

/**
 * Statements of open and closed months. The figures of a closed month do not change; later bookings
 * are listed separately. Rejects with `StoreError`.
 */
export class MonthStatements {
  readonly #options: MonthStatementsOptions
  readonly #closings: Closings

  constructor(options: MonthStatementsOptions) {
    this.#options = options
    this.#closings = new Closings(options.records)
  }

  /** Reads the statement of all teams, or of one team, which then has no account. */
  async read(month: string, team?: string): Promise<Statement> {
    const closing = await this.#closings.find(month)
    const usage = await this.#options.usage(month, team)
    return closing ? asClosed(closing, usage, team) : this.#open(month, usage, team === undefined)
  }

  /**
   * Freezes a month that is over and has no pending calls. A closed month stays as it was. Throws
   * `invalid_request` for a month that cannot be closed yet.
   */
  async close(month: string, by: AuditActor): Promise<Statement> {
    const closing = await this.#closings.close(month, () => this.#closingOf(month, by))
    return asClosed(closing, await this.#options.usage(month))
  }

  /**
   * Reopens a closed month and returns its frozen statement. Throws `not_found` for a month that is
   * not closed.
   */
  async reopen(month: string, by: AuditActor): Promise<Statement> {
    const closing = await this.#closings.reopen(month, { at: this.#options.now(), by })
    if (!closing) throw new GatewayError('not_found', `The month ${month} is not closed.`)
    return asClosed(closing, await this.#options.usage(month))
  }

  /**
   * Returns what the audit log keeps of a closed month: the digest of its stored statement. Empty
   * for an open month, and while the store does not respond.
   */
  async seal(month: string): Promise<{ sha256?: string }> {
    const sha256 = await this.#closings.seal(month).catch(() => undefined)
    return sha256 === undefined ? {} : { sha256 }
  }

  /**
   * Lists the closings and reopenings of a month, oldest first. The last hundred steps of all
   * months are kept.
   */
  async history(month: string): Promise<ClosingStep[]> {
    return (await this.#closings.history()).filter(step => step.month === month)
  }

  async #open(month: string, usage: readonly UsageDay[], isAllTeams: boolean): Promise<Statement> {
    const account = isAllTeams ? await this.#options.account(month) : undefined
    return statementOf(month, { usage, policy: this.#options.policy, account })
  }

  async #closingOf(month: string, by: AuditActor): Promise<Closing> {
    const at = this.#options.now()
    if (month >= this.#options.calendar.windows(at).month)
      throw cannotClose(month, 'it is not over in the time zone of the budgets (BUDGET_TIMEZONE)')
    const statement = await this.#open(month, await this.#options.usage(month), true)
    const { reservedCalls } = statement.totals
    if (reservedCalls > 0) throw cannotClose(month, `calls still pending: ${reservedCalls}`)
    return { at, by, statement }
  }
}

function cannotClose(month: string, reason: string): GatewayError {
  return new GatewayError('invalid_request', `The month ${month} cannot be closed yet: ${reason}.`)
}

function asClosed({ at, by, statement }: Closing, usage: readonly UsageDay[], team?: string): Statement {
  const frozen = team === undefined ? statement : narrowTo(team, statement)
  return { ...frozen, closed: { at, by }, sinceClosed: bookedSince(frozen, usage) }
}
