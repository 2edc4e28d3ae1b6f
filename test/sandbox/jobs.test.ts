import t, { type Test } from 'tap'
import { Account, costOf, ESTIMATE } from '../../src/sandbox/account.js'
import type { Desk } from '../../src/sandbox/desk.js'
import { type Completed, type JobLimits, Jobs } from '../../src/sandbox/jobs.js'
import { type Order, readOrder } from '../../src/sandbox/order.js'
import { Segmenter } from '../../src/sandbox/segmenter.js'

const dying = new URL('./dying-worker.js', import.meta.url)
const HOUR_MS = 3_600_000
const RICH = 1_000_000_000

/** Jobs whose worker makes pictures of one byte, and whose waits end when the test opens them. */
function start(t: Test, { credits = RICH, latencyMs = 0, ...limits }: Partial<Setup> = {}) {
  const closing = new AbortController()
  const clock = { now: 10_000 }
  const waits: { milliseconds: number; open: () => void }[] = []
  const desk: Desk = {
    account: new Account(credits),
    segmenter: new Segmenter(dying),
    latencyMs,
    now: () => clock.now,
    wait: (milliseconds, until) =>
      new Promise(open => {
        waits.push({ milliseconds, open })
        until.addEventListener('abort', () => open())
      }),
    closing: closing.signal,
  }
  const jobs = new Jobs(desk, limits)
  const close = async () => {
    closing.abort()
    await turn() // the server closes its port here: nothing new may begin meanwhile
    await desk.segmenter.close()
    await jobs.settled()
  }
  t.teardown(close)
  const submit = (text: string, prompt = 'red') => {
    const taken = jobs.submit(orderOf(text, prompt))
    return 'id' in taken ? taken.id : taken.refused
  }
  return { jobs, account: desk.account, clock, waits, submit, close }
}

type Setup = JobLimits & { credits: number; latencyMs: number }

function orderOf(text: string, prompt: string): Order {
  const order = readOrder({ image: Buffer.from(text), prompt }, 'v2')
  if ('status' in order) throw new Error(order.error)
  return order
}

async function completed(jobs: Jobs, id: string): Promise<Completed> {
  await jobs.settled()
  const job = jobs.look(id)
  if (job?.status !== 'COMPLETED') throw new Error(`${id} is ${job?.status}`)
  return job
}

t.test('a job is processed, completes with its times, and is billed once, then', async t => {
  const { jobs, account, clock, waits, submit } = start(t, { latencyMs: 30 })
  const id = submit('a')
  t.strictSame(jobs.look(id), { status: 'PROCESSING' })
  t.equal(waits[0]?.milliseconds, 30)
  t.equal(account.balance, RICH)
  clock.now += 1700
  waits[0]?.open()
  const job = await completed(jobs, id)
  const cost = costOf(Buffer.from('a'), orderOf('a', 'red').question)
  t.match(job, { cost, remaining: RICH - cost, times: { queuedMs: 0, inferenceMs: 1700 } })
  t.strictSame(jobs.look(id), job)
  t.equal(account.calls, 1)
  t.equal(account.balance, RICH - cost)
  t.strictSame(jobs.output(job.outputId), { jpeg: Buffer.of(1), cut: false })
})

t.test('a job waits in the queue while as many as may be are worked on', async t => {
  const { jobs, clock, waits, submit } = start(t, { latencyMs: 1, atOnce: 2 })
  const ids = ['a', 'b', 'c', 'd'].map(text => submit(text))
  const statuses = () => ids.map(id => jobs.look(id)?.status)
  t.strictSame(statuses(), ['PROCESSING', 'PROCESSING', 'QUEUED', 'QUEUED'])
  clock.now += 250
  waits[1]?.open()
  while (waits.length < 3) await turn()
  t.strictSame(statuses(), ['PROCESSING', 'COMPLETED', 'PROCESSING', 'QUEUED'])
  waits[2]?.open()
  while (waits.length < 4) await turn()
  t.match(jobs.look(ids[2] ?? ''), { times: { queuedMs: 250, inferenceMs: 0 } })
  waits[0]?.open()
  waits[3]?.open()
  await jobs.settled()
  t.strictSame(statuses(), ['COMPLETED', 'COMPLETED', 'COMPLETED', 'COMPLETED'])
})

for (const { why, text, prompt, error } of [
  { why: 'a trigger says so', text: 'a', prompt: 'sandbox:fail red', error: 'Inference failed' },
  { why: 'its picture kills the worker', text: '!', prompt: 'red', error: 'Internal Polling Error' },
]) {
  t.test(`a job fails when ${why}, and gives its credits back`, async t => {
    const { jobs, account, submit } = start(t, { credits: ESTIMATE })
    const id = submit(text, prompt)
    t.equal(submit('b'), 'spent', 'while they are held')
    await jobs.settled()
    t.match(jobs.look(id), { status: 'FAILED', error })
    t.equal(account.balance, ESTIMATE)
    t.equal(account.calls, 0)
    t.equal((await completed(jobs, submit('b'))).status, 'COMPLETED')
  })
}

