import type { AccountStatus } from '../contracts/account.js'
import { defined } from '../contracts/defined.js'
import type { Nanocredits } from '../contracts/nanocredits.js'
import type { HistoryStatus } from '../contracts/request-history.js'
import { timeOfDay } from '../credits/account/runway.js'
import type { Accounts } from '../credits/accounts.js'

/** Collects the account facts that operators see. */
export function accountStatusOf(
  { account }: Accounts,
  { reserve, timeZone, history }: { reserve: Nanocredits; timeZone: string; history: HistoryStatus },
): AccountStatus {
  const { balance, state, price, burn, runway, reconciler } = account
  const { record } = reconciler
  const { current } = state
  return {
    balance: { state: balance.state, ...balance.latest },
    ...(current && { state: { name: current.name, since: current.since, ...defined({ before: current.before }) } }),
    reserve,
    burn,
    ...(runway && { runway: { ...runway, timeOfDay: timeOfDay(runway.emptyAt, timeZone) } }),
    ...(record && { agreed: { at: record.anchor.at, drift: record.drift, topUps: record.topUps } }),
    price: { estimate: price.current(), ...defined({ change: price.change }) },
    events: record?.events ?? [],
    history,
  }
}
