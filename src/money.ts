import type { FastifyBaseLogger } from 'fastify'
import { type AlertFacts, type AlertNote, type Alerts, startAlerts } from './alerts/start-alerts.js'
import type { Settings } from './config.js'
import { type Accounts, openAccounts } from './credits/accounts.js'
import { GatewayError } from './errors.js'
import type { Metrics } from './metrics.js'
import { formatCredits, type Nanocredits } from './nanocredits.js'
import type { Activity } from './operations/activity.js'
import type { Team } from './segment/types.js'
import type { SegmindClient } from './segmind/client.js'
import type { SharedKey } from './segmind/shared-key.js'
import type { OpenedStore } from './store/open-store.js'

export interface MoneyParts {
  settings: Settings
  log: FastifyBaseLogger
  opened: OpenedStore
  client: SegmindClient
  sharedKey: SharedKey
  metrics: Metrics
  activity: Activity
  /** How long fetching a job's picture may take. */
  outputTimeoutMs: number
  now(): number
  onFailure(error: unknown, doing: string): void
  /** Told when something has happened that may be worth an alert. */
  onNews(): void
}

/** Clocks of replicas may differ, and the loop of a process may be late. */
const ORPHAN_MARGIN_MS = 30_000

/** How old a reservation is that no process can have under way any more, milliseconds. */
export function orphanAfterMs({ server, queue, segmind }: Settings, outputTimeoutMs: number): number {
  // Counted from the plan: it may follow another leader first, then poll that one's job; its own is submitted and polled, each in its own time.
  const jobsMs = 3 * segmind.timeoutMs + 2 * outputTimeoutMs
  return server.clientTimeoutMs + queue.timeoutMs + jobsMs + ORPHAN_MARGIN_MS
}

/** Opens the books over the store and Segmind's balance, and says in the log what operators want to know of them. */
export function openMoney(parts: MoneyParts): Accounts {
  const { settings, opened, metrics, activity, now, onFailure } = parts
  const { store, spool, isSpoolDurable } = opened
  const { priceEstimate, reserve, timeZone, budgetFail } = settings.credits
  return openAccounts({
    ...{ store: store.ledger, records: store.records, spool, isSpoolDurable, priceEstimate, reserve, timeZone, now },
    isStoreUp: () => store.isUp(),
    shareSeconds: settings.cache.ttlSeconds + settings.cache.staleSeconds,
    orphanAfterMs: orphanAfterMs(settings, parts.outputTimeoutMs),
    whenStoreIsDown: budgetFail,
    askBalance: () => askBalance(parts),
    onBooked(team, outcome, cost) {
      metrics.booked(team, outcome, cost)
      activity.booked(team, outcome, cost)
    },
    onAnswered(team, how, cost) {
      metrics.answered(team, how, cost)
      activity.answered(how, cost)
    },
    onStoreFailure: onFailure,
    ...spoken(parts),
  })
}

/** Asks for the balance, and takes down whether Segmind lets the shared key in. */
async function askBalance({ client, sharedKey }: MoneyParts): Promise<Nanocredits> {
  try {
    const { remaining } = await client.balance()
    sharedKey.asked('ok')
    return remaining
  } catch (error) {
    sharedKey.asked(error instanceof GatewayError ? error.code : 'internal_error')
    throw error
  }
}

/** What goes to the log. */
function spoken({ log, metrics, onNews }: MoneyParts) {
  return {
    onCreditState({ name, before, since }) {
      // What is there at the very first is no change, unless it is bad.
      const isNews = before !== undefined || name !== 'normal'
      log[isNews ? 'warn' : 'info']({ creditState: name, before, since }, 'the credits are in another state')
      onNews()
    },
    onAccountEvent({ kind, amount, id, at }) {
      log.warn({ kind, credits: formatCredits(amount), id, at }, 'the balance has moved otherwise than booked')
      onNews()
    },
    onAskFailure: error => log.warn({ err: error }, 'Segmind did not tell its balance'),
    onStepLost: (step, error) => log.error({ step, err: error }, 'the store refuses a ledger step: it is lost'),
    onOrphan: ({ callId, team, requestId, resultId, jobId }, fate) => {
      metrics.orphanEnded(fate)
      log.warn({ callId, team, requestId, resultId, jobId, fate }, 'a call whose process is gone has been ended')
    },
  } satisfies Partial<Parameters<typeof openAccounts>[0]>
}

/** Closes the books, and says what was left undone. */
export async function closeAccounts(accounts: Accounts, log: FastifyBaseLogger): Promise<void> {
  const { kept, lost } = await accounts.close()
  if (kept > 0) log.warn({ steps: kept }, 'ledger steps the store did not take wait on disk for the next start')
  if (lost > 0) log.error({ steps: lost }, 'ledger steps the store did not take are lost')
}

const DAY_MS = 86_400_000

export interface AlertParts
  extends Pick<MoneyParts, 'settings' | 'log' | 'opened' | 'sharedKey' | 'now' | 'onFailure'> {
  accounts: Accounts
  teams: { teams(): readonly Team[] }
}

/** Tells operators what they have to know of money; nothing without `ALERT_WEBHOOK_URL`. */
export function openMoneyAlerts(parts: AlertParts): Alerts {
  const { settings, log, opened, now, onFailure } = parts
  return startAlerts(settings.alerts, {
    facts: alertFactsOf(parts),
    records: opened.store.records,
    timeZone: settings.credits.timeZone,
    now,
    onDelivered: (note: AlertNote) => log.info(note, 'an alert was delivered'),
    onRetry: (note, pauseMs) => log.warn({ ...note, pauseMs }, 'an alert was not taken yet'),
    onFailed: note => log.error(note, 'nobody takes an alert'),
    onProblem: (error, doing) => onFailure(error, `alerts: ${doing}`),
  })
}

function alertFactsOf({ accounts, teams, sharedKey, now }: AlertParts): AlertFacts {
  const { account, allowance } = accounts
  return {
    async budgets() {
      const known = teams.teams()
      const alertAt = new Map(known.map(team => [team.id, team.alertAt ?? []]))
      return (await allowance.budgets(known)).map(row => ({ ...row, alertAt: alertAt.get(row.team) ?? [] }))
    },
    async credits() {
      const { latest } = account.balance
      // Less than half a call is nobody's use of the key.
      const least = account.price.current() / 2
      const isRecent = ({ at, amount }: { at: number; amount: number }) => amount >= least && now() - at < DAY_MS
      return {
        ...(latest && { balance: latest }),
        burn: account.burn,
        state: account.state.agreed,
        drifts: (account.reconciler.record?.events ?? []).flatMap(({ id, at, kind, amount }) =>
          kind === 'foreign' && isRecent({ at, amount }) ? [{ id, at, kind, amount }] : [],
        ),
      }
    },
    sharedKey: () => sharedKey.state,
  }
}
