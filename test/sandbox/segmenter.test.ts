import t from 'tap'
import { Segmenter } from '../../src/sandbox/segmenter.js'

const dying = new URL('./dying-worker.js', import.meta.url)
const job = (text: string) => ({ image: Buffer.from(text), points: [], removed: [], overlay: true })

for (const { how, text } of [
  { how: 'ends the thread', text: '!' },
  { how: 'throws in the thread', text: '?' },
]) {
  t.test(`a photo that ${how} fails alone, and a new thread takes over`, async t => {
    const segmenter = new Segmenter(dying)
    t.teardown(() => segmenter.close())
    const outcomes = await Promise.all(['a', 'b', text, 'c'].map(each => segmenter.segment(job(each))))
    t.strictSame(
      outcomes.map(outcome => (outcome.kind === 'answered' ? outcome.jpeg[0] : outcome.kind)),
      [1, 2, 'failed', 1],
    )
  })
}

t.test('closing lets the running job end and fails those that wait', async t => {
  const segmenter = new Segmenter(dying)
  const outcomes = ['a', 'b', 'c'].map(text => segmenter.segment(job(text)))
  await segmenter.close()
  t.strictSame(
    (await Promise.all(outcomes)).map(({ kind }) => kind),
    ['answered', 'failed', 'failed'],
  )
})

t.test('a closed segmenter fails every job and may be closed again', async t => {
  const segmenter = new Segmenter(dying)
  await segmenter.close()
  t.match(await segmenter.segment(job('a')), { kind: 'failed' })
  await segmenter.close()
})
