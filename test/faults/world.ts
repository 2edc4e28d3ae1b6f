import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatCredits } from '../../src/contracts/nanocredits.js'
import { otherJpeg } from '../fixtures/jpeg.js'
import { type GatewayProcess, startGatewayProcess } from '../support/gateway/gateway-process.js'
import { writeTeamsFile } from '../support/gateway/teams-file.js'
import { guard } from '../support/programs/guardian.js'
import type { FaultEvent, GatewayInstance } from './history.js'
import { type DurableRedis, startDurableRedis } from './redis.js'
import { type Behaviour, FIRST_ESTIMATE, GATEWAYS, type Plan, type TeamId, THRIFTY_BUDGET } from './schedule.js'
import { startUpstream, type Upstream } from './upstream.js'

export const CLIENT_TIMEOUT_MS = 20_000
/** Longer for v2: a job is polled after 1 s and 2.5 s. */
export const TIMEOUT_MS = { v1: 3_000, v2: 5_000 }
export const BUDGETS: Partial<Record<TeamId, number>> = { thrifty: THRIFTY_BUDGET }
const SHUTDOWN_MS = 20_000
const UPSTREAM_KEY = 'SG_00112233aabbccdd'
/** Behaviour after the planned ones. */
const DEFAULT_BEHAVIOUR: Behaviour = { kind: 'normal', delayMs: 100, cost: 1_500_000 }

/** All the processes of one run. */
export interface World {
  plan: Plan
  dir: string
  redis: DurableRedis
  upstream: Upstream
  replicas: Replica[]
  instances: GatewayInstance[]
  faults: FaultEvent[]
  images: Buffer[]
  keys: Record<TeamId, string>
  /** Kills every process and removes every file. */
  end(): Promise<void>
}

/** Runs one gateway process after another on the same data folder. */
export interface Replica {
  readonly instance: GatewayInstance | undefined
  /** Absent while no process listens. */
  readonly gateway: GatewayProcess | undefined
  start(): Promise<void>
  /** Ends the process and records its log. */
  end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void>
  freeze(): void
  thaw(): void
  /** Lets its files grow, or not. */
  setDiskFull(isFull: boolean): void
}

/** Starts every process of a plan. `logs` receives every log line of the gateways. */
export async function startWorld(plan: Plan, logs: string[]): Promise<World> {
  const dir = await mkdtemp(join(tmpdir(), 'gateway-faults-'))
  const guardian = guard(dir)
  try {
    return await build(plan, { dir, logs }, () => guardian.clean())
  } catch (error) {
    await guardian.clean()
    throw error
  }
}

interface WorldOptions {
  dir: string
  logs: string[]
}

async function build(plan: Plan, options: WorldOptions, removeFolder: () => Promise<void>): Promise<World> {
  const { dir } = options
  const images = await Promise.all(plan.inputs.map(({ image }) => otherJpeg(image)))
  const digests = images.map(image => createHash('sha256').update(image).digest('hex'))
  const upstream = await startUpstream({
    apiKey: UPSTREAM_KEY,
    inputOf: (digest, prompt) => {
      const found = plan.inputs.findIndex((planned, index) => digests[index] === digest && planned.prompt === prompt)
      return found < 0 ? undefined : found
    },
    behave: (input, nth) => plan.inputs[input]?.behaviours[nth] ?? DEFAULT_BEHAVIOUR,
  })
  const redis = await startDurableRedis(dir)
  const { file, keys } = await writeTeams(dir)
  const instances: GatewayInstance[] = []
  const replicas = Array.from({ length: GATEWAYS }, (_, gateway) => {
    const clockOffsetMs = plan.clockOffsetsMs[gateway] ?? 0
    const env = { ...envOf(plan, { file, redis, data: join(dir, `data-${gateway}`) }), ...clockEnv(clockOffsetMs) }
    return createReplica(gateway, { env, clockOffsetMs, upstream, instances, ...options })
  })
  const end = async () => {
    await Promise.all(replicas.map(replica => replica.end('SIGKILL')))
    await redis.kill()
    await upstream.close()
    await removeFolder()
  }
  try {
    await Promise.all(replicas.map(replica => replica.start()))
  } catch (error) {
    await end()
    throw error
  }
  return {
    plan,
    dir,
    redis,
    upstream,
    replicas,
    instances,
    faults: [],
    images,
    keys,
    end,
  }
}

