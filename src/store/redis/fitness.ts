import type { Redis } from 'ioredis'

/**
 * Writes and reads a record like the ledger's. KEYS[1]: the record. ARGV: its value.
 */
const PROBE = `
redis.call('SET', KEYS[1], ARGV[1])
return redis.call('GET', KEYS[1])
`

/** Reasons why a Redis that answers cannot serve, by the code of its error. */
const REASONS: readonly [code: RegExp, reason: string][] = [
  [/\bREADONLY\b/, 'Redis is a read-only replica'],
  [/\bOOM\b/, 'Redis is full: it has reached maxmemory and can evict nothing'],
  [/\bNOPERM\b/, 'the Redis user has no permission for the keys or the commands of the gateway'],
  [/\bMISCONF\b/, 'Redis refuses writes because it cannot write to its disk'],
  [/\b(MOVED|ASK|CLUSTERDOWN|CROSSSLOT)\b/, 'Redis is a node of a cluster, which is not supported'],
]

export interface Fitness {
  /** Why Redis cannot serve; undefined when it can, or before the first verification. */
  readonly refusal: string | undefined
  /**
   * True while Redis may evict keys without a time to live, and with them the ledger. Stays as it was
   * while `INFO` fails.
   */
  readonly mayEvict: boolean
  /** Writes, reads and reads the policy. Never rejects. */
  verify(): Promise<void>
  stop(): void
}

export interface FitnessOptions {
  redis: Redis
  /** A key that needs the same permissions as the ledger's. */
  probeKey: string
  /** Runs a command while Redis is connected. */
  run<T>(command: () => Promise<T>): Promise<T>
  isConnected(): boolean
  /** Interval of the checks, milliseconds. Default 1000. */
  checkMs?: number | undefined
  /** Called once, when the user has no permission for `INFO`. */
  onPolicyUnreadable?: ((warning: string) => void) | undefined
  /** Called after each verification that Redis answered. */
  onVerified(refusal: string | undefined): void
}

const UNREADABLE =
  'the Redis user has no permission for INFO, so a policy that may evict the ledger (allkeys-*) is not noticed'
const CHECK_MS = 1_000
/** Checks between two verifications of a Redis that can serve. */
const CHECKS = 10

/**
 * Verifies that Redis can serve: every ten seconds, and every second while it cannot or may evict
 * the ledger. A connection alone proves little: a replica is read-only, a full Redis refuses writes,
 * a user lacks permissions.
 */
export function superviseFitness(options: FitnessOptions): Fitness {
  const { redis, probeKey, run, isConnected, checkMs = CHECK_MS, onVerified } = options
  redis.defineCommand('gatewayProbe', { numberOfKeys: 1, lua: PROBE })
  const probe = redis as unknown as { gatewayProbe(key: string, value: string): Promise<unknown> }
  const state = { refusal: undefined as string | undefined, mayEvict: false, isUnreadable: false, checks: 0 }
  let verifying: Promise<void> | undefined

  const reportUnreadable = (error: Error): undefined => {
    if (state.isUnreadable || !/\bNOPERM\b/.test(error.message)) return
    state.isUnreadable = true
    options.onPolicyUnreadable?.(UNREADABLE)
  }
  const verify = async (): Promise<void> => {
    state.checks = 0
    const written = run(() => probe.gatewayProbe(probeKey, String(Date.now())))
    const refusal = await written.then(
      () => undefined,
      (error: Error) => reasonOf(error.message),
    )
    const info = await run(() => redis.info()).catch(reportUnreadable)
    if (!isConnected()) return
    if (info !== undefined) state.mayEvict = isEvicting(info)
    state.refusal = info !== undefined && /^cluster_enabled:1/m.test(info) ? reasonOf('MOVED') : refusal
    onVerified(state.refusal)
  }

  const timer = setInterval(() => {
    const isInDoubt = state.refusal !== undefined || state.mayEvict
    if (isConnected() && (isInDoubt || ++state.checks >= CHECKS)) void fitness.verify()
  }, checkMs).unref()

  const fitness: Fitness = {
    get refusal() {
      return state.refusal
    },
    get mayEvict() {
      return state.mayEvict
    },
    verify() {
      verifying ??= verify().finally(() => {
        verifying = undefined
      })
      return verifying
    },
    stop: () => clearInterval(timer),
  }
  return fitness
}

function reasonOf(message: string): string {
  return REASONS.find(([code]) => code.test(message))?.[1] ?? `Redis refuses to write: ${message}`
}

/** Reads `INFO`, which needs no permission for CONFIG. */
function isEvicting(info: string): boolean {
  const maxmemory = Number(/^maxmemory:(\d+)/m.exec(info)?.[1] ?? 0)
  return maxmemory > 0 && /^maxmemory_policy:allkeys-/m.test(info)
}
