import { TransferMemory } from '../../src/http/receive/transfer-memory.js'
import { smallJpeg } from '../fixtures/odd-images.js'
import { eventually } from '../support/eventually.js'
import type { Contract } from '../support/gateway/contract.js'
import { startTestGateway, type TestGateway } from '../support/gateway/gateway.js'
import type { Answer } from '../support/gateway/raw-client.js'
import { type Exchanged, exchange, type FuzzRequest } from './wire.js'

/** The gateway that serves many cases, with its fake Segmind. */
export interface World {
  gateway: TestGateway
  contract: Contract
  image: Buffer
  /** Set by a case that leaves the gateway in a state that others must not begin with. */
  isSpent: boolean
  /** Moves the clock of the gateway forward. */
  advance(ms: number): void
  /**
   * Sends a request and lists what is wrong with its answer. A status of 500 or more needs a code
   * of `mayFail`.
   */
  judge(request: FuzzRequest, mayFail?: readonly string[]): Promise<Exchanged & { problems: string[] }>
  /** Lists what is wrong with the gateway after a group of cases. */
  problemsAtRest(): Promise<string[]>
  stop(): Promise<void>
}

export const ADMIN_KEY = 'an-operators-key'
const TIMEOUT_MS = '3000'
/** Errors with a status of 500 or more that a request can ask for while Segmind works. */
export const REQUESTED: readonly string[] = ['not_cached', 'upstream_slow']
/** Errors of the log that a case causes on purpose. */
const EXPECTED_LOG = /^teams file refused/

/** Starts a gateway whose clock `advance` moves. */
export async function startWorld(contract: Contract): Promise<World> {
  const realNow = Date.now
  let aheadMs = 0
  Date.now = () => realNow() + aheadMs
  const memories = new Set<TransferMemory>()
  const { hold } = TransferMemory.prototype
  TransferMemory.prototype.hold = function (...args) {
    memories.add(this)
    return hold.apply(this, args)
  }
  const gateway = await startTestGateway({
    env: {
      ADMIN_KEY,
      SEGMIND_TIMEOUT_MS: TIMEOUT_MS,
      MAX_IMAGE_BYTES: '64KiB',
      IMAGE_URL_HOSTS: 'images.invalid',
    },
    teams: {
      vision: { limits: { requests_per_minute: 1_000_000 } },
      poor: { budget: { daily: 0 } },
      gone: { disabled: true },
    },
  })
  const image = await smallJpeg()
  const secrets = secretsOf(gateway, image)
  let logLength = 0

  const logProblems = (): string[] => {
    const text = gateway.logText().slice(logLength)
    logLength += text.length
    const lines = text.split('\n').filter(line => line !== '')
    return [
      ...leaksIn(text, secrets).map(name => `the log contains ${name}`),
      ...lines.filter(isUnexpected).map(line => `the log has ${line.slice(0, 1000)}`),
    ]
  }
  const heldBytes = () => [...memories].reduce((sum, memory) => sum + memory.heldBytes, 0)
  return {
    gateway,
    contract,
    image,
    isSpent: false,
    advance: ms => {
      aheadMs += ms
    },
    async judge(request, mayFail = REQUESTED) {
      const exchanged = await exchange(gateway.url, request)
      const leaks = leaksIn(exchanged.raw.toString('latin1'), secrets).map(name => `the answer contains ${name}`)
      return { ...exchanged, problems: [...problemsOf(request, exchanged.answer, { contract, mayFail }), ...leaks] }
    },
    async problemsAtRest() {
      const connections = async () => (await gateway.metrics()).match(/_connections\{.*\} (?!0$)\d+$/gm)
      await eventually('connections stayed open', async () => (await connections()) === null)
      await eventually('uploads stayed booked in memory', () => heldBytes() === 0)
      await eventually('calls stayed in flight', async () => /_upstream_in_flight 0$/m.test(await gateway.metrics()))
      return logProblems()
    },
    async stop() {
      await gateway.stop()
      TransferMemory.prototype.hold = hold
      Date.now = realNow
    },
  }
}

function problemsOf(
  request: FuzzRequest,
  answer: Answer | undefined,
  { contract, mayFail }: { contract: Contract; mayFail: readonly string[] },
): string[] {
  if (!answer) return request.isCut ? [] : ['there was no complete answer']
  const { status } = answer
  const code = codeOf(answer)
  const path = request.template ?? (request.path.split('?', 1)[0] as string)
  const violations = violationsOf({ ...answer, method: request.method, path }, contract)
  if (status < 500 || mayFail.includes(code)) return violations
  return [`the status was ${status} ${code}`, ...violations]
}

/** Malformed HTTP is answered before its route is known, so it is documented for all paths together. */
function violationsOf(seen: Answer & { method: string; path: string }, contract: Contract): string[] {
  // Every answer to a test key has this header; only `POST /segment` lists it.
  const { 'x-sandbox': _sandbox, ...headers } = seen.headers
  const violations = contract.violationsOf({ ...seen, headers })
  if (violations.length === 0 || (seen.status !== 400 && seen.status !== 404)) return violations
  const elsewhere = contract.violationsOf({ ...seen, path: '/elsewhere' })
  return elsewhere.length === 0 ? [] : violations
}

export function codeOf(answer: Answer | undefined): string {
  if (!/^application\/(problem\+)?json/.test(answer?.headers['content-type'] ?? '')) return ''
  return String((answer?.body.length ? answer.json().code : undefined) ?? '')
}

function secretsOf({ upstream, keys, testKey }: TestGateway, image: Buffer): Record<string, string> {
  // The end of the file: tables at its beginning are the same in other pictures.
  const end = image.subarray(-40, -10)
  return {
    'the shared key': upstream.apiKey,
    'a team key': keys.vision ?? '',
    'the test key': testKey,
    'the operators key': ADMIN_KEY,
    'bytes of the image': end.toString('latin1'),
    'base64 of the image': image.toString('base64').slice(-60, -20),
  }
}

function leaksIn(text: string, secrets: Record<string, string>): string[] {
  return Object.keys(secrets).filter(name => text.includes(secrets[name] as string))
}

function isUnexpected(line: string): boolean {
  const { level, msg } = JSON.parse(line) as { level: string; msg: string }
  return (level === 'error' || level === 'fatal') && !EXPECTED_LOG.test(msg)
}
