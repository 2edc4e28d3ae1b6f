/**
 * Whether a text lost something on its way: U+FFFD stands for bytes that were no UTF-8, and half a surrogate pair becomes it when the text is
 * written as UTF-8. Different texts would become one, and one picture the answer to all of them.
 */
export function isBrokenText(text: string): boolean {
  return /[\ufffd\p{Surrogate}]/u.test(text)
}
