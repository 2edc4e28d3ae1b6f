import type { Socket } from 'node:net'
import { Redis } from 'ioredis'
import { superviseFitness } from './fitness.js'
import { createGate, type Gate, type Traffic } from './gate.js'

export interface ConnectionOptions {
  /** `redis://` or `rediss://`. */
  url: string
  /** Silence, while a command waits, after which Redis counts as frozen. Default 200. */
  commandSilenceMs?: number
  /** Silence after which the connection is closed and opened again. Default 3000. */
  reconnectSilenceMs?: number
  /** A key that needs the same permissions as the ledger's. */
  probeKey: string
  /** Interval of the checks that Redis can serve. Default 1000; one in ten writes, while it can. */
  checkMs?: number
  /** Called when Redis can serve, at first and after each outage. */
  onUp?(): void
  /** Called once, when the user has no permission to read the policy of evictions. */
  onPolicyUnreadable?(warning: string): void
  /** Called once, with the reason, when Redis stops answering, or answers but cannot serve. */
  onDown?(reason: string): void
}

/** Calls a Lua script with its keys, then its arguments. */
type Script = (...keysAndArguments: (string | number | Buffer)[]) => Promise<unknown>

export interface RedisConnection {
  run<T>(command: (redis: Redis) => Promise<T>): Promise<T>
  /** Defines a Lua script as a command. The client loads it again if Redis lost it. */
  script(name: string, numberOfKeys: number, lua: string): Script
  /** Defines a script whose calls begin with their number of keys. */
  variadicScript(name: string, lua: string): Script
  /** Returns whether Redis answers and can write. While it only answers, reads go on. */
  isUp(): boolean
  /** Returns whether Redis may evict the ledger. */
  mayEvict(): boolean
  /** Waits for commands under way, then disconnects. */
  close(): Promise<void>
}

const PROBE_MS = 250
const CONNECT_TIMEOUT_MS = 2_000
const MAX_RECONNECT_DELAY_MS = 1_000
const FIRST_ANSWER_MS = 1_000
/** A replica refuses writes after each new connection, so the next one must not follow at once. */
const READONLY_RECONNECT_MS = 5_000

/**
 * Connects to Redis and reconnects until closed. Resolves when Redis answers or refuses, or after
 * one second: a gateway starts without its Redis. Throws for a malformed URL.
 */
export async function connect(options: ConnectionOptions): Promise<RedisConnection> {
  let replacedAt = Number.NEGATIVE_INFINITY
  const redis = new Redis(checkUrl(options.url), {
    lazyConnect: true,
    enableOfflineQueue: false,
    // With 0 retries, a command fails when its connection ends, and is never sent again on the next
    // one.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    connectTimeout: CONNECT_TIMEOUT_MS,
    disconnectTimeout: 100,
    retryStrategy: attempt =>
      Math.min(50 * 2 ** Math.min(attempt, 10), MAX_RECONNECT_DELAY_MS) * (0.75 + Math.random() / 4),
    // After a failover the old primary refuses writes: reconnect to where its name points now.
    reconnectOnError(error) {
      if (!error.message.startsWith('READONLY') || performance.now() - replacedAt < READONLY_RECONNECT_MS) return false
      replacedAt = performance.now()
      return true
    },
  })
  const { gate, fitness, stop } = superviseConnection(redis, options)
  await waitForFirstAnswer(redis)
  if (gate.isOpen()) await fitness.verify()
  return {
    run: command => gate.run(() => command(redis)),
    script: (name, numberOfKeys, lua) => defineScript(redis, gate, { name, numberOfKeys, lua }),
    variadicScript: (name, lua) => defineScript(redis, gate, { name, lua }),
    isUp: () => gate.isOpen() && fitness.refusal === undefined,
    mayEvict: () => fitness.mayEvict,
    async close() {
      await gate.idle()
      stop()
      redis.disconnect()
      redis.stream?.destroy()
    },
  }
}

function checkUrl(url: string): string {
  if (!/^rediss?:\/\/\S+$/.test(url)) throw new Error('the address of Redis must begin with redis:// or rediss://')
  return url
}

function waitForFirstAnswer(redis: Redis): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(resolve, FIRST_ANSWER_MS)
    const done = () => {
      clearTimeout(timer)
      resolve()
    }
    redis.once('ready', done)
    redis.once('close', done)
    redis.connect().catch(() => undefined)
  })
}

