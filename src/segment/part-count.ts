/** Counts the parts that a multipart body announces, from its bytes as they arrive. */
export interface PartCount {
  add(chunk: Buffer): void
  /** How many parts have begun so far. */
  parts(): number
}

const CLOSING = '--'

/**
 * Counts the delimiters of a multipart body (RFC 2046 §5.1.1) up to the one that closes it: the parser drops parts whose headers it cannot use
 * without a word, and this tells. Without a boundary in the content type nothing is counted.
 */
export function createPartCount(contentType: string | undefined): PartCount {
  const [, quoted, plain] = /;\s*boundary=(?:"([^"]+)"|([^\s;"]+))/i.exec(contentType ?? '') ?? []
  const boundary = quoted ?? plain
  const delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1')
  let isOver = boundary === undefined
  // The first delimiter may begin the body, without the line break that precedes the others.
  let rest = Buffer.from('\r\n')
  let count = 0

  return {
    add: chunk => {
      if (isOver) return
      const bytes = Buffer.concat([rest, chunk])
      let from = 0
      let at = bytes.indexOf(delimiter)
      while (at >= 0 && at + delimiter.length + CLOSING.length <= bytes.length) {
        from = at + delimiter.length
        isOver = bytes.toString('latin1', from, from + CLOSING.length) === CLOSING
        if (isOver) return
        count++
        at = bytes.indexOf(delimiter, from)
      }
      rest = bytes.subarray(at >= 0 ? at : Math.max(from, bytes.length - delimiter.length + 1))
    },
    parts: () => count,
  }
}
