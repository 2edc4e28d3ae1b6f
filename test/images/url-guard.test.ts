import t from 'tap'
import { createUrlGuard, isHostEntry, redirectTarget } from '../../src/images/url-guard.js'

const open = createUrlGuard([])
const REFUSED = { name: 'GatewayError', code: 'image_url_refused' }

t.test('a URL is refused for its scheme, credentials or literal address in any spelling', async t => {
  const urls = [
    'ftp://example.com/a.jpg',
    'file:///etc/passwd',
    'data:image/png;base64,AAAA',
    'gopher://example.com/',
    'http://user@example.com/',
    'http://user:secret@example.com/',
    'https://:secret@example.com/',
    'http://127.0.0.1/',
    'http://127.1/',
    'http://127.0.1:8080/',
    'http://0x7f.1/',
    'http://0x7f000001/',
    'http://2130706433/',
    'http://0177.0.0.1/',
    'http://127.0.0.1./',
    'http://%31%32%37.0.0.1/',
    'http://127。0。0。1/',
    'http://①②⑦.0.0.1/',
    'http://0.0.0.0/',
    'http://0/',
    'http://10.0.0.1/',
    'http://172.16.0.1/',
    'http://172.31.255.255/',
    'http://192.168.1.1/',
    'http://169.254.169.254/latest/meta-data/',
    'http://0xa9fea9fe/',
    'http://100.64.0.1/',
    'http://100.127.255.255/',
    'http://192.0.0.1/',
    'http://192.0.2.1/',
    'http://198.18.0.1/',
    'http://198.51.100.1/',
    'http://203.0.113.1/',
    'http://224.0.0.1/',
    'http://240.0.0.1/',
    'http://255.255.255.255/',
    'http://[::]/',
    'http://[::1]/',
    'http://[0:0:0:0:0:0:0:1]/',
    'http://[::127.0.0.1]/',
    'http://[::7f00:1]/',
    'http://[::ffff:127.0.0.1]/',
    'http://[::ffff:10.0.0.1]/',
    'http://[::ffff:a9fe:a9fe]/',
    'http://[64:ff9b::10.0.0.1]/',
    'http://[64:ff9b:1::1]/',
    'http://[2002:7f00:1::]/',
    'http://[2001::1]/',
    'http://[2001:db8::1]/',
    'http://[100::1]/',
    'http://[fc00::1]/',
    'http://[fd00::1]/',
    'http://[fd00:ec2::254]/',
    'http://[fe80::1]/',
    'http://[fec0::1]/',
    'http://[ff02::1]/',
    'http://[4000::1]/',
    'http://168.63.129.16/',
    'http://[::ffff:168.63.129.16]/',
    'http://161.26.0.10/',
    'http://166.9.48.1/',
    'http://100.100.100.200/',
  ]
  for (const url of urls) t.throws(() => open.checkUrl(new URL(url)), REFUSED, url)
})

t.test('URLs with names and public addresses are allowed', async t => {
  const urls = [
    'http://example.com/a.jpg',
    'https://example.com/a.jpg?x=1',
    'https://example.com:80/',
    'http://example.com:443/',
    'http://93.184.216.34:80/',
    'http://168.63.129.17/',
    'http://EXAMPLE.com./',
    'http://localhost/',
    'http://intranet/',
    'http://93.184.216.34/',
    'http://172.32.0.1/',
    'http://100.128.0.1/',
    'http://[2606:2800:220:1::1]/',
    'http://[::ffff:93.184.216.34]/',
  ]
  for (const url of urls) t.doesNotThrow(() => open.checkUrl(new URL(url)), url)
})

t.test('only listed hosts may have a port other than 80 and 443', async t => {
  const urls = [
    'http://example.com:8080/',
    'https://example.com:8443/',
    'http://example.com:22/',
    'https://example.com:0/',
    'http://93.184.216.34:6379/',
  ]
  const message = /port other than 80 and 443/
  for (const url of urls) t.throws(() => open.checkUrl(new URL(url)), { ...REFUSED, message }, url)
  const cases: [string, string][] = [
    ['img.example.com', 'http://img.example.com:9000/'],
    ['10.1.0.0/16', 'http://10.1.2.3:9000/'],
    ['10.1.0.0/16', 'http://any.name:9000/'],
  ]
  for (const [entry, url] of cases) t.doesNotThrow(() => createUrlGuard([entry]).checkUrl(new URL(url)), url)
})

t.test('a name is allowed if all its addresses are public', async t => {
  const cases: [string[], boolean][] = [
    [['93.184.216.34'], true],
    [['93.184.216.34', '2606:2800:220:1::1'], true],
    [['93.184.216.34', '10.0.0.1'], false],
    [['127.0.0.1'], false],
    [['168.63.129.16'], false],
    [['::1'], false],
    [['::ffff:192.168.0.1'], false],
    [['fe80::1%eth0'], false],
    [['not an address'], false],
    [['0x7f.1'], false],
    [[], false],
  ]
  for (const [addresses, passes] of cases) {
    const check = (): void => open.checkAddresses('example.com', addresses)
    if (passes) t.doesNotThrow(check, addresses.join())
    else t.throws(check, REFUSED, addresses.join())
  }
})

