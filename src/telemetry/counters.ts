import { Counter, type Registry } from '@prometheus-io/client'
import { ERRORS } from '../contracts/errors.js'

export const PREFIX = 'segmind_gateway'

/**
 * Labels with a fixed set of values. Their series start at 0; otherwise Prometheus would miss the
 * first increment.
 */
const KNOWN = {
  retries: { why: ['unsent', 'busy', 'server_error'] },
  flights: { role: ['leader', 'follower', 'takeover', 'unguarded'] },
  lostResults: { why: ['no_room', 'refused'] },
  damagedBodies: { kind: ['result', 'image'] },
  orphans: { fate: ['resumed', 'unknown'] },
  implausible: { figure: ['cost', 'balance'] },
} as const

/**
 * Routes and server-side error codes whose series start at 0, so that the first outage counts as an
 * increase.
 */
const SEGMENT_ROUTES = ['/segment', '/segment/batch', '/v1/sam-v2-image', '/v2/sam-v2-image']
const FAILURES = Object.entries(ERRORS).flatMap(([code, { status }]) => (status >= 500 ? [code] : []))

/** Values of the labels `cache` and `how`, whose series start at 0 for every team. */
const CACHE = ['hit', 'miss', 'coalesced', 'stale', 'bypass']
const HOW = ['cache', 'coalesced']

export type Counters = ReturnType<typeof makeCounters>

/** Registers the counters. */
export function counters(register: Registry): Counters {
  const made = makeCounters(register)
  for (const [name, labels] of Object.entries(KNOWN)) {
    for (const [label, values] of Object.entries(labels)) {
      for (const value of values) made[name as keyof typeof KNOWN].inc({ [label]: value }, 0)
    }
  }
  for (const route of SEGMENT_ROUTES) for (const code of FAILURES) made.errors.inc({ route, code }, 0)
  return made
}

/** Starts the series of every team at 0, so that a team without requests has values. */
export function startTeamsAtZero({ results, uploadBytes, spent, saved, unknown }: Counters, teams: string[]): void {
  for (const team of teams) {
    for (const counter of [uploadBytes, spent, unknown]) counter.inc({ team }, 0)
    for (const cache of CACHE) results.inc({ team, cache }, 0)
    for (const how of HOW) saved.inc({ team, how }, 0)
  }
}

function makeCounters(register: Registry) {
  const counter = (name: string, help: string, ...labelNames: string[]) =>
    new Counter({ name: `${PREFIX}_${name}`, help, labelNames, registers: [register] })
  return {
    requests: counter('requests_total', 'HTTP requests by route, team and status.', 'route', 'team', 'code'),
    errors: counter(
      'errors_total',
      'Requests and batch selections that ended with an error, by error code. Test keys are not counted.',
      'route',
      'code',
    ),
    results: counter('results_total', 'Results returned, by cache outcome.', 'team', 'cache'),
    uploadBytes: counter('upload_bytes_total', 'Image bytes received.', 'team'),
    spent: counter('credits_spent_total', 'Credits charged for completed calls.', 'team'),
    saved: counter('credits_saved_total', 'Credits saved by the cache and by coalescing.', 'team', 'how'),
    unknown: counter('credits_unknown_total', 'Credits booked for calls whose outcome is unknown.', 'team'),
    unknownSettled: counter(
      'credits_unknown_settled_total',
      'Credits that were booked as unknown, of calls whose outcome is known by now.',
      'team',
    ),
    upstream: counter(
      'upstream_requests_total',
      'Requests to Segmind, by HTTP status or by the error that prevented a status.',
      'code',
    ),
    retries: counter('upstream_retries_total', 'Retries of requests to Segmind, by reason.', 'why'),
    flights: counter(
      'flights_total',
      'Flights that this process joined, by role: leader, follower, takeover or unguarded.',
      'role',
    ),
    ...makePictureCounters(counter),
    orphans: counter('orphaned_calls_total', 'Calls left by processes that died, by outcome.', 'fate'),
    implausible: counter('implausible_figures_total', 'Figures of Segmind that were not used, by figure.', 'figure'),
    ledgerMismatches: counter(
      'ledger_mismatches_total',
      'Sums of the ledger that differed from its entries when they were verified.',
    ),
    rolledUpCalls: counter('ledger_rolled_up_calls_total', 'Calls whose ledger entries were rolled up.'),
    storeFailures: counter('store_failures_total', 'Failed store operations.', 'doing'),
  }
}

function makePictureCounters(counter: (name: string, help: string, ...labelNames: string[]) => Counter<string>) {
  return {
    contradictedOrientations: counter('contradicted_orientations_total', 'Masks that contradict IMAGE_ORIENTATION.'),
    unfitPictures: counter(
      'unfit_pictures_total',
      'Paid pictures that are not what was bought: overlays of another shape than their photo, and refused masks.',
      'kind',
    ),
    damagedBodies: counter('damaged_bodies_total', 'Stored bodies that did not match their digest.', 'kind'),
    lostResults: counter('lost_results_total', 'Paid results that were not stored, by reason.', 'why'),
  }
}
