import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { Logger } from 'pino'
import { isNothing } from '../app/drain.js'
import { type Gateway, startGateway } from '../app/start.js'
import { loadSettings, type Settings } from '../config/index.js'
import { folderOf } from '../store/open-store.js'
import { createLog, openLogDestination } from '../telemetry/log.js'
import type { Tracing } from '../telemetry/tracing.js'
import { firstTeam } from './first-team.js'
import type { CliIo } from './io.js'
import { startBlock } from './start-block.js'
import { openUpstream } from './upstream.js'

/** Runs `segmind-gateway serve` until a signal. Rejects when the gateway cannot start. */
export async function run(args: string[], io: CliIo): Promise<number> {
  parseArgs({ args, options: {} })
  const shell = process.ppid
  const settings = loadSettings(io.env)
  const log = createLog(settings.log.level, await openLogDestination(settings.log.format))
  for (const warning of settings.warnings) log.warn(warning)
  const key = await firstTeam(settings, Date.now())
  const started = endOnSignal(log)
  const tracing = await openTracing(io.env)
  const upstream = await openUpstream(settings)
  try {
    const gateway = await startGateway({ settings, log, upstream, tracing })
    const signal = untilSignal(log, gateway)
    if (io.env.npm_lifecycle_event === 'start') endWith(shell)
    started()
    if (!settings.production || settings.sandbox) io.stdout(startBlock({ ...describe(settings, gateway), key }))
    log.info({ url: gateway.url, metrics: gateway.metricsUrl, sandbox: settings.sandbox }, 'listening')
    await signal
    const unfinished = await gateway.stop()
    log.info('stopped')
    // Abandoned work would keep the process alive.
    if (!isNothing(unfinished)) process.exit(1)
    return 0
  } finally {
    await tracing?.close().catch(error => log.warn({ err: error }, 'pending traces were not exported'))
    await upstream.close()
  }
}

/** Starts tracing if an `OTEL_` variable is set. The library is large and loaded only then. */
async function openTracing(env: CliIo['env']): Promise<Tracing | undefined> {
  if (!Object.keys(env).some(name => name.startsWith('OTEL_'))) return undefined
  const { tracingFromEnv } = await import('../telemetry/tracing.js')
  return tracingFromEnv(env)
}

function describe(settings: Settings, gateway: Gateway) {
  const photo = fileURLToPath(new URL('../../examples/photos/coffee.jpg', import.meta.url))
  return {
    url: gateway.url.replace('127.0.0.1', 'localhost'),
    metricsUrl: gateway.metricsUrl.replace('127.0.0.1', 'localhost'),
    upstreamUrl: settings.sandbox ? undefined : settings.segmind.baseUrl,
    sandboxUrl: settings.sandboxUrl,
    photo: relative(process.cwd(), photo),
    hasOperators: settings.teams.adminKey !== undefined,
    store: settings.store.redisUrl ? 'Redis' : `embedded, in ${folderOf(settings.store)}`,
  }
}

/**
 * Ends the process on a signal during the start, when no call is in flight. Without a handler, the
 * first process of a container ignores signals. Returns a function that removes the handlers.
 */
function endOnSignal(log: Logger): () => void {
  const end = (signal: NodeJS.Signals) => {
    log.info({ signal }, 'stopped during start')
    process.exit(0)
  }
  process.on('SIGINT', end)
  process.on('SIGTERM', end)
  return () => {
    process.off('SIGINT', end)
    process.off('SIGTERM', end)
  }
}

const PARENT_CHECK_MS = 1_000

/**
 * Under `npm start`, sends SIGTERM to this process when its parent has ended. npm passes a signal to
 * the shell between them, which ends without passing it on.
 */
function endWith(shell: number): void {
  const timer = setInterval(() => {
    if (process.ppid === shell) return
    clearInterval(timer)
    process.kill(process.pid, 'SIGTERM')
  }, PARENT_CHECK_MS)
  timer.unref()
}

/**
 * Resolves at the first SIGINT or SIGTERM. The second one ends the process and logs which paid
 * calls that loses.
 */
function untilSignal(log: Logger, gateway: Gateway): Promise<void> {
  return new Promise(resolve => {
    let isStopping = false
    const onSignal = (signal: NodeJS.Signals) => {
      if (isStopping) {
        const lost = gateway.unfinished()
        const message = isNothing(lost)
          ? 'second signal: stopped immediately; no paid call is lost'
          : 'second signal: stopped immediately; the results of these paid calls are lost, their charges stay booked'
        log.error({ signal, ...lost }, message)
        process.exit(1)
      }
      isStopping = true
      log.info({ signal }, 'stopping')
      resolve()
    }
    process.on('SIGINT', onSignal)
    process.on('SIGTERM', onSignal)
  })
}
