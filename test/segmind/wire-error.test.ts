import t from 'tap'
import { ERRORS, type ErrorCode } from '../../src/contracts/errors.js'
import { cleanMessage, errorFromResponse, requestedWaitSeconds } from '../../src/segmind/wire-error.js'

const KEY = 'SG_0123456789abcdef'
const NOW = Date.parse('2026-11-22T12:00:00Z')
const errorOf = (status: number, body: string, headers: Record<string, string> = {}) =>
  errorFromResponse({ status, headers, body: Buffer.from(body) }, { apiKey: KEY, now: NOW })

const HTML = '<html><body><h1>405 Not Allowed</h1></body></html>'
const STATUSES: [status: number, body: string, code: ErrorCode, detail: RegExp][] = [
  [400, '{"error":"image is required"}', 'upstream_rejected', /refused the request: image is required$/],
  [400, '', 'upstream_rejected', /without a reason \(HTTP 400\)/],
  [401, '{"error":"Missing Authorization or x-api-key in header"}', 'upstream_unauthorized', /\(HTTP 401\)/],
  [402, '{"error":"Payment required"}', 'credits_exhausted', /credits/],
  [403, '{"error":"team may not use this model"}', 'upstream_unauthorized', /\(HTTP 403\)/],
  [404, '{"error":"Model not found"}', 'upstream_rejected', /model or the URL.*404\): Model not found$/],
  [405, HTML, 'upstream_rejected', /does not accept this method.*\(HTTP 405\)\.$/],
  [406, '{"error":"Insufficient credits"}', 'credits_exhausted', /credits/],
  [406, '{"error":"insufficient_credits"}', 'credits_exhausted', /credits/],
  [406, '{"error":{"code":"insufficient_credits"}}', 'credits_exhausted', /credits/],
  [406, '{"error":"Your balance is too low"}', 'credits_exhausted', /credits/],
  [406, '{"error":"The team has reached its spend limit"}', 'credits_exhausted', /spend limit/],
  [406, '{"detail":"Spending limit exceeded"}', 'credits_exhausted', /spend limit/],
  [
    406,
    '{"error":"Invalid content type"}',
    'upstream_failed',
    /content type of the request \(HTTP 406\): Invalid content/,
  ],
  [406, '{"error":"coordinates out of range"}', 'upstream_rejected', /coordinates out of range/],
  [406, 'The picture is unbalanced', 'upstream_rejected', /unbalanced/],
  [406, '', 'upstream_rejected', /without a reason/],
  [410, '{"error":"gone"}', 'upstream_rejected', /retired the model \(HTTP 410\): gone/],
  [422, '{"detail":"overlay_mask must be a boolean"}', 'upstream_rejected', /overlay_mask must be a boolean/],
  [429, '{"error":"Too many requests"}', 'upstream_busy', /limiting the rate/],
  [500, '{"error":"Internal Polling Error"}', 'upstream_failed', /HTTP 500: Internal Polling Error$/],
  [502, HTML, 'upstream_failed', /HTTP 502\.$/],
  [503, '', 'upstream_failed', /HTTP 503\.$/],
  [504, 'Gateway Timeout', 'upstream_failed', /HTTP 504: Gateway Timeout$/],
  [302, '', 'upstream_failed', /redirect \(HTTP 302\), which the gateway does not follow/],
  [201, '{"request_id":"x"}', 'upstream_failed', /HTTP 201/],
  [409, '{"error":"conflict"}', 'upstream_rejected', /refused the request: conflict$/],
  [413, HTML, 'upstream_rejected', /without a reason \(HTTP 413\)/],
  [414, '', 'upstream_rejected', /HTTP 414/],
  [415, '{"error":"unsupported image"}', 'upstream_rejected', /unsupported image$/],
  [418, '', 'upstream_rejected', /HTTP 418/],
  [451, '{"message":"blocked"}', 'upstream_rejected', /blocked$/],
  [408, '', 'upstream_failed', /HTTP 408/],
  [425, '', 'upstream_failed', /HTTP 425/],
  [400, '\u0000\u0001PNG\u0007', 'upstream_rejected', /without a reason \(HTTP 400\)/],
  [400, '\ufffdbroken', 'upstream_rejected', /without a reason \(HTTP 400\)/],
  [400, 'two\nlines', 'upstream_rejected', /two lines$/],
]

for (const [status, body, code, detail] of STATUSES) {
  t.test(`${status} ${body.slice(0, 60)} is ${code} and not billed`, async t => {
    const error = errorOf(status, body)
    t.equal(error.code, code)
    t.match(error.message, detail)
    t.equal(error.billed, 'no')
    if (ERRORS[code].status === 503) t.ok(error.retryAfterSeconds, 'has Retry-After')
  })
}

t.test('the error of a 401 does not repeat the message from Segmind', async t => {
  t.notMatch(errorOf(401, '{"error":"the key of jane@example.com is off"}').message, /jane/)
})

