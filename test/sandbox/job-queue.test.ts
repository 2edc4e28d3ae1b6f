import t, { type Test } from 'tap'
import { Account, costOf, ESTIMATE } from '../../src/sandbox/account.js'
import type { SandboxContext } from '../../src/sandbox/context.js'
import { type CompletedJob, type JobLimits, JobQueue } from '../../src/sandbox/job-queue.js'
import { RequestLog } from '../../src/sandbox/request-log.js'
import { parseInput, type SegmentInput } from '../../src/sandbox/segment-input.js'
import { WorkerSegmenter } from '../../src/sandbox/segmenter.js'
import { eventually } from '../support/eventually.js'

const crashingWorker = new URL('./crashing-worker.js', import.meta.url)
const HOUR_MS = 3_600_000
const INITIAL_BALANCE = 1_000_000_000

/** Starts a queue whose worker makes pictures of one byte. The test ends each wait. */
function start(t: Test, { credits = INITIAL_BALANCE, latencyMs = 0, ...limits }: Partial<Setup> = {}) {
  const closing = new AbortController()
  const clock = { now: 10_000 }
  const waits: { milliseconds: number; end: () => void }[] = []
  const context: SandboxContext = {
    requests: new RequestLog(Date.now),
    account: new Account(credits),
    segmenter: new WorkerSegmenter(crashingWorker),
    latencyMs,
    now: () => clock.now,
    wait: (milliseconds, until) =>
      new Promise<void>(resolve => {
        waits.push({ milliseconds, end: resolve })
        until.addEventListener('abort', () => resolve())
      }),
    closing: closing.signal,
  }
  const jobs = new JobQueue(context, limits)
  const close = async () => {
    closing.abort()
    await nextTick() // the server closes its port meanwhile: no job may start
    await context.segmenter.close()
    await jobs.idle()
  }
  t.teardown(close)
  const submit = (text: string, prompt = 'red') => {
    const submitted = jobs.submit(inputOf(text, prompt))
    return 'id' in submitted ? submitted.id : submitted.rejected
  }
  return { jobs, account: context.account, clock, waits, submit, close }
}

type Setup = JobLimits & { credits: number; latencyMs: number }

function inputOf(text: string, prompt: string): SegmentInput {
  const input = parseInput({ image: Buffer.from(text), prompt }, 'v2')
  if ('status' in input) throw new Error(input.error)
  return input
}

async function completed(jobs: JobQueue, id: string): Promise<CompletedJob> {
  await jobs.idle()
  const job = jobs.find(id)
  if (job?.status !== 'COMPLETED') throw new Error(`${id} is ${job?.status}`)
  return job
}

t.test('a job completes with its times and is charged once', async t => {
  const { jobs, account, clock, waits, submit } = start(t, { latencyMs: 30 })
  const id = submit('a')
  t.strictSame(jobs.find(id), { status: 'PROCESSING' })
  t.equal(waits[0]?.milliseconds, 30)
  t.equal(account.balance, INITIAL_BALANCE)
  clock.now += 1700
  waits[0]?.end()
  const job = await completed(jobs, id)
  const cost = costOf(Buffer.from('a'), inputOf('a', 'red').question)
  t.match(job, { cost, remaining: INITIAL_BALANCE - cost, times: { queuedMs: 0, inferenceMs: 1700 } })
  t.strictSame(jobs.find(id), job)
  t.equal(account.calls, 1)
  t.equal(account.balance, INITIAL_BALANCE - cost)
  t.strictSame(jobs.output(job.outputId), { jpeg: Buffer.of(1), isCut: false })
})

t.test('jobs above the concurrency limit wait in the queue', async t => {
  const { jobs, clock, waits, submit } = start(t, { latencyMs: 1, concurrency: 2 })
  const ids = ['a', 'b', 'c', 'd'].map(text => submit(text))
  const statuses = () => ids.map(id => jobs.find(id)?.status)
  t.strictSame(statuses(), ['PROCESSING', 'PROCESSING', 'QUEUED', 'QUEUED'])
  clock.now += 250
  waits[1]?.end()
  await eventually('fewer than 3 delays began', () => waits.length >= 3)
  t.strictSame(statuses(), ['PROCESSING', 'COMPLETED', 'PROCESSING', 'QUEUED'])
  waits[2]?.end()
  await eventually('fewer than 4 delays began', () => waits.length >= 4)
  t.match(jobs.find(ids[2] ?? ''), { times: { queuedMs: 250, inferenceMs: 0 } })
  waits[0]?.end()
  waits[3]?.end()
  await jobs.idle()
  t.strictSame(statuses(), ['COMPLETED', 'COMPLETED', 'COMPLETED', 'COMPLETED'])
})

