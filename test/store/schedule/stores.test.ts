import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { Store } from '../../../src/contracts/store.js'
import { openEmbeddedStore } from '../../../src/store/embedded/embedded-store.js'
import { openRedisStore } from '../../../src/store/redis/redis-store.js'
import { eventually } from '../../support/eventually.js'
import { startRedis } from '../../support/programs/redis-server.js'
import { nextMessage } from '../suite/workers.js'
import { change, entry, limits } from './scenario.js'

const PROGRAM = fileURLToPath(new URL('./slot-process.js', import.meta.url))

const server = await startRedis()
t.teardown(() => server.close())

interface Technology {
  target: string
  keyPrefix: string
  open(): Promise<Store>
}

const technologies = {
  redis(t: Test): Technology {
    const keyPrefix = `schedule-${t.name.length}-${Date.now()}`
    const open = () => openRedisStore({ url: server.url, keyPrefix, commandSilenceMs: 10_000 })
    return { target: server.url, keyPrefix, open: () => ending(t, open()) }
  },
  embedded(t: Test): Technology {
    const dir = t.testdir()
    return { target: dir, keyPrefix: '', open: () => ending(t, openEmbeddedStore({ dir, maxBytes: 1_000_000 })) }
  },
}

async function ending(t: Test, opening: Promise<Store>): Promise<Store> {
  const store = await opening
  t.teardown(() => store.close())
  return store
}

for (const [technology, prepare] of Object.entries(technologies)) {
  t.test(technology, async t => {
    t.test('a free slot is granted at once, the next one when it is released', async t => {
      const { schedule } = await prepare(t).open()
      const first = await schedule.step(change('a', { enter: [entry(1), entry(2)] }), limits())
      t.same(
        [...first.own],
        [
          [1, 'running'],
          [2, 'waiting'],
        ],
      )
      t.match(first.placeOf(2), { position: 1, pacedMs: 0, isThrottled: false })
      t.equal(first.placeOf(1), undefined)
      const next = await schedule.step(change('a', { leave: [{ id: 1, usedMs: 1_700 }] }), limits())
      t.same([...next.own], [[2, 'running']])
      const again = await schedule.step(change('a', { leave: [{ id: 1 }], enter: [entry(2)] }), limits())
      t.same([...again.own], [[2, 'running']], 'a repeated change has no further effect')
      const third = await schedule.step(change('a', { enter: [entry(3)] }), limits())
      t.match(third.placeOf(3), { position: 1, slotWaitMs: 1_700 })
    })

    t.test('a forecast changes nothing', async t => {
      const { schedule } = await prepare(t).open()
      t.same([...(await schedule.forecast(change('a', { enter: [entry(0)] }), limits())).own], [[0, 'running']])
      await schedule.step(change('a', { enter: [entry(1)] }), limits())
      const full = await schedule.forecast(change('b', { enter: [entry(0)] }), limits({ maxWaiting: 0 }))
      t.same([...full.own], [[0, 'dropped']])
      const view = await schedule.forecast(change('b', { enter: [entry(0)] }), limits())
      t.match(view.placeOf(0), { position: 1 })
      t.same([...(await schedule.step(change('b'), limits())).own], [])
    })

    t.test('slots that two stores take at the same moment never exceed the limit', async t => {
      const { open } = prepare(t)
      const stores = [await open(), await open()]
      const within = limits({ slots: 5 })
      const steps = Array.from({ length: 30 }, (_, index) =>
        stores[index % 2]?.schedule.step(change(`p${index % 2}`, { enter: [entry(index)] }), within),
      )
      await Promise.all(steps)
      const views = await Promise.all(stores.map(({ schedule }, index) => schedule.step(change(`p${index}`), within)))
      const states = views.flatMap(view => [...(view?.own.values() ?? [])])
      t.equal(states.filter(state => state === 'running').length, 5)
      t.equal(states.filter(state => state === 'waiting').length, 25)
    })

    t.test('a process killed with -9 loses its slots when they expire', async t => {
      const { target, keyPrefix, open } = prepare(t)
      const { schedule } = await open()
      const within = limits({ slots: 2, ttlMs: 1_000 })
      const child = fork(PROGRAM, [technology, target, keyPrefix], { execArgv: [] })
      t.teardown(() => child.kill('SIGKILL'))
      t.equal(await nextMessage(child), 2, 'it has both slots')
      const waiting = await schedule.step(change('a', { enter: [entry(1)] }), within)
      t.same([...waiting.own.values()], ['waiting'])
      child.kill('SIGKILL')
      await eventually('no slot of the dead process became free', async () => {
        const { own } = await schedule.step(change('a'), within)
        return own.get(1) === 'running'
      })
    })
  })
}

t.test('redis: a process is notified of a grant and of a drop by another one', async t => {
  const { open } = technologies.redis(t)
  const [one, other] = [await open(), await open()]
  const notices: string[] = []
  t.teardown(one.schedule.watch('a', () => void notices.push('notice')))
  const within = limits({ maxWaiting: 2 })
  await other.schedule.step(change('b', { enter: [entry(1)] }), within)
  await one.schedule.step(change('a', { enter: [entry(1), entry(2)] }), within)
  // The subscription may begin after the first changes, whose notices are then lost.
  await eventually('no notice came', async () => {
    await other.schedule.step(change('b', { leave: [{ id: 1 }] }), within)
    await one.schedule.step(change('a', { leave: [{ id: 1 }, { id: 2 }] }), within)
    await other.schedule.step(change('b', { enter: [entry(1)] }), within)
    await one.schedule.step(change('a', { enter: [entry(1), entry(2)] }), within)
    return notices.length > 0
  })
  const before = notices.length
  await other.schedule.step(change('b', { enter: [entry(2, { team: 'labs' })] }), within)
  await eventually('no notice of the drop came', () => notices.length > before)
  t.same(
    [...(await one.schedule.step(change('a'), within)).own],
    [
      [1, 'waiting'],
      [2, 'dropped'],
    ],
  )
})