const MESSAGES: [body: string, message: string][] = [
  ['{"error":"a","detail":"b","message":"c"}', 'a'],
  ['{"detail":"b","message":"c"}', 'b'],
  ['{"message":"c"}', 'c'],
  ['{"error":"","detail":"b"}', 'b'],
  ['{"error":{"message":"inside"}}', 'inside'],
  ['{"error":{"error":{"message":"deep"}}}', 'deep'],
  ['{"detail":[{"loc":["body","image"],"msg":"field required"},{"msg":"too small"}]}', 'field required; too small'],
  ['"only a string"', 'only a string'],
  ['plain text', 'plain text'],
  ['{"code":17}', '{"code":17}'],
  ['{"error":"two\\nlines\\tand\\u0000 more\\u202e"}', 'two lines and more'],
]

for (const [body, message] of MESSAGES) {
  t.test(`the message of ${body} is: ${message}`, async t => {
    t.equal(errorOf(422, body).message, `Segmind refused the request: ${message}`)
  })
}

t.test('a message is one line of at most 300 characters without keys or images', async t => {
  const image = Buffer.alloc(300, 7).toString('base64')
  const cases: [text: string, clean: string][] = [
    [`bad key ${KEY}!`, 'bad key [key]!'],
    [`${KEY}${KEY}`, '[key][key]'],
    ['another user’s sg_ffeeddccbbaa9988', 'another user’s [key]'],
    [`image ${image} is broken`, 'image […] is broken'],
    [`${'x '.repeat(200)}`, `${'x '.repeat(149)}x…`],
    ['😀 '.repeat(200), `${'😀 '.repeat(149)}😀…`],
    [`${'y '.repeat(145)}${KEY} tail`, `${'y '.repeat(145)}[key] tail`],
  ]
  for (const [text, clean] of cases) t.equal(cleanMessage(text, KEY), clean)
  t.equal(cleanMessage('no key at all', ''), 'no key at all')
})

t.test('deeply nested or huge error bodies are handled', async t => {
  t.equal(errorOf(422, '['.repeat(30_000) + ']'.repeat(30_000)).code, 'upstream_rejected')
  t.equal(errorOf(422, `${'{"error":'.repeat(5_000)}1${'}'.repeat(5_000)}`).code, 'upstream_rejected')
})

const RESET = 'x-rate-limit-reset-at-utc'
const DATE = new Date(NOW).toUTCString()
const WAITS: [title: string, headers: Record<string, string>, seconds: number | undefined][] = [
  ['no header', {}, undefined],
  ['an ISO reset', { [RESET]: '2026-11-22T12:00:07Z' }, 7],
  ['an ISO reset with microseconds', { [RESET]: '2026-11-22T12:00:06.250000+00:00' }, 7],
  ['a reset without a zone is UTC', { [RESET]: '2026-11-22 12:00:09' }, 9],
  ['a reset with the suffix UTC', { [RESET]: '2026-11-22 12:00:09 UTC' }, 9],
  ['a reset in another zone', { [RESET]: '2026-11-22T13:00:08+01:00' }, 8],
  ['epoch seconds', { [RESET]: String(NOW / 1000 + 12) }, 12],
  ['epoch seconds with a fraction', { [RESET]: String(NOW / 1000 + 11.5) }, 12],
  ['epoch milliseconds', { [RESET]: String(NOW + 4_000) }, 4],
  ['a reset that has passed', { [RESET]: '2026-11-22T11:59:00Z' }, 1],
  ['a reset far away', { [RESET]: '2026-11-22T13:00:00Z' }, 60],
  ['an upstream clock one hour ahead', { [RESET]: '2026-11-22T13:00:05Z', date: 'Sun, 22 Nov 2026 13:00:00 GMT' }, 5],
  ['an upstream clock one hour behind', { [RESET]: '2026-11-22T11:00:05Z', date: 'Sun, 22 Nov 2026 11:00:00 GMT' }, 5],
  ['an invalid Date', { [RESET]: '2026-11-22T12:00:05Z', date: 'now' }, 5],
  ['a garbled reset', { [RESET]: 'soon' }, undefined],
  ['a garbled reset with Retry-After', { [RESET]: 'soon', 'retry-after': '3' }, 3],
  ['a reset and Retry-After', { [RESET]: '2026-11-22T12:00:07Z', 'retry-after': '3' }, 7],
  ['Retry-After in seconds', { 'retry-after': '17' }, 17],
  ['Retry-After 0', { 'retry-after': '0' }, 1],
  ['Retry-After of a day', { 'retry-after': '86400' }, 60],
  ['Retry-After as a date', { 'retry-after': 'Sun, 22 Nov 2026 12:00:20 GMT', date: DATE }, 20],
  ['a garbled Retry-After', { 'retry-after': '-5' }, undefined],
]

for (const [title, headers, seconds] of WAITS) {
  t.test(`${title}: ${seconds === undefined ? 'no wait' : `wait ${seconds} s`}`, async t => {
    t.equal(requestedWaitSeconds(headers, NOW), seconds)
    t.equal(errorOf(429, '', headers).retryAfterSeconds, seconds ?? 5, 'the default for 429 is 5 s')
  })
}