t.test('a job that fails on request takes its time, too', async t => {
  const { jobs, waits, submit } = start(t, { latencyMs: 30 })
  const id = submit('a', 'sandbox:fail sandbox:delay=40')
  t.match(jobs.look(id), { status: 'PROCESSING' })
  for (const [index, milliseconds] of [40, 30].entries()) {
    while (!waits[index]) await turn()
    t.equal(waits[index]?.milliseconds, milliseconds)
    t.match(jobs.look(id), { status: 'PROCESSING' })
    waits[index]?.open()
  }
  await jobs.settled()
  t.match(jobs.look(id), { status: 'FAILED' })
})

t.test('the same question as another job is another job, at another address, and another bill', async t => {
  const { jobs, account, submit } = start(t)
  const ids = [submit('a'), submit('a')]
  const [one, other] = await Promise.all(ids.map(id => completed(jobs, id)))
  t.not(ids[0], ids[1])
  t.not(one?.outputId, other?.outputId)
  for (const id of [...ids, one?.outputId, other?.outputId]) t.match(id, /^[0-9a-f]{32}$/)
  t.equal(one?.cost, other?.cost)
  t.equal(account.calls, 2)
})

t.test('records and outputs are kept for an hour after the job ended, however long it took', async t => {
  const { jobs, clock, waits, submit } = start(t, { latencyMs: 1 })
  const id = submit('a')
  clock.now += 2 * HOUR_MS
  t.match(jobs.look(id), { status: 'PROCESSING' })
  waits[0]?.open()
  const { outputId } = await completed(jobs, id)
  clock.now += HOUR_MS - 1
  t.ok(jobs.look(id))
  t.ok(jobs.output(outputId))
  clock.now += 1
  t.equal(jobs.look(id), undefined)
  t.equal(jobs.output(outputId), undefined)
})

t.test('a failed job is forgotten after an hour, too', async t => {
  const { jobs, clock, submit } = start(t)
  const id = submit('a', 'sandbox:fail')
  await jobs.settled()
  clock.now += HOUR_MS
  t.equal(jobs.look(id), undefined)
})

t.test('only so many records and bytes of output are kept, the newest ones', async t => {
  const { jobs, submit } = start(t, { ended: 3, outputBytes: 2 })
  const ids: string[] = []
  const outputIds: string[] = []
  for (const text of ['a', 'b', 'c', 'd']) {
    const id = submit(text)
    ids.push(id)
    outputIds.push((await completed(jobs, id)).outputId)
  }
  t.strictSame(
    ids.map(id => jobs.look(id) !== undefined),
    [false, true, true, true],
  )
  t.strictSame(
    outputIds.map(id => jobs.output(id)?.jpeg[0]),
    [undefined, undefined, 3, 4],
  )
})

t.test('no more jobs are taken than may be open, nor more bytes, and a refusal holds no credits', async t => {
  for (const limit of [{ open: 2 }, { openBytes: 2 }]) {
    const { jobs, account, waits, submit } = start(t, { latencyMs: 1, atOnce: 1, credits: 3 * ESTIMATE, ...limit })
    submit('a')
    submit('b')
    t.equal(submit('c'), 'full')
    t.ok(account.hold())
    account.release()
    waits[0]?.open()
    while (waits.length < 2) await turn()
    t.match(submit('c'), /^[0-9a-f]{32}$/)
    t.equal(submit('d'), 'full')
    waits[1]?.open()
    while (waits.length < 3) await turn()
    waits[2]?.open()
    await jobs.settled()
    t.equal(account.calls, 3)
  }
})

t.test('closing fails the jobs that wait, gives their credits back, and leaves none open', async t => {
  const { jobs, account, waits, submit, close } = start(t, { atOnce: 2, credits: 3 * ESTIMATE })
  const ids = ['a', 'b', 'c'].map(text => submit(text, 'sandbox:delay=600000'))
  t.equal(waits.length, 2)
  await close()
  for (const id of ids) t.match(jobs.look(id), { status: 'FAILED', error: 'Internal Polling Error' })
  t.equal(waits.length, 2, 'the queued one began no wait')
  t.equal(account.calls, 0)
  t.ok(account.hold() && account.hold() && account.hold())
})

t.test('closing lets the job end that the worker is at', async t => {
  const { jobs, account, submit, close } = start(t)
  const id = submit('a')
  await close()
  t.match(jobs.look(id), { status: 'COMPLETED' })
  t.equal(account.calls, 1)
})

function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}
