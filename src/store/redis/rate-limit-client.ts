import type { Connection, Script } from './connection.js'

type Callback = (error: Error | null, answer?: unknown) => void

/**
 * What `@fastify/rate-limit` needs of a Redis client, as its option `redis`: it defines scripts and calls them by name with a callback.
 * They go through the same gate as everything else, so a frozen Redis fails fast and `skipOnError` lets the request go on.
 */
export interface RateLimitClient {
  defineCommand(name: string, definition: { numberOfKeys: number; lua: string }): void
  [name: string]: unknown
}

/** Builds the client; its keys are put under `<prefix>:`. */
export function createRateLimitClient(connection: Connection, prefix: string): RateLimitClient {
  const client: RateLimitClient = {
    defineCommand(name, { numberOfKeys, lua }) {
      const script = connection.script(name, numberOfKeys, lua)
      client[name] = (...args: unknown[]) => callBack(script, args, { numberOfKeys, prefix })
    },
  }
  return client
}

function callBack(script: Script, args: unknown[], keys: { numberOfKeys: number; prefix: string }): void {
  const answer = args.at(-1) as Callback
  const values = args
    .slice(0, -1)
    .map((value, index) => (index < keys.numberOfKeys ? `${keys.prefix}:${value}` : String(value)))
  script(...values).then(
    value => answer(null, value),
    (error: Error) => answer(error),
  )
}
