import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { createSegmindClient } from '../../src/segmind/client.js'
import { awaitJob, type JobClientOptions } from '../../src/segmind/job-client.js'
import { startFakeSegmind } from '../support/doubles/fake-segmind.js'
import { eventually } from '../support/eventually.js'

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')
const NOTHING = { bodySent: true, body: Buffer.alloc(0), end: 'timeout' } as const

/** Creates job options whose polls hang until their deadline. */
function hanging(
  options: Pick<JobClientOptions, 'deadline' | 'pollDeadline' | 'closing'>,
): JobClientOptions & { polls: number } {
  const jobs: JobClientOptions & { polls: number } = {
    ...options,
    polls: 0,
    get: (_path, { deadline }) => {
      jobs.polls++
      return new Promise(resolve => {
        if (deadline.aborted) resolve(NOTHING)
        deadline.addEventListener('abort', () => resolve(NOTHING))
      })
    },
    fetchOutput: () => Promise.reject(new Error('no picture')),
    wait: () => new Promise(resolve => setImmediate(resolve)),
    context: () => ({ apiKey: 'SG_key', now: 0 }),
  }
  return jobs
}

t.test('a hanging poll ends at its deadline, also after a garbage collection', async t => {
  const closing = new AbortController()
  const jobs = hanging({
    deadline: () => new AbortController().signal,
    pollDeadline: () => AbortSignal.timeout(20),
    closing: closing.signal,
  })
  const job = awaitJob('job-1', jobs)
  await eventually('the job was polled fewer than three times', () => {
    collectGarbage()
    return jobs.polls >= 3
  })
  closing.abort()
  t.match(await job, { kind: 'failed', error: { code: 'upstream_timeout', billed: 'unknown' } })
})

t.test('polls leave no listener on a signal that outlives them', async t => {
  const closing = new AbortController()
  let listeners = 0
  const { addEventListener, removeEventListener } = closing.signal
  closing.signal.addEventListener = (...args: Parameters<AbortSignal['addEventListener']>) => {
    listeners++
    addEventListener.apply(closing.signal, args)
  }
  closing.signal.removeEventListener = (...args: Parameters<AbortSignal['removeEventListener']>) => {
    listeners--
    removeEventListener.apply(closing.signal, args)
  }
  const deadline = new AbortController()
  const jobs = hanging({
    deadline: () => deadline.signal,
    pollDeadline: () => AbortSignal.timeout(1),
    closing: closing.signal,
  })
  const job = awaitJob('job-1', jobs)
  await eventually('the job was polled fewer than three times', () => jobs.polls >= 3)
  t.ok(listeners > 0)
  deadline.abort()
  await job
  t.equal(listeners, 0)
})

t.test('a closing client polls no job', async t => {
  const jobs = hanging({
    deadline: () => new AbortController().signal,
    pollDeadline: () => new AbortController().signal,
    closing: AbortSignal.abort(),
  })
  t.match(await awaitJob('job-1', jobs), { kind: 'failed', error: { code: 'upstream_timeout', billed: 'unknown' } })
  t.equal(jobs.polls, 0)
})

t.test('the deadline of a job starts when Segmind accepts it', async t => {
  const fake = await startFakeSegmind()
  let now = 0
  const begun: number[] = []
  const client = createSegmindClient({
    baseUrl: fake.url,
    apiKey: fake.apiKey,
    api: 'v2',
    timeoutMs: 60_000,
    maxConcurrency: 1,
    random: () => 0,
    now: () => now,
    wait: async ms => {
      now += ms
    },
    deadline: ms => {
      if (ms === 60_000) begun.push(now)
      return new AbortController().signal
    },
  })
  t.teardown(async () => {
    await client.close()
    await fake.close()
  })
  fake.script({ status: 500, body: '' }, {})
  let deadlinesAtReport = -1
  const outcome = await client.segment(
    { type: 'jpeg', digest: '0'.repeat(64), chunks: [Buffer.from('picture')], byteLength: 7 },
    { prompt: 'cat', overlayMask: true },
    {
      question: 'q',
      onSubmitted: async () => {
        deadlinesAtReport = begun.length
      },
    },
  )
  t.equal(outcome.kind, 'answered')
  t.same(begun, [0, 125])
  t.equal(deadlinesAtReport, 2, 'the deadline runs while the job is reported')
})
