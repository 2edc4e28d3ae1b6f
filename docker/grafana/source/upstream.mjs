// Segmind as seen by the gateway, the store, and the processes.
import { board, row } from './board.mjs'
import { lines, named, number, series, states, steps, UNITS } from './panels.mjs'
import { perProcess, perReplica, quantile, rate, share, zeroWhereUp } from './queries.mjs'
import { redis } from './redis.mjs'

const ATTEMPTS = 'segmind_gateway_upstream_requests_total'
const RETRIES = 'segmind_gateway_upstream_retries_total'
const TOOK = 'segmind_gateway_upstream_duration_seconds_bucket'
const WAITED = 'segmind_gateway_queue_wait_seconds_bucket'
const QUEUE = 'segmind_gateway_queue_depth{team=~"$team"}'
const IN_FLIGHT = 'segmind_gateway_upstream_in_flight'
const BREAKER = 'segmind_gateway_breaker_open'
const SHARED_KEY = 'min(segmind_gateway_shared_key_ok)'
const STORE_UP = 'segmind_gateway_store_up'
const TEAMS_FILE = 'min(segmind_gateway_teams_file_ok)'
const STORE_FAILURES = 'segmind_gateway_store_failures_total'
const UNSAVED = 'segmind_gateway_unsaved_results'
const UNSAVED_BYTES = 'segmind_gateway_unsaved_result_bytes'
const UNSAVED_STEPS = 'segmind_gateway_unsaved_ledger_steps'

const GOOD = steps('red', [1, 'green'])
const BAD = steps('green', [1, 'red'])
const CLOSED_OR_OPEN = named({ 0: ['closed', 'green'], 1: ['open', 'red'] })
const ACCEPTED_OR_REFUSED = named({ 0: ['refused', 'red'], 1: ['accepted', 'green'] })
const UP_OR_DOWN = named({ 0: ['down', 'red'], 1: ['up', 'green'] })
const READ_OR_NOT = named({ 0: ['mistake', 'red'], 1: ['read', 'green'] })
const PERCENTILES = [0.5, 0.95, 0.99]
const percentiles = selector => PERCENTILES.map(q => series(quantile(q, selector), `p${q * 100}`))

/** Each replica has its own memory tier. They share one store, which all of them report. */
const inTiers = metric => `sum by (tier) (${metric}{tier="memory"}) or max by (tier) (${metric}{tier="store"})`

const now = row(
  'Now',
  number('Gateways', 'Gateways that Prometheus can scrape.', {
    unit: UNITS.number,
    expr: `count(${STORE_UP})`,
    noValue: 'none',
  }),
  number('Circuit breaker', 'Open: at least one gateway does not call Segmind, because Segmind keeps failing.', {
    unit: UNITS.state,
    expr: `max(${BREAKER})`,
    mappings: CLOSED_OR_OPEN,
    thresholds: BAD,
  }),
  number('Shared key', 'Response of Segmind to the shared key when it was last used. Unknown before that.', {
    unit: UNITS.state,
    expr: SHARED_KEY,
    mappings: ACCEPTED_OR_REFUSED,
    thresholds: GOOD,
  }),
  number('Store', 'Down if at least one gateway does not reach it.', {
    unit: UNITS.state,
    expr: `min(${STORE_UP})`,
    mappings: UP_OR_DOWN,
    thresholds: GOOD,
  }),
  number('Teams file', 'With a mistake, the previous teams stay in force. The log names every mistake.', {
    unit: UNITS.state,
    expr: TEAMS_FILE,
    mappings: READ_OR_NOT,
    thresholds: GOOD,
  }),
  number('Waiting', 'Purchases in the queue.', {
    unit: UNITS.number,
    expr: zeroWhereUp(`sum(${QUEUE})`),
    thresholds: steps('green', [50, 'orange'], [200, 'red']),
  }),
)

const segmind = row(
  'Segmind',
  lines('Attempts by status', 'Attempts by HTTP status, or by the error that prevented one.', {
    unit: UNITS.perSecond,
    stacked: true,
    queries: [series(rate(ATTEMPTS, 'code'), '{{code}}')],
  }),
  lines('Failed attempts', 'Share of attempts without a 200. A gap means that there were no attempts.', {
    unit: UNITS.share,
    max: 1,
    queries: [
      series(`1 - ${share(`(${rate(`${ATTEMPTS}{code="200"}`)} or 0 * ${rate(ATTEMPTS)})`, rate(ATTEMPTS))}`, 'failed'),
    ],
    thresholds: steps('green', [0.05, 'orange'], [0.5, 'red']),
  }),
  lines('Retries by reason', 'unsent: the request was not sent. busy: a 429 or 503. server_error: a 500, 502 or 504.', {
    unit: UNITS.eventsPerSecond,
    stacked: true,
    queries: [series(rate(RETRIES, 'why'), '{{why}}')],
  }),
  lines('Time of an attempt', 'Time of one attempt at Segmind. A cold start takes minutes.', {
    unit: UNITS.seconds,
    queries: percentiles(TOOK),
  }),
  lines('In flight', 'Calls to Segmind now, by gateway. All together have at most SEGMIND_MAX_CONCURRENCY.', {
    unit: UNITS.number,
    stacked: true,
    queries: [series(perReplica(IN_FLIGHT), '{{instance}}')],
  }),
  states('Circuit breaker', 'Open: Segmind keeps failing and is not called until it answers a balance request.', {
    size: [8, 8],
    queries: [series(perReplica(BREAKER), '{{instance}}')],
    mappings: CLOSED_OR_OPEN,
    thresholds: BAD,
  }),
  lines('Queue by team', 'Purchases in the queue.', {
    unit: UNITS.number,
    queries: [series(zeroWhereUp(`sum(${QUEUE})`), 'all'), series(`sum by (team) (${QUEUE})`, '{{team}}')],
  }),
  lines('Time in the queue', 'Queue wait of purchases.', {
    unit: UNITS.seconds,
    queries: percentiles(WAITED),
  }),
  states('Shared key', 'Response of Segmind to the shared key. A gap means unknown.', {
    size: [8, 8],
    queries: [series(SHARED_KEY, 'shared key')],
    mappings: ACCEPTED_OR_REFUSED,
    thresholds: GOOD,
  }),
)

