import type { FastifyBaseLogger } from 'fastify'
import sharp from 'sharp'
import { buildGateway, type Closers } from '../../src/app/build.js'
import { drain } from '../../src/app/drain.js'
import { appPartsOf, createResume } from '../../src/app/expose.js'
import { openRequestHistory } from '../../src/app/request-history.js'
import { loadSettings } from '../../src/config/index.js'
import type { StepSpool } from '../../src/contracts/store.js'
import type { App } from '../../src/http/app.js'
import type { PipelineParts } from '../../src/segment/ports.js'
import { createMemorySpool } from '../../src/store/memory-spool.js'
import type { Random } from '../support/random.js'
import { Link, type SharedStore } from './store.js'
import { type Machine, sleep } from './virtual-time.js'

export const ORIGIN = 'http://segmind.test'
export const TEAMS_FILE = '/virtual/teams.yaml'

// libvips reads headers in other threads, whose answers no seed can order.
Object.assign(sharp.prototype, { metadata: async () => ({ format: 'jpeg', width: 64, height: 64 }) })

/** Receives every log line of a replica. */
export type OnLog = (replica: string, level: string, message: string, fields: Record<string, unknown>) => void

/** The disk and the wall clock of a replica. Both outlive its process. */
export interface Host {
  name: string
  skewMs: number
  spool: StepSpool
  starts: number
}

export const createHost = (name: string, skewMs: number): Host => ({
  name,
  skewMs,
  spool: createMemorySpool(),
  starts: 0,
})

export type Replica = Awaited<ReturnType<typeof bootReplica>>

export interface ReplicaOptions {
  store: SharedStore
  random: Random
  env: Record<string, string>
  onLog: OnLog
}

/** The process of a replica. Its parts are booted by `bootReplica`, as an event of its machine. */
export function createProcess(host: Host): Machine {
  return { name: `${host.name}.${++host.starts}`, skewMs: host.skewMs, isDead: false, frozenUntil: 0 }
}

/** Builds all parts of a gateway by its own composition root, without its listeners. */
export async function bootReplica(host: Host, machine: Machine, { store, random, env, onLog }: ReplicaOptions) {
  const link = new Link(store, machine, random)
  const settings = settingsOf(host, env)
  const options = {
    settings,
    log: logOf(machine.name, onLog),
    upstream: { baseUrl: ORIGIN, apiKey: 'SG_0123456789abcdef' },
    openStore: (_settings: unknown, events = {}) => link.open(host.spool, events),
  }
  const closers: Closers = []
  const built = await buildGateway(options, closers)
  // Neither changes here: the teams file is read once a second, the log of purges every two seconds.
  built.teams.stop()
  built.purges.close()
  const parts = { ...built, requestHistory: openRequestHistory(options, built, closers) }
  const { pipeline } = appPartsOf(parts).segmentation.modes.live
  parts.accounts.startRecovery(createResume(parts))
  const open = { requests: 0 }
  return {
    machine,
    open,
    link,
    parts,
    pipeline: pipeline as PipelineParts,
    async stop() {
      const unfinished = await drain(serverOf(open), parts)
      closers.unshift(() => parts.results.unsaved.close())
      for (let close = closers.pop(); close; close = closers.pop()) await close()
      return unfinished
    },
  }
}

const loaded = new Map<string, ReturnType<typeof loadSettings>>()

function settingsOf(host: Host, env: Record<string, string>) {
  const given = { ...env, DATA_DIR: `/virtual/${host.name}`, TEAMS_FILE, SEGMIND_API_KEY: 'SG_0123456789abcdef' }
  const name = JSON.stringify(given)
  const settings = loaded.get(name) ?? loadSettings(given)
  loaded.set(name, settings)
  return settings
}

function logOf(name: string, onLog: OnLog): FastifyBaseLogger {
  const at = (level: string) => (fields: object | string, message?: string) =>
    typeof fields === 'string'
      ? onLog(name, level, fields, {})
      : onLog(name, level, message ?? '', fields as Record<string, unknown>)
  return { info: at('info'), warn: at('warn'), error: at('error'), debug: at('debug') } as unknown as FastifyBaseLogger
}

/** Stands for the HTTP server, whose requests the simulation makes itself. It closes when they have ended. */
function serverOf(open: { requests: number }): App {
  const close = async () => {
    while (open.requests > 0) await sleep(20)
  }
  return {
    close,
    openRequests: () => open.requests,
    server: { closeAllConnections: () => undefined },
  } as unknown as App
}
