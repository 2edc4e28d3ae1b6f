import { parseArgs } from 'node:util'
import { describeAttempt } from '../alerts/attempt.js'
import { createSigningSecret } from '../alerts/secret.js'
import type { Message } from '../alerts/webhook.js'
import { loadSlices, type Settings } from '../config.js'
import type { Store } from '../storage.js'
import { type CliIo, usageError } from './io.js'

export const help = `Tests the webhook that alerts go to, and tells its signing secret

segmind-gateway alerts test
    Posts one signed message of type test to ALERT_WEBHOOK_URL, once, and tells what was answered.
    Ends with 0 when the receiver takes it, else with 1.
segmind-gateway alerts secret
    Prints the secret that receivers check signatures with: ALERT_WEBHOOK_SECRET, else the one in the store, which is made when there is none.`

/** Opens the store that the settings name; `main.ts` knows the stores. */
export type OpenStore = (settings: Pick<Settings, 'store'>) => Promise<Store>

export interface AlertsSurroundings {
  openStore: OpenStore
  now?: () => number
  /** For tests: the signal that ends an attempt. */
  deadline?: (ms: number) => AbortSignal
}

type Alerts = Settings['alerts']

/** `segmind-gateway alerts …`. Rejects with an `Error` for people. */
export async function run(args: string[], io: CliIo, surroundings: AlertsSurroundings): Promise<number> {
  const [verb, ...rest] = args
  if (verb !== 'test' && verb !== 'secret') {
    throw usageError(verb === undefined ? 'test or secret?' : `there is no alerts ${verb}: test or secret`)
  }
  parseArgs({ args: rest, options: {} })
  const { alerts, store } = loadSlices(io.env, ['alerts', 'store'])
  const withSecret = (use: (secret: () => Promise<string>) => Promise<number>) =>
    withRecords(alerts, () => surroundings.openStore({ store }), use)
  if (verb === 'test') return sendTest(alerts, io, { ...surroundings, withSecret })
  return withSecret(async secret => {
    io.stdout(await secret())
    return 0
  })
}

/** The store is opened only where the secret lies in it. */
async function withRecords(
  { webhookSecret: given }: Alerts,
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

interface TestSurroundings extends AlertsSurroundings {
  withSecret(use: (secret: () => Promise<string>) => Promise<number>): Promise<number>
}

async function sendTest({ webhookUrl }: Alerts, io: CliIo, surroundings: TestSurroundings): Promise<number> {
  if (!webhookUrl) throw new Error('ALERT_WEBHOOK_URL is not set: alerts go nowhere')
  const { now = Date.now, deadline, withSecret } = surroundings
  const url = webhookUrl.reveal()
  return withSecret(async secret => {
    // Asked for first, so that a store that is down is said to be down.
    const known = await secret()
    // Loaded when it is needed: with it comes the HTTP client, which is large.
    const { openWebhook } = await import('../alerts/webhook.js')
    const webhook = openWebhook({ url, secret: async () => known, now, ...(deadline && { deadline }) })
    try {
      const { outcome, last } = await webhook.deliver(testMessage(now()), { pausesMs: [] })
      const said = `${new URL(url).origin} ${last ? describeAttempt(last) : 'was not asked'}`
      if (outcome === 'delivered') io.stdout(`${said} after ${last?.durationMs} ms`)
      else io.stderr(said)
      return outcome === 'delivered' ? 0 : 1
    } finally {
      await webhook.close()
    }
  })
}

function testMessage(at: number): Message {
  const text =
    'This is a test of the alerts of segmind-gateway: whoever reads it will hear about budgets, credits and the shared key.'
  return { id: `msg_test${at}`, type: 'test', at, data: {}, text }
}