const sharing = row(
  'Shared purchases',
  lines(
    'Shared flights by role',
    'leader: bought. follower: waited. takeover: bought after a leader died. unguarded: bought while the store was down.',
    {
      size: [12, 8],
      unit: UNITS.eventsPerSecond,
      stacked: true,
      queries: [series(rate('segmind_gateway_flights_total', 'role'), '{{role}}')],
    },
  ),
  lines('Calls of dead processes', 'resumed: polled to their end. unknown: stay booked as unknown.', {
    size: [12, 8],
    unit: UNITS.eventsPerSecond,
    queries: [series(rate('segmind_gateway_orphaned_calls_total', 'fate'), '{{fate}}')],
  }),
)

const store = row(
  'The store',
  states('Store', 'Connection of each gateway to the store.', {
    size: [8, 8],
    queries: [series(perReplica(STORE_UP), '{{instance}}')],
    mappings: UP_OR_DOWN,
    thresholds: GOOD,
  }),
  lines('Failed operations', 'Failed store operations by kind.', {
    unit: UNITS.eventsPerSecond,
    queries: [series(zeroWhereUp(rate(STORE_FAILURES)), 'all'), series(rate(STORE_FAILURES, 'doing'), '{{doing}}')],
  }),
  lines('Waiting for the store', 'Paid results and ledger steps that will be written when the store is back.', {
    unit: UNITS.number,
    queries: [series(`sum(${UNSAVED})`, 'results'), series(`sum(${UNSAVED_STEPS})`, 'ledger steps')],
  }),
  lines('Results waiting, in bytes', 'Bounded. Results without room are lost and must be bought again.', {
    size: [6, 8],
    unit: UNITS.bytes,
    queries: [series(`sum(${UNSAVED_BYTES})`, 'bytes')],
  }),
  lines('Paid results lost', 'no_room: too many waited. refused: the store rejected them.', {
    size: [6, 8],
    unit: UNITS.eventsPerSecond,
    queries: [series(rate('segmind_gateway_lost_results_total', 'why'), '{{why}}')],
  }),
  lines('Cache, bytes', 'memory: all gateways together. store: shared by all.', {
    size: [6, 8],
    unit: UNITS.bytes,
    queries: [series(inTiers('segmind_gateway_cache_bytes'), '{{tier}}')],
  }),
  lines('Cache, entries', 'memory: all gateways together. store: shared by all.', {
    size: [6, 8],
    unit: UNITS.number,
    queries: [series(inTiers('segmind_gateway_cache_entries'), '{{tier}}')],
  }),
)

const processes = row(
  'The processes',
  lines('Memory', 'Resident memory of each process.', {
    size: [6, 8],
    unit: UNITS.bytes,
    queries: [series(perProcess('process_resident_memory_bytes'), '{{instance}}')],
  }),
  lines('CPU', 'CPU seconds per second. 1 is a whole core.', {
    size: [6, 8],
    unit: UNITS.cores,
    queries: [series(perProcess('rate(process_cpu_seconds_total[$__rate_interval])'), '{{instance}}')],
  }),
  lines('Event loop lag, p99', 'Delay of due work in the process. It adds to every response time.', {
    size: [6, 8],
    unit: UNITS.seconds,
    queries: [series(perProcess('nodejs_eventloop_lag_p99_seconds'), '{{instance}}')],
    thresholds: steps('green', [0.1, 'orange'], [1, 'red']),
  }),
  lines('Open handles', 'Sockets and servers of the process.', {
    size: [6, 8],
    unit: UNITS.number,
    queries: [series(perProcess('nodejs_active_handles_total'), '{{instance}}')],
  }),
)

export const upstream = board({
  uid: 'segmind-upstream',
  title: 'Segmind upstream and store',
  description: 'Responses of Segmind, the queue, the store and the processes.',
  rows: [now, segmind, sharing, store, processes, redis],
})