t.test('the entries decide which names and addresses are allowed', async t => {
  const cases: [string[], string, string[], boolean][] = [
    [['img.example.com'], 'img.example.com', ['93.184.216.34'], true],
    [['IMG.example.com.'], 'img.EXAMPLE.com.', ['93.184.216.34'], true],
    [['img.example.com'], 'img.example.com', ['10.0.0.1'], false],
    [['img.example.com'], 'example.com', ['93.184.216.34'], false],
    [['img.example.com'], 'a.img.example.com', ['93.184.216.34'], false],
    [['img.example.com'], 'img.example.com.evil.net', ['93.184.216.34'], false],
    [['.example.com'], 'a.b.example.com', ['93.184.216.34'], true],
    [['.example.com'], 'example.com', ['93.184.216.34'], false],
    [['.example.com'], 'notexample.com', ['93.184.216.34'], false],
    [['10.1.0.0/16'], 'anything.internal', ['10.1.2.3'], true],
    [['10.1.0.0/16'], 'anything.internal', ['10.2.0.1'], false],
    [['10.1.0.0/16'], 'anything.internal', ['10.1.2.3', '10.2.0.1'], false],
    [['10.1.0.0/16'], 'anything.internal', ['93.184.216.34'], false],
    [['10.1.0.0/16'], 'anything.internal', ['::ffff:10.1.2.3'], true],
    [['10.1.2.3'], 'anything.internal', ['10.1.2.3'], true],
    [['10.1.2.3'], 'anything.internal', ['10.1.2.4'], false],
    [['::ffff:10.1.0.0/112'], 'anything.internal', ['10.1.2.3'], true],
    [['::ffff:10.1.0.0/112'], 'anything.internal', ['::ffff:10.1.2.3'], true],
    [['::ffff:10.1.0.0/112'], 'anything.internal', ['10.2.0.1'], false],
    [['::ffff:a00:0/104'], 'anything.internal', ['10.2.0.1'], true],
    [['::ffff:10.1.2.3'], 'anything.internal', ['10.1.2.3'], true],
    [['::/0'], 'anything.internal', ['10.1.2.3'], false],
    [['168.63.129.16'], 'anything.internal', ['168.63.129.16'], true],
    [['img.example.com'], 'img.example.com', ['168.63.129.16'], false],
    [['fd00::/8'], 'anything.internal', ['fd12::1'], true],
    [['fd00::/8'], 'anything.internal', ['10.0.0.1'], false],
    [['img.example.com', '10.1.0.0/16'], 'img.example.com', ['93.184.216.34'], true],
    [['img.example.com', '10.1.0.0/16'], 'img.example.com', ['93.184.216.34', '10.1.0.1'], true],
    [['img.example.com', '10.1.0.0/16'], 'img.example.com', ['10.2.0.1'], false],
    [['img.example.com', '10.1.0.0/16'], 'other.example.com', ['10.1.0.1'], true],
    [['img.example.com', '10.1.0.0/16'], 'other.example.com', ['93.184.216.34'], false],
  ]
  for (const [entries, name, addresses, passes] of cases) {
    const check = (): void => createUrlGuard(entries).checkAddresses(name, addresses)
    const title = `${entries.join()}: ${name} at ${addresses.join()}`
    if (passes) t.doesNotThrow(check, title)
    else t.throws(check, REFUSED, title)
  }
})

t.test('a literal address and a name that are not allowed are refused before a lookup', async t => {
  const names = createUrlGuard(['img.example.com'])
  const blocks = createUrlGuard(['10.1.0.0/16', 'fd00::/8'])
  t.doesNotThrow(() => names.checkUrl(new URL('http://img.example.com/')))
  t.throws(() => names.checkUrl(new URL('http://other.example.com/')), REFUSED)
  t.throws(() => names.checkUrl(new URL('http://93.184.216.34/')), REFUSED)
  t.doesNotThrow(() => blocks.checkUrl(new URL('http://10.1.9.9/')))
  t.doesNotThrow(() => blocks.checkUrl(new URL('http://[fd12::1]/')))
  t.doesNotThrow(() => blocks.checkUrl(new URL('http://any.name/')), 'its addresses are checked after the lookup')
  t.throws(() => blocks.checkUrl(new URL('http://10.2.9.9/')), REFUSED)
  t.throws(() => blocks.checkUrl(new URL('http://93.184.216.34/')), REFUSED)
  t.throws(() => blocks.checkUrl(new URL('http://user@10.1.9.9/')), REFUSED)
})

t.test('valid and invalid entries are distinguished', async t => {
  for (const entry of [
    'example.com',
    '.example.com',
    'localhost',
    'a_b.example',
    '10.0.0.1',
    '10.0.0.0/8',
    '::1',
    'fd00::/8',
  ]) {
    t.ok(isHostEntry(entry), entry)
  }
  const wrong = [
    '',
    ' ',
    '.',
    'http://example.com',
    'example.com/x',
    '*.example.com',
    '10.0.0.0/33',
    '1.2.3',
    '10.0.0.256',
    'a..b',
  ]
  for (const entry of wrong) t.notOk(isHostEntry(entry), entry)
  t.throws(() => createUrlGuard(['example.com', '10.0.0.0/33', 'a b']), {
    name: 'TypeError',
    message: /10\.0\.0\.0\/33, a b$/,
  })
})

t.test('a redirect leads to its Location, but not from https to http', async t => {
  const cases: [string, string, string][] = [
    ['http://a.example/x/y', 'z', 'http://a.example/x/z'],
    ['http://a.example/x/y', '/z', 'http://a.example/z'],
    ['http://a.example/', '//b.example/', 'http://b.example/'],
    ['http://a.example/', 'https://b.example/', 'https://b.example/'],
    ['https://a.example/', 'https://b.example/', 'https://b.example/'],
  ]
  for (const [from, location, target] of cases) t.equal(redirectTarget(new URL(from), location).href, target)
  t.throws(() => redirectTarget(new URL('https://a.example/'), 'http://a.example/'), REFUSED)
  t.throws(() => redirectTarget(new URL('http://a.example/'), undefined), { code: 'image_url_failed' })
  t.throws(() => redirectTarget(new URL('http://a.example/'), 'http://['), { code: 'image_url_failed' })
})
