import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Settings } from '../config.js'
import { startSandbox } from '../sandbox/server.js'

/** What a gateway calls; `close` ends what runs only for it. */
export interface OpenUpstream {
  baseUrl: string
  apiKey: string
  close(): Promise<void>
}

/** The key of a sandbox that runs apart: it opens nothing that costs something. */
export const SANDBOX_KEY = 'SG_sandbox'
/** How long such a sandbox may take to start beside the gateway. */
const PATIENCE_MS = 15_000
const PAUSE_MS = 250
const ANSWER_MS = 2_000

/**
 * Segmind with the shared key; without one the sandbox at `SANDBOX_URL`, else the built-in one on a free port of this machine. Rejects when
 * the sandbox that runs apart does not answer within `patienceMs`.
 */
export async function openUpstream(settings: Settings, patienceMs = PATIENCE_MS): Promise<OpenUpstream> {
  const { apiKey, baseUrl } = settings.segmind
  if (!settings.sandbox && apiKey) return { baseUrl, apiKey: apiKey.reveal(), close: async () => {} }
  if (settings.sandboxUrl !== undefined) {
    await untilAnswering(settings.sandboxUrl, patienceMs)
    return { baseUrl: settings.sandboxUrl, apiKey: SANDBOX_KEY, close: async () => {} }
  }
  const sandbox = await startSandbox({ apiKey: `SG_${randomBytes(8).toString('hex')}` })
  return { baseUrl: sandbox.url, apiKey: sandbox.apiKey, close: () => sandbox.close() }
}

/** Asks for its balance, which is free, until it takes the key. */
async function untilAnswering(url: string, patienceMs: number): Promise<void> {
  const endsAt = performance.now() + patienceMs
  for (;;) {
    const problem = await askFor(url)
    if (problem === undefined) return
    if (performance.now() + PAUSE_MS >= endsAt)
      throw new Error(
        `There is no SEGMIND_API_KEY (or SEGMIND_API_KEY_FILE), and no sandbox at SANDBOX_URL: ${problem}. ` +
          'With docker compose, --profile sandbox starts one.',
      )
    await sleep(PAUSE_MS)
  }
}

async function askFor(url: string): Promise<string | undefined> {
  try {
    const signal = AbortSignal.timeout(ANSWER_MS)
    const answer = await fetch(`${url}/v1/get-user-credits`, { headers: { 'x-api-key': SANDBOX_KEY }, signal })
    await answer.body?.cancel()
    return answer.ok ? undefined : `it answered ${answer.status}`
  } catch (error) {
    const { cause } = error as { cause?: NodeJS.ErrnoException }
    return cause?.code ?? (error as Error).message
  }
}
