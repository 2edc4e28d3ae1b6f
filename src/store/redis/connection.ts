import type { Socket } from 'node:net'
import { Redis } from 'ioredis'
import { createGate, type Gate, type Movement } from './gate.js'

export interface ConnectionOptions {
  /** `redis://` or `rediss://`. */
  url: string
  /** How long nothing may move while a command waits, before Redis counts as frozen. Default 200. */
  commandSilenceMs?: number
  /** How long the connection may stay silent before it is given up and made anew. Default 3000. */
  reconnectSilenceMs?: number
  /** Redis answers (again). */
  onUp?(): void
  /** Redis stopped answering, with the reason; once, until it answers again. */
  onDown?(reason: string): void
}

/** What a script is called with: its keys, then its arguments. */
export type Script = (...keysAndArguments: (string | number | Buffer)[]) => Promise<unknown>

export interface Connection {
  run<T>(command: (redis: Redis) => Promise<T>): Promise<T>
  /** A Lua script as a command; it is loaded again by itself where Redis lost it. */
  script(name: string, numberOfKeys: number, lua: string): Script
  /** The same for one that is called with the number of its keys before them. */
  variadicScript(name: string, lua: string): Script
  isUp(): boolean
  /** Lets commands that wait end, then disconnects. */
  close(): Promise<void>
}

const PROBE_MS = 250
const CONNECT_TIMEOUT_MS = 2_000
const MAX_RECONNECT_DELAY_MS = 1_000
const FIRST_ANSWER_MS = 1_000

/**
 * Connects to Redis and stays at it for ever. Resolves when Redis answered, could not be reached, or did neither for a second:
 * a gateway starts without its Redis. Throws for a URL that is not one.
 */
export async function connect(options: ConnectionOptions): Promise<Connection> {
  const redis = new Redis(checkedUrl(options.url), {
    lazyConnect: true,
    enableOfflineQueue: false,
    // With 0, a command is failed when its connection ends, and never sent a second time on the next one.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    connectTimeout: CONNECT_TIMEOUT_MS,
    disconnectTimeout: 100,
    retryStrategy: attempt =>
      Math.min(50 * 2 ** Math.min(attempt, 10), MAX_RECONNECT_DELAY_MS) * (0.75 + Math.random() / 4),
    // A replica that took over from its primary says so on the next write: connect again to where the name points now.
    reconnectOnError: error => error.message.startsWith('READONLY'),
  })
  const line = superviseLine(redis, options)
  await firstAnswer(redis)
  return {
    run: command => line.gate.run(() => command(redis)),
    script: (name, numberOfKeys, lua) => defineScript(redis, line.gate, { name, numberOfKeys, lua }),
    variadicScript: (name, lua) => defineScript(redis, line.gate, { name, lua }),
    isUp: () => line.gate.isOpen(),
    async close() {
      await line.gate.idle()
      line.end()
      redis.disconnect()
      redis.stream?.destroy()
    },
  }
}

function checkedUrl(url: string): string {
  if (!/^rediss?:\/\/\S+$/.test(url)) throw new Error('the address of Redis must begin with redis:// or rediss://')
  return url
}

function firstAnswer(redis: Redis): Promise<void> {
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

/** Ties the gate to what happens on the line, and looks after a line that is down. */
function superviseLine(redis: Redis, options: ConnectionOptions) {
  const { commandSilenceMs = 200, reconnectSilenceMs = 3_000 } = options
  let announced: 'up' | 'down' | 'nothing' = 'nothing'
  let lastError = ''
  let ended = false

  const goUp = (): void => {
    if (ended) return
    lastError = ''
    gate.open()
    if (announced !== 'up') options.onUp?.()
    announced = 'up'
  }
  const goDown = (reason: string): void => {
    if (ended) return
    gate.shut(reason)
    if (announced !== 'down') options.onDown?.(reason)
    announced = 'down'
  }
  const gate = createGate({
    silenceMs: commandSilenceMs,
    movement: () => movementOn(redis.stream),
    onSilent: () => goDown(`Redis has been silent for ${commandSilenceMs} ms`),
  })
  const healer = createHealer(redis, { reconnectSilenceMs, isUp: () => gate.isOpen(), goUp })

  redis.on('error', (error: Error) => {
    lastError = error.message
  })
  redis.on('ready', goUp)
  redis.on('close', () => goDown(lastError === '' ? 'Redis is not connected' : `Redis is not connected: ${lastError}`))
  return {
    gate,
    end(): void {
      ended = true
      healer.stop()
      gate.shut('the store is closed')
    },
  }
}

/**
 * While Redis is down: asks it with a PING whether it is back, and gives up a line that stays silent, since half-open TCP never
 * heals by itself. One PING is enough: answers come in order, so it is answered once everything stuck before it is.
 */
function createHealer(redis: Redis, line: { reconnectSilenceMs: number; isUp(): boolean; goUp(): void }) {
  let asked: Socket | undefined
  let mark = ''
  let movedAt = performance.now()

  const probe = (stream: Socket): void => {
    asked = stream
    const answered = () => {
      if (asked === stream) asked = undefined
      if (!stream.destroyed && redis.status === 'ready') line.goUp()
    }
    redis.ping().then(answered, () => {
      if (asked === stream) asked = undefined
    })
  }

  const timer = setInterval(() => {
    const stream = redis.stream as Socket | undefined
    const now = performance.now()
    const moved = movementOn(stream).mark
    if (line.isUp() || moved !== mark || !stream || stream.destroyed || stream.connecting) movedAt = now
    mark = moved
    if (line.isUp() || !stream || stream.destroyed) return
    if (redis.status === 'ready' && asked !== stream) probe(stream)
    if (now - movedAt > line.reconnectSilenceMs) stream.destroy()
  }, PROBE_MS)
  timer.unref()
  return { stop: () => clearInterval(timer) }
}

/**
 * Bytes that come in show that Redis lives. Bytes that go out do so only while the system holds some of ours back: then each one it
 * takes is one that the other end read, so a large value on its way out is no silence. Without such a backlog they say nothing.
 */
function movementOn(stream: Socket | undefined): Movement {
  if (!stream) return { mark: '', receivedBytes: 0, sentBytes: 0 }
  const { localPort, bytesRead: receivedBytes, writableLength } = stream
  const sentBytes = stream.bytesWritten ?? 0
  const mark = `${localPort}:${receivedBytes}`
  if (writableLength === 0) return { mark, receivedBytes, sentBytes }
  const held = (stream as unknown as { _handle?: { writeQueueSize?: number } })._handle?.writeQueueSize ?? 0
  return { mark: `${mark}:${sentBytes - writableLength}:${held}`, receivedBytes, sentBytes }
}