function defineScript(
  redis: Redis,
  gate: Gate,
  { name, ...script }: { name: string; numberOfKeys?: number; lua: string },
): Script {
  redis.defineCommand(name, script)
  const commands = redis as unknown as Record<string, Script>
  return (...keysAndArguments) => gate.run(() => (commands[name] as Script)(...keysAndArguments))
}

/**
 * Opens and closes the gate with the connection, and starts the recovery of a connection that is
 * down.
 */
function superviseConnection(redis: Redis, options: ConnectionOptions) {
  const { commandSilenceMs = 200, reconnectSilenceMs = 3_000 } = options
  let announced: 'up' | 'down' | 'nothing' = 'nothing'
  let lastError = ''
  let isStopped = false

  const announce = (refusal: string | undefined): void => {
    if (isStopped) return
    const next = refusal === undefined ? 'up' : 'down'
    if (announced === next) return
    announced = next
    if (refusal === undefined) options.onUp?.()
    else options.onDown?.(refusal)
  }
  const goUp = (): void => {
    if (isStopped) return
    lastError = ''
    gate.open()
    void fitness.verify()
  }
  const goDown = (reason: string): void => {
    if (isStopped) return
    gate.close(reason)
    announce(reason)
  }
  const gate = createGate({
    silenceMs: commandSilenceMs,
    traffic: () => readTraffic(redis.stream),
    onSilent: () => goDown(`Redis has been silent for ${commandSilenceMs} ms`),
  })
  const fitness = superviseFitness({
    redis,
    probeKey: options.probeKey,
    checkMs: options.checkMs,
    run: command => gate.run(command),
    isConnected: () => !isStopped && gate.isOpen(),
    onPolicyUnreadable: options.onPolicyUnreadable,
    onVerified: announce,
  })
  const probe = startRecoveryProbe(redis, { reconnectSilenceMs, isUp: () => gate.isOpen(), goUp })

  redis.on('error', (error: Error) => {
    lastError = error.message
  })
  redis.on('ready', goUp)
  redis.on('close', () => goDown(lastError === '' ? 'Redis is not connected' : `Redis is not connected: ${lastError}`))
  return {
    gate,
    fitness,
    stop(): void {
      isStopped = true
      fitness.stop()
      probe.stop()
      gate.close('the store is closed')
    },
  }
}

/**
 * While Redis is down, sends a PING to learn when it is back, and destroys a connection that stays
 * silent, because half-open TCP never recovers. One PING is enough: Redis answers in order, so the
 * PING is answered after every command stuck before it.
 */
function startRecoveryProbe(
  redis: Redis,
  { reconnectSilenceMs, isUp, goUp }: { reconnectSilenceMs: number; isUp(): boolean; goUp(): void },
) {
  let probed: Socket | undefined
  let fingerprint = ''
  let movedAt = performance.now()

  const sendPing = (stream: Socket): void => {
    probed = stream
    const forget = () => {
      if (probed === stream) probed = undefined
    }
    redis.ping().then(() => {
      forget()
      if (!stream.destroyed && redis.status === 'ready') goUp()
    }, forget)
  }

  const timer = setInterval(() => {
    const stream = redis.stream as Socket | undefined
    const now = performance.now()
    const current = readTraffic(stream).fingerprint
    if (isUp() || current !== fingerprint || !stream || stream.destroyed || stream.connecting) movedAt = now
    fingerprint = current
    if (isUp() || !stream || stream.destroyed) return
    if (redis.status === 'ready' && probed !== stream) sendPing(stream)
    if (now - movedAt > reconnectSilenceMs) stream.destroy()
  }, PROBE_MS)
  timer.unref()
  return { stop: () => clearInterval(timer) }
}

/**
 * Reads the traffic of a connection. Received bytes show that Redis lives. Sent bytes show it only
 * while the system holds some of them back: then every byte that leaves was read by the other end,
 * so a large value under way is no silence. Without such a backlog, sent bytes prove nothing and
 * are left out.
 */
function readTraffic(stream: Socket | undefined): Traffic {
  if (!stream) return { fingerprint: '', receivedBytes: 0, sentBytes: 0 }
  const { localPort, bytesRead: receivedBytes, writableLength } = stream
  const sentBytes = stream.bytesWritten ?? 0
  const fingerprint = `${localPort}:${receivedBytes}`
  if (writableLength === 0) return { fingerprint, receivedBytes, sentBytes }
  const queued = (stream as unknown as { _handle?: { writeQueueSize?: number } })._handle?.writeQueueSize ?? 0
  return { fingerprint: `${fingerprint}:${sentBytes - writableLength}:${queued}`, receivedBytes, sentBytes }
}
