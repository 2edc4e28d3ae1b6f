import type { AlertFacts } from '../alerts/start-alerts.js'
import type { Clock } from '../contracts/clock.js'
import { defined } from '../contracts/defined.js'
import type { LedgerState } from '../contracts/ledger.js'
import type { Team } from '../contracts/types.js'
import type { Accounts } from '../credits/accounts.js'

const DAY_MS = 86_400_000

export interface AlertFactsOptions {
  accounts: Accounts
  wholeness: { readonly state: LedgerState }
  teams: { teams(): readonly Team[] }
  client: { readonly sharedKey: ReturnType<AlertFacts['sharedKey']> }
  now: Clock
}

/** Collects the facts that the alert rules evaluate. */
export function createAlertFacts({ accounts, wholeness, teams, client, now }: AlertFactsOptions): AlertFacts {
  const { account, allowance } = accounts
  return {
    async budgets() {
      const known = teams.teams()
      const alertAt = new Map(known.map(team => [team.id, team.alertAt ?? []]))
      return (await allowance.budgets(known)).map(row => ({ ...row, alertAt: alertAt.get(row.team) ?? [] }))
    },
    async credits() {
      // A smaller movement than half a call cannot be somebody else's use of the key.
      const least = account.price.current() / 2
      const events = (account.reconciler.record?.events ?? []).filter(({ at }) => now() - at < DAY_MS)
      return {
        ...defined({ balance: account.balance.latest }),
        burn: account.burn,
        state: account.state.agreed,
        drifts: events.flatMap(({ id, at, kind, amount }) =>
          kind === 'foreign' && amount >= least ? [{ id, at, kind, amount }] : [],
        ),
        implausible: events.flatMap(({ id, at, implausible }) => (implausible ? [{ id, at, ...implausible }] : [])),
      }
    },
    sharedKey: () => client.sharedKey,
    ledger: () => wholeness.state,
  }
}
