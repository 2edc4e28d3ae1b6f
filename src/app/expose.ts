import { randomBytes } from 'node:crypto'
import { withDeadline } from '../contracts/deadline.js'
import type { LedgerEntry } from '../contracts/ledger.js'
import { createSharedSecret } from '../contracts/shared-secret.js'
import { accountMonth } from '../credits/account/record.js'
import { MonthStatements } from '../credits/month-statements.js'
import { asCsv } from '../credits/statement-rows.js'
import type { OperatorParts } from '../http/admin/routes.js'
import type { AppParts } from '../http/app.js'
import type { Mode } from '../http/segment/route-parts.js'
import { SignedUrls } from '../http/segment/signed-urls.js'
import { createImageCheck } from '../images/image-check.js'
import { createPixelDigest } from '../images/pixel-digest.js'
import { createMetadataFilter } from '../images/strip-metadata.js'
import { PaidFailures } from '../segment/paid-failures.js'
import { settleOrphan } from '../segment/purchase.js'
import type { QuoteParts } from '../segment/quote.js'
import { createOperatorCheck } from '../teams/operator-key.js'
import type { Gauges } from '../telemetry/metrics.js'
import { accountStatusOf } from './account-status.js'
import type { GatewayParts as BuiltParts } from './build.js'
import { createAuditRecorder, dropResult, purgeAllResults, purgeResult } from './operator-actions.js'
import { cacheTiers, createOverview } from './operator-overview.js'
import { createTeamsAdmin } from './operator-teams.js'
import type { OpenHistory } from './request-history.js'

type GatewayParts = BuiltParts & { requestHistory: OpenHistory }

/** Collects the parts that the HTTP shell uses. */
export function appPartsOf(parts: GatewayParts): Omit<AppParts, 'site'> {
  const { settings, accounts, teams, testMode, observer, lifecycle, store, client, now } = parts
  const signedUrls = createSignedUrls(parts)
  const statements = createStatements(parts)
  const credits = () => accountStatusOf(accounts, { ...settings.credits, history: parts.requestHistory.status })
  const statement = (month: string, team?: string) => statements.read(month, team)
  const currentMonth = () => accounts.calendar.windows(now()).month
  return {
    log: parts.log,
    isTrustedProxy: parts.isTrustedProxy,
    connections: parts.connections,
    keys: {
      authenticate: teams.authenticate,
      isOperator: createOperatorCheck(settings.teams.adminKey?.reveal()),
    },
    health: {
      upstream: settings.sandbox ? 'sandbox' : 'segmind',
      lifecycle,
      isStoreUp: store.isUp,
      ledger: () => parts.wholeness.state,
      isTeamsFileOk: teams.isOk,
      breaker: () => client.breaker,
      credits: () => ({ state: creditStateOf(parts) ?? 'unknown', balance: accounts.account.balance.state }),
    },
    segmentation: segmentationPartsOf(parts, signedUrls),
    outputs: {
      signedUrls,
      memory: parts.memory,
      resultsOf: ({ isTest }) => (isTest ? testMode.pipeline.results : parts.results),
      now,
    },
    usage: { statement, currentMonth, allowance: accounts.allowance },
    statements: {
      statement,
      currentMonth,
      close: month => statements.close(month, 'operator'),
      reopen: month => statements.reopen(month, 'operator'),
      closings: month => statements.history(month),
      seal: month => statements.seal(month),
      csv: asCsv,
    },
    credits,
    rates: parts.rates,
    now,
    explanations: { find: requestId => parts.explanations.find(requestId) },
    observer,
    isTraced: parts.isTraced,
    isSandbox: settings.sandbox,
    operators: operatorPartsOf(parts, { credits, statement }),
  }
}

function creditStateOf({ accounts }: GatewayParts) {
  return accounts.account.state.current?.name
}

function operatorPartsOf(parts: GatewayParts, reports: Parameters<typeof createOverview>[1]): OperatorParts {
  const { audit, purges, results, teams, settings, log, now } = parts
  return {
    audit: { add: createAuditRecorder(audit, log) },
    readAudit: page => audit.read(page),
    teams: createTeamsAdmin({ file: settings.teams.file, teams, now }),
    cache: {
      tiers: () => cacheTiers(parts),
      purge: id => purgeResult(id, results, purges),
      purgeAll: () => purgeAllResults(results, purges),
    },
    overview: createOverview(parts, reports),
    now,
  }
}

function segmentationPartsOf(parts: GatewayParts, signedUrls: SignedUrls): AppParts['segmentation'] {
  const { settings, testMode, observer } = parts
  return {
    modes: { live: createLiveMode(parts), test: testMode },
    memory: parts.memory,
    fetchImage: parts.fetcher.fetchImage,
    maxImageBytes: settings.images.maxBytes,
    base64Default: settings.upload.base64Default,
    allowNoSelection: settings.upload.allowNoSelection,
    batchParallel: settings.segmind.maxConcurrency,
    observer,
    jobs: parts.jobs,
    signedUrls,
    jobPatienceMs: settings.server.clientTimeoutMs + settings.queue.timeoutMs + settings.segmind.timeoutMs,
  }
}

