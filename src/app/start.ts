import type { AddressInfo } from 'node:net'
import { withDeadline } from '../contracts/deadline.js'
import { buildApp } from '../http/app.js'
import { listenForMetrics } from '../http/server/metrics-listener.js'
import { readSite } from '../http/site/site.js'
import { buildGateway, type Closers, type GatewayOptions } from './build.js'
import { drain, type Unfinished, unfinishedOf } from './drain.js'
import { appPartsOf, createResume, gaugesOf } from './expose.js'
import { type HistoryTimes, openRequestHistory } from './request-history.js'

/**
 * Connections that wait to be accepted. Beyond it the kernel drops them, and clients try again after
 * 1, 3 and 7 s; Node asks for 511. The kernel has a bound of its own (`somaxconn`).
 */
const BACKLOG = 4_096

export interface Gateway {
  /**
   * Addresses for callers and Prometheus on this machine, without a path: `http://127.0.0.1:8080`.
   */
  url: string
  metricsUrl: string
  /** Drains and closes the gateway; see `drain`. Repeated calls share one result. */
  stop(): Promise<Unfinished>
  /** Lists the data that would be lost if the process ended now. */
  unfinished(): Unfinished
}

/** Longest time one part may take to close, for example because its store does not respond. */
const CLOSE_TIMEOUT_MS = 3_000

/**
 * Starts the gateway; resolves once it accepts requests. When it cannot start, closes what was
 * opened and rejects.
 */
export async function startGateway(
  options: GatewayOptions & { historyTimes?: HistoryTimes | undefined },
): Promise<Gateway> {
  const closers: Closers = []
  try {
    const built = await buildGateway(options, closers)
    const parts = { ...built, requestHistory: openRequestHistory(options, built, closers) }
    parts.metrics.observe(gaugesOf(parts))
    const { host, port, metricsHost, metricsPort } = options.settings.server
    const site = options.site ?? (await readSite())
    const app = await buildApp({ ...appPartsOf(parts), site })
    parts.accounts.startRecovery(createResume(parts))
    closers.push(() => parts.results.unsaved.close())
    closers.push(() => app.close())
    const expose = () => parts.metrics.expose()
    const metrics = await listening(
      'METRICS_PORT',
      metricsPort,
      listenForMetrics({ host: metricsHost, port: metricsPort, expose }),
    )
    closers.push(() => metrics.close())
    // Last, because a request may spend credits from here on.
    await listening('PORT', port, app.listen({ host, port, backlog: BACKLOG }))
    let stopping: Promise<Unfinished> | undefined
    return {
      url: localUrl(host, (app.server.address() as AddressInfo).port),
      metricsUrl: localUrl(metricsHost, metrics.port),
      stop: () => {
        stopping ??= drain(app, parts).finally(() => closeAll(closers))
        return stopping
      },
      unfinished: () => unfinishedOf(parts),
    }
  } catch (error) {
    await closeAll(closers)
    throw error
  }
}

/**
 * Closes in reverse order of opening. A part that fails to close, or takes too long, does not stop
 * the others.
 */
async function closeAll(closers: Closers): Promise<void> {
  for (let close = closers.pop(); close; close = closers.pop()) {
    const closed = Promise.resolve().then(close)
    await withDeadline(closed, CLOSE_TIMEOUT_MS, () => undefined).catch(() => undefined)
  }
}

/** Rejects with a message that names the setting when the port is in use. */
async function listening<T>(setting: string, port: number, started: Promise<T>): Promise<T> {
  try {
    return await started
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    const message =
      `${setting} ${port} is in use by another process, perhaps another gateway; ` + `set ${setting} to another port`
    throw new Error(message, { cause: error })
  }
}

function localUrl(host: string, port: number): string {
  const isAny = host === '0.0.0.0' || host === '::'
  const name = isAny ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host
  return `http://${name}:${port}`
}
