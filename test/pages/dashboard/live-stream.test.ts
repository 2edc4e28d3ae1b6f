import t, { type Test } from 'tap'
import { GatewayProblem, networkProblem } from '../../../src/client/problem.js'
import { EventStreamParser } from '../../../src/pages/dashboard/api/event-stream.js'
import { type Connection, LiveStream, retryDelayMs } from '../../../src/pages/dashboard/api/live-stream.js'

const STREAM =
  'retry: 3000\n\nevent: overview\ndata: {"a":1}\n\n: a comment\n\ndata: one\ndata: two\n\nevent: alive\n\n'
const EVENTS = [
  { name: 'overview', data: '{"a":1}' },
  { name: 'message', data: 'one\ntwo' },
]

t.test('events are parsed from chunks of any size and with any line ending', async t => {
  for (const end of ['\n', '\r\n', '\r']) {
    const text = `${STREAM.replaceAll('\n', end)}data: last${end}${end}${end}`
    for (let size = 1; size <= text.length; size++) {
      const parser = new EventStreamParser()
      const chunks = Array.from({ length: Math.ceil(text.length / size) }, (_, i) =>
        text.slice(i * size, (i + 1) * size),
      )
      const events = chunks.flatMap(chunk => parser.push(chunk))
      t.strictSame(events, [...EVENTS, { name: 'message', data: 'last' }], `${JSON.stringify(end)}, ${size} at a time`)
    }
  }
})

t.test('an incomplete event is not reported', async t => {
  const parser = new EventStreamParser()
  t.strictSame(parser.push('event: overview\ndata: {"a"'), [])
})

t.test('the retry delay doubles up to 30 seconds', async t => {
  t.strictSame(
    [1, 2, 3, 5, 9, 99].map(failures => retryDelayMs(failures, 1)),
    [1_000, 2_000, 4_000, 16_000, 30_000, 30_000],
  )
  t.equal(retryDelayMs(1, 0), 750, 'with jitter')
})

t.test('a stream that ends is reported as lost and can be reopened', async t => {
  const { stream, seen, reached } = follow(t, [() => events({ n: 1 }), () => events({ n: 2 }, { isOpen: true })])
  stream.start()
  t.match(await reached('lost'), { reason: 'The gateway closed the connection.' })
  stream.retryNow()
  await reached('live', 2)
  t.strictSame(seen.overviews, [{ n: 1 }, { n: 2 }])
  t.equal(seen.alive, 2)
  t.strictSame(
    seen.connections.map(({ state }) => state),
    ['connecting', 'live', 'lost', 'live'],
  )
})

t.test('a gateway that does not respond is reported as lost', async t => {
  const { stream, reached } = follow(t, [
    () => {
      throw networkProblem(new TypeError('fetch failed'))
    },
  ])
  stream.start()
  t.match(await reached('lost'), { reason: 'The gateway is not responding.' })
})

t.test('a refused key is not retried', async t => {
  const refused = { code: 'unauthorized', status: 401, retryable: false, billed: 'no' } as const
  const { stream, seen, reached } = follow(t, [
    () => {
      throw new GatewayProblem('The key is not valid.', refused)
    },
  ])
  stream.start()
  t.match(await reached('refused'), { reason: 'The key is not valid.' })
  stream.retryNow()
  t.equal(seen.opened, 1)
})

/** Follows a stream that gets these responses in order, and records its events. */
function follow(t: Test, responses: (() => Response)[]) {
  const seen = { overviews: [] as unknown[], connections: [] as Connection[], opened: 0, alive: 0 }
  let waiting: (() => void)[] = []
  const stream = new LiveStream<unknown>({
    async open() {
      const response = responses[seen.opened++]
      if (!response) throw new Error('opened too often')
      return response()
    },
    onOverview: overview => seen.overviews.push(overview),
    onAlive: () => {
      seen.alive++
    },
    onConnection(connection) {
      seen.connections.push(connection)
      for (const check of waiting) check()
    },
  })
  t.teardown(() => stream.stop())
  const reached = (state: Connection['state'], times = 1) =>
    new Promise<Connection>(resolve => {
      const check = () => {
        const found = seen.connections.filter(connection => connection.state === state)[times - 1]
        if (!found) return
        waiting = waiting.filter(one => one !== check)
        // Lets the stream finish its work after the callback.
        setImmediate(() => resolve(found))
      }
      waiting.push(check)
      check()
    })
  return { stream, seen, reached }
}

function events(overview: object, { isOpen = false } = {}): Response {
  const text = `retry: 3000\n\nevent: alive\ndata: {}\n\nevent: overview\ndata: ${JSON.stringify(overview)}\n\n`
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(text))
      if (!isOpen) controller.close()
    },
  })
  return new Response(body)
}