/** Longest wait for a balance that is still unknown, milliseconds. */
const BALANCE_WAIT_MS = 2_000

/** Builds live mode, for all keys but test keys. */
function createLiveMode(parts: GatewayParts): Mode {
  const { accounts, maskForms, shaping, images, bodies } = parts
  const { account, allowance } = accounts
  return {
    isTest: false,
    pipeline: { ...pipelinePartsOf(parts), maskForms, shaping, dropResult: key => dropResult(key, parts) },
    images,
    bodies,
    allowance,
    async refreshRemaining(team) {
      const known = await allowance.remaining(team)
      if (known !== undefined) return known
      await withDeadline(account.refresh(), BALANCE_WAIT_MS, () => undefined).catch(() => undefined)
      return allowance.remaining(team)
    },
    creditState: () => creditStateOf(parts),
  }
}

const SECRET_BYTES = 32

function createSignedUrls({ settings, store, now }: GatewayParts): SignedUrls {
  const generate = () => randomBytes(SECRET_BYTES).toString('base64')
  return new SignedUrls({
    secret: createSharedSecret(store.records, 'outputs:secret', generate),
    ttlSeconds: settings.upload.resultUrlTtlSeconds,
    now,
  })
}

/** Builds statements that include what this process has counted but not yet written. */
function createStatements({ settings, accounts, store, now }: GatewayParts): MonthStatements {
  return new MonthStatements({
    async usage(month, team) {
      await accounts.journal.flush()
      return store.ledger.usage(month, team)
    },
    account: month => accountMonth(store.records, month),
    records: store.records,
    policy: settings.credits.chargeback,
    calendar: accounts.calendar,
    now,
  })
}

/** Collects the values that are read when Prometheus scrapes. */
export function gaugesOf(parts: GatewayParts): Gauges {
  const { accounts, results, store, teams, client } = parts
  const { account } = accounts
  return {
    teams: () => teams.teams().map(({ id }) => id),
    upstreamInFlight: () => client.inFlight,
    queueDepth: () => parts.slots.depth(),
    cache: () => cacheTiers(parts),
    storeUp: () => store.isUp(),
    ledgerState: () => parts.wholeness.state,
    connections: () => parts.connections.count(),
    teamsFileOk: () => teams.isOk(),
    balance: () => account.balance.latest,
    priceEstimate: () => account.price.current(),
    drift: () => account.drift,
    runwaySeconds: () => account.runway?.seconds,
    creditState: () => creditStateOf(parts),
    burn: () => account.burn,
    budgets: () => accounts.allowance.budgets(teams.teams()),
    sharedKey: () => client.sharedKey,
    unsavedSteps: () => accounts.unsaved.size,
    unsavedResults: () => ({ results: results.unsaved.size, bytes: results.unsaved.bytes }),
    breakerOpen: () => client.breaker !== 'closed',
    historyState: () => parts.requestHistory.status.state,
  }
}

/**
 * Builds the recovery of a job whose process died: it polls the job, books it and keeps its result.
 */
export function createResume(parts: BuiltParts): (entry: LedgerEntry) => Promise<void> {
  const pipeline = pipelinePartsOf(parts)
  return async ({ callId, at, resultId, purchase }) => {
    const call = await parts.accounts.ledger.find(callId, at)
    if (call) await settleOrphan({ call, cacheKey: resultId, isKept: purchase !== 'no-store' }, pipeline)
  }
}

function pipelinePartsOf(parts: BuiltParts): QuoteParts {
  const { settings, accounts, slots } = parts
  const { maxPixels, orientation, pixelDigest, stripMetadata } = settings.images
  return {
    results: parts.results,
    images: parts.images,
    flights: parts.flights,
    backgroundPurchases: new Map(),
    leases: parts.leases,
    checkImage: createImageCheck({ maxPixels, orientation }),
    orientation,
    stripMetadata: createMetadataFilter(stripMetadata),
    digestPixels: pixelDigest ? createPixelDigest({ maxPixels }) : undefined,
    account: accounts.account,
    ledger: accounts.ledger,
    slots,
    upstream: parts.client,
    paidFailures: new PaidFailures(performance.now.bind(performance)),
    journal: accounts.journal,
    observer: parts.observer,
    now: parts.now,
    freshSeconds: settings.cache.ttlSeconds,
    staleSeconds: settings.cache.staleSeconds,
    clientTimeoutMs: settings.server.clientTimeoutMs,
    cacheScope: settings.cache.scope,
    coalesce: settings.cache.coalesce,
    estimate: () => accounts.account.price.current(),
    wouldRefuse: (team, imageBytes) => accounts.ledger.wouldRefuse(team, imageBytes),
    queue: team => slots.forecast(team),
  }
}
