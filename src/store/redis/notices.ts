import { Redis } from 'ioredis'
import { createWatchers } from '../watchers.js'

/** Tells what is published on one channel, over a connection of its own: one that listens cannot be asked. A notice may be missed while it is down. */
export interface Notices {
  watch(name: string, onNotice: () => void): () => void
  close(): void
}

const CONNECT_TIMEOUT_MS = 2_000
const MAX_RECONNECT_DELAY_MS = 1_000

/**
 * Connects when somebody watches for the first time, and for ever after that, but keeps no process alive. Never throws and has nothing
 * to report: whoever watches looks by itself too.
 */
export function listenForNotices(url: string, channel: string): Notices {
  const watchers = createWatchers()
  let isClosed = false
  let stop: (() => void) | undefined
  return {
    watch(name, onNotice) {
      if (!isClosed) stop ??= subscribe(url, channel, watchers.tell)
      return watchers.watch(name, onNotice)
    },
    close() {
      isClosed = true
      stop?.()
    },
  }
}

/** Stays subscribed until it is stopped. The client's own reconnecting would keep the process alive, so it is done here. */
function subscribe(url: string, channel: string, onMessage: (message: string) => void): () => void {
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
        // A user that may not listen never may: whoever waits looks.
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
