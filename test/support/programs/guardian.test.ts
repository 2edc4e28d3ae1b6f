import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { guard } from './guardian.js'

t.test('watched processes are killed and the folder is removed; forgotten processes continue', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'guardian-test-'))
  const [watched, forgotten, other] = [idle(), idle(), idle()]
  t.teardown(() => forgotten.kill('SIGKILL'))
  const guardian = guard(dir)
  for (const { pid } of [watched, forgotten, other]) guardian.watch(pid as number)
  guardian.forget(forgotten.pid as number)
  const gone = [watched, other].map(child => once(child, 'exit'))
  await guardian.clean()
  for (const [, signal] of await Promise.all(gone)) t.equal(signal, 'SIGKILL')
  t.equal(forgotten.exitCode ?? forgotten.signalCode, null)
  t.notOk(existsSync(dir))
})

function idle() {
  return spawn('sleep', ['600'], { stdio: 'ignore' })
}