function envOf(plan: Plan, { file, redis, data }: { file: string; redis: DurableRedis; data: string }) {
  return {
    REDIS_URL: redis.url,
    DATA_DIR: data,
    TEAMS_FILE: file,
    SEGMIND_API: plan.api,
    SEGMIND_API_KEY: UPSTREAM_KEY,
    SEGMIND_TIMEOUT_MS: `${TIMEOUT_MS[plan.api]}`,
    CLIENT_TIMEOUT_MS: `${CLIENT_TIMEOUT_MS}`,
    QUEUE_TIMEOUT_MS: '5000',
    SHUTDOWN_TIMEOUT_MS: `${SHUTDOWN_MS}`,
    PRICE_ESTIMATE_CREDITS: formatCredits(FIRST_ESTIMATE),
  }
}

const SKEWED_CLOCK = new URL('./skewed-clock.js', import.meta.url).href

function clockEnv(offsetMs: number): Record<string, string> {
  return offsetMs === 0 ? {} : { NODE_OPTIONS: `--import=${SKEWED_CLOCK}`, CLOCK_OFFSET_MS: `${offsetMs}` }
}

function writeTeams(dir: string): Promise<{ file: string; keys: Record<TeamId, string> }> {
  const fieldsOf = (id: TeamId) => {
    const budget = BUDGETS[id]
    return { limits: { requests_per_minute: 60_000 }, ...(budget !== undefined && { budget: { daily: budget / 1e9 } }) }
  }
  return writeTeamsFile(dir, { free: fieldsOf('free'), thrifty: fieldsOf('thrifty') })
}

interface ReplicaOptions extends WorldOptions {
  env: Record<string, string>
  clockOffsetMs: number
  upstream: Upstream
  instances: GatewayInstance[]
}

function createReplica(gateway: number, { env, clockOffsetMs, upstream, instances, logs }: ReplicaOptions): Replica {
  let instance: GatewayInstance | undefined
  let running: GatewayProcess | undefined
  let count = 0
  return {
    get instance() {
      return instance
    },
    get gateway() {
      return running
    },
    async start() {
      const next: GatewayInstance = { id: `g${gateway}-${count++}`, gateway, startedAt: Date.now() }
      const started = await startGatewayProcess({ ...env, SEGMIND_BASE_URL: upstream.baseUrl(next.id) })
      next.listeningAt = Date.now()
      instances.push(next)
      instance = next
      running = started
    },
    async end(signal) {
      const [ending, record] = [running, instance]
      running = undefined
      if (!ending || !record) return
      if (signal === 'SIGTERM') record.stoppingAt = Date.now()
      const code = await ending.end(signal)
      record.ended = { at: Date.now(), how: signal === 'SIGKILL' ? 'killed' : 'stopped', code }
      record.stoppedEarly = ending.lines.some(line => line.includes('"msg":"gave up waiting'))
      record.storeLostAt = ending.lines
        .filter(line => line.includes('"msg":"store is unreachable'))
        .map(line => timeOf(line) - clockOffsetMs)
      logs.push(...ending.lines.map(line => `${record.id} ${line}`))
    },
    freeze: () => void running?.child.kill('SIGSTOP'),
    thaw: () => void running?.child.kill('SIGCONT'),
    setDiskFull(isFull) {
      const pid = running?.child.pid
      if (pid !== undefined) execFileSync('prlimit', ['--pid', `${pid}`, `--fsize=${isFull ? '1' : 'unlimited'}:`])
    },
  }
}

function timeOf(line: string): number {
  return Date.parse((JSON.parse(line) as { time: string }).time)
}
