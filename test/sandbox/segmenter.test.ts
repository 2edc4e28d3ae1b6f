import t from 'tap'
import { WorkerSegmenter } from '../../src/sandbox/segmenter.js'

const crashingWorker = new URL('./crashing-worker.js', import.meta.url)
const question = (text: string) => ({ image: Buffer.from(text), points: [], removed: [], overlay: true })

for (const { crash, text } of [
  { crash: 'ends the thread', text: '!' },
  { crash: 'throws in the thread', text: '?' },
]) {
  t.test(`only the photo that ${crash} fails, and a new thread segments the next one`, async t => {
    const segmenter = new WorkerSegmenter(crashingWorker)
    t.teardown(() => segmenter.close())
    const outcomes = await Promise.all(['a', 'b', text, 'c'].map(each => segmenter.segment(question(each))))
    t.strictSame(
      outcomes.map(outcome => (outcome.kind === 'answered' ? outcome.jpeg[0] : outcome.kind)),
      [1, 2, 'failed', 1],
    )
  })
}

t.test('close finishes the running segmentation and fails the queued ones', async t => {
  const segmenter = new WorkerSegmenter(crashingWorker)
  const outcomes = ['a', 'b', 'c'].map(text => segmenter.segment(question(text)))
  await segmenter.close()
  t.strictSame(
    (await Promise.all(outcomes)).map(({ kind }) => kind),
    ['answered', 'failed', 'failed'],
  )
})

t.test('a closed segmenter fails every segmentation and can be closed again', async t => {
  const segmenter = new WorkerSegmenter(crashingWorker)
  await segmenter.close()
  t.match(await segmenter.segment(question('a')), { kind: 'failed' })
  await segmenter.close()
})
