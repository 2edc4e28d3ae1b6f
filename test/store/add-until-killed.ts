// A process of its own that adds steps to the spool on disk, and says what was acknowledged, until somebody kills it.
import { openDiskSpool } from '../../src/store/embedded/spool.js'
import { call } from './samples.js'

const [, , dir = '', name = ''] = process.argv
const spool = openDiskSpool({ dir })

for (let index = 0; ; index++) {
  const callId = `${name}-${index}`
  await spool.add({ kind: 'note', call: call(callId, { jobId: `job-${callId}` }) })
  process.send?.(callId)
}
