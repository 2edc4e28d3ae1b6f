import { EventEmitter } from 'node:events'
import { Redis } from 'ioredis'

/**
 * Notifications of one channel, over a connection of its own, since a subscribed connection accepts
 * no other commands. Notifications published while it is down are lost.
 */
export interface Notifications {
  subscribe(name: string, onNotice: () => void): () => void
  close(): void
}

const CONNECT_TIMEOUT_MS = 2_000
const MAX_RECONNECT_DELAY_MS = 1_000

/**
 * Connects with the first subscription and stays connected until closed, without keeping the
 * process alive. Never throws and reports no failures: every subscriber also polls.
 */
export function openNotifications(url: string, channel: string): Notifications {
  const subscribers = new EventEmitter().setMaxListeners(0)
  let isClosed = false
  let stop: (() => void) | undefined
  return {
    subscribe(name, onNotice) {
      if (!isClosed) stop ??= listen(url, channel, message => subscribers.emit(eventOf(message)))
      subscribers.on(eventOf(name), onNotice)
      return () => subscribers.off(eventOf(name), onNotice)
    },
    close() {
      isClosed = true
      stop?.()
    },
  }
}

/** Anyone may publish `error`, which an emitter without listeners throws. */
const eventOf = (name: string) => `notice ${name}`

/**
 * Listens until stopped. Reconnects itself, because the client's own reconnecting keeps the process
 * alive.
 */
function listen(url: string, channel: string, onMessage: (message: string) => void): () => void {
  const redis = new Redis(url, {
    lazyConnect: true,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    connectTimeout: CONNECT_TIMEOUT_MS,
    autoResubscribe: false,
    retryStrategy: () => null,
  })
  let failures = 0
  let timer: NodeJS.Timeout | undefined
  const connect = () => void redis.connect().catch(() => undefined)
  const connectLater = () => {
    timer = setTimeout(connect, Math.min(50 * 2 ** Math.min(failures++, 10), MAX_RECONNECT_DELAY_MS)).unref()
  }
  redis.on('error', () => undefined)
  redis.on('connect', () => redis.stream.unref())
  redis.on('ready', () => {
    const subscribed = redis.subscribe(channel)
    subscribed.then(
      () => {
        failures = 0
      },
      (error: Error) => {
        // A user without the permission to subscribe never gets it. Its subscribers only poll.
        if (error.message.startsWith('NOPERM')) redis.off('end', connectLater)
        redis.disconnect()
      },
    )
  })
  redis.on('message', (_channel, message: string) => onMessage(message))
  redis.on('end', connectLater)
  connect()
  return () => {
    redis.off('end', connectLater)
    clearTimeout(timer)
    redis.disconnect()
    redis.stream?.destroy()
  }
}
