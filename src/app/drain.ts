import { setImmediate as nextTick, setTimeout as sleep } from 'node:timers/promises'
import { withDeadline } from '../contracts/deadline.js'
import type { App } from '../http/app.js'
import type { GatewayParts } from './build.js'

/**
 * Paid work that is not safe yet: calls in flight, results no store has, ledger steps that exist
 * only in memory.
 */
export interface Unfinished {
  calls: { callId: string; team: string; requestId: string; resultId: string }[]
  results: string[]
  ledgerSteps: number
}

export function isNothing({ calls, results, ledgerSteps }: Unfinished): boolean {
  return calls.length === 0 && results.length === 0 && ledgerSteps === 0
}

/** Lists the data that would be lost if the process ended now. */
export function unfinishedOf({ accounts, results }: GatewayParts): Unfinished {
  const calls = accounts.ledger.callsInFlight()
  return {
    calls: calls.map(({ callId, team, requestId, resultId }) => ({ callId, team, requestId, resultId })),
    results: results.unsaved.keys,
    ledgerSteps: accounts.unsaved.volatileSize,
  }
}

const POLL_MS = 50
const FLUSH_EVERY_MS = 250
/** Longest wait for the request of a connection that was accepted last. */
const LAST_REQUEST_MS = 1_000

/**
 * Drains the gateway: leaves the load balancer, refuses new requests, finishes paid calls, and
 * writes results and ledger steps that wait for the store. Gives up after `SHUTDOWN_TIMEOUT_MS`;
 * returns what had not ended by then.
 */
export async function drain(app: App, parts: GatewayParts): Promise<Unfinished> {
  const { log, flights, settings, lifecycle } = parts
  const deadline = performance.now() + settings.server.shutdownTimeoutMs
  const { ended } = await leave(app, parts)
  lifecycle.isDraining = true
  if (flights.size > 0) log.info({ paidCalls: flights.size }, 'finishing paid calls')
  await before(deadline, flights.idle())
  // An upload that was still arriving may have started a purchase.
  const closed = Promise.all([ended, app.close()]).then(() => flights.idle())
  void closeIdleConnections(app, deadline)
  await before(deadline, closed)
  await flush(parts, deadline)
  const unfinished = unfinishedOf(parts)
  if (!isNothing(unfinished))
    log.error(unfinished, 'gave up waiting for paid calls: their results are lost, their charges stay booked')
  app.server.closeAllConnections()
  return unfinished
}

/**
 * Serves on for `SHUTDOWN_DELAY_MS` while `/readyz` is 503 and every response ends its connection,
 * then stops listening. `ended` resolves once no connection is left.
 */
async function leave(app: App, { log, settings, lifecycle }: GatewayParts): Promise<{ ended?: Promise<void> }> {
  const { shutdownDelayMs, shutdownTimeoutMs } = settings.server
  lifecycle.isLeaving = true
  if (shutdownDelayMs === 0) return {}
  log.info({ delayMs: shutdownDelayMs }, 'serving requests until load balancers have moved on')
  await sleep(Math.min(shutdownDelayMs, shutdownTimeoutMs))
  await acceptQueued(app)
  const ended = new Promise<void>(resolve => app.server.close(() => resolve()))
  await withDeadline(ended, LAST_REQUEST_MS, () => undefined)
  return { ended }
}

/** Accepts connections that wait in the kernel: closing the listener would reset them. */
async function acceptQueued({ server }: App): Promise<void> {
  let hasAccepted = true
  const onConnection = () => {
    hasAccepted = true
  }
  server.on('connection', onConnection)
  while (hasAccepted) {
    hasAccepted = false
    await nextTick()
  }
  server.off('connection', onConnection)
}

/** Waits for `work` until the deadline (`performance.now()`), whichever comes first. */
function before(deadline: number, work: Promise<unknown>): Promise<unknown> {
  return withDeadline(work, deadline - performance.now(), () => undefined)
}

/**
 * A connection that never sent a byte counts as busy for Node, so `close` would wait for it until
 * the deadline.
 */
async function closeIdleConnections(app: App, deadline: number): Promise<void> {
  while (app.openRequests() > 0 && performance.now() < deadline) await sleep(POLL_MS)
  app.server.closeAllConnections()
}

/**
 * Writes what waits for the store, which may be coming back. Starts one attempt even after the
 * deadline.
 */
async function flush(parts: GatewayParts, deadline: number): Promise<void> {
  const { results, accounts, log } = parts
  if (results.unsaved.size > 0)
    log.info({ results: results.unsaved.size }, 'waiting for the store to accept paid results')
  for (;;) {
    await before(deadline, Promise.all([results.unsaved.flush(), accounts.unsaved.flush()]))
    const unfinished = unfinishedOf(parts)
    const isWritten = unfinished.results.length === 0 && unfinished.ledgerSteps === 0
    if (isWritten || performance.now() >= deadline) return
    await before(deadline, sleep(FLUSH_EVERY_MS))
  }
}
