import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { Logger } from 'pino'
import { loadSettings, type Settings } from '../config.js'
import { type Gateway, isNothing, startGateway } from '../gateway.js'
import { createLog } from '../log.js'
import type { Tracing } from '../tracing.js'
import { firstTeam } from './first-team.js'
import type { CliIo } from './io.js'
import { startBlock } from './start-block.js'
import { openUpstream } from './upstream.js'

/** `segmind-gateway serve`: runs the gateway until a signal. Rejects with what keeps it from starting. */
export async function run(args: string[], io: CliIo): Promise<number> {
  parseArgs({ args, options: {} })
  const settings = loadSettings(io.env)
  const log = createLog(settings.log.level)
  const started = endOnSignal(log)
  for (const warning of settings.warnings) log.warn(warning)
  const key = await firstTeam(settings, Date.now())
  const tracing = await openTracing(io.env)
  const upstream = await openUpstream(settings)
  try {
    const gateway = await startGateway({ settings, log, upstream, tracing })
    const signal = untilSignal(log, gateway)
    started()
    if (!settings.production || settings.sandbox) io.stdout(startBlock({ ...describe(settings, gateway), key }))
    log.info({ url: gateway.url, metrics: gateway.metricsUrl, sandbox: settings.sandbox }, 'listening')
    await signal
    const unfinished = await gateway.stop()
    log.info('stopped')
    // What nobody waits for any longer would keep the process alive.
    if (!isNothing(unfinished)) process.exit(1)
    return 0
  } finally {
    await tracing?.close().catch(error => log.warn({ err: error }, 'the last traces were not taken'))
    await upstream.close()
  }
}

/** The library is large, and loaded only where somebody wants traces. */
async function openTracing(env: CliIo['env']): Promise<Tracing | undefined> {
  if (!Object.keys(env).some(name => name.startsWith('OTEL_'))) return undefined
  const { tracingOf } = await import('../tracing.js')
  return tracingOf(env)
}

function describe(settings: Settings, gateway: Gateway) {
  const photo = fileURLToPath(new URL('../../examples/photos/coffee.jpg', import.meta.url))
  return {
    url: gateway.url.replace('127.0.0.1', 'localhost'),
    metricsUrl: gateway.metricsUrl.replace('127.0.0.1', 'localhost'),
    upstreamUrl: settings.sandbox ? undefined : settings.segmind.baseUrl,
    photo: relative(process.cwd(), photo),
    hasOperators: settings.teams.adminKey !== undefined,
    store: settings.store.redisUrl ? 'Redis' : `embedded, in ${settings.store.dataDir}`,
  }
}

/** A signal ends a gateway that has not started yet: nothing is under way. As the first process of a container it would not hear it otherwise. */
function endOnSignal(log: Logger): () => void {
  const end = (signal: NodeJS.Signals) => {
    log.info({ signal }, 'stopped before it had started')
    process.exit(0)
  }
  process.on('SIGINT', end)
  process.on('SIGTERM', end)
  return () => {
    process.off('SIGINT', end)
    process.off('SIGTERM', end)
  }
}

/** Resolves at the first SIGINT or SIGTERM; the second one ends the process, saying what that loses. */
function untilSignal(log: Logger, gateway: Gateway): Promise<void> {
  return new Promise(resolve => {
    let isStopping = false
    const onSignal = (signal: NodeJS.Signals) => {
      if (isStopping) {
        const lost = gateway.unfinished()
        const what = isNothing(lost)
          ? 'second signal: ended at once, nothing that was paid for is lost'
          : 'second signal: ended at once; the answers of these paid calls are lost, their charge stays booked'
        log.error({ signal, ...lost }, what)
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
