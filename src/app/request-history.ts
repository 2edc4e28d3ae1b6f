import { SETTINGS } from '../config/table.js'
import type { HistoryStatus } from '../contracts/request-history.js'
import { HistoryReconciler } from '../credits/history/history-reconciler.js'
import type { LostPicture } from '../credits/history/ports.js'
import { keepLostPicture } from '../segment/lost-picture.js'
import { createHistoryClient } from '../segmind/history-client.js'
import type { Closers, GatewayOptions, GatewayParts } from './build.js'

/** Times of the request history, milliseconds. For tests. */
export interface HistoryTimes {
  everyMs: number
  spacingMs: number
}

export interface OpenHistory {
  readonly status: HistoryStatus
}

/** Starts to read Segmind's request history, unless it is off or has no address. */
export function openRequestHistory(
  options: GatewayOptions & { historyTimes?: HistoryTimes | undefined },
  parts: GatewayParts,
  closers: Closers,
): OpenHistory {
  const url = historyUrlOf(options)
  if (url === undefined) return { status: { state: 'off', foreign: [] } }
  const { accounts, wholeness, store, observer, now } = parts
  const { everyMs, spacingMs } = options.historyTimes ?? {}
  const client = createHistoryClient({
    url,
    apiKey: options.upstream.apiKey,
    ...(spacingMs !== undefined && { spacingMs }),
  })
  const reconciler = new HistoryReconciler({
    history: client,
    ledger: wholeness.ledger,
    records: store.records,
    calendar: accounts.calendar,
    rescue: createRescue(parts),
    now,
    everyMs,
    observer: {
      storeFailed: (error, operation) => observer.storeFailed(error, operation),
      historyStateChanged: status => observer.historyStateChanged(status),
      callLearned: (entry, cost) => {
        accounts.allowance.forget(entry.team)
        void accounts.account.reconciler.refresh()
        observer.callLearned(entry, cost)
      },
      pictureNotFetched: (entry, error) => observer.pictureNotFetched(entry, error),
      callBooked: (team, outcome, cost) => observer.callBooked(team, outcome, cost),
      unknownSettled: (team, booked) => observer.unknownSettled(team, booked),
    },
  })
  accounts.account.requestHistory = reconciler
  reconciler.start()
  closers.push(async () => {
    await Promise.all([client.close(), reconciler.close()])
  })
  return reconciler
}

/**
 * The sandbox has its own history. The default address belongs to Segmind's own API: the key of
 * another upstream is not sent there.
 */
function historyUrlOf({ settings, upstream }: GatewayOptions): string | undefined {
  const { history, historyUrl } = settings.segmind
  if (history === 'off') return undefined
  if (settings.sandbox) return upstream.baseUrl
  const isDefault = historyUrl === SETTINGS.segmind.historyUrl.default
  return isDefault && upstream.baseUrl !== SETTINGS.segmind.baseUrl.default ? undefined : historyUrl
}

function createRescue({ client, results, settings }: GatewayParts): (lost: LostPicture) => Promise<void> {
  return async ({ entry, requestId, cost, url }) => {
    const body = await client.fetchOutput(url)
    const found = { entry, body, cost, upstreamRequestId: requestId }
    await keepLostPicture(found, { results, cacheScope: settings.cache.scope })
  }
}
