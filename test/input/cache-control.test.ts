import t from 'tap'
import type { CacheDirectives } from '../../src/contracts/types.js'
import { parseCacheControl } from '../../src/input/request-directives.js'

t.test('the directives of a request are parsed', async t => {
  const cases: [string | string[] | undefined, Partial<CacheDirectives>][] = [
    [undefined, {}],
    ['', {}],
    [[], {}],
    ['no-cache', { noCache: true }],
    ['No-Cache', { noCache: true }],
    ['no-store', { noStore: true }],
    ['only-if-cached', { onlyIfCached: true }],
    ['no-cache, no-store,only-if-cached', { noCache: true, noStore: true, onlyIfCached: true }],
    ['max-age=60', { maxAgeSeconds: 60 }],
    ['MAX-AGE="60"', { maxAgeSeconds: 60 }],
    ['max-age = 60', { maxAgeSeconds: 60 }],
    ['max-age=0', { maxAgeSeconds: 0 }],
    ['max-age=007', { maxAgeSeconds: 7 }],
    ['max-age=60, max-age=5, max-age=30', { maxAgeSeconds: 5 }],
    ['max-age=99999999999999999999', { maxAgeSeconds: 2 ** 31 }],
    ['max-age', {}],
    ['max-age=', {}],
    ['max-age=-1', {}],
    ['max-age=1.5', {}],
    ['max-age=soon', {}],
    ['no-cache="set-cookie"', { noCache: true }],
    ['max-stale=100, no-transform, private, x', {}],
    ['x="no-cache, max-age=1", no-store', { noStore: true }],
    ['x="a\\"b, no-cache", no-store', { noStore: true }],
    [',,no-store,,', { noStore: true }],
    [['no-cache', 'max-age=1'], { noCache: true, maxAgeSeconds: 1 }],
    ['x-no-cache, no-cache-x', {}],
  ]
  const nothing = { noCache: false, noStore: false, onlyIfCached: false }
  for (const [header, expected] of cases) {
    t.strictSame(parseCacheControl(header), { ...nothing, ...expected }, JSON.stringify(header))
  }
})
