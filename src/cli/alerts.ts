import { parseArgs } from 'node:util'
import { describeAttempt } from '../alerts/attempt.js'
import { createSigningSecret } from '../alerts/secret.js'
import type { Message } from '../alerts/webhook.js'
import { loadSlices, type Settings } from '../config/index.js'
import type { Clock } from '../contracts/clock.js'
import { defined } from '../contracts/defined.js'
import type { Store } from '../contracts/store.js'
import { type CliIo, type OpenStore, usageError } from './io.js'

export const help = `Tests the alert webhook and prints its signing secret

segmind-gateway alerts test
    Posts one signed message of type test to ALERT_WEBHOOK_URL, without retries, and prints the response.
    Exit code 0 if the receiver accepts it, else 1.
segmind-gateway alerts secret
    Prints the secret that receivers verify signatures with: ALERT_WEBHOOK_SECRET, else the generated one in the store.
    Generates it if there is none.`

export interface AlertsCommandOptions {
  openStore: OpenStore
  now?: Clock
  /** Creates the signal that ends an attempt; for tests. */
  deadline?: (ms: number) => AbortSignal
}

type AlertSlice = Settings['alerts']

/** `segmind-gateway alerts …`. Rejects with an `Error` for the operator. */
export async function run(args: string[], io: CliIo, options: AlertsCommandOptions): Promise<number> {
  const [verb, ...rest] = args
  if (verb !== 'test' && verb !== 'secret') {
    throw usageError(verb === undefined ? 'give test or secret' : `unknown subcommand ${verb}; use test or secret`)
  }
  parseArgs({ args: rest, options: {} })
  const { alerts, store } = loadSlices(io.env, ['alerts', 'store'])
  const withSecret = (use: (secret: () => Promise<string>) => Promise<number>) =>
    withSigningSecret(alerts, () => options.openStore({ store }), use)
  if (verb === 'test') return sendTest(alerts, io, { ...options, withSecret })
  return withSecret(async secret => {
    io.stdout(await secret())
    return 0
  })
}

/** Provides the signing secret. Opens the store only if the secret is kept there. */
async function withSigningSecret(
  { webhookSecret: given }: AlertSlice,
  open: () => Promise<Store>,
  use: (secret: () => Promise<string>) => Promise<number>,
): Promise<number> {
  if (given) return use(async () => given.reveal())
  const store = await open()
  try {
    return await use(createSigningSecret({ records: store.records }))
  } finally {
    await store.close()
  }
}

interface TestOptions extends AlertsCommandOptions {
  withSecret(use: (secret: () => Promise<string>) => Promise<number>): Promise<number>
}

async function sendTest({ webhookUrl }: AlertSlice, io: CliIo, options: TestOptions): Promise<number> {
  if (!webhookUrl) throw new Error('ALERT_WEBHOOK_URL is not set, so there is no webhook to test')
  const { now = Date.now, deadline, withSecret } = options
  const url = webhookUrl.reveal()
  return withSecret(async secret => {
    // Read first, so that a failing store is reported as such.
    const known = await secret()
    // Loaded on demand, because it brings the large HTTP client.
    const { openWebhook } = await import('../alerts/webhook.js')
    const webhook = openWebhook({ url, secret: async () => known, now, ...defined({ deadline }) })
    try {
      const { outcome, last } = await webhook.deliver(testMessage(now()), { pausesMs: [] })
      const report = `${new URL(url).origin} ${last ? describeAttempt(last) : 'was not called'}`
      if (outcome === 'delivered') io.stdout(`${report} after ${last?.durationMs} ms`)
      else io.stderr(report)
      return outcome === 'delivered' ? 0 : 1
    } finally {
      await webhook.close()
    }
  })
}

function testMessage(at: number): Message {
  const text =
    'This is a test of the segmind-gateway alerts. ' +
    'This channel will receive alerts about budgets, credits and the shared key.'
  return { id: `msg_test${at}`, type: 'test', at, data: {}, text }
}
