// A process that only listens for notifications and must end by itself.
// Started by the tests with: address, channel, and `wait` to wait for a notification.
import { openNotifications } from '../../../src/store/redis/notifications.js'

const [, , url = '', channel = '', wait = ''] = process.argv
const notifications = openNotifications(url, channel)
notifications.subscribe('name', () => process.disconnect())
// A listener on the pipe from the parent keeps this process alive.
if (wait === 'wait') process.on('message', () => undefined)
