import t, { type Test } from 'tap'
import { EventStreamParser } from '../../src/pages/dashboard/event-stream.js'
import { type Connection, Live, retryDelayMs } from '../../src/pages/dashboard/live.js'
import { asProblem, Problem, problemOf } from '../../src/pages/dashboard/problem.js'

const STREAM =
  'retry: 3000\n\nevent: overview\ndata: {"a":1}\n\n: a comment\n\ndata: one\ndata: two\n\nevent: alive\n\n'
const EVENTS = [
  { name: 'overview', data: '{"a":1}' },
  { name: 'message', data: 'one\ntwo' },
]

t.test('events are read whatever pieces they come in, and whatever their lines end with', async t => {
  for (const end of ['\n', '\r\n', '\r']) {
    const text = `${STREAM.replaceAll('\n', end)}data: last${end}${end}${end}`
    for (let size = 1; size <= text.length; size++) {
      const parser = new EventStreamParser()
      const pieces = Array.from({ length: Math.ceil(text.length / size) }, (_, i) =>
        text.slice(i * size, (i + 1) * size),
      )
      const read = pieces.flatMap(piece => parser.push(piece))
      t.strictSame(read, [...EVENTS, { name: 'message', data: 'last' }], `${JSON.stringify(end)}, ${size} at a time`)
    }
  }
})

t.test('an event that is cut off is none', async t => {
  const parser = new EventStreamParser()
  t.strictSame(parser.push('event: overview\ndata: {"a"'), [])
})

t.test('tries come twice as far apart each time, up to half a minute', async t => {
  t.strictSame(
    [1, 2, 3, 5, 9, 99].map(failures => retryDelayMs(failures, 1)),
    [1_000, 2_000, 4_000, 16_000, 30_000, 30_000],
  )
  t.equal(retryDelayMs(1, 0), 750, 'and not all pages at once')
})

t.test('a stream that ends is lost, and is found again', async t => {
  const { live, seen, until } = followed(t, [() => events({ n: 1 }), () => events({ n: 2 }, { isOpen: true })])
  live.start()
  const lost = await until('lost')
  t.match(lost, { why: 'The gateway has ended the connection.' })
  live.retryNow()
  await until('live', 2)
  t.strictSame(seen.overviews, [{ n: 1 }, { n: 2 }])
  t.equal(seen.alive, 2)
  t.strictSame(
    seen.connections.map(({ is }) => is),
    ['connecting', 'live', 'lost', 'live'],
  )
})

t.test('a gateway that does not answer is lost, in words of its own', async t => {
  const { live, until } = followed(t, [
    () => {
      throw asProblem(new TypeError('fetch failed'))
    },
  ])
  live.start()
  const lost = await until('lost')
  t.match(lost, { why: 'The gateway does not answer.' })
})

t.test('a key that is refused is not tried again', async t => {
  const { live, seen, until } = followed(t, [
    () => {
      throw new Problem({ message: 'The key is not valid.', status: 401 })
    },
  ])
  live.start()
  t.match(await until('refused'), { why: 'The key is not valid.' })
  live.retryNow()
  t.equal(seen.opened, 1)
})

t.test('problems are told in the words of the gateway, with the id of the request', async t => {
  const body = { title: 'Gone', detail: 'There is no key "abc".', code: 'not_found', requestId: 'r-1' }
  const read = await problemOf(new Response(JSON.stringify(body), { status: 404 }))
  t.match(read, { message: 'There is no key "abc".', status: 404, code: 'not_found', requestId: 'r-1' })
  const proxied = await problemOf(new Response('<html>Bad gateway</html>', { status: 502 }))
  t.match(proxied, { message: 'The gateway answered with status 502.', requestId: '' })
  t.equal(asProblem(read), read)
  t.match(asProblem(new TypeError('fetch failed')).message, /cannot be reached/)
})

/** A page that is answered by these in turn, and what it saw. */
function followed(t: Test, answers: (() => Response)[]) {
  const seen = { overviews: [] as unknown[], connections: [] as Connection[], opened: 0, alive: 0 }
  let waiting: (() => void)[] = []
  const live = new Live<unknown>({
    async open() {
      const answer = answers[seen.opened++]
      if (!answer) throw new Error('asked too often')
      return answer()
    },
    onOverview: overview => seen.overviews.push(overview),
    onAlive: () => {
      seen.alive++
    },
    onConnection(connection) {
      seen.connections.push(connection)
      for (const look of waiting) look()
    },
  })
  t.teardown(() => live.stop())
  const until = (is: Connection['is'], times = 1) =>
    new Promise<Connection>(resolve => {
      const look = () => {
        const found = seen.connections.filter(connection => connection.is === is)[times - 1]
        if (!found) return
        waiting = waiting.filter(one => one !== look)
        // What is done after it was told is done by then.
        setImmediate(() => resolve(found))
      }
      waiting.push(look)
      look()
    })
  return { live, seen, until }
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
