import type { GatewayProblem, Progress, Quote, SegmentAnswer } from '../../client/index.js'
import { bytes, exactCredits, percent } from '../format.js'

/** A short text with an optional explanation. */
export interface Message {
  tone: 'good' | 'plain' | 'warn' | 'bad'
  text: string
  more?: string
}

const CACHE: Readonly<Record<SegmentAnswer['cache'], Message>> = {
  hit: { tone: 'good', text: 'Cache hit', more: 'Bought earlier, so this request was free.' },
  coalesced: { tone: 'good', text: 'Coalesced', more: 'Shares the result of an identical request in flight.' },
  miss: { tone: 'plain', text: 'New', more: 'First request for this selection. The same request again is free.' },
  stale: { tone: 'warn', text: 'Stale', more: 'Expired, but a newer result is not available right now.' },
  bypass: { tone: 'plain', text: 'Cache bypassed', more: 'Bought without looking in the cache, as requested.' },
}

export function cacheText(cache: SegmentAnswer['cache']): Message {
  return CACHE[cache] ?? { tone: 'plain', text: cache }
}

/** Describes the cost of a request, or the reason why it would be refused. */
export function quoteText(quote: Quote, isTestKey: boolean): Message {
  const { refusal, wouldBe, costCredits, remainingCredits, queue } = quote
  if (refusal) {
    const more = `${refusal.detail} ${retryText(refusal.retryAfterSeconds)}`.trim()
    return { tone: 'bad', text: 'Would be refused', more }
  }
  const remaining =
    remainingCredits === undefined || isTestKey ? '' : `Remaining: ${exactCredits(remainingCredits)} credits.`
  if (wouldBe === 'hit') return { tone: 'good', text: 'Free: cached', more: remaining }
  if (wouldBe === 'coalesced') return { tone: 'good', text: 'Free: identical request in flight', more: remaining }
  if (wouldBe === 'stale') return { tone: 'warn', text: 'Free: stale result in the cache', more: remaining }
  const more = `${queueText(queue)} ${remaining}`.trim()
  if (isTestKey) return { tone: 'good', text: 'Free: answered by the sandbox', more }
  return { tone: 'plain', text: `About ${exactCredits(costCredits)} credits`, more }
}

function queueText({ depth, waitSeconds }: Quote['queue']): string {
  if (depth === 0) return ''
  const wait = waitSeconds ? `, about ${Math.ceil(waitSeconds)} s` : ''
  return `${depth} ${depth === 1 ? 'request' : 'requests'} ahead${wait}.`
}

/** Title and advice for each error code. The detail from the gateway explains the occurrence. */
const ADVICE: Readonly<Partial<Record<GatewayProblem['code'], readonly [title: string, advice: string]>>> = {
  unauthorized: ['Invalid key', 'Check that the key is complete, or ask the operator of this gateway for a new one.'],
  forbidden: ['Not allowed with this key', 'Ask the operator of this gateway.'],
  missing_selection: ['Nothing selected', 'Enter a prompt or click the object.'],
  invalid_parameter: ['Invalid request', ''],
  image_too_large: ['Image file too large', 'Choose a smaller file.'],
  image_too_many_pixels: ['Image has too many pixels', 'Scale it down and choose it again.'],
  unsupported_image: ['Unsupported file type', 'Choose a JPEG, PNG or WebP file.'],
  image_unreadable: ['Damaged image', 'Save it again with an image editor that can open it.'],
  unknown_image: ['Image no longer stored', 'Press Segment to upload it again.'],
  rate_limited: ['Too many requests', 'Wait a moment, then try again.'],
  budget_exhausted: ['Team budget used up', 'It renews with the next day or month. The operator can raise it.'],
  credits_exhausted: ['Segmind account out of credits', 'The operator of this gateway has to top it up.'],
  credits_reserved: ['Credit reserve reached', 'Only protected teams can spend the remaining credits.'],
  overloaded: ['Gateway busy', 'Wait a moment, then try again.'],
  upstream_busy: ['Segmind busy', 'Wait a moment, then try again.'],
  upstream_unavailable: ['Segmind unavailable', 'Try again later.'],
  upstream_failed: ['Segmind failed', 'Try again.'],
  upstream_rejected: ['Request rejected by Segmind', 'Try another prompt, other points or another image.'],
  upstream_unauthorized: ['Segmind key refused', 'The operator of this gateway has to check its Segmind key.'],
  upstream_slow: ['Slower than usual', 'Try again: the result is stored when it arrives.'],
  upstream_timeout: ['Segmind timed out', 'Try again.'],
  store_unavailable: ['Store unavailable', 'Try again later.'],
  shutting_down: ['Gateway restarting', 'Try again in a moment.'],
  internal_error: ['Internal error', 'Report the request id to the operator of this gateway.'],
  network: ['Gateway unreachable', 'Check the network, then try again.'],
  unreadable_answer: ['Unreadable response', 'A proxy between this page and the gateway may have sent it.'],
}

const BILLED: Readonly<Record<GatewayProblem['billed'], string>> = {
  no: 'No credits were spent.',
  yes: 'Credits were spent.',
  unknown: 'Credits may have been spent. If the result arrives after all, the same request is free.',
}

export interface ProblemText {
  title: string
  /** The gateway's detail, the advice and the cost. */
  sentences: string[]
  requestId: string | undefined
}

export function problemText(problem: GatewayProblem): ProblemText {
  const [title, advice] = ADVICE[problem.code] ?? ['Request failed', '']
  const sentences = [problem.message, retryText(problem.retryAfterSeconds) || advice, BILLED[problem.billed]]
  return { title, sentences: sentences.filter(sentence => sentence !== ''), requestId: problem.requestId }
}

/** Describes the progress of a request, with its share from 0 to 1 while that is known. */
export function progressText({ phase, sentBytes = 0, totalBytes }: Progress): { text: string; share?: number } {
  if (phase === 'hashing') return { text: 'Reading the image' }
  if (phase === 'receiving') return { text: 'Receiving the result' }
  const isUploading = phase === 'uploading' && totalBytes && sentBytes < totalBytes
  if (!isUploading) return { text: 'Waiting for the result' }
  const share = sentBytes / totalBytes
  return { text: `Uploading, ${percent(share)} of ${bytes(totalBytes)}`, share }
}

function retryText(seconds: number | undefined): string {
  if (seconds === undefined) return ''
  if (seconds < 120) return `Try again in ${seconds} s.`
  if (seconds < 7200) return `Try again in ${Math.round(seconds / 60)} minutes.`
  return `Try again in ${Math.round(seconds / 3600)} hours.`
}
