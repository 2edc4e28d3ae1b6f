// Redis as its exporter tells, scraped as the job `redis`.
import { row } from './board.mjs'
import { lines, series, UNITS } from './panels.mjs'
import { share } from './queries.mjs'

const of = metric => `${metric}{job="redis"}`
const rateOf = metric => `sum by (instance) (rate(${of(metric)}[$__rate_interval]))`
const HITS = rateOf('redis_keyspace_hits_total')
const MISSES = rateOf('redis_keyspace_misses_total')

export const redis = row(
  'Redis',
  lines('Memory', 'What it uses, and the limit from which on it evicts. No limit set: no line.', {
    unit: UNITS.bytes,
    queries: [
      series(`sum by (instance) (${of('redis_memory_used_bytes')})`, '{{instance}}: used'),
      series(`sum by (instance) (${of('redis_memory_max_bytes')}) > 0`, '{{instance}}: limit'),
    ],
  }),
  lines('Evicted keys', 'Results and images that had to go before their time. The ledger is never evicted.', {
    unit: UNITS.eventsPerSecond,
    queries: [series(rateOf('redis_evicted_keys_total'), '{{instance}}')],
  }),
  lines('Commands', 'What it is asked, a second.', {
    unit: UNITS.eventsPerSecond,
    queries: [series(rateOf('redis_commands_processed_total'), '{{instance}}')],
  }),
  lines('Clients', 'Connections to it.', {
    size: [12, 8],
    unit: UNITS.number,
    queries: [series(`sum by (instance) (${of('redis_connected_clients')})`, '{{instance}}')],
  }),
  lines(
    'Keys found',
    'Share of look-ups that found their key, of results, images and all else. A gap: none were made.',
    {
      size: [12, 8],
      unit: UNITS.share,
      max: 1,
      queries: [series(share(HITS, `${HITS} + ${MISSES}`), '{{instance}}')],
    },
  ),
)
