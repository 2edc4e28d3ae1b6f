import type { GatewayProblem, Progress, Quote, SegmentAnswer } from '../../client/index.js'

export interface Words {
  tone: 'good' | 'plain' | 'warn' | 'bad'
  text: string
  more?: string
}

/** Credits as people read them: no more digits than there are, no exponent. */
export function formatCredits(credits: number): string {
  return credits.toFixed(9).replace(/\.?0+$/, '')
}

const HOW: Readonly<Record<SegmentAnswer['cache'], Words>> = {
  hit: { tone: 'good', text: 'from the cache', more: 'Somebody asked this before; it was not bought again.' },
  coalesced: { tone: 'good', text: 'shared', more: 'An identical request was on its way; both got its answer.' },
  miss: { tone: 'plain', text: 'new', more: 'Nobody had asked this before. Asked again, it is free.' },
  stale: { tone: 'warn', text: 'from the cache, old', more: 'Past its time, but no newer one can be had now.' },
  bypass: { tone: 'plain', text: 'new', more: 'Past the cache, as was asked.' },
}

/** Where an answer came from. */
export function sayCache(cache: SegmentAnswer['cache']): Words {
  return HOW[cache] ?? { tone: 'plain', text: cache }
}

/** What asking would cost, or why it would be refused. */
export function sayQuote(quote: Quote, isTestKey: boolean): Words {
  const { refusal, wouldBe, costCredits, remainingCredits, queue } = quote
  if (refusal)
    return { tone: 'bad', text: 'Would be refused', more: `${refusal.detail}${wait(refusal.retryAfterSeconds)}` }
  const left =
    remainingCredits === undefined || isTestKey ? '' : ` Your key may spend ${formatCredits(remainingCredits)} credits.`
  if (wouldBe === 'hit') return { tone: 'good', text: 'Free: the answer is in the cache', more: left.trim() }
  if (wouldBe === 'coalesced') return { tone: 'good', text: 'Free: the same is being asked now', more: left.trim() }
  if (wouldBe === 'stale') return { tone: 'warn', text: 'Free: an old answer is in the cache', more: left.trim() }
  const more = `${sayQueue(queue)}${left}`.trim()
  if (isTestKey) return { tone: 'good', text: 'Free: the sandbox answers', more }
  return { tone: 'plain', text: `About ${formatCredits(costCredits)} credits`, more }
}

function sayQueue({ depth, waitSeconds }: Quote['queue']): string {
  if (depth === 0) return ''
  const time = waitSeconds ? `, about ${Math.ceil(waitSeconds)} s` : ''
  return `${depth} ${depth === 1 ? 'request waits' : 'requests wait'} before it${time}.`
}

/** What to do about an error; the gateway's own sentence says what happened. */
const ADVICE: Readonly<Partial<Record<GatewayProblem['code'], readonly [title: string, advice: string]>>> = {
  unauthorized: [
    'This key is not valid',
    'Check that all of it was copied, or ask whoever runs the gateway for another one.',
  ],
  forbidden: ['This key may not do that', 'Ask whoever runs the gateway.'],
  missing_selection: ['Nothing is selected', 'Type what to select, or click on it.'],
  invalid_parameter: ['Something in the question is not accepted', ''],
  image_too_large: ['The picture is too large', 'Save it smaller and choose it again.'],
  image_too_many_pixels: ['The picture has too many pixels', 'Scale it down and choose it again.'],
  unsupported_image: ['This kind of file is not accepted', 'Choose a JPEG, PNG or WebP.'],
  image_unreadable: ['The picture is damaged', 'Save it again from a program that can open it.'],
  unknown_image: ['The gateway has forgotten the picture', 'Press Segment again: it is sent once more.'],
  rate_limited: ['Too many requests', 'Wait a little, then try again.'],
  budget_exhausted: [
    "Your team's budget is spent",
    'It is filled again with the next day or month; whoever runs the gateway can raise it.',
  ],
  credits_exhausted: ['The Segmind account is out of credits', 'Whoever runs the gateway has to top it up.'],
  credits_reserved: ['The last credits are kept for others', 'Only protected teams may spend them.'],
  overloaded: ['The gateway is busy', 'Wait a little, then try again.'],
  upstream_busy: ['Segmind is busy', 'Wait a little, then try again.'],
  upstream_unavailable: ['Segmind cannot be reached', 'Try again in a while.'],
  upstream_failed: ['Segmind failed', 'Try again.'],
  upstream_rejected: ['Segmind refused this question', 'Try other words, other points or another picture.'],
  upstream_unauthorized: ['Segmind refuses the gateway', 'Whoever runs the gateway has to look after its Segmind key.'],
  upstream_slow: ['This takes longer than usual', 'Try again: the answer is kept when it comes.'],
  upstream_timeout: ['Segmind did not answer in time', 'Try again.'],
  store_unavailable: ['The gateway cannot reach its store', 'Try again in a while.'],
  shutting_down: ['The gateway is being restarted', 'Try again in a moment.'],
  internal_error: ['Something went wrong inside the gateway', 'Tell whoever runs it the request id.'],
  network: ['The gateway cannot be reached', 'Check the network, then try again.'],
  unreadable_answer: [
    'The answer could not be read',
    'Something between this page and the gateway answered in its place.',
  ],
}

const BILLED: Readonly<Record<GatewayProblem['billed'], string>> = {
  no: 'Nothing was spent.',
  yes: 'Credits were spent.',
  unknown: 'Credits may have been spent. Asking the same again does not buy it twice where the gateway got its answer.',
}

export interface ProblemWords {
  title: string
  /** What the gateway says, and what to do. */
  sentences: string[]
  requestId: string | undefined
}

/** An error in plain words. */
export function sayProblem(problem: GatewayProblem): ProblemWords {
  const [title, advice] = ADVICE[problem.code] ?? ['That did not work', '']
  const again = wait(problem.retryAfterSeconds).trim()
  const sentences = [problem.message, again === '' ? advice : again, BILLED[problem.billed]]
  return { title, sentences: sentences.filter(sentence => sentence !== ''), requestId: problem.requestId }
}

/** How far a request is; `share` is from 0 to 1 where it is known. */
export function sayProgress({ phase, sentBytes, totalBytes }: Progress): { text: string; share?: number } {
  if (phase === 'hashing') return { text: 'Reading the picture' }
  if (phase === 'receiving') return { text: 'Receiving the answer' }
  if (phase !== 'uploading' || !totalBytes) return { text: 'Waiting for the answer' }
  const share = (sentBytes ?? 0) / totalBytes
  if (share >= 1) return { text: 'Waiting for the answer' }
  return { text: `Uploading, ${Math.round(100 * share)} % of ${formatBytes(totalBytes)}`, share }
}

/** `512 KB`, `3.4 MB`. */
export function formatBytes(bytes: number): string {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} KB` : `${(bytes / 1e6).toFixed(1)} MB`
}

function wait(seconds: number | undefined): string {
  if (seconds === undefined) return ''
  if (seconds < 120) return ` Try again in ${seconds} s.`
  return seconds < 7200
    ? ` Try again in ${Math.round(seconds / 60)} minutes.`
    : ` Try again in ${Math.round(seconds / 3600)} hours.`
}
