// Requests of callers and their responses.
import { board, row } from './board.mjs'
import { dial, lines, number, series, steps, UNITS } from './panels.mjs'
import { happened, increase, quantile, rate, share, zeroWhereUp } from './queries.mjs'

const REQUESTS = 'segmind_gateway_requests_total{team=~"$team"}'
const WITH_TEAM = 'segmind_gateway_requests_total{team=~"$team", team!=""}'
const WITHOUT_TEAM = 'segmind_gateway_requests_total{team=~"$team", team=""}'
const FAILED = 'segmind_gateway_requests_total{team=~"$team", code=~"5.."}'
const ERRORS = 'segmind_gateway_errors_total'
const RESULTS = 'segmind_gateway_results_total{team=~"$team"}'
const UNPAID = 'segmind_gateway_results_total{team=~"$team", cache=~"hit|coalesced|stale"}'
const UPLOADS = 'segmind_gateway_upload_bytes_total{team=~"$team"}'
const DURATION = 'segmind_gateway_request_duration_seconds_bucket'
const ANSWERED = `${DURATION}{cache!=""}`
const OVERHEAD = 'segmind_gateway_overhead_seconds_bucket'
const CACHE_COLORS = { hit: 'green', coalesced: 'blue', stale: 'yellow', miss: 'orange', bypass: 'purple' }
const SLOW = steps('green', [1, 'orange'], [10, 'red'])

const latency = (q, name, what) =>
  lines(`Response time, ${name}`, `${what}, by cache outcome. A miss includes the time of Segmind.`, {
    unit: UNITS.seconds,
    colors: CACHE_COLORS,
    queries: [series(quantile(q, ANSWERED, 'cache'), '{{cache}}')],
  })

const now = row(
  'Now',
  number('Requests', 'Per second, including health checks and pages.', {
    unit: UNITS.perSecond,
    expr: zeroWhereUp(rate(REQUESTS)),
    decimals: 2,
  }),
  number(
    'Answered with 5xx',
    'Share of all requests. Causes are the gateway, Segmind or the credits, not the caller.',
    {
      unit: UNITS.share,
      expr: share(zeroPart(rate(FAILED)), rate(REQUESTS)),
      decimals: 1,
      noValue: 'no requests',
      thresholds: steps('green', [0.01, 'orange'], [0.05, 'red']),
    },
  ),
  number('Cached, p95', '95 % of hits were answered within this time.', {
    unit: UNITS.seconds,
    expr: quantile(0.95, `${DURATION}{cache="hit"}`),
    noValue: 'no hits',
    thresholds: steps('green', [0.1, 'orange'], [1, 'red']),
  }),
  number('Bought, p95', '95 % of misses were answered within this time.', {
    unit: UNITS.seconds,
    expr: quantile(0.95, `${DURATION}{cache="miss"}`),
    noValue: 'no misses',
    thresholds: steps('green', [30, 'orange'], [60, 'red']),
  }),
  number('Uploads', 'Bytes of images per second.', {
    unit: UNITS.bytesPerSecond,
    expr: rate(UPLOADS),
  }),
  dial(
    'Answered without paying',
    'Share of results that cost nothing (hit, coalesced, stale) in the selected time range.',
    {
      expr: share(increase(UNPAID), increase(RESULTS)),
      thresholds: steps('red', [0.1, 'orange'], [0.3, 'green']),
      noValue: 'no results',
    },
  ),
)

/** Returns 0 for an absent part while there are requests. */
function zeroPart(expr) {
  return `(${expr} or 0 * ${rate(REQUESTS)})`
}

const requests = row(
  'Requests',
  lines('By team', 'Requests by team. Health checks, pages and wrong keys have no team.', {
    unit: UNITS.perSecond,
    stacked: true,
    queries: [series(rate(WITH_TEAM, 'team'), '{{team}}'), series(zeroWhereUp(rate(WITHOUT_TEAM)), 'without a team')],
  }),
  lines('By route', 'Requests by route.', {
    unit: UNITS.perSecond,
    stacked: true,
    queries: [series(rate(REQUESTS, 'route'), '{{route}}')],
  }),
  lines('By status', 'HTTP statuses of the responses.', {
    unit: UNITS.perSecond,
    stacked: true,
    queries: [series(rate(REQUESTS, 'code'), '{{code}}')],
  }),
  lines('Errors by code', 'Errors of all teams. The gateway explains each code under /docs/errors.', {
    size: [12, 8],
    unit: UNITS.eventsPerSecond,
    queries: [series(zeroWhereUp(rate(ERRORS)), 'all'), series(happened(ERRORS, 'code'), '{{code}}')],
  }),
  lines('Errors by route', 'Errors of all teams, by route.', {
    size: [12, 8],
    unit: UNITS.eventsPerSecond,
    queries: [series(zeroWhereUp(rate(ERRORS)), 'all'), series(happened(ERRORS, 'route'), '{{route}}')],
  }),
)

const times = row(
  'Latency of all teams',
  latency(0.5, 'p50', '50 % of the requests were answered within this time'),
  latency(0.95, 'p95', '95 % of the requests were answered within this time'),
  latency(0.99, 'p99', '99 % of the requests were answered within this time'),
  lines('Overhead', 'Response time without waiting for Segmind: upload, checks, queue.', {
    size: [12, 8],
    unit: UNITS.seconds,
    thresholds: SLOW,
    queries: [0.5, 0.95, 0.99].map(q => series(quantile(q, OVERHEAD), `p${q * 100}`)),
  }),
  lines('Response time by route, p95', '95 % of the requests were answered within this time, errors included.', {
    size: [12, 8],
    unit: UNITS.seconds,
    queries: [series(quantile(0.95, DURATION, 'route'), '{{route}}')],
  }),
)

const cache = row(
  'Cache and uploads',
  lines(
    'Results by cache outcome',
    'hit: cached. coalesced: shared a purchase. stale: expired, served while Segmind fails. miss and bypass: bought.',
    {
      unit: UNITS.perSecond,
      stacked: true,
      colors: CACHE_COLORS,
      queries: [series(rate(RESULTS, 'cache'), '{{cache}}')],
    },
  ),
  lines('Answered without paying', 'Share of results that cost nothing. A gap means that there were no results.', {
    unit: UNITS.share,
    max: 1,
    queries: [
      series(share(rate(UNPAID), rate(RESULTS)), 'all'),
      series(share(rate(UNPAID, 'team'), rate(RESULTS, 'team')), '{{team}}'),
    ],
  }),
  lines('Uploads by team', 'Bytes of images received. Images named by their id are not sent again.', {
    unit: UNITS.bytesPerSecond,
    stacked: true,
    queries: [series(rate(UPLOADS, 'team'), '{{team}}')],
  }),
)

export const traffic = board({
  uid: 'segmind-traffic',
  title: 'Segmind traffic',
  description: 'Requests, errors, latency, cache and uploads.',
  rows: [now, requests, times, cache],
})
