import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Settings } from '../config/index.js'
import { startSandbox } from '../sandbox/server.js'

/** The upstream of a gateway. `close` stops a built-in sandbox. */
export interface OpenUpstream {
  baseUrl: string
  apiKey: string
  close(): Promise<void>
}

/** Key of a separate sandbox. It gives access to nothing that costs credits. */
export const SANDBOX_KEY = 'SG_sandbox'
/** Longest start of a separate sandbox. */
const SANDBOX_START_MS = 15_000
const PAUSE_MS = 250
const RESPONSE_MS = 2_000

/**
 * Returns Segmind with the shared key. Without a key, returns the sandbox at `SANDBOX_URL`, or
 * starts the built-in one on a free local port. Rejects when the separate sandbox does not respond
 * within `timeoutMs`.
 */
export async function openUpstream(settings: Settings, timeoutMs = SANDBOX_START_MS): Promise<OpenUpstream> {
  const { apiKey, baseUrl } = settings.segmind
  if (!settings.sandbox && apiKey) return { baseUrl, apiKey: apiKey.reveal(), close: async () => {} }
  if (settings.sandboxUrl !== undefined) {
    await untilResponding(settings.sandboxUrl, timeoutMs)
    return { baseUrl: settings.sandboxUrl, apiKey: SANDBOX_KEY, close: async () => {} }
  }
  const sandbox = await startSandbox({ apiKey: `SG_${randomBytes(8).toString('hex')}` })
  return { baseUrl: sandbox.url, apiKey: sandbox.apiKey, close: () => sandbox.close() }
}

/** Requests the balance until the sandbox responds. */
async function untilResponding(url: string, timeoutMs: number): Promise<void> {
  const endsAt = performance.now() + timeoutMs
  for (;;) {
    const problem = await problemOf(url)
    if (problem === undefined) return
    if (performance.now() + PAUSE_MS >= endsAt)
      throw new Error(
        `SEGMIND_API_KEY (or SEGMIND_API_KEY_FILE) is not set, and no sandbox responds at SANDBOX_URL: ${problem}. ` +
          'With docker compose, --profile sandbox starts one.',
      )
    await sleep(PAUSE_MS)
  }
}

async function problemOf(url: string): Promise<string | undefined> {
  try {
    const signal = AbortSignal.timeout(RESPONSE_MS)
    const init = { headers: { 'x-api-key': SANDBOX_KEY }, redirect: 'manual', signal } as const
    const answer = await fetch(`${url}/v1/get-user-credits`, init)
    const text = await answer.text()
    if (!answer.ok) return `it responded with ${answer.status}`
    return /^\{"credits":/.test(text) ? undefined : 'the server there is not a sandbox'
  } catch (error) {
    const { message, cause } = error as Error & { cause?: NodeJS.ErrnoException }
    return cause?.code ?? cause?.message ?? message
  }
}
