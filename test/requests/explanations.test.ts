import t from 'tap'
import { Explanations } from '../../src/requests/explanations.js'
import { Story } from '../../src/segment/story.js'
import type { Blob, BlobStore } from '../../src/storage.js'

function open(pass: () => Promise<void> = async () => {}) {
  const blobs = new Map<string, Blob>()
  const failures: unknown[] = []
  const state = { now: 1_000_000, isDown: false, writes: 0 }
  const store: BlobStore = {
    get: async key => blobs.get(key),
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
  const explanations = new Explanations({
    store,
    findCall: async () => undefined,
    now: () => state.now,
    onStoreFailure: error => failures.push(error),
  })
  return { explanations, state, failures, blobs }
}

function finished(requestId: string, story = new Story()) {
  return {
    requestId,
    route: '/segment',
    team: 'vision',
    keyId: 'k',
    status: 200,
    how: 'hit',
    durationMs: 1,
    upstreamMs: 0,
    story,
  }
}

function flown(): Story {
  const story = new Story()
  story.flight = { role: 'leader' }
  return story
}

t.test('of plain hits a hundred at once are kept and five a second; of what was bought, everything', async t => {
  const { explanations, state, blobs } = open()
  for (let hit = 0; hit < 150; hit++) explanations.take(finished(`hit ${hit}`))
  await explanations.idle()
  t.equal(blobs.size, 100)
  for (let bought = 0; bought < 50; bought++) explanations.take(finished(`bought ${bought}`, flown()))
  await explanations.idle()
  t.equal(blobs.size, 150)
  state.now += 2_000
  for (let hit = 0; hit < 50; hit++) explanations.take(finished(`later ${hit}`))
  await explanations.idle()
  t.equal(blobs.size, 160)
})

t.test('at most twenty are kept under one id, those of one process in order', async t => {
  const { explanations, state } = open()
  for (let time = 0; time < 25; time++) {
    state.now++
    explanations.take({ ...finished('same', flown()), status: 200 + time })
  }
  await explanations.idle()
  const all = (await explanations.find('same')) as { status: number }[]
  t.same(
    all.map(({ status }) => status),
    Array.from({ length: 20 }, (_, index) => 224 - index),
  )
})

t.test('a store that is down is counted, and no request hears of it', async t => {
  const { explanations, state, failures } = open()
  state.isDown = true
  explanations.take(finished('one', flown()))
  await explanations.idle()
  t.equal(failures.length, 1)
  state.isDown = false
  explanations.take(finished('one', flown()))
  await explanations.idle()
  t.equal((await explanations.find('one')).length, 1)
})

t.test('while the store is slow no more than a bounded number wait for it', async t => {
  let go = () => {}
  const gate = new Promise<void>(resolve => {
    go = resolve
  })
  const { explanations, state } = open(() => gate)
  for (let request = 0; request < 500; request++) explanations.take(finished(`${request}`, flown()))
  go()
  await explanations.idle()
  t.equal(state.writes, 200)
})
