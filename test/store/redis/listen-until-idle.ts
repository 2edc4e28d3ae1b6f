// A process that only listens for notices, and is to end by itself. Started by the tests with: address, channel, and whether to wait for one.
import { listenForNotices } from '../../../src/store/redis/notices.js'

const [, , url = '', channel = '', wait = ''] = process.argv
const notices = listenForNotices(url, channel)
notices.watch('name', () => process.disconnect())
// While it is listened to, the pipe from the parent keeps this process alive.
if (wait === 'wait') process.on('message', () => undefined)
