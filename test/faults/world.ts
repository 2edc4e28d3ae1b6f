import { createHash } from 'node:crypto'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { formatCredits } from '../../src/nanocredits.js'
import { createApiKey } from '../../src/teams/api-key.js'
import { type GatewayProcess, startGatewayProcess } from '../support/gateway-process.js'
import { otherJpeg } from '../support/jpeg.js'
import { type Guardian, guard } from './guardian.js'
import type { FaultEvent, GatewayLife } from './history.js'
import { type DurableRedis, startDurableRedis } from './redis.js'
import { type Behaviour, FIRST_ESTIMATE, GATEWAYS, type Plan, type TeamId, THRIFTY_BUDGET } from './schedule.js'
import { startUpstream, type Upstream } from './upstream.js'

export const PATIENCE_MS = 20_000
/** A job is polled after one second and after two and a half: it needs some time. */
export const TIMEOUT_MS = { v1: 3_000, v2: 5_000 }
export const BUDGETS: Partial<Record<TeamId, number>> = { thrifty: THRIFTY_BUDGET }
const SHUTDOWN_MS = 20_000
const UPSTREAM_KEY = 'SG_00112233aabbccdd'
const AFTERWARDS: Behaviour = { kind: 'normal', delayMs: 100, cost: 1_500_000 }

/** All the processes of one run. */
export interface World {
  plan: Plan
  dir: string
  guardian: Guardian
  redis: DurableRedis
  upstream: Upstream
  seats: Seat[]
  lives: GatewayLife[]
  faults: FaultEvent[]
  images: Buffer[]
  keys: Record<TeamId, string>
  /** Kills everything and removes every trace. */
  end(): Promise<void>
}

/** Where one gateway process after another runs, over the same folder. */
export interface Seat {
  readonly life: GatewayLife | undefined
  /** Absent while none listens. */
  readonly gateway: GatewayProcess | undefined
  start(): Promise<void>
  /** Ends the process and keeps what it said. */
  end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void>
  freeze(): void
  thaw(): void
}

/** Starts everything a plan needs; `logs` gets every line that a gateway writes. */
export async function startWorld(plan: Plan, logs: string[]): Promise<World> {
  const dir = await mkdtemp(join(tmpdir(), 'gateway-faults-'))
  const guardian = guard(dir)
  try {
    return await build(plan, { dir, guardian, logs })
  } catch (error) {
    await guardian.clean()
    throw error
  }
}

interface Place {
  dir: string
  guardian: Guardian
  logs: string[]
}

async function build(plan: Plan, place: Place): Promise<World> {
  const { dir, guardian } = place
  const images = await Promise.all(plan.questions.map(({ image }) => otherJpeg(image)))
  const digests = images.map(image => createHash('sha256').update(image).digest('hex'))
  const upstream = await startUpstream({
    apiKey: UPSTREAM_KEY,
    questionOf: (digest, prompt) => {
      const found = plan.questions.findIndex((asked, index) => digests[index] === digest && asked.prompt === prompt)
      return found < 0 ? undefined : found
    },
    behave: (question, nth) => plan.questions[question]?.behaviours[nth] ?? AFTERWARDS,
  })
  const redis = await startDurableRedis({ dir, guardian })
  const { file, keys } = await writeTeams(dir)
  const lives: GatewayLife[] = []
  const seats = Array.from({ length: GATEWAYS }, (_, gateway) => {
    const env = envOf(plan, { file, redis, data: join(dir, `data-${gateway}`) })
    return openSeat(gateway, { env, upstream, lives, ...place })
  })
  await Promise.all(seats.map(seat => seat.start()))
  return {
    plan,
    dir,
    guardian,
    redis,
    upstream,
    seats,
    lives,
    faults: [],
    images,
    keys,
    async end() {
      await Promise.all(seats.map(seat => seat.end('SIGKILL')))
      await redis.kill()
      await upstream.close()
      await guardian.clean()
    },
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
    CLIENT_TIMEOUT_MS: `${PATIENCE_MS}`,
    QUEUE_TIMEOUT_MS: '5000',
    SHUTDOWN_TIMEOUT_MS: `${SHUTDOWN_MS}`,
    PRICE_ESTIMATE_CREDITS: formatCredits(FIRST_ESTIMATE),
  }
}

async function writeTeams(dir: string): Promise<{ file: string; keys: Record<TeamId, string> }> {
  const made = { free: createApiKey(), thrifty: createApiKey() }
  const teams = Object.entries(made).map(([id, key]) => {
    const budget = BUDGETS[id as TeamId]
    return {
      id,
      limits: { requests_per_minute: 60_000 },
      ...(budget !== undefined && { budget: { daily: budget / 1e9 } }),
      keys: [{ id: key.id, sha256: key.sha256 }],
    }
  })
  const file = join(dir, 'teams.yaml')
  await writeFile(file, stringify({ teams }))
  return { file, keys: { free: made.free.text, thrifty: made.thrifty.text } }
}

interface SeatPlace extends Place {
  env: Record<string, string>
  upstream: Upstream
  lives: GatewayLife[]
}

function openSeat(gateway: number, { env, upstream, lives, guardian, logs }: SeatPlace): Seat {
  let life: GatewayLife | undefined
  let running: GatewayProcess | undefined
  let count = 0
  return {
    get life() {
      return life
    },
    get gateway() {
      return running
    },
    async start() {
      const begun: GatewayLife = { id: `g${gateway}-${count++}`, gateway, startedAt: Date.now() }
      const started = await startGatewayProcess({ ...env, SEGMIND_BASE_URL: upstream.baseUrl(begun.id) })
      const pid = started.child.pid as number
      guardian.watch(pid)
      started.child.once('exit', () => guardian.forget(pid))
      begun.listeningAt = Date.now()
      lives.push(begun)
      life = begun
      running = started
    },
    async end(signal) {
      const [ending, about] = [running, life]
      running = undefined
      if (!ending || !about) return
      if (signal === 'SIGTERM') about.stoppingAt = Date.now()
      const code = await ending.end(signal)
      about.ended = { at: Date.now(), how: signal === 'SIGKILL' ? 'killed' : 'stopped', code }
      about.gaveUp = ending.lines.some(line => line.includes('"msg":"gave up waiting'))
      about.storeLostAt = ending.lines.filter(line => line.includes('"msg":"the store does not answer')).map(timeOf)
      logs.push(...ending.lines.map(line => `${about.id} ${line}`))
    },
    freeze: () => void running?.child.kill('SIGSTOP'),
    thaw: () => void running?.child.kill('SIGCONT'),
  }
}

function timeOf(line: string): number {
  return Date.parse((JSON.parse(line) as { time: string }).time)
}
