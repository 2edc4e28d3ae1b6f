import type { FastifyBaseLogger } from 'fastify'
import type { Settings } from './config.js'
import { type Accounts, openAccounts } from './credits/accounts.js'
import { GatewayError } from './errors.js'
import type { Metrics } from './metrics.js'
import { formatCredits, type Nanocredits } from './nanocredits.js'
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
  /** How long fetching a job's picture may take. */
  outputTimeoutMs: number
  now(): number
  onFailure(error: unknown, doing: string): void
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
  const { settings, opened, metrics, now, onFailure } = parts
  const { store, spool, isSpoolDurable } = opened
  const { priceEstimate, reserve, timeZone, budgetFail } = settings.credits
  return openAccounts({
    ...{ store: store.ledger, records: store.records, spool, isSpoolDurable, priceEstimate, reserve, timeZone, now },
    isStoreUp: () => store.isUp(),
    shareSeconds: settings.cache.ttlSeconds + settings.cache.staleSeconds,
    orphanAfterMs: orphanAfterMs(settings, parts.outputTimeoutMs),
    whenStoreIsDown: budgetFail,
    askBalance: () => askBalance(parts),
    onBooked: (team, outcome, cost) => metrics.booked(team, outcome, cost),
    onAnswered: (team, how, cost) => metrics.answered(team, how, cost),
    onStoreFailure: onFailure,
    ...spoken(parts),
  })
}

/** Asks for the balance, and takes down whether Segmind lets the shared key in. */
async function askBalance({ client, sharedKey }: MoneyParts): Promise<Nanocredits> {
  try {
    const { remaining } = await client.balance()
    sharedKey.asked('accepted')
    return remaining
  } catch (error) {
    sharedKey.asked(error instanceof GatewayError && error.code === 'upstream_unauthorized' ? 'refused' : undefined)
    throw error
  }
}

/** What goes to the log. */
function spoken({ log, metrics }: MoneyParts) {
  return {
    onCreditState({ name, before, since }) {
      // What is there at the very first is no change, unless it is bad.
      const isNews = before !== undefined || name !== 'normal'
      log[isNews ? 'warn' : 'info']({ creditState: name, before, since }, 'the credits are in another state')
    },
    onAccountEvent({ kind, amount, id, at }) {
      log.warn({ kind, credits: formatCredits(amount), id, at }, 'the balance has moved otherwise than booked')
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