for (const { cause, text, prompt, error } of [
  { cause: 'a trigger requests it', text: 'a', prompt: 'sandbox:fail red', error: 'Inference failed' },
  { cause: 'its image crashes the worker', text: '!', prompt: 'red', error: 'Internal Polling Error' },
]) {
  t.test(`a job fails when ${cause}, and its reservation is released`, async t => {
    const { jobs, account, submit } = start(t, { credits: ESTIMATE })
    const id = submit(text, prompt)
    t.equal(submit('b'), 'no_credits', 'while they are reserved')
    await jobs.idle()
    t.match(jobs.find(id), { status: 'FAILED', error })
    t.equal(account.balance, ESTIMATE)
    t.equal(account.calls, 0)
    t.equal((await completed(jobs, submit('b'))).status, 'COMPLETED')
  })
}

t.test('a job with the trigger fail waits for the delay and the latency', async t => {
  const { jobs, waits, submit } = start(t, { latencyMs: 30 })
  const id = submit('a', 'sandbox:fail sandbox:delay=40')
  t.match(jobs.find(id), { status: 'PROCESSING' })
  for (const [index, milliseconds] of [40, 30].entries()) {
    await eventually(`delay ${index} never began`, () => waits[index])
    t.equal(waits[index]?.milliseconds, milliseconds)
    t.match(jobs.find(id), { status: 'PROCESSING' })
    waits[index]?.end()
  }
  await jobs.idle()
  t.match(jobs.find(id), { status: 'FAILED' })
})

t.test('a repeated question gets a new job, a new output and a new charge', async t => {
  const { jobs, account, submit } = start(t)
  const ids = [submit('a'), submit('a')]
  const [one, other] = await Promise.all(ids.map(id => completed(jobs, id)))
  t.not(ids[0], ids[1])
  t.not(one?.outputId, other?.outputId)
  for (const id of [...ids, one?.outputId, other?.outputId]) t.match(id, /^[0-9a-f]{32}$/)
  t.equal(one?.cost, other?.cost)
  t.equal(account.calls, 2)
})

t.test('records and outputs expire an hour after the end of the job', async t => {
  const { jobs, clock, waits, submit } = start(t, { latencyMs: 1 })
  const id = submit('a')
  clock.now += 2 * HOUR_MS
  t.match(jobs.find(id), { status: 'PROCESSING' })
  waits[0]?.end()
  const { outputId } = await completed(jobs, id)
  clock.now += HOUR_MS - 1
  t.ok(jobs.find(id))
  t.ok(jobs.output(outputId))
  clock.now += 1
  t.equal(jobs.find(id), undefined)
  t.equal(jobs.output(outputId), undefined)
})

t.test('a failed job expires after an hour', async t => {
  const { jobs, clock, submit } = start(t)
  const id = submit('a', 'sandbox:fail')
  await jobs.idle()
  clock.now += HOUR_MS
  t.equal(jobs.find(id), undefined)
})

t.test('the newest records and outputs are kept within the limits', async t => {
  const { jobs, submit } = start(t, { maxFinished: 3, maxOutputBytes: 2 })
  const ids: string[] = []
  const outputIds: string[] = []
  for (const text of ['a', 'b', 'c', 'd']) {
    const id = submit(text)
    ids.push(id)
    outputIds.push((await completed(jobs, id)).outputId)
  }
  t.strictSame(
    ids.map(id => jobs.find(id) !== undefined),
    [false, true, true, true],
  )
  t.strictSame(
    outputIds.map(id => jobs.output(id)?.jpeg[0]),
    [undefined, undefined, 3, 4],
  )
})

t.test('a job above the limit of open jobs or bytes is rejected without a reservation', async t => {
  for (const limit of [{ maxOpen: 2 }, { maxOpenBytes: 2 }]) {
    const { jobs, account, waits, submit } = start(t, { latencyMs: 1, concurrency: 1, credits: 3 * ESTIMATE, ...limit })
    submit('a')
    submit('b')
    t.equal(submit('c'), 'full')
    t.ok(account.reserve())
    account.release()
    waits[0]?.end()
    await eventually('fewer than 2 delays began', () => waits.length >= 2)
    t.match(submit('c'), /^[0-9a-f]{32}$/)
    t.equal(submit('d'), 'full')
    waits[1]?.end()
    await eventually('fewer than 3 delays began', () => waits.length >= 3)
    waits[2]?.end()
    await jobs.idle()
    t.equal(account.calls, 3)
  }
})

t.test('closing fails waiting jobs and releases their reservations', async t => {
  const { jobs, account, waits, submit, close } = start(t, { concurrency: 2, credits: 3 * ESTIMATE })
  const ids = ['a', 'b', 'c'].map(text => submit(text, 'sandbox:delay=600000'))
  t.equal(waits.length, 2)
  await close()
  for (const id of ids) t.match(jobs.find(id), { status: 'FAILED', error: 'Internal Polling Error' })
  t.equal(waits.length, 2, 'the queued job did not start')
  t.equal(account.calls, 0)
  t.ok(account.reserve() && account.reserve() && account.reserve())
})

t.test('closing finishes the job that the worker is running', async t => {
  const { jobs, account, submit, close } = start(t)
  const id = submit('a')
  await close()
  t.match(jobs.find(id), { status: 'COMPLETED' })
  t.equal(account.calls, 1)
})

function nextTick(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}
