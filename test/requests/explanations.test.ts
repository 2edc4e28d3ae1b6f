import t from 'tap'
import type { FinishedRequest } from '../../src/contracts/records.js'
import type { Blob, BlobStore } from '../../src/contracts/store.js'
import { ExplanationLog } from '../../src/requests/explanations.js'
import { Story } from '../../src/segment/story.js'
import { eventually } from '../support/eventually.js'

function open(pass: () => Promise<void> = async () => {}) {
  const blobs = new Map<string, Blob>()
  const failures: unknown[] = []
  const state = { now: 1_000_000, isDown: false, reads: 0, writes: 0 }
  const store: BlobStore = {
    async get(key) {
      state.reads++
      return blobs.get(key)
    },
    async put(key, blob, ttlSeconds) {
      await pass()
      if (state.isDown) throw new Error('down')
      state.writes++
      t.equal(ttlSeconds, 86_400)
      blobs.set(key, blob)
    },
    has: async key => blobs.has(key),
    clear: async () => 0,
    delete: async key => blobs.delete(key),
  }
  const explanations = new ExplanationLog({
    store,
    findCall: async () => undefined,
    now: () => state.now,
    observer: { storeFailed: error => failures.push(error) },
  })
  return { explanations, state, failures, blobs }
}

function finished(requestId: string, story = new Story(), status = 200): [FinishedRequest, Story] {
  const request = {
    requestId,
    method: 'POST',
    startedAt: 0,
    route: '/segment',
    team: 'vision',
    keyId: 'k',
    status,
    cache: 'hit',
    durationMs: 1,
    upstreamMs: 0,
    uploadBytes: 0,
  }
  return [request, story]
}

function storyWithFlight(): Story {
  const story = new Story()
  story.flight = { role: 'leader' }
  return story
}

t.test('of hits a burst of a hundred and five a second are kept, and all purchases', async t => {
  const { explanations, state, blobs } = open()
  for (let hit = 0; hit < 150; hit++) explanations.record(...finished(`hit ${hit}`))
  await explanations.idle()
  t.equal(blobs.size, 100)
  for (let purchase = 0; purchase < 50; purchase++)
    explanations.record(...finished(`purchase ${purchase}`, storyWithFlight()))
  await explanations.idle()
  t.equal(blobs.size, 150)
  state.now += 2_000
  for (let hit = 0; hit < 50; hit++) explanations.record(...finished(`later ${hit}`))
  await explanations.idle()
  t.equal(blobs.size, 160)
})

t.test('explanations are written together after a while, and at once when they are looked for', async t => {
  const { explanations, state, blobs } = open()
  const story = storyWithFlight()
  story.work = Promise.resolve()
  for (const id of ['one', 'two']) explanations.record(...finished(id, story))
  await story.work
  t.equal(state.writes, 0)
  await eventually('nothing was written', async () => blobs.size === 2)
  t.equal(state.writes, 2, 'once each, although the purchase has ended meanwhile')
  explanations.record(...finished('three'))
  t.equal((await explanations.find('three')).length, 1)
})

t.test('at most twenty explanations are kept under one id, in order', async t => {
  const { explanations, state } = open()
  for (let time = 0; time < 25; time++) {
    state.now++
    explanations.record(...finished('same', storyWithFlight(), 200 + time))
  }
  await explanations.idle()
  const all = (await explanations.find('same')) as { status: number }[]
  t.same(
    all.map(({ status }) => status),
    Array.from({ length: 20 }, (_, index) => 224 - index),
  )
})

t.test('under a new id nothing is read at first, and later explanations are kept', async t => {
  const { explanations, state } = open()
  let end = () => {}
  const story = storyWithFlight()
  story.work = new Promise<void>(resolve => {
    end = resolve
  })
  const [request] = finished('new', story)
  explanations.record({ ...request, isNewId: true }, story)
  await explanations.idle()
  t.equal(state.reads, 0)
  explanations.record(...finished('new', storyWithFlight(), 404))
  await explanations.idle()
  end()
  await story.work
  await explanations.idle()
  const all = (await explanations.find('new')) as { status: number }[]
  t.same(all.map(({ status }) => status).toSorted(), [200, 404])
})

t.test('a store failure is counted and does not affect requests', async t => {
  const { explanations, state, failures } = open()
  state.isDown = true
  explanations.record(...finished('one', storyWithFlight()))
  await explanations.idle()
  t.equal(failures.length, 1)
  state.isDown = false
  explanations.record(...finished('one', storyWithFlight()))
  await explanations.idle()
  t.equal((await explanations.find('one')).length, 1)
})

t.test('a request that cannot be explained does not keep later ones from being written', async t => {
  const { explanations, failures } = open()
  const story = storyWithFlight()
  story.looks.push({ when: 'first', found: 'unwanted', boughtAt: Number.NaN, isSure: true })
  explanations.record(...finished('damaged', story))
  await explanations.idle()
  t.equal(failures.length, 1)
  explanations.record(...finished('later', storyWithFlight()))
  t.equal((await explanations.find('later')).length, 1)
})

t.test('while the store is slow, a bounded number of writes wait for it', async t => {
  let go = () => {}
  const gate = new Promise<void>(resolve => {
    go = resolve
  })
  const { explanations, state } = open(() => gate)
  for (let request = 0; request < 500; request++) explanations.record(...finished(`${request}`, storyWithFlight()))
  go()
  await explanations.idle()
  t.equal(state.writes, 200)
})
